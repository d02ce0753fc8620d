"""The queried items with their predictions and explanations, for the ledger and the annotator."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from xal.campaign.because import Guesses, because
from xal.data.label_space import LabelSpace
from xal.data.pool import Pool
from xal.engine.coordinator import Coordinator
from xal.engine.tasks import UNREADABLE
from xal.store.artefacts import EXPLANATIONS, write_explanations
from xal.store.ledger import Queried
from xal.strategies.strategy import Strategy
from xal.types import Evidence, Explanations, Query, Rows

ROWS_AT_ONCE = 1024  # items read and written together


@dataclass(frozen=True, eq=False, kw_only=True)
class QueryRecord:
    """Predictions and explanations of queried items, in pieces that each cover some of them."""

    pieces: tuple[Evidence, ...]
    unreadable: tuple[str, ...] = ()
    """Ids of items that cannot be decoded; the query step replaces them."""

    def write(
        self, query: Query, strategy: Strategy, round: int, label_space: LabelSpace, folder: Path
    ) -> list[Queried]:
        """Write the explanations to `folder`; returns one ledger entry per queried item of `strategy`."""
        explained = [piece for piece in self.pieces if piece.explanations is not None]
        if explained:
            explanations = Explanations.concatenate([piece.explanations for piece in explained if piece.explanations])
            ids = np.concatenate([piece.ids for piece in explained])
            order = np.argsort(np.concatenate([piece.rows for piece in explained]))
            write_explanations(folder / EXPLANATIONS, ids[order].tolist(), explanations.take(order))
        predicted: dict[str, Guesses] = {}
        for piece in self.pieces:
            predicted |= dict(zip(map(str, piece.ids), _guesses(piece, label_space), strict=False))
        items = query.items
        notes = [""] * len(items) if items.notes is None else items.notes.tolist()
        guesses = [predicted.get(str(item)) for item in items.ids]
        return [
            Queried(
                id=str(items.ids[rank]),
                round=round,
                rank=rank,
                row=int(items.rows[rank]),
                score=float(items.scores[rank]),
                reason=query.reasons[rank],
                prediction=guess[0][0] if guess else None,
                confidence=guess[0][1] if guess else None,
                because=because(strategy, query.reasons[rank], note, guess),
            )
            for rank, (guess, note) in enumerate(zip(guesses, notes, strict=True))
        ]


def items_of(pool: Pool, rows: Rows) -> Iterator[pa.Table]:
    """Tables (id, payload, row) of the rows, in ascending order, some rows at a time."""
    rows = np.sort(rows)
    for start in range(0, max(len(rows), 1), ROWS_AT_ONCE):
        part = rows[start : start + ROWS_AT_ONCE]
        yield pool.read(part, ["id", pool.kind]).append_column("row", pa.array(part))


def examine(coordinator: Coordinator, query: Query, explain: bool) -> QueryRecord:
    """Predict and, if `explain`, explain the queried items that their query has not predicted or explained yet.

    Each of them is decoded once more. Without a model, items are only checked for being readable.
    """
    if coordinator.model is None:
        return QueryRecord(pieces=(), unreadable=coordinator.undecodable(query.items.rows))
    required = "explanations" if explain else "probabilities"
    complete = [piece for piece in query.evidence if getattr(piece, required) is not None]
    pieces = [piece.take(np.isin(piece.rows, query.items.rows)) for piece in complete]
    rest = np.setdiff1d(query.items.rows, _rows(pieces))
    if len(rest):
        needs = frozenset({"probabilities"} | ({"explanations"} if explain else set()))
        evidence = coordinator.collect(rest, needs, "explain" if explain else "predict")
        if evidence is not None:
            pieces.append(evidence)
    queried = {str(item) for item in query.items.ids}
    unreadable = tuple(
        item for item, reason in coordinator.unreadable.items() if item in queried and reason == UNREADABLE
    )
    return QueryRecord(pieces=tuple(pieces), unreadable=unreadable)


def _rows(pieces: Sequence[Evidence]) -> Rows:
    return np.concatenate([np.empty(0, np.int64), *(piece.rows for piece in pieces)])


def _guesses(piece: Evidence, label_space: LabelSpace) -> list[Guesses]:
    """The likeliest classes of each item, one or two; [] for a piece with neither probabilities nor explanations."""
    if piece.probabilities is not None:
        return label_space.guesses(piece.probabilities)
    if piece.explanations is None:
        return []
    pairs = zip(piece.explanations.explained_class, piece.explanations.probability, strict=True)
    return [((label_space.decode(number), float(p)),) for number, p in pairs]
