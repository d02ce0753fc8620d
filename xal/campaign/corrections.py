"""The part of a round that corrections have: what its training learns from them, and what they say of the model."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from xal.core.rng import HashRng
from xal.data.decode import payload_of
from xal.data.label_space import LabelSpace
from xal.data.pool import Pool
from xal.engine.correction_targets import write_correction_targets
from xal.explainers.components import mask_of
from xal.feedback import Feedback
from xal.feedback.feedback import CorrectionBatch
from xal.store.artefacts import ITEMS, encoded, explanations_in, read_items, write_synthetic
from xal.store.directory import step_folder
from xal.store.ledger import Corrected, Queried
from xal.types import Correction, Explanations, Shape

COUNTEREXAMPLES, CORRECTION_TARGETS = "counterexamples.parquet", "correction_targets.parquet"


@dataclass(frozen=True, kw_only=True)
class Applied:
    """What a round's corrections became."""

    counterexamples: tuple[Path, ...] = ()
    correction_targets: Path | None = None
    idle: int = 0  # corrections of which no counterexample could be made


@dataclass(kw_only=True)
class CorrectionTraining:
    """Turns a run's corrections into what a training job takes."""

    directory: Path
    feedback: Feedback
    pool: Pool
    test: Pool | None
    shape: Shape
    label_space: LabelSpace
    rng: HashRng
    _payload: dict[int, dict[str, Any]] = field(default_factory=dict)  # by round, whose artefacts never change
    _explained: dict[int, dict[str, Explanations]] = field(default_factory=dict)

    def write(
        self,
        folder: Path,
        items: Sequence[Queried],
        corrections: Mapping[str, Corrected],
        held: frozenset[str],
    ) -> Applied:
        """Write what the corrections of items that are not held out become."""
        known = [item for item in items if item.label is not None and item.id not in held]
        applied = {item.id: corrections[item.id].correction for item in known if item.id in corrections}
        if not applied or not self.feedback.learns:
            return Applied()
        shown = self._shown(known, applied)
        targets = None
        if self.feedback.has_loss:
            wrong = {item: mask_of(said.wrong, self.shape, shown.get(item)) for item, said in applied.items()}
            targets = folder / CORRECTION_TARGETS
            write_correction_targets(targets, applied, wrong, shown)
        if not self.feedback.makes_copies:
            return Applied(correction_targets=targets)
        labels = {item.id: item.label or "" for item in known}
        asked = [item for item, said in applied.items() if said.wrong]
        made, sources = self._copies(known, asked, applied, shown, labels) if asked else (np.empty(0), [])
        idle = len(applied) - len(set(sources))
        if not len(made):
            return Applied(correction_targets=targets, idle=idle)
        write_synthetic(
            folder / COUNTEREXAMPLES,
            self.pool.kind,
            encoded(made),
            sources=sources,
            labels=[labels[item] for item in sources],
            classes=[self.label_space.index[labels[item]] for item in sources],
            weight=getattr(self.feedback, "weight", 1.0),
        )
        return Applied(counterexamples=(folder / COUNTEREXAMPLES,), correction_targets=targets, idle=idle)

    def _shown(self, known: Sequence[Queried], applied: Mapping[str, Correction]) -> dict[str, Explanations]:
        """The explanations that were corrected, by id."""
        rounds = sorted({item.round for item in known if item.id in applied})
        for round in rounds:
            if round not in self._explained:
                self._explained[round] = explanations_in(self._queried(round))
        return {item: each for round in rounds for item, each in self._explained[round].items() if item in applied}

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
        return self.directory / step_folder(round, "query")

    def _copies(
        self,
        known: Sequence[Queried],
        ids: list[str],
        applied: Mapping[str, Correction],
        shown: Mapping[str, Explanations],
        labels: Mapping[str, str],
    ) -> tuple[Any, list[str]]:
        """(counterexamples of `ids`, the item that each was made from), none equal to a test item."""
        payload = self._payloads(known)
        text = self.pool.kind == "text"
        wrong: Any = [
            applied[item].wrong if text else mask_of(applied[item].wrong, self.shape, shown.get(item)) for item in ids
        ]
        batch = CorrectionBatch(
            ids=ids,
            payload=_stacked([payload[item] for item in ids]),
            labels=np.array([self.label_space.index[labels[item]] for item in ids], np.int64),
            wrong=wrong if text else np.stack(wrong),
            known=_stacked([payload[item.id] for item in known]),
            known_labels=np.array([self.label_space.index[labels[item.id]] for item in known], np.int64),
        )
        made, source = self.feedback.copies(batch, self.rng.child("counterexamples").integer)
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


def _stacked(values: Sequence[Any]) -> Any:
    if values and isinstance(values[0], str):
        texts = np.empty(len(values), object)
        texts[:] = values
        return texts
    return np.stack(values)
