"""The ledger: what a run has committed, in a database. SQLAlchemy Core; SQLite with WAL and full syncs, or any URL.

A step is committed in one transaction with all that it decided, after its artefacts lie on disk under their final
name. Labels are append-only: the database itself refuses to change or delete one.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Column, Float, Integer, MetaData, String, Table, Text, event

from xal.errors import LabelError, RunError

SCHEMA_VERSION = 1
_metadata = MetaData()
_facts = Table("facts", _metadata, Column("name", String(64), primary_key=True), Column("value", Text, nullable=False))
_steps = Table(
    "steps",
    _metadata,
    Column("round", Integer, primary_key=True),
    Column("step", String(16), primary_key=True),
    Column("seconds", Float, nullable=False),
    Column("finished", Float, nullable=False),  # seconds since 1970
    Column("artefact", Text),  # relative to the run directory
    Column("figures", Text, nullable=False),  # JSON
)
_queries = Table(
    "queries",
    _metadata,
    Column("id", String(512), primary_key=True),  # an item is queried once
    Column("round", Integer, nullable=False, index=True),
    Column("rank", Integer, nullable=False),
    Column("row", Integer, nullable=False),
    Column("score", Float, nullable=False),
    Column("why", String(64), nullable=False),  # the strategy that chose it
    Column("prediction", String(256)),
    Column("confidence", Float),
)
_labels = Table(
    "labels",
    _metadata,
    Column("id", String(512), sa.ForeignKey("queries.id"), primary_key=True),
    Column("label", String(256), nullable=False),
    Column("annotator", String(64), nullable=False),
    Column("at", Float, nullable=False),  # seconds since 1970
)
_unreadable = Table("unreadable", _metadata, Column("id", String(512), primary_key=True), Column("round", Integer))
for _change in ("UPDATE", "DELETE"):
    event.listen(
        _labels,
        "after_create",
        sa.DDL(  # type: ignore[no-untyped-call]
            f"CREATE TRIGGER labels_no_{_change.lower()} BEFORE {_change} ON labels "
            "BEGIN SELECT RAISE(ABORT, 'labels are append-only'); END"
        ).execute_if(dialect="sqlite"),
    )


@dataclass(frozen=True, kw_only=True)
class Step:
    """A committed step."""

    round: int
    step: str
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
    """Open, or create, the ledger at a database URL."""

    def __init__(self, url: str) -> None:
        self._engine = sa.create_engine(url)
        if self._engine.dialect.name == "sqlite":
            event.listen(self._engine, "connect", _durable)
        _metadata.create_all(self._engine)
        version = self.fact("schema") or self._set_schema()
        if int(version) != SCHEMA_VERSION:
            raise RunError(
                f"the ledger has schema {version}, this xal reads {SCHEMA_VERSION}; use the xal that wrote it"
            )

    @classmethod
    def at(cls, directory: Path) -> Ledger:
        """The SQLite ledger of a run directory."""
        return cls(f"sqlite:///{directory / 'ledger.sqlite'}")

    def close(self) -> None:
        """Release the database."""
        self._engine.dispose()

    def fact(self, name: str) -> str | None:
        """A named fact of the run."""
        with self._engine.connect() as connection:
            value: str | None = connection.scalar(sa.select(_facts.c.value).where(_facts.c.name == name))
        return value

    def record_fact(self, name: str, value: str) -> None:
        """Write a fact once."""
        with self._engine.begin() as connection:
            connection.execute(_facts.insert().values(name=name, value=value))

    def steps(self) -> list[Step]:
        """All committed steps, in order of commit."""
        with self._engine.connect() as connection:
            rows = connection.execute(sa.select(_steps).order_by(_steps.c.finished, _steps.c.round)).mappings().all()
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
        with self._engine.connect() as connection:
            return [Queried(**row) for row in connection.execute(statement).mappings()]

    def unreadable(self) -> list[str]:
        """Ids that could not be read, ascending."""
        with self._engine.connect() as connection:
            return list(connection.scalars(sa.select(_unreadable.c.id).order_by(_unreadable.c.id)))

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
        unreadable: Sequence[str] = (),
    ) -> None:
        """Commit a step with all that it decided, in one transaction."""
        now = time.time()
        with self._engine.begin() as connection:
            connection.execute(
                _steps.insert().values(
                    round=round,
                    step=step,
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
            new = [{"id": item, "round": round} for item in sorted(set(unreadable) - known)]
            if new:
                connection.execute(_unreadable.insert(), new)

    def adopt(self, other: Ledger, round: int) -> None:
        """Take over a round of another run as it is, in one transaction."""
        tables = (_steps, _queries, _unreadable)
        with other._engine.connect() as source, self._engine.begin() as connection:
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
        with self._engine.begin() as connection:
            self._insert_labels(connection, new, annotator, time.time())
        return len(new)

    @staticmethod
    def _insert_labels(connection: sa.Connection, labels: Mapping[str, str], annotator: str, now: float) -> None:
        rows = [{"id": item, "label": label, "annotator": annotator, "at": now} for item, label in labels.items()]
        if rows:
            connection.execute(_labels.insert(), rows)

    def _set_schema(self) -> str:
        self.record_fact("schema", str(SCHEMA_VERSION))
        return str(SCHEMA_VERSION)


def _durable(connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=30000"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
