"""xal: explanatory active learning at scale, on Ray."""

__version__ = "0.1.0"
