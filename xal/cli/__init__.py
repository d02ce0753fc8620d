"""The command line, one file for each command."""

from xal.cli.app import main

__all__ = ["main"]
