"""Arms, seeds, schedules, fine-tuning, and what a run directory refuses."""

import copy
from pathlib import Path

import pyarrow as pa
import pytest

from tests.recipes import CLASSES, small, write_pool
from xal.campaign.experiment import run_experiment
from xal.campaign.identity import as_now
from xal.campaign.import_labels import import_labels
from xal.campaign.recipe import Recipe, runs
from xal.core.config import differences
from xal.core.progress import Reporter
from xal.errors import ConfigError, DataError, LabelError, RunError
from xal.store.artefacts import EXPLANATIONS, read_explanations
from xal.store.directory import held, run_directories
from xal.store.ledger import Ledger
from xal.store.run import read_run

pytestmark = pytest.mark.usefixtures("database")  # SQLite, and PostgreSQL
QUIET = Reporter(quiet=True)


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


def test_fine_tuning_starts_from_the_last_best_weights(tmp_path: Path) -> None:
    frozen = {"start": "finetune", "finetune_lr": 1e-12, "finetune_epochs": 1}
    recipe = small(write_pool(tmp_path / "pool"), train=frozen, strategy="random")
    run_experiment(recipe, tmp_path / "runs", QUIET)
    accuracies = read_run(tmp_path / "runs" / "random-seed0")
    first, *later = [step.metrics["validation_loss"] for step in accuracies.of("train").values()]
    assert first > 0 and len(later) == 2
    from safetensors.torch import load_file

    weights = [load_file(p) for p in sorted((tmp_path / "runs").rglob("model.safetensors"))]
    for name, value in weights[0].items():
        assert (weights[2][name] - value).abs().max() < 1e-6


def test_explanations_of_what_was_selected_are_kept(tmp_path: Path) -> None:
    run_experiment(small(write_pool(tmp_path / "pool")), tmp_path / "runs", QUIET)
    run = read_run(tmp_path / "runs" / "ebano_uncertainty-seed0")
    for round in (1, 2):
        names, explanations = read_explanations(run.directory / f"round-{round:03d}" / "query" / EXPLANATIONS)
        items = {item.id: item for item in run.queried if item.round == round}
        assert set(names) == set(items) and len(explanations) == 8
        for i, name in enumerate(names):
            if items[name].reason == "ebano_uncertainty":  # the score is m(x) of the explanation that was kept
                f = explanations.top_feature[i]
                assert items[name].score == pytest.approx(explanations.npir[i, f] - explanations.npirp[i, f], abs=1e-4)


def test_a_corrupt_image_chosen_by_its_id_is_replaced(tmp_path: Path) -> None:
    whole = small(write_pool(tmp_path / "pool"), strategy="random", explainer=None).open_pool()
    images = whole.read_span(0, 120, ["image"])["image"].to_pylist()
    broken = [b"" if row % 3 == 0 else image for row, image in enumerate(images)]
    recipe = small(write_pool(tmp_path / "broken", image=broken), strategy="random", explainer=None)
    run_experiment(recipe, tmp_path / "runs", QUIET)
    run = read_run(tmp_path / "runs" / "random-seed0")
    assert len(run.queried) == 28 and all(item.row % 3 for item in run.queried)
    assert run.unreadable and all(int(name[-4:]) % 3 == 0 for name in run.unreadable)


def test_another_recipe_is_refused_with_what_differs(tmp_path: Path) -> None:
    pool = write_pool(tmp_path / "pool")
    run_experiment(small(pool, budget={"rounds": 0}), tmp_path / "runs", QUIET)
    with pytest.raises(RunError, match=r"(?s)another recipe.*budget\.rounds: 0 there, 1 here.*train\.epochs: 2 there"):
        run_experiment(small(pool, budget={"rounds": 1}, train={"epochs": 3}), tmp_path / "runs", QUIET)


def test_another_pool_is_refused(tmp_path: Path) -> None:
    pool = write_pool(tmp_path / "pool")
    recipe = small(pool, budget={"rounds": 0})
    run_experiment(recipe, tmp_path / "runs", QUIET)
    write_pool(pool, n=121)
    with pytest.raises(RunError, match="pool .* has changed"):
        run_experiment(recipe, tmp_path / "runs", QUIET)


def test_a_second_process_is_refused(tmp_path: Path) -> None:
    recipe = small(write_pool(tmp_path / "pool"), budget={"rounds": 0})
    with held(tmp_path / "runs" / "ebano_uncertainty-seed0"), pytest.raises(RunError, match="in use by another xal"):
        run_experiment(recipe, tmp_path / "runs", QUIET)


def test_budget_over_pool(tmp_path: Path) -> None:
    recipe = small(write_pool(tmp_path / "pool"), budget={"initial": 100, "per_round": 30, "rounds": 2})
    with pytest.raises(ConfigError, match=r"100 \+ 2 x 30 = 160 labels, but the pool holds 120; lower initial"):
        run_experiment(recipe, tmp_path / "runs", QUIET)
    assert not (tmp_path / "runs").exists()


