"""What `xal run --dry-run` estimates, and the room that a run needs before it starts."""

import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from tests.recipes import QUIET, text_pool, text_recipe
from xal.campaign.disk import check_disk, size_of
from xal.campaign.estimate import estimate
from xal.campaign.experiment import run_experiment
from xal.campaign.validation import checked_pools
from xal.cli.app import app
from xal.errors import ResourceError


def test_what_runs_keep_grows_with_rounds_and_seeds(tmp_path: Path) -> None:
    pool = text_pool(tmp_path / "pool.parquet", 300, 0)
    recipe = text_recipe(pool, pool)
    pools = checked_pools(recipe)
    once = estimate(recipe, pools)
    assert once.n_runs == len(recipe.strategies) and min(once.query_s, once.train_s) > 0
    assert estimate(recipe, pools, n_seeds=3).disk_bytes == 3 * once.disk_bytes
    longer = replace(recipe, budget=replace(recipe.budget, rounds=2 * recipe.budget.rounds + 1))
    assert 1.5 * once.disk_bytes < estimate(longer, pools).disk_bytes < 2.5 * once.disk_bytes
    assert "on disk" in str(once)


def test_a_disk_too_small_is_said_before_round_0(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pool = text_pool(tmp_path / "pool.parquet", 300, 0)
    recipe = text_recipe(pool, pool)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    with pytest.raises(ResourceError, match="has 1 KB free; free some space"):
        run_experiment(recipe, tmp_path / "runs", QUIET)
    assert not (tmp_path / "runs").exists()
    check_disk(999, tmp_path)
    assert [size_of(number) for number in (0, 999, 12_300_000, 4e15)] == ["0 B", "999 B", "12 MB", "4000 TB"]


def test_a_dry_run_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pool = text_pool(tmp_path / "pool.parquet", 300, 0)
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    (tmp_path / "recipe.yaml").write_text(
        f"pool: {{source: {pool}}}\nmodel: {{name: linear_svm, encoder: tfidf}}\n"
        "budget: {initial: 20, per_round: 5, rounds: 3}\nengine: serial\n"
    )
    told = CliRunner().invoke(app, ["run", "recipe.yaml", "--dry-run", "--seeds", "0-4"], catch_exceptions=False)
    assert told.exit_code == 0 and "for 5 runs" in " ".join(told.output.split()), told.output
    assert sorted(tmp_path.rglob("*")) == sorted([*before, tmp_path / "recipe.yaml"])
