"""Optional packages: imported when a feature is used, with an error that names the extra to install."""

from __future__ import annotations

import importlib
from typing import Any

from xal.errors import ResourceError


def require(module: str, extra: str, feature: str) -> Any:
    """Import a module; raises a ResourceError that names the extra to install if the module is missing.

    feature: what needs the module, in a recipe's words.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != module.partition(".")[0]:
            raise  # a dependency of the module is missing
        raise ResourceError(f"{feature} needs {module.partition('.')[0]}: pip install 'xal-ray[{extra}]'") from error
