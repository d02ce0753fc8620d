"""Explanations as a query strategy (Nguyen & Ghose): retrieve what resembles items that are told apart for like
reasons.

Of B_E pool items drawn at random, q_i (f,) explains the predicted class c(i), x'_i is the item in the explanation
space. With z_i = q_i * x'_i, A_ij = z_i . z_j, B_ij = [c(i) != c(j)], C = (A * B) 1, S = X'_pool (C 1' * X'_s)', W =
S 1, the B_L items of largest W are queried. None of A, B, S is built:

    C_i = z_i . (T - T_c(i)),  T = sum_j z_j,  T_c = sum over items predicted as c;     W = X'_pool v,  v = sum_i C_i
    x'_i

so the coordinator needs the sample's explanations alone, in O(B_E f), and the retrieval is one product with the
vector v over the shards.

Section 3.4 applies the same to labelled items: `mispredicted`, C_i = [c(i) != y_i] z_i^c(i) . z_i^y(i); and `labels`,
the closed form with y in place of c and q_i explaining y_i.

Departure: a table's columns have units, and x' with them. Both are standardised by mean and scale over the explained
items, which amounts to v_j / scale_j for the shards: neither C nor the order by W depends on units.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field
from scipy import sparse

from xal.core.rng import HashRng
from xal.errors import XalError
from xal.strategies.strategy import Scores, Strategy, Summary
from xal.types import Evidence, Explanations, Labelled, Labels, Matrix


@dataclass(frozen=True, eq=False)
class Retrieval:
    """v, of which only what is not 0 travels."""

    columns: npt.NDArray[np.int64]
    values: npt.NDArray[np.float64]
    width: int

    @cached_property
    def dense(self) -> npt.NDArray[np.float64]:
        """(f,)."""
        v = np.zeros(self.width)
        v[self.columns] = self.values
        return v


@dataclass(frozen=True, kw_only=True)
class ExplanationDisagreement(Strategy, name="explanation_disagreement"):
    """Query by W, from the explanations of a random sample, or of labelled items."""

    needs: ClassVar[frozenset[str]] = frozenset({"interpretable_input"})
    spaces: ClassVar[frozenset[str]] = frozenset({"shared"})

    of: Literal["sample", "mispredicted", "labels"] = "sample"
    """Whose explanations: of pool items drawn at random (section 3.1), or of labelled ones (the two of section 3.4)."""
    sample: Annotated[int, Field(ge=2)] | None = None
    """B_E: pool items drawn at random; null: as many as are queried, as in the paper's experiment."""

    @property
    def prepare_needs(self) -> frozenset[str]:  # type: ignore[override]
        """Explanations, of labelled items those of their label's class, or both."""
        predicted = {"explanations"} if self.of != "labels" else set()
        return frozenset(predicted | ({"label_explanations"} if self.of != "sample" else set()))

    @property
    def learns_from_labelled(self) -> bool:  # type: ignore[override]
        """Only the extensions do."""
        return self.of != "sample"

    def n_sample(self, budget: int) -> int:
        """B_E."""
        return (self.sample or max(budget, 2)) if self.of == "sample" else 0

    def prepare(self, labelled: Labelled | None, sample: Evidence | None, summary: Summary | None) -> Retrieval:
        """v."""
        if self.of == "sample":
            if sample is None or sample.explanations is None:
                raise XalError("explanation_disagreement: no item of the pool can be explained")
            given, x, scale = _comparable(sample.explanations)
            return retrieval(x, disagreement(_z(given, x), given.explained_class), scale)
        if labelled is None or labelled.explanations is None:
            raise XalError(f"explanation_disagreement of {self.of}: no labelled item can be explained; label some")
        true, x, scale = _comparable(labelled.explanations)
        if self.of == "labels":
            return retrieval(x, disagreement(_z(true, x), labelled.labels), scale)
        predicted = labelled.evidence.explanations
        if predicted is None:
            raise TypeError("this evidence holds no explanations: list them in `prepare_needs`")
        alike = _rowwise(_z(predicted, x), _z(true, x))
        return retrieval(x, np.where(predicted.explained_class != labelled.labels, alike, 0.0), scale)

    def score(self, evidence: Evidence, state: Retrieval, rng: HashRng) -> Scores:
        """(b,) W; at random where v is 0, as when no labelled item is mispredicted, or all are of one class."""
        interpretable_input = evidence.interpretable_input
        if interpretable_input is None:
            raise TypeError("this evidence is not interpretable_input in the explanation space: list it in `needs`")
        if interpretable_input.shape[1] != state.width:
            raise XalError(f"items of {interpretable_input.shape[1]} features cannot be compared with {state.width}")
        if not len(state.columns):
            return rng.uniform(evidence.ids)
        if isinstance(interpretable_input, np.ndarray):  # BLAS would round otherwise in batches of another size
            return np.asarray(np.einsum("bf,f->b", interpretable_input.astype(np.float64), state.dense))
        return np.asarray(interpretable_input @ state.dense, np.float64)


def disagreement(z: Matrix, classes: Labels) -> npt.NDArray[np.float64]:
    """(b,) C: how alike each item's weighted explanation z is to those of items of other classes."""
    n = z.shape[0]
    c = int(classes.max(initial=0)) + 1
    member = sparse.csr_array((np.ones(n), (classes, np.arange(n))), shape=(c, n))
    by_class = sparse.csr_array(member @ sparse.csr_array(z))
    others = sparse.csr_array(sparse.csr_array(1 - np.eye(c)) @ by_class)  # T - T_c, exactly 0 of a single class
    return _rowwise(sparse.csr_array(z), others[classes])


def retrieval(
    interpretable_input: Matrix, weights: npt.NDArray[np.float64], scale: npt.NDArray[np.float64] | float = 1.0
) -> Retrieval:
    """v = sum_i C_i x'_i, for items that are given in units of 1 / scale."""
    v = np.asarray(sparse.csr_array(interpretable_input).T @ weights, np.float64) / scale
    columns = np.flatnonzero(v)
    return Retrieval(columns, v[columns], len(v))


def _comparable(explanations: Explanations) -> tuple[Explanations, Matrix, npt.NDArray[np.float64] | float]:
    """(the explanations, x', scale): words and patches as they are, the columns of a table standardised."""
    if explanations.per_item:
        raise XalError("every image has features of its own, so items cannot be compared; choose another explainer")
    x = explanations.interpretable_input
    if explanations.segments is not None or not isinstance(x, np.ndarray):
        return explanations, x, 1.0
    centred = x - x.mean(axis=0)
    scale = centred.std(axis=0)
    constant = scale <= 1e-12 * np.abs(x).max(axis=0)
    centred[:, constant], scale[constant] = 0.0, 1.0
    return explanations, centred / scale, scale


def _z(explanations: Explanations, x: Matrix) -> Any:
    return sparse.csr_array(explanations.attributions) * sparse.csr_array(x)


def _rowwise(one: Any, other: Any) -> npt.NDArray[np.float64]:
    """(b,) inner products of rows."""
    return np.asarray(sparse.csr_array(one * other).sum(axis=1)).ravel()
