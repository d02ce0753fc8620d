"""Errors that a user can correct. Messages say what was expected, what came, and what to do."""

from collections.abc import Sequence


class XalError(Exception):
    """Base class of all errors that a user can correct; the command line prints them without a traceback."""


class ConfigError(XalError):
    """A recipe that cannot run. Lists all its mistakes, each with its dotted path."""

    def __init__(self, problems: Sequence[str], source: str = "recipe") -> None:
        self.problems = list(problems)
        lines = "\n".join(f"  - {problem}" for problem in self.problems)
        noun = "mistake" if len(self.problems) == 1 else "mistakes"
        super().__init__(f"{source}: {len(self.problems)} {noun}\n{lines}")


class DataError(XalError):
    """A pool, image, table or file that is missing or malformed."""


class LabelError(XalError):
    """A label file with mistakes. None of its labels were imported."""


class ResourceError(XalError):
    """CPUs, GPUs or packages that are required and not available."""


class RunError(XalError):
    """A run directory that cannot be used for the command."""


class NumericalError(XalError):
    """NaN or infinite values where a model, explainer or strategy must give finite ones."""
