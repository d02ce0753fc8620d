"""What runs on shards: gather evidence on a unit of the pool batch by batch, and reduce it to something small."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load
from threadpoolctl import ThreadpoolController

from xal.chance import Chance
from xal.data.units import Block
from xal.errors import NumericalError, ResourceError, RunError, XalError
from xal.explainers import Explainer
from xal.models.model import Model, Precision, Shape
from xal.store.explained import ExplainedItems
from xal.strategies.strategy import Strategy
from xal.types import Evidence, Explanations, Scored

UNREADABLE = "cannot be read"
BATCH_TO_BLAME = 8  # where so many items fail together, without exception, it is not for what they hold


@dataclass(frozen=True, kw_only=True)
class ModelRef:
    """Where a trained model is; small, so it travels with every unit and a restarted worker finds it again."""

    model: Model
    weights: Path
    version: str
    shape: Shape
    classes: int
    background: npt.NDArray[Any] | None = None
    """(m, ...) payload of labelled items, for explainers that replace what is absent by them."""


@dataclass(frozen=True, kw_only=True)
class Partial:
    """What a unit comes to."""

    value: Any
    items: int
    unreadable: tuple[tuple[str, str], ...] = ()  # (id, why): what cannot be decoded, or cannot be scored


@dataclass(frozen=True, kw_only=True)
class Work:
    """What is done with the evidence on each batch, and how what comes of the batches is joined."""

    labels: ClassVar[bool] = False
    """Whether the reduction sees the pool's labels: evaluation alone."""

    needs: frozenset[str]
    model: ModelRef | None = None
    explainer: Explainer | None = None
    explained: Mapping[str, int] | None = None
    """Class of interest by id; None: the predicted one."""
    max_failures: int = 100
    """Items that may fail; see Engine.max_failures."""
    explained_items: Path | None = None
    """Where explanations by this model and explainer are kept; None: nowhere."""

    @property
    def without_model(self) -> bool:
        """Whether ids, or the items' own representation, are enough."""
        return self.needs <= {"represented"}

    @abstractmethod
    def map(self, evidence: Evidence, columns: Block) -> Any:
        """Evidence on a batch, with the block's columns for it -> a small value."""

    @abstractmethod
    def join(self, values: Sequence[Any]) -> Any:
        """The values of a unit's batches, of which there may be none -> one small value."""


@dataclass(frozen=True, kw_only=True)
class Score(Work):
    """Scores of a strategy, only the `keep` best of the unit."""

    strategy: Strategy
    chance: Chance
    keep: int
    prefilter: bool = False
    state: Any = None

    def map(self, evidence: Evidence, columns: Block) -> Scored:
        """The scores of a batch."""
        if self.prefilter:
            scores = self.strategy.prefilter(evidence, self.chance)
        else:
            scores = self.strategy.score(evidence, self.state, self.chance)
        finite = np.isfinite(scores)
        if not finite.all():
            raise NumericalError(
                f"strategy '{self.strategy.name}' gave {int((~finite).sum())} scores that are not finite, "
                f"first for id '{evidence.ids[~finite][0]}'"
            )
        return Scored(ids=evidence.ids, rows=evidence.rows, scores=np.asarray(scores, np.float64))

    def join(self, values: Sequence[Scored]) -> Scored:
        """The local top-k."""
        return Scored.concatenate(values).top(self.keep)


@dataclass(frozen=True, kw_only=True)
class Collect(Work):
    """The evidence itself, for a few items."""

    def map(self, evidence: Evidence, columns: Block) -> Evidence:
        """As it is."""
        return evidence

    def join(self, values: Sequence[Evidence]) -> Evidence | None:
        """All evidence of the unit; None where it holds no item."""
        return Evidence.concatenate(values) if values else None


