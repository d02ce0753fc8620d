"""Trials of a search: small campaigns, computed once; what cannot be searched is refused."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.recipes import QUIET, text_pool, text_recipe
from tests.tuning.searches import searched, without_search
from xal.annotators.oracle import Oracle
from xal.annotators.simulated import Simulated
from xal.campaign.experiment import run_experiment
from xal.campaign.recipe import PoolSection, Recipe
from xal.core.config import parse
from xal.data.pool import Pool
from xal.errors import ConfigError, RunError
from xal.store.run import read_run
from xal.tuning.objective import checked_search, plain_space, prepared, simulation, with_settings


def test_a_trial_is_computed_once(tmp_path: Path) -> None:
    objective = prepared(searched(tmp_path), tmp_path / "tune", None)
    settings = {"explainer.max_evals": 50, "strategy.sample": 10}
    first = list(objective.rounds(settings))
    assert [round for round, _ in first] == [1, 2]
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "tune" / "trials").rglob("model.safetensors")}
    assert list(objective.rounds(settings)) == first
    assert times == {path: path.stat().st_mtime_ns for path in times}
    assert with_settings(objective.recipe, settings).strategies["explanation_disagreement"].sample == 10  # type: ignore[attr-defined]


def test_replay_asks_no_label_beyond_a_runs_own(tmp_path: Path) -> None:
    given = searched(tmp_path, mode="replay")
    run_experiment(without_search(given), tmp_path / "runs", QUIET)
    source = tmp_path / "runs" / "explanation_disagreement-seed0"
    objective = prepared(given, tmp_path / "tune", source)
    labelled = {item.id for item in read_run(source).queried}
    split = [Pool.open(tmp_path / "tune" / "data" / f"{name}.parquet") for name in ("pool", "validation")]
    ids = [item for pool in split for item in pool.read_span(0, len(pool), ["id"])["id"].to_pylist()]
    assert len(ids) == len(labelled) == 40 and set(ids) == labelled
    assert len(list(objective.rounds({"explainer.max_evals": 30}))) == 2


def test_replay_refuses_a_run_of_another_pool(tmp_path: Path) -> None:
    run_experiment(without_search(searched(tmp_path)), tmp_path / "runs", QUIET)
    (tmp_path / "pool.parquet").unlink()
    (tmp_path / "test.parquet").unlink()
    text_pool(tmp_path / "pool.parquet", 320, 5)
    text_pool(tmp_path / "test.parquet", 60, 1)
    source = tmp_path / "runs" / "explanation_disagreement-seed0"
    other = replace(searched(tmp_path / "more"), pool=PoolSection(source=str(tmp_path / "pool.parquet")))
    with pytest.raises(RunError, match="labelled another pool"):
        prepared(replace(other, search=replace(other.search, mode="replay")), tmp_path / "tune", source)
    assert not (tmp_path / "tune").exists()


def test_a_search_that_is_refused_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="raise search.items"):
        prepared(searched(tmp_path, items=40, initial=30), tmp_path / "tune", None)
    assert not (tmp_path / "tune").exists()
    objective = prepared(searched(tmp_path / "more", items=100, initial=30), tmp_path / "tune", None)
    assert len(Pool.open(objective.recipe.pool.source)) == 70


def test_trials_find_their_data_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = searched(tmp_path)
    monkeypatch.chdir(tmp_path)
    objective = prepared(given, Path("tune"), None)
    assert Path(objective.recipe.pool.source).is_absolute() and objective.directory == tmp_path / "tune"


@pytest.mark.parametrize(
    ("search", "problem"),
    [
        ({"space": {}}, "names no parameter"),
        ({"space": {"explainer.max_eval": {"low": 2, "high": 9}}}, "did you mean 'max_evals'"),
        ({"space": {"explainer.max_evals": {"low": 0, "high": 9}}}, "greater than or equal to 2"),
        ({"initial": 100, "per_round": 100}, "labels, but the trials' pool"),
        ({"mode": "replay"}, "needs the labels of a run, --from RUN"),
    ],
)
def test_searches_that_cannot_run(tmp_path: Path, search: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        prepared(searched(tmp_path, **search), tmp_path / "tune", None)


def test_numbers_are_whole_where_the_setting_is(tmp_path: Path) -> None:
    space = {
        "explainer.max_evals": {"low": 2, "high": 9, "log": True},
        "strategy.sample": {"choices": [4, 8]},
    }
    given = searched(tmp_path, space=space)
    assert plain_space(given, given.search) == {"explainer.max_evals": (2, 9, True, True), "strategy.sample": [4, 8]}
    by_lime = text_recipe(
        tmp_path / "pool.parquet", tmp_path / "test.parquet", arms=None, strategy="alex", explainer="lime",
        search={"space": {"explainer.alpha": {"low": 0, "high": 1}}},
    )  # fmt: skip
    assert plain_space(by_lime, by_lime.search) == {"explainer.alpha": (0, 1, False, False)}


@pytest.mark.parametrize(
    ("span", "problem"),
    [
        ({"low": 3, "high": 2}, "expected less than high"),
        ({"low": 0, "high": 2, "log": True}, "expected low above 0"),
        ({"low": 1}, "max_evals.low: expected low and high, or at least one of choices"),
        ({"choices": []}, "max_evals.choices: expected low and high, or at least one of choices"),
    ],
)
def test_spans_that_are_none(tmp_path: Path, span: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        searched(tmp_path, space={"explainer.max_evals": span})
    with pytest.raises(ConfigError, match="begins with explainer"):
        searched(tmp_path, space={"train.lr": {"low": 1, "high": 2}})


def test_a_search_cannot_ask_people_for_corrections() -> None:
    for sections in ({"annotator": "file"}, {"annotator": "simulated", "search": {"mode": "replay"}}):
        search = {"space": {"explainer.samples": {"low": 10, "high": 20}}} | sections.pop("search", {})  # type: ignore[call-overload]
        recipe = parse(Recipe, {
            "strategy": "margin", "explainer": "lime", "feedback": "counterexamples", "search": search, **sections,
        })  # fmt: skip
        with pytest.raises(ConfigError, match="trials cannot ask people to correct"):
            checked_search(recipe)
    assert isinstance(simulation(parse(Recipe, {"annotator": "file"})).annotator, Oracle)
    assert isinstance(simulation(parse(Recipe, {"annotator": "simulated"})).annotator, Simulated)
