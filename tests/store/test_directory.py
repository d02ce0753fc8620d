"""Where the ledger of a run is: in its directory, or in PostgreSQL by a pointer that holds no password."""

import shutil
import time
from pathlib import Path

import pytest
import sqlalchemy as sa

from xal.core.paths import location
from xal.errors import ResourceError, RunError, XalError
from xal.store.directory import held, is_run, open_ledger, run_directories


def test_sqlite_unless_a_database_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XAL_LEDGER", raising=False)
    with held(tmp_path / "a") as ledger:
        ledger.set_metadata("x", "1")
    assert (tmp_path / "a" / "ledger.sqlite").is_file() and is_run(tmp_path / "a")
    ledger = open_ledger(tmp_path / "a")
    assert ledger.metadata("x") == "1"
    ledger.close()


def test_a_pointer_without_the_password(tmp_path: Path, postgres: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with held(tmp_path / "runs" / "a", postgres) as ledger:
        ledger.set_metadata("x", "1")
    with held(tmp_path / "runs" / "b", f"{postgres}?password=secret") as ledger:  # another run in the same database
        assert ledger.metadata("x") is None
    pointer = "".join((tmp_path / "runs" / name / "ledger.url").read_text() for name in "ab")
    assert "secret" not in pointer and not (tmp_path / "runs" / "a" / "ledger.sqlite").exists()
    assert [path.name for path in run_directories(tmp_path / "runs")] == ["a", "b"]
    with pytest.raises(ResourceError, match=r"cannot be reached.*password"):
        open_ledger(tmp_path / "runs" / "a")
    monkeypatch.setenv("PGPASSWORD", "secret")
    ledger = open_ledger(tmp_path / "runs" / "a")
    assert ledger.metadata("x") == "1"
    ledger.close()
    monkeypatch.delenv("PGPASSWORD")
    monkeypatch.setenv("XAL_LEDGER", postgres)
    ledger = open_ledger(tmp_path / "runs" / "a")
    assert ledger.metadata("x") == "1"
    ledger.close()


def test_a_begun_run_keeps_its_sqlite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, postgres: str) -> None:
    with held(tmp_path / "a") as ledger:
        ledger.set_metadata("x", "1")
    monkeypatch.setenv("XAL_LEDGER", postgres)
    with held(tmp_path / "a") as ledger:
        assert ledger.metadata("x") == "1"
    assert not (tmp_path / "a" / "ledger.url").exists()


def test_one_process_at_a_time(tmp_path: Path, postgres: str) -> None:
    with held(tmp_path / "a", postgres), pytest.raises(RunError, match="in use by another xal"):
        with held(tmp_path / "a", postgres):
            pass
    with pytest.raises(ZeroDivisionError), held(tmp_path / "a", postgres):
        _ = 1 / 0
    with held(tmp_path / "a", postgres):
        pass


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("mysql://x@y/z", r"PostgreSQL URL, postgresql://user@host/database, not mysql:"),
        ("nonsense", "PostgreSQL URL"),
        ("postgresql://xal@127.0.0.1:1/none?password=hush", r"the ledger postgresql\+psycopg://xal.*@.* cannot be"),
        ("postgresql://xal:hush@127.0.0.1:1/none", r"the ledger postgresql\+psycopg://xal:\*\*\*@.* cannot be reached"),
    ],
)
def test_urls_that_are_refused(tmp_path: Path, url: str, message: str) -> None:
    with pytest.raises(ResourceError, match=message) as caught:
        with held(tmp_path / "a", url):
            pass
    assert "hush" not in str(caught.value)


def test_an_object_store_wants_postgresql(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XAL_LEDGER", raising=False)
    with pytest.raises(RunError, match=r"memory://runs/a is on an object store.*PostgreSQL.*--ledger"):
        with held(location("memory://runs/a")):
            pass


def test_a_pointer_cannot_smuggle_in_a_statement(tmp_path: Path, postgres: str) -> None:
    with held(tmp_path / "a", postgres):
        pass
    pointer = tmp_path / "a" / "ledger.url"
    url = sa.make_url(pointer.read_text().strip()).set(password="secret")
    evil = url.difference_update_query(["schema"]).update_query_dict({"schema": 'x"; DROP TABLE labels; --'})
    pointer.write_text(evil.render_as_string(hide_password=False))
    with pytest.raises(RunError, match="was not written by xal"):
        open_ledger(tmp_path / "a")
    elsewhere = url.update_query_dict({"host": "evil.example"})  # libpq would ask that host
    pointer.write_text(elsewhere.render_as_string(hide_password=False))
    with pytest.raises(RunError, match="was not written by xal.*host"):
        open_ledger(tmp_path / "a")
    pointer.write_text(url.set(host="evil.example").render_as_string(hide_password=False))
    with pytest.raises(RunError, match="no password was sent"):
        open_ledger(tmp_path / "a", postgres)
    for text in ("", "\n", "nonsense\n"):
        pointer.write_text(text)
        with pytest.raises(XalError):
            open_ledger(tmp_path / "a")


def test_a_new_run_in_the_place_of_an_old_one_is_new(tmp_path: Path, postgres: str) -> None:
    with held(tmp_path / "a", postgres) as ledger:
        ledger.set_metadata("x", "1")
    shutil.rmtree(tmp_path / "a")
    with held(tmp_path / "a", postgres) as ledger:
        assert ledger.metadata("x") is None


def test_the_same_run_by_another_path_is_the_same(
    tmp_path: Path, postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with held(Path("a"), postgres), pytest.raises(RunError, match="in use by another xal"):
        with held(tmp_path / "a", postgres):
            pass


def test_a_lock_that_the_server_dropped(tmp_path: Path, postgres: str) -> None:
    """As after a restart of the server: nothing more is written, since another run may have begun."""
    with pytest.raises(RunError, match="has dropped this run's lock"):
        with held(tmp_path / "a", postgres) as ledger:
            ledger.set_metadata("x", "1")
            with ledger._engine.connect() as connection:
                connection.execute(sa.text("SELECT pg_terminate_backend(:pid)"), {"pid": ledger._lock})
            time.sleep(1)
            ledger.set_metadata("y", "1")
    with held(tmp_path / "a", postgres) as ledger:
        assert (ledger.metadata("x"), ledger.metadata("y")) == ("1", None)


def test_no_run(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="has no ledger"):
        open_ledger(tmp_path)
    with pytest.raises(RunError, match="holds no run"):
        run_directories(tmp_path)
