"""From recipe to dataclasses and back: every mistake at once, with where it is and what was meant."""

import dataclasses
import sys
from pathlib import Path

import pytest
import yaml

from xal.campaign.recipe import Recipe, load
from xal.core.config import differences, load_yaml, override, parse, unparse
from xal.engine import RayEngine, SerialEngine
from xal.errors import ConfigError
from xal.models.torch.convnet import Convnet
from xal.models.torch.resnet import ResNet
from xal.models.torch.torchvision import Torchvision
from xal.strategies.candidates import Candidates
from xal.strategies.ebano_uncertainty import EbanoUncertainty
from xal.strategies.entropy import Entropy
from xal.strategies.fallback import Fallback
from xal.strategies.margin import Margin
from xal.strategies.random import Random
from xal.strategies.schedule import EarlyMix, Schedule
from xal.strategies.threshold import Threshold

PIPELINES = sorted((Path(__file__).parents[2] / "pipelines").glob("*.yaml"))


def problems(mapping):
    with pytest.raises(ConfigError) as caught:
        parse(Recipe, mapping)
    return caught.value.problems


def the_problem(mapping):
    (problem,) = problems(mapping)
    return problem


def test_an_empty_recipe_is_the_default():
    assert parse(Recipe, {}) == Recipe()
    assert list(Recipe().strategies.values()) == [EbanoUncertainty()]


def test_five_mistakes_are_five_problems_with_paths_and_what_was_meant():
    mapping = {
        "train": {"epoch": 5},
        "strategy": {"name": "entropi"},
        "budget": {"rounds": -1},
        "model": {"name": "convnet", "size": "tiny"},
        "modle": "convnet",
    }
    found = problems(mapping)
    assert len(found) == 5
    for path, *words in [
        ("train.epoch: ", "epochs"),
        ("strategy.name: ", "'entropi'", "'entropy'"),
        ("budget.rounds: ", "greater than or equal to 0", "-1"),
        ("model.size: ", "integer", "'tiny'"),
        ("modle: ", "'model'"),
    ]:
        (line,) = [line for line in found if line.startswith(path)]
        assert all(word in line for word in words), line


def test_the_message_counts_and_lists_them():
    with pytest.raises(ConfigError) as caught:
        parse(Recipe, {"seed": -1, "budget": {"initial": -1}}, "mine.yaml")
    lines = str(caught.value).splitlines()
    assert lines[0] == "mine.yaml: 2 mistakes"
    assert [line.split(":")[0] for line in lines[1:]] == ["  - budget.initial", "  - seed"]


@pytest.mark.parametrize(
    ("mapping", "path"),
    [
        ([1, 2], "top level"),
        ({"train": 3}, "train"),
        ({"strategy": 3}, "strategy"),
        ({"strategy": {"limit": 3}}, "strategy.name"),
        ({"strategy": {"name": "entropy", "limit": 3}}, "strategy.limit"),
        ({"strategy": {"name": "ebano_uncertainty", "threshold": 2.5}}, "strategy.threshold"),
        ({"strategy": {"name": "schedule"}}, "strategy.strategies"),
        ({"strategy": {"name": "schedule", "strategies": "entropy"}}, "strategy.strategies"),
        ({"strategy": {"name": "schedule", "strategies": ["entropy", "margn"]}}, "strategy.strategies[1].name"),
        ({"strategy": {"name": "schedule", "strategies": []}}, "strategy"),
        ({"strategy": {"name": "early_mix", "strategy": {"name": "ebano_uncertainty", "limit": 0}}}, None),
        ({"arms": ["entropy"]}, "arms"),
        ({"arms": {"one": "entropy", "two": "randm"}}, "arms.two.name"),
        ({"arms": {}}, "arms"),
        ({"arms": {"../up": "entropy"}}, "arms"),
        ({"pool": {"classes": ["cat", 3]}}, "pool.classes.1"),
        ({"train": {"optimizer": "adamw"}}, "train.optimizer"),
        ({"model": {"name": "torchvision", "channels": 2}}, "model.channels"),
        ({"engine": "rai"}, "engine.name"),
        ({"seeds": [0, 1, 0]}, "seeds"),
        ({"explainer": None}, "explainer"),
    ],
)
def test_a_mistake_is_named_by_its_path(mapping, path):
    assert the_problem(mapping).startswith(f"{path or 'strategy.strategy.limit'}: ")


