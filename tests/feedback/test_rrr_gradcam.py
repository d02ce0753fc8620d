"""The penalty on Grad-CAM maps, against captum's."""

import pytest
import torch
from torch import nn

from tests.feedback.confounded import correction_targets
from xal.errors import XalError
from xal.feedback.rrr_gradcam import RrrGradCam


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
    with pytest.raises(XalError, match="needs a network with convolutions"):
        RrrGradCam().forward(nn.Sequential(nn.Flatten(), nn.Linear(36, 3)), x, correction_targets(wrong, labels))
