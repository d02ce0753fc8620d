"""Fixtures that all tests share: the folder of real data, and one Ray for the session."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

LONG = (
    "api/test_learner",
    "campaign",
    "cli",
    "encoders/test_sentence_encoders",
    "explainers/ebano",
    "explainers/test_shap_partition",
    "faults",
    "integration",
    "report/test_reproduction",
    "tuning",
    "test_examples",
    "test_fuzz",
    "test_wheel",
)
"""What takes seconds a test, relative to this folder. Single tests elsewhere carry the mark themselves."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what `make check-fast` leaves out."""
    for item in items:
        if item.path.relative_to(Path(__file__).parent).as_posix().startswith(LONG):
            item.add_marker(pytest.mark.long)


def unavailable(message: str) -> None:
    """A skip with that reason, a failure under CI=true."""
    if os.environ.get("CI") == "true":
        pytest.fail(message)
    pytest.skip(message)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """$XAL_DATA, else ../shared/data; absent: a skip with that reason, a failure under CI=true."""
    folder = Path(os.environ.get("XAL_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not folder.is_dir():
        unavailable(f"no data at {folder}; set XAL_DATA")
    return folder


@pytest.fixture(scope="session")
def ray_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One local Ray of 4 logical CPUs for all tests marked `ray`; engines join it."""
    from xal.engine import RayEngine
    from xal.engine.ray.engine import keep_private

    keep_private()
    import ray

    from xal.engine.ray.session import _init

    _init(RayEngine(cpus=4, object_store_mb=256))
    yield
    ray.shutdown()


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL of a PostgreSQL database of our own, on loopback and with a password."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb")) or [
        Path(each) for each in [shutil.which("initdb")] if each
    ]
    if not found:
        unavailable("no PostgreSQL server here; `make postgres` installs Debian's")
    folder = Path(tempfile.mkdtemp(prefix="xal-postgres-"))
    as_user = []
    if os.geteuid() == 0:  # the server refuses root
        as_user = ["runuser", "-u", "postgres", "--"]
        user = pwd.getpwnam("postgres")
        os.chown(folder, user.pw_uid, user.pw_gid)
    password = folder / "password"
    password.write_text("secret")
    password.chmod(0o644)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = f"-F -p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder}"

    def call(program: str, *arguments: str) -> None:
        command = [*as_user, str(found[-1].parent / program), "-D", str(folder / "data"), *arguments]
        subprocess.run(command, check=True, cwd=folder, stdout=subprocess.DEVNULL)

    call("initdb", "-U", "xal", "-A", "scram-sha-256", f"--pwfile={password}", "-E", "UTF8", "--no-sync")
    call("pg_ctl", "start", "-w", "-l", str(folder / "log"), "-o", options)
    try:
        yield f"postgresql://xal:secret@127.0.0.1:{port}/postgres"
    finally:
        call("pg_ctl", "stop", "-m", "immediate")
        shutil.rmtree(folder)


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where new runs keep their ledgers: in their directories, or in PostgreSQL."""
    if request.param == "postgresql":
        monkeypatch.setenv("XAL_LEDGER", request.getfixturevalue("postgres"))
    return str(request.param)


@pytest.fixture
def text_pools(tmp_path: Path) -> tuple[Path, Path]:
    """200 texts to draw from, and 60 to test on."""
    from tests.recipes import text_pool

    return text_pool(tmp_path / "pool.parquet", 200, 0), text_pool(tmp_path / "test.parquet", 60, 1)
