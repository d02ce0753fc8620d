"""The ledger: what a run has committed, in a database. SQLAlchemy Core; SQLite with WAL and full syncs, or PostgreSQL.

A step is committed in one transaction with all that it decided, after its artefacts lie in storage under their final
name. Labels are append-only: the database itself refuses to change or delete one. A database of an older schema is
brought up to date when it is opened. Where the ledger of a run directory is, `directory.py` says.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import BigInteger, Column, Float, Integer, MetaData, String, Table, Text, event

from xal.errors import LabelError, ResourceError, RunError

SQLITE = "ledger.sqlite"
KEEPALIVE = "-ctcp_keepalives_idle=20 -ctcp_keepalives_interval=10 -ctcp_keepalives_count=3"
"""A minute after a node is lost, PostgreSQL sees that its client is gone, and frees the lock."""
SECRETS = ("password", "sslpassword", "passfile")  # that a URL's query may hold
SCHEMA_VERSION = 2
_metadata = MetaData()
_facts = Table("facts", _metadata, Column("name", String(64), primary_key=True), Column("value", Text, nullable=False))
_steps = Table(
    "steps",
    _metadata,
    Column("round", Integer, primary_key=True),
    Column("step", String(16), primary_key=True),
    Column("number", Integer, nullable=False, server_default="0"),  # order of commit; clocks jump
    Column("seconds", Float, nullable=False),
    Column("finished", Float, nullable=False),  # seconds since 1970
    Column("artefact", Text),  # relative to the run directory
    Column("figures", Text, nullable=False),  # JSON
)
_queries = Table(
    "queries",
    _metadata,
    Column("id", Text, primary_key=True),  # an item is queried once
    Column("round", Integer, nullable=False, index=True),
    Column("rank", Integer, nullable=False),
    Column("row", BigInteger, nullable=False),
    Column("score", Float, nullable=False),
    Column("why", Text, nullable=False),  # the strategy that chose it
    Column("prediction", Text),
    Column("confidence", Float),
)
_labels = Table(
    "labels",
    _metadata,
    Column("id", Text, sa.ForeignKey("queries.id"), primary_key=True),
    Column("label", Text, nullable=False),
    Column("annotator", Text, nullable=False),
    Column("at", Float, nullable=False),  # seconds since 1970
)
_unreadable = Table(
    "unreadable",
    _metadata,
    Column("id", Text, primary_key=True),
    Column("round", Integer),
    Column("why", Text, nullable=False, server_default="cannot be read"),
)
_APPEND_ONLY = {
    "sqlite": [
        f"CREATE TRIGGER labels_no_{change.lower()} BEFORE {change} ON labels "
        "BEGIN SELECT RAISE(ABORT, 'labels are append-only'); END"
        for change in ("UPDATE", "DELETE")
    ],
    "postgresql": [
        "CREATE OR REPLACE FUNCTION labels_append_only() RETURNS trigger LANGUAGE plpgsql AS "
        "'BEGIN RAISE EXCEPTION ''labels are append-only''; END'",
        "CREATE TRIGGER labels_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON labels "
        "EXECUTE FUNCTION labels_append_only()",
    ],
}
for _dialect, _statements in _APPEND_ONLY.items():
    for _statement in _statements:
        event.listen(_labels, "after_create", sa.DDL(_statement).execute_if(dialect=_dialect))  # type: ignore[no-untyped-call]
_MIGRATIONS = {  # from a version to the next
    1: [
        "ALTER TABLE steps ADD COLUMN number INTEGER NOT NULL DEFAULT 0",
        "UPDATE steps SET number = (SELECT count(*) FROM steps AS other WHERE other.finished < steps.finished "
        "OR (other.finished = steps.finished AND other.round < steps.round)) + 1",
        "ALTER TABLE unreadable ADD COLUMN why TEXT NOT NULL DEFAULT 'cannot be read'",
    ],
}


_HELD = sa.text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted AND pid = :process")


@dataclass(frozen=True, kw_only=True)
class Step:
    """A committed step."""

    round: int
    step: str
    number: int
    seconds: float
    finished: float
    artefact: str | None
    figures: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Queried:
    """An item that was queried; `label` is None until it is annotated."""

    id: str
    round: int
    rank: int
    row: int
    score: float
    why: str
    prediction: str | None = None
    confidence: float | None = None
    label: str | None = None


class Ledger:
    """Open, or create, the ledger at a database URL; in PostgreSQL, in a schema of its own.

    Raises ResourceError where the database cannot be reached or its disk is full, RunError for a newer schema.
    """

    def __init__(self, url: str, schema: str | None = None) -> None:
        options: dict[str, Any] = {}
        self._lock: int | None = None  # the server's process that holds our lock
        if schema is not None:
            session = f"-csearch_path={schema} " + KEEPALIVE
            options = {"connect_args": {"options": session}, "pool_pre_ping": True}
        try:
            self._engine = sa.create_engine(url, **options)
        except ImportError as error:
            raise ResourceError(f"no driver for PostgreSQL here: pip install 'xal-ray[postgres]' ({error})") from None
        shown = self._engine.url.difference_update_query(SECRETS)
        self._where = shown.render_as_string(hide_password=True)
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
            with self._transaction(alone=True) as connection:
                self._migrate(connection)

    @classmethod
    def at(cls, directory: Path) -> Ledger:
        """The SQLite ledger of a run directory."""
        return cls(f"sqlite:///{directory / SQLITE}")

    def close(self) -> None:
        """Release the database."""
        self._engine.dispose()

    @contextmanager
    def exclusively(self, name: str, schema: str) -> Iterator[None]:
        """One process at a time, on any machine; RunError for the second. PostgreSQL frees it with the connection."""
        with self._engine.connect() as connection:
            lock = sa.text("SELECT pg_try_advisory_lock(hashtextextended(:name, 0))")
            until = time.monotonic() + 2  # the server takes a moment to see that a killed client is gone
            while not connection.scalar(lock, {"name": f"xal run {schema}"}):
                if time.monotonic() > until:
                    raise RunError(f"{name} is in use by another xal; wait for it, or stop it")
                time.sleep(0.1)
            self._lock = connection.scalar(sa.text("SELECT pg_backend_pid()"))
            connection.commit()
            try:
                yield
            finally:
                self._lock = None
                connection.invalidate()  # ends the session, and so the lock

    def fact(self, name: str) -> str | None:
        """A named fact of the run."""
        with self._transaction() as connection:
            value: str | None = connection.scalar(sa.select(_facts.c.value).where(_facts.c.name == name))
        return value

    def record_fact(self, name: str, value: str) -> None:
        """Write a fact once."""
        with self._transaction() as connection:
            connection.execute(_facts.insert().values(name=name, value=value))

    def steps(self) -> list[Step]:
        """All committed steps, in order of commit."""
        with self._transaction() as connection:
            rows = connection.execute(sa.select(_steps).order_by(_steps.c.number)).mappings().all()
        return [Step(**{**row, "figures": json.loads(row["figures"])}) for row in rows]

    def queried(self, round: int | None = None) -> list[Queried]:
        """Queried items with their labels so far, by round and rank."""
        statement = (
            sa.select(_queries, _labels.c.label)
            .select_from(_queries.outerjoin(_labels, _queries.c.id == _labels.c.id))
            .order_by(_queries.c.round, _queries.c.rank)
        )
        if round is not None:
            statement = statement.where(_queries.c.round == round)
        with self._transaction() as connection:
            return [Queried(**row) for row in connection.execute(statement).mappings()]

    def unreadable(self) -> dict[str, str]:
        """Items that could not be used, ids ascending, and why."""
        with self._transaction() as connection:
            rows = connection.execute(sa.select(_unreadable.c.id, _unreadable.c.why)).all()
        return dict(sorted((str(item), str(why)) for item, why in rows))

    def commit(
        self,
        round: int,
        step: str,
        *,
        seconds: float,
        figures: Mapping[str, Any],
        artefact: str | None = None,
        queried: Iterable[Queried] = (),
        labels: Mapping[str, str] | None = None,
        annotator: str = "",
        unreadable: Mapping[str, str] | None = None,
    ) -> None:
        """Commit a step with all that it decided, in one transaction."""
        now = time.time()
        with self._transaction() as connection:
            number = connection.scalar(sa.select(sa.func.coalesce(sa.func.max(_steps.c.number), 0) + 1))
            connection.execute(
                _steps.insert().values(
                    round=round,
                    step=step,
                    number=number,
                    seconds=seconds,
                    finished=now,
                    artefact=artefact,
                    figures=json.dumps(dict(figures)),
                )
            )
            items = [{key: value for key, value in vars(item).items() if key != "label"} for item in queried]
            if items:
                connection.execute(_queries.insert(), items)
            self._insert_labels(connection, labels or {}, annotator, now)
            known = set(connection.scalars(sa.select(_unreadable.c.id)))
            new = [
                {"id": item, "round": round, "why": why}
                for item, why in sorted((unreadable or {}).items())
                if item not in known
            ]
            if new:
                connection.execute(_unreadable.insert(), new)

    def adopt(self, other: Ledger, round: int) -> None:
        """Take over a round of another run as it is, in one transaction."""
        tables = (_steps, _queries, _unreadable)
        with other._transaction() as source, self._transaction() as connection:
            for table in tables:
                rows = [dict(row) for row in source.execute(sa.select(table).where(table.c.round == round)).mappings()]
                if rows:
                    connection.execute(table.insert(), rows)
            mine = sa.select(_labels).join(_queries, _queries.c.id == _labels.c.id).where(_queries.c.round == round)
            rows = [dict(row) for row in source.execute(mine).mappings()]
            if rows:
                connection.execute(_labels.insert(), rows)

    def label_problems(self, labels: Mapping[str, str]) -> list[str]:
        """Every id that was not queried, and every conflict with an earlier label."""
        known = {item.id: item.label for item in self.queried()}
        unknown = [f"'{item}' was not queried" for item in labels if item not in known]
        return unknown + [
            f"'{item}' is labelled '{known[item]}' already, now '{label}'"
            for item, label in labels.items()
            if known.get(item) not in (None, label)
        ]

    def add_labels(self, labels: Mapping[str, str], annotator: str) -> int:
        """Append labels, all or none; the same label again is no change. Returns how many were new.

        Raises LabelError that lists what `label_problems` finds.
        """
        problems = self.label_problems(labels)
        if problems:
            raise LabelError("\n".join(problems))
        known = {item.id: item.label for item in self.queried()}
        new = {item: label for item, label in labels.items() if known[item] is None}
        with self._transaction() as connection:
            self._insert_labels(connection, new, annotator, time.time())
        return len(new)

    @staticmethod
    def _insert_labels(connection: sa.Connection, labels: Mapping[str, str], annotator: str, now: float) -> None:
        rows = [{"id": item, "label": label, "annotator": annotator, "at": now} for item, label in labels.items()]
        if rows:
            connection.execute(_labels.insert(), rows)

    @staticmethod
    def _version(connection: sa.Connection) -> int:
        """Of the database's tables; 0: there are none."""
        if not sa.inspect(connection).has_table("facts"):
            return 0
        return int(connection.scalar(sa.select(_facts.c.value).where(_facts.c.name == "schema")) or 0)

    def _migrate(self, connection: sa.Connection) -> None:
        """Create the tables, or bring older ones up to date."""
        found = self._version(connection)
        if found > SCHEMA_VERSION:
            raise RunError(f"the ledger has schema {found}, this xal reads {SCHEMA_VERSION}; use the xal that wrote it")
        if not found:
            _metadata.create_all(connection)
            connection.execute(_facts.insert().values(name="schema", value=str(SCHEMA_VERSION)))
            return
        for version in range(found, SCHEMA_VERSION):
            for statement in _MIGRATIONS[version]:
                connection.execute(sa.text(statement))
        connection.execute(_facts.update().where(_facts.c.name == "schema").values(value=str(SCHEMA_VERSION)))

    @contextmanager
    def _transaction(self, *, alone: bool = False) -> Iterator[sa.Connection]:
        """Commits, or changes nothing; a full disk or an absent server is said in words.

        alone: nobody else may write meanwhile. Raises RunError where the lock that `exclusively` took is gone.
        """
        try:
            with self._engine.execution_options(alone=alone).begin() as connection:
                if self._lock is not None and not connection.scalar(_HELD, {"process": self._lock}):
                    raise RunError(f"the server {self._where} has dropped this run's lock; run again")
                if alone and connection.dialect.name == "postgresql":
                    connection.execute(sa.text("SELECT pg_advisory_xact_lock(hashtextextended(current_schema(), 0))"))
                yield connection
        except sa.exc.OperationalError as error:
            why, where = str(error.orig).strip(), self._where
            if "is full" in why or "No space left" in why:
                raise ResourceError(
                    f"no space is left for the ledger {where}; nothing was written. Free some, and run again: what "
                    "was committed before is kept"
                ) from error
            if self._engine.dialect.name == "sqlite":
                raise
            raise ResourceError(f"the ledger {where} cannot be reached, or ended the connection: {why}") from error


def _durable(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # or Python begins no transaction for DDL
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=30000"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin(connection: sa.Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.get_execution_options().get("alone") else "BEGIN")
