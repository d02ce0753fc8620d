"""Look back at a run: its latest model, the explanation of one image, the explanations of many labelled ones."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import torch
import yaml

from xal.campaign.drawn import background, holdout
from xal.campaign.recipe import Budget, PoolSection, Recipe
from xal.campaign.truth import knows, on_irrelevant, truths
from xal.chance import Chance
from xal.component import nearest
from xal.config import parse
from xal.data.images import decode
from xal.data.payloads import payload_of
from xal.data.pool import Pool
from xal.engine import Serial
from xal.engine.engine import Advance, silent
from xal.engine.query import Coordinator
from xal.engine.work import ModelRef, Worker, payload_on
from xal.errors import DataError, NumericalError, RunError
from xal.explainers import Ebano, Explainer
from xal.explainers.drawing import page_of, panel, stacked, summary
from xal.explainers.shap_partition import ShapPartition
from xal.feedback.components import mask_of
from xal.models import Model
from xal.models.model import Shape
from xal.store.artefacts import WEIGHTS
from xal.store.directory import open_ledger
from xal.store.ledger import Queried
from xal.strategies.random import Random
from xal.types import Explanations, Floats, Labels, Rows, dense

Wanted = int | Literal["all"] | None
"""The class to explain; None: the predicted one."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Latest:
    """The last trained model of a run, and what it was trained for."""

    directory: Path
    round: int
    ref: ModelRef
    explainer: Explainer
    classes: tuple[str, ...]
    recipe: Mapping[str, Any]
    queried: tuple[Queried, ...]

    @property
    def shape(self) -> Shape:
        """(c, h, w) that the network sees."""
        return self.ref.shape

    @property
    def engine(self) -> Serial:
        """An engine on this machine, with all its threads."""
        stored = self.recipe["engine"]
        precision = stored.get("precision", "float32")
        return Serial(device="auto", batch=stored["batch"], precision=precision, threads=os.cpu_count() or 1)


@dataclass(frozen=True, eq=False, kw_only=True)
class Explained:
    """Labelled images with the predictions and explanations of a run's latest model."""

    images: npt.NDArray[np.uint8]  # (n, c, h, w) 0-255
    labels: Labels  # (n,)
    probabilities: Floats  # (n, c), rows sum to 1
    explanations: Explanations
    classes: tuple[str, ...]
    on: str
    round: int
    pool: Pool
    rows: Rows  # (n,) where in the pool


def latest(directory: Path) -> Latest:
    """Raises RunError for a directory that is no run, or a run without a model."""
    ledger = open_ledger(directory)
    steps, queried = ledger.steps(), ledger.queried()
    facts = [yaml.safe_load(ledger.fact(name) or "null") for name in ("recipe", "classes", "shape")]
    ledger.close()
    recipe, classes, shape = facts
    trained = {step.round: step for step in steps if step.step == "train"}
    if not trained or shape is None:
        raise RunError(f"{directory} has no trained model yet; xal run trains one")
    step = trained[max(trained)]
    model = parse(Model, recipe["model"])
    explainer = parse(Explainer, recipe["explainer"]) if recipe["explainer"] else _usual(model)
    payload = None
    if explainer.background_items:
        pool = _recipe(recipe).open_pool()
        payload = background(explainer, pool, tuple(shape), queried, recipe["seed"], step.round)
    ref = ModelRef(
        model=model,
        weights=directory / (step.artefact or "") / WEIGHTS,
        version=f"{directory}#{step.round}",
        shape=tuple(shape),
        classes=len(classes),
        background=payload,
    )
    return Latest(
        directory=directory,
        round=step.round,
        ref=ref,
        explainer=explainer,
        classes=tuple(classes),
        recipe=recipe,
        queried=tuple(queried),
    )


def explain_image(directory: Path, image: Path, of: str | None = None, every: bool = False) -> tuple[bytes, str]:
    """(PNG, a line of text): the explanation of the predicted class, of class `of`, or of `every` class, a line each.

    Raises DataError for a file that is no image, RunError for a run without a model, and for an unknown class.
    """
    run = latest(directory)
    wanted = _asked(run, of, every)
    if run.ref.model.kind != "image":
        raise RunError(f"{directory} is a run on {run.ref.model.kind}; give what to explain with --text or --item")
    if not image.is_file():
        raise DataError(f"no file {image}")
    return _explained(run, image.read_bytes(), f"{image} cannot be read as an image", wanted)


