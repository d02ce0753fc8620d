"""Corrections as losses see them, and a task whose loudest column tells nothing in the test."""

from typing import Any

import torch

from xal.core.threads import threads
from xal.models.torch.training import Examples, fit
from xal.models.train_settings import TrainSettings
from xal.models.training_data import CorrectionTargets


def correction_targets(
    wrong: torch.Tensor, labels: torch.Tensor, features: int = 0, **parts: torch.Tensor
) -> CorrectionTargets:
    n = len(labels)
    given: dict[str, torch.Tensor] = {
        "corrected": wrong.flatten(1).any(dim=1),
        "wrong": wrong,
        "labels": labels,
        "explained": labels,
        "corrected_features": torch.zeros(n, features, dtype=torch.bool),
        "excess": torch.zeros(n, features),
        "target": torch.zeros(n, features),
    }
    return CorrectionTargets(**given | parts)


def confounded(n: int = 400) -> tuple[torch.Tensor, torch.Tensor]:
    """Two columns that tell the class alike, the second more loudly."""
    labels = torch.arange(n) % 2
    x = torch.randn(n, 2) * 0.3
    x[:, 0] += labels * 2.0 - 1
    x[:, 1] += (labels * 2.0 - 1) * 3
    return x, labels


def accuracies(model: Any, loss: Any) -> tuple[float, float]:
    """Without and with the loss, of a network that was told that the second column does not matter."""
    torch.manual_seed(0)
    x, labels = confounded()
    wrong = torch.zeros(len(x), 2, dtype=torch.bool)
    wrong[:, 1] = True
    excess = torch.where(labels[:, None] == 1, 1.0, -1.0) * torch.tensor([[0.0, 1.0]]) * torch.sign(x[:, 1:])
    given = correction_targets(wrong, labels, 2, corrected_features=wrong, excess=excess)
    settings = TrainSettings(epochs=20, lr=0.01, batch_size=32, validation=0, threads=1)
    nothing = Examples(images=x[:0], labels=labels[:0])
    test = x.clone()
    test[:, 1] = test[torch.randperm(len(x)), 1]  # the confounder says nothing
    right = []
    for correction_loss in (None, loss):
        module = model.create((2,), 2, seed=0)
        examples = Examples(images=x, labels=labels, correction_targets=given if correction_loss else None)
        with threads(1):  # on shared cores torch's threads wait for each other longer than they work
            fit(model, module, examples, nothing, settings, seed=0, correction_loss=correction_loss)
        right.append(float((module(test).argmax(dim=1) == labels).float().mean()))
    return right[0], right[1]
