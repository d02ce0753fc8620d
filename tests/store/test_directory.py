"""Where the ledger of a run is: in its directory, or in PostgreSQL by a pointer that holds no password."""

import os
import shutil
import time
from pathlib import Path

import pytest
import sqlalchemy as sa

from xal.core.paths import location
from xal.errors import ResourceError, RunError, XalError
from xal.store.directory import held, is_run, open_ledger, run_directories
from xal.store.ledger import Queried
from xal.store.restore import restore_ledger


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


def _started(tmp_path: Path) -> Path:
    run = tmp_path / "is it spam? #1"
    with held(run) as ledger:
        (run / "round-000").mkdir()
        ledger.commit(
            0,
            "query",
            seconds=0.0,
            metrics={},
            queried=[
                Queried(id=name, round=0, rank=rank, row=rank, score=0.0, reason="random")
                for rank, name in enumerate("ab")
            ],
        )
        ledger.add_labels({"a": "cat"}, "me")
    return run


def test_the_ledger_lies_in_the_run_whatever_its_name(tmp_path: Path) -> None:
    run = _started(tmp_path)
    assert (run / "ledger.sqlite").is_file() and [path.name for path in tmp_path.iterdir()] == [run.name]


@pytest.mark.parametrize("damage", ["gone", "empty", "zeros", "half"])
def test_a_lost_ledger_is_refused_and_comes_back_with_all_labels(tmp_path: Path, damage: str) -> None:
    run = _started(tmp_path)
    ledger = run / "ledger.sqlite"
    whole = ledger.read_bytes()
    for name in ("-wal", "-shm"):
        (run / f"ledger.sqlite{name}").unlink(missing_ok=True)
    ledger.unlink()
    content = {"empty": b"", "zeros": bytes(len(whole)), "half": whole[: len(whole) // 2]}.get(damage)
    if content is not None:
        ledger.write_bytes(content)
    with pytest.raises(RunError, match=r"gone or empty|damaged"), held(run) as opened:
        opened.check()
    with pytest.raises(RunError, match=r"xal ledger restore"):
        open_ledger(run).check()
    assert restore_ledger(run) == 1
    opened = open_ledger(run)
    assert [item.label for item in opened.queried()] == ["cat", None]
    opened.close()


def test_a_whole_ledger_is_not_replaced_by_an_older_copy(tmp_path: Path) -> None:
    run = _started(tmp_path)
    with held(run) as ledger:
        ledger.backup(tmp_path / "copy.sqlite")
        ledger.add_labels({"b": "dog"}, "me")
    with pytest.raises(RunError, match="has 1 answers that .* has not; nothing was changed"):
        restore_ledger(run, tmp_path / "copy.sqlite")
    (tmp_path / "bad.sqlite").write_bytes(b"x" * 5000)
    with pytest.raises(RunError, match="cannot be restored"):
        restore_ledger(run, tmp_path / "bad.sqlite")
    assert restore_ledger(run) == 2


@pytest.mark.parametrize("name", [".lock", "ledger.sqlite", "ledger.backup.sqlite", "recipe.yaml"])
def test_links_in_a_run_are_not_followed(tmp_path: Path, name: str) -> None:
    run = _started(tmp_path)
    mine = tmp_path / "mine.txt"
    mine.write_text("precious")
    (run / name).unlink(missing_ok=True)
    (run / name).symlink_to(mine)
    with pytest.raises(RunError, match="symbolic link"), held(run):
        pass
    assert mine.read_text() == "precious"


def test_a_run_that_cannot_be_written_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = _started(tmp_path)
    before = {path.name: path.stat().st_mtime_ns for path in run.iterdir()}
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    ledger = open_ledger(run)
    assert [item.label for item in ledger.queried()] == ["cat", None]
    ledger.close()
    assert {path.name: path.stat().st_mtime_ns for path in run.iterdir()} == before


def test_an_at_in_a_password_is_not_shown(tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match="more than one @; write an @ in the password as %40") as caught:
        with held(tmp_path / "run", "postgresql://u:pa@S3cret@127.0.0.1:9/db"):
            pass
    assert "S3cret" not in str(caught.value) and not list(tmp_path.rglob("ledger.url"))
