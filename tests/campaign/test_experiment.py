"""Arms and seeds: side by side or one by one, with a shared round 0."""

from pathlib import Path

import pytest

from tests.recipes import QUIET, half_relevant_pool, labels_of, queries, small, text_recipe, write_pool
from xal.campaign.experiment import run_experiment
from xal.campaign.import_labels import import_labels
from xal.core.progress import Reporter
from xal.data.pool import Pool
from xal.errors import ConfigError, RunError
from xal.report.html import write_report
from xal.store.directory import run_directories
from xal.store.ledger import Ledger
from xal.store.run import read_run

pytestmark = pytest.mark.usefixtures("database")  # SQLite, and PostgreSQL


def test_arms_and_seeds_share_their_first_round(tmp_path: Path) -> None:
    recipe = small(
        write_pool(tmp_path / "pool"),
        strategy=None,
        arms={"mix": {"name": "early_mix", "strategy": "margin"}, "random": "random"},
        seeds=[0, 1],
        pool={"test": str(write_pool(tmp_path / "test", n=30, seed=9))},
    )
    run_experiment(recipe, tmp_path / "runs", QUIET)
    runs = {path.name: read_run(path) for path in run_directories(tmp_path / "runs")}
    assert set(runs) == {"mix-seed0", "mix-seed1", "random-seed0", "random-seed1"}
    for seed in (0, 1):
        one, other = runs[f"mix-seed{seed}"], runs[f"random-seed{seed}"]
        assert one.curve()[1][0] == other.curve()[1][0]  # equal before any strategy has chosen
        assert [i.id for i in one.queried if not i.round] == [i.id for i in other.queried if not i.round]
    assert [i.id for i in runs["mix-seed0"].queried] != [i.id for i in runs["mix-seed1"].queried]
    assert {i.reason for i in runs["mix-seed0"].queried if i.round == 1} == {"margin"}
    assert {i.reason for i in runs["mix-seed0"].queried if i.round == 2} == {"entropy"}


@pytest.mark.ray
def test_runs_side_by_side_on_ray_equal_runs_one_by_one(tmp_path: Path, ray_session: None) -> None:
    pool = write_pool(tmp_path / "pool")
    arms = {"entropy": "entropy", "random": "random"}
    shared = {"strategy": None, "arms": arms, "explainer": None, "budget": {"rounds": 1}}
    run_experiment(small(pool, **shared), tmp_path / "one", QUIET)
    side_by_side = {"name": "ray", "batch": 16, "actors": 1, "actor_cpus": 0, "parallel_runs": 2}
    run_experiment(small(pool, **shared, engine=side_by_side), tmp_path / "two", QUIET)
    for path in run_directories(tmp_path / "one"):
        ours, theirs = read_run(path), read_run(tmp_path / "two" / path.name)
        assert [(i.id, i.score, i.label) for i in ours.queried] == [(i.id, i.score, i.label) for i in theirs.queried]
        assert ours.curve() == theirs.curve()


def test_round_0_is_computed_once_for_all_arms(tmp_path: Path) -> None:
    """Adopted, it equals what the arm would have computed alone, to the last weight and label."""
    shared = {
        "pool": {"test": str(write_pool(tmp_path / "test", n=30, seed=9))},
        "strategy": None,
        "budget": {"rounds": 1},
    }
    pool = write_pool(tmp_path / "pool")
    said: list[str] = []
    reporter = Reporter(quiet=True)
    reporter.say = said.append  # type: ignore[method-assign]
    arms = {"entropy": "entropy", "random": "random", "margin": "margin"}
    run_experiment(small(pool, **shared, arms=arms), tmp_path / "all", reporter)
    assert sum("round 0/1 train" in line for line in said) == 1
    assert sum("round 0 as in entropy-seed0" in line for line in said) == 2
    run_experiment(small(pool, **shared, arms={"margin": "margin"}), tmp_path / "alone", QUIET)
    ours, theirs = (read_run(tmp_path / name / "margin-seed0") for name in ("all", "alone"))
    assert ours.queried == theirs.queried and ours.curve() == theirs.curve() and ours.state == "finished"
    for round in (0, 1):
        for name in ("query/items.parquet", "train/model.safetensors"):
            path = f"margin-seed0/round-{round:03d}/{name}"
            assert (tmp_path / "all" / path).read_bytes() == (tmp_path / "alone" / path).read_bytes()


def test_people_label_round_0_once_for_all_arms(tmp_path: Path) -> None:
    pool = write_pool(tmp_path / "pool")
    recipe = small(pool, strategy=None, arms={"a": "entropy", "b": "random"}, annotator="file", explainer=None)
    (first,) = run_experiment(recipe, tmp_path / "runs", QUIET)
    assert first.waiting == 12 and first.directory.name == "a-seed0"
    assert not (tmp_path / "runs" / "b-seed0").exists()
    label_of = labels_of(pool)
    asked = [item.id for item in read_run(first.directory).queried]
    answers = tmp_path / "answers.csv"
    answers.write_text("id,label\n" + "".join(f"{item},{label_of[item]}\n" for item in asked))
    assert import_labels(first.directory, answers, "me")[:2] == (12, 0)
    outcomes = run_experiment(recipe, tmp_path / "runs", QUIET)
    assert [(outcome.round, outcome.waiting) for outcome in outcomes] == [(1, 8), (1, 8)]
    assert [item.id for item in read_run(tmp_path / "runs" / "b-seed0").queried if item.label] == asked


