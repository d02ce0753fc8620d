"""Fit a network to labelled images: one loop for in-process and distributed training.

Loss: cross-entropy in nats. The weights kept are those of the epoch with the lowest validation loss (the first such);
without a validation split, the last epoch's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from xal.errors import NumericalError, XalError
from xal.hints import Field
from xal.models.model import Model


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


@dataclass(frozen=True, eq=False, kw_only=True)
class Guidance:
    """What corrections say of n items, for losses that learn from them."""

    corrected: Tensor  # (n,) bool
    wrong: Tensor  # (n, h, w) or (n, d) bool: what should not matter
    labels: Tensor  # (n,) int64
    explained: Tensor  # (n,) int64 the class whose explanation was shown
    said: Tensor  # (n, f) bool: components of the explanation that were corrected
    push: Tensor  # (n, f) float32 z_hat - z: shown minus corrected attribution
    target: Tensor  # (n, f) float32 z: corrected attribution, where something was said

    def take(self, chosen: Tensor) -> Guidance:
        """The chosen ones, by a mask or by positions."""
        return Guidance(**{name: values[chosen] for name, values in vars(self).items()})

    def to(self, device: torch.device) -> Guidance:
        """On a device."""
        return Guidance(**{name: values.to(device) for name, values in vars(self).items()})

    def flipped(self, which: Tensor) -> Guidance:
        """Of images of which some are mirrored."""
        wrong = torch.where(which[:, None, None], self.wrong.flip(-1), self.wrong)
        return replace(self, wrong=wrong)


class Teacher(Protocol):
    """A loss that learns from corrections."""

    def forward(self, network: Any, inputs: Tensor, guidance: Guidance) -> tuple[Tensor, Tensor]:
        """((b, c) logits, penalty) of a batch."""
        ...

    def combine(self, label_loss: Tensor, penalty: Tensor) -> Tensor:
        """The loss."""
        ...


@dataclass(frozen=True, eq=False, kw_only=True)
class Examples:
    """Labelled images, or vectors of features, in memory."""

    images: Tensor  # (n, c, h, w) uint8 0-255, or (n, d) float32
    labels: Tensor  # (n,) int64
    weights: Tensor | None = None  # (n,) float32 of each in the loss; None: all 1
    guidance: Guidance | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, chosen: Tensor) -> Examples:
        """The chosen ones, by a mask or by positions."""
        return Examples(
            images=self.images[chosen],
            labels=self.labels[chosen],
            weights=None if self.weights is None else self.weights[chosen],
            guidance=None if self.guidance is None else self.guidance.take(chosen),
        )

    @classmethod
    def concatenate(cls, parts: Sequence[Examples]) -> Examples:
        """One after another; without guidance."""
        weighted = any(part.weights is not None for part in parts)
        weights = [torch.ones(len(part)) if part.weights is None else part.weights for part in parts]
        return cls(
            images=torch.cat([part.images for part in parts]),
            labels=torch.cat([part.labels for part in parts]),
            weights=torch.cat(weights) if weighted else None,
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class Fitted:
    """The best weights and how the loss went."""

    state: dict[str, Tensor]
    best_epoch: int
    train_loss: tuple[float, ...]  # nats, one an epoch
    validation_loss: tuple[float, ...]  # nats, one an epoch; empty without a validation split
    decays: int


def fit(
    model: Model,
    module: nn.Module,
    train: Examples,
    validation: Examples,
    settings: TrainSettings,
    *,
    seed: int,
    finetune: bool = False,
    rank: int = 0,
    workers: int = 1,
    wrap: Callable[[nn.Module], nn.Module] = lambda module: module,
    progress: Callable[[int, int], None] = lambda done, total: None,
    teacher: Teacher | None = None,
) -> Fitted:
    """Train `module` in place and return its best weights (on the CPU). `teacher` learns from the examples' guidance.

    `wrap` makes the module distributed (DDP); each of `workers` processes takes every workers-th
    item of each shuffled batch. Raises NumericalError when the loss is not finite.
    """
    epochs = (settings.finetune_epochs if finetune else None) or settings.epochs
    lr = (settings.finetune_lr if finetune else None) or settings.lr
    patience = (settings.finetune_plateau_patience if finetune else None) or settings.plateau_patience
    device = next(module.parameters()).device
    with torch.random.fork_rng():
        torch.manual_seed(seed + 7919 * rank)  # dropout and flips differ by worker, the shuffle must not
        shuffle = torch.Generator().manual_seed(seed)
        network = wrap(module)
        optimizer: torch.optim.Optimizer
        if settings.optimizer == "adam":
            optimizer = torch.optim.Adam(network.parameters(), lr=lr, weight_decay=settings.weight_decay, fused=True)
        else:
            optimizer = torch.optim.SGD(
                network.parameters(), lr=lr, momentum=settings.momentum, weight_decay=settings.weight_decay
            )
        train_losses: list[float] = []
        validation_losses: list[float] = []
        best: dict[str, Tensor] = {}
        best_epoch, since, decays = 0, 0, 0
        for epoch in range(epochs):
            network.train()
            train_losses.append(
                _epoch(model, network, train, optimizer, settings, shuffle, rank, workers, device, teacher)
            )
            if not torch.isfinite(torch.tensor(train_losses[-1])):
                raise NumericalError(
                    f"the training loss is {train_losses[-1]} in epoch {epoch + 1} of {epochs}; lower train.lr ({lr:g})"
                )
            if len(validation):
                validation_losses.append(evaluate_loss(model, module, validation))
                if not math.isfinite(validation_losses[-1]):
                    raise NumericalError(
                        f"the validation loss is {validation_losses[-1]} in epoch {epoch + 1} of {epochs}; "
                        f"lower train.lr ({lr:g})"
                    )
            if not validation_losses or validation_losses[-1] < min(validation_losses[:-1], default=float("inf")):
                best = {name: value.detach().cpu().clone() for name, value in module.state_dict().items()}
                best_epoch, since = epoch + 1, 0
            else:
                since += 1
                if patience and since >= patience and decays < settings.plateau_times:
                    decays, since = decays + 1, 0
                    for group in optimizer.param_groups:
                        group["lr"] *= settings.plateau_factor
            progress(epoch + 1, epochs)
    return Fitted(
        state=best,
        best_epoch=best_epoch,
        train_loss=tuple(train_losses),
        validation_loss=tuple(validation_losses),
        decays=decays,
    )


def _epoch(
    model: Model,
    network: nn.Module,
    train: Examples,
    optimizer: torch.optim.Optimizer,
    settings: TrainSettings,
    shuffle: torch.Generator,
    rank: int,
    workers: int,
    device: torch.device,
    teacher: Teacher | None,
) -> float:
    """One pass over the training items; the mean loss of this worker's share."""
    total, seen = 0.0, 0
    smallest = workers * (2 if _has_batch_norm(network) else 1)  # batch norm has no statistics for one item
    for batch in torch.randperm(len(train), generator=shuffle).split(settings.batch_size):
        if len(batch) < smallest:
            continue  # on every worker alike, or one would wait for another's gradient
        share = batch[rank::workers]
        images, labels = train.images[share].to(device), train.labels[share].to(device)
        guidance = None if train.guidance is None else train.guidance.take(share).to(device)
        if settings.flip:
            if images.ndim != 4:
                raise XalError("train.flip: only images can be flipped; set it to false")
            flipped = torch.rand(len(share), device=device) < 0.5
            images = torch.where(flipped[:, None, None, None], images.flip(-1), images)
            guidance = None if guidance is None else guidance.flipped(flipped)
        weights = None if train.weights is None else train.weights[share].to(device)
        loss = _loss(model, network, model.preprocess(images), labels, weights, guidance, teacher)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        total, seen = total + loss.item() * len(share), seen + len(share)
    if not seen:
        raise XalError(
            f"no batch of the {len(train)} training items has {smallest} items, the fewest that this model can train "
            "on; raise train.batch_size, or label more"
        )
    return total / seen


