"""Training data, correction targets, and the settings and result of a training."""

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
    """Corrections of n training items as arrays, for losses that learn from them."""

    corrected: Tensor  # (n,) bool: the item has a correction
    wrong: Tensor  # (n, h, w) or (n, d) bool: pixels or features that should not matter
    labels: Tensor  # (n,) int64 class indices
    explained: Tensor  # (n,) int64: class whose explanation was shown
    corrected_features: Tensor  # (n, f) bool: features of the explanation that were corrected
    excess: Tensor  # (n, f) float32: z_hat - z, shown minus corrected attribution
    target: Tensor  # (n, f) float32: z, corrected attribution of the features in `corrected_features`

    def take(self, chosen: Tensor) -> CorrectionTargets:
        """The targets of the items selected by a mask or by positions."""
        return CorrectionTargets(**{name: values[chosen] for name, values in vars(self).items()})

    def to(self, device: torch.device) -> CorrectionTargets:
        """The same targets on `device`."""
        return CorrectionTargets(**{name: values.to(device) for name, values in vars(self).items()})

    def flipped(self, which: Tensor) -> CorrectionTargets:
        """The targets after mirroring the images that the (n,) mask `which` selects."""
        wrong = torch.where(which[:, None, None], self.wrong.flip(-1), self.wrong)
        return replace(self, wrong=wrong)


class CorrectionLoss(Protocol):
    """A loss that learns from corrections."""

    def forward(self, module: Any, inputs: Tensor, correction_targets: CorrectionTargets) -> tuple[Tensor, Tensor]:
        """((b, c) logits, penalty term) of a batch."""
        ...

    def combine(self, label_loss: Tensor, penalty: Tensor) -> Tensor:
        """The training loss, from the label loss and the penalty."""
        ...


@dataclass(frozen=True, eq=False, kw_only=True)
class TrainingData:
    """Labelled items, followed by synthetic items, which do not count as labels."""

    inputs: Any
    """(n, ...) uint8 images 0-255 (n, c, h, w), float32 features (n, d), or an object array of texts (n,).

    `StoredImages` in place of an array of images if the model `streams` and there are many.
    """
    labels: Labels  # (n,) class indices
    n_classes: int
    shape: Shape  # shape of an item
    n_labelled: int  # the first n_labelled items are labelled, the others synthetic
    sample_weight: Floats | None = None  # (n,) weight of each item in the loss; None: all 1
    on_vectors: bool = False
    """Whether `inputs` are the vectors (n, d) of the model's encoder, computed before, in place of items."""
    source: Rows | None = None
    """(n - n_labelled,) index of the labelled item that each synthetic item was made from; -1: not in this data."""
    validation: TrainingData | None = None
    """Held-out items, which determine the best epoch; None: there are none."""
    correction_targets: CorrectionTargets | None = None
    """Corrections of the n items; None: the feedback has no loss."""

    def __len__(self) -> int:
        return len(self.labels)


def no_progress(done: int, total: int) -> None:
    """A progress callback that does nothing."""


@dataclass(frozen=True, eq=False, kw_only=True)
class TrainContext:
    """Settings, seed, device and callbacks of a training."""

    settings: TrainSettings = TrainSettings()  # noqa: RUF009 (frozen)
    seed: int = 0
    start: Any = None
    """Weights by name to fine-tune from; None: train from scratch."""
    head_only: bool = False
    """Whether only the last linear layer is trained."""
    correction_loss: CorrectionLoss | None = None
    device: str = "cpu"
    rank: int = 0
    workers: int = 1
    """Processes that train together; each takes every workers-th item of a batch."""
    wrap: Callable[[Any], Any] = lambda module: module
    """Wraps a module for distributed training."""
    progress: Callable[[int, int], None] = no_progress
    """Called after each epoch with (epochs done, total epochs)."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Fitted:
    """Result of a training."""

    arrays: Mapping[str, npt.NDArray[Any]]
    """Weights by name."""
    metrics: Mapping[str, Any]
    """Metrics by name, which go to the ledger."""
