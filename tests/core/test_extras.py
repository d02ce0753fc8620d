"""A package that one feature needs: imported, or named with the extra that brings it."""

import sys
from pathlib import Path

import pytest

from xal.core.extras import require
from xal.errors import ResourceError


def test_what_is_there_is_imported() -> None:
    assert require("json.decoder", "nothing", "a test") is sys.modules["json.decoder"]


def test_what_is_missing_is_named_with_its_extra() -> None:
    with pytest.raises(ResourceError, match=r"explainer.x needs absent_xyz: pip install 'xal-ray\[some\]'"):
        require("absent_xyz.part", "some", "explainer.x")


def test_what_the_package_itself_lacks_is_not_blamed_on_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "needy_xyz.py").write_text("import absent_xyz\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="absent_xyz"):
        require("needy_xyz", "some", "explainer.x")
