"""A limit on the size of files (ulimit -f): one sentence, and the run goes on where there is none."""

import resource
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.recipes import text_pool


@pytest.mark.parametrize("limit", [40_000, 120_000])
def test_a_run_with_a_limit_on_files_says_so_and_goes_on_without(tmp_path: Path, limit: int) -> None:
    recipe = {
        "pool": {"source": str(text_pool(tmp_path / "pool.parquet", 500, 0))},
        "model": {"name": "linear_svm", "encoder": "tfidf", "C": [1.0]},
        "strategy": "margin",
        "budget": {"initial": 20, "per_round": 5, "rounds": 1},
        "engine": "serial",
    }
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    command = [sys.executable, "-m", "xal.cli", "run", str(tmp_path / "recipe.yaml"), "--out", str(tmp_path / "runs")]
    limits = (limit, resource.RLIM_INFINITY)
    done = subprocess.run(
        command, capture_output=True, text=True, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    )
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
    error = done.stderr.splitlines()[-1]
    assert error.startswith("error: ") and f"{limit} bytes" in error and "ulimit -f" in error
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
