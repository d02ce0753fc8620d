"""A recipe: what one file says of a campaign."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import Field

from xal.annotators import Annotator
from xal.annotators.oracle import Oracle
from xal.campaign.search_settings import Search
from xal.core.config import override, parse
from xal.engine import Engine, RayEngine
from xal.errors import ConfigError
from xal.explainers import Explainer
from xal.feedback import Feedback
from xal.models import Model
from xal.models.torch.convnet import Convnet
from xal.models.train_settings import TrainSettings
from xal.strategies import Strategy


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
    new_classes: bool = False
    """Whether a label that is no class yet becomes one, after the others; false: it is refused."""


@dataclass(frozen=True, kw_only=True)
class Budget:
    """How many labels are asked for."""

    initial: Annotated[int, Field(ge=2)] = 100
    """Items drawn at random before the first round."""
    balanced: bool = False
    """Draw those evenly from all classes, by the pool's own labels: a simulation's start."""
    per_round: Annotated[int, Field(ge=1)] = 100
    """Items a round after the first."""
    rounds: Annotated[int, Field(ge=0)] = 5
    """Rounds after the first."""

    @property
    def total(self) -> int:
        """Labels asked for in all."""
        return self.initial + self.per_round * self.rounds


class _Declared(Explainer):
    """Stands for the explainer that the feedback, or else the model, declares; see Recipe.explainer."""

    def explain(self, *_: Any) -> Any:
        """Never called: the recipe puts the declared explainer in its place."""
        raise TypeError("a recipe has the explainer that its model declares")


_Declared.name = "as declared"


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A campaign, every field with a default."""

    pool: PoolSection = field(default_factory=PoolSection)
    model: Model = field(default_factory=Convnet)
    train: TrainSettings = field(default_factory=TrainSettings)
    strategy: Strategy | None = None
    """The query strategy; null: as the feedback declares (margin), else the model (ebano_uncertainty for networks with
    convolutions, margin for others), unless there are arms."""
    arms: dict[str, Strategy] | None = None
    """Strategies to compare by name, everything else equal; instead of `strategy`."""
    explainer: Explainer | None = field(default_factory=_Declared)
    """Explains what strategies ask for, and every queried item; null: no explanations are shown. By default as the
    feedback declares (lime with 5 repeats), else the model (ebano for networks with convolutions, self_explaining for
    senn, shap_partition for others)."""
    explainers: dict[str, Explainer] = field(default_factory=dict)
    """Other explainers for single arms, by the arm's name: to compare settings of one strategy."""
    annotator: Annotator = field(default_factory=Oracle)
    feedback: Feedback | None = None
    """What becomes of corrections of explanations; null: none are asked for."""
    feedbacks: dict[str, Feedback] = field(default_factory=dict)
    """Others for single arms, by the arm's name."""
    evaluate_explanations: Annotated[int, Field(ge=0)] = 0
    """Items of the test pool, drawn at random, whose explanations are compared with what the pool says is relevant."""
    budget: Budget = field(default_factory=Budget)
    engine: Engine = field(default_factory=RayEngine)
    seed: Annotated[int, Field(ge=0)] = 0
    seeds: tuple[Annotated[int, Field(ge=0)], ...] | None = None
    """Repeat every arm with each seed; instead of `seed`."""
    search: Search | None = None
    """What `xal tune` looks for."""

    def __post_init__(self) -> None:
        declares: Feedback | Model = self.feedback if self.feedback is not None else self.model
        if isinstance(self.explainer, _Declared):
            object.__setattr__(self, "explainer", parse(Explainer, declares.default_explainer))
        if self.arms is None and self.strategy is None:
            object.__setattr__(self, "strategy", parse(Strategy, declares.default_strategy))
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
            problems += self._arm_problems(strategy, self.explainers.get(name, self.explainer), self.feedback_of(name))
        for name in sorted(set(self.explainers) - set(self.arms or {})):
            there = f"arms: {', '.join(self.arms)}" if self.arms else "there are none, only `strategy`"
            problems.append(f"explainers: '{name}' is no arm; {there}")
        for name in sorted(set(self.feedbacks) - set(self.arms or {})):
            problems.append(f"feedbacks: '{name}' is no arm; arms: {', '.join(self.arms or {}) or 'none'}")
        if problems:
            raise ConfigError(list(dict.fromkeys(problems)))

    def _arm_problems(self, strategy: Strategy, explainer: Explainer | None, feedback: Feedback | None) -> list[str]:
        """Why an arm's parts do not fit together."""
        problems = [f"explainer: {line}" for line in self._unreadable(strategy, explainer)]
        if explainer is not None and (lacking := explainer.requires - self.model.provides):
            problems.append(
                f"explainer: '{explainer.name}' needs {', '.join(sorted(lacking))}, which model '{self.model.name}' "
                "does not have; shap_partition and lime explain any model"
            )
        if feedback is None:
            return problems
        if lacking := feedback.requires - self.model.provides:
            problems.append(
                f"feedback: '{feedback.name}' needs {', '.join(sorted(lacking))}, which model '{self.model.name}' does "
                "not have; counterexamples teach any model"
            )
        if feedback.shown == "gold" and not self.annotator.knows_relevance:
            problems.append("feedback.shown: how many truly matter is known in simulations alone; give a number")
        problems += feedback.problems(explainer, explains_concepts=self.explains_concepts(explainer))
        if feedback.needs_unflipped and self.train.flip:
            problems.append(f"train.flip: '{feedback.name}' corrects pixels where they were shown; set it to false")
        return problems

    def _unreadable(self, strategy: Strategy, explainer: Explainer | None) -> list[str]:
        """Why the strategy cannot read what the explainer gives."""
        lines = []
        for part in strategy.parts():
            needs = part.needs | part.prepare_needs | part.select_needs | (part.summary_needs or frozenset())
            if not needs & {"explanations", "label_explanations", "interpretable_input"}:
                continue
            if explainer is None:
                return [f"strategy '{strategy.name}' needs explanations; name an explainer"]
            if "interpretable_input" in needs and self.explains_concepts(explainer):
                lines.append(f"strategy '{part.name}' compares items by their parts; take senn with phi: identity")
            if explainer.space not in part.spaces:
                reason = "has no nPIR and nPIRP; take ebano"
                if "shared" in part.spaces:
                    reason = "finds features of its own in every image; take one whose features all items share"
                lines.append(
                    f"strategy '{strategy.name}' cannot read explanations by '{explainer.name}', which {reason}"
                )
        return lines

    def explains_concepts(self, explainer: Explainer | None) -> bool:
        """Whether what is explained are concepts of the model's own, which are no parts of an item."""
        return explainer is not None and "self_explaining" in explainer.requires and "concepts" in self.model.provides

    @property
    def strategies(self) -> dict[str, Strategy]:
        """Arm name -> strategy."""
        if self.arms is not None:
            return dict(self.arms)
        if self.strategy is None:
            return {}
        return {self.strategy.name.replace(":", "-").replace(".", "-"): self.strategy}

    def feedback_of(self, arm: str) -> Feedback | None:
        """The feedback of an arm."""
        return self.feedbacks.get(arm, self.feedback)

    def of(self, arm: str) -> Recipe:
        """What an arm runs: with the explainer and the feedback of its own, if it has any."""
        if arm not in self.explainers and arm not in self.feedbacks:
            return self
        return replace(
            self,
            arms={arm: self.strategies[arm]},
            explainer=self.explainers.get(arm, self.explainer),
            explainers={},
            feedback=self.feedback_of(arm),
            feedbacks={},
        )


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
    recipe: Recipe = parse(Recipe, mapping, str(path))
    return recipe
