"""xal tune: a search that fails here and there, is killed, goes on; its mistakes; replaying labels."""

import json
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.explained.test_texts import recipe
from tests.recipes import text_pool
from xal.annotators.file import File
from xal.campaign.experiment import run_experiment
from xal.campaign.recipe import PoolSection
from xal.core.config import unparse
from xal.core.progress import Reporter
from xal.data.pool import Pool
from xal.engine import Serial
from xal.errors import ConfigError, NumericalError, RunError
from xal.explainers.shap_partition import ShapPartition
from xal.store.run import read_run
from xal.tuning.objective import plain_space, prepared, with_theta
from xal.tuning.search import run_search

ENGINE = {"name": "ray", "cpus": 2, "object_store_mb": 100}
ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, kw_only=True)
class Fragile(ShapPartition):
    """Fails where it is allowed few evaluations."""

    def explain(self, classifier: Any, payload: Any, classes: Any = None) -> Any:
        """As its base."""
        if self.max_evals < 20:
            raise NumericalError("too few evaluations for me")
        return super().explain(classifier, payload, classes)


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
def test_a_search_on_two_cores(tmp_path: Path) -> None:
    """With a Ray of its own: trials fail or are stopped early, the search goes on; again, and nothing is computed."""
    space = {
        "explainer.max_evals": {"low": 12, "high": 200, "log": True},
        "strategy.sample": {"choices": [4, 20]},
    }
    given = searched(tmp_path, space=space, trials=12, initial=4, per_round=4)
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(unparse(given)), encoding="utf-8")
    said = tuned(tmp_path)
    told = json.loads((tmp_path / "tune" / "search.json").read_text())
    trials, best = told["trials"], told["best"]
    failed = [trial for trial in trials if trial["reason"]]
    whole = [trial for trial in trials if trial["value"] is not None and trial["round"] == 2]
    early = [trial for trial in trials if trial["value"] is not None and trial["round"] == 1]
    assert len(trials) == 12 and failed and early and whole
    assert all((trial["theta"]["explainer.max_evals"] < 20) == (trial["value"] is None) for trial in trials)
    assert all("too few evaluations for me" in trial["reason"] for trial in failed)
    assert max(trial["value"] for trial in whole) == next(t["value"] for t in whole if t["theta"] == best)
    assert all(early_one["value"] <= max(trial["value"] for trial in whole) for early_one in early)
    assert all(len(values) == 2 for values in told["held_out"].values())
    page = (tmp_path / "tune" / "report.html").read_text()
    assert f"12 trials, {len(failed)} failed, {len(early)} stopped early" in page and "data:image/png" in page
    table = [line.split("  ")[0].split(" ", 1)[1] for line in said if " of 12" in line]
    assert table == [f"{done} of 12" for done in range(1, 13)]
    assert sum("stopped early" in line for line in said) == len(early)
    assert sum("failed" in line for line in said) == len(failed)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "tune").rglob("model.safetensors")}
    again = tuned(tmp_path)
    assert any("the search goes on where it stood" in line for line in again)
    same = json.loads((tmp_path / "tune" / "search.json").read_text())
    for each in (told, same):
        each["trials"].sort(key=json.dumps)  # a restored search has them in another order
    assert same == told
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "tune").rglob("model.safetensors")}


def tuned(path: Path) -> list[str]:
    """What `xal tune` says."""
    command = [sys.executable, "-m", "xal.cli", "tune", str(path / "recipe.yaml"), "--out", str(path / "tune")]
    done = subprocess.run([*command, "--seeds", "0-1"], capture_output=True, text=True, timeout=500, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    return (done.stdout + done.stderr).splitlines()


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
    assert asked.of("evaluate")[1].metrics["test_items"] == 60


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


def test_numbers_are_whole_where_the_setting_is(tmp_path: Path) -> None:
    space = {
        "explainer.max_evals": {"low": 2, "high": 9, "log": True},
        "strategy.sample": {"choices": [4, 8]},
    }
    given = searched(tmp_path, space=space)
    assert plain_space(given, given.search) == {"explainer.max_evals": (2, 9, True, True), "strategy.sample": [4, 8]}
    by_lime = recipe(
        tmp_path / "pool.parquet", tmp_path / "test.parquet", arms=None, strategy="alex", explainer="lime",
        search={"space": {"explainer.alpha": {"low": 0, "high": 1}}},
    )  # fmt: skip
    assert plain_space(by_lime, by_lime.search) == {"explainer.alpha": (0, 1, False, False)}


@pytest.mark.parametrize(
    ("span", "problem"),
    [
        ({"low": 3, "high": 2}, "expected less than high"),
        ({"low": 0, "high": 2, "log": True}, "wants low above 0"),
        ({"low": 1}, "max_evals.low: expected low and high, or at least one of choices"),
        ({"choices": []}, "max_evals.choices: expected low and high, or at least one of choices"),
    ],
)
def test_spans_that_are_none(tmp_path: Path, span: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        searched(tmp_path, space={"explainer.max_evals": span})
    with pytest.raises(ConfigError, match="begins with explainer"):
        searched(tmp_path, space={"train.lr": {"low": 1, "high": 2}})
