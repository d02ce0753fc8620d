"""The ledger: a database of what a run has committed, in SQLite (WAL, full syncs) or PostgreSQL, by SQLAlchemy Core.

A step is committed in one transaction with its queries and labels, after its artefacts are stored under their final
names. Labels are append-only: the database refuses to change or delete one. Opening a ledger of an older schema
migrates it. `directory.py` finds the ledger of a run directory.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy import event

from xal.errors import LabelError, ResourceError, RunError, XalError
from xal.store.schema import (
    CORRECTIONS,
    LABELS,
    MIGRATIONS,
    QUERIES,
    REVISIONS,
    RUN_METADATA,
    SCHEMA_VERSION,
    STEPS,
    TABLES,
    UNREADABLE,
    protect,
)
from xal.store.sqlite_copy import copy_database, copy_in_memory
from xal.types import CORRECTION_KINDS, Correction

SQLITE = "ledger.sqlite"
SNAPSHOT = "ledger.backup.sqlite"
"""A copy of the SQLite ledger, renewed when labels are committed."""
SNAPSHOT_SECONDS = 1.0
"""Least time between two copies; `close` makes the one that was put off."""
KEEPALIVE = "-ctcp_keepalives_idle=20 -ctcp_keepalives_interval=10 -ctcp_keepalives_count=3"
"""PostgreSQL releases the lock of a client about a minute after its node is lost."""
SECRETS = ("password", "sslpassword", "passfile")  # options of a URL's query that messages must not show
QUERY_COLUMNS = tuple(column.name for column in QUERIES.columns)
_HELD = sa.text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted AND pid = :process")
_LAST = sa.select(REVISIONS.c.id, sa.func.max(REVISIONS.c.number).label("number")).group_by(REVISIONS.c.id).subquery()
_REVISED = REVISIONS.c.number.is_not(None)
_QUERIED = (
    sa.select(
        QUERIES,
        sa.case((_REVISED, REVISIONS.c.label), else_=LABELS.c.label).label("label"),
        sa.case((sa.and_(_REVISED, REVISIONS.c.label.is_(None)), REVISIONS.c.answer)).label("left_out"),
    )
    .select_from(
        QUERIES.outerjoin(LABELS, QUERIES.c.id == LABELS.c.id)
        .outerjoin(_LAST, QUERIES.c.id == _LAST.c.id)
        .outerjoin(REVISIONS, REVISIONS.c.number == _LAST.c.number)
    )
    .order_by(QUERIES.c.round, QUERIES.c.rank)
)


@dataclass(frozen=True, kw_only=True)
class Step:
    """A committed step."""

    round: int
    step: str
    number: int
    seconds: float
    finished: float
    artefact: str | None
    metrics: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Queried:
    """An item that was queried; `label` is None until it is annotated."""

    id: str
    round: int
    rank: int
    row: int
    score: float
    reason: str
    prediction: str | None = None
    confidence: float | None = None
    label: str | None = None
    left_out: str | None = None
    """Why the annotators gave no label: skip, unsure or none (of the classes)."""

    @property
    def waits(self) -> bool:
        """Whether the item still needs an answer."""
        return self.label is None and self.left_out is None


@dataclass(frozen=True, kw_only=True)
class Corrected:
    """A correction with its annotator, its time, and the artefact with the explanation that was shown."""

    correction: Correction
    shown: str | None
    annotator: str
    at: float  # seconds since 1970


class Ledger:
    """Opens or creates the ledger at a database URL; PostgreSQL ledgers have a schema of their own.

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

    @classmethod
    def at(cls, directory: Path) -> Ledger:
        """The SQLite ledger of a run directory."""
        return cls(sa.URL.create("sqlite", database=str(directory / SQLITE)))

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

    def metadata(self, name: str) -> str | None:
        """A named value of the run; None if it is not set."""
        with self._transaction() as connection:
            value: str | None = connection.scalar(sa.select(RUN_METADATA.c.value).where(RUN_METADATA.c.name == name))
        return value

    def set_metadata(self, name: str, value: str) -> None:
        """Set or replace a named value of the run."""
        with self._transaction() as connection:
            changed = connection.execute(
                RUN_METADATA.update().where(RUN_METADATA.c.name == name).values(value=value)
            ).rowcount
            if not changed:
                connection.execute(RUN_METADATA.insert().values(name=name, value=value))

    def steps_done(self) -> list[tuple[int, str]]:
        """(round, step) of the committed steps, in order of commit."""
        with self._transaction() as connection:
            rows = connection.execute(sa.select(STEPS.c.round, STEPS.c.step).order_by(STEPS.c.number)).all()
        return [(int(round), str(step)) for round, step in rows]

    def steps(self, name: str | None = None) -> list[Step]:
        """Committed steps, of one name or all, in order of commit."""
        statement = sa.select(STEPS).order_by(STEPS.c.number)
        if name is not None:
            statement = statement.where(STEPS.c.step == name)
        with self._transaction() as connection:
            rows = connection.execute(statement).mappings().all()
        return [Step(**{**row, "metrics": json.loads(row["metrics"])}) for row in rows]

    def queried(self, round: int | None = None) -> list[Queried]:
        """Queried items with their labels so far, by round and rank."""
        statement = _QUERIED
        if round is not None:
            statement = statement.where(QUERIES.c.round == round)
        with self._transaction() as connection:
            return [Queried(**row) for row in connection.execute(statement).mappings()]

    def unreadable(self) -> dict[str, str]:
        """Reason by id for items that could not be used, sorted by id."""
        with self._transaction() as connection:
            rows = connection.execute(sa.select(UNREADABLE.c.id, UNREADABLE.c.reason)).all()
        return dict(sorted((str(item), str(reason)) for item, reason in rows))

    def commit(
        self,
        round: int,
        step: str,
        *,
        seconds: float,
        metrics: Mapping[str, Any],
        artefact: str | None = None,
        queried: Iterable[Queried] = (),
        labels: Mapping[str, str] | None = None,
        corrections: Mapping[str, Correction] | None = None,
        annotator: str = "",
        unreadable: Mapping[str, str] | None = None,
    ) -> None:
        """Commit a step with its queries, labels, corrections and unreadable items, in one transaction."""
        now = time.time()
        with self._transaction() as connection:
            number = connection.scalar(sa.select(sa.func.coalesce(sa.func.max(STEPS.c.number), 0) + 1))
            connection.execute(
                STEPS.insert().values(
                    round=round,
                    step=step,
                    number=number,
                    seconds=seconds,
                    finished=now,
                    artefact=artefact,
                    metrics=json.dumps(dict(metrics)),
                )
            )
            items = [{key: getattr(item, key) for key in QUERY_COLUMNS} for item in queried]
            if items:
                connection.execute(QUERIES.insert(), items)
            self._insert_labels(connection, labels or {}, corrections or {}, annotator, now)
            recorded = set(connection.scalars(sa.select(UNREADABLE.c.id)))
            new = [
                {"id": item, "round": round, "reason": reason}
                for item, reason in sorted((unreadable or {}).items())
                if item not in recorded
            ]
            if new:
                connection.execute(UNREADABLE.insert(), new)
        if labels or number == 1:  # other steps are computed again
            self._snapshot()

    def adopt(self, other: Ledger, round: int) -> None:
        """Copy a round of another run, in one transaction."""
        tables = (STEPS, QUERIES, UNREADABLE)
        with other._transaction() as source, self._transaction() as connection:
            for table in tables:
                rows = [dict(row) for row in source.execute(sa.select(table).where(table.c.round == round)).mappings()]
                if rows:
                    connection.execute(table.insert(), rows)
            for table in (LABELS, REVISIONS, CORRECTIONS):
                statement = sa.select(table).join(QUERIES, QUERIES.c.id == table.c.id).where(QUERIES.c.round == round)
                rows = [dict(row) for row in source.execute(statement).mappings()]
                if rows:
                    connection.execute(table.insert(), rows)

    def label_problems(self, labels: Mapping[str, str], correct: bool = False) -> list[str]:
        """One line for each id that was not queried and, unless `correct`, for each conflict with an earlier label."""
        label_of = {item.id: item.label for item in self.queried()}
        unknown = [f"'{item}' was not queried" for item in labels if item not in label_of]
        return unknown + [
            f"'{item}' is labelled '{label_of[item]}' already, now '{label}'; to change labels: xal label --correct"
            for item, label in labels.items()
            if not correct and label_of.get(item) not in (None, label)
        ]

    def corrections(self) -> dict[str, Corrected]:
        """Corrections by id of the corrected item."""
        with self._transaction() as connection:
            rows = connection.execute(sa.select(CORRECTIONS).order_by(CORRECTIONS.c.id)).mappings().all()
        return {
            row["id"]: Corrected(
                correction=Correction(**{key: tuple(json.loads(row[key])) for key in CORRECTION_KINDS}),
                shown=row["shown"],
                annotator=row["annotator"],
                at=row["at"],
            )
            for row in rows
        }

    def correction_problems(self, corrections: Mapping[str, Correction]) -> list[str]:
        """One line for each conflict with an earlier correction; a correction may come after the label."""
        earlier = self.corrections()
        return [
            f"'{item}' has another correction already; corrections are append-only"
            for item, correction in corrections.items()
            if correction and item in earlier and earlier[item].correction != correction
        ]

    def add_labels(
        self,
        labels: Mapping[str, str],
        annotator: str,
        corrections: Mapping[str, Correction] | None = None,
        *,
        left_out: Mapping[str, str] | None = None,
        correct: bool = False,
    ) -> int:
        """Append labels, answers that are no label, and corrections, all or none; returns the number of new answers.

        Labels that the ledger already has are skipped. left_out: by id, why an item gets no label: skip, unsure or
        none. correct: a label that differs from an earlier one supersedes it; both are kept. Raises LabelError with all
        lines of `label_problems` and `correction_problems`.
        """
        left_out = left_out or {}
        problems = self.label_problems(labels, correct) + self.correction_problems(corrections or {})
        answers = {item.id: item for item in self.queried()}
        problems += [f"'{item}' was not queried" for item in left_out if item not in answers]
        problems += [
            f"'{item}' is labelled '{answers[item].label}' already; to take the label back: xal label --correct"
            for item in left_out
            if item in answers and answers[item].label is not None and not correct
        ]
        if problems:
            raise LabelError("\n".join(problems))
        new = {item: label for item, label in labels.items() if answers[item].label != label}
        gone = {item: answer for item, answer in left_out.items() if answers[item].left_out != answer}
        now = time.time()
        with self._transaction() as connection:
            first = set(connection.scalars(sa.select(LABELS.c.id)))
            self._insert_labels(
                connection, {i: label for i, label in new.items() if i not in first}, corrections or {}, annotator, now
            )
            revisions = [
                {"id": item, "answer": "label", "label": label, "annotator": annotator, "at": now}
                for item, label in new.items()
                if item in first or answers[item].left_out is not None
            ]
            revisions += [
                {"id": item, "answer": answer, "label": None, "annotator": annotator, "at": now}
                for item, answer in gone.items()
            ]
            if revisions:
                connection.execute(REVISIONS.insert(), revisions)
        self._snapshot()
        return len(new) + len(gone)

    @staticmethod
    def _insert_labels(
        connection: sa.Connection,
        labels: Mapping[str, str],
        corrections: Mapping[str, Correction],
        annotator: str,
        now: float,
    ) -> None:
        """Insert first labels, and the corrections of items that have a label and no correction."""
        rows = [{"id": item, "label": label, "annotator": annotator, "at": now} for item, label in labels.items()]
        if rows:
            connection.execute(LABELS.insert(), rows)
        if not corrections:
            return
        corrected = set(connection.scalars(sa.select(CORRECTIONS.c.id)))
        labelled = set(connection.scalars(sa.select(LABELS.c.id)))
        shown = dict(
            connection.execute(
                sa.select(QUERIES.c.id, STEPS.c.artefact)
                .join(STEPS, sa.and_(STEPS.c.round == QUERIES.c.round, STEPS.c.step == "query"))
                .where(QUERIES.c.prediction.is_not(None))
            ).all()
        )
        new_corrections = [
            {key: json.dumps(getattr(correction, key)) for key in CORRECTION_KINDS}
            | {"id": item, "shown": shown.get(item), "annotator": annotator, "at": now}
            for item, correction in corrections.items()
            if correction and item in labelled and item not in corrected
        ]
        if new_corrections:
            connection.execute(CORRECTIONS.insert(), new_corrections)

    def add_given(self, items: Iterable[Queried], labels: Mapping[str, str], annotator: str) -> None:
        """Append items that nobody queried, with their labels, in one transaction."""
        rows = [{key: getattr(item, key) for key in QUERY_COLUMNS} for item in items]
        with self._transaction() as connection:
            if rows:
                connection.execute(QUERIES.insert(), rows)
            self._insert_labels(connection, labels, {}, annotator, time.time())
        self._snapshot()

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

    def answers(self) -> list[dict[str, Any]]:
        """Every answer ever given, in order: id, answer (label, skip, unsure or none), label, annotator, at."""
        with self._transaction() as connection:
            first = connection.execute(sa.select(LABELS).order_by(LABELS.c.at, LABELS.c.id)).mappings().all()
            later = connection.execute(sa.select(REVISIONS).order_by(REVISIONS.c.number)).mappings().all()
        return [{"answer": "label", **row} for row in first] + [
            {key: row[key] for key in ("answer", "id", "label", "annotator", "at")} for row in later
        ]

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
            return ResourceError(f"the ledger {self.path} cannot be used now: {reason}; run again")
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
