"""Stopping rules, one per file; importing the package registers them."""

from xal.evaluation.stopping import flat_curve, overall_uncertainty, stabilized_predictions
from xal.evaluation.stopping.rule import Observed, StoppingRule

__all__ = ["Observed", "StoppingRule", "flat_curve", "overall_uncertainty", "stabilized_predictions"]