def test_strategy_and_arms_exclude_each_other():
    problem = the_problem({"strategy": "entropy", "arms": {"random": "random"}})
    assert "strategy" in problem and "arms" in problem and "not both" in problem


def test_without_an_explainer_only_strategies_that_need_none_run():
    assert parse(Recipe, {"explainer": None, "strategy": "entropy"}).explainer is None
    found = problems({"explainer": None, "arms": {"early": "early_mix", "late": "late_mix", "plain": "entropy"}})
    assert [line.startswith("explainer: ") for line in found] == [True, True]
    assert "'early_mix'" in found[0] and "'late_mix'" in found[1]


def test_a_component_by_name_is_the_component_with_its_defaults():
    recipe = parse(Recipe, {"strategy": "margin", "model": "resnet", "engine": "serial"})
    assert (recipe.strategy, recipe.model, recipe.engine) == (Margin(), ResNet(), SerialEngine())
    assert parse(Recipe, {"strategy": {"name": "margin"}}) == parse(Recipe, {"strategy": "margin"})


def test_components_nest():
    recipe = parse(
        Recipe,
        {
            "strategy": {
                "name": "early_mix",
                "strategy": {"name": "ebano_uncertainty", "candidates": None, "fallback": "random"},
                "other": {"name": "schedule", "strategies": ["margin", {"name": "entropy"}]},
            }
        },
    )
    assert recipe.strategy == EarlyMix(
        strategy=EbanoUncertainty(candidates=None, fallback=Random()),
        other=Schedule(strategies=(Margin(), Entropy())),
    )


def test_strategies_that_run_others_nest():
    """Any strategy may stand where one is asked for, a schedule too."""
    mapping = {
        "name": "fallback",
        "strategy": {
            "name": "threshold",
            "strategy": {"name": "candidates", "strategy": "margin", "n": 9},
            "above": -1,
        },
        "fallback": {"name": "early_mix", "strategy": "random"},
    }
    assert parse(Recipe, {"strategy": mapping}).strategy == Fallback(
        strategy=Threshold(strategy=Candidates(strategy=Margin(), n=9), above=-1),
        fallback=EarlyMix(strategy=Random()),
    )
    assert parse(Recipe, {"strategy": {"name": "ebano_uncertainty", "fallback": "early_mix"}}).strategy == (
        EbanoUncertainty(fallback=EarlyMix())
    )


def test_what_a_part_of_a_strategy_needs_is_found_however_deep():
    mapping = {"name": "fallback", "strategy": {"name": "threshold", "strategy": "alex", "above": 0}}
    (problem,) = problems({"explainer": None, "strategy": mapping})
    assert problem == "explainer: strategy 'fallback' needs explanations; name an explainer"


def test_a_component_refuses_what_its_settings_do_not_allow_with_its_path():
    chosen = {"name": "candidates", "strategy": "margin", "candidates_from": "npir_gap"}
    assert the_problem({"strategy": chosen}).startswith("strategy: candidates_from: 'npir_gap' would explain")


RECIPES = {
    "default": Recipe(),
    "everything": Recipe(
        model=Torchvision(size=64, weights="IMAGENET1K_V1"),
        strategy=EarlyMix(strategy=EbanoUncertainty(limit=7), other=Schedule(strategies=(Margin(), Random()))),
        engine=RayEngine(batch=32),
        seeds=(3, 1),
    ),
    "arms": Recipe(arms={"a": Entropy(), "b": EbanoUncertainty(threshold=-0.5)}, explainer=Recipe().explainer),
    "no explainer": Recipe(
        strategy=Random(), explainer=None, engine=SerialEngine(), model=Convnet(size=28, channels=1)
    ),
}


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_unparse_is_the_inverse_of_parse_also_through_yaml(recipe):
    mapping = unparse(recipe)
    assert parse(Recipe, mapping) == recipe
    assert parse(Recipe, yaml.safe_load(yaml.safe_dump(mapping))) == recipe
    assert unparse(parse(Recipe, mapping)) == mapping


