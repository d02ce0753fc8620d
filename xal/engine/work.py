"""What runs on shards: gather evidence on a unit of the pool batch by batch, and reduce it to something small."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file

from xal.chance import Chance
from xal.data.units import Block
from xal.errors import NumericalError, ResourceError, XalError
from xal.explainers import Explainer
from xal.models.model import Model, Network, Precision, Shape
from xal.strategies.strategy import Strategy
from xal.types import Evidence, Scored


@dataclass(frozen=True, kw_only=True)
class ModelRef:
    """Where a trained model is; small, so it travels with every unit and a restarted worker finds it again."""

    model: Model
    weights: Path
    version: str
    shape: Shape
    classes: int


@dataclass(frozen=True, kw_only=True)
class Partial:
    """What a unit comes to."""

    value: Any
    items: int
    unreadable: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Work:
    """What is done with a unit's evidence. Subclasses say what it is reduced to."""

    labels: ClassVar[bool] = False
    """Whether the reduction sees the pool's labels: evaluation alone."""

    needs: frozenset[str]
    model: ModelRef | None = None
    explainer: Explainer | None = None
    explained: Mapping[str, int] | None = None
    """Class of interest by id; None: the predicted one."""

    @abstractmethod
    def reduce(self, batches: Iterator[tuple[Evidence, Block]]) -> Any:
        """Evidence of each batch, with the block's columns for it -> a small value."""


@dataclass(frozen=True, kw_only=True)
class Score(Work):
    """Scores of a strategy, only the `keep` best of the unit."""

    strategy: Strategy
    chance: Chance
    keep: int
    prefilter: bool = False
    state: Any = None

    def reduce(self, batches: Iterator[tuple[Evidence, Block]]) -> Scored:
        """The local top-k."""
        best = Scored.empty()
        for evidence, _ in batches:
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
            scored = Scored(ids=evidence.ids, rows=evidence.rows, scores=np.asarray(scores, np.float64))
            best = Scored.concatenate([best, scored]).top(self.keep)
        return best


@dataclass(frozen=True, kw_only=True)
class Collect(Work):
    """The evidence itself, for a few items."""

    def reduce(self, batches: Iterator[tuple[Evidence, Block]]) -> Evidence | None:
        """All evidence of the unit; None where it holds no item."""
        parts = [evidence for evidence, _ in batches]
        return Evidence.concatenate(parts) if parts else None


@dataclass(frozen=True, kw_only=True)
class Measure(Work):
    """Confusion counts and log loss against the labels of a test pool."""

    labels: ClassVar[bool] = True
    classes: tuple[str, ...] = field(default=())

    def reduce(self, batches: Iterator[tuple[Evidence, Block]]) -> tuple[npt.NDArray[np.int64], float]:
        """((c, c) counts [true, predicted], summed negative log likelihood in nats)."""
        index = {name: i for i, name in enumerate(self.classes)}
        counts, loss = np.zeros((len(index), len(index)), np.int64), 0.0
        for evidence, columns in batches:
            unknown = {str(label) for label in columns["label"]} - index.keys()
            if unknown:
                raise XalError(f"the test pool has labels outside the classes: {', '.join(sorted(unknown)[:5])}")
            probabilities = np.asarray(evidence.probabilities, np.float64)
            true = np.array([index[str(label)] for label in columns["label"]], dtype=np.int64)
            np.add.at(counts, (true, probabilities.argmax(axis=1)), 1)
            loss -= float(np.log(np.maximum(probabilities[np.arange(len(true)), true], 1e-30)).sum())
        return counts, loss


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
        self._network: Network | None = None

    def network(self, ref: ModelRef) -> Network:
        """The model of `ref`, loaded when its version is new."""
        if self._network is None or self._version != ref.version:
            module = ref.model.untrained().create(ref.shape, ref.classes, seed=0)
            module.load_state_dict(load_file(ref.weights))
            self._network = Network(ref.model, module, self.device, precision=self.precision, compiled=self.compiled)
            self._version = ref.version
        return self._network

    def run(self, work: Work, block: Block) -> Partial:
        """Do the work on a block."""
        good = np.asarray(block["good"], bool)
        with threads(self.threads), torch.inference_mode():
            value = work.reduce(self._batches(work, block, good))
        return Partial(value=value, items=len(good), unreadable=tuple(str(item) for item in block["id"][~good]))

    def _batches(self, work: Work, block: Block, good: npt.NDArray[np.bool_]) -> Iterator[tuple[Evidence, Block]]:
        numbers = np.asarray(block["batch"])
        for number in np.unique(numbers):
            chosen = np.flatnonzero((numbers == number) & good)
            if len(chosen):
                columns = {name: np.asarray(values)[chosen] for name, values in block.items()}
                yield self._evidence(work, columns), columns

    def _evidence(self, work: Work, columns: Block) -> Evidence:
        ids, rows = columns["id"].astype(object), columns["row"]
        if not work.needs:
            return Evidence(ids=ids, rows=rows)
        if work.model is None:
            raise XalError("this pass needs predictions, and there is no trained model yet")
        network = self.network(work.model)
        payload = torch.from_numpy(np.ascontiguousarray(columns["payload"])).to(network.device)
        probabilities = embeddings = explanations = None
        if "embeddings" in work.needs:
            probabilities, embeddings = (part.float().cpu().numpy() for part in network.embed(payload))
        elif "probabilities" in work.needs:
            probabilities = network.probabilities(payload).float().cpu().numpy()
        if probabilities is not None and not np.isfinite(probabilities).all():
            broken = ~np.isfinite(probabilities).all(axis=1)
            raise NumericalError(
                f"the model gives probabilities that are not finite for {int(broken.sum())} of {len(ids)} items, "
                f"first for id '{ids[broken][0]}'; look at its weights (round's train.lr) and at that item"
            )
        if "explanations" in work.needs:
            if work.explainer is None:
                raise XalError("the strategy needs explanations; give the recipe an explainer")
            wanted = None if work.explained is None else torch.tensor([work.explained[str(item)] for item in ids])
            explanations = work.explainer.explain(network, payload, wanted)
        return Evidence(
            ids=ids, rows=rows, probabilities=probabilities, embeddings=embeddings, explanations=explanations
        )


class threads:
    """Fix torch's CPU threads for a while: rounding, and so a query, must not depend on the machine's cores."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __enter__(self) -> None:
        self.before = torch.get_num_threads()
        torch.set_num_threads(self.number)

    def __exit__(self, *_: object) -> None:
        torch.set_num_threads(self.before)
