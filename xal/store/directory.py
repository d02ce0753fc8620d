"""Run directories and their ledgers: the file `ledger.sqlite`, or the PostgreSQL database that `ledger.url` names.

Runs on an object store need PostgreSQL, which also suits teams. The URL is given by `--ledger` or $XAL_LEDGER. The run
directory stores it without the password, which is then taken from `--ledger`, $XAL_LEDGER, $PGPASSWORD or ~/.pgpass.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import sqlalchemy as sa

from xal.core.paths import remote
from xal.errors import ResourceError, RunError
from xal.store.atomic import locked
from xal.store.database import SNAPSHOT, SQLITE
from xal.store.ledger import Ledger

SEARCH = "search.yaml"  # marks the folder of a search, which holds no runs
POINTER = "ledger.url"  # file with the URL and schema of a PostgreSQL ledger
URL_OPTIONS = ("sslmode", "sslrootcert", "connect_timeout")  # query options that the pointer keeps, beside the schema


def round_folder(round: int) -> str:
    """Name of a round's folder."""
    return f"round-{round:03d}"


def step_folder(round: int, step: str) -> str:
    """Folder of a step's artefacts, relative to the run directory."""
    return f"{round_folder(round)}/{step}"


def is_run(directory: Path) -> bool:
    """Whether the directory has a ledger."""
    return (directory / SQLITE).is_file() or is_pointed(directory)


def run_directories(path: Path) -> list[Path]:
    """`path` itself if it is a run directory, else those in it; raises RunError if there are none."""
    if is_run(path):
        return [path]
    directories = runs_below(path)
    if not directories:
        for folder in [path, *sorted(path.glob("*/"))]:
            refuse_lost_ledger(folder)
        raise RunError(
            f"{path} holds no run: expected a run directory or a folder of them (xal run writes under runs/)"
        )
    return directories


def runs_below(path: Path) -> list[Path]:
    """The run directories in a folder, sorted; possibly none."""
    ledgers = [ledger for name in (SQLITE, POINTER) for ledger in path.glob(f"*/{name}")]
    return sorted({ledger.parent for ledger in ledgers}, key=str)


def open_ledger(directory: Path, url: str | None = None) -> Ledger:
    """Open the ledger of a run to read it; raises RunError if the directory has none.

    A SQLite ledger that cannot be written here is read from a temporary copy. url: URL of its PostgreSQL database, for
    the password; None: $XAL_LEDGER.
    """
    if not is_run(directory):
        refuse_lost_ledger(directory)
        raise RunError(f"{directory} is not a run directory: it has no ledger")
    return _open(directory, url)


@contextmanager
def held(directory: Path, url: str | None = None) -> Iterator[Ledger]:
    """Lock the ledger of a new or existing run; raises RunError if another process has it.

    url: PostgreSQL database for a new run; None: $XAL_LEDGER, else SQLite.
    """
    url = url or os.environ.get("XAL_LEDGER")
    if is_pointed(directory) or (url and not (directory / SQLITE).is_file()):
        refuse_links(directory)
        if not is_pointed(directory):
            refuse_lost_ledger(directory)
            _write_pointer(directory, url)
        database, schema = _read_pointer(directory, url)
        ledger = Ledger(database, schema)
        try:
            with ledger.exclusively(str(directory), schema):
                if _read_pointer(directory, url)[1] != schema:
                    raise RunError(f"another xal started {directory} at the same time; run again")
                yield ledger
        finally:
            ledger.close()
        return
    if remote(directory):
        raise RunError(
            f"{directory} is on an object store, which cannot hold a SQLite ledger; name a PostgreSQL database with "
            "--ledger postgresql://user@host/database or XAL_LEDGER"
        )
    refuse_links(directory)
    if not (directory / SQLITE).is_file() or not (directory / SQLITE).stat().st_size:
        refuse_lost_ledger(directory)
    with locked(directory):
        ledger = Ledger.at(directory)
        try:
            yield ledger
        finally:
            ledger.close()


def is_pointed(directory: Path) -> bool:
    """Whether the run's ledger is in PostgreSQL."""
    pointer = directory / POINTER
    return pointer.is_file() and pointer.stat().st_size > 0


