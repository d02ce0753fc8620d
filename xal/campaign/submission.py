"""The folder that `xal submit` sends to a cluster: the recipe with its settings, the output location and the seeds."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import yaml

from xal.campaign.recipe import load
from xal.core.config import unparse
from xal.core.paths import location, remote
from xal.engine.ray.engine import joining
from xal.errors import ConfigError, DataError

RECIPE, SUBMISSION = "recipe.yaml", "submission.json"


def pack(
    folder: Path, recipe: Path, out: Path, settings: list[str] | None, seeds: str | None, files: Sequence[Path]
) -> None:
    """Write the folder; its recipe has a Ray engine that joins the cluster it runs on.

    files: files or folders to send along. Raises ConfigError for a recipe with mistakes, a relative path that the
    cluster cannot see, or an `out` that would be lost with the job; DataError for a missing file.
    """
    if not remote(out) and not out.is_absolute():
        raise ConfigError(
            [f"--out {out}: a cluster needs a URL (s3://...), or an absolute path that all nodes see"], "command line"
        )
    loaded = load(recipe, settings)
    loaded = replace(loaded, engine=joining(loaded.engine))
    section = loaded.pool
    paths = {"pool.source": section.source, "pool.test": section.test, "pool.validation": section.validation}
    relative = [
        f"{name}: {path} is a path of this machine; a cluster needs a URL, or an absolute path that all nodes see"
        for name, path in paths.items()
        if path not in (None, "demo") and not remote(location(str(path))) and not Path(str(path)).is_absolute()
    ]
    if relative:
        raise ConfigError(relative, str(recipe))
    names = [path.resolve().name for path in files]
    if len({*names, RECIPE, SUBMISSION}) < len(names) + 2:
        raise ConfigError(
            [f"--with: expected different file names, none of them {RECIPE} or {SUBMISSION}"], "command line"
        )
    for path in files:
        if not path.exists():
            raise DataError(f"--with: no file or folder {path}")
        copy = shutil.copytree if path.is_dir() else shutil.copy
        copy(path, folder / path.resolve().name)
    (folder / RECIPE).write_text(yaml.safe_dump(unparse(loaded)), encoding="utf-8")
    (folder / SUBMISSION).write_text(json.dumps({"out": str(out), "seeds": seeds}), encoding="utf-8")


def unpack(folder: Path) -> tuple[Path, str | None]:
    """Read a folder that `pack` wrote: (out, seeds)."""
    submission = json.loads((folder / SUBMISSION).read_text(encoding="utf-8"))
    return location(submission["out"]), submission["seeds"]
