"""The part of a round that corrections have: what its training learns from them, and what they say of the model."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from xal.campaign.annotators import explanations_in
from xal.campaign.truth import distance, f1, knows, on_irrelevant, recall, truths
from xal.chance import Chance
from xal.data.payloads import payload_of
from xal.data.pool import Pool
from xal.engine.guidance import write_guidance
from xal.engine.query import Coordinator
from xal.explainers import Explainer
from xal.feedback import Feedback
from xal.feedback.components import mask_of
from xal.feedback.counterexamples import Counterexamples
from xal.feedback.feedback import Lesson
from xal.models.model import Shape
from xal.store.artefacts import ITEMS, encoded, read_items, write_synthetic
from xal.store.ledger import Corrected, Queried
from xal.types import Correction, Explanations

COUNTEREXAMPLES, GUIDANCE = "counterexamples.parquet", "guidance.parquet"


@dataclass(kw_only=True)
class Teaching:
    """Turns a run's corrections into what a training job takes."""

    directory: Path
    feedback: Feedback
    pool: Pool
    test: Pool | None
    shape: Shape
    classes: tuple[str, ...]
    chance: Chance
    _read: set[int] = field(default_factory=set)  # rounds, whose artefacts never change
    _payload: dict[str, Any] = field(default_factory=dict)
    _explained: dict[str, Explanations] = field(default_factory=dict)

    def write(
        self,
        folder: Path,
        items: Sequence[Queried],
        corrections: Mapping[str, Corrected],
        held: frozenset[str],
    ) -> tuple[tuple[Path, ...], Path | None]:
        """(files of counterexamples, guidance for a loss) made of the corrections of items that are not held out."""
        known = [item for item in items if item.label is not None and item.id not in held]
        taught = {item: found.correction for item, found in corrections.items() if item not in held}
        taught = {item.id: taught[item.id] for item in known if item.id in taught}
        if not taught or not (self.feedback.guides or isinstance(self.feedback, Counterexamples)):
            return (), None
        payload, shown = self._shown(known, taught)
        if self.feedback.guides:
            wrong = {item: mask_of(said.wrong, payload[item], shown.get(item)) for item, said in taught.items()}
            write_guidance(folder / GUIDANCE, taught, wrong, shown)
            return (), folder / GUIDANCE
        labels = {item.id: item.label or "" for item in known}
        made, sources = self._copies(known, taught, payload, shown, labels)
        if not len(made):
            return (), None
        write_synthetic(
            folder / COUNTEREXAMPLES,
            self.pool.kind,
            encoded(made),
            sources=sources,
            labels=[labels[item] for item in sources],
            classes=[self.classes.index(labels[item]) for item in sources],
            weight=getattr(self.feedback, "weight", 1.0),
        )
        return (folder / COUNTEREXAMPLES,), None

    def _shown(
        self, known: Sequence[Queried], taught: Mapping[str, Correction]
    ) -> tuple[dict[str, Any], dict[str, Explanations]]:
        """(payload of every known item, the explanations that were corrected), by id."""
        for round in sorted({item.round for item in known} - self._read):
            self._read.add(round)
            artefact = self.directory / f"round-{round:03d}" / "query"
            table = read_items(artefact / ITEMS, ["id", self.pool.kind])
            values, _ = payload_of(table[self.pool.kind], self.pool.kind, self.shape)
            self._payload.update(zip(table["id"].to_pylist(), values, strict=True))
            if any(item.round == round and item.id in taught for item in known):
                self._explained.update(explanations_in(artefact))
        return self._payload, self._explained

    def _copies(
        self,
        known: Sequence[Queried],
        taught: Mapping[str, Correction],
        payload: Mapping[str, Any],
        shown: Mapping[str, Explanations],
        labels: Mapping[str, str],
    ) -> tuple[Any, list[str]]:
        """(counterexamples, ids of the items that they were made from), none equal to a test item or to its source."""
        ids = [item for item, said in taught.items() if said.wrong]
        if not ids:
            return np.empty(0), []
        text = self.pool.kind == "text"
        wrong: Any = [
            taught[item].wrong if text else mask_of(taught[item].wrong, payload[item], shown.get(item)) for item in ids
        ]
        number = {name: place for place, name in enumerate(self.classes)}
        lesson = Lesson(
            ids=ids,
            payload=_stacked([payload[item] for item in ids]),
            labels=np.array([number[labels[item]] for item in ids], np.int64),
            wrong=wrong if text else np.stack(wrong),
            known=_stacked([payload[item.id] for item in known]),
            known_labels=np.array([number[labels[item.id]] for item in known], np.int64),
        )
        made, source = self.feedback.copies(lesson, self.chance.of("counterexamples").number)
        same = [digest(each) == digest(payload[ids[place]]) for each, place in zip(made, source, strict=True)]
        good = np.array(
            [not alike and digest(each) not in self._tested for each, alike in zip(made, same, strict=True)], bool
        )
        return made[good], [ids[place] for place in source[good]]

    @cached_property
    def _tested(self) -> frozenset[bytes]:
        """Digests of the test items, which no counterexample may equal."""
        if self.test is None:
            return frozenset()
        found: set[bytes] = set()
        for _, table in self.test.scan([self.pool.kind]):
            payload, good = payload_of(table[self.pool.kind], self.pool.kind, self.shape)
            found.update(digest(each) for each in payload[good])
        return frozenset(found)


