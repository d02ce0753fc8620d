"""Run directories, and where the ledger of each is: `ledger.sqlite` in it, or the database that `ledger.url` names.

A ledger in PostgreSQL is wanted by runs on an object store, and good for teams. Its URL is given once, by `--ledger` or
$XAL_LEDGER; the run directory keeps it without the password, which comes from there, $PGPASSWORD or ~/.pgpass again.
"""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import sqlalchemy as sa

from xal.core.paths import remote
from xal.errors import ResourceError, RunError
from xal.store.atomic import locked
from xal.store.ledger import SQLITE, Ledger

SEARCH = "search.yaml"  # of a folder that holds a search, no runs
POINTER = "ledger.url"
KEPT = ("sslmode", "sslrootcert", "connect_timeout")  # of a URL's query, beside the schema


def round_folder(round: int) -> str:
    """The name of a round's folder."""
    return f"round-{round:03d}"


def step_folder(round: int, step: str) -> str:
    """Where a step's artefacts lie, relative to the run directory."""
    return f"{round_folder(round)}/{step}"


def is_run(directory: Path) -> bool:
    """Whether a run was begun there."""
    return (directory / SQLITE).is_file() or is_pointed(directory)


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
    if is_pointed(directory) or (url and not (directory / SQLITE).is_file()):
        if not is_pointed(directory):
            _point(directory, url)
        place, schema = _pointed(directory, url)
        ledger = Ledger(place, schema)
        try:
            with ledger.exclusively(str(directory), schema):
                if _pointed(directory, url)[1] != schema:
                    raise RunError(f"another xal began {directory} at the same moment; run again")
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


def is_pointed(directory: Path) -> bool:
    """Whether the ledger is in PostgreSQL."""
    pointer = directory / POINTER
    return pointer.is_file() and pointer.stat().st_size > 0


def _point(directory: Path, url: str | None) -> None:
    """Write the pointer, to a schema that is nobody else's, before anything is in it."""
    given = _postgres(url)
    name = re.sub(r"[^a-z0-9]+", "_", directory.name.lower())[:40]
    query = {key: value for key, value in given.query.items() if key in KEPT}
    query["schema"] = f"{name}_{uuid.uuid4().hex[:12]}"
    made = sa.URL.create(given.drivername, given.username, None, given.host, given.port, given.database, query)
    text = made.render_as_string(hide_password=False) + "\n"
    directory.mkdir(parents=True, exist_ok=True)
    if remote(directory):
        (directory / POINTER).write_text(text, encoding="utf-8")
        return
    aside = directory / f".aside-{uuid.uuid4().hex}"
    aside.write_text(text, encoding="utf-8")
    with suppress(FileExistsError):  # another was faster: then that one counts
        os.link(aside, directory / POINTER)
    aside.unlink()


def _pointed(directory: Path, url: str | None) -> tuple[str, str]:
    """(URL with the password that `url`, or $XAL_LEDGER, has for it; schema)."""
    pointer = directory / POINTER
    kept = _postgres(pointer.read_text(encoding="utf-8").strip())
    schema, strange = kept.query.get("schema"), set(kept.query) - {"schema", *KEPT}
    if strange or not isinstance(schema, str) or not re.fullmatch(r"[a-z0-9_]+", schema):
        raise RunError(f"{pointer} is not as xal writes it: a schema of small letters, digits and _, and no {strange}")
    url = url or os.environ.get("XAL_LEDGER")
    if url:
        given = _postgres(url)
        if (given.host, given.port, given.database) != (kept.host, kept.port, kept.database):
            raise RunError(
                f"{pointer} names the database {kept.host}/{kept.database}, --ledger or XAL_LEDGER "
                f"{given.host}/{given.database}: no password is sent; name the one it has, or none"
            )
        password = given.password or given.query.get("password")
        kept = kept.set(password=str(password)) if password else kept
    return kept.difference_update_query(["schema"]).render_as_string(hide_password=False), schema


def _open(directory: Path, url: str | None) -> Ledger:
    if is_pointed(directory):
        return Ledger(*_pointed(directory, url))
    return Ledger.at(directory)


def _postgres(url: str | None) -> sa.URL:
    try:
        made = sa.make_url(url or "")
    except sa.exc.ArgumentError:
        made = sa.URL.create("")
    if made.get_backend_name() not in ("postgresql", "postgres"):
        kind = (url or "").partition(":")[0]
        raise ResourceError(f"a ledger elsewhere is a PostgreSQL URL, postgresql://user@host/database, not {kind}:...")
    return made.set(drivername="postgresql+psycopg")
