"""A user's torch module: made by their function, with inputs scaled as they say."""

import numpy as np
import pytest
import torch
from torch import nn

from xal.errors import XalError
from xal.models.torch.module import TorchModule, remember


def wide(shape, n_classes, width=3):
    return nn.Sequential(nn.Flatten(), nn.Linear(int(np.prod(shape)), width), nn.Linear(width, n_classes))


def no_module(shape, n_classes):
    return 3


def test_the_factory_gets_shape_classes_and_settings() -> None:
    module = TorchModule(factory=f"{__name__}:wide", settings={"width": 5}).build((1, 4, 4), 7)
    assert module(torch.zeros(2, 1, 4, 4)).shape == (2, 7) and module[1].out_features == 5


def test_inputs_are_divided_by_the_scale() -> None:
    images = torch.full((1, 1, 2, 2), 51, dtype=torch.uint8)
    assert TorchModule(factory="a:b").preprocess(images).unique().tolist() == pytest.approx([0.2])
    assert TorchModule(factory="a:b", scale=51).preprocess(images).unique().tolist() == [1.0]
    assert TorchModule(factory="a:b", of="features").preprocess(images).unique().tolist() == [51.0]


@pytest.mark.parametrize(
    ("factory", "settings", "message"),
    [
        (f"{__name__}:absent", {}, "cannot be imported"),
        (f"{__name__}.wide", {}, "expected module:name"),
        (f"{__name__}:no_module", {}, "returned int, expected a torch.nn.Module"),
        (f"{__name__}:wide", {"depth": 2}, r"failed for shape \(4,\) and 2 classes: .*depth"),
        ("notebook:closed", {}, "defined in a notebook that is closed"),
    ],
)
def test_a_factory_that_fails_is_named(factory: str, settings: dict, message: str) -> None:
    with pytest.raises(XalError, match=message):
        TorchModule(factory=factory, settings=settings).build((4,), 2)


def test_a_factory_of_this_process_is_remembered() -> None:
    assert TorchModule(factory=remember("mine", wide)).build((4,), 2)(torch.zeros(1, 4)).shape == (1, 2)
