"""The ledger: what a run has committed, in SQLite or PostgreSQL, by SQLAlchemy Core.

A step is committed in one transaction with its queries and labels, after its artefacts are stored under their final
names. Labels are append-only: the database refuses to change or delete one. `database.py` opens the database,
`directory.py` finds the ledger of a run directory.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from xal.errors import LabelError
from xal.store.database import SQLITE, LedgerDatabase
from xal.store.schema import CORRECTIONS, LABELS, QUERIES, REVISIONS, RUN_METADATA, STEPS, UNREADABLE
from xal.types import CORRECTION_KINDS, Correction

QUERY_COLUMNS = tuple(column.name for column in QUERIES.columns)
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
    because: str = ""
    """Why it was queried, in words."""
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


class Ledger(LedgerDatabase):
    """The steps, queries, labels and corrections of a run."""

    @classmethod
    def at(cls, directory: Path) -> Ledger:
        """The SQLite ledger of a run directory."""
        return cls(sa.URL.create("sqlite", database=str(directory / SQLITE)))

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

    def left_out_problems(self, left_out: Mapping[str, str], correct: bool = False) -> list[str]:
        """One line for each answer without a label of an item that was not queried, or has a label already."""
        label_of = {item.id: item.label for item in self.queried()}
        return [
            f"'{item}' was not queried; it needs no {answer}"
            for item, answer in left_out.items()
            if item not in label_of
        ] + [
            f"'{item}' is labelled '{label_of[item]}' already; to take the label back: xal label --correct"
            for item in left_out
            if label_of.get(item) is not None and not correct
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
        problems += self.left_out_problems(left_out, correct)
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

    def answers(self) -> list[dict[str, Any]]:
        """Every answer ever given, in order: id, answer (label, skip, unsure or none), label, annotator, at."""
        with self._transaction() as connection:
            first = connection.execute(sa.select(LABELS).order_by(LABELS.c.at, LABELS.c.id)).mappings().all()
            later = connection.execute(sa.select(REVISIONS).order_by(REVISIONS.c.number)).mappings().all()
        return [{"answer": "label", **row} for row in first] + [
            {key: row[key] for key in ("answer", "id", "label", "annotator", "at")} for row in later
        ]
