"""The family of what corrections become: further training items, or a penalty on what the network looks at."""

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
    """Corrected items, and all labelled ones to take values from. Payloads: uint8 images (b, c, h, w), float32
    features (b, d), or texts."""

    ids: Sequence[str]  # (b,)
    payload: Any  # (b, ...)
    labels: Labels  # (b,)
    wrong: Any  # (b, h, w) or (b, d) bool; of texts b tuples of words' columns
    known: Any  # (n, ...) the payload of every labelled item
    known_labels: Labels  # (n,)


@dataclass(frozen=True, kw_only=True)
class Feedback(Component, ABC, family="feedback"):
    """Base: asks for corrections of what is shown, and teaches by them."""

    kinds: ClassVar[Kinds] = ALL
    """What its pools may hold."""
    requires: ClassVar[frozenset[str]] = frozenset()
    """What it needs of a model: gradients, layers of convolutions, or weights that explain (self_explaining)."""
    correction_kinds: ClassVar[tuple[str, ...]] = ("wrong",)
    """What it learns from, of wrong, missed and against: nothing else is asked for."""
    has_loss: ClassVar[bool] = False
    """Whether it acts on the loss, by `forward` and `combine`."""

    needs_unflipped: ClassVar[bool] = False
    """Whether corrections name pixels of the item as it was shown, so that training must not mirror images."""
    default_explainer: ClassVar[Any] = {"name": "lime", "repeats": 5}
    """The explainer of a recipe that names none, as a recipe has it: CAIPI's."""
    default_strategy: ClassVar[str] = "margin"
    """The strategy of a recipe that names none: what is closest to the decision."""

    shown: Annotated[int, Field(ge=1)] | Literal["gold"] | None = 5
    """Components of largest attribution that the annotator is shown and asked about; null: all, and then items that
    no explanation was shown of, such as those of round 0, can be corrected as well; gold: as many as truly matter in
    the item, in simulations."""

    max_corrections: Annotated[int, Field(ge=1)] | None = None
    """c: components that a simulated annotator corrects an item in, at most: those of largest attribution, or farthest
    from what they should be; null: all."""

    @property
    def makes_copies(self) -> bool:
        """Whether it turns corrections into further training items, by `copies`."""
        return type(self).copies is not Feedback.copies

    @property
    def learns(self) -> bool:
        """Whether corrections change training at all."""
        return self.has_loss or self.makes_copies

    def problems(self, explainer: Explainer | None, *, explains_concepts: bool) -> list[str]:
        """Why corrections of the explainer's explanations do not serve it."""
        if explainer is None:
            return [f"feedback: '{self.name}' asks about explanations; name an explainer"] if self.shown else []
        if explains_concepts and self.learns and "self_explaining" not in self.requires:
            return [f"feedback: '{self.name}' changes parts of items, and concepts are none; take cali_ranking"]
        return []

    def pool_problems(self, kind: str, width: int) -> list[str]:
        """Why it does not take what a pool holds. width: columns of a table."""
        if kind in self.kinds:
            return []
        return [f"feedback: '{self.name}' takes {', '.join(sorted(self.kinds))}, the pool holds {kind}"]

    @property
    def shown_to_people(self) -> int | None:
        """`shown`; a recipe with `gold` is refused unless its annotator is simulated."""
        return None if self.shown == "gold" else self.shown

    @property
    def onehot_width(self) -> int:
        """So many columns of a table each are one thing, as the indicators of a category are: it matters as a whole."""
        return 1

    def takes_values(self, kind: str) -> bool:
        """Whether it gives components of such items values of other items, so that it cannot change a constant."""
        return False

    def copies(self, batch: CorrectionBatch, seed: int) -> tuple[Any, npt.NDArray[np.int64]]:
        """(payload of further training items, (m,) the corrected item each was made from); by default none."""
        return batch.payload[:0], np.empty(0, np.int64)

    def forward(self, module: Any, inputs: Tensor, correction_targets: Any) -> tuple[Tensor, Tensor]:
        """(logits (b, c), penalty): one forward of a training batch; inputs are preprocessed."""
        raise NotImplementedError(f"{self.name} does not act on the loss")

    def combine(self, label_loss: Tensor, penalty: Tensor) -> Tensor:
        """The loss of a batch; by default their sum."""
        return label_loss + penalty
