"""Query strategies, one a file; importing the package registers them."""

from xal.strategies import ebano, entropy, least_confidence, margin, random, schedule
from xal.strategies.strategy import Strategy

__all__ = ["Strategy", "ebano", "entropy", "least_confidence", "margin", "random", "schedule"]
