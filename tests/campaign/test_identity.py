"""Only the recipe and the pool that started a run may continue it."""

import copy
from pathlib import Path

import pytest

from tests.recipes import QUIET, run_specs, small, write_pool
from xal.campaign.experiment import run_experiment
from xal.campaign.identity import as_now
from xal.core.config import differences
from xal.errors import RunError

pytestmark = pytest.mark.usefixtures("database")  # SQLite, and PostgreSQL


def test_another_recipe_is_refused_with_what_differs(tmp_path: Path) -> None:
    pool = write_pool(tmp_path / "pool")
    run_experiment(small(pool, budget={"rounds": 0}), tmp_path / "runs", QUIET)
    with pytest.raises(RunError, match=r"(?s)another recipe.*xal fork.*train\.epochs: 2 there, 3 here") as refused:
        run_experiment(small(pool, budget={"rounds": 1}, train={"epochs": 3}), tmp_path / "runs", QUIET)
    assert "budget.rounds" not in str(refused.value)


def test_another_pool_is_refused(tmp_path: Path) -> None:
    pool = write_pool(tmp_path / "pool")
    recipe = small(pool, budget={"rounds": 0})
    run_experiment(recipe, tmp_path / "runs", QUIET)
    write_pool(pool, n=121)
    with pytest.raises(RunError, match="pool .* has changed"):
        run_experiment(recipe, tmp_path / "runs", QUIET)


def test_a_run_of_an_older_xal_is_the_same_recipe(tmp_path: Path) -> None:
    """What has become configurable since is at its default; all else is as it was."""
    recipe = small(
        write_pool(tmp_path / "pool"),
        feedback="counterexamples",
        explainer="lime",
        strategy="entropy",
        annotator="file",
    )
    identity = run_specs(recipe, tmp_path)[0].identity()
    older = copy.deepcopy(identity)
    del older["train"]["flip"], older["feedback"]["onehot_width"], older["explainer"]["keep"]
    assert as_now(older) == identity and older != identity
    older["model"]["hidden"] = 9
    assert differences(identity, as_now(older)) == ["model.hidden: 9 there, 8 here"]
    older["model"]["name"] = "gone"
    assert as_now(older) == older
