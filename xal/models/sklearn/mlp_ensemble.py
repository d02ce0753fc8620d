"""An ensemble of multilayer perceptrons with dropout, in torch: a head for kept vectors that tells how sure it is.

Deep ensembles after Lakshminarayanan, Pritzel and Blundell (2017): members differ by their random weights and dropout.
They are trained together, as one batched product, and the hyperparameter is chosen and the outputs calibrated as for
all heads.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, dropout

from xal.core._typing import Field
from xal.encoders.encoder import State
from xal.models.sklearn.base import SklearnModel
from xal.models.sklearn.linear import Positive
from xal.types import Matrix, Outputs

BATCH = 64  # items of a gradient step
ROWS = 4096  # items of a forward pass


@dataclass(frozen=True, kw_only=True)
class MlpEnsemble(SklearnModel, name="mlp_ensemble"):
    """Perceptrons with one hidden layer, ReLU and dropout, trained by AdamW; probabilities are their mean."""

    members: Annotated[int, Field(ge=1, le=100)] = 5
    """Number of perceptrons."""
    hidden: Annotated[int, Field(ge=1, le=2**16)] = 128
    """Units of the hidden layer."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """Share of the hidden units that are left out in a training step."""
    weight_decay: tuple[Positive, ...] = (0.01, 0.1, 1.0)
    """Decoupled weight decays, from which cross-validation chooses."""
    lr: Annotated[float, Field(gt=0)] = 1e-3
    """Learning rate."""
    steps: Annotated[int, Field(ge=1, le=10**6)] = 500
    """Gradient steps, of 64 items each."""

    @property
    def grid(self) -> Sequence[float]:
        """The values of `weight_decay`."""
        return self.weight_decay

    def head(self, hyperparameter: float, seed: int) -> _Ensemble:
        """The ensemble with that weight decay."""
        return _Ensemble(self, hyperparameter, seed)

    def learned(self, head: _Ensemble) -> State:
        """Mean and scale of the vectors (d,); weights and intercepts (members, ...) of both layers."""
        return head.state

    def outputs(self, vectors: Matrix, state: State) -> Outputs:
        """(b, c) logarithms of the members' mean probabilities; (-z, z) for two classes, z the log of their odds."""
        return _log_odds(self.member_probabilities(vectors, state).mean(axis=0))

    def sampled(self, vectors: Matrix, state: State) -> Iterator[Outputs]:
        """(b, c) outputs of each member."""
        yield from map(_log_odds, self.member_probabilities(vectors, state))

    def member_probabilities(self, vectors: Matrix, state: State) -> npt.NDArray[np.float64]:
        """(members, b, c) probabilities of each member, without dropout."""
        tensors = {name: torch.from_numpy(np.asarray(values, np.float32)) for name, values in state.items()}
        parts = []
        with torch.inference_mode():
            for start in range(0, vectors.shape[0], ROWS):
                logits = _forward(_dense(vectors[start : start + ROWS]), tensors, 0.0)
                parts.append(torch.softmax(logits.double(), dim=2).numpy())
        members, classes = state["b1"].shape[0], state["b1"].shape[2]
        return np.concatenate(parts, axis=1) if parts else np.empty((members, 0, classes))


class _Ensemble:
    """What scikit-learn calls an estimator."""

    def __init__(self, settings: MlpEnsemble, weight_decay: float, seed: int) -> None:
        self._settings, self._weight_decay, self._seed = settings, weight_decay, seed
        self.state: dict[str, npt.NDArray[Any]] = {}

    def fit(self, vectors: Matrix, labels: npt.NDArray[Any], sample_weight: Any = None) -> _Ensemble:
        """Minimise the mean cross-entropy of all members."""
        settings = self._settings
        classes, targets = np.unique(labels, return_inverse=True)
        mean, scale = _moments(vectors)
        generator = torch.Generator().manual_seed(self._seed)
        m, d, h, c = settings.members, vectors.shape[1], settings.hidden, len(classes)
        tensors = {"mean": torch.from_numpy(mean), "scale": torch.from_numpy(scale)}
        for name, inputs, outputs in (("0", d, h), ("1", h, c)):
            bound = 1 / math.sqrt(inputs)
            tensors[f"w{name}"] = (torch.rand((m, inputs, outputs), generator=generator) * 2 - 1) * bound
            tensors[f"b{name}"] = torch.zeros((m, 1, outputs))
        trained = [tensors[name].requires_grad_() for name in ("w0", "b0", "w1", "b1")]
        optimizer = torch.optim.AdamW(trained, lr=settings.lr, weight_decay=self._weight_decay)
        y = torch.from_numpy(targets.astype(np.int64))
        weights = (
            torch.ones(len(y)) if sample_weight is None else torch.from_numpy(np.asarray(sample_weight, np.float32))
        )
        order = torch.empty(0, dtype=torch.int64)
        with torch.random.fork_rng():
            torch.manual_seed(self._seed)  # of dropout
            for _ in range(settings.steps):
                if not len(order):
                    order = torch.randperm(len(y), generator=generator)
                chosen, order = order[:BATCH], order[BATCH:]
                logits = _forward(_dense(vectors[chosen.numpy()]), tensors, settings.dropout)
                losses = cross_entropy(logits.flatten(0, 1), y[chosen].repeat(m), reduction="none")
                share = weights[chosen].repeat(m)
                loss = (losses * share).sum() / share.sum()
                optimizer.zero_grad(set_to_none=True)
                (loss * m).backward()  # so that each member learns as if it were alone
                optimizer.step()
        self.state = {name: tensor.detach().numpy() for name, tensor in tensors.items()}
        return self


def _log_odds(probabilities: npt.NDArray[np.float64]) -> Outputs:
    """(b, c) logarithms; (-z, z) for two classes, z the log of their odds."""
    logs = np.log(np.maximum(probabilities, 1e-30))
    if logs.shape[1] != 2:
        return np.asarray(logs)
    z = logs[:, 1:] - logs[:, :1]
    return np.concatenate([-z, z], axis=1)


def _forward(vectors: Tensor, tensors: dict[str, Tensor], share: float) -> Tensor:
    """(members, b, c) logits of (b, d) vectors; `share` of the hidden units are dropped."""
    scaled = (vectors - tensors["mean"]) / tensors["scale"]
    hidden = torch.relu(torch.matmul(scaled, tensors["w0"]) + tensors["b0"])
    hidden = dropout(hidden, share, training=share > 0)
    return torch.matmul(hidden, tensors["w1"]) + tensors["b1"]


def _dense(vectors: Matrix) -> Tensor:
    return torch.from_numpy(np.asarray(vectors if isinstance(vectors, np.ndarray) else vectors.toarray(), np.float32))


def _moments(vectors: Matrix) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """(d,) mean of the columns, and one scale for all, so that columns keep their proportions; bags are not centred."""
    if not isinstance(vectors, np.ndarray):
        return np.zeros(vectors.shape[1], np.float32), np.ones(vectors.shape[1], np.float32)
    mean = vectors.mean(axis=0)
    spread = float(np.sqrt(((vectors - mean) ** 2).mean()))
    return mean.astype(np.float32), np.full(vectors.shape[1], spread if spread > 0 else 1.0, np.float32)