def _loss(
    model: Model,
    network: nn.Module,
    inputs: Tensor,
    labels: Tensor,
    weights: Tensor | None,
    guidance: Guidance | None,
    teacher: Teacher | None,
) -> Tensor:
    """Weighted mean cross-entropy in nats, what corrections add to it, and the model's own regulariser."""
    penalty = None
    if teacher is not None and guidance is not None:
        logits, penalty = teacher.forward(network, inputs, guidance)
    else:
        logits = network(inputs)
    if weights is None:
        loss = cross_entropy(logits, labels)
    else:
        loss = (cross_entropy(logits, labels, reduction="none") * weights).sum() / weights.sum()
    if teacher is not None and penalty is not None:
        loss = teacher.combine(loss, penalty)
    own = model.regularizer(getattr(network, "module", network), inputs, labels)  # what DDP wraps
    return loss if own is None else loss + own


def _has_batch_norm(network: nn.Module) -> bool:
    return any(isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d) for layer in network.modules())


@torch.inference_mode()
def evaluate_loss(model: Model, module: nn.Module, examples: Examples, batch_size: int = 512) -> float:
    """Mean cross-entropy in nats; the module is left in evaluation mode."""
    module.eval()
    device = next(module.parameters()).device
    total = 0.0
    for images, labels in zip(examples.images.split(batch_size), examples.labels.split(batch_size), strict=True):
        logits = module(model.preprocess(images.to(device)))
        total += cross_entropy(logits, labels.to(device), reduction="sum").item()
    return total / len(examples)


@torch.inference_mode()
def evaluate_hits(model: Model, module: nn.Module, examples: Examples, first: int, batch_size: int = 512) -> int:
    """How many of the first so many examples are predicted right; the module is left in evaluation mode."""
    module.eval()
    device = next(module.parameters()).device
    hits = 0
    pairs = zip(examples.images[:first].split(batch_size), examples.labels[:first].split(batch_size), strict=True)
    for images, labels in pairs:
        hits += int((module(model.preprocess(images.to(device))).argmax(dim=1) == labels.to(device)).sum())
    return hits
