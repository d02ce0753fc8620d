"""A small search over the settings of an explainer that fails on some of them."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tests.recipes import text_pool, text_recipe
from xal.engine import SerialEngine
from xal.errors import NumericalError
from xal.explainers.shap_partition import ShapPartition

ENGINE = {"name": "ray", "cpus": 2, "object_store_mb": 100}


@dataclass(frozen=True, kw_only=True)
class Fragile(ShapPartition):
    """Fails where it is allowed few evaluations."""

    def explain(self, *given: Any) -> Any:
        """As its base."""
        if self.max_evals < 20:
            raise NumericalError("too few evaluations for me")
        return super().explain(*given)


def searched(tmp_path: Path, **search: Any) -> Any:
    """A recipe with a search over two settings."""
    tmp_path.mkdir(exist_ok=True)
    pool, test = text_pool(tmp_path / "pool.parquet", 300, 0), text_pool(tmp_path / "test.parquet", 60, 1)
    space = {"explainer.max_evals": {"low": 2, "high": 200, "log": True}, "strategy.sample": {"choices": [10, 20]}}
    return text_recipe(
        pool,
        test,
        arms=None,
        strategy="explanation_disagreement",
        explainer={"name": f"{__name__}:Fragile"},
        engine=ENGINE,
        search={"space": space, "trials": 5, "rounds": 2, "seeds": [0]} | search,
    )


def without_search(recipe: Any) -> Any:
    """The recipe as a campaign in this process."""
    return replace(recipe, engine=SerialEngine(batch=32), search=None)
