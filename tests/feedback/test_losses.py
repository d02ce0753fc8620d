"""Losses that learn from corrections, against closed forms and finite differences."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from xal.errors import XalError
from xal.feedback.cali_ranking import CaliRanking
from xal.feedback.rrr import Rrr
from xal.feedback.rrr_gradcam import RrrGradCam
from xal.models.torch.perceptron import Perceptron
from xal.models.torch.senn import Senn, omega
from xal.models.torch.training import fit
from xal.models.train_settings import TrainSettings
from xal.models.training_data import CorrectionTargets, Examples


def correction_targets(
    wrong: torch.Tensor, labels: torch.Tensor, features: int = 0, **parts: torch.Tensor
) -> CorrectionTargets:
    n = len(labels)
    given: dict[str, torch.Tensor] = {
        "corrected": wrong.flatten(1).any(dim=1),
        "wrong": wrong,
        "labels": labels,
        "explained": labels,
        "said": torch.zeros(n, features, dtype=torch.bool),
        "push": torch.zeros(n, features),
        "target": torch.zeros(n, features),
    }
    return CorrectionTargets(**given | parts)


def test_rrr_of_a_linear_network() -> None:
    """d/dx sum_k log p_k = sum_k W_k - c sum_j p_j W_j."""
    torch.manual_seed(0)
    classifier = nn.Linear(5, 3)
    x, wrong = torch.randn(4, 5), torch.rand(4, 5) < 0.5
    wrong[3] = False
    logits, penalty = Rrr(weight=2.5).forward(classifier, x, correction_targets(wrong, torch.zeros(4, dtype=torch.long)))
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


def test_grad_cam_of_one_convolution() -> None:
    """Sum over channels of the mean gradient times the activation, above 0, by captum."""
    from captum.attr import LayerGradCam

    torch.manual_seed(1)
    classifier = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 3))
    x, labels = torch.randn(5, 1, 6, 6), torch.tensor([0, 1, 2, 0, 1])
    wrong = torch.rand(5, 6, 6) < 0.4
    logits, penalty = RrrGradCam(weight=3.0).forward(classifier, x, correction_targets(wrong, labels))
    maps = LayerGradCam(classifier, classifier[0]).attribute(x, target=labels, relu_attributions=True)[:, 0]
    torch.testing.assert_close(penalty, 3 * ((maps * wrong) ** 2).sum() / 5)
    torch.testing.assert_close(logits, classifier(x))
    assert penalty > 0 and not classifier[0]._forward_hooks
    with pytest.raises(XalError, match="wants a network with convolutions"):
        RrrGradCam().forward(nn.Sequential(nn.Flatten(), nn.Linear(36, 3)), x, correction_targets(wrong, labels))


@pytest.mark.parametrize("variant", ["ranking", "squared"])
def test_cali_by_a_loop(variant: str) -> None:
    module: Any = Senn(layers=2, width=8).create((6,), 3, seed=0)
    x, labels = torch.randn(4, 6), torch.tensor([0, 2, 1, 1])
    said = torch.rand(4, 6) < 0.5
    said[2] = False
    shown, target = torch.randn(4, 6), torch.randint(-1, 2, (4, 6)).float()
    push = torch.where(said, shown - target, 0.0)
    given = correction_targets(
        torch.zeros(4, 6, dtype=torch.bool), labels, 6, said=said, push=push, target=target * said
    )
    given = CorrectionTargets(**vars(given) | {"corrected": said.any(dim=1), "explained": torch.tensor([1, 2, 0, 1])})
    loss = CaliRanking(label_share=0.3, variant=variant)  # type: ignore[arg-type]
    logits, penalty = loss.forward(module, x, given)
    weights, penalty = module.weights(x).detach(), penalty.detach()
    expected = 0.0
    for i in (0, 1, 3):
        w = weights[i, int(given.explained[i])]
        for j in torch.nonzero(said[i]).flatten().tolist():
            gap = (shown[i, j] - target[i, j]) * w[j] if variant == "ranking" else (w[j] - target[i, j]) ** 2
            expected += float(gap) / 4
    assert float(penalty) == pytest.approx(expected, rel=1e-5)
    assert float(loss.combine(torch.tensor(2.0), torch.tensor(5.0))) == pytest.approx(0.3 * 2 + 0.7 * 5)
    assert module.weights(100 * x).abs().max() <= 1
    torch.testing.assert_close(logits, module(x))


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


def confounded(n: int = 400) -> tuple[torch.Tensor, torch.Tensor]:
    """Two columns that tell the class alike, the second more loudly."""
    labels = torch.arange(n) % 2
    x = torch.randn(n, 2) * 0.3
    x[:, 0] += labels * 2.0 - 1
    x[:, 1] += (labels * 2.0 - 1) * 3
    return x, labels


@pytest.mark.parametrize(
    ("model", "loss"),
    [
        (Perceptron(of="features", hidden=(16,), scale=1), Rrr(weight=10.0)),
        (Senn(of="features", layers=2, width=16), CaliRanking()),
    ],
)
def test_a_network_learns_to_look_elsewhere(model: Any, loss: Any) -> None:
    torch.manual_seed(0)
    x, labels = confounded()
    wrong = torch.zeros(len(x), 2, dtype=torch.bool)
    wrong[:, 1] = True
    push = torch.where(labels[:, None] == 1, 1.0, -1.0) * torch.tensor([[0.0, 1.0]]) * torch.sign(x[:, 1:])
    given = correction_targets(wrong, labels, 2, said=wrong, push=push)
    settings = TrainSettings(epochs=20, lr=0.01, batch_size=32, validation=0, threads=1)
    nothing = Examples(images=x[:0], labels=labels[:0])
    test = x.clone()
    test[:, 1] = test[torch.randperm(len(x)), 1]  # the confounder says nothing
    right = []
    for correction_loss in (None, loss):
        module = model.create((2,), 2, seed=0)
        examples = Examples(images=x, labels=labels, correction_targets=given if correction_loss else None)
        fit(model, module, examples, nothing, settings, seed=0, correction_loss=correction_loss)
        right.append(float((module(test).argmax(dim=1) == labels).float().mean()))
    assert right[1] > 0.9 and right[1] > right[0] + 0.2, right


def test_mirrored_images_are_corrected_where_they_then_are() -> None:
    wrong = torch.zeros(2, 1, 3, dtype=torch.bool)
    wrong[:, 0, 0] = True
    flipped = correction_targets(wrong, torch.tensor([0, 1])).flipped(torch.tensor([True, False]))
    assert flipped.wrong[:, 0].tolist() == [[False, False, True], [True, False, False]]
