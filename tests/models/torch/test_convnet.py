"""The convnet of ALEX."""

from tests.models.small import GREY
from xal.models.torch.convnet import Convnet


def test_convnet_is_that_of_alex():
    """Mondal & Ganguly: 32 filters of 3 x 3 without padding, dense 128. Weights counted by hand for 28 x 28."""
    module = Convnet().build(GREY, 10)
    expected = (9 + 1) * 32 + (32 * 26 * 26 + 1) * 128 + (128 + 1) * 10
    assert sum(weights.numel() for weights in module.parameters()) == expected
