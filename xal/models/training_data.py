"""What models are fitted to, and what corrections say of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy.typing as npt
import torch
from torch import Tensor

from xal.models.train_settings import TrainSettings
from xal.types import Floats, Labels, Rows, Shape


@dataclass(frozen=True, eq=False, kw_only=True)
class CorrectionTargets:
    """What corrections say of n items, for losses that learn from them."""

    corrected: Tensor  # (n,) bool
    wrong: Tensor  # (n, h, w) or (n, d) bool: what should not matter
    labels: Tensor  # (n,) int64
    explained: Tensor  # (n,) int64 the class whose explanation was shown
    said: Tensor  # (n, f) bool: components of the explanation that were corrected
    push: Tensor  # (n, f) float32 z_hat - z: shown minus corrected attribution
    target: Tensor  # (n, f) float32 z: corrected attribution, where something was said

    def take(self, chosen: Tensor) -> CorrectionTargets:
        """The chosen ones, by a mask or by positions."""
        return CorrectionTargets(**{name: values[chosen] for name, values in vars(self).items()})

    def to(self, device: torch.device) -> CorrectionTargets:
        """On a device."""
        return CorrectionTargets(**{name: values.to(device) for name, values in vars(self).items()})

    def flipped(self, which: Tensor) -> CorrectionTargets:
        """Of images of which some are mirrored."""
        wrong = torch.where(which[:, None, None], self.wrong.flip(-1), self.wrong)
        return replace(self, wrong=wrong)


class CorrectionLoss(Protocol):
    """A loss that learns from corrections."""

    def forward(self, module: Any, inputs: Tensor, correction_targets: CorrectionTargets) -> tuple[Tensor, Tensor]:
        """((b, c) logits, penalty) of a batch."""
        ...

    def combine(self, label_loss: Tensor, penalty: Tensor) -> Tensor:
        """The loss."""
        ...


@dataclass(frozen=True, eq=False, kw_only=True)
class TrainingData:
    """Labelled items, then synthetic ones, which are no labels."""

    inputs: Any
    """(n, ...) uint8 images 0-255 (n, c, h, w), float32 features (n, d), or an object array of texts (n,)."""
    labels: Labels  # (n,) class indices
    n_classes: int
    shape: Shape  # of an item
    n_labelled: int  # the first so many items are labelled ones
    sample_weight: Floats | None = None  # (n,) of each item in the loss; None: all 1
    source: Rows | None = None
    """(n - n_labelled,) which labelled item each synthetic one was made from; -1: one that is not in here."""
    validation: TrainingData | None = None
    """Items to choose the best epoch by."""
    correction_targets: CorrectionTargets | None = None
    """What corrections say of the n items; None: the feedback has no loss."""

    def __len__(self) -> int:
        return len(self.labels)


def no_progress(done: int, total: int) -> None:
    """Report nothing."""


@dataclass(frozen=True, eq=False, kw_only=True)
class TrainContext:
    """How and where to train."""

    settings: TrainSettings = TrainSettings()  # noqa: RUF009 (frozen)
    seed: int = 0
    start: Any = None
    """Arrays by name to fine-tune from; None: from scratch."""
    correction_loss: CorrectionLoss | None = None
    device: str = "cpu"
    rank: int = 0
    workers: int = 1
    """Processes that train together; each takes every workers-th item of a batch."""
    wrap: Callable[[Any], Any] = lambda module: module
    """Makes a module distributed."""
    progress: Callable[[int, int], None] = no_progress
    """Called with (epochs done, epochs in all)."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Fitted:
    """What training came to."""

    arrays: Mapping[str, npt.NDArray[Any]]
    metrics: Mapping[str, Any]
    """What the ledger keeps of it: numbers by name."""
