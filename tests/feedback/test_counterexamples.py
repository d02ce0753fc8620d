"""Counterexamples: only what was wrongly relevant changes, it always changes, and draws belong to the item."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from xal.core import hashed_words
from xal.errors import XalError
from xal.feedback.counterexamples import Counterexamples
from xal.feedback.feedback import CorrectionBatch


def table(n: int = 6) -> CorrectionBatch:
    generator = np.random.default_rng(0)
    known = generator.integers(0, 4, (40, 5)).astype(np.float32)
    wrong = generator.random((n, 5)) < 0.5
    wrong[:, 0] = True
    return CorrectionBatch(
        ids=[f"item-{i}" for i in range(n)],
        payload=known[:n].copy(),
        labels=np.arange(n) % 2,
        wrong=wrong,
        known=known,
        known_labels=np.arange(40) % 2,
    )


def images(n: int = 4) -> CorrectionBatch:
    generator = np.random.default_rng(0)
    known = generator.integers(0, 256, (20, 3, 6, 5)).astype(np.uint8)
    wrong = np.zeros((n, 6, 5), bool)
    wrong[:, :2, :2] = True
    return CorrectionBatch(
        ids=[f"item-{i}" for i in range(n)],
        payload=known[:n].copy(),
        labels=np.arange(n) % 2,
        wrong=wrong,
        known=known,
        known_labels=np.arange(20) % 2,
    )


@pytest.mark.parametrize("replacement", ["random", "alternative", "class"])
@pytest.mark.parametrize("make", [table, images])
def test_only_what_is_wrong_changes(make: Callable[[], CorrectionBatch], replacement: str) -> None:
    batch = make()
    before = batch.payload.copy()
    made, source = Counterexamples(replacement=replacement, n_copies=3).copies(batch, seed=1)  # type: ignore[arg-type]
    np.testing.assert_array_equal(batch.payload, before)
    assert made.dtype == batch.payload.dtype and source.tolist() == np.repeat(np.arange(len(before)), 3).tolist()
    wrong = batch.wrong[:, None] if before.ndim == 4 else batch.wrong
    for copy, of in zip(made, source, strict=True):
        changed = copy != before[of]
        assert not changed[~np.broadcast_to(wrong[of], copy.shape)].any()
        assert changed.any()
    if replacement == "alternative":  # every wrong component, in all copies
        same = made.reshape(len(made), -1, batch.wrong[0].size) == before[source].reshape(len(made), -1, wrong[0].size)
        assert not same.all(axis=1)[batch.wrong.reshape(len(before), -1)[source]].any()


def test_alternatives_are_all_other_values_in_turn() -> None:
    made, source = Counterexamples(replacement="alternative", n_copies=3).copies(table(), seed=1)
    for number in range(6):
        assert sorted({0.0, 1.0, 2.0, 3.0} - {float(table().payload[number, 0])}) == sorted(made[source == number, 0])


def test_those_of_the_class_come_from_one_item_of_it() -> None:
    batch = images()
    made, source = Counterexamples(replacement="class").copies(batch, seed=1)
    for copy, of in zip(made, source, strict=True):
        donors = [k for k in range(20) if (batch.known[k, :, :2, :2] == copy[:, :2, :2]).all()]
        assert donors and all(k % 2 == batch.labels[of] for k in donors)


def test_copies_depend_on_the_item_alone() -> None:
    batch = table()
    half = replace(batch, **{n: getattr(batch, n)[3:] for n in ("ids", "payload", "labels", "wrong")})
    for replacement in ("random", "alternative", "class"):
        plan = Counterexamples(replacement=replacement, n_copies=2)  # type: ignore[arg-type]
        np.testing.assert_array_equal(plan.copies(batch, 5)[0][6:], plan.copies(half, 5)[0])
    assert (plan.copies(batch, 6)[0] != plan.copies(batch, 5)[0]).any()


def test_what_has_no_other_value_yet_stays_and_says_nothing() -> None:
    batch = table()
    batch.known[:, 0] = batch.payload[:, 0] = 7
    batch.wrong[2:4, 1:] = False
    others = batch.wrong[:, 1:].any(axis=1)
    assert 0 < others.sum() < 6
    for replacement in ("random", "alternative", "class"):
        made, source = Counterexamples(replacement=replacement).copies(batch, 1)  # type: ignore[arg-type]
        assert source.tolist() == np.flatnonzero(others).tolist() and (made[:, 0] == 7).all()
    batch.payload[:] = batch.known[:] = 7
    for replacement in ("random", "alternative", "class"):
        made, source = Counterexamples(replacement=replacement).copies(batch, 1)  # type: ignore[arg-type]
        assert made.shape == (0, 5) and not len(source)


def test_the_one_item_of_a_class_that_differs_is_found() -> None:
    n = 3000
    known = np.zeros((n, 2), np.float32)
    known[n - 1, 1] = 5
    batch = CorrectionBatch(
        ids=["x"], payload=known[:1], labels=np.array([0]), wrong=np.array([[False, True]]), known=known,
        known_labels=np.zeros(n, np.int64),
    )  # fmt: skip
    made, _ = Counterexamples(replacement="class", n_copies=2).copies(batch, 0)
    assert made.tolist() == [[0, 5], [0, 5]]


def test_random_words_are_any_but_those_that_go() -> None:
    texts = np.array(["one two", "three four", "five"], object)
    batch = CorrectionBatch(
        ids=["x"], payload=texts[:1], labels=np.array([1]), known=texts, known_labels=np.array([1, 0, 0]),
        wrong=[(hashed_words.column("two"), hashed_words.column("five"))],
    )  # fmt: skip
    made, _ = Counterexamples(replacement="random", n_copies=200).copies(batch, 0)
    assert {text.split()[1] for text in made} == {"one", "three", "four"}
    made, _ = Counterexamples(replacement="class", n_copies=20).copies(batch, 0)
    assert set(made) == {"one one"}
    alone = replace(batch, payload=np.array(["two"], object), known=np.array(["two", "three four", "five"], object))
    assert not len(Counterexamples(replacement="class").copies(alone, 0)[0])  # no word is left to take


def test_texts_lose_or_change_their_wrong_words() -> None:
    texts = np.array(["a good film", "bad bad end", "fine"], object)
    wrong = [(hashed_words.column("good"),), (hashed_words.column("bad"),), (hashed_words.column("fine"),)]
    batch = CorrectionBatch(
        ids=["x", "y", "z"], payload=texts, labels=np.array([1, 0, 1]), wrong=wrong, known=texts,
        known_labels=np.array([1, 0, 1]),
    )  # fmt: skip
    made, source = Counterexamples(replacement="alternative", n_copies=4).copies(batch, 0)
    assert made.tolist() == ["a film", "end"] and source.tolist() == [0, 1]  # once each; nothing is left of the third
    made, source = Counterexamples(replacement="random", n_copies=2).copies(batch, 0)
    assert len(made) == 6 and all("good" not in text for text in made[:2]) and all("bad" not in t for t in made[2:4])
    made, _ = Counterexamples(replacement="class").copies(batch, 0)
    assert set(hashed_words.tokens(made[0])) - {"a", "film"} <= {"fine", "a", "film"}


def test_indicators_of_a_category_change_as_one() -> None:
    generator = np.random.default_rng(0)
    codes = generator.integers(0, 4, (30, 5))
    onehot = np.eye(4, dtype=np.float32)[codes].reshape(30, 20)
    wrong = np.zeros((6, 20), bool)
    wrong[:, 4 * 2 + 1] = True  # one indicator of the third category
    batch = CorrectionBatch(
        ids=[str(i) for i in range(6)], payload=onehot[:6], labels=np.arange(6) % 2, wrong=wrong, known=onehot,
        known_labels=np.arange(30) % 2,
    )  # fmt: skip
    for replacement in ("alternative", "random", "class"):
        made, source = Counterexamples(replacement=replacement, n_copies=3, onehot_width=4).copies(batch, 1)  # type: ignore[arg-type]
        each = made.reshape(len(made), 5, 4)
        assert (each.sum(axis=2) == 1).all()
        found = each.argmax(axis=2)
        assert (np.delete(found, 2, axis=1) == np.delete(codes[source], 2, axis=1)).all()
        if replacement == "alternative":
            assert all(sorted(found[source == i, 2]) == sorted({0, 1, 2, 3} - {codes[i, 2]}) for i in range(6))
    with pytest.raises(XalError, match="20 columns cannot be split into groups of 3"):
        Counterexamples(onehot_width=3).copies(batch, 1)


def test_what_it_is() -> None:
    plan = Counterexamples()
    assert plan.makes_copies and plan.learns and not plan.has_loss and plan.correction_kinds == ("wrong",)
    assert plan.pool_problems("features", 7) == plan.pool_problems("text", 0) == []
    assert Counterexamples(onehot_width=3).pool_problems("features", 20) == [
        "feedback.onehot_width: 20 columns cannot be split into groups of 3"
    ]
    assert plan.takes_values("features") and not plan.takes_values("image") and not plan.takes_values("text")
    assert Counterexamples(replacement="class").takes_values("image")