@dataclass(frozen=True, kw_only=True)
class Measure(Work):
    """Confusion counts and log loss against the labels of a test pool."""

    labels: ClassVar[bool] = True
    classes: tuple[str, ...] = field(default=())

    def map(self, evidence: Evidence, columns: Block) -> tuple[npt.NDArray[np.int64], float]:
        """((c, c) counts [true, predicted], summed negative log likelihood in nats)."""
        index = {name: i for i, name in enumerate(self.classes)}
        unknown = {str(label) for label in columns["label"]} - index.keys()
        if unknown:
            raise XalError(f"the test pool has labels outside the classes: {', '.join(sorted(unknown)[:5])}")
        probabilities = np.asarray(evidence.probabilities, np.float64)
        true = np.array([index[str(label)] for label in columns["label"]], dtype=np.int64)
        counts = np.zeros((len(index), len(index)), np.int64)
        np.add.at(counts, (true, probabilities.argmax(axis=1)), 1)
        loss = -float(np.log(np.maximum(probabilities[np.arange(len(true)), true], 1e-30)).sum())
        return counts, loss

    def join(self, values: Sequence[tuple[npt.NDArray[np.int64], float]]) -> tuple[npt.NDArray[np.int64], float]:
        """Their sums."""
        none = np.zeros((len(self.classes), len(self.classes)), np.int64)
        return sum((counts for counts, _ in values), none), sum(loss for _, loss in values)


def pick_device(device: str) -> str:
    """`auto`: the GPU where this process sees one. A GPU asked for and absent is an error."""
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ResourceError(f"engine.device is '{device}' but this process sees no GPU; set engine.device: cpu or auto")
    return device


class Worker:
    """Holds the latest model on a device; lives through the campaign, whatever the pass."""

    def __init__(
        self, device: str = "auto", threads: int = 1, precision: Precision = "float32", compiled: bool = False
    ) -> None:
        self.device, self.threads, self.precision, self.compiled = pick_device(device), threads, precision, compiled
        self._version = ""
        self._network: Any = None
        self._kept: dict[Path, ExplainedItems] = {}

    def network(self, ref: ModelRef) -> Any:
        """The model of `ref`, loaded when its version is new."""
        if self._network is None or self._version != ref.version:
            where = {"device": self.device, "precision": self.precision, "compiled": self.compiled}
            self._network = ref.model.network(load(ref.weights.read_bytes()), ref.shape, ref.classes, **where)
            self._version = ref.version
            self._kept.clear()
            if ref.background is not None:
                self._network.background = payload_on(ref.background, self._network.device)
        return self._network

    def run(self, work: Work, block: Block) -> Partial:
        """Do the work on a block, a batch at a time.

        What cannot be decoded, and what fails even alone, is reported with the reason. Raises RunError where more
        than `work.max_failures` items fail, or all of a batch: then the items are not to blame.
        """
        good = np.asarray(block["good"], bool)
        unreadable = [(str(item), UNREADABLE) for item in block["id"][~good]]
        with threads(self.threads):
            if work.model is not None and not work.without_model:
                # here, so that weights that cannot be read are not the items' fault, and are no inference tensors
                self.network(work.model)
            values = self._values(work, block, good, unreadable)
        return Partial(value=work.join(values), items=len(good), unreadable=tuple(unreadable))

    def _values(
        self, work: Work, block: Block, good: npt.NDArray[np.bool_], unreadable: list[tuple[str, str]]
    ) -> list[Any]:
        values: list[Any] = []
        with torch.inference_mode():
            for batch in _batches(block, good, whole=work.without_model):
                found = self._map(work, batch, unreadable)
                if not found and len(batch["id"]) >= BATCH_TO_BLAME:
                    item, why = unreadable[-1]
                    raise RunError(f"all {len(batch['id'])} items of a batch fail, the last, '{item}': {why}")
                values += found
        return values

    def _map(self, work: Work, columns: Block, failed: list[tuple[str, str]]) -> list[Any]:
        """The value of a batch; of one that fails, for want of memory or otherwise, the values of its halves."""
        try:
            return [work.map(self._evidence(work, columns), columns)]
        except XalError:
            raise
        except Exception as error:  # a user's code may raise anything; what it raised is kept
            why = f"{type(error).__name__}: {error}"
        if torch.cuda.is_available():
            torch.cuda.empty_cache()  # or the halves find the memory of the whole still taken
        items = len(columns["id"])
        if items == 1:
            failed.append((str(columns["id"][0]), why[:500]))
            check_failures(failed, work.max_failures)
            return []
        half = items // 2
        parts = [{name: values[part] for name, values in columns.items()} for part in (slice(half), slice(half, None))]
        return [value for part in parts for value in self._map(work, part, failed)]

    def _evidence(self, work: Work, columns: Block) -> Evidence:
        ids, rows = columns["id"].astype(object), columns["row"]
        if not work.needs:
            return Evidence(ids=ids, rows=rows)
        represented = columns.get("words")
        if work.without_model:
            if represented is None:
                represented = _explainer(work).represent(payload_on(columns["payload"], "cpu"))
            return Evidence(ids=ids, rows=rows, represented=represented)
        if work.model is None:
            raise XalError("this pass needs predictions, and there is no trained model yet")
        network = self.network(work.model)
        payload = payload_on(columns["payload"], network.device)
        probabilities = embeddings = explanations = None
        if "embeddings" in work.needs:
            probabilities, embeddings = (part.cpu().numpy() for part in network.embed(payload))
        elif "probabilities" in work.needs:
            probabilities = network.probabilities(payload).cpu().numpy()
        if probabilities is not None and not np.isfinite(probabilities).all():
            broken = ~np.isfinite(probabilities).all(axis=1)
            raise NumericalError(
                f"the model gives probabilities that are not finite for {int(broken.sum())} of {len(ids)} items, "
                f"first for id '{ids[broken][0]}'; look at its weights (round's train.lr) and at that item"
            )
        if "explanations" in work.needs:
            explanations = self._explain(work, network, [str(item) for item in ids], payload)
        if "represented" in work.needs:
            represented = _explainer(work).represent(payload)
        return Evidence(
            ids=ids,
            rows=rows,
            probabilities=probabilities,
            embeddings=embeddings,
            explanations=explanations,
            represented=represented,
        )

    def _explain(self, work: Work, network: Any, ids: list[str], payload: Any) -> Explanations:
        """By item from where they are kept; what is not there is computed, and kept."""
        kept = None
        if work.explained_items is not None:
            kept = self._kept.setdefault(work.explained_items, ExplainedItems(work.explained_items))
        known, parts = kept.get(ids) if kept else ([], [])
        have = set(known)
        missing = [number for number, item in enumerate(ids) if item not in have]
        if missing:
            classes = work.explained
            wanted = None if classes is None else torch.tensor([classes[ids[number]] for number in missing])
            fresh = _explainer(work).explain(network, payload[missing], wanted)
            new = [ids[number] for number in missing]
            if kept:
                kept.put(new, fresh)
            known, parts = known + new, [*parts, fresh]
        place = {item: number for number, item in enumerate(known)}
        return Explanations.concatenate(parts).take([place[item] for item in ids])


