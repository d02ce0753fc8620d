"""What components answer, checked where it comes in, so that a wrong answer is never laid to the wrong items.

Every check names the component: "strategy 'mine' gave scores of shape (19,); expected (20,): one number an item".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from xal.errors import NumericalError, XalError
from xal.types import Explanations

Names = Sequence[Any] | npt.NDArray[Any]
SHOWN = 3  # names listed in a message


def check_numbers(
    component: str, what: str, values: Any, shape: tuple[int | None, ...], meaning: str, ids: Names, *,
    finite: bool = True,
) -> None:  # fmt: skip
    """Raise XalError unless `values` are numbers of this shape (None: any length), one row per id.

    NumericalError for NaN or infinite values, if `finite`; it names the first item that has one.
    """
    found = tuple(getattr(values, "shape", np.shape(values)))
    fits = len(found) == len(shape) and all(want in (None, got) for want, got in zip(shape, found, strict=True))
    if not fits:
        wanted = ", ".join("any" if length is None else str(length) for length in shape)
        raise XalError(f"{component} gave {what} of shape {found}; expected ({wanted}): {meaning}")
    numbers = values.data if sparse.issparse(values) else np.asarray(values)
    if numbers.dtype.kind not in "fiub":
        raise XalError(f"{component} gave {what} of type {numbers.dtype}; expected numbers")
    if finite and not np.isfinite(numbers).all():
        bad = ~np.isfinite(_dense(values)).reshape(len(ids), -1).all(axis=1)
        raise NumericalError(
            f"{component} gave {what} that are not finite for {int(bad.sum())} of {len(ids)} items, first for id "
            f"'{np.asarray(ids, object)[bad][0]}'; expected finite numbers"
        )


def check_probabilities(component: str, values: npt.NDArray[Any], n_classes: int, ids: Names) -> None:
    """Raise XalError unless `values` are (b, n_classes) probabilities, NumericalError if they are not finite."""
    check_numbers(
        component, "probabilities", values, (len(ids), n_classes), "a row an item, a column a class", ids, finite=False
    )
    invalid = ~np.isfinite(values).all(axis=1)
    if invalid.any():
        raise NumericalError(
            f"the probabilities of {component} are not finite for {int(invalid.sum())} of {len(ids)} items, first for "
            f"id '{np.asarray(ids, object)[invalid][0]}'; lower train.lr, or check that item"
        )
    outside = (values < -1e-4) | (values > 1 + 1e-4) | (abs(values.sum(axis=1, keepdims=True) - 1) > 1e-2)
    if outside.any():
        first = int(np.flatnonzero(outside.any(axis=1))[0])
        raise XalError(
            f"{component} gave rows that are no probabilities, first for id '{ids[first]}': "
            f"{values[first][:5].tolist()}; expected numbers from 0 to 1 that sum to 1"
        )


def check_explanations(component: str, given: Any, n_classes: int, ids: Names) -> None:
    """Raise XalError unless `given` are explanations of these items, NumericalError if they are not finite."""
    if not isinstance(given, Explanations):
        raise XalError(f"{component} gave {type(given).__name__}; expected xal.Explanations")
    items = len(ids)
    check_numbers(
        component, "attributions", given.attributions, (items, None), "a row an item, a column a feature", ids,
        finite=not given.per_item,
    )  # fmt: skip
    for name in ("explained_class", "probability"):
        check_numbers(component, f"'{name}'", getattr(given, name), (items,), "one number an item", ids)
    for name in ("interpretable_input", "segments", "base", "output"):
        value = getattr(given, name)
        if value is not None and value.shape[0] != items:
            raise XalError(f"{component} gave '{name}' of {value.shape[0]} items; expected {items}")
    classes = np.asarray(given.explained_class)
    if items and not (classes.min() >= 0 and classes.max() < n_classes):
        raise XalError(f"{component} explained class {int(classes.max())}; there are {n_classes}, from 0")


def check_chosen(component: str, ids: Sequence[Any], budget: int, taken: Collection[Any]) -> None:
    """Raise XalError for more items than the budget, repeated ones, or ones that were queried before."""
    if len(ids) > budget:
        raise XalError(f"{component} chose {len(ids)} items; expected at most {budget}")
    repeated = [item for item, times in Counter(ids).items() if times > 1]
    if repeated:
        raise XalError(f"{component} chose {_some(repeated)} more than once; expected distinct items")
    again = [item for item in ids if item in taken]
    if again:
        raise XalError(f"{component} chose {_some(again)}, queried in an earlier round; expected items that were not")


def check_answers(component: str, what: str, given: Any, ids: Collection[str], kind: type) -> None:
    """Raise XalError unless `given` maps ids of the batch to answers of this type."""
    if not isinstance(given, Mapping):
        raise XalError(f"{component} gave {what} as {type(given).__name__}; expected a mapping by id")
    foreign = [item for item in given if item not in ids]
    if foreign:
        raise XalError(f"{component} gave {what} for {_some(foreign)}, which it was not asked for")
    wrong = [item for item, value in given.items() if not isinstance(value, kind)]
    if wrong:
        value = given[wrong[0]]
        raise XalError(
            f"{component} gave {what} that are not {kind.__name__}, first for id '{wrong[0]}': {value!r:.80}"
        )


def _dense(values: Any) -> npt.NDArray[Any]:
    return np.asarray(values.toarray() if sparse.issparse(values) else values)


def _some(items: Sequence[Any]) -> str:
    rest = f" and {len(items) - SHOWN} others" if len(items) > SHOWN else ""
    return ", ".join(f"'{item}'" for item in items[:SHOWN]) + rest
