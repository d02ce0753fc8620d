"""All tests of campaigns run on both ledgers."""

import pytest


@pytest.fixture(autouse=True)
def on_both_ledgers(database: str) -> str:
    return database
