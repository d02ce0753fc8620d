"""Models, one a file; importing the package registers them."""

from xal.models import convnet, linear, residual, torchvision
from xal.models.model import Model, Network

__all__ = ["Model", "Network", "convnet", "linear", "residual", "torchvision"]
