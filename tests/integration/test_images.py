"""Campaigns on images by strategies that read explanations: patches, superpixels, pixels, on both engines."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.recipes import QUIET, RUN_ENGINES, TEXT_ARMS, queries, small, write_pool
from xal.campaign.experiment import run_experiment
from xal.campaign.explain import explain_item
from xal.campaign.recipe import Recipe
from xal.data.pool import Pool
from xal.report.html import write_report
from xal.store.artefacts import EXPLANATIONS, read_explanations
from xal.store.run import read_run

GRID = {"name": "shap_partition", "patches": 4, "max_evals": 60, "output": "margin", "mask_value": "black"}
SUPERPIXELS = {"name": "lime", "superpixels": 9, "mask_value": "mean", "samples": 40}
LEARNS = {"epochs": 12, "lr": 0.003}  # more classes than one


def recipe(tmp_path: Path, **sections: Any) -> Recipe:
    pool, test = tmp_path / "pool", tmp_path / "test"
    if not pool.exists():
        write_pool(pool), write_pool(test, n=30, seed=9)
    usual = {"strategy": None, "arms": TEXT_ARMS, "explainer": GRID, "pool": {"test": str(test)}, "train": LEARNS}
    return small(pool, **usual | sections)


def test_images_through_every_strategy(tmp_path: Path) -> None:
    run_experiment(recipe(tmp_path), tmp_path / "runs", QUIET)
    found = queries(tmp_path / "runs")
    assert len(found) == 6 and all(len(set(ids)) == 28 for ids in found.values())
    assert len({tuple(ids[:12]) for ids in found.values()}) == 1 and len({tuple(ids) for ids in found.values()}) == 6
    run = read_run(tmp_path / "runs" / "disagreement-seed0")
    _, explanations = read_explanations(run.directory / "round-002" / "query" / EXPLANATIONS)
    assert explanations.attributions.shape == (8, 16) and not explanations.per_item
    page = write_report([run.directory], tmp_path / "report.html").read_text()
    assert page.count("data:image/png;base64,") >= 2 * 8


@pytest.mark.parametrize(
    "explainer", [SUPERPIXELS, {"name": "shap_partition", "superpixels": 9}, "gradient_shap", "ebano"], ids=str
)
def test_alex_with_any_explainer(tmp_path: Path, explainer: Any) -> None:
    given = recipe(
        tmp_path, explainer=explainer, arms={"alex": "alex", "cosine": {"name": "alex", "divergence": "cosine"}}
    )
    run_experiment(given, tmp_path / "runs", QUIET)
    found = queries(tmp_path / "runs")
    assert all(len(set(ids)) == 28 for ids in found.values())
    run = read_run(tmp_path / "runs" / "alex-seed0")
    _, explanations = read_explanations(run.directory / "round-002" / "query" / EXPLANATIONS)
    assert (explanations.per_item) == (given.explainer is not None and given.explainer.space != "shared")
    assert explanations.vectors.shape == (8, 144) and np.isfinite(explanations.vectors).all()


@pytest.mark.ray
def test_superpixels_on_ray_as_on_serial(tmp_path: Path, ray_session: object) -> None:
    given = {"explainer": SUPERPIXELS, "arms": {"alex": "alex"}}
    run_experiment(recipe(tmp_path, **given), tmp_path / "serial", QUIET)
    engine = {**RUN_ENGINES["ray"], "batch": 16}
    run_experiment(recipe(tmp_path, **given, engine=engine), tmp_path / "ray", QUIET)
    assert queries(tmp_path / "ray") == queries(tmp_path / "serial")


def test_superpixels_are_corrected_and_drawn(tmp_path: Path) -> None:
    """By a simulated annotator who knows that the lower half does not matter."""
    lower = [list(range(72, 144))] * 120
    pool = write_pool(tmp_path / "known", irrelevant=lower)
    given = small(
        pool, strategy="margin", explainer={**SUPERPIXELS, "output": "margin"}, annotator="simulated",
        feedback={"name": "counterexamples", "shown": 4}, pool={"test": str(pool)}, evaluate_explanations=20,
    )  # fmt: skip
    run_experiment(given, tmp_path / "runs", QUIET)
    run = read_run(tmp_path / "runs" / "margin-seed0")
    assert run.recipe["explainer"]["superpixels"] == 9 and run.of("train")[2].metrics["synthetic_items"] > 0
    assert 0 < run.of("evaluate")[2].metrics["on_irrelevant"] < 1
    ids, explanations = read_explanations(run.directory / "round-002" / "query" / EXPLANATIONS)
    corrected = {item.id: run.corrections[item.id] for item in run.queried if item.id in run.corrections}
    for item in set(ids) & set(corrected):  # of parts whose most pixels do not matter
        segments = explanations.segments[ids.index(item)]
        for part in corrected[item].correction.wrong:
            assert (segments == part)[6:].sum() > (segments == part)[:6].sum()
    assert set(ids) & set(corrected)
    assert write_report([run.directory], tmp_path / "report.html").read_text().count("data:image/png;base64,") >= 3 * 8
    item = Pool.open(pool).read(np.array([3]), ["id"])["id"][0].as_py()
    picture, line = explain_item(run.directory, item)
    assert picture.startswith(b"\x89PNG") and "p = " in line
