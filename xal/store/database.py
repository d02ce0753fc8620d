"""The database of a ledger: SQLite (WAL, full syncs) or PostgreSQL, its schema, locks, copies and errors.

Opening a database of an older schema migrates it. What is in it, `ledger.py` reads and writes.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy import event

from xal.core.failures import file_size_limit
from xal.errors import ResourceError, RunError, XalError
from xal.store.schema import MIGRATIONS, RUN_METADATA, SCHEMA_VERSION, TABLES, protect
from xal.store.sqlite_copy import copy_database, copy_in_memory

SQLITE = "ledger.sqlite"
SNAPSHOT = "ledger.backup.sqlite"
"""A copy of the SQLite ledger, renewed when labels are committed."""
SNAPSHOT_SECONDS = 1.0
"""Least time between two copies; `close` makes the one that was put off."""
KEEPALIVE = "-ctcp_keepalives_idle=20 -ctcp_keepalives_interval=10 -ctcp_keepalives_count=3"
"""PostgreSQL releases the lock of a client about a minute after its node is lost."""
SECRETS = ("password", "sslpassword", "passfile")  # options of a URL's query that messages must not show
_HELD = sa.text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted AND pid = :process")


class LedgerDatabase:
    """Opens or creates the database at a URL; in PostgreSQL, each run has a schema of its own.

    Raises ResourceError if the database cannot be reached or its disk is full, RunError for a newer schema version.
    """

    def __init__(self, url: str | sa.URL, schema: str | None = None) -> None:
        options: dict[str, Any] = {}
        self._snapshot_due, self._next_snapshot = False, 0.0  # seconds of time.monotonic
        self._lock: int | None = None  # PID of the server process that holds this run's lock
        if schema is not None:
            session = f"-csearch_path={schema} " + KEEPALIVE
            options = {"connect_args": {"options": session}, "pool_pre_ping": True}
        try:
            self._engine = sa.create_engine(url, **options)
        except ImportError as error:
            raise ResourceError(f"PostgreSQL needs a driver: pip install 'xal-ray[postgres]' ({error})") from None
        public_url = self._engine.url.difference_update_query(SECRETS)
        self._url = public_url.render_as_string(hide_password=True)
        self.path = Path(str(self._engine.url.database)) if self._engine.dialect.name == "sqlite" else None
        if self._engine.dialect.name == "sqlite":
            event.listen(self._engine, "connect", _durable)
            event.listen(self._engine, "begin", _begin)
        elif schema is not None:
            with self._transaction() as connection:
                connection.execute(sa.text(f"SELECT pg_advisory_xact_lock(hashtextextended('{schema}', 0))"))
                connection.execute(sa.text(f'CREATE SCHEMA IF NOT EXISTS "{schema}"'))
        with self._transaction() as connection:
            current = self._version(connection) == SCHEMA_VERSION
        if not current:
            with self._transaction(exclusive=True) as connection:
                self._migrate(connection)

    def close(self) -> None:
        """Close the connections; the copy beside a SQLite ledger is made first, if it is due."""
        self._next_snapshot = 0.0
        try:
            if self._snapshot_due:
                self._snapshot()
        finally:
            self._engine.dispose()

    @contextmanager
    def exclusively(self, name: str, schema: str) -> Iterator[None]:
        """Lock the ledger against processes on any machine; raises RunError if another process has the lock.

        PostgreSQL releases the lock when the connection ends.
        """
        with self._engine.connect() as connection:
            lock = sa.text("SELECT pg_try_advisory_lock(hashtextextended(:name, 0))")
            deadline = time.monotonic() + 2  # the server takes a moment to notice that a client was killed
            while not connection.scalar(lock, {"name": f"xal run {schema}"}):
                if time.monotonic() > deadline:
                    raise RunError(f"{name} is in use by another xal; wait for it, or stop it")
                time.sleep(0.1)
            self._lock = connection.scalar(sa.text("SELECT pg_backend_pid()"))
            connection.commit()
            try:
                yield
            finally:
                self._lock = None
                connection.invalidate()  # ends the session, which releases the lock

    def check(self) -> None:
        """Read the whole database; raises RunError if it is damaged."""
        with self._transaction() as connection:
            found = "ok" if self.path is None else connection.scalar(sa.text("PRAGMA integrity_check"))
        if found != "ok":
            raise RunError(f"the ledger {self.path} is damaged ({found})")

    def hold_in_memory(self) -> None:
        """Copy a SQLite ledger into memory and read it there, so that its file may go."""
        source = self._engine.raw_connection()
        memory = copy_in_memory(cast(sqlite3.Connection, source.driver_connection))
        source.close()
        self._engine.dispose()
        self._engine = sa.create_engine("sqlite://", creator=lambda: memory, poolclass=sa.pool.StaticPool)
        event.listen(self._engine, "begin", _begin)

    def backup(self, destination: Path) -> None:
        """Copy a SQLite ledger to a file, whole or not at all; RunError for a ledger in PostgreSQL."""
        if self.path is None:
            raise RunError("this ledger is in PostgreSQL; back it up with pg_dump")
        source = self._engine.raw_connection()
        try:
            copy_database(cast(sqlite3.Connection, source.driver_connection), destination)
        finally:
            source.close()

    def _snapshot(self) -> None:
        """Renew the copy beside a SQLite ledger, unless it is younger than a second: then `close` does."""
        if self.path is None or self.path.name != SQLITE:
            return
        self._snapshot_due = time.monotonic() < self._next_snapshot
        if not self._snapshot_due:
            self.backup(self.path.with_name(SNAPSHOT))
            self._next_snapshot = time.monotonic() + SNAPSHOT_SECONDS

    @staticmethod
    def _version(connection: sa.Connection) -> int:
        """Schema version of the database; 0 if it has no tables."""
        names = [name for name in ("metadata", "facts") if sa.inspect(connection).has_table(name)]  # facts: before 5
        if not names:
            return 0
        return int(connection.scalar(sa.text(f"SELECT value FROM {names[0]} WHERE name = 'schema'")) or 0)

    def _migrate(self, connection: sa.Connection) -> None:
        """Create the tables, or migrate those of an older schema."""
        version = self._version(connection)
        if version > SCHEMA_VERSION:
            raise RunError(
                f"the ledger has schema {version}, this xal reads {SCHEMA_VERSION}; use the version that wrote it"
            )
        if not version:
            TABLES.create_all(connection)
            connection.execute(RUN_METADATA.insert().values(name="schema", value=str(SCHEMA_VERSION)))
            return
        for older in range(version, SCHEMA_VERSION):
            for statement in MIGRATIONS[older]:
                connection.execute(sa.text(statement))
        TABLES.create_all(connection)
        protect(connection)
        connection.execute(
            RUN_METADATA.update().where(RUN_METADATA.c.name == "schema").values(value=str(SCHEMA_VERSION))
        )

    @contextmanager
    def _transaction(self, *, exclusive: bool = False) -> Iterator[sa.Connection]:
        """A transaction; raises ResourceError for a full disk or an unreachable server.

        exclusive: no other connection may write meanwhile. Raises RunError if the lock of `exclusively` was lost.
        """
        try:
            with self._engine.execution_options(exclusive=exclusive).begin() as connection:
                if self._lock is not None and not connection.scalar(_HELD, {"process": self._lock}):
                    raise RunError(f"the server {self._url} has dropped this run's lock; run again")
                if exclusive and connection.dialect.name == "postgresql":
                    connection.execute(sa.text("SELECT pg_advisory_xact_lock(hashtextextended(current_schema(), 0))"))
                yield connection
        except sa.exc.IntegrityError:
            raise
        except (sa.exc.DatabaseError, sqlite3.DatabaseError) as error:
            if self.path is None and not isinstance(error, sa.exc.OperationalError | sa.exc.InterfaceError):
                raise
            known = self._error(str(getattr(error, "orig", error)).strip())
            if known is None:
                raise
            raise known from error

    def _error(self, reason: str) -> XalError | None:
        """What a database's error means for the user; None: it is a fault of xal."""
        if "is full" in reason or "No space left" in reason:
            return ResourceError(
                f"no space is left for the ledger {self._url}; nothing was written. Free some space and run again: all "
                "committed steps are kept"
            )
        if self.path is None:
            return ResourceError(f"the ledger {self._url} cannot be reached, or closed the connection: {reason}")
        if "readonly" in reason or "read-only" in reason or "unable to open" in reason:
            return ResourceError(f"the ledger {self.path} cannot be written here: {reason}")
        if "locked" in reason or "disk I/O" in reason:
            limit = file_size_limit()
            advice = "run again" if limit is None else f"files may have {limit} bytes here, raise the limit (ulimit -f)"
            return ResourceError(f"the ledger {self.path} cannot be used now: {reason}; {advice}")
        if not any(part in reason for part in ("malformed", "not a database", "no such table", "no such column")):
            return None
        return RunError(
            f"the ledger {self.path} is damaged or no ledger of xal ({reason}); bring back its last copy with: xal "
            f"ledger restore {self.path.parent}"
        )


def _durable(connection: Any, _record: object) -> None:
    """Configure a SQLite connection for durable commits."""
    connection.isolation_level = None  # otherwise Python opens no transaction for DDL
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=30000"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin(connection: sa.Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.get_execution_options().get("exclusive") else "BEGIN")
