"""A queried item is decoded once to be chosen, explained and shown, and what is recorded of it is what was seen."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.recipes import QUIET, only_run, small, write_pool
from xal.campaign import experiment
from xal.campaign.experiment import run_experiment
from xal.data import images
from xal.data.images import encode_png
from xal.data.pool import Pool
from xal.engine.serial import SerialSession
from xal.store.artefacts import EXPLANATIONS, read_explanations
from xal.store.run import Run

EBANO = {"name": "ebano_uncertainty", "candidates": 60, "threshold": -2}


def run_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **sections: Any
) -> tuple[Run, dict[int, Counter[str]]]:
    """(the run, by round how often each item was decoded before its round was trained on)."""
    generator = np.random.default_rng(0)
    payloads = [encode_png(generator.integers(0, 256, (1, 12, 12), np.uint8)) for _ in range(120)]  # no two alike
    pool = write_pool(tmp_path / "pool", image=payloads)
    known = dict(zip(payloads, Pool.open(pool).read_span(0, 120, ["id"])["id"].to_pylist(), strict=True))
    counts: dict[int, Counter[str]] = {0: Counter()}
    load, train = images.load, SerialSession.train

    def counted(payload: bytes, mode: str | None = None) -> Any:
        if payload in known:
            counts[max(counts)][known[payload]] += 1
        return load(payload, mode)

    def trained(self: SerialSession, *given: Any) -> Any:
        with monkeypatch.context() as training:
            training.setattr(images, "load", load)
            result = train(self, *given)
        counts[max(counts) + 1] = Counter()
        return result

    test = write_pool(tmp_path / "test", n=30, seed=9)
    recipe = small(pool, pool={"test": str(test)}, **sections)
    monkeypatch.setattr(experiment, "try_recipe", lambda *given: 0)  # it decodes some items before round 0
    monkeypatch.setattr(images, "load", counted)
    monkeypatch.setattr(SerialSession, "train", trained)
    run_experiment(recipe, tmp_path / "runs", QUIET)
    return only_run(tmp_path / "runs"), counts


def test_scoring_is_the_only_time_that_a_queried_item_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, counts = run_counted(tmp_path, monkeypatch, strategy="margin", explainer=None)
    for item in run.queried:
        assert counts[item.round][item.id] == 1, item
        assert (item.prediction is not None) == (item.round > 0)


@pytest.mark.parametrize("limit", [None, 5])
def test_explaining_is_the_only_time_that_a_candidate_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int | None
) -> None:
    """What the fallback fills in is decoded in its pass over the pool and to be explained, besides."""
    run, counts = run_counted(tmp_path, monkeypatch, strategy=EBANO | {"limit": limit})
    by: dict[str, set[int]] = {}
    for item in run.queried:
        by.setdefault(item.reason, set()).add(counts[item.round][item.id])
    assert by.pop("random") == {1} == by.pop("ebano_uncertainty")
    assert not by if limit is None else max(by.pop("entropy")) <= 3
    for round in (1, 2):
        ids, explanations = read_explanations(run.directory / f"round-{round:03d}" / "query" / EXPLANATIONS)
        found = dict(zip(ids, explanations.probability, strict=True))
        assert {item.id: item.confidence for item in run.queried if item.round == round} == pytest.approx(found)