def explain_text(directory: Path, text: str, of: str | None = None, every: bool = False) -> tuple[bytes, str]:
    """(HTML with the words marked, text), as `explain_image`."""
    run = latest(directory)
    wanted = _asked(run, of, every)
    if run.ref.model.kind != "text":
        raise RunError(f"{directory} is a run on {run.ref.model.kind}, not on texts")
    return _explained(run, text, "--text: the text is blank", wanted)


def explain_item(directory: Path, item: str, of: str | None = None, every: bool = False) -> tuple[bytes, str]:
    """(PNG of an image, else HTML; text) for an item of the run's pool, as `explain_image`."""
    run = latest(directory)
    wanted = _asked(run, of, every)
    pool = _recipe(run.recipe).open_pool()
    for first, table in pool.scan(["id"]):
        found = pc.index(table["id"], item).as_py()
        if found >= 0:
            payload = pool.read(np.array([first + found]), [pool.kind])[pool.kind]
            return _explained(run, payload, f"item '{item}' cannot be read", wanted, pool.names)
    raise DataError(f"--item: the pool {pool.folder} has no item '{item}'")


def _explained(run: Latest, content: Any, trouble: str, wanted: Wanted, names: Sequence[str] = ()) -> tuple[bytes, str]:
    kind = run.ref.model.kind
    column = content if isinstance(content, pa.ChunkedArray) else pa.chunked_array([[content]])
    payload, good = payload_of(column, kind, run.shape)
    if not good.all():
        raise DataError(trouble)
    network, on = Worker(device="cpu").network(run.ref), payload_on(payload, "cpu")
    if wanted == "all":
        explanations = run.explainer.explain_all(network, on, len(run.classes))
    else:
        explanations = (run.explainer.explain(network, on, None if wanted is None else torch.tensor([wanted])),)
    shown, lines = [], []
    for explanation in explanations:
        content, line = _shown(run, payload[0], explanation, names)
        shown.append(content)
        lines.append(f"{line}{_balance(run.explainer, explanation)} (model of round {run.round})")
    return (stacked(shown) if kind == "image" else b"".join(shown)), "\n".join(lines)


def _shown(run: Latest, payload: Any, explanation: Explanations, names: Sequence[str]) -> tuple[bytes, str]:
    """(PNG or HTML, a line)."""
    line = f"{run.classes[int(explanation.explained_class[0])]}: p = {explanation.probability[0]:.3f}"
    if run.ref.model.kind != "image":
        page = page_of(payload, explanation, f"{line} (model of round {run.round})", names)
        return page.encode(), f"{line}: {summary(payload, explanation, names)}"
    if explanation.npirp is not None:
        strongest = explanation.strongest[0]
        line += (
            f"; strongest of {explanation.k[0]} features: nPIR {explanation.npir[0, strongest]:+.3f}, "
            f"nPIRP {explanation.npirp[0, strongest]:+.3f}"
        )
    return panel(payload, explanation, run.classes), line


def _balance(explainer: Explainer, explanation: Explanations) -> str:
    """Of a complete explainer the sum, or that it fails the check."""
    if explainer.tolerance is None or explanation.base is None or explanation.output is None:
        return ""
    try:
        explainer.check(explanation)
    except NumericalError as error:
        return f"; {error}"
    summed = float(np.nansum(dense(explanation.attributions)))
    return f"; {explanation.base[0]:.3f} without it {summed:+.3f} = {explanation.output[0]:.3f}"


def _asked(run: Latest, of: str | None, every: bool) -> Wanted:
    if every:
        return "all"
    if of is not None and of not in run.classes:
        raise RunError(f"--class: '{of}' is not a class{nearest(of, run.classes)}")
    return None if of is None else run.classes.index(of)


def _usual(model: Model) -> Explainer:
    """For a run that explained nothing."""
    return Ebano() if model.kind == "image" else ShapPartition()


