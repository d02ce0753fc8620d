"""Models, one a file; importing the package registers them."""

from xal.models import convnet, heads, linear, perceptron, residual, senn, torchvision
from xal.models.model import Model, Network

__all__ = ["Model", "Network", "convnet", "heads", "linear", "perceptron", "residual", "senn", "torchvision"]
