"""Query strategies, one per file; importing the package registers them."""

from xal.strategies import (
    alex,
    candidates,
    density_weighted,
    diverse,
    ebano_augment,
    ebano_uncertainty,
    entropy,
    explanation_disagreement,
    fallback,
    least_confidence,
    margin,
    max_herding,
    npir_gap,
    random,
    schedule,
    threshold,
    uncertainty_herding,
)
from xal.strategies.strategy import Strategy, Wrapper

__all__ = [
    "Strategy",
    "Wrapper",
    "alex",
    "candidates",
    "density_weighted",
    "diverse",
    "ebano_augment",
    "ebano_uncertainty",
    "entropy",
    "explanation_disagreement",
    "fallback",
    "least_confidence",
    "margin",
    "max_herding",
    "npir_gap",
    "random",
    "schedule",
    "threshold",
    "uncertainty_herding",
]
