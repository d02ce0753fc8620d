"""xal tune: a search that fails here and there, is killed, goes on; its mistakes; replaying labels."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from tests.explained.test_texts import recipe
from tests.recipes import text_pool
from xal.campaign.annotators import File
from xal.campaign.experiment import run_experiment
from xal.campaign.recipe import PoolSection
from xal.campaign.search import prepared, with_theta
from xal.campaign.tuning import run_search
from xal.data.pool import Pool
from xal.engine import Serial
from xal.errors import ConfigError, NumericalError, RunError
from xal.explainers.shap_partition import ShapPartition
from xal.progress import Reporter
from xal.report.runs import read_run

ENGINE = {"name": "ray", "cpus": 2, "object_store_mb": 100}


@dataclass(frozen=True, kw_only=True)
class Fragile(ShapPartition):
    """Fails where it is allowed few evaluations."""

    def explain(self, network: Any, payload: Any, classes: Any = None) -> Any:
        """As its base."""
        if self.max_evals < 20:
            raise NumericalError("too few evaluations for me")
        return super().explain(network, payload, classes)


def searched(tmp_path: Path, **search: Any) -> Any:
    tmp_path.mkdir(exist_ok=True)
    pool, test = text_pool(tmp_path / "pool.parquet", 300, 0), text_pool(tmp_path / "test.parquet", 60, 1)
    given = {
        "space": {
            "explainer.max_evals": {"low": 2, "high": 200, "log": True},
            "strategy.sample": {"choices": [10, 20]},
        },
        "trials": 5, "rounds": 2, "seeds": [0],
    } | search  # fmt: skip
    own = {"name": f"{__name__}:Fragile"}
    budget = {"initial": 20, "per_round": 10, "rounds": 2}
    strategy = "explanation_disagreement"
    return recipe(pool, test, arms=None, strategy=strategy, explainer=own, engine=ENGINE, search=given, budget=budget)


@pytest.mark.ray
@pytest.mark.timeout(600)
def test_a_search_survives_failing_trials_and_is_not_done_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ray_session: object
) -> None:
    said: list[str] = []
    reporter = Reporter(quiet=True)
    monkeypatch.setattr(reporter, "say", said.append)
    given = searched(tmp_path)
    page, best = run_search(given, tmp_path / "tune", None, (0, 1), reporter)
    told = json.loads((tmp_path / "tune" / "search.json").read_text())
    failed = [trial for trial in told["trials"] if trial["why"]]
    assert len(told["trials"]) == 5 and best is not None and best["explainer.max_evals"] >= 20
    assert all((trial["theta"]["explainer.max_evals"] < 20) == (trial["value"] is None) for trial in told["trials"])
    assert all("too few evaluations for me" in trial["why"] for trial in failed)
    values = [trial["value"] for trial in told["trials"] if trial["value"] is not None and trial["round"] == 2]
    assert max(values) == next(t["value"] for t in told["trials"] if t["theta"] == best)
    assert "difference" in page.read_text() and len(told["held_out"]["best"]) == 2
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "tune" / "trials").rglob("model.safetensors")}
    again, same = run_search(given, tmp_path / "tune", None, (0, 1), reporter)
    assert same == best and again == page and "the search goes on where it stood" in said
    after = {path: path.stat().st_mtime_ns for path in (tmp_path / "tune" / "trials").rglob("model.safetensors")}
    assert before == after


def test_a_trial_is_computed_once(tmp_path: Path) -> None:
    objective = prepared(searched(tmp_path), tmp_path / "tune", None)
    theta = {"explainer.max_evals": 50, "strategy.sample": 10}
    first = list(objective.rounds(theta))
    assert [round for round, _ in first] == [1, 2]
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "tune" / "trials").rglob("model.safetensors")}
    assert list(objective.rounds(theta)) == first
    assert times == {path: path.stat().st_mtime_ns for path in times}
    assert with_theta(objective.recipe, theta).strategies["explanation_disagreement"].sample == 10  # type: ignore[attr-defined]


def test_replay_asks_no_label_beyond_a_runs_own(tmp_path: Path) -> None:
    given = searched(tmp_path, mode="replay")
    run_experiment(parse_serial(given), tmp_path / "runs", Reporter(quiet=True))
    source = tmp_path / "runs" / "explanation_disagreement-seed0"
    objective = prepared(given, tmp_path / "tune", source)
    labelled = {item.id for item in read_run(source).queried}
    split = [Pool.open(tmp_path / "tune" / "data" / f"{name}.parquet") for name in ("pool", "validation")]
    ids = [item for pool in split for item in pool.read_span(0, len(pool), ["id"])["id"].to_pylist()]
    assert len(ids) == len(labelled) == 40 and set(ids) == labelled
    assert len(list(objective.rounds({"explainer.max_evals": 30}))) == 2


def test_replay_refuses_a_run_of_another_pool(tmp_path: Path) -> None:
    run_experiment(parse_serial(searched(tmp_path)), tmp_path / "runs", Reporter(quiet=True))
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


@pytest.mark.ray
@pytest.mark.timeout(600)
def test_replay_of_a_run_annotated_by_file_is_measured_on_the_test_pool(tmp_path: Path, ray_session: object) -> None:
    given = searched(tmp_path, mode="replay", trials=2, seeds=[0])
    run_experiment(parse_serial(given), tmp_path / "runs", Reporter(quiet=True))
    source = tmp_path / "runs" / "explanation_disagreement-seed0"
    by_file = replace(given, annotator=File())
    page, _ = run_search(by_file, tmp_path / "tune", source, (0, 1), Reporter(quiet=True))
    told = json.loads((tmp_path / "tune" / "search.json").read_text())
    assert len(told["held_out"]["default"]) == 2 and "On held-out data, 2 paired seeds" in page.read_text()
    labelled = {item.id for item in read_run(source).queried}
    asked = read_run(tmp_path / "tune" / "held-out" / "best-seed0")
    assert {item.id for item in asked.queried} <= labelled
    assert asked.of("evaluate")[1].figures["test_items"] == 60


def parse_serial(given: Any) -> Any:
    return replace(given, engine=Serial(batch=32), search=None)


@pytest.mark.parametrize(
    ("search", "problem"),
    [
        ({"space": {}}, "names no parameter"),
        ({"space": {"explainer.max_eval": {"low": 2, "high": 9}}}, "did you mean 'max_evals'"),
        ({"space": {"explainer.max_evals": {"low": 0, "high": 9}}}, "greater than or equal to 2"),
        ({"initial": 100, "per_round": 100}, "labels, but what plays the pool"),
        ({"mode": "replay"}, "wants the labels of a run, --from RUN"),
    ],
)
def test_searches_that_cannot_run(tmp_path: Path, search: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        prepared(searched(tmp_path, **search), tmp_path / "tune", None)


@pytest.mark.parametrize(
    ("span", "problem"),
    [
        ({"low": 3, "high": 2}, "expected less than high"),
        ({"low": 0, "high": 2, "log": True}, "wants low above 0"),
        ({"low": 1}, "expected low and high, or choices"),
        ({"choices": []}, "expected low and high, or choices"),
    ],
)
def test_spans_that_are_none(tmp_path: Path, span: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        searched(tmp_path, space={"explainer.max_evals": span})
    with pytest.raises(ConfigError, match="begins with explainer"):
        searched(tmp_path, space={"train.lr": {"low": 1, "high": 2}})
