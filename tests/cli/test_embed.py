"""`xal embed` and `xal pool build --embed`."""

from pathlib import Path

import pytest
from PIL import Image

from tests.recipes import xal


def photos(folder: Path) -> Path:
    for number in range(8):
        place = folder / ("dark" if number % 2 else "light")
        place.mkdir(parents=True, exist_ok=True)
        Image.new("L", (12, 12), 20 + 3 * number + 150 * (number % 2 == 0)).save(place / f"{number}.png")
    return folder


RECIPE = """\
pool: {source: absent}
model: {name: logistic_regression, encoder: {name: "tests.engine.test_embedding:Halves"}}
strategy: margin
explainer: null
engine: serial
budget: {initial: 2, per_round: 2, rounds: 1}
"""


def test_a_pool_is_built_and_embedded(tmp_path: Path, monkeypatch, capsys) -> None:
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    command = ["pool", "build", photos(tmp_path / "photos"), tmp_path / "pool", "--embed", tmp_path / "recipe.yaml"]
    assert xal(*command, monkeypatch=monkeypatch) == 0
    assert "8 vectors of width 24 in" in capsys.readouterr().out.replace("\n", " ")
    assert len(list((tmp_path / "pool" / "embeddings").glob("*/*/*.npy"))) == 1
    again = ["embed", tmp_path / "recipe.yaml", "--set", f"pool.source={tmp_path / 'pool'}"]
    assert xal(*again, monkeypatch=monkeypatch) == 0


@pytest.mark.parametrize("model", ["{name: convnet}", "{name: logistic_regression, encoder: tfidf}"])
def test_a_recipe_without_vectors_to_keep_is_told_before_the_pool_is_built(
    tmp_path: Path, monkeypatch, capsys, model: str
) -> None:
    (tmp_path / "recipe.yaml").write_text(
        f"pool: {{source: absent}}\nmodel: {model}\nstrategy: margin\nengine: serial\n"
    )
    command = ["pool", "build", photos(tmp_path / "photos"), tmp_path / "pool", "--embed", tmp_path / "recipe.yaml"]
    assert xal(*command, monkeypatch=monkeypatch) == 2
    assert "has no encoder whose vectors can be kept" in capsys.readouterr().err.replace("\n", " ")
    assert not (tmp_path / "pool").exists()
