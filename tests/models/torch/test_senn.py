"""A self-explaining network: its regulariser by finite differences, and an explanation that makes the logits."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from xal.errors import ConfigError, XalError
from xal.models import TorchClassifier
from xal.models.torch.senn import Senn, omega


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("phi", ["identity", "learned"])
def test_omega_by_finite_differences(classes: int, phi: str) -> None:
    """grad_x f - w' J_phi = the gradient of w(x)' phi with phi held fixed."""
    module: Any = Senn(layers=2, width=8, phi=phi, concepts=4).create((5,), classes, seed=1).double()
    x = torch.randn(3, 5, dtype=torch.float64)
    chosen = torch.tensor([0, 1, 1])
    norms = []
    for i in range(3):
        concepts = module.phi(x[i : i + 1])[0].detach()
        moved = []
        for j in range(5):
            step = torch.zeros(5, dtype=torch.float64)
            step[j] = 1e-5
            plus, minus = (module.weights((x[i] + sign * step)[None])[0, chosen[i]] for sign in (1, -1))
            moved.append(((plus - minus) / 2e-5 * concepts).sum().item())
        norms.append(np.linalg.norm(moved))
    found = omega(module, x.clone().requires_grad_(), chosen)
    assert found.item() == pytest.approx(np.mean(norms), rel=1e-5)
    found.backward()
    for parameter in module.w.parameters():  # and so is its gradient, which training follows
        place = tuple(0 for _ in parameter.shape)
        values = []
        for step in (1e-6, -2e-6, 1e-6):
            with torch.no_grad():
                parameter[place] += step
            values.append(omega(module, x.clone().requires_grad_(), chosen).item())
        assert parameter.grad[place].item() == pytest.approx((values[0] - values[1]) / 2e-6, rel=1e-4, abs=1e-7)
    constant: Any = Senn(layers=1).create((5,), classes, seed=1).double()
    nn.init.zeros_(constant.w[0].weight)
    assert omega(constant, x.clone().requires_grad_(), chosen).item() < 1e-5  # w does not depend on x


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("phi", ["identity", "learned"])
def test_the_explanation_makes_the_logits(classes: int, phi: str) -> None:
    """f_c = w_c' phi + b_c by a loop; of two classes sigma of the margin is the probability."""
    model = Senn(layers=2, width=8, phi=phi, concepts=4)
    module: Any = model.create((5,), classes, seed=1)
    with torch.no_grad():
        module.bias += torch.arange(1.0, len(module.bias) + 1)
    x = torch.randn(6, 5, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        found = TorchClassifier(model, module).self_explanation(x)
        probabilities = torch.softmax(module(x), dim=1)
    for i in range(6):
        for c in range(classes):
            pairs = zip(found.weights[i, c].tolist(), found.concepts[i].tolist(), strict=True)
            margin = found.bias[c].item() + sum(w * f for w, f in pairs)
            assert found.margins[i, c].item() == pytest.approx(margin, abs=1e-5)
    own = torch.sigmoid(found.margins) if classes == 2 else torch.softmax(found.margins, dim=1)
    torch.testing.assert_close(own, probabilities)
    torch.testing.assert_close(torch.softmax(found.logits, dim=1), probabilities)
    assert found.weights.abs().max() <= 1
    assert model.provides == {"gradients", "gradient_descent", "self_explaining", "sampled_probabilities"} | (
        {"concepts"} if phi == "learned" else set()
    )


def test_what_cannot_be_phi() -> None:
    with pytest.raises(ConfigError, match="senn explains grey pixels"):
        Senn(of="image").input_shape((3, 8, 8))
    for phi, problem in [("nothing", "no ':' in it"), ("math:sqrt", "returned float, expected a torch.nn.Module")]:
        with pytest.raises(XalError, match=problem):
            Senn(phi=phi).input_shape((4,))
