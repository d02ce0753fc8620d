"""Annotators, one per file; importing the package registers them."""

from xal.annotators import file, oracle, simulated
from xal.annotators.annotator import Annotator

__all__ = ["Annotator", "file", "oracle", "simulated"]