def test_parsing_leaves_the_mapping_as_it_was():
    mapping = {"strategy": {"name": "schedule", "strategies": ["entropy"]}, "train": {"epochs": 3}}
    before = yaml.safe_dump(mapping)
    parse(Recipe, mapping)
    assert yaml.safe_dump(mapping) == before


class TestOverride:
    def set(self, mapping, *settings):
        override(mapping, list(settings))
        return parse(Recipe, mapping)

    def test_values_are_yaml(self):
        recipe = self.set(
            {}, "train.epochs=7", "train.lr=0.5", "pool.classes=[a, b]", "explainer=null", "strategy=margin"
        )
        assert (recipe.train.epochs, recipe.train.lr, recipe.pool.classes) == (7, 0.5, ("a", "b"))
        assert recipe.explainer is None and recipe.strategy == Margin()

    def test_the_last_one_wins_and_the_rest_stays(self):
        recipe = self.set({"train": {"epochs": 3, "lr": 0.25}}, "train.epochs=4", "train.epochs=5")
        assert (recipe.train.epochs, recipe.train.lr) == (5, 0.25)

    def test_a_component_given_by_name_becomes_a_mapping(self):
        recipe = self.set({"strategy": "ebano_uncertainty", "arms": None}, "strategy.limit=9")
        assert recipe.strategy == EbanoUncertainty(limit=9)
        recipe = self.set(
            {"arms": {"e": "ebano_uncertainty", "r": "random"}}, "arms.e.fallback=random", "arms.e.limit=2"
        )
        assert recipe.arms == {"e": EbanoUncertainty(limit=2, fallback=Random()), "r": Random()}

    def test_an_empty_section_can_be_set(self):
        """`train:` with nothing below it parses as all defaults, so it can be overridden too."""
        assert self.set({"train": None}, "train.epochs=7").train.epochs == 7

    @pytest.mark.parametrize("setting", ["train.epochs", "=3", "seed.deeper=1", "train.epochs=[1"])
    def test_what_cannot_be_set_is_said(self, setting):
        with pytest.raises(ConfigError, match="--set"):
            override({"seed": 0}, [setting])

    def test_a_misspelt_path_is_found_by_the_parser(self):
        mapping = {}
        override(mapping, ["train.epoch=3"])
        assert the_problem(mapping).startswith("train.epoch: ")


USERS = """
from dataclasses import dataclass
from torch import nn
from xal.models import TorchModel

@dataclass(frozen=True, kw_only=True)
class Mine(TorchModel):
    width: int = 8

    def build(self, shape, n_classes):
        return nn.Sequential(nn.Flatten(), nn.Linear(shape[0] * shape[1] * shape[2], n_classes))

class NoModel:
    pass

value = 3
"""


