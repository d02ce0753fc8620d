"""xal: explanatory active learning at scale, on Ray. It decides what to label next, and says why.

    import xal

    xal.query("margin", probabilities=p, n=20).positions     # arrays in, positions out
    learner = xal.Learner(texts, strategy="margin")          # ask and tell
    runs = xal.run("recipe.yaml")                            # a whole campaign

Importing xal is light: what a name needs is imported when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from xal.core.version import __version__ as __version__

_HOME = {
    "query": "xal.api.arrays",
    "Selection": "xal.api.arrays",
    "Learner": "xal.api.learner",
    "Batch": "xal.api.batch",
    "run": "xal.api.runs",
    "open_run": "xal.api.runs",
    "explain": "xal.api.explain",
    "load_model": "xal.api.exported",
    "Recipe": "xal.campaign.recipe",
    "RayEngine": "xal.engine.ray.engine",
    "SerialEngine": "xal.engine.serial",
    "Strategy": "xal.strategies.strategy",
    "Wrapper": "xal.strategies.strategy",
    "Explainer": "xal.explainers.explainer",
    "Model": "xal.models.model",
    "Classifier": "xal.models.model",
    "Weights": "xal.models.model",
    "Placement": "xal.models.model",
    "TrainingData": "xal.models.training_data",
    "TrainContext": "xal.models.training_data",
    "Fitted": "xal.models.training_data",
    "TorchModel": "xal.models.torch.model",
    "TorchClassifier": "xal.models.torch.classifier",
    "SklearnModel": "xal.models.sklearn.base",
    "Feedback": "xal.feedback.feedback",
    "CorrectionBatch": "xal.feedback.feedback",
    "Annotator": "xal.annotators.annotator",
    "Request": "xal.annotators.annotator",
    "Encoder": "xal.encoders.encoder",
    "Encoding": "xal.encoders.encoder",
    "StoppingRule": "xal.evaluation.stopping.rule",
    "Observed": "xal.evaluation.stopping.rule",
    "Query": "xal.types",
    "Labelled": "xal.types",
    "Correction": "xal.types",
    "Evidence": "xal.types",
    "Explanations": "xal.types",
    "Scored": "xal.types",
    "Pool": "xal.data.pool",
    "HashRng": "xal.core.rng",
    "top_features": "xal.api.explain",
    "XalError": "xal.errors",
    "ConfigError": "xal.errors",
    "DataError": "xal.errors",
    "LabelError": "xal.errors",
    "NumericalError": "xal.errors",
    "ResourceError": "xal.errors",
    "RunError": "xal.errors",
}
__all__ = [*_HOME, "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'xal' has no attribute '{name}'")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)


if TYPE_CHECKING:
    from xal.annotators.annotator import Annotator as Annotator
    from xal.annotators.annotator import Request as Request
    from xal.api.arrays import Selection as Selection
    from xal.api.arrays import query as query
    from xal.api.batch import Batch as Batch
    from xal.api.explain import explain as explain
    from xal.api.explain import top_features as top_features
    from xal.api.exported import load_model as load_model
    from xal.api.learner import Learner as Learner
    from xal.api.runs import open_run as open_run
    from xal.api.runs import run as run
    from xal.campaign.recipe import Recipe as Recipe
    from xal.core.rng import HashRng as HashRng
    from xal.data.pool import Pool as Pool
    from xal.encoders.encoder import Encoder as Encoder
    from xal.encoders.encoder import Encoding as Encoding
    from xal.engine.ray.engine import RayEngine as RayEngine
    from xal.engine.serial import SerialEngine as SerialEngine
    from xal.errors import ConfigError as ConfigError
    from xal.errors import DataError as DataError
    from xal.errors import LabelError as LabelError
    from xal.errors import NumericalError as NumericalError
    from xal.errors import ResourceError as ResourceError
    from xal.errors import RunError as RunError
    from xal.errors import XalError as XalError
    from xal.evaluation.stopping.rule import Observed as Observed
    from xal.evaluation.stopping.rule import StoppingRule as StoppingRule
    from xal.explainers.explainer import Explainer as Explainer
    from xal.feedback.feedback import CorrectionBatch as CorrectionBatch
    from xal.feedback.feedback import Feedback as Feedback
    from xal.models.model import Classifier as Classifier
    from xal.models.model import Model as Model
    from xal.models.model import Placement as Placement
    from xal.models.model import Weights as Weights
    from xal.models.sklearn.base import SklearnModel as SklearnModel
    from xal.models.torch.classifier import TorchClassifier as TorchClassifier
    from xal.models.torch.model import TorchModel as TorchModel
    from xal.models.training_data import Fitted as Fitted
    from xal.models.training_data import TrainContext as TrainContext
    from xal.models.training_data import TrainingData as TrainingData
    from xal.strategies.strategy import Strategy as Strategy
    from xal.strategies.strategy import Wrapper as Wrapper
    from xal.types import Correction as Correction
    from xal.types import Evidence as Evidence
    from xal.types import Explanations as Explanations
    from xal.types import Labelled as Labelled
    from xal.types import Query as Query
    from xal.types import Scored as Scored
