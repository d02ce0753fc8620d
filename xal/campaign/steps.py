"""The four steps of a round: query, label, train, evaluate.

Each step commits once: it writes its artefacts under their final names, then records them in one ledger transaction. It
returns the number of labels that it waits for.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from xal.annotators.annotator import Request
from xal.campaign.corrections import Applied, CorrectionTraining
from xal.campaign.ebano_augment import write_copies
from xal.campaign.explanation_evaluator import ExplanationEvaluator
from xal.campaign.given_labels import given_items, given_labels
from xal.campaign.identity import add_classes, claim, classes_of, label_space_of
from xal.campaign.query_record import examine, items_of
from xal.campaign.run_spec import RunSpec
from xal.campaign.sampling import drawn_baselines, holdout
from xal.campaign.stop_set import observe
from xal.core.answers import check_answers
from xal.core.paths import remove
from xal.core.progress import Reporter
from xal.core.rng import HashRng
from xal.data.pool import Pool
from xal.engine.coordinator import Coordinator
from xal.engine.engine import Session
from xal.engine.tasks import UNREADABLE, ModelRef
from xal.engine.training_job import TrainJob
from xal.errors import DataError, RunError, XalError
from xal.evaluation.relevance import has_relevance
from xal.evaluation.right_reasons import trust
from xal.store.artefacts import EXPLANATION_CACHE, GIVEN, ITEMS, SYNTHETIC, WEIGHTS, write_parts
from xal.store.atomic import writing
from xal.store.directory import step_folder
from xal.store.ledger import Ledger, Queried, Step
from xal.strategies.fallback import filled_up
from xal.types import Correction


class PoolUsedUp(RunError):
    """No item is left to query: the campaign ends with what it has."""


class RunSteps:
    """The steps of one run; creating it checks that the directory belongs to the run's recipe and pool."""

    def __init__(self, spec: RunSpec, session: Session, ledger: Ledger, reporter: Reporter) -> None:
        self.spec, self.session, self.ledger, self.reporter = spec, session, ledger, reporter
        self.recipe, self.directory = spec.recipe, spec.directory
        self.pools, self.pool = spec.pools, spec.pools.pool
        self.rng = HashRng(spec.seed)
        for line in claim(spec, ledger):
            reporter.say(f"{spec.directory}: changed from here on: {line}")
        self.label_space = label_space_of(ledger)

    def query(self, round: int, started: float, size: int | None = None) -> int:
        """Choose a batch of `size` items; None: of the size in the recipe's budget.

        Round 0 also takes the items that a partly labelled pool has labels for.
        """
        budget = self.recipe.budget
        size = size or (budget.per_round if round else budget.initial)
        labels = {} if round else given_labels(self.recipe, self.pool)
        model = self._model(round - 1)
        strategy = self.recipe.start if model is None else self.spec.strategy
        earlier = self.ledger.queried()
        coordinator = self._coordinator(model)
        coordinator.unreadable.update(self.ledger.unreadable())
        items = given_items(labels, self.ledger, coordinator)
        if items:  # their labels may have added classes
            self.label_space = replace(self.label_space, classes=classes_of(self.ledger))
        given = {item.id: labels[item.row] for item in items}
        rng = self.rng.child("round", round)
        while True:
            if not round and budget.balanced:
                query = coordinator.balanced(size, self.label_space, rng)
            else:
                query = coordinator.query(
                    strategy,
                    size,
                    rng,
                    round=round,
                    n_rounds=budget.rounds,
                    labelled=[item.id for item in (*earlier, *items)],
                    labelled_rows=np.array([item.row for item in earlier], np.int64),
                    labels=self._labels(earlier),
                )
            if not len(query) and not given:
                raise PoolUsedUp(f"round {round}: no item of the pool is left to query")
            record = examine(coordinator, query, self.recipe.explainer is not None)
            if not record.unreadable:
                break
            # the strategy chose items without decoding them: choose others
            coordinator.unreadable |= dict.fromkeys(record.unreadable, UNREADABLE)
        with self._artefact(round, "query") as folder:
            rows = np.array([item.row for item in items], np.int64)
            write_parts(folder / ITEMS, items_of(self.pool, np.concatenate([query.items.rows, rows])))
            queried = record.write(query, strategy, round, self.label_space, folder)
            queried += [replace(item, rank=len(query) + item.rank) for item in items]
        chosen = {reason: query.reasons.count(reason) for reason in dict.fromkeys(query.reasons)}
        if model is None and round:
            self.reporter.say("there is no model to ask: the training labels are of one class so far")
        self._commit(
            round,
            "query",
            started,
            {"chosen": chosen, "items": dict(coordinator.items), "unreadable": len(coordinator.unreadable)},
            f"{len(query)} items ({', '.join(f'{count} by {name}' for name, count in chosen.items())})"
            + filled_up(strategy, chosen)
            + (f", and {len(given)} that the pool has labels for" if given else ""),
            artefact=True,
            queried=queried,
            labels=given,
            annotator="pool",
            unreadable={item: reason for item, reason in coordinator.unreadable.items() if item not in query.items.ids},
        )
        return 0

    def label(self, round: int, started: float) -> int:
        """Take the batch's labels and corrections from the annotator; returns the number of missing labels."""
        items = self.ledger.queried(round)
        request = Request(
            directory=self.directory,
            round=round,
            items=[item for item in items if item.reason != GIVEN],
            pool=self.pool,
            shape=self.pools.shape,
            label_space=self.label_space,
            rng=self.rng.child("round", round),
            feedback=self.recipe.feedback,
        )
        open_items = {item.id for item in items if item.waits}
        annotator = f"annotator '{self.recipe.annotator.name}'"
        answers = self.recipe.annotator.annotate(request) if open_items else {}
        check_answers(annotator, "labels", answers, {item.id for item in items}, str)
        new = {item: label for item, label in answers.items() if item in open_items}
        if self.label_space.unknown(new.values()):
            self.label_space = add_classes(self.ledger, new.values())
        unknown = self.label_space.unknown(new.values())
        if unknown:
            raise XalError(
                f"{annotator} gave labels outside the classes: {', '.join(unknown[:5])}; add them with: xal classes "
                f"{self.directory} add NAME, or set pool.new_classes"
            )
        corrections = dict(self.recipe.annotator.correct(request, new)) if new else {}
        check_answers(annotator, "corrections", corrections, new.keys(), Correction)
        waiting = len(open_items) - len(new)
        if waiting:
            self.ledger.add_labels(new, self.recipe.annotator.name, corrections)
            return waiting
        self.label_space = replace(self.label_space, classes=classes_of(self.ledger))  # labels may have added some
        metrics, corrected = self._correction_metrics(request, new, corrections)
        left_out = Counter(item.left_out for item in items if item.left_out is not None)
        labels = len(items) - left_out.total()
        without = f", {', '.join(f'{count} {answer}' for answer, count in left_out.items())}" if left_out else ""
        self._commit(
            round,
            "label",
            started,
            {"labels": labels} | ({"left_out": dict(left_out)} if left_out else {}) | metrics,
            f"{labels} labels{without}{corrected} by {self.recipe.annotator.name}",
            labels=new,
            corrections=corrections,
            annotator=self.recipe.annotator.name,
        )
        return 0

    def _correction_metrics(
        self, request: Request, new: Mapping[str, str], corrections: Mapping[str, Correction]
    ) -> tuple[dict[str, Any], str]:
        """(metrics, summary): the model's predictions and explanations against the round's labels and corrections."""
        feedback = self.recipe.feedback
        if feedback is None:
            return {}, ""
        labels = {item.id: item.label for item in request.items if item.label is not None} | dict(new)
        ids = [item.id for item in request.items]
        earlier = {item: row.correction for item, row in self.ledger.corrections().items() if item in labels}
        metrics: dict[str, Any] = trust(request.items, labels, earlier | dict(corrections))
        rows = np.array([item.row for item in request.items], np.int64)
        metrics |= self._evaluator(self.pool).metrics(rows, ids, request.explanations())
        return metrics, f" and {metrics['corrections']} corrections"

    def train(self, round: int, started: float) -> int:
        """Fit the model to all labels so far, with this round's synthetic items and the corrections."""
        items = [item for item in self.ledger.queried() if item.label is not None]
        labels = self._labels(items)
        held = frozenset(self._holdout(items))
        trained = {label for item, label in labels.items() if item not in held}
        if len(trained) < 2:
            skipped = "the training labels have fewer than two classes"
            self._commit(round, "train", started, {"skipped": skipped}, f"skipped: {skipped}")
            return 0
        last = self._trained(round - 1) if self.recipe.train.start == "finetune" else None
        with self._artefact(round, "train") as folder:
            augmented = self._augment(round, held, folder)
            applied = (
                self._correction_training.write(folder, items, self.ledger.corrections(), held)
                if self._correction_training
                else Applied()
            )
            root = self.directory.resolve()  # workers run elsewhere
            job = TrainJob(
                model=self.recipe.model,
                shape=self.pools.shape,
                n_classes=len(self.label_space),
                item_files=(
                    *(root / step_folder(earlier, "query") / ITEMS for earlier in range(round + 1)),
                    *sorted(root.glob(f"{GIVEN}-*/{ITEMS}")),
                ),
                labels=labels,
                holdout=held,
                settings=self.recipe.train,
                seed=self.rng.child("train", round).integer,
                start=None if last is None else self._weights(last),
                head_only=round < self.recipe.train.head_only_rounds,
                synthetic=tuple(
                    path.resolve() for path in (*([augmented] if augmented else []), *applied.counterexamples)
                ),
                feedback=self.recipe.feedback,
                correction_targets=applied.correction_targets and applied.correction_targets.resolve(),
                validation=self.pools.validation,
                class_index=self.label_space.index,
                embeddings=self.pool.embeddings,
                memory_mb=self.recipe.engine.train_memory_mb,
            )
            advance = self.reporter.stage(f"round {round} train", self.recipe.model.progress_unit)
            metrics = self.session.train(job, folder.resolve() / WEIGHTS, advance) | {
                "n_classes": len(self.label_space)
            }
        remove(self.directory / EXPLANATION_CACHE)  # its explanations are of the previous model
        copies = f" and {metrics['synthetic_items']} synthetic" if metrics["synthetic_items"] else ""
        best = (
            f"hyperparameter {metrics['hyperparameter']:g}"
            if "hyperparameter" in metrics
            else f"epoch {metrics['best_epoch']} of {metrics['epochs']}"
        )
        summary = f"{metrics['train_items']} items{copies}, best {best}"
        if applied.idle:
            metrics["idle_corrections"] = applied.idle
            summary += f"; {applied.idle} corrections changed nothing"
        self._commit(round, "train", started, metrics, summary, artefact=True)
        return 0

    @cached_property
    def _correction_training(self) -> CorrectionTraining | None:
        if self.recipe.feedback is None:
            return None
        return CorrectionTraining(
            directory=self.directory,
            feedback=self.recipe.feedback,
            pool=self.pool,
            test=self.pools.test,
            shape=self.pools.shape,
            label_space=self.label_space,
            rng=self.rng,
        )

    def _augment(self, round: int, held: frozenset[str], folder: Path) -> Path | None:
        """Write the strategy's synthetic copies, none of held-out items, which would leak; None: there are none."""
        for part in self.spec.strategy.parts() if round else ():
            plan = part.augmentation
            if plan is None:
                continue
            items = [item for item in self.ledger.queried(round) if item.label is not None and item.id not in held]
            items = [item for item in items if item.reason == part.name]
            if not items:
                continue
            coordinator = self._coordinator(self._model(round - 1))
            chosen = items[: plan.limit]  # sorted by rank
            query = self.directory / step_folder(round, "query")
            write_copies(folder / SYNTHETIC, plan, chosen, self.label_space.index, coordinator, query)
            return folder / SYNTHETIC
        return None

    def evaluate(self, round: int, started: float) -> int:
        """Evaluate the round's model on the test pool, else the validation pool, else the held-out items."""
        model = self._model(round)
        if model is None:
            self._commit(round, "evaluate", started, {"skipped": "no model"}, "skipped: no model yet")
            return 0
        coordinator = self._coordinator(model)
        metrics: dict[str, Any]
        measured = self.pools.measured
        if measured is not None:
            name = "validation" if self.pools.test is None else "test"
            metrics = coordinator.measure(measured, self.label_space) | {"on": name}
        else:
            metrics = self._evaluate_holdout(coordinator)
        if self.recipe.evaluate_explanations and measured is not None and has_relevance(measured):
            on_measured = replace(coordinator, pool=measured, explanation_cache=None)
            metrics |= self._evaluator(measured).sampled(on_measured, self.recipe.evaluate_explanations)
        summary = f"accuracy {metrics['accuracy']:.4f} on {metrics['on']}"
        if "answers_only" in metrics:
            metrics["answers_only"] = self.label_space.decode(metrics["answers_only"])
            summary += f"; every answer is '{metrics['answers_only']}'"
        if self.recipe.stop is not None:
            with self._artefact(round, "evaluate") as folder:
                own = replace(coordinator, unreadable=dict(self.ledger.unreadable()))  # of the pool, not of the test
                metrics["stop"] = observe(self.recipe.stop, own, self.rng, self.directory, round, folder)
        if coordinator.unreadable:
            metrics["left_out"] = coordinator.unreadable  # reasons by id; the metrics are of the other items
            summary += f", without {len(coordinator.unreadable)} items"
        self._commit(round, "evaluate", started, metrics, summary)
        return 0

    def _evaluator(self, pool: Pool) -> ExplanationEvaluator:
        k = self.recipe.feedback.shown if self.recipe.feedback else None
        return ExplanationEvaluator(
            pool=pool, shape=self.pools.shape, label_space=self.label_space, k=k, explainer=self.recipe.explainer
        )

    def _evaluate_holdout(self, coordinator: Coordinator) -> dict[str, Any]:
        items = {item.id: item for item in self.ledger.queried() if item.label is not None}
        held = self._holdout(list(items.values()))
        if not held:
            raise DataError("nothing to evaluate on; give pool.test, or raise train.validation")
        rows = np.array([items[item].row for item in held], np.int64)
        evidence = coordinator.collect(rows, frozenset({"probabilities"}), "evaluate")
        if evidence is None or evidence.probabilities is None:
            raise DataError("nothing to evaluate on: no held-out item can be read; give pool.test")
        predicted = evidence.probabilities.argmax(axis=1)
        hits = [
            self.label_space.decode(p) == items[item].label for item, p in zip(evidence.ids, predicted, strict=True)
        ]
        return {"accuracy": float(np.mean(hits)), "test_items": len(hits), "on": "validation"}

    def _holdout(self, items: list[Queried]) -> list[str]:
        """Ids of the validation split; [] with a validation pool, or a test pool and a model that needs no split."""
        if self.pools.validation is not None or (
            self.pools.test is not None and not self.recipe.model.needs_validation
        ):
            return []
        return holdout([item.id for item in items], self.rng, self.recipe.train.validation)

    def _coordinator(self, model: ModelRef | None) -> Coordinator:
        return Coordinator(
            session=self.session,
            pool=self.pool,
            shape=self.pools.shape,
            model=model,
            explainer=self.recipe.explainer,
            progress=lambda stage: self.reporter.stage(stage),
            explanation_cache=self.directory / EXPLANATION_CACHE,
        )

    def _labels(self, items: Sequence[Queried]) -> dict[str, int]:
        return {item.id: self.label_space.index[item.label] for item in items if item.label is not None}

    def _model(self, round: int) -> ModelRef | None:
        """The latest model of the rounds up to this one; None: there is none yet."""
        step = self._trained(round)
        if step is None:
            return None
        return ModelRef(
            model=self.recipe.model,
            weights=self._weights(step),
            version=f"{self.directory.resolve()}#{step.round}",
            shape=self.pools.shape,
            n_classes=step.metrics.get("n_classes", len(self.label_space)),
            baselines=drawn_baselines(
                self.recipe.explainer, self.pool, self.pools.shape, self.ledger.queried, self.spec.seed, step.round
            ),
        )

    def _trained(self, round: int) -> Step | None:
        """The last train step with a model, of the rounds up to this one."""
        steps = [step for step in self.ledger.steps("train") if step.round <= round and step.artefact is not None]
        return max(steps, key=lambda step: step.round, default=None)

    def _weights(self, step: Step) -> Path:
        return (self.directory / str(step.artefact) / WEIGHTS).resolve()

    def _artefact(self, round: int, step: str) -> Any:
        return writing(self.directory, step_folder(round, step))

    def _commit(
        self,
        round: int,
        step: str,
        started: float,
        metrics: dict[str, Any],
        summary: str,
        *,
        artefact: bool = False,
        **record: Any,
    ) -> None:
        seconds = time.perf_counter() - started
        location = step_folder(round, step) if artefact else None
        self.ledger.commit(round, step, seconds=seconds, metrics=metrics, artefact=location, **record)
        self.reporter.say(f"round {round}/{self.recipe.budget.rounds} {step:<8} {seconds:6.1f} s  {summary}")
