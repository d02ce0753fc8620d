"""The arrays that travel: top-k against a plain sort, and joins of unequal pieces."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from xal.types import Correction, Evidence, Explanations, Query, Scored, dense

ITEMS = st.lists(
    # few values, so that ties abound, infinities among them
    st.tuples(st.text(max_size=3).filter(lambda s: "\0" not in s), st.sampled_from([-1e300, -1.0, 0.0, 0.5, np.inf])),
    unique_by=lambda item: item[0],
    max_size=40,
)


def scored(items):
    ids = np.empty(len(items), object)
    ids[:] = [item for item, _ in items]
    return Scored(ids=ids, rows=np.arange(len(items)), scores=np.array([score for _, score in items], np.float64))


def best(items, k):
    """Reference: Python's own sort."""
    return sorted(items, key=lambda item: (-item[1], item[0]))[:k]


@given(ITEMS, st.integers(0, 50))
def test_top_is_a_sort_by_score_then_id(items, k):
    given_items = scored(items)
    top = given_items.top(k)
    assert list(zip(top.ids, top.scores, strict=True)) == best(items, k)
    assert [given_items.ids[row] for row in top.rows] == top.ids.tolist()


@given(ITEMS, st.integers(1, 10), st.integers(1, 7), st.randoms())
def test_top_of_tops_is_top_of_all(items, k, pieces, random):
    """What makes shards possible: merging local bests in any order loses nothing."""
    items = list(items)
    random.shuffle(items)
    parts = [scored(items[i::pieces]).top(k) for i in range(pieces)]
    assert Scored.concatenate(parts).top(k).ids.tolist() == [item for item, _ in best(items, k)]


@pytest.mark.parametrize("k", [0, -3])
def test_top_of_none(k):
    assert len(scored([("a", 1.0), ("b", 2.0)]).top(k)) == 0


def test_top_of_more_than_there_are_is_all_of_them():
    assert scored([("a", 1.0), ("b", 2.0)]).top(9).ids.tolist() == ["b", "a"]
    assert len(Scored.empty().top(3)) == 0


def test_all_tied_the_ids_decide_wherever_the_cut_falls():
    items = [(f"{i:02d}", 0.25) for i in range(20)]
    for k in range(21):
        assert scored(items[::-1]).top(k).ids.tolist() == [item for item, _ in items[:k]]


def test_joining_scored_items():
    joined = Scored.concatenate([scored([("a", 1.0)]), Scored.empty(), scored([("b", 2.0), ("c", 0.0)])])
    assert joined.ids.tolist() == ["a", "b", "c"]
    assert joined.rows.tolist() == [0, 0, 1]
    assert joined.scores.tolist() == [1.0, 2.0, 0.0]
    assert len(Scored.concatenate([])) == 0


def explanations(seed, ks):
    """Random explanations with ks[i] features each, padded to the largest."""
    generator = np.random.default_rng(seed)
    b, widest = len(ks), max(ks)
    npir, npirp = generator.uniform(-1, 1, (2, b, widest))
    for row, k in enumerate(ks):
        npir[row, k:] = npirp[row, k:] = np.nan
    return Explanations(
        feature_kind="segments",
        segments=np.stack([generator.integers(0, k, (4, 5)) for k in ks]).astype(np.uint8),
        attributions=npir,
        interpretable_input=np.where(np.isnan(npir), np.nan, 1.0),
        npirp=npirp,
        explained_class=generator.integers(0, 3, b),
        probability=generator.uniform(size=b),
        per_item=True,
    )


def same(one, other):
    for name, value in vars(one).items():
        np.testing.assert_array_equal(value, vars(other)[name], err_msg=name)


def test_joined_explanations_are_padded_to_the_widest():
    one, other = explanations(0, [2, 3]), explanations(1, [5, 2, 4])
    joined = Explanations.concatenate([one, other])
    assert len(joined) == 5
    assert joined.npir.shape == joined.npirp.shape == (5, 5)
    np.testing.assert_array_equal(joined.npir[:2, :3], one.npir)
    np.testing.assert_array_equal(joined.npirp[2:], other.npirp)
    np.testing.assert_array_equal(np.isfinite(joined.npir).sum(axis=1), [2, 3, 5, 2, 4])
    np.testing.assert_array_equal(np.isfinite(joined.npirp).sum(axis=1), joined.n_features)
    same(joined.take(slice(2, 5)), other)


