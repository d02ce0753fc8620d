"""A model with known weights, and queries of a pool with it."""

from pathlib import Path

import numpy as np
from safetensors.torch import save_file

from xal.core.rng import HashRng
from xal.data.pool import Pool
from xal.engine import Engine, Session
from xal.engine.coordinator import Coordinator
from xal.engine.tasks import ModelRef
from xal.explainers import Ebano
from xal.models.torch.convnet import Convnet
from xal.strategies import Strategy

LABELLED = {3: "item-0003", 90: "item-0090", 119: "item-0119"}
"""Ids by row."""


def model_ref(folder: Path, version: str = "1", scale: float = 1.0) -> ModelRef:
    """A convnet of 12 x 12 grey images and three classes, its random weights times `scale`."""
    model, weights = Convnet(filters=4, hidden=8), folder / f"{version}.safetensors"
    state = model.create((1, 12, 12), 3, seed=5).state_dict()
    save_file({name: value * scale for name, value in state.items()}, weights)
    return ModelRef(model=model, weights=weights, version=version, shape=(1, 12, 12), n_classes=3)


def ask(
    session: Session, pool: Path, ref: ModelRef, strategy: Strategy, budget: int = 20
) -> list[tuple[str, float, str]]:
    """(id, score, reason) of each queried item, in order."""
    coordinator = Coordinator(
        session=session,
        pool=Pool.open(pool),
        shape=(1, 12, 12),
        model=ref,
        explainer=Ebano(k_max=3, restarts=1, iterations=5),
    )
    found = coordinator.query(
        strategy,
        budget,
        HashRng(3).child("round", 1),
        n_rounds=2,
        labelled=list(LABELLED.values()),
        labelled_rows=np.array(list(LABELLED)),
        labels={item: number % 3 for number, item in enumerate(LABELLED.values())},
    )
    items = found.items
    return list(zip(items.ids.tolist(), items.scores.tolist(), found.reasons, strict=True))


def query(
    engine: Engine, pool: Path, ref: ModelRef, strategy: Strategy, budget: int = 20
) -> list[tuple[str, float, str]]:
    """The same on an engine that is opened for it."""
    with engine.open() as session:
        return ask(session, pool, ref, strategy, budget)
