"""The recipe: one YAML file that describes a campaign."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from xal.annotators import Annotator
from xal.annotators.oracle import Oracle
from xal.campaign.search_settings import Search
from xal.core.config import load_yaml, override, parse
from xal.core.imports import allow_named
from xal.data.embeddings import Dtype
from xal.engine import Engine, RayEngine
from xal.errors import ConfigError
from xal.evaluation.stopping import StoppingRule
from xal.explainers import Explainer
from xal.feedback import Feedback
from xal.models import Model
from xal.models.torch.convnet import Convnet
from xal.models.train_settings import TrainSettings
from xal.strategies import Strategy
from xal.strategies.max_herding import MaxHerding
from xal.strategies.random import Random


@dataclass(frozen=True, kw_only=True)
class PoolSection:
    """The pools: where the items are, and their classes."""

    source: str = "demo"
    """`demo` (8,000 Fashion-MNIST images in the package), a pool (a Parquet file or a folder of them), or a folder of
    images or a table (.csv, .tsv, .xlsx, .jsonl), of which a pool is built beside it, once: NAME-pool."""
    test: str | None = None
    """A labelled pool to evaluate on; null: the demo's test set, else the validation pool, else the held-out items."""
    validation: str | None = None
    """A labelled pool to choose the best epoch by; null: a share of the labelled items, train.validation."""
    classes: tuple[str, ...] | None = None
    """Class names in order; null: those that the pool lists."""
    embeddings: str | None = None
    """Folder or URL where the vectors of the model's encoder are kept, which recipes and teams can share; null: the
    folder `embeddings` beside the pool."""
    embeddings_dtype: Dtype = "float32"
    """Type of the kept vectors; float16 takes half the space."""
    new_classes: bool = False
    """Whether a label outside the classes becomes a new class, after the others; false: it is refused."""


LABELS, ROUNDS = 10**9, 10**5
"""The largest numbers of labels a round, and of rounds."""


@dataclass(frozen=True, kw_only=True)
class Budget:
    """The number of labels to ask for."""

    initial: Annotated[int, Field(ge=0, le=LABELS)] = 100
    """Items before the first round, chosen by `start`, beside those that a partly labelled pool has labels for."""
    start: Strategy | None = None
    """Chooses the first items, before there is a model: random, or max_herding or typiclust where vectors of the items
    are kept; null: max_herding for the strategy auto, without arms, where vectors are kept; else random."""
    balanced: bool = False
    """Draw the same number from each class, by the pool's own labels: for simulations only."""
    per_round: Annotated[int, Field(ge=1, le=LABELS)] = 100
    """Items per round after round 0."""
    rounds: Annotated[int, Field(ge=0, le=ROUNDS)] = 5
    """Rounds after round 0."""
    seconds_per_label: Annotated[float, Field(gt=0)] | None = None
    """What a label costs an annotator, for the forecast of the time that more labels take; null: it is not said."""

    @property
    def total(self) -> int:
        """Labels in all rounds together."""
        return self.initial + self.per_round * self.rounds


MODELS_FOR = {
    "contrastive": "use a model that ends with a linear layer, such as logistic_regression, or explanations: explainer",
    "sampled_probabilities": "use one with several predictions for an item, such as mlp_ensemble",
}
MODEL_EVIDENCE = frozenset(MODELS_FOR)
"""Evidence that only some models give, and which do."""


class _Declared(Explainer):
    """Placeholder for the explainer that the feedback or the model declares; see Recipe.explainer."""

    def explain(self, *_: Any) -> Any:
        """Raises TypeError: a recipe replaces the placeholder."""
        raise TypeError("a recipe has the explainer that its model declares")


