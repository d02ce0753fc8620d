"""EBAnO, a perturbation explainer for batches of images; see `explainer`."""

from xal.explainers.ebano.explainer import Ebano, EbanoExpress
from xal.explainers.ebano.perturbation import blur, default_sigma, keep_only

__all__ = ["Ebano", "EbanoExpress", "blur", "default_sigma", "keep_only"]
