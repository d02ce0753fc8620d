"""Campaigns on given vectors: what is chosen first, what is said of each item, and when to stop."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.encoders.test_column import MODEL, with_vectors
from tests.recipes import QUIET, RUN_ENGINES, only_run, outcome, small, write_pool, xal
from xal.campaign.advice import advice, duration
from xal.campaign.because import because
from xal.campaign.experiment import run_experiment
from xal.errors import ConfigError
from xal.report.html import write_report
from xal.store.run import Run, read_run
from xal.strategies.auto import Auto
from xal.strategies.margin import Margin

JOINT = ("auto", "bait", "dropquery", "typiclust", "anchor")
STOP = {"name": "stabilized_predictions", "agreement": 0.9, "rounds": 2, "sample": 60}


def recipe(tmp_path: Path, **sections: Any) -> Any:
    pool, test = tmp_path / "pool", tmp_path / "test"
    if not pool.exists():
        with_vectors(pool), with_vectors(test, 40, 3)
    budget = {"initial": 6, "per_round": 6, "rounds": 6} | sections.pop("budget", {})
    usual = {"pool": {"test": str(test)}, "model": MODEL, "explainer": None, "strategy": None, "budget": budget}
    return small(pool, **usual | sections)


def run(recipe: Any, directory: Path) -> Run:
    run_experiment(recipe, directory, QUIET)
    return only_run(directory)


def test_where_vectors_are_kept_auto_is_the_default_and_begins_by_covering(tmp_path: Path) -> None:
    found = run(recipe(tmp_path), tmp_path / "runs")
    first = [item for item in found.queried if item.round == 0]
    assert {item.reason for item in first} == {"max_herding"}
    assert all(item.because.startswith("many items resemble it; nearest to ") for item in first)
    assert all(item.because.endswith(" of 120 items; nothing is labelled yet") for item in first)
    assert len({item.label for item in first}) == 3  # every class, by six labels
    later = [item for item in found.queried if item.round == 1]
    assert {item.reason for item in later} == {"uncertainty_herding"}
    assert all("nearest labelled item: item-" in item.because for item in later)
    assert all(item.because.endswith("uncertainty_herding (labels a class: 2)") for item in later)
    assert all(item.because.startswith(("unsure between", "rather", "taken for")) for item in later)


@pytest.mark.parametrize("start", ["typiclust", "random"])
def test_the_start_can_be_named(tmp_path: Path, start: str) -> None:
    found = run(recipe(tmp_path, budget={"start": start, "rounds": 0}), tmp_path / "runs")
    assert {item.reason for item in found.queried} == {start}


def test_a_start_that_cannot_be(tmp_path: Path) -> None:
    for start, words in (("margin", "needs a trained model"), ("bait", "needs a trained model")):
        with pytest.raises(ConfigError, match=words):
            recipe(tmp_path, budget={"start": start})
    with pytest.raises(ConfigError, match="model 'convnet' keeps none; give it a frozen encoder"):
        small(tmp_path, budget={"start": "max_herding"})
    with pytest.raises(ConfigError, match="cannot be balanced"):
        recipe(tmp_path, budget={"start": "max_herding", "balanced": True})


def test_arms_share_the_start(tmp_path: Path) -> None:
    arms = {"auto": "auto", "margin": "margin"}
    run_experiment(recipe(tmp_path, arms=arms, budget={"rounds": 1}), tmp_path / "runs", QUIET)
    runs = [read_run(tmp_path / "runs" / f"{arm}-seed0") for arm in arms]
    begun = [[item.id for item in each.queried if item.round == 0] for each in runs]
    assert begun[0] == begun[1] and {item.reason for item in runs[0].queried if item.round == 0} == {"random"}


def test_a_stopping_rule_says_since_when(tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    found = run(recipe(tmp_path, stop=STOP, budget={"seconds_per_label": 30}), tmp_path / "runs")
    steps = [found.of("evaluate")[round].metrics["stop"] for round in range(7)]
    assert steps[0]["agreement"] is None and all(0 < step["agreement"] <= 1 for step in steps[1:])
    assert all(0 < step["uncertainty"] <= 1 for step in steps)
    forecast, stopped = advice(found)
    reached = [step["agreement"] is not None and step["agreement"] >= 0.9 for step in steps]
    since = next(round for round in range(1, 7) if reached[round] and reached[round - 1])
    assert stopped == f"stabilized_predictions would have stopped after round {since}, at {6 * (since + 1)} labels"
    assert forecast.startswith("forecast: 102 more labels: ") and forecast.endswith("about 51 min at 30 s a label")
    assert xal("status", tmp_path / "runs", monkeypatch=monkeypatch) == 0
    assert stopped in capsys.readouterr().out
    page = write_report([found.directory], tmp_path / "report.html").read_text()
    assert stopped in page and "forecast: 102 more labels" in page


def test_the_rule_may_change_and_no_rule_says_nothing(tmp_path: Path) -> None:
    found = run(recipe(tmp_path, budget={"rounds": 2}), tmp_path / "runs")
    assert advice(found) == []
    found = run(recipe(tmp_path, stop=STOP | {"agreement": 1.0}, budget={"rounds": 3}), tmp_path / "runs")
    assert "go on" in advice(found)[-1]


@pytest.mark.ray
def test_the_same_campaigns_on_ray(tmp_path: Path) -> None:
    given = {"arms": {name: name for name in JOINT}, "stop": STOP, "budget": {"rounds": 1}}
    run_experiment(recipe(tmp_path, **given), tmp_path / "serial", QUIET)
    run_experiment(recipe(tmp_path, **given, engine=RUN_ENGINES["ray"]), tmp_path / "ray", QUIET)
    for name in JOINT:
        serial, on_ray = (read_run(tmp_path / engine / f"{name}-seed0") for engine in ("serial", "ray"))
        assert outcome(serial) == outcome(on_ray)
        assert [item.because for item in serial.queried] == [item.because for item in on_ray.queried]
        assert len({item.id for item in serial.queried}) == 12


def test_why_in_words() -> None:
    guesses = (("cat", 0.41), ("dog", 0.38))
    assert because(Margin(), "margin", "", guesses) == "unsure between cat and dog (0.41, 0.38)"
    assert because(Margin(), "margin", "", (("cat", 0.95), ("dog", 0.05))) == "taken for cat (0.95)"
    assert because(Margin(), "margin", "", (("cat", 0.8), ("dog", 0.2))) == "rather cat than dog (0.80, 0.20)"
    assert because(Auto(), "max_herding", "nearest labelled item: 7 (0.83)", guesses) == (
        "many items resemble it; nearest labelled item: 7 (0.83)"
    )
    assert because(Margin(), "someone", "", guesses) == ""
    assert because(Margin(), "margin", "", None) == ""


def test_durations() -> None:
    assert [duration(each) for each in (10, 3000, 9000)] == ["about 1 min", "about 50 min", "about 2.5 h"]


def test_a_rule_of_a_stranger_is_not_imported_to_show_a_status(tmp_path: Path, monkeypatch: Any) -> None:
    """A run directory from elsewhere may name any code; looking at it runs none."""
    found = run(recipe(tmp_path, stop=STOP, budget={"rounds": 1}), tmp_path / "runs")
    (tmp_path / "strange_rules.py").write_text("raise SystemExit('imported')\n")
    monkeypatch.syspath_prepend(tmp_path)
    strange = replace(found, recipe={**found.recipe, "stop": {"name": "strange_rules:Rule"}})
    (line,) = advice(strange)
    assert "strange_rules, which is not imported because a run says so" in line


def test_broken_items_of_the_stop_set_are_not_laid_to_the_test(tmp_path: Path) -> None:
    pool, test = write_pool(tmp_path / "pool", 60), write_pool(tmp_path / "test", 40, seed=3)
    table = pq.read_table(pool / "part-000.parquet")
    images = table["image"].to_pylist()
    images[50:55] = [b"broken"] * 5
    place = table.column_names.index("image")
    pq.write_table(table.set_column(place, "image", pa.array(images)), pool / "part-000.parquet")
    given = small(pool, pool={"test": str(test)}, strategy="random", explainer=None, stop=STOP, budget={"rounds": 1})
    found = run(given, tmp_path / "runs")
    last = found.of("evaluate")[1].metrics
    assert last["test_items"] == 40 and "left_out" not in last and 0 < last["stop"]["uncertainty"] <= 1
