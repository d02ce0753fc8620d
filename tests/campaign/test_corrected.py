"""What corrections may not be, what is kept of them where they come in parts, and concepts in place of parts."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from tests.campaign.test_corrections import QUIET, answer, batch, only, told, told_recipe
from tests.recipes import CLASSES, small, write_pool
from xal.annotators.annotator import Annotator, Request
from xal.annotators.label_file import read_labels
from xal.annotators.oracle import Oracle
from xal.annotators.simulated import Simulated
from xal.campaign.experiment import run_experiment
from xal.campaign.explain import explain_item
from xal.campaign.explained_images import explain_labelled
from xal.campaign.import_labels import constants, import_labels
from xal.campaign.lime_fidelity import against_exact
from xal.campaign.recipe import Recipe
from xal.campaign.validation import checked
from xal.core.config import parse
from xal.data.build.writer import PoolWriter
from xal.data.pool import Pool
from xal.datasets.colors import build_colors
from xal.errors import ConfigError, LabelError, RunError, XalError
from xal.models.torch.senn import Senn
from xal.report.html import write_report
from xal.store.directory import open_ledger
from xal.store.run import read_run
from xal.tuning.objective import checked_search, simulation
from xal.types import Correction


def test_all_that_corrections_lack_is_said_before_the_first_round(tmp_path: Path) -> None:
    plain = write_pool(tmp_path / "plain")
    given = small(
        plain,
        pool={"test": str(plain)},
        strategy="margin",
        explainer="gradient_shap",
        annotator="simulated",
        model={"name": "perceptron"},
        feedback="rrr_gradcam",
        evaluate_explanations=5,
    )
    with pytest.raises(ConfigError) as raised:
        checked(given)
    for part in (
        "`relevant` or `irrelevant`; use",
        "wants convolutions, and 'perceptron'",
        "evaluate_explanations: give a pool.test",
    ):
        assert part in str(raised.value)
    blind = write_pool(tmp_path / "blind", label=None)
    unlabelled = replace(given, pool=replace(given.pool, source=str(blind), classes=CLASSES))
    with pytest.raises(ConfigError, match="'simulated' answers from the pool's labels"):
        checked(unlabelled)
    with pytest.raises(ConfigError, match="the oracle corrects nothing"):
        checked(replace(given, annotator=Oracle()))
    with pytest.raises(ConfigError, match="evaluate_explanations: nothing is explained"):
        checked(replace(given, feedback=None, explainer=None))
    build_colors(tmp_path / "colors", items=40, rule=1, encoding="codes")
    table = parse(Recipe, {
        "pool": {"source": str(tmp_path / "colors"), "test": str(tmp_path / "colors")}, "model": "linear_svm",
        "strategy": "margin", "explainer": "lime", "annotator": "simulated", "budget": {"initial": 20, "rounds": 0},
        "feedback": {"name": "counterexamples", "onehot_width": 4},
    })  # fmt: skip
    with pytest.raises(ConfigError, match="25 columns are not groups of 4"):
        checked(table)


def test_a_search_cannot_ask_people_for_corrections() -> None:
    for sections in ({"annotator": "file"}, {"annotator": "simulated", "search": {"mode": "replay"}}):
        search = {"space": {"explainer.samples": {"low": 10, "high": 20}}} | sections.pop("search", {})  # type: ignore[call-overload]
        recipe = parse(Recipe, {
            "strategy": "margin", "explainer": "lime", "feedback": "counterexamples", "search": search, **sections,
        })  # fmt: skip
        with pytest.raises(ConfigError, match="trials have nobody to correct them"):
            checked_search(recipe)
    assert isinstance(simulation(parse(Recipe, {"annotator": "file"})).annotator, Oracle)
    assert isinstance(simulation(parse(Recipe, {"annotator": "simulated"})).annotator, Simulated)


@dataclass(frozen=True, kw_only=True)
class Halves(Annotator):
    """Answers half of what is left at a time, and corrects what it answers."""

    def annotate(self, request: Request) -> Mapping[str, str]:
        labels = Simulated().annotate(request)
        left = [item.id for item in request.items if item.label is None]
        return {item: labels[item] for item in left[: (len(left) + 1) // 2]}

    def correct(self, request: Request, labels: Mapping[str, str]) -> Mapping[str, Correction]:
        return {item: Correction(wrong=(3,)) for item in labels if request.round}


@pytest.mark.usefixtures("database")
def test_corrections_that_come_in_parts_are_all_kept(tmp_path: Path) -> None:
    recipe = replace(told_recipe(tmp_path, feedback={"name": "unused", "shown": 20}), annotator=Halves())
    for _ in range(20):
        outcome = run_experiment(recipe, tmp_path / "runs", QUIET)[0]
        if outcome.finished:
            break
    run = only(tmp_path / "runs")
    ledger = open_ledger(run.directory)
    assert outcome.finished and ledger.corrections().keys() == {item.id for item in run.queried if item.round}
    ledger.close()
    assert [run.of("label")[round].metrics["corrections"] for round in (1, 2)] == [8, 8]


def test_what_is_the_same_in_the_whole_pool_cannot_be_corrected(tmp_path: Path) -> None:
    writer = PoolWriter(tmp_path / "pool.parquet", "features", labelled=True, width=4)
    generator = np.random.default_rng(0)
    for number, row in enumerate(generator.normal(size=(60, 4)).astype(np.float32)):
        row[2] = 1.5
        writer.add(f"row-{number:03d}", row.tobytes(), "high" if row[0] > 0 else "low")
    writer.close(["high", "low"], names=["a", "b", "c", "d"])
    pool = Pool.open(tmp_path / "pool.parquet")
    masks = {("x", name): np.arange(4) == place for place, name in enumerate("abcd")}
    assert constants(pool, (4,), masks) == [("x", "c")]
    assert constants(pool, (4,), {("x", "c, d"): np.array([False, False, True, True])}) == []
    mapping = {
        "pool": {"source": str(tmp_path / "pool.parquet")},
        "model": {"name": "logistic_regression", "C": [1.0]},
        "explainer": {"name": "lime", "samples": 30, "background": 3},
        "strategy": "margin",
        "annotator": "file",
        "feedback": {"name": "counterexamples", "shown": None},
        "budget": {"initial": 20, "per_round": 4, "rounds": 1},
        "engine": "serial",
    }
    recipe: Recipe = parse(Recipe, mapping)
    table = pool.read_span(0, 60, ["id", "label"]).to_pydict()
    relevance = dict(zip(table["id"], table["label"], strict=True))
    run_experiment(recipe, tmp_path / "runs", QUIET)
    directory = tmp_path / "runs" / "margin-seed0"
    first = [{"id": row["id"], "label": relevance[row["id"]]} for row in batch(directory, 0)]
    first[0]["wrong"] = "c"
    with pytest.raises(LabelError, match="wrong: 'c' is the same in all items of the pool, so counterexamples cannot"):
        import_labels(directory, answer(tmp_path / "first.csv", first), "me")
    assert all(item.label is None for item in read_run(directory).queried)
    moved = (tmp_path / "pool.parquet").rename(tmp_path / "moved.parquet")  # out of reach: training will leave it out
    with pytest.raises(LabelError, match="it has no component 'e'"):
        import_labels(directory, answer(tmp_path / "e.csv", [first[0] | {"wrong": "c; e"}]), "me")
    moved.rename(tmp_path / "pool.parquet")
    first[0]["wrong"] = "d"
    assert import_labels(directory, answer(tmp_path / "first.csv", first), "me") == (20, 0)


def test_numbers_name_components_in_jsonl(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    path.write_text('{"id": "a", "label": "x", "wrong": 0}\n{"id": "b", "label": "x", "wrong": [0, 7]}\n')
    assert [said["wrong"] for said in read_labels(path, ["x"]).said.values()] == [("0",), ("0", "7")]


def test_the_labels_share_counts_before_there_are_corrections(tmp_path: Path) -> None:
    """lambda l_Y + alpha Omega: with lambda = 1/2 the regulariser weighs twice what it does beside l_Y alone."""
    build_colors(tmp_path / "pool", items=60, rule=0, encoding="onehot")
    found = {}
    for name, alpha, feedback in (
        ("half", 0.05, {"name": "cali_ranking", "label_share": 0.5}),
        ("whole", 0.05, {"name": "cali_ranking", "label_share": 1.0}),
        ("plain", 0.05, None),
    ):
        recipe = parse(Recipe, {
            "pool": {"source": str(tmp_path / "pool"), "test": str(tmp_path / "pool")},
            "model": {"name": "senn", "layers": 2, "width": 8, "alpha": alpha}, "explainer": "self_explaining",
            "train": {"epochs": 3, "validation": 0, "threads": 1, "optimizer": "sgd"}, "strategy": "margin",
            "annotator": "simulated", "feedback": feedback, "budget": {"initial": 20, "rounds": 0}, "engine": "serial",
        })  # fmt: skip
        run_experiment(recipe, tmp_path / name, QUIET)
        run = only(tmp_path / name)
        found[name] = (run.directory / (run.of("train")[0].artefact or "") / "model.safetensors").read_bytes()
    assert found["whole"] == found["plain"] != found["half"]


def test_round_0_is_each_arms_own_where_its_explanations_are_judged(tmp_path: Path) -> None:
    source = told(tmp_path / "pool")
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


def test_concepts_are_shown_and_corrected_by_their_number(tmp_path: Path) -> None:
    source = write_pool(tmp_path / "pool")
    recipe = small(
        source,
        strategy="margin",
        model={"name": "senn", "of": "image", "phi": "learned", "concepts": 5, "width": 8},
        explainer="self_explaining",
        feedback={"name": "cali_ranking", "shown": 3},
        annotator="file",
        budget={"rounds": 1},
    )
    pool = Pool.open(source)
    table = pool.read_span(0, len(pool), ["id", "label"]).to_pydict()
    relevance = dict(zip(table["id"], table["label"], strict=True))
    for round in range(2):
        run_experiment(recipe, tmp_path / "runs", QUIET)
        directory = only(tmp_path / "runs").directory
        answers = [{"id": row["id"], "label": relevance[row["id"]]} for row in batch(directory, round)]
        if round:
            rows = batch(directory, 1)
            assert all(len(row["shown"].split("; ")) == 3 and row["shown"].startswith("concept ") for row in rows)
            assert {"wrong", "missed", "against"} <= rows[0].keys()
            picture = directory / "to-label" / "round-001" / rows[0]["explanation"]
            assert picture.read_bytes()[:4] == b"\x89PNG"
            answers[0] |= {"wrong": rows[0]["shown"].split("; ")[0], "missed": "", "against": ""}
            unseen = next(f"concept {k}" for k in range(5) if f"concept {k}" not in rows[1]["shown"])
            answers[1] |= {"wrong": "", "missed": unseen, "against": ""}
        import_labels(directory, answer(tmp_path / f"{round}.csv", answers), "me")
    run_experiment(recipe, tmp_path / "runs", QUIET)
    run = only(tmp_path / "runs")
    assert run.state == "finished" and run.of("label")[1].metrics["corrections"] == 2
    page = write_report([run.directory], tmp_path / "report.html")
    assert "wrong: concept" in page.read_text() and "missed: concept" in page.read_text()
    content, line = explain_item(run.directory, run.queried[0].id)
    assert content[:4] == b"\x89PNG" and "p = " in line
    with pytest.raises(RunError, match="by concepts of the model's own"):
        explain_labelled(run.directory, 5)
    with pytest.raises(RunError, match="its model explains concepts"):
        against_exact(run.directory, [10], [1], 5, 2)
    with pytest.raises(ConfigError, match="senn explains grey pixels"):
        Senn(of="image").shape((3, 8, 8))


def test_a_misspelt_column_takes_no_label(tmp_path: Path) -> None:
    path = answer(tmp_path / "a.csv", [{"id": "x", "label": "a", "wrnog": "good", "note": "mine", "Missed": ""}])
    found = read_labels(path, ["a"])
    assert found.problems == ["column 'Missed'; did you mean 'missed'?", "column 'wrnog'; did you mean 'wrong'?"]


def test_a_simulated_annotator_marks_only_what_was_shown(tmp_path: Path) -> None:
    build_colors(tmp_path / "pool", items=120, rule=0, encoding="onehot")
    for shown in (4, None):
        recipe = parse(Recipe, {
            "pool": {"source": str(tmp_path / "pool"), "test": str(tmp_path / "pool")},
            "model": {"name": "senn", "layers": 1}, "explainer": "self_explaining", "strategy": "margin",
            "train": {"epochs": 2, "validation": 0, "threads": 1}, "evaluate_explanations": 10,
            "annotator": {"name": "simulated", "corrects": "always"},
            "feedback": {"name": "cali_ranking", "shown": shown},
            "budget": {"initial": 20, "per_round": 5, "rounds": 1}, "engine": "serial",
        })  # fmt: skip
        run_experiment(recipe, tmp_path / f"runs-{shown}", QUIET)
        run = only(tmp_path / f"runs-{shown}")
        ledger = open_ledger(run.directory)
        kept = [found.correction for found in ledger.corrections().values()]
        ledger.close()
        assert kept and all(each.missed or each.against for each in kept)
        assert all((len(each.wrong) <= 4) == (shown == 4) for each in kept)
        assert ("explanation_f1" in run.of("evaluate")[1].metrics) == (shown == 4)  # of all it says nothing


def test_a_phi_that_is_none_is_said_before_labels_are_asked_for(tmp_path: Path) -> None:
    build_colors(tmp_path / "pool", items=40, rule=0, encoding="onehot")
    recipe = parse(Recipe, {
        "pool": {"source": str(tmp_path / "pool"), "test": str(tmp_path / "pool")}, "strategy": "margin",
        "model": {"name": "senn", "phi": "dense"}, "explainer": "self_explaining",
        "budget": {"initial": 9, "rounds": 0},
    })  # fmt: skip
    with pytest.raises(XalError, match="expected identity, learned, or package.module:function"):
        checked(recipe)
