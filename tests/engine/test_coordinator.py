"""The serial and the Ray engine give the same query, for any number of shards and workers."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.engine.asking import LABELLED, ask, model_ref, query
from tests.engine.plans import FarFromLabelled, FarFromMean, Spread, SpreadByScored
from tests.recipes import write_pool
from xal.core.rng import HashRng
from xal.data.pool import Pool
from xal.engine import RayEngine, SerialEngine
from xal.engine.coordinator import Coordinator
from xal.engine.engine import Session
from xal.engine.tasks import UNREADABLE, ModelRef
from xal.errors import NumericalError
from xal.strategies import Strategy
from xal.strategies.candidates import Candidates
from xal.strategies.density_weighted import DensityWeighted
from xal.strategies.diverse import Diverse
from xal.strategies.ebano_augment import EbanoAugment
from xal.strategies.ebano_uncertainty import EbanoUncertainty
from xal.strategies.entropy import Entropy
from xal.strategies.fallback import Fallback
from xal.strategies.least_confidence import LeastConfidence
from xal.strategies.margin import Margin
from xal.strategies.random import Random
from xal.strategies.schedule import EarlyMix
from xal.strategies.threshold import Threshold
from xal.types import Evidence, Scored

EBANO: dict[str, Any] = {"candidates": 50, "threshold": -2.0, "limit": 9}
PLANS: dict[str, Strategy] = {
    "random": Random(),
    "entropy": Entropy(),
    "margin": Margin(),
    "least_confidence": LeastConfidence(),
    "diverse": Diverse(clusters=5, sample=40),
    "density_weighted": DensityWeighted(clusters=3, sample=40),
    "ebano_uncertainty": EbanoUncertainty(**EBANO),
    "ebano_augment": EbanoAugment(**EBANO, augment_limit=4),
    "early_mix": EarlyMix(strategy=Margin(), other=Random()),
    "candidates": Candidates(strategy=Diverse(clusters=5, sample=40), n=60, candidates_from=Entropy()),
    "fallback": Fallback(strategy=Threshold(strategy=Margin(), above=-0.02), fallback=Random()),
    "far_from_labelled": FarFromLabelled(),
    "far_from_mean": FarFromMean(),
    "spread": Spread(),
    "spread_by_scored": SpreadByScored(),
}
ITEMS = {"far_from_mean": 900}  # four shards are summed up


@pytest.mark.parametrize("name", PLANS)
def test_shards_change_nothing(tmp_path: Path, name: str) -> None:
    ref, n = model_ref(tmp_path), ITEMS.get(name, 120)
    whole = query(SerialEngine(batch=16), write_pool(tmp_path / "one", n), ref, PLANS[name])
    assert whole == query(SerialEngine(batch=16), write_pool(tmp_path / "seven", n, files=7), ref, PLANS[name])
    assert len({item for item, _, _ in whole} - set(LABELLED.values())) == 20


@pytest.fixture(scope="module")
def ray_sessions(ray_session: None) -> Iterator[list[Session]]:
    """One actor, and three, alive through all tests of this module."""
    with RayEngine(batch=16, actors=1).open() as one, RayEngine(batch=16, actors=3).open() as three:
        yield [one, three]


@pytest.mark.ray
@pytest.mark.parametrize("name", PLANS)
def test_ray_agrees_with_serial(tmp_path: Path, ray_sessions: list[Session], name: str) -> None:
    ref, n = model_ref(tmp_path, version=f"agree-{name}"), ITEMS.get(name, 120)
    expected = query(SerialEngine(batch=16), write_pool(tmp_path / "one", n), ref, PLANS[name])
    for files, session in zip((3, 5), ray_sessions, strict=True):
        assert expected == ask(session, write_pool(tmp_path / str(files), n, files=files), ref, PLANS[name])


@pytest.mark.ray
def test_ids_alone_are_scored_alike_here_and_by_actors(
    tmp_path: Path, ray_sessions: list[Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    ref, pool = model_ref(tmp_path), write_pool(tmp_path / "pool", files=3)
    here = ask(ray_sessions[1], pool, ref, Random())
    monkeypatch.setattr("xal.engine.ray.session.DRIVER_IDS", 0)
    assert ask(ray_sessions[1], pool, ref, Random()) == here


def test_another_batch_size_moves_few_ids(tmp_path: Path) -> None:
    """Rounding depends on the batch; this counts the ids that it moves (0 of 40 where this was written)."""
    ref, pool = model_ref(tmp_path), write_pool(tmp_path / "pool", n=400)
    queries = [{item for item, _, _ in query(SerialEngine(batch=b), pool, ref, Margin(), 40)} for b in (400, 64, 7, 1)]
    moved = [len(queries[0] - other) for other in queries[1:]]
    print(f"ids moved by rounding, batch 64, 7, 1 against 400: {moved} of 40")
    assert max(moved) <= 2


def test_nan_probabilities_are_refused_with_the_item(tmp_path: Path) -> None:
    ref = model_ref(tmp_path, "nan", float("nan"))
    with pytest.raises(NumericalError, match=r"not finite for 15 of 15 items, first for id 'item-0000'"):
        query(SerialEngine(batch=16), write_pool(tmp_path / "pool"), ref, Entropy())


@pytest.mark.ray
def test_nan_probabilities_are_refused_on_ray_without_a_traceback(tmp_path: Path, ray_sessions: list[Session]) -> None:
    ref = model_ref(tmp_path, "nan", float("nan"))
    with pytest.raises(NumericalError, match="not finite for") as caught:
        ask(ray_sessions[1], write_pool(tmp_path / "pool"), ref, Entropy())
    assert "Traceback" not in str(caught.value)


def test_corrupt_images_are_counted_and_never_queried(tmp_path: Path) -> None:
    pool = write_pool(tmp_path / "pool", n=60)
    table = Pool.open(pool).read_span(0, 60, ["image"])
    images = table["image"].to_pylist()
    for row in (5, 17, 44):
        images[row] = b"no image"
    broken = write_pool(tmp_path / "broken", n=60, image=images)
    ref = model_ref(tmp_path)
    with SerialEngine(batch=16).open() as session:
        coordinator = Coordinator(session=session, pool=Pool.open(broken), shape=(1, 12, 12), model=ref)
        found = coordinator.query(Entropy(), 60, HashRng(0))
    assert coordinator.unreadable == dict.fromkeys(("item-0005", "item-0017", "item-0044"), UNREADABLE)
    assert len(found) == 57 and not coordinator.unreadable.keys() & set(found.items.ids.tolist())


def everything(pool: Path, ref: ModelRef, needs: str) -> Evidence:
    """Evidence on all items of a pool."""
    opened = Pool.open(pool)
    with SerialEngine(batch=16).open() as session:
        coordinator = Coordinator(session=session, pool=opened, shape=(1, 12, 12), model=ref)
        evidence = coordinator.collect(np.arange(len(opened)), frozenset({needs}), "all")
    assert evidence is not None
    return evidence


def test_prepare_sees_the_labelled_items_and_a_sample(tmp_path: Path) -> None:
    """The score is the distance to the labelled items' mean probabilities."""
    ref, pool = model_ref(tmp_path), write_pool(tmp_path / "pool")
    found = query(SerialEngine(batch=16), pool, ref, FarFromLabelled(), 10)
    probabilities, rows = everything(pool, ref, "probabilities").probabilities, list(LABELLED)
    assert probabilities is not None
    distance = np.linalg.norm(probabilities - probabilities[rows].mean(axis=0), axis=1)
    distance[rows] = -1
    assert [item for item, _, _ in found] == [f"item-{row:04d}" for row in np.argsort(-distance, kind="stable")[:10]]


