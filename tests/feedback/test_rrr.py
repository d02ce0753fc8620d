"""The penalty on input gradients, against closed forms."""

import torch
from torch import nn

from tests.feedback.confounded import accuracies, correction_targets
from xal.feedback.rrr import Rrr
from xal.models.torch.perceptron import Perceptron


def test_rrr_of_a_linear_network() -> None:
    """d/dx sum_k log p_k = sum_k W_k - c sum_j p_j W_j."""
    torch.manual_seed(0)
    classifier = nn.Linear(5, 3)
    x, wrong = torch.randn(4, 5), torch.rand(4, 5) < 0.5
    wrong[3] = False
    logits, penalty = Rrr(weight=2.5).forward(
        classifier, x, correction_targets(wrong, torch.zeros(4, dtype=torch.long))
    )
    p, w = torch.softmax(classifier(x), dim=1), classifier.weight
    gradients = w.sum(dim=0) - 3 * p @ w
    expected = 2.5 * ((gradients * wrong) ** 2).sum() / 4
    torch.testing.assert_close(penalty, expected)
    torch.testing.assert_close(logits, classifier(x))
    penalty.backward()
    assert classifier.weight.grad is not None and classifier.weight.grad.abs().max() > 0


def test_rrr_takes_all_channels_of_a_pixel() -> None:
    classifier = nn.Sequential(nn.Flatten(), nn.Linear(2 * 3 * 3, 2))
    x, wrong = torch.randn(1, 2, 3, 3), torch.zeros(1, 3, 3, dtype=torch.bool)
    wrong[0, 1, 2] = True
    _, penalty = Rrr(weight=1.0).forward(classifier, x, correction_targets(wrong, torch.tensor([1])))
    x.requires_grad_()
    gradient = torch.autograd.grad(torch.log_softmax(classifier(x), dim=1).sum(), x)[0]
    torch.testing.assert_close(penalty, (gradient[0, :, 1, 2] ** 2).sum())


def test_without_corrections_there_is_no_penalty() -> None:
    classifier, x = nn.Linear(5, 3), torch.randn(4, 5)
    nothing = correction_targets(torch.zeros(4, 5, dtype=torch.bool), torch.zeros(4, dtype=torch.long))
    logits, penalty = Rrr().forward(classifier, x, nothing)
    assert penalty == 0 and torch.equal(logits, classifier(x))
    assert Rrr().combine(torch.tensor(2.0), torch.tensor(5.0)) == 7


def test_a_network_learns_to_look_elsewhere() -> None:
    without, with_loss = accuracies(Perceptron(of="features", hidden=(16,), scale=1), Rrr(weight=10.0))
    assert with_loss > 0.9 and with_loss > without + 0.2
