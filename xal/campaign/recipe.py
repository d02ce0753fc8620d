"""A recipe: what one file says of a campaign, and the runs (arms x seeds) it stands for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import Field

from xal.campaign.annotators import Annotator, Oracle
from xal.campaign.search_space import Search
from xal.campaign.simulated import Simulated
from xal.config import override, parse, unparse
from xal.data.demo import demo_pool, demo_test
from xal.data.payloads import pool_shape
from xal.data.pool import Pool
from xal.engine import Engine, RayEngine
from xal.errors import ConfigError, DataError
from xal.explainers import Ebano, Explainer
from xal.feedback import Feedback
from xal.feedback.unused import Unused
from xal.models import Model
from xal.models.convnet import Convnet
from xal.models.model import Shape
from xal.models.training import TrainSettings
from xal.strategies import Strategy
from xal.strategies.ebano import EbanoUncertainty


@dataclass(frozen=True, kw_only=True)
class PoolSection:
    """Where the items are."""

    source: str = "demo"
    """`demo` (8,000 Fashion-MNIST images in the package), a Parquet file, or a folder of them."""
    test: str | None = None
    """A labelled pool to evaluate on; null: the demo's own test set, else what there is to validate on."""
    validation: str | None = None
    """A labelled pool to choose the best epoch by; null: a share of the labelled items, train.validation."""
    classes: tuple[str, ...] | None = None
    """Class names in order; null: as the pool says."""

    def open(self) -> Pool:
        """The pool; DataError where there is none."""
        return demo_pool() if self.source == "demo" else Pool.open(self.source)


