"""Explainers; importing the package registers them."""

from xal.explainers.ebano import Ebano
from xal.explainers.explainer import Explainer

__all__ = ["Ebano", "Explainer"]
