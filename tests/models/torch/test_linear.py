"""Logistic regression in torch."""

import torch

from xal.models import TorchClassifier
from xal.models.torch.linear import Linear


def test_linear_is_a_softmax_of_features():
    model = Linear()
    module = model.create((5,), 3, seed=0)
    features = torch.randn(7, 5, generator=torch.Generator().manual_seed(0))
    weights, bias = module.state_dict().values()
    expected = torch.softmax(features @ weights.T + bias, dim=1)
    assert torch.allclose(TorchClassifier(model, module).probabilities(features), expected, atol=1e-6)
