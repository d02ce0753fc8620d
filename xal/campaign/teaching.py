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


@dataclass(frozen=True, kw_only=True)
class Taught:
    """What a round's corrections became."""

    counterexamples: tuple[Path, ...] = ()
    guidance: Path | None = None
    idle: int = 0  # corrections of which no counterexample could be made


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
    _payload: dict[int, dict[str, Any]] = field(default_factory=dict)  # by round, whose artefacts never change
    _explained: dict[int, dict[str, Explanations]] = field(default_factory=dict)

    def write(
        self,
        folder: Path,
        items: Sequence[Queried],
        corrections: Mapping[str, Corrected],
        held: frozenset[str],
    ) -> Taught:
        """Write what the corrections of items that are not held out become."""
        known = [item for item in items if item.label is not None and item.id not in held]
        taught = {item.id: corrections[item.id].correction for item in known if item.id in corrections}
        if not taught or not (self.feedback.guides or isinstance(self.feedback, Counterexamples)):
            return Taught()
        shown = self._shown(known, taught)
        if self.feedback.guides:
            wrong = {item: mask_of(said.wrong, self.shape, shown.get(item)) for item, said in taught.items()}
            write_guidance(folder / GUIDANCE, taught, wrong, shown)
            return Taught(guidance=folder / GUIDANCE)
        labels = {item.id: item.label or "" for item in known}
        asked = [item for item, said in taught.items() if said.wrong]
        made, sources = self._copies(known, asked, taught, shown, labels) if asked else (np.empty(0), [])
        idle = len(taught) - len(set(sources))
        if not len(made):
            return Taught(idle=idle)
        write_synthetic(
            folder / COUNTEREXAMPLES,
            self.pool.kind,
            encoded(made),
            sources=sources,
            labels=[labels[item] for item in sources],
            classes=[self.classes.index(labels[item]) for item in sources],
            weight=getattr(self.feedback, "weight", 1.0),
        )
        return Taught(counterexamples=(folder / COUNTEREXAMPLES,), idle=idle)

    def _shown(self, known: Sequence[Queried], taught: Mapping[str, Correction]) -> dict[str, Explanations]:
        """The explanations that were corrected, by id."""
        rounds = sorted({item.round for item in known if item.id in taught})
        for round in rounds:
            if round not in self._explained:
                self._explained[round] = explanations_in(self._queried(round))
        return {item: each for round in rounds for item, each in self._explained[round].items() if item in taught}

    def _payloads(self, known: Sequence[Queried]) -> dict[str, Any]:
        """Of every known item, by id."""
        rounds = sorted({item.round for item in known})
        for round in rounds:
            if round not in self._payload:
                table = read_items(self._queried(round) / ITEMS, ["id", self.pool.kind])
                values, _ = payload_of(table[self.pool.kind], self.pool.kind, self.shape)
                self._payload[round] = dict(zip(table["id"].to_pylist(), values, strict=True))
        return {item: each for round in rounds for item, each in self._payload[round].items()}

    def _queried(self, round: int) -> Path:
        return self.directory / f"round-{round:03d}" / "query"

    def _copies(
        self,
        known: Sequence[Queried],
        ids: list[str],
        taught: Mapping[str, Correction],
        shown: Mapping[str, Explanations],
        labels: Mapping[str, str],
    ) -> tuple[Any, list[str]]:
        """(counterexamples of `ids`, the item that each was made from), none equal to a test item."""
        payload = self._payloads(known)
        text = self.pool.kind == "text"
        wrong: Any = [
            taught[item].wrong if text else mask_of(taught[item].wrong, self.shape, shown.get(item)) for item in ids
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
        good = np.array([digest(each) not in self._tested for each in made], bool)
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

        explanation_f1: of the k components shown, unless all are; explanation_recall: at k = how many matter;
        on_irrelevant: share of the attribution that lies elsewhere; explanation_loss: of weights that explain
        themselves, the squared distance to the truth.
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
            if explanation is None or explanation.concepts is not None:  # of concepts nobody knows whether they matter
                continue
            each = {
                "explanation_recall": recall(truth, explanation),
                "on_irrelevant": on_irrelevant(truth, explanation),
            }
            if self.k is not None:  # of all components it says nothing
                each["explanation_f1"] = f1(truth, explanation, self.k)
            if exact and labels[number] in self.classes:
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