def test_taking_and_joining_are_inverse():
    whole = explanations(2, [2, 4, 3, 2, 4])
    same(Explanations.concatenate([whole.take(slice(0, 1)), whole.take(slice(1, 4)), whole.take([4])]), whole)
    same(whole.take(np.array([True, False, True, False, False])), whole.take(np.array([0, 2])))


def test_top_feature_and_heat_against_a_loop():
    given_explanations = explanations(3, [2, 5, 3, 3])
    for i in range(4):
        own = given_explanations.npir[i, : given_explanations.n_features[i]].tolist()
        assert given_explanations.top_feature[i] == own.index(max(own))
        for y in range(4):
            for x in range(5):
                assert given_explanations.heat[i, y, x] == own[given_explanations.segments[i, y, x]]


def test_vectors_are_heat_where_each_item_has_features_of_its_own():
    own = explanations(3, [2, 5, 3, 3])
    np.testing.assert_array_equal(own.vectors, own.heat.reshape(4, 20))
    shared = dataclasses.replace(explanations(3, [3] * 4), per_item=False)
    assert shared.vectors is shared.attributions


def test_what_is_said_of_all_items_is_kept_by_taking_and_joining():
    own = explanations(3, [2, 5, 3, 3])
    for found in (own.take([0, 1]), own.take(np.zeros(4, bool)), Explanations.concatenate([own.take([0]), own])):
        assert found.per_item and found.feature_kind == "segments"
    assert len(own.take(np.zeros(4, bool))) == 0


def test_what_one_part_lacks_is_not_joined():
    one = explanations(3, [2, 5])
    bare = dataclasses.replace(explanations(4, [3]), npirp=None, segments=None)
    joined = Explanations.concatenate([one, bare])
    assert joined.npirp is joined.segments is joined.base is None
    np.testing.assert_array_equal(joined.n_features, [2, 5, 3])


def test_sparse_explanations_of_words():
    rows = sparse.csr_array(np.array([[0.0, 2.0, 0.0, -3.0], [0.0, 0.0, 0.0, 0.0]]))
    words = Explanations(
        feature_kind="words",
        attributions=rows,
        interpretable_input=sparse.csr_array(np.array([[1.0, 1.0, 0.0, 1.0], [0.0, 0.0, 0.0, 1.0]])),
        explained_class=np.array([0, 1]),
        probability=np.array([0.5, 0.5]),
    )
    assert words.n_features.tolist() == [3, 1]  # words that are there, with an attribution or without
    assert words.top_feature.tolist() == [1, 0]
    joined = Explanations.concatenate([words, words.take([1])])
    assert sparse.issparse(joined.attributions) and joined.vectors is joined.attributions
    np.testing.assert_array_equal(dense(joined.attributions), dense(rows)[[0, 1, 1]])
    with pytest.raises(TypeError, match="not of images"):
        _ = words.heat


def test_of_tied_features_the_first_is_the_top():
    tied = explanations(4, [3])
    tied.npir[0] = [0.1, 0.7, 0.7]
    assert tied.top_feature.tolist() == [1]


def evidence(seed, n, explained=True, embedded=True):
    generator = np.random.default_rng(seed)
    return Evidence(
        ids=np.array([f"{seed}-{i}" for i in range(n)], object),
        rows=np.arange(n),
        probabilities=generator.dirichlet(np.ones(3), n),
        embeddings=generator.normal(size=(n, 2)) if embedded else None,
        explanations=explanations(seed, [2 + seed] * n) if explained else None,
    )


def test_taking_evidence_takes_every_part():
    whole, index = evidence(0, 6), np.array([4, 1])
    taken = whole.take(index)
    assert len(taken) == 2
    for name in ("ids", "rows", "probabilities", "embeddings"):
        np.testing.assert_array_equal(getattr(taken, name), getattr(whole, name)[index])
    same(taken.explanations, whole.explanations.take(index))
    bare = Evidence(ids=whole.ids, rows=whole.rows).take(index)
    assert bare.probabilities is bare.embeddings is bare.explanations is None


