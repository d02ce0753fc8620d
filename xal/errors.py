"""What can go wrong by a user's hand. An error says what was expected, what came, and what to do."""

from collections.abc import Sequence


class XalError(Exception):
    """Root of all errors that a user can mend; the command line prints it without a traceback."""


class ConfigError(XalError):
    """A recipe that cannot run: every mistake at once, each with its dotted path."""

    def __init__(self, problems: Sequence[str], source: str = "recipe") -> None:
        self.problems = list(problems)
        lines = "\n".join(f"  - {problem}" for problem in self.problems)
        noun = "mistake" if len(self.problems) == 1 else "mistakes"
        super().__init__(f"{source}: {len(self.problems)} {noun}\n{lines}")


class DataError(XalError):
    """A pool, image, table or file that is not what it should be."""


class LabelError(XalError):
    """Labels that cannot be taken. Nothing of the file was imported."""


class ResourceError(XalError):
    """CPUs, GPUs or packages that were asked for and are not there."""


class RunError(XalError):
    """A run directory that cannot be used as asked."""


class NumericalError(XalError):
    """NaN or infinite numbers where a model or strategy should give finite ones."""