def test_oracle_without_labels_or_with_strange_ones(tmp_path: Path) -> None:
    classes = {"classes": list(CLASSES)}
    blind = small(write_pool(tmp_path / "blind", label=None), pool=classes)
    with pytest.raises(ConfigError, match="annotator: file"):
        run_experiment(blind, tmp_path / "a", QUIET)
    strange = small(write_pool(tmp_path / "strange", label=["odd"] * 120), pool=classes)
    with pytest.raises(LabelError, match=r"(?s)'odd' is not one of the 3 classes.*\n.*'odd'"):
        run_experiment(strange, tmp_path / "b", QUIET)
    unknown = small(write_pool(tmp_path / "unknown", label=None))
    with pytest.raises(ConfigError, match=r"pool\.classes"):
        run_experiment(unknown, tmp_path / "c", QUIET)


def test_a_pool_without_ids_and_a_pool_of_text(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="`id`"):
        small(write_pool(tmp_path / "nameless", id=None)).open_pool()
    texts = write_pool(tmp_path / "texts", image=None, text=pa.array(["some words"] * 120))
    with pytest.raises(ConfigError, match="'convnet' takes image, the pool holds text"):
        run_experiment(small(texts), tmp_path / "runs", QUIET)


def test_an_unknown_class_in_the_test_pool(tmp_path: Path) -> None:
    recipe: Recipe = small(
        write_pool(tmp_path / "pool"), pool={"test": str(write_pool(tmp_path / "test", n=20, label=["odd"] * 20))}
    )
    with pytest.raises(Exception, match="labels outside the classes: odd"):
        run_experiment(recipe, tmp_path / "runs", QUIET)


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
    table = recipe.open_pool().read_span(0, 120, ["id", "label"])
    relevance = dict(zip(table["id"].to_pylist(), table["label"].to_pylist(), strict=True))
    asked = [item.id for item in read_run(first.directory).queried]
    answers = tmp_path / "answers.csv"
    answers.write_text("id,label\n" + "".join(f"{item},{relevance[item]}\n" for item in asked))
    assert import_labels(first.directory, answers, "me") == (12, 0)
    outcomes = run_experiment(recipe, tmp_path / "runs", QUIET)
    assert [(outcome.round, outcome.waiting) for outcome in outcomes] == [(1, 8), (1, 8)]
    assert [item.id for item in read_run(tmp_path / "runs" / "b-seed0").queried if item.label] == asked


def test_a_balanced_start_and_a_validation_pool(tmp_path: Path) -> None:
    pool, held = write_pool(tmp_path / "pool"), write_pool(tmp_path / "held", n=21, seed=4)
    recipe = small(
        pool,
        pool={"validation": str(held)},
        strategy="random",
        budget={"initial": 13, "balanced": True, "rounds": 1},
    )
    run_experiment(recipe, tmp_path / "runs", QUIET)
    run = read_run(tmp_path / "runs" / "random-seed0")
    first = [item.label for item in run.queried if not item.round]
    assert [first.count(name) for name in CLASSES] == [5, 4, 4]
    train, evaluate = run.of("train")[1].metrics, run.of("evaluate")[1].metrics
    assert (train["train_items"], train["validation_items"]) == (21, 21)  # nothing labelled is held out
    assert (evaluate["on"], evaluate["test_items"]) == ("validation", 21)
    assert run.of("query")[0].metrics["chosen"] == {"random": 13}


def test_what_cannot_be_balanced_or_validated_is_refused(tmp_path: Path) -> None:
    unlabelled = write_pool(tmp_path / "unlabelled", label=None)
    classes = {"classes": list(CLASSES)}
    with pytest.raises(ConfigError, match="annotator: file"):
        run_experiment(
            small(unlabelled, pool=classes, strategy="random", budget={"balanced": True}), tmp_path / "a", QUIET
        )
    with pytest.raises(DataError, match=r"pool\.validation: .* has no `label` column"):
        run_experiment(
            small(write_pool(tmp_path / "pool"), pool={"validation": str(unlabelled)}), tmp_path / "b", QUIET
        )
    with pytest.raises(DataError, match="class 'dark' has .* 40 are wanted"):
        run_experiment(
            small(tmp_path / "pool", strategy="random", budget={"initial": 119, "rounds": 0, "balanced": True}),
            tmp_path / "c",
            QUIET,
        )
    strange = write_pool(tmp_path / "strange", n=10, label=["unheard of"] * 10)
    with pytest.raises(ConfigError, match="labels outside the classes: unheard of"):
        run_experiment(
            small(tmp_path / "pool", pool={"validation": str(strange)}, strategy="random"), tmp_path / "d", QUIET
        )


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


def test_a_run_of_an_older_xal_is_the_same_recipe(tmp_path: Path) -> None:
    """What has become configurable since is at its default; all else is as it was."""
    recipe = small(write_pool(tmp_path / "pool"), feedback="counterexamples", explainer="lime", strategy="entropy")
    identity = runs(recipe, tmp_path)[0].identity()
    older = copy.deepcopy(identity)
    del older["train"]["flip"], older["feedback"]["onehot_width"], older["explainer"]["keep"]
    assert as_now(older) == identity and older != identity
    older["model"]["hidden"] = 9
    assert differences(identity, as_now(older)) == ["model.hidden: 9 there, 8 here"]
    older["model"]["name"] = "gone"
    assert as_now(older) == older
