"""Models, one per file; importing the package registers them."""

from xal.models.model import Model
from xal.models.sklearn import estimator, linear_svm, logistic_regression, mlp, mlp_ensemble
from xal.models.sklearn.base import SklearnModel
from xal.models.torch import convnet, linear, module, perceptron, resnet, senn, torchvision, transformers
from xal.models.torch.classifier import TorchClassifier
from xal.models.torch.model import TorchModel

__all__ = [
    "Model",
    "SklearnModel",
    "TorchClassifier",
    "TorchModel",
    "convnet",
    "estimator",
    "linear",
    "linear_svm",
    "logistic_regression",
    "mlp",
    "mlp_ensemble",
    "module",
    "perceptron",
    "resnet",
    "senn",
    "torchvision",
    "transformers",
]
