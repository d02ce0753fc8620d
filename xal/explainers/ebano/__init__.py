"""EBAnO on batches of images; see `explainer`."""

from xal.explainers.ebano.explainer import Ebano
from xal.explainers.ebano.perturbation import blur, default_sigma, keep_only

__all__ = ["Ebano", "blur", "default_sigma", "keep_only"]
