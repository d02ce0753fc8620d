"""nPIR and nPIRP, the influence of an interpretable feature on one class and against all others.

With o, t the probability of a class before and after the feature is blurred:

    PIR  = t (1 - t/o) - o (1 - o/t) = (o - t)(o^2 + t^2) / (o t),    nPIR  = PIR / (1 + |PIR|)
    w_c  = o_c nPIR_c,   A = |w_ci|,   B = sum over c != ci of |w_c|   (or of max(0, w_c))
    PIRP = (A - B)(A^2 + B^2) / (A B),                                  nPIRP = PIRP / (1 + |PIRP|)

Ventura, Cerquitelli, Giacalone 2018, doi 10.1007/978-3-030-00063-9_15; the thesis, sections 2.2.6 and 3.2 (its
BatchEBAnO takes |w_c|, EBAnO-Express takes max(0, w_c)). Both indices are the same function of two numbers that are
not negative, computed here without a division by zero; where both are zero the references give NaN and this gives 0.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from jaxtyping import Float, Float64, Integer

from xal.errors import NumericalError

OtherClasses = Literal["absolute", "positive"]
Doubles = npt.NDArray[np.float64]


class Indices(NamedTuple):
    """Both indices of every feature for the class of interest, each in [-1, 1]."""

    npir: Float64[Doubles, "b f"]
    npirp: Float64[Doubles, "b f"]


def relation(
    x: Float[npt.NDArray[np.floating[Any]], "*x"], y: Float[npt.NDArray[np.floating[Any]], "*y"]
) -> Float64[Doubles, "*n"]:
    """softsign((x - y)(x^2 + y^2) / (x y)) for x, y >= 0 that broadcast: nPIR of (o, t), nPIRP of (A, B).

    1 where only y is 0, -1 where only x is 0, 0 where x = y, both zero included. With m = max(x, y), x' = x/m and
    y' = y/m it is m N / (D + m |N|), N = (x' - y')(x'^2 + y'^2), D = x' y': N and D do not vanish together.
    """
    wide, narrow = np.asarray(x, np.float64), np.asarray(y, np.float64)
    scale = np.maximum(wide, narrow)
    divisor = np.where(scale > 0, scale, 1.0)
    with np.errstate(under="ignore"):  # what underflows here is added to something that is not small
        first, second = wide / divisor, narrow / divisor
        numerator = scale * ((first - second) * (first**2 + second**2))
        denominator = first * second + np.abs(numerator)
        return np.asarray(numerator / np.where(scale > 0, denominator, 1.0), dtype=np.float64)


def indices(
    original: Float[npt.NDArray[np.floating[Any]], "b c"],
    perturbed: Float[npt.NDArray[np.floating[Any]], "b f c"],
    classes: Integer[npt.NDArray[np.integer[Any]], " b"],
    other_classes: OtherClasses = "absolute",
) -> Indices:
    """nPIR and nPIRP of all images and features at once, in float64.

    original, perturbed: probabilities, rows sum to 1. classes: the class of interest ci.
    other_classes: what B sums over the other classes, |w_c| ("absolute") or max(0, w_c) ("positive").
    """
    for name, values in (("original", original), ("perturbed", perturbed)):
        wrong = int(np.count_nonzero(~((values >= 0) & (values <= 1 + 1e-3))))  # NaN fails both
        if wrong:
            raise NumericalError(
                f"{wrong} of {values.size} {name} probabilities are not in [0, 1]; "
                "check the model's outputs (a model that returns logits needs its softmax)"
            )
    before = np.asarray(original, np.float64)[:, None, :]
    npir = relation(before, perturbed)
    with np.errstate(under="ignore"):
        weighted = before * npir
        explained = classes[:, None, None]
        of_interest = np.take_along_axis(weighted, explained, axis=2)[..., 0]
        others = np.abs(weighted) if other_classes == "absolute" else np.maximum(weighted, 0.0)
        total = np.where(np.arange(weighted.shape[2]) == explained, 0.0, others).sum(axis=2)
    return Indices(np.take_along_axis(npir, explained, axis=2)[..., 0], relation(np.abs(of_interest), total))
