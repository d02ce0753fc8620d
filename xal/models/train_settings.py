"""Training settings: the `train` section of a recipe."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from xal.core._typing import Field


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """Training settings, the same for every round."""

    optimizer: Literal["adam", "sgd"] = "adam"
    """Adam, or SGD with momentum."""
    lr: Annotated[float, Field(gt=0)] = 1e-3
    """Learning rate."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """Momentum of SGD; adam ignores it."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """L2 penalty, as the optimizer applies it."""
    batch_size: Annotated[int, Field(ge=1, le=10**6)] = 64
    """Items per batch, over all workers together."""
    epochs: Annotated[int, Field(ge=1, le=10**6)] = 20
    """Passes over the training items; the best by validation loss is kept."""
    start: Literal["scratch", "finetune"] = "scratch"
    """finetune: every round after the first starts from the best weights of the previous round."""
    finetune_lr: Annotated[float, Field(gt=0)] | None = None
    """Learning rate of fine-tuning rounds; null: lr."""
    finetune_epochs: Annotated[int, Field(ge=1)] | None = None
    """Epochs of fine-tuning rounds; null: epochs."""
    head_only_rounds: Annotated[int, Field(ge=0, le=10**5)] = 0
    """In so many first rounds only the network's last linear layer is trained, later all of it: linear probing, then
    fine-tuning (Kumar et al. 2022). With start: finetune, the head is where fine-tuning starts. For networks with
    pretrained weights."""
    validation: Annotated[float, Field(ge=0, lt=1)] = 0.2
    """Share of the labelled items held out for validation; a hash of the id decides, so an item keeps its split."""
    plateau_patience: Annotated[int, Field(ge=1)] | None = None
    """Epochs without a lower validation loss after which lr is multiplied by plateau_factor; null: never."""
    finetune_plateau_patience: Annotated[int, Field(ge=1)] | None = None
    """plateau_patience of fine-tuning rounds; null: plateau_patience."""
    plateau_factor: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """What lr is multiplied by."""
    plateau_times: Annotated[int, Field(ge=0)] = 2
    """Maximum number of times that lr is multiplied by plateau_factor."""
    flip: bool = False
    """Whether images are flipped horizontally at random."""
    threads: Annotated[int, Field(ge=1, le=1024)] = 2
    """CPU threads of each training process. The number is fixed because rounding depends on it."""