def payload_on(payload: Any, device: Any) -> Any:
    """Images and features as a tensor on the device, texts as they are."""
    if payload.dtype == object:
        return payload
    return torch.from_numpy(np.require(payload, requirements=("C", "W"))).to(device)


def _explainer(work: Work) -> Explainer:
    if work.explainer is None:
        raise XalError("the strategy needs explanations; give the recipe an explainer")
    return work.explainer


def _batches(block: Block, good: npt.NDArray[np.bool_], whole: bool) -> Iterator[Block]:
    """The decoded items of each batch of the block; of all together where no network sees them."""
    numbers = np.zeros(len(good)) if whole else np.asarray(block["batch"])
    for number in np.unique(numbers):
        chosen = np.flatnonzero((numbers == number) & good)
        if len(chosen):
            yield block if len(chosen) == len(good) else {name: values[chosen] for name, values in block.items()}


def check_failures(failed: Sequence[tuple[str, str]], most: int) -> None:
    """Raise RunError where more than `most` of the (id, why) are failures, and not images that cannot be decoded."""
    failures = [(item, why) for item, why in failed if why != UNREADABLE]
    if len(failures) > most:
        raise RunError(
            f"more than {most} items fail (engine.max_failures), first '{failures[0][0]}': {failures[0][1]}; "
            "look at the model, the explainer and the strategy, or at these items"
        )


class threads:
    """Fix torch's and numpy's CPU threads for a while: rounding, and so a query, must not depend on the machine's
    cores, and processes side by side must not fight for them."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __enter__(self) -> None:
        self.before = torch.get_num_threads()
        torch.set_num_threads(self.number)
        self.blas = _blas().limit(limits=self.number, user_api="blas")

    def __exit__(self, *_: object) -> None:
        self.blas.restore_original_limits()
        torch.set_num_threads(self.before)


@lru_cache(maxsize=1)
def _blas() -> ThreadpoolController:
    """What is loaded now: looking for it takes longer than many a batch."""
    import scipy.linalg  # noqa: F401 (has a BLAS of its own)

    return ThreadpoolController()
