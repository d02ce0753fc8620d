"""Explanations are computed once for a model, an explainer with its settings, and a class of interest."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.recipes import QUIET, text_recipe
from xal.campaign.experiment import run_experiment
from xal.data.pool import Pool
from xal.engine import SerialEngine
from xal.engine.coordinator import Coordinator
from xal.engine.tasks import ModelRef
from xal.explainers.shap_partition import ShapPartition
from xal.types import Explanations


@pytest.mark.long
def test_a_second_pass_computes_nothing(
    tmp_path: Path, text_pools: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what the cache holds is of this model, this explainer with these settings, and this class of interest."""
    run_experiment(text_recipe(*text_pools, arms={"random": "random"}), tmp_path / "runs", QUIET)
    given = text_recipe(*text_pools)
    pool = Pool.open(text_pools[0])
    trained = [tmp_path / "runs" / "random-seed0" / f"round-00{n}" / "train" / "model.safetensors" for n in (1, 2)]
    earlier, latest = (
        ModelRef(model=given.model, weights=weights, version=str(n), shape=(), n_classes=2)
        for n, weights in enumerate(trained)
    )
    explained: list[int] = []
    plain = ShapPartition.explain

    def counted(self: ShapPartition, classifier: Any, inputs: Any, *given: Any) -> Explanations:
        explained.append(len(inputs))
        return plain(self, classifier, inputs, *given)

    monkeypatch.setattr(ShapPartition, "explain", counted)
    cache, few = tmp_path / "cache", ShapPartition(max_evals=4)
    ids = [f"text-0-{number:03d}" for number in range(120)]
    of_one, of_other = (dict.fromkeys(ids, label) for label in (0, 1))

    def collect(rows: range, **changes: Any) -> Explanations:
        parts = {"model": latest, "explainer": given.explainer, "explanation_cache": cache} | changes
        of = parts.pop("explained", None)
        with SerialEngine(batch=32).open() as session:
            coordinator = Coordinator(session=session, pool=pool, shape=(), **parts)
            found = coordinator.collect(np.array(rows), frozenset({"explanations"}), "explain", explained=of)
        assert found is not None and found.explanations is not None and len(found) == len(rows)
        return found.explanations

    def values(explanations: Explanations) -> Any:
        return explanations.attributions.toarray()

    collect(range(100))
    first = collect(range(50, 120))
    assert sum(explained) == 120  # 100, then the 20 that are new
    assert np.array_equal(values(first), values(collect(range(50, 120), explanation_cache=None)))
    explained.clear()
    for changes in ({"model": earlier}, {"explainer": few}, {"explained": of_one}):
        other = collect(range(50, 120), **changes)
        assert sum(explained) == 70 and not np.array_equal(values(other), values(first))
        assert np.array_equal(values(other), values(collect(range(50, 120), **changes)))
        assert sum(explained) == 70  # a second pass
        assert np.array_equal(values(other), values(collect(range(50, 120), **changes, explanation_cache=None)))
        explained.clear()
    assert not collect(range(50, 120), explained=of_one).explained_class.any()
    assert np.array_equal(values(collect(range(50, 120))), values(first)) and not explained
    assert collect(range(50, 60), explanation_cache=None, explained=of_other).explained_class.all()
