"""Query strategies, one a file; importing the package registers them."""

from xal.strategies import (
    alex,
    density_weighted,
    diverse,
    ebano,
    entropy,
    explanation_disagreement,
    least_confidence,
    margin,
    random,
    schedule,
)
from xal.strategies.strategy import Strategy

__all__ = [
    "Strategy",
    "alex",
    "density_weighted",
    "diverse",
    "ebano",
    "entropy",
    "explanation_disagreement",
    "least_confidence",
    "margin",
    "random",
    "schedule",
]
