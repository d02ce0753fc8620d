"""Fit a module to labelled images or features: one loop for in-process and distributed training.

Loss: cross-entropy in nats. The result has the weights of the epoch with the lowest validation loss (the first one if
tied), or of the last epoch if there is no validation split.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from xal.errors import NumericalError, XalError
from xal.models.stored_images import StoredImages
from xal.models.train_settings import TrainSettings
from xal.models.training_data import CorrectionLoss, CorrectionTargets, TrainingData

EVALUATION_PIXELS = 2**22


class Trainable(Protocol):
    """What the loop needs from a model."""

    def preprocess(self, inputs: Tensor) -> Tensor:
        """Raw inputs -> inputs of the module."""
        ...

    def regularizer(self, module: Any, inputs: Tensor, labels: Tensor) -> Tensor | None:
        """An additional term of the loss; None: the model has none."""
        ...


@dataclass(frozen=True, eq=False, kw_only=True)
class Examples:
    """Labelled images or feature vectors."""

    images: Tensor | StoredImages  # (n, c, h, w) uint8 0-255, or (n, d) float32
    labels: Tensor  # (n,) int64
    weights: Tensor | None = None  # (n,) float32 weight of each item in the loss; None: all 1
    correction_targets: CorrectionTargets | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, chosen: Any) -> Examples:
        """The examples selected by a mask, a slice or positions."""
        return Examples(
            images=self.images[chosen],
            labels=self.labels[chosen],
            weights=None if self.weights is None else self.weights[chosen],
            correction_targets=None if self.correction_targets is None else self.correction_targets.take(chosen),
        )

    @classmethod
    def of(cls, data: TrainingData) -> Examples:
        """Training data as tensors that share its memory, or images that are in a file."""
        weights, images = data.sample_weight, data.inputs
        if not isinstance(images, StoredImages):
            images = torch.from_numpy(np.require(images, requirements="W"))
        return cls(
            images=images,
            labels=torch.from_numpy(data.labels),
            weights=None if weights is None else torch.from_numpy(np.asarray(weights, np.float32)),
            correction_targets=data.correction_targets,
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class TorchFit:
    """The best weights, and the losses of all epochs."""

    state: dict[str, Tensor]
    best_epoch: int
    train_loss: tuple[float, ...]  # nats, one per epoch
    validation_loss: tuple[float, ...]  # nats, one per epoch; empty without a validation split
    decays: int  # how often the learning rate was lowered


def fit(
    model: Trainable,
    module: nn.Module,
    train: Examples,
    validation: Examples,
    settings: TrainSettings,
    *,
    seed: int,
    finetune: bool = False,
    head_only: bool = False,
    rank: int = 0,
    workers: int = 1,
    wrap: Callable[[nn.Module], nn.Module] = lambda module: module,
    progress: Callable[[int, int], None] = lambda done, total: None,
    correction_loss: CorrectionLoss | None = None,
) -> TorchFit:
    """Train `module` in place and return its best weights, on the CPU.

    `head_only` trains the last linear layer alone and leaves the rest as it is, batch statistics included.
    `correction_loss` learns from the `correction_targets` of `train`. `wrap` makes the module distributed (DDP); each
    of `workers` processes takes every workers-th item of each shuffled batch. Raises NumericalError if the loss is
    not finite, XalError if no batch is large enough to train on.
    """
    epochs = (settings.finetune_epochs if finetune else None) or settings.epochs
    lr = (settings.finetune_lr if finetune else None) or settings.lr
    patience = (settings.finetune_plateau_patience if finetune else None) or settings.plateau_patience
    device = next(module.parameters()).device
    with torch.random.fork_rng():
        torch.manual_seed(seed + 7919 * rank)  # dropout and flips differ by worker, the shuffle must not
        shuffle = torch.Generator().manual_seed(seed)
        body = _freeze_body(module) if head_only else ()
        wrapped = wrap(module)
        trained = [weight for weight in wrapped.parameters() if weight.requires_grad]
        optimizer: torch.optim.Optimizer
        if settings.optimizer == "adam":
            optimizer = torch.optim.Adam(trained, lr=lr, weight_decay=settings.weight_decay, fused=True)
        else:
            optimizer = torch.optim.SGD(trained, lr=lr, momentum=settings.momentum, weight_decay=settings.weight_decay)
        train_losses: list[float] = []
        validation_losses: list[float] = []
        best: dict[str, Tensor] = {}
        best_epoch, decays = 0, 0
        plateau = _plateau(optimizer, settings, patience)
        for epoch in range(epochs):
            wrapped.train()
            for layer in body:
                layer.eval()
            train_losses.append(
                _epoch(model, wrapped, train, optimizer, settings, shuffle, rank, workers, device, correction_loss)
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
                best_epoch = epoch + 1
            if plateau is not None and validation_losses:
                before = optimizer.param_groups[0]["lr"]
                plateau.step(validation_losses[-1])
                decays += optimizer.param_groups[0]["lr"] < before
            progress(epoch + 1, epochs)
    return TorchFit(
        state=best,
        best_epoch=best_epoch,
        train_loss=tuple(train_losses),
        validation_loss=tuple(validation_losses),
        decays=decays,
    )


def _freeze_body(module: nn.Module) -> Sequence[nn.Module]:
    """Exclude all but the last linear layer from training; returns the layers that are excluded."""
    head = next((layer for layer in reversed(list(module.modules())) if isinstance(layer, nn.Linear)), None)
    if head is None:
        raise XalError("train.head_only_rounds: this network has no linear layer; set it to 0")
    module.requires_grad_(False)
    head.requires_grad_(True)
    return [layer for layer in module.modules() if all(part is not head for part in layer.modules())]


def _plateau(optimizer: torch.optim.Optimizer, settings: TrainSettings, patience: int | None) -> Any:
    """Scheduler that lowers the learning rate after `patience` epochs without a lower validation loss; None: never."""
    if patience is None:
        return None
    lowest = optimizer.param_groups[0]["lr"]
    for _ in range(settings.plateau_times):
        lowest *= settings.plateau_factor
    return torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, factor=settings.plateau_factor, patience=patience - 1, threshold=0, min_lr=lowest, eps=0
    )


def _epoch(
    model: Trainable,
    wrapped: nn.Module,
    train: Examples,
    optimizer: torch.optim.Optimizer,
    settings: TrainSettings,
    shuffle: torch.Generator,
    rank: int,
    workers: int,
    device: torch.device,
    correction_loss: CorrectionLoss | None,
) -> float:
    """Train for one pass over the items; returns the mean loss over this worker's share."""
    total, seen = 0.0, 0
    min_batch = workers * (2 if _has_batch_norm(wrapped) else 1)  # batch norm has no statistics for one item
    for batch in torch.randperm(len(train), generator=shuffle).split(settings.batch_size):
        if len(batch) < min_batch:
            continue  # all workers skip it; otherwise one would wait for another's gradient
        share = batch[rank::workers]
        images, labels = train.images[share].to(device), train.labels[share].to(device)
        correction_targets = (
            None if train.correction_targets is None else train.correction_targets.take(share).to(device)
        )
        if settings.flip:
            if images.ndim != 4:
                raise XalError("train.flip: only images can be flipped; set it to false")
            flipped = torch.rand(len(share), device=device) < 0.5
            images = torch.where(flipped[:, None, None, None], images.flip(-1), images)
            correction_targets = None if correction_targets is None else correction_targets.flipped(flipped)
        weights = None if train.weights is None else train.weights[share].to(device)
        loss = _loss(model, wrapped, model.preprocess(images), labels, weights, correction_targets, correction_loss)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        total, seen = total + loss.item() * len(share), seen + len(share)
    if not seen:
        raise XalError(
            f"expected batches of at least {min_batch} items, which this model needs to train, but the {len(train)} "
            "training items form none; raise train.batch_size, or label more"
        )
    return total / seen


