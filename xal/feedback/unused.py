"""Corrections that nothing learns from: what others are compared with."""

from __future__ import annotations

from dataclasses import dataclass

from xal.feedback.feedback import Feedback


@dataclass(frozen=True, kw_only=True)
class Unused(Feedback, name="unused"):
    """Ask for corrections, keep them, learn nothing from them."""