@dataclass(frozen=True, kw_only=True)
class Budget:
    """How many labels are asked for."""

    initial: Annotated[int, Field(ge=2)] = 100
    """Items drawn at random before the first round."""
    balanced: bool = False
    """Draw those evenly from all classes, by the pool's own labels: a simulation's start."""
    per_round: Annotated[int, Field(ge=1)] = 100
    rounds: Annotated[int, Field(ge=0)] = 5

    @property
    def total(self) -> int:
        """Labels asked for in all."""
        return self.initial + self.per_round * self.rounds


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A campaign, every field with a default."""

    pool: PoolSection = field(default_factory=PoolSection)
    model: Model = field(default_factory=Convnet)
    train: TrainSettings = field(default_factory=TrainSettings)
    strategy: Strategy | None = None
    """The query strategy; null: ebano_uncertainty, unless there are arms."""
    arms: dict[str, Strategy] | None = None
    """Strategies to compare by name, everything else equal; instead of `strategy`."""
    explainer: Explainer | None = field(default_factory=Ebano)
    """Explains what strategies ask for, and every queried item; null: no explanations are shown. A recipe file with a
    model of texts or tables has shap_partition, unless it names another."""
    explainers: dict[str, Explainer] = field(default_factory=dict)
    """Other explainers for single arms, by the arm's name: to compare settings of one strategy."""
    annotator: Annotator = field(default_factory=Oracle)
    feedback: Feedback | None = None
    """What becomes of corrections of explanations; null: none are asked for. A recipe file with feedback has as
    strategy margin and as explainer lime with 5 repeats (of cali_ranking: self_explaining), unless it names others."""
    feedbacks: dict[str, Feedback] = field(default_factory=dict)
    """Others for single arms, by the arm's name."""
    judge: Annotated[int, Field(ge=0)] = 0
    """Items of the test pool, drawn at random, whose explanations are held against what the pool says matters."""
    budget: Budget = field(default_factory=Budget)
    engine: Engine = field(default_factory=RayEngine)
    seed: Annotated[int, Field(ge=0)] = 0
    seeds: tuple[Annotated[int, Field(ge=0)], ...] | None = None
    """Repeat every arm with each seed; instead of `seed`."""
    search: Search | None = None
    """What `xal tune` looks for."""

    def __post_init__(self) -> None:
        problems = []
        if self.arms is not None and self.strategy is not None:
            problems.append("arms: give `strategy` or `arms`, not both")
        if self.arms is not None and not self.arms:
            problems.append("arms: name at least one strategy")
        if self.seeds is not None and len(set(self.seeds)) != max(len(self.seeds), 1):
            problems.append(f"seeds: expected distinct seeds, got {list(self.seeds)}")
        for name, strategy in self.strategies.items():
            if not name.replace("-", "").replace("_", "").isalnum():
                problems.append(f"arms: '{name}' names a folder; use letters, digits, - and _")
            explainer = self.explainers.get(name, self.explainer)
            problems += [f"explainer: {line}" for line in self._misfits(strategy, explainer)]
            problems += self._unteachable(self.feedbacks.get(name, self.feedback), explainer)
            lacking = explainer.wants - self.model.offers if explainer is not None else None
            if explainer is not None and lacking:
                problems.append(
                    f"explainer: '{explainer.name}' needs {', '.join(sorted(lacking))}, which model "
                    f"'{self.model.name}' does not have; shap_partition and lime explain any model"
                )
        for name in sorted(set(self.explainers) - set(self.arms or {})):
            there = f"arms: {', '.join(self.arms)}" if self.arms else "there are none, only `strategy`"
            problems.append(f"explainers: '{name}' is no arm; {there}")
        for name in sorted(set(self.feedbacks) - set(self.arms or {})):
            problems.append(f"feedbacks: '{name}' is no arm; arms: {', '.join(self.arms or {}) or 'none'}")
        for feedback in [self.feedback, *self.feedbacks.values()]:
            lacking = feedback.wants - self.model.offers if feedback is not None else None
            if feedback is not None and lacking:
                problems.append(
                    f"feedback: '{feedback.name}' needs {', '.join(sorted(lacking))}, which model "
                    f"'{self.model.name}' does not have; counterexamples teach any model"
                )
            if feedback is not None and feedback.shown == "gold" and not isinstance(self.annotator, Simulated):
                problems.append("feedback.shown: how many truly matter is known in simulations alone; give a number")
        if problems:
            raise ConfigError(list(dict.fromkeys(problems)))

    def _misfits(self, strategy: Strategy, explainer: Explainer | None) -> list[str]:
        """Why the explainer does not serve the strategy."""
        rounds = self.budget.rounds
        steps = {step.name: step for step in (strategy.at(round, rounds) for round in range(1, rounds + 1))}
        lines = []
        for step in steps.values():
            if not {"explanations", "represented"} & (step.needs | step.prepare_needs):
                continue
            if explainer is None:
                return [f"strategy '{strategy.name}' needs explanations; name an explainer"]
            if "represented" in step.needs | step.prepare_needs and self.explains_concepts(explainer):
                lines.append(f"strategy '{step.name}' compares items by their parts; take senn with phi: identity")
            if explainer.space not in step.spaces:
                why = "has no nPIR and nPIRP; take ebano"
                if "shared" in step.spaces:
                    why = "finds features of its own in every image; take one whose features all items share"
                lines.append(f"strategy '{step.name}' cannot read explanations by '{explainer.name}', which {why}")
        return lines

    def explains_concepts(self, explainer: Explainer | None) -> bool:
        """Whether what is explained are concepts of the model's own, and no parts of an item."""
        return explainer is not None and "self_explaining" in explainer.wants and "concepts" in self.model.offers

    def _unteachable(self, feedback: Feedback | None, explainer: Explainer | None) -> list[str]:
        """Why corrections of the explainer's explanations do not serve the feedback."""
        if feedback is None:
            return []
        if explainer is None:
            return [f"feedback: '{feedback.name}' asks about explanations; name an explainer"] if feedback.shown else []
        exact = "self_explaining" in explainer.wants
        if "self_explaining" in feedback.wants:
            lines = [f"train.flip: '{feedback.name}' corrects pixels where they were shown; set it to false"]
            lines = lines if self.train.flip else []
            if not exact:
                lines.append(f"explainer: '{feedback.name}' corrects what the model says itself; take self_explaining")
            return lines
        if self.explains_concepts(explainer) and not isinstance(feedback, Unused):
            return [f"feedback: '{feedback.name}' changes parts of items, and concepts are none; take cali_ranking"]
        return []

    @property
    def strategies(self) -> dict[str, Strategy]:
        """Arm name -> strategy."""
        if self.arms is not None:
            return dict(self.arms)
        strategy = self.strategy or EbanoUncertainty()
        return {strategy.name.replace(":", "-").replace(".", "-"): strategy}

    def of(self, arm: str) -> Recipe:
        """What an arm runs: with the explainer and the feedback of its own, if it has any."""
        if arm not in self.explainers and arm not in self.feedbacks:
            return self
        return replace(
            self,
            arms={arm: self.strategies[arm]},
            explainer=self.explainers.get(arm, self.explainer),
            explainers={},
            feedback=self.feedbacks.get(arm, self.feedback),
            feedbacks={},
        )

    def shape(self, pool: Pool) -> Shape:
        """Of an item of the pool as the network takes it; ConfigError where model or explainer want another kind."""
        problems = []
        if self.model.kind != pool.kind:
            encoder = pool.kind == "text" and getattr(self.model, "encoder", False) is None
            how = "; give it an encoder, such as tfidf" if encoder else ""
            problems.append(f"model: '{self.model.name}' takes {self.model.kind}, the pool holds {pool.kind}{how}")
        for feedback in [self.feedback, *self.feedbacks.values()]:
            if feedback is not None and pool.kind not in feedback.kinds:
                kinds = ", ".join(sorted(feedback.kinds))
                problems.append(f"feedback: '{feedback.name}' takes {kinds}, the pool holds {pool.kind}")
        for explainer in [self.explainer, *self.explainers.values()]:
            why = explainer.unfit(pool.kind) if explainer is not None else None
            if explainer is not None and why:
                problems.append(f"explainer: '{explainer.name}' {why}")
        if problems:
            raise ConfigError(problems)
        if pool.kind == "image" and self.model.size and self.model.channels:
            return self.model.shape((3, 1, 1))
        return self.model.shape(pool_shape(pool))

    def open_pool(self) -> Pool:
        """The pool; raises DataError, or ConfigError where the budget is over it."""
        pool = self.pool.open()
        if self.budget.total > len(pool):
            raise ConfigError(
                [
                    f"budget: {self.budget.initial} + {self.budget.rounds} x {self.budget.per_round} = "
                    f"{self.budget.total} labels, but the pool holds {len(pool)}; lower initial, per_round or rounds"
                ]
            )
        return pool

    def open_test(self) -> Pool | None:
        """The test pool, if there is one."""
        if self.pool.test is None and self.pool.source == "demo":
            return demo_test()
        return _labelled(self.pool.test, "pool.test")

    def open_validation(self) -> Pool | None:
        """The validation pool, if there is one."""
        return _labelled(self.pool.validation, "pool.validation")

    def classes(self, pool: Pool) -> tuple[str, ...]:
        """Class names in order; at least two."""
        names = self.pool.classes or pool.classes
        if len(names) < 2 or len(set(names)) != len(names):
            raise ConfigError([f"pool.classes: expected two or more distinct names, got {list(names)}; list them here"])
        return names


