"""Explainers; importing the package registers them."""

from xal.explainers import gradients, lime, self_explaining, shap_embedding, shap_linear, shap_partition
from xal.explainers.ebano import Ebano
from xal.explainers.explainer import Explainer

__all__ = [
    "Ebano",
    "Explainer",
    "gradients",
    "lime",
    "self_explaining",
    "shap_embedding",
    "shap_linear",
    "shap_partition",
]
