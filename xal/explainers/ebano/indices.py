"""nPIR and nPIRP: the influence of a feature on a class, and its precision relative to the other classes.

With o and t the probability of a class before and after the feature is blurred, and ci the explained class:

    PIR  = t (1 - t/o) - o (1 - o/t) = (o - t)(o^2 + t^2) / (o t),    nPIR  = PIR / (1 + |PIR|)
    w_c  = o_c nPIR_c,   A = |w_ci|,   B = sum over c != ci of |w_c|   (or of max(0, w_c))
    PIRP = (A - B)(A^2 + B^2) / (A B),                                  nPIRP = PIRP / (1 + |PIRP|)

Ventura, Cerquitelli, Giacalone 2018, doi 10.1007/978-3-030-00063-9_15; the thesis, sections 2.2.6 and 3.2 (its
BatchEBAnO uses |w_c|, EBAnO-Express max(0, w_c)). Both indices are the same function of two non-negative numbers, which
is computed here without division by zero. Departure: if both numbers are 0, the index is 0; the references give NaN.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from xal.core._typing import Float, Float64, Int64
from xal.errors import NumericalError

OtherClasses = Literal["absolute", "positive"]


class Indices(NamedTuple):
    """Both indices of every feature for the explained class, in [-1, 1]."""

    npir: Float64[Tensor, "b f"]
    npirp: Float64[Tensor, "b f"]


def relation(x: Float[Tensor, "*#n"], y: Float[Tensor, "*#n"]) -> Float64[Tensor, "*n"]:
    """softsign((x - y)(x^2 + y^2) / (x y)) for broadcastable x, y >= 0: nPIR of (o, t), nPIRP of (A, B).

    It is 1 if only y is 0, -1 if only x is 0, and 0 if x = y, also if both are 0. With m = max(x, y), x' = x/m and
    y' = y/m, it is m N / (D + m |N|), N = (x' - y')(x'^2 + y'^2), D = x' y'; N and D are never both 0 for m > 0.
    """
    x, y = x.double(), y.double()
    scale = torch.maximum(x, y)
    divisor = scale.where(scale > 0, 1.0)
    first, second = x / divisor, y / divisor
    numerator = scale * ((first - second) * (first.square() + second.square()))
    denominator = first * second + numerator.abs()
    return numerator / denominator.where(scale > 0, 1.0)


def indices(
    original: Float[Tensor, "b c"],
    perturbed: Float[Tensor, "b f c"],
    classes: Int64[Tensor, " b"],
    other_classes: OtherClasses = "absolute",
) -> Indices:
    """nPIR and nPIRP of all images and features at once, in float64, on the tensors' device.

    original, perturbed: probabilities without and with each feature blurred. classes: each image's explained class.
    other_classes: B sums |w_c| ("absolute") or max(0, w_c) ("positive") over the other classes.
    """
    for name, values in (("original", original), ("perturbed", perturbed)):
        wrong = int((~((values >= 0) & (values <= 1 + 1e-3))).sum())  # NaN satisfies neither
        if wrong:
            raise NumericalError(
                f"{wrong} of {values.numel()} {name} probabilities are not in [0, 1]; "
                "check the model's outputs (a model that returns logits needs its softmax)"
            )
    before = original.double()[:, None, :]
    npir = relation(before, perturbed)
    weighted = before * npir
    explained = classes[:, None, None].expand(-1, weighted.shape[1], 1)
    influence = weighted.gather(2, explained)[..., 0]
    others = weighted.abs() if other_classes == "absolute" else weighted.clamp(min=0)
    total = others.scatter(2, explained, 0.0).sum(2)
    return Indices(npir.gather(2, explained)[..., 0], relation(influence.abs(), total))
