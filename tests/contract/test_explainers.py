"""Every registered explainer through the invariants that strategies, reports and users rely on."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from xal.errors import XalError
from xal.explainers import Explainer
from xal.explainers.explainer import Network as Explainable
from xal.models import Network
from xal.models.residual import Residual

EXPLAINERS = [pytest.param(Explainer.named(name)(), id=name) for name in sorted(Explainer.registry)]
SHAPE, CLASSES = (1, 16, 14), 4


@pytest.fixture(scope="module")
def network():
    model = Residual(width=4)
    return Network(model, model.create(SHAPE, CLASSES, seed=0))


@pytest.fixture(scope="module")
def images():
    coarse = torch.rand(3, 1, 5, 5, generator=torch.Generator().manual_seed(0)) * 255
    return F.interpolate(coarse, size=SHAPE[1:], mode="bilinear").to(torch.uint8)


def equal(one, other):
    return all(
        np.array_equal(value, vars(other)[name], equal_nan=name.startswith("npir")) for name, value in vars(one).items()
    )


def hooks(network):
    return [hook for layer in network.module.modules() for hook in layer._forward_hooks.values()]


def test_the_family_is_not_empty():
    assert {"ebano", "ebano_express"} <= set(Explainer.registry)


@pytest.mark.parametrize("explainer", EXPLAINERS)
class TestExplainer:
    def test_its_own_check_passes(self, explainer, network, images):
        assert isinstance(network, Explainable)
        found = explainer.explain(network, images)
        explainer.check(found)
        assert len(found) == 3 and found.segments.shape == (3, *SHAPE[1:])

    def test_deterministic_and_free_of_global_seeds(self, explainer, network, images):
        first = explainer.explain(network, images)
        torch.manual_seed(1)
        np.random.seed(1)  # noqa: NPY002
        state = torch.get_rng_state()
        assert equal(explainer.explain(network, images), first)
        assert torch.equal(torch.get_rng_state(), state)

    def test_the_class_of_interest(self, explainer, network, images):
        with torch.inference_mode():
            predicted = network.probabilities(images).argmax(1)
        assert np.array_equal(explainer.explain(network, images).explained_class, predicted.numpy())
        wanted = (predicted + 1) % CLASSES
        assert np.array_equal(explainer.explain(network, images, wanted).explained_class, wanted.numpy())
        with pytest.raises(XalError, match="expected classes 0..3"):
            explainer.explain(network, images, wanted + CLASSES)

    def test_uint8_and_float_alike_and_inputs_kept(self, explainer, network, images):
        before = images.clone()
        assert equal(explainer.explain(network, images), explainer.explain(network, images.float()))
        assert torch.equal(images, before)

    def test_hooks_are_removed_even_after_an_error(self, explainer, network, images):
        explainer.explain(network, images)
        assert not hooks(network)

        def broken(*_):
            raise RuntimeError("broken on purpose")

        handle = network.module[-1].register_forward_hook(broken)
        with pytest.raises(RuntimeError, match="on purpose"):
            explainer.explain(network, images)
        handle.remove()
        assert not hooks(network)
