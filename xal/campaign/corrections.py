"""Prepare training from corrections: counterexamples, and the targets of a correction loss."""

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
from xal.errors import XalError
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
    """The training inputs made from a run's corrections."""

    counterexamples: tuple[Path, ...] = ()
    correction_targets: Path | None = None
    idle: int = 0  # corrections that gave no counterexample


@dataclass(kw_only=True)
class CorrectionTraining:
    """Turns a run's corrections into the inputs of a training job."""

    directory: Path
    feedback: Feedback
    pool: Pool
    test: Pool | None
    shape: Shape
    label_space: LabelSpace
    rng: HashRng
    _payload_cache: dict[int, dict[str, Any]] = field(default_factory=dict)  # by round: its artefacts never change
    _explanation_cache: dict[int, dict[str, Explanations]] = field(default_factory=dict)

    def write(
        self,
        folder: Path,
        items: Sequence[Queried],
        corrections: Mapping[str, Corrected],
        held: frozenset[str],
    ) -> Applied:
        """Write counterexamples and correction targets to `folder`.

        held: ids of the held-out items, whose corrections are not used.
        """
        labelled = [item for item in items if item.label is not None and item.id not in held]
        corrected = {item.id: corrections[item.id].correction for item in labelled if item.id in corrections}
        if not corrected or not self.feedback.learns:
            return Applied()
        shown = self._shown(labelled, corrected)
        targets = None
        if self.feedback.has_loss:
            wrong = {
                item: mask_of(correction.wrong, self.shape, shown.get(item)) for item, correction in corrected.items()
            }
            targets = folder / CORRECTION_TARGETS
            write_correction_targets(targets, corrected, wrong, shown)
        if not self.feedback.makes_copies:
            return Applied(correction_targets=targets)
        labels = {item.id: item.label or "" for item in labelled}
        with_wrong = [item for item, correction in corrected.items() if correction.wrong]
        copies, sources = (
            self._copies(labelled, with_wrong, corrected, shown, labels) if with_wrong else (np.empty(0), [])
        )
        idle = len(corrected) - len(set(sources))
        if not len(copies):
            return Applied(correction_targets=targets, idle=idle)
        write_synthetic(
            folder / COUNTEREXAMPLES,
            self.pool.kind,
            encoded(copies),
            sources=sources,
            labels=[labels[item] for item in sources],
            classes=[self.label_space.index[labels[item]] for item in sources],
            weight=getattr(self.feedback, "weight", 1.0),
        )
        return Applied(counterexamples=(folder / COUNTEREXAMPLES,), correction_targets=targets, idle=idle)

    def _shown(self, labelled: Sequence[Queried], corrected: Mapping[str, Correction]) -> dict[str, Explanations]:
        """The explanations that were corrected, by id."""
        rounds = sorted({item.round for item in labelled if item.id in corrected})
        for round in rounds:
            if round not in self._explanation_cache:
                self._explanation_cache[round] = explanations_in(self._query_folder(round))
        return {
            item: explanation
            for round in rounds
            for item, explanation in self._explanation_cache[round].items()
            if item in corrected
        }

    def _payloads(self, labelled: Sequence[Queried]) -> dict[str, Any]:
        """The decoded payload of every item of the rounds of `labelled`, by id."""
        rounds = sorted({item.round for item in labelled})
        for round in rounds:
            if round not in self._payload_cache:
                table = read_items(self._query_folder(round) / ITEMS, ["id", self.pool.kind])
                values, _ = payload_of(table[self.pool.kind], self.pool.kind, self.shape)
                self._payload_cache[round] = dict(zip(table["id"].to_pylist(), values, strict=True))
        return {item: payload for round in rounds for item, payload in self._payload_cache[round].items()}

    def _query_folder(self, round: int) -> Path:
        return self.directory / step_folder(round, "query")

    def _copies(
        self,
        labelled: Sequence[Queried],
        ids: list[str],
        corrected: Mapping[str, Correction],
        shown: Mapping[str, Explanations],
        labels: Mapping[str, str],
    ) -> tuple[Any, list[str]]:
        """(counterexamples, the id in `ids` that each was made from), without those equal to a test item."""
        payload = self._payloads(labelled)
        text = self.pool.kind == "text"
        wrong: Any = [
            corrected[item].wrong if text else mask_of(corrected[item].wrong, self.shape, shown.get(item))
            for item in ids
        ]
        batch = CorrectionBatch(
            ids=ids,
            payload=_stacked([payload[item] for item in ids]),
            labels=np.array([self.label_space.index[labels[item]] for item in ids], np.int64),
            wrong=wrong if text else np.stack(wrong),
            known=_stacked([payload[item.id] for item in labelled]),
            known_labels=np.array([self.label_space.index[labels[item.id]] for item in labelled], np.int64),
        )
        copies, source = self.feedback.copies(batch, self.rng.child("counterexamples").integer)
        feedback = f"feedback '{self.feedback.name}'"
        shape = np.shape(batch.payload)[1:]
        if len(copies) != len(source) or (len(source) and not (min(source) >= 0 and max(source) < len(ids))):
            raise XalError(f"{feedback} gave {len(copies)} copies with sources {list(source)[:5]} of {len(ids)} items")
        if len(copies) and np.shape(copies)[1:] != shape:
            raise XalError(f"{feedback} gave copies of shape {np.shape(copies)[1:]}; expected {shape}")
        allowed = np.array([digest(copy) not in self._test_digests for copy in copies], bool)
        return copies[allowed], [ids[index] for index in source[allowed]]

    @cached_property
    def _test_digests(self) -> frozenset[bytes]:
        """Digests of the test items: a counterexample equal to one would leak it into training."""
        if self.test is None:
            return frozenset()
        digests: set[bytes] = set()
        for _, table in self.test.scan([self.pool.kind]):
            payload, readable = payload_of(table[self.pool.kind], self.pool.kind, self.shape)
            digests.update(digest(item) for item in payload[readable])
        return frozenset(digests)


def digest(item: Any) -> bytes:
    """The 16-byte BLAKE2b digest of an item's payload, a text or an array."""
    return hashlib.blake2b(item.encode() if isinstance(item, str) else item.tobytes(), digest_size=16).digest()


def _stacked(values: Sequence[Any]) -> Any:
    if values and isinstance(values[0], str):
        texts = np.empty(len(values), object)
        texts[:] = values
        return texts
    return np.stack(values)