def _write_pointer(directory: Path, url: str | None) -> None:
    """Write the pointer to a new schema with a unique name, before the schema is created."""
    database = _postgres(url)
    name = re.sub(r"[^a-z0-9]+", "_", directory.name.lower())[:40]
    query = {key: value for key, value in database.query.items() if key in URL_OPTIONS}
    query["schema"] = f"{name}_{uuid.uuid4().hex[:12]}"
    pointer = sa.URL.create(
        database.drivername, database.username, None, database.host, database.port, database.database, query
    )
    text = pointer.render_as_string(hide_password=False) + "\n"
    directory.mkdir(parents=True, exist_ok=True)
    if remote(directory):
        (directory / POINTER).write_text(text, encoding="utf-8")
        return
    aside = directory / f".aside-{uuid.uuid4().hex}"
    aside.write_text(text, encoding="utf-8")
    with suppress(FileExistsError):  # another process was faster, and its pointer counts
        os.link(aside, directory / POINTER)
    aside.unlink()


def _read_pointer(directory: Path, url: str | None) -> tuple[str, str]:
    """(database URL, schema) of the pointer, with the password of `url` or $XAL_LEDGER.

    Raises RunError for a pointer that xal did not write, or a `url` of another database.
    """
    pointer = directory / POINTER
    stored = _postgres(pointer.read_text(encoding="utf-8").strip())
    schema, unexpected = stored.query.get("schema"), set(stored.query) - {"schema", *URL_OPTIONS}
    if unexpected or not isinstance(schema, str) or not re.fullmatch(r"[a-z0-9_]+", schema):
        problem = f"unexpected options {', '.join(sorted(unexpected))}" if unexpected else "no valid schema name"
        raise RunError(f"{pointer} was not written by xal: it has {problem}; restore it, or choose another directory")
    url = url or os.environ.get("XAL_LEDGER")
    if url:
        database = _postgres(url)
        if (database.host, database.port, database.database) != (stored.host, stored.port, stored.database):
            raise RunError(
                f"{pointer} names the database {stored.host}/{stored.database}, but --ledger or XAL_LEDGER names "
                f"{database.host}/{database.database}; name the same database or none (no password was sent)"
            )
        password = database.password or database.query.get("password")
        stored = stored.set(password=str(password)) if password else stored
    return stored.difference_update_query(["schema"]).render_as_string(hide_password=False), schema


def _open(directory: Path, url: str | None) -> Ledger:
    if is_pointed(directory):
        return Ledger(*_read_pointer(directory, url))
    refuse_links(directory)
    if (directory / SQLITE).stat().st_size == 0:
        refuse_lost_ledger(directory)
    if os.access(directory, os.W_OK) and os.access(directory / SQLITE, os.W_OK):
        return Ledger.at(directory)
    with tempfile.TemporaryDirectory(prefix="xal-ledger-") as folder:
        for name in (SQLITE, f"{SQLITE}-wal"):
            if (directory / name).exists():
                shutil.copyfile(directory / name, Path(folder) / name)
        ledger = Ledger.at(Path(folder))
        ledger.hold_in_memory()
        return ledger


def refuse_lost_ledger(directory: Path) -> None:
    """Raise RunError if a run's artefacts lie in the directory and its ledger is gone or empty."""
    artefacts = sorted(path.name for pattern in ("round-*", "to-label") for path in directory.glob(pattern))
    if not artefacts:
        return
    snapshot = directory / SNAPSHOT
    way_out = f"bring it back with: xal ledger restore {directory}" if snapshot.is_file() else "restore a backup"
    raise RunError(
        f"{directory} holds {', '.join(artefacts[:4])} of a run, but its ledger {SQLITE} is gone or empty; {way_out}, "
        "or choose another --out"
    )


def refuse_links(directory: Path) -> None:
    """Raise RunError if a file that xal writes in a run directory is a symbolic link to somewhere else."""
    for name in (".lock", SQLITE, f"{SQLITE}-wal", f"{SQLITE}-shm", SNAPSHOT, POINTER, "recipe.yaml"):
        if not remote(directory) and (directory / name).is_symlink():
            raise RunError(f"{directory / name} is a symbolic link, through which xal does not write; remove it")


def _postgres(url: str | None) -> sa.URL:
    """The parsed URL; raises ResourceError if it is not a PostgreSQL URL."""
    try:
        parsed = sa.make_url(url or "")
    except sa.exc.ArgumentError:
        parsed = sa.URL.create("")
    if "@" in (parsed.host or "") or (url or "").partition("?")[0].count("@") > 1:
        raise ResourceError("the ledger's URL has more than one @; write an @ in the password as %40")
    if parsed.get_backend_name() not in ("postgresql", "postgres"):
        kind = (url or "").partition(":")[0]
        raise ResourceError(
            f"the ledger's URL must be a PostgreSQL URL, postgresql://user@host/database, not {kind}:..."
        )
    return parsed.set(drivername="postgresql+psycopg")
