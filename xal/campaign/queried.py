"""What was queried, kept with the model's prediction and its explanation: the user sees why."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from xal.engine.query import Coordinator
from xal.store.artefacts import EXPLANATIONS, write_explanations
from xal.store.ledger import Queried
from xal.types import Query


def keep_query(
    coordinator: Coordinator, query: Query, round: int, classes: Sequence[str], explain: bool, folder: Path
) -> list[Queried]:
    """Predict and explain the queried items, write the explanations to `folder`, and return the ledger's entries."""
    evidence = None
    if coordinator.model is not None:
        needs = frozenset({"probabilities"} | ({"explanations"} if explain else set()))
        evidence = coordinator.collect(query.items.rows, needs, "explain")
    if evidence is not None and evidence.explanations is not None:
        write_explanations(folder / EXPLANATIONS, evidence.ids.tolist(), evidence.explanations)
    predicted: dict[str, tuple[str, float]] = {}
    if evidence is not None and evidence.probabilities is not None:
        best, sure = evidence.probabilities.argmax(axis=1), evidence.probabilities.max(axis=1)
        predicted = {str(item): (classes[b], float(p)) for item, b, p in zip(evidence.ids, best, sure, strict=True)}
    items = query.items
    return [
        Queried(
            id=str(items.ids[rank]),
            round=round,
            rank=rank,
            row=int(items.rows[rank]),
            score=float(items.scores[rank]),
            why=query.reasons[rank],
            prediction=predicted.get(str(items.ids[rank]), (None, None))[0],
            confidence=predicted.get(str(items.ids[rank]), (None, None))[1],
        )
        for rank in range(len(items))
    ]