def digest(item: Any) -> bytes:
    """Of an item's payload."""
    return hashlib.blake2b(item.encode() if isinstance(item, str) else item.tobytes(), digest_size=16).digest()


def trust(items: Sequence[Queried], labels: Mapping[str, str], corrections: Mapping[str, Any]) -> dict[str, int]:
    """Right for the right reasons, right for the wrong ones, wrong: the predictions of a round that were shown."""
    predicted = [item for item in items if item.prediction is not None]
    right = [item for item in predicted if item.prediction == labels.get(item.id)]
    for_wrong = sum(item.id in corrections for item in right)
    return {
        "right_for_right": len(right) - for_wrong,
        "right_for_wrong": for_wrong,
        "wrong": len(predicted) - len(right),
        "corrections": len(corrections),
        "corrected_components": sum(len(each.components) for each in corrections.values()),
    }


@dataclass(frozen=True, eq=False, kw_only=True)
class Judge:
    """Holds explanations against what a pool says matters."""

    pool: Pool
    shape: Shape
    classes: tuple[str, ...]
    k: int | Literal["gold"] | None  # components shown
    explainer: Explainer | None

    def figures(
        self, rows: npt.NDArray[np.int64], ids: Sequence[str], shown: Mapping[str, Explanations]
    ) -> dict[str, float]:
        """Means over the items that are explained; {} where the pool does not know what matters.

        explanation_f1: of the k components shown; explanation_recall: at k = how many matter; on_irrelevant: share of
        the attribution that lies elsewhere; explanation_loss: of weights that explain themselves, the squared distance
        to the truth.
        """
        if not knows(self.pool) or not any(item in shown for item in ids):
            return {}
        order = np.argsort(rows)
        table = self.pool.read(rows[order], [self.pool.kind, *(["label"] if self.pool.has_labels else [])])
        payload, _ = payload_of(table[self.pool.kind], self.pool.kind, self.shape)
        labels = table["label"].to_pylist() if self.pool.has_labels else []
        exact = self.explainer is not None and "self_explaining" in self.explainer.wants and labels
        found: dict[str, list[float]] = {}
        for number, (truth, place) in enumerate(zip(truths(self.pool, rows[order], payload), order, strict=True)):
            explanation = shown.get(ids[place])
            if explanation is None:
                continue
            each = {
                "explanation_f1": f1(truth, explanation, self.k),
                "explanation_recall": recall(truth, explanation),
                "on_irrelevant": on_irrelevant(truth, explanation),
            }
            if exact:
                each["explanation_loss"] = distance(truth, explanation, self.classes.index(labels[number]))
            for name, value in each.items():
                found.setdefault(name, []).append(value)
        return {name: float(np.mean(values)) for name, values in found.items()}

    def drawn(self, coordinator: Coordinator, items: int) -> dict[str, float]:
        """The same of at most `items` of the pool, drawn at random, the same in every round and arm."""
        rows = np.sort(np.random.default_rng(Chance(0).of("judged").number).permutation(len(self.pool))[:items])
        evidence = coordinator.collect(rows, frozenset({"explanations"}), "judge")
        if evidence is None or evidence.explanations is None:
            return {}
        ids = [str(item) for item in evidence.ids]
        shown = {item: evidence.explanations.take(slice(place, place + 1)) for place, item in enumerate(ids)}
        return self.figures(evidence.rows, ids, shown)


def _stacked(values: Sequence[Any]) -> Any:
    if values and isinstance(values[0], str):
        texts = np.empty(len(values), object)
        texts[:] = values
        return texts
    return np.stack(values)
