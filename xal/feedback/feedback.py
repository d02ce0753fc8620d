"""Base class: how corrections change training, by further training items or by a penalty in the loss."""

from __future__ import annotations

from abc import ABC
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
from torch import Tensor

from xal.core._typing import Field
from xal.core.registry import Component
from xal.explainers.explainer import Explainer
from xal.types import Labels

Kinds = frozenset[str]
ALL: Kinds = frozenset({"image", "text", "features"})


@dataclass(frozen=True, eq=False, kw_only=True)
class CorrectionBatch:
    """Corrected items, and all labelled items to take values from.

    Payloads are uint8 images (b, c, h, w), float32 features (b, d), or an object array of b texts.
    """

    ids: Sequence[str]  # (b,)
    payload: Any  # (b, ...)
    labels: Labels  # (b,) class indices
    wrong: Any  # (b, h, w) or (b, d) bool; for texts b tuples of hashed word columns
    known: Any  # (n, ...) payload of every labelled item
    known_labels: Labels  # (n,) class indices


@dataclass(frozen=True, kw_only=True)
class Feedback(Component, ABC, family="feedback"):
    """Base: which corrections to ask for, and how they change training."""

    kinds: ClassVar[Kinds] = ALL
    """The kinds of pools that it takes."""
    requires: ClassVar[frozenset[str]] = frozenset()
    """Capabilities that it needs of a model: gradients, conv_layers, or self_explaining."""
    correction_kinds: ClassVar[tuple[str, ...]] = ("wrong",)
    """The kinds of corrections that it learns from: some of wrong, missed and against."""
    has_loss: ClassVar[bool] = False
    """Whether it changes the loss, by `forward` and `combine`."""

    needs_unflipped: ClassVar[bool] = False
    """Whether corrections name pixels of the item as shown, so that training must not flip images."""
    default_explainer: ClassVar[Any] = {"name": "lime", "repeats": 5}
    """The explainer, in recipe form, of a recipe that names none: CAIPI's."""
    default_strategy: ClassVar[str] = "margin"
    """The strategy of a recipe that names none: the items closest to the decision boundary."""

    shown: Annotated[int, Field(ge=1)] | Literal["gold"] | None = 5
    """Number of components of largest attribution that are shown to the annotator and may be marked wrong; null: all,
    and then items without an explanation, such as those of round 0, can be corrected as well; gold: as many as are
    relevant in the item, for simulations."""

    max_corrections: Annotated[int, Field(ge=1)] | None = None
    """c, the most components that a simulated annotator corrects in an item: those of largest attribution, or those
    farthest from their targets; null: all."""

    @property
    def makes_copies(self) -> bool:
        """Whether it turns corrections into further training items, by `copies`."""
        return type(self).copies is not Feedback.copies

    @property
    def learns(self) -> bool:
        """Whether corrections change training at all."""
        return self.has_loss or self.makes_copies

    def problems(self, explainer: Explainer | None, *, explains_concepts: bool) -> list[str]:
        """Problems of an explainer whose explanations it cannot use."""
        if explainer is None:
            return [f"feedback: '{self.name}' needs explanations; name an explainer"] if self.shown else []
        if explains_concepts and self.learns and "self_explaining" not in self.requires:
            return [f"feedback: '{self.name}' changes parts of items, but concepts are not parts; use cali_ranking"]
        return []

    def pool_problems(self, kind: str, width: int) -> list[str]:
        """Problems of a pool of this kind. width: the number of columns of a table."""
        if kind in self.kinds:
            return []
        return [f"feedback: '{self.name}' takes {', '.join(sorted(self.kinds))}, the pool holds {kind}"]

    @property
    def shown_to_people(self) -> int | None:
        """`shown` as a number; None: all. Recipes allow `gold`, which gives None, only with a simulated annotator."""
        return None if self.shown == "gold" else self.shown

    @property
    def onehot_width(self) -> int:
        """Columns per group of a table, such as the indicators of one category; 1: columns are corrected one by one."""
        return 1

    def takes_values(self, kind: str) -> bool:
        """Whether new values for such items come from other items, so that it cannot change a constant component."""
        return False

    def copies(self, batch: CorrectionBatch, seed: int) -> tuple[Any, npt.NDArray[np.int64]]:
        """(payload (m, ...) of further training items, (m,) index of the corrected item of each); by default none."""
        return batch.payload[:0], np.empty(0, np.int64)

    def forward(self, module: Any, inputs: Tensor, correction_targets: Any) -> tuple[Tensor, Tensor]:
        """One forward pass of a training batch: (logits (b, c), scalar penalty). inputs: preprocessed."""
        raise NotImplementedError(f"{self.name} does not change the loss")

    def combine(self, label_loss: Tensor, penalty: Tensor) -> Tensor:
        """The loss of a batch; by default the sum of label loss and penalty."""
        return label_loss + penalty
