"""Fixtures that all tests share: the folder of real data, and one Ray for the session."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """$XAL_DATA, else ../shared/data; absent: a skip with that reason, a failure under CI=true."""
    folder = Path(os.environ.get("XAL_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not folder.is_dir():
        message = f"no data at {folder}; set XAL_DATA"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return folder


@pytest.fixture(scope="session")
def ray_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One local Ray of 4 logical CPUs for all tests marked `ray`; engines join it."""
    import ray

    from xal.engine import RayEngine
    from xal.engine.ray.session import _init

    _init(RayEngine(cpus=4, object_store_mb=256))
    yield
    ray.shutdown()
