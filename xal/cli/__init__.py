"""The command line: one file a command."""

from xal.cli.app import main

__all__ = ["main"]