def _loss(
    model: Trainable,
    wrapped: nn.Module,
    inputs: Tensor,
    labels: Tensor,
    weights: Tensor | None,
    correction_targets: CorrectionTargets | None,
    correction_loss: CorrectionLoss | None,
) -> Tensor:
    """Weighted mean cross-entropy in nats, combined with the correction loss, plus the model's regulariser."""
    penalty = None
    if correction_loss is not None and correction_targets is not None:
        logits, penalty = correction_loss.forward(wrapped, inputs, correction_targets)
    else:
        logits = wrapped(inputs)
    if weights is None:
        loss = cross_entropy(logits, labels)
    else:
        loss = (cross_entropy(logits, labels, reduction="none") * weights).sum() / weights.sum()
    if correction_loss is not None and penalty is not None:
        loss = correction_loss.combine(loss, penalty)
    regularization = model.regularizer(getattr(wrapped, "module", wrapped), inputs, labels)  # unwraps DDP
    return loss if regularization is None else loss + regularization


def _has_batch_norm(wrapped: nn.Module) -> bool:
    return any(isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d) for layer in wrapped.modules())


@torch.inference_mode()
def evaluate_loss(model: Trainable, module: nn.Module, examples: Examples) -> float:
    """Mean cross-entropy in nats; the module is left in evaluation mode."""
    module.eval()
    device = next(module.parameters()).device
    total, batch_size = 0.0, _evaluation_batch(examples)
    for images, labels in zip(examples.images.split(batch_size), examples.labels.split(batch_size), strict=True):
        logits = module(model.preprocess(images.to(device)))
        total += cross_entropy(logits, labels.to(device), reduction="sum").item()
    return total / len(examples)


@torch.inference_mode()
def evaluate_hits(model: Trainable, module: nn.Module, examples: Examples, first: int) -> int:
    """Number of correct predictions among the first `first` examples; the module is left in evaluation mode."""
    module.eval()
    device = next(module.parameters()).device
    hits, batch_size = 0, _evaluation_batch(examples)
    batches = zip(examples.images[:first].split(batch_size), examples.labels[:first].split(batch_size), strict=True)
    for images, labels in batches:
        hits += int((module(model.preprocess(images.to(device))).argmax(dim=1) == labels.to(device)).sum())
    return hits


def _evaluation_batch(examples: Examples) -> int:
    """Items of a forward pass: fewer if they are large, whose activations would fill the memory."""
    pixels = math.prod(examples.images.shape[2:])
    return min(max(EVALUATION_PIXELS // pixels, 1), 512)