def test_stopped_while_taking_over_round_0(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files first, ledger last: what lies there without being named in the ledger is taken over anew."""
    recipe = small(
        write_pool(tmp_path / "pool"),
        strategy=None,
        arms={"entropy": "entropy", "random": "random"},
        explainer=None,
        budget={"rounds": 1},
    )
    run_experiment(recipe, tmp_path / "whole", QUIET)
    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "adopt", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            run_experiment(recipe, tmp_path / "stopped", QUIET)
    assert (tmp_path / "stopped" / "random-seed0" / "round-000").is_dir()
    assert read_run(tmp_path / "stopped" / "random-seed0").steps == ()
    run_experiment(recipe, tmp_path / "stopped", QUIET)
    for path in run_directories(tmp_path / "whole"):
        ours, theirs = read_run(path), read_run(tmp_path / "stopped" / path.name)
        assert ours.queried == theirs.queried and ours.curve() == theirs.curve() and theirs.state == "finished"


def test_round_0_is_each_arms_own_where_its_explanations_are_evaluated(tmp_path: Path) -> None:
    source = half_relevant_pool(tmp_path / "pool")
    recipe = small(
        source,
        pool={"test": str(source)},
        strategy=None,
        arms={"a": "margin", "b": "margin"},
        explainer="gradient_shap",
        explainers={"b": {"name": "integrated_gradients"}},
        annotator="simulated",
        budget={"rounds": 0},
        evaluate_explanations=20,
    )
    run_experiment(recipe, tmp_path / "runs", QUIET)
    one, other = (read_run(tmp_path / "runs" / f"{arm}-seed0").of("evaluate")[0].metrics for arm in "ab")
    assert one["accuracy"] == other["accuracy"] and one["on_irrelevant"] != other["on_irrelevant"]


def test_an_arm_with_an_explainer_of_its_own(tmp_path: Path, text_pools: tuple[Path, Path]) -> None:
    arms = {"default": "explanation_disagreement", "tuned": "explanation_disagreement"}
    both = text_recipe(*text_pools, arms=arms, explainers={"tuned": {"name": "shap_partition", "max_evals": 4}})
    run_experiment(both, tmp_path / "runs", Reporter(quiet=True))
    evaluations = {
        path: read_run(tmp_path / "runs" / path).recipe["explainer"]["max_evals"] for path in queries(tmp_path / "runs")
    }
    assert evaluations == {"default-seed0": 500, "tuned-seed0": 4}
    default, tuned = queries(tmp_path / "runs").values()
    assert default[:20] == tuned[:20] and default != tuned
    run_experiment(both, tmp_path / "runs", Reporter(quiet=True), (0, 1))  # continues, refuses nothing
    run_experiment(both, tmp_path / "runs", Reporter(quiet=True), (2,))
    assert "tuned" in write_report(sorted((tmp_path / "runs").glob("*-seed*")), tmp_path / "report.html").read_text()
    with pytest.raises(RunError, match="tuned-seed0.*\n.*explainer.max_evals: 4 there, 500 here"):
        run_experiment(text_recipe(*text_pools, arms=arms), tmp_path / "runs", Reporter(quiet=True))
    with pytest.raises(ConfigError, match="strategy 'explanation_disagreement' needs explanations; name an explainer"):
        text_recipe(*text_pools, arms=arms, explainer=None)
    with pytest.raises(ConfigError, match="explainers: 'other' is not an arm; arms: default, tuned"):
        text_recipe(*text_pools, arms=arms, explainers={"other": "lime"})


@pytest.mark.parametrize("rounds", [0, 1])
def test_each_pool_file_is_opened_once_for_all_arms_and_rounds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rounds: int
) -> None:
    opened: list[str] = []
    plain = Pool.open.__func__  # type: ignore[attr-defined]
    monkeypatch.setattr(Pool, "open", classmethod(lambda cls, path: opened.append(str(path)) or plain(cls, path)))
    paths = {name: str(write_pool(tmp_path / name, seed=seed)) for seed, name in enumerate(("pool", "test", "held"))}
    recipe = small(
        paths["pool"],
        pool={"test": paths["test"], "validation": paths["held"]},
        strategy=None,
        arms={"entropy": "entropy", "random": "random", "margin": "margin"},
        seeds=[0, 1],
        explainer=None,
        budget={"rounds": rounds},
    )
    assert len(run_experiment(recipe, tmp_path / "runs", QUIET)) == 6
    assert sorted(opened) == sorted(paths.values())