def _recipe(stored: Mapping[str, Any]) -> Recipe:
    return Recipe(pool=parse(PoolSection, stored["pool"]), budget=parse(Budget, stored["budget"]))


def measured_pool(run: Latest) -> Pool:
    """The run's test pool, else its validation pool, else its pool."""
    recipe = _recipe(run.recipe)
    return recipe.open_test() or recipe.open_validation() or recipe.open_pool()


def explain_labelled(
    directory: Path, items: int, progress: Callable[[str], Advance] = lambda stage: silent
) -> Explained:
    """Explain at most `items` random images of the run's test pool, else its validation pool, else its own labels.

    Of its own labels those that training held out; where it held none out, those it was trained on, and `on` says so.
    """
    run = latest(directory)
    if run.ref.model.kind != "image":
        raise RunError(f"{directory} is a run on {run.ref.model.kind}; this study is about images")
    pool, on, rows, known = _labelled(run, items)
    with run.engine.open() as session:
        coordinator = Coordinator(
            session=session, pool=pool, shape=run.shape, model=run.ref, explainer=run.explainer, progress=progress
        )
        if rows is None:
            rows = coordinator.query(Random(), items, Chance(0).of("study")).items.rows
        needs = frozenset({"probabilities", "explanations"})
        evidence = coordinator.collect(rows, needs, "explain")
    if evidence is None or evidence.probabilities is None or evidence.explanations is None:
        raise DataError(f"no image of {on} can be read")
    if evidence.explanations.concepts is not None:
        raise RunError(f"{directory} explains by concepts of the model's own; this study is about pixels")
    table = pool.read(evidence.rows, ["id", "image"] + (["label"] if known is None else []))
    labels = table["label"].to_pylist() if known is None else [known[item] for item in table["id"].to_pylist()]
    strangers = set(labels) - set(run.classes)
    if strangers:
        raise DataError(f"{on} has labels outside the classes: {', '.join(sorted(map(str, strangers))[:5])}")
    images, _ = decode(table["image"].to_pylist(), run.shape)
    return Explained(
        images=images,
        labels=np.array([run.classes.index(label) for label in labels], np.int64),
        probabilities=evidence.probabilities,
        explanations=evidence.explanations,
        classes=run.classes,
        on=on,
        round=run.round,
        pool=pool,
        rows=evidence.rows,
    )


def _labelled(run: Latest, items: int) -> tuple[Pool, str, npt.NDArray[np.int64] | None, dict[str, str] | None]:
    """(pool, its name, rows, labels by id); rows and labels where they are the run's own."""
    recipe = _recipe(run.recipe)
    for name, pool in (("the test pool", recipe.open_test()), ("the validation pool", recipe.open_validation())):
        if pool is not None:
            return pool, name, None, None
    labelled = {item.id: item for item in run.queried if item.label is not None}
    held = holdout(list(labelled), Chance(run.recipe["seed"]), run.recipe["train"]["validation"])
    on = "the held-out items" if held else "the items it was trained on"
    ids = np.array(held or list(labelled), object)
    drawn = ids[Chance(0).of("study").uniform(ids).argsort(kind="stable")[:items]]
    rows = np.array([labelled[item].row for item in drawn], np.int64)
    return recipe.open_pool(), on, rows, {item: each.label or "" for item, each in labelled.items()}


def off_reasons(explained: Explained) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """((n,) share of the attribution on what does not matter, (n, h, w) where that is) of explained images.

    Raises DataError where their pool does not know what matters.
    """
    if not knows(explained.pool):
        raise DataError(
            f"the pool {explained.pool.folder} does not say what matters: no column `relevant` or `irrelevant`"
        )
    found = truths(explained.pool, explained.rows, explained.images)
    each = [explained.explanations.take(slice(place, place + 1)) for place in range(len(found))]
    shares = [on_irrelevant(truth, explanation) for truth, explanation in zip(found, each, strict=True)]
    masks = [mask_of(tuple(truth.components), np.shape(truth.payload), None) for truth in found]
    where = [~mask if truth.relevant else mask for truth, mask in zip(found, masks, strict=True)]
    return np.array(shares), np.stack(where)
