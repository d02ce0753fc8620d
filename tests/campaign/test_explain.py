"""`xal explain`: one item, of one class or of every class."""

from pathlib import Path
from typing import Any

from tests.recipes import QUIET, TEXT_ARMS, small, write_pool
from xal.campaign.experiment import run_experiment
from xal.campaign.explain import explain_item
from xal.campaign.recipe import Recipe

GRID = {"name": "shap_partition", "patches": 4, "max_evals": 60, "output": "margin", "mask_value": "black"}
LEARNS = {"epochs": 12, "lr": 0.003}  # more classes than one


def recipe(tmp_path: Path, **sections: Any) -> Recipe:
    pool, test = tmp_path / "pool", tmp_path / "test"
    if not pool.exists():
        write_pool(pool), write_pool(test, n=30, seed=9)
    usual = {"strategy": None, "arms": TEXT_ARMS, "explainer": GRID, "pool": {"test": str(test)}, "train": LEARNS}
    return small(pool, **usual | sections)


def test_classes_of_an_image(tmp_path: Path) -> None:
    """`xal explain --class` and `--every-class`."""
    run_experiment(recipe(tmp_path, arms={"random": "random"}), tmp_path / "runs", QUIET)
    directory = tmp_path / "runs" / "random-seed0"
    predicted = explain_item(directory, "item-0003")
    by_class = {name: explain_item(directory, "item-0003", name) for name in ("dark", "light", "striped")}
    assert predicted in by_class.values() and len({picture for picture, _ in by_class.values()}) == 3
    assert all(line.startswith(f"{name}: p = ") for name, (_, line) in by_class.items())
    _, lines = explain_item(directory, "item-0003", every=True)
    assert sorted(lines.split("\n")) == sorted(line for _, line in by_class.values())