class TestUsersOwnModel:
    @pytest.fixture(autouse=True)
    def module(self, tmp_path, monkeypatch):
        (tmp_path / "users_model_xyz.py").write_text(USERS)
        (tmp_path / "broken_model_xyz.py").write_text("def broken(:\n")
        (tmp_path / "raising_model_xyz.py").write_text("raise ValueError('no licence')\n")
        monkeypatch.syspath_prepend(tmp_path)
        yield
        for name in ("users_model_xyz", "broken_model_xyz", "raising_model_xyz"):
            sys.modules.pop(name, None)

    def test_is_named_by_where_it_lives(self):
        recipe = parse(Recipe, {"model": {"name": "users_model_xyz:Mine", "width": 16, "size": 32}})
        assert type(recipe.model).__name__ == "Mine"
        assert (recipe.model.width, recipe.model.size) == (16, 32)
        assert recipe.model.create((1, 4, 4), 3, seed=0)[1].weight.shape == (3, 16)

    def test_goes_through_unparse(self):
        recipe = parse(Recipe, {"model": "users_model_xyz:Mine"})
        assert unparse(recipe)["model"]["name"] == "users_model_xyz:Mine"
        assert parse(Recipe, unparse(recipe)) == recipe

    def test_its_own_mistakes_have_paths(self):
        found = problems({"model": {"name": "users_model_xyz:Mine", "width": "wide", "depth": 3}})
        assert sorted(line.split(":")[0] for line in found) == ["model.depth", "model.width"]

    @pytest.mark.parametrize(
        "name",
        [
            "no_such_module_xyz:Mine",
            "users_model_xyz:Other",
            "broken_model_xyz:Mine",
            "raising_model_xyz:Mine",
            ":Mine",
            ".users_model_xyz:Mine",
            "users_model_xyz:",
        ],
    )
    def test_what_cannot_be_imported_is_a_mistake_in_the_recipe(self, name):
        problem = the_problem({"model": name})
        assert problem.startswith(f"model.name: model '{name}' cannot be imported")

    @pytest.mark.parametrize("name", ["NoModel", "value"])
    def test_what_is_no_model_is_a_mistake_in_the_recipe(self, name):
        problem = the_problem({"model": f"users_model_xyz:{name}"})
        assert problem.startswith("model.name: ") and "not a model" in problem and "Model" in problem

    def test_a_strategy_is_no_model(self):
        assert "not a model" in the_problem({"model": "xal.strategies.entropy:Entropy"})


def test_differences_name_the_paths():
    one, other = unparse(Recipe()), unparse(Recipe(seed=3, model=Convnet(filters=8)))
    assert differences(one, one) == []
    assert [line.split(":")[0] for line in differences(one, other)] == ["model.filters", "seed"]


class TestLoad:
    def test_reads_a_file_and_settings(self, tmp_path):
        path = tmp_path / "recipe.yaml"
        path.write_text("strategy: entropy\nseed: 4\n")
        assert load(path, ["seed=5"]) == Recipe(strategy=Entropy(), seed=5)

    def test_an_empty_file_is_the_default(self, tmp_path):
        (tmp_path / "recipe.yaml").write_text("# nothing\n")
        assert load(tmp_path / "recipe.yaml") == Recipe()

    @pytest.mark.parametrize(
        ("content", "word"), [(b"train: [", "YAML"), (b"- a\n", "mapping"), (b"\xff\xfe\xff", "YAML"), (None, "read")]
    )
    def test_what_is_no_recipe_is_said_with_its_name(self, tmp_path, content, word):
        path = tmp_path / "recipe.yaml"
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(ConfigError, match=word) as caught:
            load(path)
        assert str(path) in str(caught.value)


def test_there_are_recipes():
    assert "quickstart" in {path.stem for path in PIPELINES}


@pytest.mark.parametrize("path", PIPELINES, ids=lambda path: path.stem)
def test_a_recipe_parses_and_opens_with_its_command(path):
    recipe = load(path)
    assert recipe.strategies
    command = "run" if recipe.search is None else "tune"
    assert path.read_text(encoding="utf-8").splitlines()[0] == f"# xal {command} pipelines/{path.name}"


@pytest.mark.parametrize("path", PIPELINES, ids=lambda path: path.stem)
def test_a_recipe_names_no_field_twice(path):
    """YAML takes the last of two equal keys without a word."""

    def check(node):
        if isinstance(node, yaml.MappingNode):
            keys = [key.value for key, _ in node.value]
            assert len(keys) == len(set(keys)), f"{keys} at {node.start_mark}"
            for _, value in node.value:
                check(value)
        if isinstance(node, yaml.SequenceNode):
            for value in node.value:
                check(value)

    check(yaml.compose(path.read_text(encoding="utf-8")))


def test_sections_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Recipe().seed = 3


def test_yaml_bombs_and_repeated_keys_are_refused() -> None:
    bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 10)
    )
    for text, message in [
        (bomb, "more than 100,000 values"),
        ("[" * 60 + "]" * 60, "nested more than 50 deep"),
        ("seed: 1\nseed: 2\n", "the key 'seed' comes twice"),
        ("a: 2001-99-99", "not YAML"),
        ("a: [", "not YAML"),
    ]:
        with pytest.raises(ConfigError, match=message):
            load_yaml(text, "r.yaml")
