"""Query items that resemble items with similar explanations but different predicted classes (Nguyen & Ghose).

B_E pool items are drawn at random. For item i, q_i (f,) is the explanation of its predicted class c(i), and x'_i is the
item in the explanation space. With

    z_i = q_i * x'_i,  A_ij = z_i . z_j,  B_ij = [c(i) != c(j)],  C = (A * B) 1,  S = X'_pool (C 1' * X'_s)',  W = S 1

the B_L items with the largest W are queried. A, B and S are never built, because

    C_i = z_i . (T - T_c(i)),  T = sum_j z_j,  T_c = sum of z_j over the items predicted as c
    W = X'_pool v,  v = sum_i C_i x'_i

so the coordinator only needs the explanations of the sample, in O(B_E f), and each shard multiplies by the vector v.

Section 3.4 applies the same to labelled items: `mispredicted`, C_i = [c(i) != y_i] z_i^c(i) . z_i^y(i); and `labels`,
the closed form above with y instead of c and with q_i explaining y_i.

Departure: the columns of a table have units, so x' has them too. x' is standardised over the explained items, which
for the shards means v_j / scale_j. So neither C nor the order by W depends on units.
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
    """The vector v, as its nonzero columns and their values."""

    columns: npt.NDArray[np.int64]
    values: npt.NDArray[np.float64]
    width: int

    @cached_property
    def dense(self) -> npt.NDArray[np.float64]:
        """(f,) v as a dense array."""
        v = np.zeros(self.width)
        v[self.columns] = self.values
        return v


@dataclass(frozen=True, kw_only=True)
class ExplanationDisagreement(Strategy, name="explanation_disagreement"):
    """Query by W, from the explanations of a random sample or of labelled items."""

    motive: ClassVar[str] = "items that are explained alike are predicted differently"

    needs: ClassVar[frozenset[str]] = frozenset({"interpretable_input"})
    spaces: ClassVar[frozenset[str]] = frozenset({"shared"})

    of: Literal["sample", "mispredicted", "labels"] = "sample"
    """Explained items: a random sample of the pool (section 3.1), or labelled items (both variants of section 3.4)."""
    sample: Annotated[int, Field(ge=2)] | None = None
    """B_E: number of pool items to explain; null: as many as are queried, as in the paper's experiment."""

    @property
    def prepare_needs(self) -> frozenset[str]:  # type: ignore[override]
        """Explanations of the predicted class, of the label, or of both, depending on `of`."""
        predicted = {"explanations"} if self.of != "labels" else set()
        return frozenset(predicted | ({"label_explanations"} if self.of != "sample" else set()))

    @property
    def learns_from_labelled(self) -> bool:  # type: ignore[override]
        """True for the variants of section 3.4."""
        return self.of != "sample"

    def n_sample(self, budget: int) -> int:
        """B_E, at least 2; 0 for the variants of section 3.4."""
        return (self.sample or max(budget, 2)) if self.of == "sample" else 0

    def prepare(self, labelled: Labelled | None, sample: Evidence | None, summary: Summary | None) -> Retrieval:
        """v; raises XalError if no item can be explained."""
        if self.of == "sample":
            if sample is None or sample.explanations is None:
                raise XalError("explanation_disagreement: needs explanations, but no item of the pool can be explained")
            predicted, x, scale = _standardised(sample.explanations)
            return retrieval(x, disagreement(_z(predicted, x), predicted.explained_class), scale)
        if labelled is None or labelled.explanations is None:
            raise XalError(f"explanation_disagreement of {self.of}: no labelled item can be explained; label some")
        of_label, x, scale = _standardised(labelled.explanations)
        if self.of == "labels":
            return retrieval(x, disagreement(_z(of_label, x), labelled.labels), scale)
        of_predicted = labelled.evidence.explanations
        if of_predicted is None:
            raise TypeError("this evidence holds no explanations: list them in `prepare_needs`")
        similarity = _row_products(_z(of_predicted, x), _z(of_label, x))
        return retrieval(x, np.where(of_predicted.explained_class != labelled.labels, similarity, 0.0), scale)

    def score(self, evidence: Evidence, state: Retrieval, rng: HashRng) -> Scores:
        """(b,) W; random scores if v is 0, for example if no labelled item is mispredicted."""
        interpretable_input = evidence.interpretable_input
        if interpretable_input is None:
            raise TypeError("this evidence holds no interpretable_input: list it in the strategy's `needs`")
        if interpretable_input.shape[1] != state.width:
            raise XalError(
                f"expected items of {state.width} features, as in the explanations, got {interpretable_input.shape[1]}"
            )
        if not len(state.columns):
            return rng.uniform(evidence.ids)
        if isinstance(interpretable_input, np.ndarray):  # BLAS rounds differently for other batch sizes
            return np.asarray(np.einsum("bf,f->b", interpretable_input.astype(np.float64), state.dense))
        return np.asarray(interpretable_input @ state.dense, np.float64)


def disagreement(z: Matrix, classes: Labels) -> npt.NDArray[np.float64]:
    """(b,) C: similarity of each item's z to the z of the items of all other classes."""
    n = z.shape[0]
    c = int(classes.max(initial=0)) + 1
    member = sparse.csr_array((np.ones(n), (classes, np.arange(n))), shape=(c, n))
    by_class = sparse.csr_array(member @ sparse.csr_array(z))
    others = sparse.csr_array(sparse.csr_array(1 - np.eye(c)) @ by_class)  # T - T_c, exactly 0 for a single class
    return _row_products(sparse.csr_array(z), others[classes])


def retrieval(
    interpretable_input: Matrix, weights: npt.NDArray[np.float64], scale: npt.NDArray[np.float64] | float = 1.0
) -> Retrieval:
    """v = sum_i C_i x'_i / scale, where `weights` is C and x' was divided by `scale`."""
    v = np.asarray(sparse.csr_array(interpretable_input).T @ weights, np.float64) / scale
    columns = np.flatnonzero(v)
    return Retrieval(columns, v[columns], len(v))


def _standardised(explanations: Explanations) -> tuple[Explanations, Matrix, npt.NDArray[np.float64] | float]:
    """(the explanations, x', scale): the columns of a table are standardised, words and patches are unchanged."""
    if explanations.per_item:
        raise XalError("expected features that all items share, but every image has its own; choose another explainer")
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


def _row_products(one: Any, other: Any) -> npt.NDArray[np.float64]:
    """(b,) inner products of corresponding rows."""
    return np.asarray(sparse.csr_array(one * other).sum(axis=1)).ravel()
