"""Ask a strategy about arrays of one's own: probabilities and embeddings in, positions out. No model, no files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from xal.core.config import parse
from xal.core.rng import HashRng
from xal.errors import XalError
from xal.strategies import Strategy
from xal.strategies.in_memory import InMemoryPasses
from xal.types import Evidence, Explanations


@dataclass(frozen=True, eq=False, kw_only=True)
class Selection:
    """The items to label next, best first."""

    positions: npt.NDArray[np.int64]  # (q,) rows of the arrays
    ids: tuple[Any, ...] | None  # of the same items, where ids were given
    scores: npt.NDArray[np.float64]  # (q,) larger is queried first
    reasons: tuple[str, ...]  # the strategy that chose each item
    notes: tuple[str, ...]  # what it says about each item; empty where it says nothing

    def __len__(self) -> int:
        return len(self.positions)


def query(
    strategy: str | dict[str, Any] | Strategy,
    *,
    n: int,
    probabilities: npt.ArrayLike | None = None,
    embeddings: npt.ArrayLike | None = None,
    explanations: Explanations | None = None,
    interpretable_input: Any = None,
    contrastive: npt.ArrayLike | None = None,
    sampled_probabilities: npt.ArrayLike | None = None,
    ids: Sequence[Any] | None = None,
    labelled: Sequence[int] | npt.NDArray[np.int64] = (),
    labels: Sequence[int] | npt.NDArray[np.int64] | None = None,
    seed: int = 0,
    round: int = 1,
    n_rounds: int = 1,
) -> Selection:
    """Choose n items of a pool that lies in arrays.

    strategy: a name, a mapping as in a recipe (`{"name": "diverse", "clusters": 20}`), or a Strategy.
    probabilities: (N, c), rows sum to 1. embeddings: (N, d). explanations, interpretable_input: for strategies that
    read explanations. contrastive: (N, d), sampled_probabilities: (N, t, c) of an ensemble, for strategies that need
    them. ids: (N,) distinct; ties are broken by them, else by position. labelled: positions that are
    labelled already and not queried; labels: their class indices, for strategies that learn from them. seed: of random
    draws. round, n_rounds: for schedules.

    Raises XalError for arrays that do not fit together, NaN, rows that do not sum to 1, more items than there are, and
    for what the strategy needs and was not given.

        >>> import numpy as np, xal
        >>> xal.query("margin", probabilities=np.array([[0.9, 0.1], [0.5, 0.5], [0.7, 0.3]]), n=2).positions.tolist()
        [1, 2]
    """
    chosen: Strategy = parse(Strategy, strategy, "strategy")
    p = None if probabilities is None else _matrix(probabilities, "probabilities")
    if p is not None:
        _check_distribution(p)
    e = None if embeddings is None else _matrix(embeddings, "embeddings")
    k = None if contrastive is None else _matrix(contrastive, "contrastive")
    s = None if sampled_probabilities is None else _sampled(sampled_probabilities)
    size = _length(
        {
            "probabilities": p,
            "embeddings": e,
            "contrastive": k,
            "sampled_probabilities": s,
            "explanations": explanations,
            "ids": ids,
        }
    )
    if interpretable_input is not None and interpretable_input.shape[0] != size:
        raise XalError(f"interpretable_input has {interpretable_input.shape[0]} rows for {size} items; give one each")
    taken = _positions(labelled, size)
    if labels is not None and not np.issubdtype(np.asarray(labels).dtype, np.integer):
        raise XalError(f"labels are class indices (whole numbers), got {np.asarray(labels).dtype}")
    if s is not None and p is not None and s.shape[2] != p.shape[1]:
        raise XalError(f"sampled_probabilities have {s.shape[2]} classes, probabilities {p.shape[1]}")
    if labels is not None and len(labels) != len(taken):
        raise XalError(f"{len(labels)} labels for {len(taken)} labelled positions; give one for each")
    if p is not None and labels is not None and len(taken) and not 0 <= min(labels) <= max(labels) < p.shape[1]:
        raise XalError(f"labels are class indices 0..{p.shape[1] - 1}, got {min(labels)}..{max(labels)}")
    if not isinstance(n, int | np.integer):
        raise XalError(f"n must be a whole number, got {n!r}")
    if n < 1 or n > size - len(taken):
        raise XalError(f"requested {n} items, but {size - len(taken)} of {size} are unlabelled; change n")
    names = _ids(ids, size)
    passes = InMemoryPasses(
        evidence=Evidence(
            ids=names,
            rows=np.arange(size),
            probabilities=p,
            embeddings=e,
            explanations=explanations,
            interpretable_input=interpretable_input,
            contrastive=k,
            sampled_probabilities=s,
        ),
        labelled=taken,
        labels=None if labels is None else np.asarray(labels, np.int64),
        round=round,
        n_rounds=n_rounds,
    )
    found = chosen.query(passes, n, HashRng(seed).child("round", round))
    return Selection(
        positions=found.items.rows,
        ids=None if ids is None else tuple(ids[position] for position in found.items.rows.tolist()),
        scores=found.items.scores,
        reasons=found.reasons,
        notes=("",) * len(found) if found.items.notes is None else tuple(found.items.notes.tolist()),
    )


LARGEST = 1e15  # of numbers whose squares float32 can add


def _matrix(values: npt.ArrayLike, name: str) -> npt.NDArray[np.float64]:
    if sparse.issparse(values):
        raise XalError(f"{name} must be a dense array; call .toarray(), or reduce it, as by TruncatedSVD")
    try:
        matrix = np.asarray(values, np.float64)
    except (TypeError, ValueError) as error:
        raise XalError(f"{name} must be numbers: {error}") from error
    if matrix.ndim != 2 or not matrix.size:
        raise XalError(f"{name} must have the shape (items, columns), got {matrix.shape}")
    broken = np.flatnonzero(~np.isfinite(matrix).all(axis=1))
    if len(broken):
        raise XalError(f"{name} hold NaN or infinite numbers in {len(broken)} rows, first row {broken[0]}")
    if np.abs(matrix).max() > LARGEST:
        raise XalError(f"{name} hold numbers above {LARGEST:g}, whose distances cannot be computed; scale them")
    return matrix


def _sampled(values: npt.ArrayLike) -> npt.NDArray[np.float64]:
    draws = np.asarray(values, np.float64)
    if draws.ndim != 3 or not draws.size:
        raise XalError(f"sampled_probabilities must have the shape (items, draws, classes), got {draws.shape}")
    flat = _matrix(draws.reshape(len(draws), -1), "sampled_probabilities")
    _check_distribution(flat.reshape(-1, draws.shape[2]))
    return draws


def _check_distribution(probabilities: npt.NDArray[np.float64]) -> None:
    sums = probabilities.sum(axis=1)
    wrong = np.flatnonzero((np.abs(sums - 1) > 1e-3) | (probabilities < 0).any(axis=1))
    if len(wrong):
        row = wrong[0]
        raise XalError(
            f"rows of probabilities must be at least 0 and sum to 1; {len(wrong)} do not, first row {row}: "
            f"{np.array2string(probabilities[row], precision=3, threshold=6)} sums to {sums[row]:.3f}"
        )
    if probabilities.shape[1] < 2:
        raise XalError("probabilities need a column for each class, of two classes two")


def _length(arrays: dict[str, Any]) -> int:
    sizes = {name: len(values) for name, values in arrays.items() if values is not None}
    if not sizes:
        raise XalError("give probabilities, embeddings, explanations or ids: the number of items is not known")
    if len(set(sizes.values())) > 1:
        raise XalError(f"one row an item is expected, got {', '.join(f'{name}: {n}' for name, n in sizes.items())}")
    return next(iter(sizes.values()))


def _positions(labelled: Any, size: int) -> npt.NDArray[np.int64]:
    positions = np.asarray(labelled)
    if positions.dtype == bool:
        if positions.shape != (size,):
            raise XalError(f"`labelled` as a mask must have {size} entries, got {positions.shape}")
        return np.flatnonzero(positions)
    if len(positions) and not np.issubdtype(positions.dtype, np.integer):
        raise XalError(f"`labelled` are positions (whole numbers) or a mask, got {positions.dtype}")
    positions = positions.astype(np.int64)
    if len(positions) and not (positions.min() >= 0 and positions.max() < size):
        raise XalError(f"`labelled` are positions 0..{size - 1}, got {positions.min()}..{positions.max()}")
    if len(np.unique(positions)) < len(positions):
        hint = "; for a mask, use booleans" if len(positions) == size and positions.max() <= 1 else ""
        raise XalError(f"`labelled` names a position twice{hint}")
    return positions


def _ids(ids: Sequence[Any] | None, size: int) -> npt.NDArray[np.object_]:
    names = np.empty(size, object)
    width = len(str(size))
    names[:] = [f"{number:0{width}d}" for number in range(size)] if ids is None else [str(each) for each in ids]
    if len(set(names.tolist())) < size:
        raise XalError("ids must be distinct")
    return names
