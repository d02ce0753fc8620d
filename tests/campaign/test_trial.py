"""What would fail after the first labels fails before them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.recipes import small, text_pool, text_recipe, write_pool
from xal.campaign.experiment import run_experiment
from xal.campaign.trial import try_recipe
from xal.campaign.validation import checked_pools
from xal.core.progress import Reporter
from xal.errors import ConfigError, DataError, XalError

QUIET = Reporter(quiet=True)


class Pair(torch.nn.Module):
    """Returns a tuple, as some networks do."""

    def __init__(self, shape: Any, n_classes: int) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(int(np.prod(shape)), n_classes)

    def forward(self, images: torch.Tensor) -> Any:
        return self.linear(images.flatten(1)), images


def tried(recipe: Any) -> None:
    try_recipe(recipe, checked_pools(recipe))


def test_recipes_that_run_pass(tmp_path: Path) -> None:
    tried(small(write_pool(tmp_path / "pool")))
    texts = text_pool(tmp_path / "texts.parquet", 60, 0)
    tried(text_recipe(texts, texts))


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"model": {"name": "torchvision", "architecture": "resnet18", "weights": "absent.pth", "size": 32}}, "absent"),
        (
            {"model": {"name": "torch", "factory": f"{__name__}:Pair"}, "explainer": None, "strategy": "margin"},
            "model: ",
        ),
        ({"model": {"name": "perceptron"}}, "ebano"),
    ],
)
def test_what_fails_on_an_item_is_said_before_anything_is_asked(
    tmp_path: Path, sections: dict[str, Any], message: str
) -> None:
    recipe = small(write_pool(tmp_path / "pool"), annotator="file", **sections)
    with pytest.raises(XalError, match=message):
        run_experiment(recipe, tmp_path / "runs", QUIET)
    assert not list(tmp_path.glob("runs/*/ledger.sqlite"))


def test_a_pool_that_cannot_be_read(tmp_path: Path) -> None:
    pool = write_pool(tmp_path / "pool", image=[b"broken"] * 120)
    with pytest.raises(DataError, match="can be read"):
        tried(small(pool))


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "banana"])
def test_a_device_that_is_not_there(tmp_path: Path, device: str) -> None:
    with pytest.raises(ConfigError, match=r"engine\.device"):
        checked_pools(small(write_pool(tmp_path / "pool"), engine={"device": device}))


def test_ids_that_a_ledger_could_not_tell_apart(tmp_path: Path) -> None:
    ids = [None, "", *["same"] * 30, *map(str, range(88))]
    with pytest.raises(ConfigError, match=r"(?s)2 rows have no id.*29 rows have the id of another, such as 'same'"):
        checked_pools(small(write_pool(tmp_path / "pool", id=ids)))


def test_an_oracle_wants_every_label(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"1 of 120 items have none"):
        checked_pools(small(write_pool(tmp_path / "pool", label=[None, *["dark", "light"] * 59, "dark"])))
