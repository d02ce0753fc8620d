"""Query strategies, one a file; importing the package registers them."""

from xal.strategies import ebano_uncertainty, entropy, least_confidence, margin, random, schedule
from xal.strategies.strategy import Strategy

__all__ = ["Strategy", "ebano_uncertainty", "entropy", "least_confidence", "margin", "random", "schedule"]
