"""Explain one image by a run's latest model."""

from __future__ import annotations

from pathlib import Path

import torch
import yaml

from xal.campaign.campaign import committed
from xal.component import nearest
from xal.config import parse
from xal.data.images import decode
from xal.engine.work import ModelRef, Worker
from xal.errors import DataError, RunError
from xal.explainers import Ebano, Explainer
from xal.explainers.drawing import panel
from xal.models import Model
from xal.store.artefacts import WEIGHTS
from xal.store.ledger import Ledger


def explain_image(directory: Path, image: Path, of: str | None = None) -> tuple[bytes, str]:
    """(PNG, one line of text): the explanation of the predicted class, or of class `of`.

    Raises DataError for a file that is no image, RunError for a run without a model, and for an unknown class.
    """
    if not (directory / "ledger.sqlite").is_file():
        raise RunError(f"{directory} is not a run directory: it has no ledger")
    ledger = Ledger.at(directory)
    steps, recipe = ledger.steps(), yaml.safe_load(ledger.fact("recipe") or "null")
    classes = yaml.safe_load(ledger.fact("classes") or "[]")
    shape = yaml.safe_load(ledger.fact("shape") or "null")
    ledger.close()
    trained = committed(steps, "train")
    if not trained or shape is None:
        raise RunError(f"{directory} has no trained model yet; xal run trains one")
    if of is not None and of not in classes:
        raise RunError(f"--class: '{of}' is not a class{nearest(of, classes)}")
    if not image.is_file():
        raise DataError(f"no file {image}")
    images, good = decode([image.read_bytes()], tuple(shape))
    if not good.all():
        raise DataError(f"{image} cannot be read as an image")
    step = trained[max(trained)]
    model: Model = parse(Model, recipe["model"])
    explainer: Explainer = parse(Explainer, recipe["explainer"]) if recipe["explainer"] else Ebano()
    ref = ModelRef(
        model=model,
        weights=directory / (step.artefact or "") / WEIGHTS,
        version=f"{directory}#{step.round}",
        shape=tuple(shape),
        classes=len(classes),
    )
    network = Worker(device="cpu").network(ref)
    wanted = None if of is None else torch.tensor([classes.index(of)])
    explanation = explainer.explain(network, torch.from_numpy(images), wanted)
    name = classes[int(explanation.explained_class[0])]
    strongest = explanation.strongest[0]
    text = (
        f"{name}: p = {explanation.probability[0]:.3f}; strongest of {explanation.k[0]} features: "
        f"nPIR {explanation.npir[0, strongest]:+.3f}, nPIRP {explanation.npirp[0, strongest]:+.3f} "
        f"(model of round {step.round})"
    )
    return panel(images[0], explanation, classes), text
