"""How a round trains: the `train` section of a recipe."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from xal.core._typing import Field


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """How a round trains."""

    optimizer: Literal["adam", "sgd"] = "adam"
    lr: Annotated[float, Field(gt=0)] = 1e-3
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """Of SGD."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    batch_size: Annotated[int, Field(ge=1)] = 64
    """Over all workers together."""
    epochs: Annotated[int, Field(ge=1)] = 20
    start: Literal["scratch", "finetune"] = "scratch"
    """finetune: rounds after the first start from the last round's best weights."""
    finetune_lr: Annotated[float, Field(gt=0)] | None = None
    """Learning rate of the rounds that fine-tune; null: lr."""
    finetune_epochs: Annotated[int, Field(ge=1)] | None = None
    """Epochs of the rounds that fine-tune; null: epochs."""
    validation: Annotated[float, Field(ge=0, lt=1)] = 0.2
    """Share of the labelled items held out, by a hash of the id: once below the share, always held out."""
    plateau_patience: Annotated[int, Field(ge=1)] | None = None
    """Epochs without a lower validation loss before lr is multiplied by plateau_factor; null: never."""
    finetune_plateau_patience: Annotated[int, Field(ge=1)] | None = None
    """The same in the rounds that fine-tune; null: plateau_patience."""
    plateau_factor: Annotated[float, Field(gt=0, lt=1)] = 0.1
    plateau_times: Annotated[int, Field(ge=0)] = 2
    """At most so many decays."""
    flip: bool = False
    """Random horizontal flips."""
    threads: Annotated[int, Field(ge=1)] = 2
    """CPU threads of each training process; fixed, since rounding depends on it."""
