"""Query strategies, one a file; importing the package registers them."""

from xal.strategies import diverse, ebano, entropy, least_confidence, margin, random, schedule
from xal.strategies.strategy import Strategy

__all__ = ["Strategy", "diverse", "ebano", "entropy", "least_confidence", "margin", "random", "schedule"]
