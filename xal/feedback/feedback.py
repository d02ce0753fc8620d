"""The family of what corrections become: further training items, or a penalty on what the network looks at."""

from __future__ import annotations

from abc import ABC
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
from torch import Tensor

from xal.component import Component
from xal.hints import Field
from xal.types import Labels

Kinds = frozenset[str]
ALL: Kinds = frozenset({"image", "text", "features"})


@dataclass(frozen=True, eq=False, kw_only=True)
class Lesson:
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
    wants: ClassVar[frozenset[str]] = frozenset()
    """What it needs of a model: gradients, layers of convolutions, or weights that explain (self_explaining)."""
    asks: ClassVar[tuple[str, ...]] = ("wrong",)
    """What it learns from, of wrong, missed and against: nothing else is asked for."""
    guides: ClassVar[bool] = False
    """Whether it acts on the loss, by `forward` and `combine`."""

    shown: Annotated[int, Field(ge=1)] | Literal["gold"] | None = 5
    """Components of largest attribution that the annotator is shown and asked about; null: all, and then items that
    no explanation was shown of, such as those of round 0, can be corrected as well; gold: as many as truly matter in
    the item, in simulations."""

    most: Annotated[int, Field(ge=1)] | None = None
    """c: components that a simulated annotator corrects an item in, at most: those of largest attribution, or farthest
    from what they should be; null: all."""

    @property
    def shown_to_people(self) -> int | None:
        """`shown`; a recipe with `gold` is refused unless its annotator is simulated."""
        return None if self.shown == "gold" else self.shown

    @property
    def together(self) -> int:
        """So many columns of a table each are one thing, as the indicators of a category are: it matters as a whole."""
        return 1

    def takes_values(self, kind: str) -> bool:
        """Whether it gives components of such items values of other items, so that it cannot change a constant."""
        return False

    def copies(self, lesson: Lesson, seed: int) -> tuple[Any, npt.NDArray[np.int64]]:
        """(payload of further training items, (m,) the corrected item each was made from); by default none."""
        return lesson.payload[:0], np.empty(0, np.int64)

    def forward(self, network: Any, inputs: Tensor, guidance: Any) -> tuple[Tensor, Tensor]:
        """(logits (b, c), penalty): one forward of a training batch; inputs are preprocessed."""
        raise NotImplementedError(f"{self.name} does not act on the loss")

    def combine(self, label_loss: Tensor, penalty: Tensor) -> Tensor:
        """The loss of a batch; by default their sum."""
        return label_loss + penalty