def _labelled(path: str | None, field: str) -> Pool | None:
    if path is None:
        return None
    pool = Pool.open(path)
    if not pool.has_labels:
        raise DataError(f"{field}: {path} has no `label` column")
    return pool


@dataclass(frozen=True, kw_only=True)
class RunSpec:
    """One run of a recipe: an arm with a seed, in a directory of its own."""

    recipe: Recipe
    arm: str
    seed: int
    directory: Path
    until: int | None = None
    """Stop after this round; None: after the last."""
    ledger: str | None = None
    """URL of the PostgreSQL database of a new run's ledger; None: SQLite in the directory."""
    base: Path | None = None
    """A run of the same recipe and seed whose round 0, the same in every arm, need not be computed again."""

    @property
    def strategy(self) -> Strategy:
        """The arm's strategy."""
        return self.recipe.strategies[self.arm]

    def identity(self) -> dict[str, Any]:
        """What decides the outcome: all of the recipe but where it runs."""
        whole: dict[str, Any] = unparse(self.recipe)
        engine = whole.pop("engine")
        for key in ("arms", "explainers", "feedbacks", "seeds", "search"):
            del whole[key]
        for key in ("feedback", "judge"):  # as runs were before there were any
            if not whole[key]:
                del whole[key]
        rounding = {key: engine[key] for key in ("batch", "threads", "precision", "compiled")}
        return whole | {"strategy": unparse(self.strategy), "seed": self.seed, "engine": rounding}


def load(path: Path | str, settings: list[str] | None = None) -> Recipe:
    """Read a recipe; raises ConfigError with every mistake in it."""
    path = Path(path)
    try:
        mapping = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError([f"cannot be read: {error.strerror or error}"], str(path)) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError([f"not YAML: {error}"], str(path)) from error
    if mapping is None:
        mapping = {}
    if not isinstance(mapping, Mapping):
        raise ConfigError(["expected a mapping of sections"], str(path))
    mapping = dict(mapping)
    override(mapping, settings or [])
    if mapping.get("feedback"):  # CAIPI's loop: closest to the margin, LIME with repeats; CALI's explains itself
        if not mapping.get("arms"):
            mapping.setdefault("strategy", "margin")
        taught = _parsed(Feedback, mapping["feedback"])
        exact = taught is not None and "self_explaining" in taught.wants
        mapping.setdefault("explainer", "self_explaining" if exact else {"name": "lime", "repeats": 5})
    model = _parsed(Model, mapping["model"]) if mapping.get("model") else None
    if model is not None and model.kind != "image":
        mapping.setdefault("explainer", "shap_partition")
    recipe: Recipe = parse(Recipe, mapping, str(path))
    return recipe


def _parsed(family: type[Any], given: Any) -> Any:
    """The component; None where it is none, which the recipe's own parsing will say."""
    try:
        return parse(family, given)
    except ConfigError:
        return None


def runs(recipe: Recipe, directory: Path, seeds: tuple[int, ...] | None = None) -> list[RunSpec]:
    """The runs of a recipe, seed by seed, each in `directory/ARM-seedN`."""
    chosen = seeds or recipe.seeds or (recipe.seed,)
    return [
        RunSpec(recipe=recipe.of(arm), arm=arm, seed=seed, directory=directory / f"{arm}-seed{seed}")
        for seed in chosen
        for arm in recipe.strategies
    ]
