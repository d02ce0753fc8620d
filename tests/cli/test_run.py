"""`xal run` and `xal tune` on texts; a folder holds runs or a search."""

from pathlib import Path

import pytest
import yaml

from tests.recipes import text_pool, xal
from xal.campaign.recipe import load
from xal.explainers.shap_partition import ShapPartition


def test_recipes_of_texts_need_name_no_explainer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pool, recipe = text_pool(tmp_path / "pool.parquet", 60, 0), tmp_path / "recipe.yaml"
    given = {
        "pool": {"source": str(pool)}, "model": {"name": "linear_svm", "encoder": "tfidf", "C": [1.0]},
        "strategy": "random", "budget": {"initial": 20, "per_round": 5, "rounds": 1}, "engine": "serial",
    }  # fmt: skip
    recipe.write_text(yaml.safe_dump(given))
    assert load(recipe).explainer == ShapPartition()
    runs = tmp_path / "runs"
    assert xal("run", recipe, "--out", runs, "-q", monkeypatch=monkeypatch) == 0
    recipe.write_text(yaml.safe_dump(given | {"model": "linear_svm"}))
    assert xal("validate", recipe, monkeypatch=monkeypatch) == 2
    assert "takes features, the pool holds text; give it an encoder, such as tfidf" in capsys.readouterr().err
    search = given | {"strategy": "alex", "search": {"space": {"explainer.max_evals": {"low": 2, "high": 9}}}}
    recipe.write_text(yaml.safe_dump(search))
    assert xal("tune", recipe, "--out", runs, monkeypatch=monkeypatch) == 2
    assert "holds runs; choose another --out for the search" in capsys.readouterr().err
    (tmp_path / "tune").mkdir()
    (tmp_path / "tune" / "search.yaml").write_text("{}")
    recipe.write_text(yaml.safe_dump(given))
    assert xal("run", recipe, "--out", tmp_path / "tune", monkeypatch=monkeypatch) == 2
    assert "holds a search; choose another --out for the runs" in capsys.readouterr().err
