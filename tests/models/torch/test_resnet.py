"""The residual network of He et al."""

import pytest
from torch import nn

from tests.models.small import GREY
from xal.models.torch.resnet import ResNet


@pytest.mark.parametrize("blocks", [1, 3])
def test_resnet_has_six_layers_a_block_and_two_more(blocks):
    """He et al. 2016, 4.2: 6n + 2 weighted layers; the two 1 x 1 shortcuts are not counted."""
    module = ResNet(width=2, blocks=blocks).build(GREY, 10)
    weighted = [
        m
        for m in module.modules()
        if isinstance(m, nn.Linear) or (isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3))
    ]
    assert len(weighted) == 6 * blocks + 2
    assert sum(isinstance(m, nn.Conv2d) and m.kernel_size == (1, 1) for m in module.modules()) == 2
