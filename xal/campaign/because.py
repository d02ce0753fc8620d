"""Why an item was queried, in one sentence that annotators can read."""

from __future__ import annotations

from xal.strategies.strategy import Strategy

SURE = 0.9  # probability of the likeliest class from which on nothing else is named
Guesses = tuple[tuple[str, float], ...]
"""The two likeliest classes with their probabilities, the likeliest first."""


def because(strategy: Strategy, reason: str, note: str, guesses: Guesses | None) -> str:
    """Such as "unsure between cat and dog (0.41, 0.38); many uncertain items resemble it; nearest labelled item: 17".

    strategy: that of the campaign. reason: the name of its part that chose the item. note: what the part said about it.
    guesses: None if the item was not predicted.
    """
    part = next((part for part in strategy.parts() if part.name == reason), None)
    reads_predictions = part is not None and "probabilities" in part.needs | part.select_needs
    parts = [guessed(guesses) if guesses and reads_predictions else "", part.motive if part else "", note]
    return "; ".join(text for text in parts if text)


def guessed(guesses: Guesses) -> str:
    """What the model thinks of the item, in words."""
    (first, p), *rest = guesses
    if p >= SURE or not rest:
        return f"taken for {first} ({p:.2f})"
    (second, q), *_ = rest
    if q < p / 2:
        return f"rather {first} than {second} ({p:.2f}, {q:.2f})"
    return f"unsure between {first} and {second} ({p:.2f}, {q:.2f})"
