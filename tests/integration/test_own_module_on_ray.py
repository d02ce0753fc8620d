"""A module beside the recipe, run from another folder with relative paths: workers find the module and the run."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.recipes import write_pool

MODULE = '''
from dataclasses import dataclass
import xal

@dataclass(frozen=True, kw_only=True)
class FirstClass(xal.Strategy):
    """The largest probability of the first class."""

    def score(self, evidence, state, rng):
        return evidence.probabilities[:, 0]
'''


@pytest.mark.ray
@pytest.mark.parametrize("train_workers", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_workers_find_modules_beside_the_recipe_and_the_run(tmp_path: Path, train_workers: int) -> None:
    write_pool(tmp_path / "pool.parquet", 60)
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "my_strategy.py").write_text(MODULE)
    (tmp_path / "recipes" / "recipe.yaml").write_text(
        f"pool: {{source: {tmp_path}/pool.parquet}}\nmodel: convnet\nexplainer: null\ntrain: {{epochs: 1}}\n"
        "strategy: my_strategy:FirstClass\nbudget: {initial: 20, per_round: 5, rounds: 1}\n"
        f"engine: {{name: ray, cpus: 3, actors: 1, train_workers: {train_workers}, object_store_mb: 100}}\n"
    )
    command = [sys.executable, "-m", "xal.cli", "run", "recipes/recipe.yaml", "--out", "runs"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=150)
    assert done.returncode == 0 and "FirstClass)" in done.stdout + done.stderr, done.stdout + done.stderr