def test_joining_evidence():
    one, other = evidence(0, 3), evidence(1, 2)
    joined = Evidence.concatenate([one, other])
    assert joined.ids.tolist() == [*one.ids, *other.ids]
    for name in ("rows", "probabilities", "embeddings"):
        np.testing.assert_array_equal(getattr(joined, name), np.concatenate([getattr(one, name), getattr(other, name)]))
    same(joined.explanations, Explanations.concatenate([one.explanations, other.explanations]))


def test_a_part_that_one_piece_lacks_is_not_joined():
    joined = Evidence.concatenate([evidence(0, 3), evidence(1, 2, explained=False, embedded=False)])
    assert joined.embeddings is joined.explanations is None
    assert joined.probabilities.shape == (5, 3)


def test_evidence_has_no_place_for_labels():
    """A strategy cannot peek at what it should ask for."""
    seen = {"ids", "rows", "probabilities", "embeddings", "explanations", "interpretable_input"}
    seen |= {"contrastive", "sampled_probabilities"}
    assert set(Evidence.__dataclass_fields__) == seen


def with_evidence(seed, n):
    """n scored items and what they were scored by."""
    given = evidence(seed, n)
    scores = np.random.default_rng(seed).uniform(size=n)
    return Scored(ids=given.ids, rows=given.rows, scores=scores, evidence=given)


def test_evidence_stays_with_its_items():
    one, other = with_evidence(0, 6), with_evidence(1, 4)
    best = Scored.concatenate([one, Scored.empty(), other]).top(5)
    expected = sorted([*zip(one.scores, one.ids, strict=True), *zip(other.scores, other.ids, strict=True)])[::-1][:5]
    assert best.ids.tolist() == [item for _, item in expected]
    assert best.evidence.ids.tolist() == best.ids.tolist()
    every = {item: p for part in (one, other) for item, p in zip(part.ids, part.evidence.probabilities, strict=True)}
    np.testing.assert_array_equal(best.evidence.probabilities, [every[item] for item in best.ids])


def test_evidence_that_one_part_lacks_is_not_joined():
    bare = dataclasses.replace(with_evidence(1, 2), evidence=None)
    assert Scored.concatenate([with_evidence(0, 3), bare]).evidence is None
    assert bare.take([0]).evidence is None


def test_where_the_best_are_is_where_top_takes_them_from():
    items = with_evidence(2, 7)
    assert items.ids[items.best(3)].tolist() == items.top(3).ids.tolist()


def test_a_query_keeps_evidence_beside_its_items():
    items = with_evidence(0, 3)
    query = Query.of(items, "margin")
    assert query.reasons == ("margin",) * 3 and len(query) == 3
    assert query.items.evidence is None and query.evidence == (items.evidence,)
    assert Query.of(scored([("a", 1.0)]), "random").evidence == ()


def test_queries_are_joined_in_their_order():
    one, other = Query.of(with_evidence(0, 3), "a"), Query.of(with_evidence(1, 2), "b")
    joined = Query.concatenate([other, one])
    assert joined.items.ids.tolist() == [*other.items.ids, *one.items.ids]
    assert joined.reasons == ("b", "b", "a", "a", "a")
    assert [len(piece) for piece in joined.evidence] == [2, 3]


@pytest.mark.parametrize("index", [np.array([2, 0]), np.array([True, False, True, False, False])])
def test_what_is_taken_of_a_query_keeps_reasons_with_their_items(index):
    query = Query.concatenate([Query.of(with_evidence(0, 2), "a"), Query.of(with_evidence(1, 3), "b")])
    taken = query.take(index)
    reason = dict(zip(query.items.ids, query.reasons, strict=True))
    assert taken.items.ids.tolist() == query.items.ids[index].tolist()
    assert taken.reasons == tuple(reason[item] for item in taken.items.ids)
    assert taken.evidence == query.evidence  # on the others, too
    assert len(query.take(np.zeros(5, bool))) == 0


def test_a_renamed_query():
    query = Query.concatenate([Query.of(scored([("a", 1.0)]), "npir_gap"), Query.of(scored([("b", 0.5)]), "entropy")])
    assert query.renamed("npir_gap", "mine").reasons == ("mine", "entropy")
    assert query.renamed("margin", "mine").reasons == query.reasons


def test_a_correction_that_says_nothing_is_false():
    assert not Correction() and Correction(against=(3,))
    assert Correction(wrong=(1,), missed=(5, 2), against=(0,)).components == (1, 5, 2, 0)
