"""Run directories, and where the ledger of each is: `ledger.sqlite` in it, or the database that `ledger.url` names.

A ledger in PostgreSQL is wanted by runs on an object store, and good for teams. Its URL is given once, by `--ledger` or
$XAL_LEDGER; the run directory keeps it without the password, which comes from there, $PGPASSWORD or ~/.pgpass again.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

from xal.errors import ResourceError, RunError
from xal.storage import remote
from xal.store.artefacts import locked
from xal.store.ledger import SQLITE, Ledger

POINTER = "ledger.url"


def is_run(directory: Path) -> bool:
    """Whether a run was begun there."""
    return (directory / SQLITE).is_file() or (directory / POINTER).is_file()


def run_directories(path: Path) -> list[Path]:
    """The run directories at or below `path`; raises RunError where there is none."""
    if is_run(path):
        return [path]
    found = runs_below(path)
    if not found:
        raise RunError(
            f"{path} holds no run: expected a run directory or a folder of them (xal run writes under runs/)"
        )
    return found


def runs_below(path: Path) -> list[Path]:
    """The run directories in a folder."""
    ledgers = [ledger for name in (SQLITE, POINTER) for ledger in path.glob(f"*/{name}")]
    return sorted({ledger.parent for ledger in ledgers}, key=str)


def open_ledger(directory: Path, url: str | None = None) -> Ledger:
    """The ledger of a run that was begun; raises RunError where there is none.

    url: of its PostgreSQL database, for the password; None: $XAL_LEDGER.
    """
    if not is_run(directory):
        raise RunError(f"{directory} is not a run directory: it has no ledger")
    return _open(directory, url)


@contextmanager
def held(directory: Path, url: str | None = None) -> Iterator[Ledger]:
    """The ledger of a run, new or begun, for one process at a time; RunError for the second.

    url: a PostgreSQL database for a new run; None: $XAL_LEDGER, else SQLite.
    """
    url = url or os.environ.get("XAL_LEDGER")
    if (directory / POINTER).is_file() or (url and not (directory / SQLITE).is_file()):
        ledger = _open(directory, url)
        try:
            with ledger.exclusively(str(directory)):
                yield ledger
        finally:
            ledger.close()
        return
    if remote(directory):
        raise RunError(
            f"{directory} is on an object store, where no SQLite file can lie: name a PostgreSQL database by --ledger "
            "postgresql://user@host/database or XAL_LEDGER"
        )
    with locked(directory):
        ledger = Ledger.at(directory)
        try:
            yield ledger
        finally:
            ledger.close()


def _open(directory: Path, url: str | None) -> Ledger:
    """By the pointer, which is written first where there is none: a killed process leaves nothing nameless."""
    if (directory / SQLITE).is_file():
        return Ledger.at(directory)
    given = _postgres(url or os.environ.get("XAL_LEDGER"))
    pointer = directory / POINTER
    if pointer.is_file():
        kept = _postgres(pointer.read_text(encoding="utf-8").strip())
        assert kept is not None
        if given is not None and _database(given) == _database(kept):
            kept = kept.set(password=given.password)
    elif given is not None:
        name = re.sub(r"[^a-z0-9]+", "_", directory.name.lower())[:40]
        schema = f"{name}_{hashlib.sha256(str(directory).encode()).hexdigest()[:12]}"
        kept = given.update_query_dict({"schema": schema})
        directory.mkdir(parents=True, exist_ok=True)
        pointer.write_text(_without_password(kept) + "\n", encoding="utf-8")
    else:
        raise RunError(f"{directory} is not a run directory: it has no ledger")
    schema = str(kept.query["schema"])
    if not re.fullmatch(r"[a-z0-9_]+", schema):
        raise RunError(f"{pointer} names the schema '{schema}'; expected small letters, digits and _")
    plain = kept.difference_update_query(["schema"])
    return Ledger(plain.render_as_string(hide_password=False), schema)


def _postgres(url: str | None) -> sa.URL | None:
    if not url:
        return None
    try:
        made = sa.make_url(url)
    except sa.exc.ArgumentError:
        made = None
    if made is None or made.get_backend_name() not in ("postgresql", "postgres"):
        kind = url.partition(":")[0]
        raise ResourceError(f"a ledger elsewhere is a PostgreSQL URL, postgresql://user@host/database, not {kind}:...")
    return made.set(drivername="postgresql+psycopg")


def _without_password(url: sa.URL) -> str:
    query = {name: value for name, value in url.query.items() if name not in ("password", "passfile", "sslpassword")}
    made = sa.URL.create(url.drivername, url.username, None, url.host, url.port, url.database, query)
    return made.render_as_string(hide_password=False)


def _database(url: sa.URL) -> tuple[object, ...]:
    return url.username, url.host, url.port, url.database
