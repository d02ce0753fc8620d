"""The version of xal."""

__version__ = "0.2.0"
