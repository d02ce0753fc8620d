"""Packages that one feature alone needs: imported when it is used, with an error that names the extra."""

from __future__ import annotations

import importlib
from typing import Any

from xal.errors import ResourceError


def require(module: str, extra: str, feature: str) -> Any:
    """Import a module; ResourceError that names the extra to install where it is missing.

    feature: what needs it, as a recipe calls it.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != module.partition(".")[0]:
            raise  # something that the module itself needs
        raise ResourceError(f"{feature} needs {module.partition('.')[0]}: pip install 'xal-ray[{extra}]'") from error