def test_summaries_are_of_all_unlabelled_items_and_each_pass_sees_the_last(tmp_path: Path) -> None:
    """The score is the distance to the mean embedding in standard deviations, by numpy in float64."""
    ref, pool = model_ref(tmp_path), write_pool(tmp_path / "pool", 900)
    found = query(SerialEngine(batch=16), pool, ref, FarFromMean(), 10)
    embeddings = everything(pool, ref, "embeddings").embeddings
    assert embeddings is not None
    unlabelled = np.delete(np.arange(900), list(LABELLED))
    known = embeddings[unlabelled].astype(np.float64)
    scores = np.abs((known - known.mean(axis=0)) / (known.std(axis=0) + 1e-3)).sum(axis=1)
    best = np.argsort(-scores, kind="stable")[:10]
    assert [item for item, _, _ in found] == [f"item-{unlabelled[place]:04d}" for place in best]
    np.testing.assert_allclose([score for _, score, _ in found], scores[best], rtol=1e-4)


@pytest.mark.parametrize("strategy", [Spread(), SpreadByScored()], ids=["collected", "scored"])
def test_select_gets_the_evidence_of_its_shortlist_in_its_order(tmp_path: Path, strategy: Spread) -> None:
    """`Spread.select` refuses anything else; its query is that of plain numpy on the whole pool."""
    ref, pool = model_ref(tmp_path), write_pool(tmp_path / "pool")
    found = query(SerialEngine(batch=16), pool, ref, strategy, 10)
    evidence = everything(pool, ref, "embeddings")
    assert evidence.probabilities is not None
    top = np.sort(evidence.probabilities.astype(np.float64), axis=1)
    margin = top[:, -1] - top[:, -2]
    margin[list(LABELLED)] = 2
    shortlist = np.argsort(margin, kind="stable")[:30]
    scored = Scored(
        ids=evidence.ids[shortlist],
        rows=evidence.rows[shortlist],
        scores=-margin[shortlist],
        evidence=evidence.take(shortlist),
    )
    assert [item for item, _, _ in found] == strategy.select(scored, None, 10).ids.tolist()
    assert [item for item, _, _ in found] != scored.ids[:10].tolist()


def test_evidence_that_travelled_is_not_computed_again(tmp_path: Path) -> None:
    """Of what the scoring pass looked at nothing is read a second time; of anything else the shortlist is, once."""
    ref, pool = model_ref(tmp_path), Pool.open(write_pool(tmp_path / "pool"))
    for strategy, passes in ((SpreadByScored(), {"score": 120}), (Spread(), {"score": 120, "select": 30})):
        with SerialEngine(batch=16).open() as session:
            coordinator = Coordinator(session=session, pool=pool, shape=(1, 12, 12), model=ref)
            found = coordinator.query(strategy, 10, HashRng(0))
        assert {stage.split(" ")[0]: items for stage, items in coordinator.items.items()} == passes
        (evidence,) = found.evidence
        assert evidence.ids.tolist() == found.items.ids.tolist() and evidence.embeddings is not None
