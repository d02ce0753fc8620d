"""A campaign killed at any moment and started again ends as if it had never stopped; and what its rounds come to."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.recipes import CLASSES, QUIET, RUN, labels_of, outcome, small, text_pool, text_recipe, write_pool
from xal.campaign.experiment import run_experiment
from xal.campaign.import_labels import import_labels
from xal.campaign.loop import Campaign
from xal.campaign.recipe import Recipe
from xal.data.pool import Pool
from xal.errors import RunError
from xal.store.artefacts import EXPLANATIONS, WEIGHTS, read_explanations
from xal.store.directory import held
from xal.store.ledger import Ledger
from xal.store.run import read_run

pytestmark = pytest.mark.usefixtures("database")  # SQLite, and PostgreSQL


class Killed(BaseException):
    """Stands for a SIGKILL: nothing catches it."""


def test_stopped_before_and_after_every_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = small(write_pool(tmp_path / "pool"))
    quiet = QUIET
    run_experiment(recipe, tmp_path / "whole", quiet)
    expected = outcome(read_run(tmp_path / "whole" / RUN))
    commit = Ledger.commit
    stops = 0
    for moment in range(24):  # 12 steps, each stopped once before its commit and once after it

        def stopping(self: Ledger, *args: object, _moment: int = moment, **kwargs: object) -> None:
            nonlocal stops
            if _moment % 2:
                commit(self, *args, **kwargs)  # type: ignore[arg-type]
            stops += 1
            raise Killed

        monkeypatch.setattr(Ledger, "commit", stopping)
        with pytest.raises(Killed):
            run_experiment(recipe, tmp_path / "stopped", quiet)
    monkeypatch.setattr(Ledger, "commit", commit)
    assert stops == 24
    run_experiment(recipe, tmp_path / "stopped", quiet)
    assert outcome(read_run(tmp_path / "stopped" / RUN)) == expected
    for path in (tmp_path / "whole" / RUN).glob(f"round-*/train/{WEIGHTS}"):
        again = tmp_path / "stopped" / path.relative_to(tmp_path / "whole")
        assert again.read_bytes() == path.read_bytes()
    assert not list((tmp_path / "stopped").rglob(".aside-*"))


def test_a_finished_run_does_nothing_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = small(write_pool(tmp_path / "pool"), budget={"rounds": 1})
    run_experiment(recipe, tmp_path / "runs", QUIET)

    def never(*_: object) -> int:
        raise AssertionError("a step of a finished run ran again")

    monkeypatch.setattr(Campaign, "_step", never)
    assert run_experiment(recipe, tmp_path / "runs", QUIET)[0].finished


def test_labels_are_those_of_the_pool(tmp_path: Path) -> None:
    pool = write_pool(tmp_path / "pool")
    recipe = small(pool)
    run_experiment(recipe, tmp_path / "runs", QUIET)
    run = read_run(tmp_path / "runs" / RUN)
    label_of = labels_of(pool)
    assert len(run.queried) == 12 + 2 * 8 and {item.label for item in run.queried} <= set(CLASSES)
    assert all(item.label == label_of[item.id] for item in run.queried)


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
    run = read_run(tmp_path / "runs" / RUN)
    for round in (1, 2):
        names, explanations = read_explanations(run.directory / f"round-{round:03d}" / "query" / EXPLANATIONS)
        items = {item.id: item for item in run.queried if item.round == round}
        assert set(names) == set(items) and len(explanations) == 8
        for i, name in enumerate(names):
            if items[name].reason == "ebano_uncertainty":  # the score is m(x) of the explanation that was kept
                f = explanations.top_feature[i]
                assert items[name].score == pytest.approx(explanations.npir[i, f] - explanations.npirp[i, f], abs=1e-4)


def test_a_corrupt_image_chosen_by_its_id_is_replaced(tmp_path: Path) -> None:
    whole = Pool.open(write_pool(tmp_path / "pool"))
    images = whole.read_span(0, 120, ["image"])["image"].to_pylist()
    broken = [b"" if row % 3 == 0 else image for row, image in enumerate(images)]
    recipe = small(write_pool(tmp_path / "broken", image=broken), strategy="random", explainer=None)
    run_experiment(recipe, tmp_path / "runs", QUIET)
    run = read_run(tmp_path / "runs" / "random-seed0")
    assert len(run.queried) == 28 and all(item.row % 3 for item in run.queried)
    assert run.unreadable and all(int(name[-4:]) % 3 == 0 for name in run.unreadable)


def test_a_second_process_is_refused(tmp_path: Path) -> None:
    recipe = small(write_pool(tmp_path / "pool"), budget={"rounds": 0})
    with held(tmp_path / "runs" / RUN), pytest.raises(RunError, match="in use by another xal"):
        run_experiment(recipe, tmp_path / "runs", QUIET)


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


def alone(pool: Path, **sections: Any) -> Recipe:
    """Without a test pool."""
    given = text_recipe(pool, pool, **{"arms": None, "strategy": "margin"} | sections)
    return replace(given, pool=replace(given.pool, test=None))


def test_a_text_campaign_without_a_test_pool_holds_out_some_of_its_labels(tmp_path: Path) -> None:
    source = text_pool(tmp_path / "pool.parquet", 120, 0)
    given = alone(
        source,
        annotator="file",
        budget={"initial": 30, "per_round": 10, "rounds": 1},
    )
    label_of = labels_of(source)
    for _ in range(2):
        run_experiment(given, tmp_path / "runs", QUIET)
        directory = tmp_path / "runs" / "margin-seed0"
        waiting = [item.id for item in read_run(directory).queried if item.label is None]
        answers = tmp_path / "answers.csv"
        answers.write_text("id,label\n" + "".join(f"{item},{label_of[item]}\n" for item in waiting))
        import_labels(directory, answers, "me")
    run_experiment(given, tmp_path / "runs", QUIET)
    run = read_run(directory)
    trained, measured = run.of("train")[1].metrics, run.of("evaluate")[1].metrics
    assert run.state == "finished" and measured["on"] == "validation"
    assert (
        0 < trained["validation_items"] == measured["test_items"]
        and trained["train_items"] + measured["test_items"] == 40
    )