_Declared.name = "as declared"


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A campaign; every field has a default."""

    pool: PoolSection = field(default_factory=PoolSection)
    """The pools to query, to test on and to validate on."""
    model: Model = field(default_factory=Convnet)
    """The model to train in each round."""
    train: TrainSettings = field(default_factory=TrainSettings)
    """Settings of training, the same in every round."""
    strategy: Strategy | None = None
    """The query strategy; null: the default of the feedback (margin) or, without feedback, of the model
    (auto where an encoder's vectors are kept, ebano_uncertainty for networks with convolutions, margin for others),
    unless there are arms."""
    arms: dict[str, Strategy] | None = None
    """Strategies to compare, by arm name, everything else equal; in place of `strategy`."""
    explainer: Explainer | None = field(default_factory=_Declared)
    """Explains items for the strategy, and every queried item; null: no explanations. By default that of the feedback
    (lime with 5 repeats) or, without feedback, of the model (ebano for networks with convolutions, self_explaining for
    senn, shap_partition for others, with 64 evaluations for images by a frozen network)."""
    explainers: dict[str, Explainer] = field(default_factory=dict)
    """Explainers of single arms, by arm name, in place of `explainer`: to compare explainer settings."""
    annotator: Annotator = field(default_factory=Oracle)
    """Who labels the batches and corrects explanations."""
    feedback: Feedback | None = None
    """How corrections of explanations change training; null: annotators are not asked for corrections."""
    feedbacks: dict[str, Feedback] = field(default_factory=dict)
    """Feedbacks of single arms, by arm name, in place of `feedback`."""
    evaluate_explanations: Annotated[int, Field(ge=0)] = 0
    """Random items of the test pool whose explanations are compared with the pool's relevance column; 0: none."""
    budget: Budget = field(default_factory=Budget)
    """The number of labels to ask for."""
    engine: Engine = field(default_factory=RayEngine)
    """Where scoring and training run."""
    seed: Annotated[int, Field(ge=0)] = 0
    """The seed of all random draws."""
    seeds: tuple[Annotated[int, Field(ge=0)], ...] | None = None
    """Run every arm with each of these seeds; in place of `seed`."""
    stop: StoppingRule | None = None
    """Says, after each round, whether more labels are worth it; the campaign goes on to the end of its budget anyway.
    null: nothing is said."""
    search: Search | None = None
    """The search of `xal tune`; null: nothing to tune."""

    def __post_init__(self) -> None:
        declares: Feedback | Model = self.feedback if self.feedback is not None else self.model
        if isinstance(self.explainer, _Declared):
            default = declares.default_explainer
            object.__setattr__(self, "explainer", None if default is None else parse(Explainer, default))
        if self.arms is None and self.strategy is None:
            object.__setattr__(self, "strategy", parse(Strategy, declares.default_strategy))
        problems = []
        if self.arms is not None and self.strategy is not None:
            problems.append("arms: give `strategy` or `arms`, not both")
        if self.arms is not None and not self.arms:
            problems.append("arms: name at least one strategy")
        if self.seeds is not None and len(set(self.seeds)) != max(len(self.seeds), 1):
            problems.append(f"seeds: expected distinct seeds, got {list(self.seeds)}")
        problems += self._start_problems()
        for name, strategy in self.strategies.items():
            if not name.replace("-", "").replace("_", "").isalnum():
                problems.append(f"arms: '{name}' names a folder; use letters, digits, - and _")
            problems += self._arm_problems(strategy, self.explainers.get(name, self.explainer), self.feedback_of(name))
        for name in sorted(set(self.explainers) - set(self.arms or {})):
            arms = f"arms: {', '.join(self.arms)}" if self.arms else "the recipe has no arms, only `strategy`"
            problems.append(f"explainers: '{name}' is not an arm; {arms}")
        for name in sorted(set(self.feedbacks) - set(self.arms or {})):
            problems.append(f"feedbacks: '{name}' is not an arm; arms: {', '.join(self.arms or {}) or 'none'}")
        if problems:
            raise ConfigError(list(dict.fromkeys(problems)))

    def _arm_problems(self, strategy: Strategy, explainer: Explainer | None, feedback: Feedback | None) -> list[str]:
        """Problems of an arm whose strategy, explainer, feedback, model and annotator do not fit together."""
        problems = [f"explainer: {line}" for line in self._explanation_problems(strategy, explainer)]
        problems += self._evidence_problems(strategy)
        if explainer is not None and (missing := explainer.requires - self.model.provides):
            problems.append(
                f"explainer: '{explainer.name}' needs {', '.join(sorted(missing))}, which model '{self.model.name}' "
                "does not have; shap_partition and lime explain any model"
            )
        encoder = self.model.kept_encoder
        if encoder is not None and encoder.pool_column is not None:
            if explainer is not None and not explainer.of_embeddings:
                problems.append(
                    f"explainer: '{explainer.name}' changes items, which have no vectors in the pool's column "
                    f"'{encoder.pool_column}'; use shap_embedding, or null for none"
                )
            if feedback is not None:
                problems.append(
                    f"feedback: '{feedback.name}' is about parts of items, and the model sees vectors from the pool's "
                    f"column '{encoder.pool_column}' alone; name the encoder that made them"
                )
        if feedback is None:
            return problems
        if missing := feedback.requires - self.model.provides:
            problems.append(
                f"feedback: '{feedback.name}' needs {', '.join(sorted(missing))}, which model '{self.model.name}' does "
                "not have; counterexamples work with any model"
            )
        if feedback.shown == "gold" and not self.annotator.uses_relevance:
            problems.append("feedback.shown: gold needs annotator: simulated; give a number")
        problems += feedback.problems(explainer, explains_concepts=self.explains_concepts(explainer))
        if feedback.needs_unflipped and self.train.flip:
            problems.append(f"train.flip: '{feedback.name}' corrects pixels, which flips would move; set it to false")
        return problems

    def _evidence_problems(self, strategy: Strategy) -> list[str]:
        """Problems of a strategy that reads what this model's classifier does not give."""
        lines = []
        for part in strategy.parts():
            for need in sorted(part.all_needs & MODEL_EVIDENCE - self.model.provides):
                who = f"strategy '{part.name}' needs {need.replace('_', ' ')}"
                lines.append(f"{who}, which model '{self.model.name}' does not give; {MODELS_FOR[need]}")
        return lines

    def _explanation_problems(self, strategy: Strategy, explainer: Explainer | None) -> list[str]:
        """Problems of a strategy that cannot use the explainer's explanations."""
        lines = []
        for part in strategy.parts():
            needs = part.all_needs
            if not needs & {"explanations", "label_explanations", "interpretable_input"}:
                continue
            if explainer is None:
                return [f"strategy '{strategy.name}' needs explanations; name an explainer"]
            if "interpretable_input" in needs and self.explains_concepts(explainer):
                lines.append(f"strategy '{part.name}' compares items by their parts; use senn with phi: identity")
            if explainer.space not in part.spaces:
                reason = "has no nPIR and nPIRP; use ebano"
                if "shared" in part.spaces:
                    reason = "finds different features in each image; use one whose features all items share"
                lines.append(
                    f"strategy '{strategy.name}' cannot read explanations by '{explainer.name}', which {reason}"
                )
        return lines

    def explains_concepts(self, explainer: Explainer | None) -> bool:
        """Whether the explainer explains concepts that the model learned, which are not parts of an item."""
        if explainer is None or explainer.of_embeddings:
            return explainer is not None
        return "self_explaining" in explainer.requires and "concepts" in self.model.provides

    @property
    def start(self) -> Strategy:
        """What chooses items while there is no model, the same for all arms."""
        if self.budget.start is not None:
            return self.budget.start
        covers = self.strategy is not None and any(part.name == "auto" for part in self.strategy.parts())
        return MaxHerding() if covers and self.model.kept_encoder is not None else Random()

    def _start_problems(self) -> list[str]:
        start = self.budget.start
        if start is None:
            return []
        if self.budget.balanced and start.name != "random":
            return [f"budget.start: '{start.name}' cannot be balanced over classes; set balanced to false"]
        needs = frozenset[str]().union(*(part.all_needs for part in start.parts()))
        if needs - {"embeddings"}:
            return [f"budget.start: '{start.name}' needs a trained model; use random, max_herding or typiclust"]
        if needs and self.model.kept_encoder is None:
            return [
                f"budget.start: '{start.name}' needs vectors before there is a model, and model '{self.model.name}' "
                "keeps none; give it a frozen encoder, or use random"
            ]
        return []

    @property
    def strategies(self) -> dict[str, Strategy]:
        """Strategies by arm name; a recipe without arms has one arm, named after its strategy."""
        if self.arms is not None:
            return dict(self.arms)
        if self.strategy is None:
            return {}
        return {self.strategy.name.replace(":", "-").replace(".", "-"): self.strategy}

    def feedback_of(self, arm: str) -> Feedback | None:
        """The feedback of an arm; None: no corrections."""
        return self.feedbacks.get(arm, self.feedback)

    def of(self, arm: str) -> Recipe:
        """The recipe that an arm runs: with its own explainer and feedback, if it has any."""
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
    """Read a recipe and apply `dotted.path=value` settings; raises ConfigError that lists every mistake."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError([f"not YAML: {error}"], str(path)) from error
    except (OSError, ValueError) as error:
        raise ConfigError([f"cannot be read: {getattr(error, 'strerror', None) or error}"], str(path)) from error
    mapping = load_yaml(text, str(path))
    if mapping is None:
        mapping = {}
    if not isinstance(mapping, Mapping):
        raise ConfigError([f"expected a mapping of sections, got {type(mapping).__name__}"], str(path))
    mapping = dict(mapping)
    override(mapping, settings or [])
    allow_named(mapping, path.resolve().parent)
    recipe: Recipe = parse(Recipe, mapping, str(path))
    return recipe
