"""The explanation of a self-explaining network: its own weights, exact by construction."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.explainers.trained import trained
from xal.errors import NumericalError, XalError
from xal.explainers.self_explaining import SelfExplaining
from xal.models.torch.linear import Linear
from xal.models.torch.senn import Senn


def data(*shape: int) -> tuple[np.ndarray, np.ndarray]:
    x = np.random.default_rng(0).normal(size=(60, *shape)).astype(np.float32)
    return x, np.digitize(x.reshape(60, -1)[:, 0], [-0.5, 0.5])


def test_weights_times_input_and_bias_are_the_margin() -> None:
    x, labels = data(5)
    classifier = trained(Senn(width=8), x, labels)
    found = SelfExplaining().explain(classifier, torch.from_numpy(x))
    sums = (found.attributions * found.interpretable_input).sum(axis=1) + found.base
    margins = classifier.outputs(torch.from_numpy(x), "margin").detach()
    np.testing.assert_allclose(sums, margins[np.arange(60), found.explained_class], atol=1e-4)
    SelfExplaining().check(found)
    with pytest.raises(NumericalError, match="1 of 60 explanations differ"):
        SelfExplaining().check(replace(found, output=found.output + np.eye(60)[3]))


def test_features_are_named_by_what_they_are() -> None:
    x, labels = data(5)
    learned = SelfExplaining().explain(trained(Senn(phi="learned", concepts=3), x, labels), torch.from_numpy(x))
    assert learned.feature_kind == "concepts" and learned.attributions.shape == (60, 3)
    images = np.random.default_rng(0).integers(0, 256, (20, 1, 4, 6), np.uint8)
    classifier = trained(Senn(of="image"), images, images[:, 0, 0, 0] > 127)
    pixels = SelfExplaining().explain(classifier, torch.from_numpy(images))
    assert pixels.feature_kind == "pixels" and pixels.segments.shape == (20, 4, 6)


def test_another_network_is_refused() -> None:
    x, labels = data(5)
    with pytest.raises(XalError, match="self_explaining"):
        SelfExplaining().explain(trained(Linear(), x, labels), torch.from_numpy(x))
