"""Corrections that do not change training: the baseline of comparisons."""

from __future__ import annotations

from dataclasses import dataclass

from xal.feedback.feedback import Feedback


@dataclass(frozen=True, kw_only=True)
class Unused(Feedback, name="unused"):
    """Ask for corrections and store them, without using them in training."""
