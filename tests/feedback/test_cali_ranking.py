"""CALI's ranking loss, by a loop."""

from typing import Any

import pytest
import torch

from tests.feedback.confounded import accuracies, correction_targets
from xal.explainers import Explainer
from xal.feedback.cali_ranking import CaliRanking
from xal.models.torch.senn import Senn
from xal.models.training_data import CorrectionTargets


@pytest.mark.parametrize("variant", ["ranking", "squared"])
def test_cali_by_a_loop(variant: str) -> None:
    module: Any = Senn(layers=2, width=8).create((6,), 3, seed=0)
    x, labels = torch.randn(4, 6), torch.tensor([0, 2, 1, 1])
    corrected_features = torch.rand(4, 6) < 0.5
    corrected_features[2] = False
    shown, target = torch.randn(4, 6), torch.randint(-1, 2, (4, 6)).float()
    excess = torch.where(corrected_features, shown - target, 0.0)
    given = correction_targets(
        torch.zeros(4, 6, dtype=torch.bool),
        labels,
        6,
        corrected_features=corrected_features,
        excess=excess,
        target=target * corrected_features,
    )
    given = CorrectionTargets(
        **vars(given) | {"corrected": corrected_features.any(dim=1), "explained": torch.tensor([1, 2, 0, 1])}
    )
    loss = CaliRanking(label_share=0.3, variant=variant)  # type: ignore[arg-type]
    logits, penalty = loss.forward(module, x, given)
    weights, penalty = module.weights(x).detach(), penalty.detach()
    expected = 0.0
    for i in (0, 1, 3):
        w = weights[i, int(given.explained[i])]
        for j in torch.nonzero(corrected_features[i]).flatten().tolist():
            gap = (shown[i, j] - target[i, j]) * w[j] if variant == "ranking" else (w[j] - target[i, j]) ** 2
            expected += float(gap) / 4
    assert float(penalty) == pytest.approx(expected, rel=1e-5)
    assert float(loss.combine(torch.tensor(2.0), torch.tensor(5.0))) == pytest.approx(0.3 * 2 + 0.7 * 5)
    assert module.weights(100 * x).abs().max() <= 1
    torch.testing.assert_close(logits, module(x))


def test_a_network_learns_to_look_elsewhere() -> None:
    without, with_loss = accuracies(Senn(of="features", layers=2, width=16), CaliRanking())
    assert with_loss > 0.9 and with_loss > without + 0.2


def test_it_corrects_the_models_own_explanations() -> None:
    loss = CaliRanking()
    assert loss.needs_unflipped and loss.has_loss and loss.correction_kinds == ("wrong", "missed", "against")
    own, other = Explainer.named("self_explaining")(), Explainer.named("lime")()
    assert loss.problems(own, explains_concepts=True) == loss.problems(own, explains_concepts=False) == []
    (problem,) = loss.problems(other, explains_concepts=False)
    assert problem.startswith("explainer: ") and "self_explaining" in problem
