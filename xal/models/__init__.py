"""Models, one a file; importing the package registers them."""

from xal.models import convnet, heads, linear, residual, torchvision
from xal.models.model import Model, Network

__all__ = ["Model", "Network", "convnet", "heads", "linear", "residual", "torchvision"]
