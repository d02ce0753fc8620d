"""How corrections of explanations change training; importing the package registers the components."""

from xal.feedback import cali_ranking, counterexamples, rrr, rrr_gradcam, unused
from xal.feedback.feedback import Feedback

__all__ = ["Feedback", "cali_ranking", "counterexamples", "rrr", "rrr_gradcam", "unused"]
