"""Ask and tell: active learning from a notebook, on the same campaign, ledger and engines as recipes.

learner = xal.Learner(texts, strategy="margin")
batch = learner.ask(20)
batch.show()
learner.tell(batch, labels)
learner.predict(texts)
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
import yaml

from xal.annotators.label_file import Answers
from xal.api.batch import Batch
from xal.api.inputs import decoded, items_of, pool_at
from xal.api.models import model_section
from xal.campaign.explain import explain_inputs
from xal.campaign.identity import label_space_of
from xal.campaign.import_labels import take_answers
from xal.campaign.loop import Campaign
from xal.campaign.pools import Pools
from xal.campaign.recipe import Recipe, load
from xal.campaign.run_spec import RunSpec, runs
from xal.campaign.trained_run import TrainedRun, open_trained_run
from xal.campaign.validation import checked_pools
from xal.core.config import load_yaml, parse, unparse
from xal.core.imports import allow, allow_named, check_stored
from xal.core.progress import Reporter
from xal.core.registry import nearest
from xal.core.threads import threads
from xal.data.pool import Pool
from xal.engine.engine import Session
from xal.engine.worker import on_device
from xal.errors import LabelError, RunError, XalError
from xal.store.artefacts import explanations_in
from xal.store.atomic import copy_folder
from xal.store.directory import held, is_run, open_ledger, runs_below, step_folder
from xal.store.ledger import Ledger
from xal.store.run import Run, read_run
from xal.types import Explanations

RECIPE = "recipe.yaml"
CHUNK = 256  # items that are predicted together


class Learner:
    """A model that asks for labels.

    data: an array (n, d) of features or (n, h, w[, c]) of uint8 images, a DataFrame, a list of texts, of PIL images or
    of paths to images, a `datasets.Dataset`, or the path of a pool.
    classes: class names in order; None: as a pool says, else labels become classes as they are told.
    model: a name or mapping as in a recipe, a scikit-learn classifier, a torch module, a function or class that makes
    one from (shape, n_classes), or a `Model`; None: logistic regression (of TF-IDF for texts), for images a convnet.
    strategy, explainer, feedback: as in a recipe; None: as the model declares (`explainer=False`: none).
    test: (data, labels) to evaluate on; None: a fifth of the labelled items is held out.
    directory: where the run is kept; None: a temporary folder, until `save`.
    train, engine: sections of a recipe. batch_size: of `xal run`, where it continues the run.

    Raises ConfigError for parts that do not fit together, DataError for data that cannot be used.
    """

    def __init__(
        self,
        data: Any,
        *,
        model: Any = None,
        strategy: Any = None,
        explainer: Any = None,
        feedback: Any = None,
        classes: Sequence[str] | None = None,
        test: tuple[Any, Sequence[str]] | None = None,
        directory: str | Path | None = None,
        train: Mapping[str, Any] | None = None,
        engine: Any = "serial",
        batch_size: int = 20,
        seed: int = 0,
        verbose: bool = False,
    ) -> None:
        self._scratch = tempfile.TemporaryDirectory(prefix="xal-") if directory is None else None
        self.directory = Path(directory or self._scratch.name).resolve()  # type: ignore[union-attr]
        if (self.directory / RECIPE).exists() or (self.directory.is_dir() and runs_below(self.directory)):
            raise RunError(f"{self.directory} holds a run; xal.Learner.open(...) continues it")
        self.directory.mkdir(parents=True, exist_ok=True)
        pool = pool_at(data)
        if pool is None:
            items = items_of(data)
            pool = Pool.open(items.write(self.directory / "pool"))
        section: dict[str, Any] = {"source": str(pool.folder), "new_classes": classes is None and not pool.classes}
        if classes is not None:
            section["classes"] = [str(name) for name in classes]
        if test is not None:
            section["test"] = str(self._write_test(*test, classes or pool.classes))
        mapping: dict[str, Any] = {
            "pool": section,
            "model": model_section(model, pool.kind, self.directory, classes),
            "annotator": {"name": "file", "explanations": False, "pictures": False},
            "engine": engine,
            "seed": seed,
            "budget": _budget(len(pool), batch_size),
        }
        given = {"strategy": strategy, "explainer": explainer, "feedback": feedback, "train": train}
        mapping |= {name: value for name, value in given.items() if value is not None}
        if explainer is False:
            mapping["explainer"] = None
        recipe = parse(Recipe, mapping, "Learner")
        allow_named(unparse(recipe))
        self._start(recipe, verbose)
        (self.directory / RECIPE).write_text(yaml.safe_dump(unparse(self.recipe), sort_keys=False), encoding="utf-8")

    @classmethod
    def open(
        cls, directory: str | Path, *, model: Any = None, modules: Sequence[str] = (), verbose: bool = False
    ) -> Self:
        """Continue what `save`, or a Learner with a `directory`, left there.

        model: the torch module, or the function that makes it, where the run's was given in a notebook. modules:
        of your own, which the run's recipe may name. Raises
        RunError for a directory that holds no Learner's run.
        """
        learner = cls.__new__(cls)
        learner._scratch, learner.directory = None, Path(directory).resolve()
        if not (learner.directory / RECIPE).exists():
            raise RunError(f"{directory} holds no Learner's run: there is no {RECIPE}")
        if model is not None:
            model_section(model, "image", learner.directory, ("?",))
        text = (learner.directory / RECIPE).read_text(encoding="utf-8")
        allow(modules)
        check_stored(load_yaml(text, RECIPE), learner.directory)
        learner._start(load(learner.directory / RECIPE), verbose)
        return learner

    def _start(self, recipe: Recipe, verbose: bool) -> None:
        self.recipe = recipe
        self._pools: Pools = checked_pools(recipe)
        self._spec: RunSpec = runs(recipe, self._pools, self.directory)[0]
        self._reporter = Reporter(brief=not verbose)
        self._session: Session | None = None
        self._trained: TrainedRun | None = None

    def ask(self, n: int | None = None) -> Batch:
        """Train on all labels so far, and choose the next n items (None: batch_size); the first ones at random.

        Raises RunError while a batch waits for labels, XalError for more items than are left.
        """
        n = self.recipe.budget.per_round if n is None else n
        left = len(self._pools.pool) - self._n_queried()
        if n < 1 or n > left:
            raise XalError(f"requested {n} items, but {left} of {len(self._pools.pool)} are left to query; change n")
        with self._campaign() as campaign:
            outcome = campaign.ask(n)
            self._trained = None
            items = campaign.ledger.queried(outcome.round)
            classes = label_space_of(campaign.ledger).classes
        return Batch(
            round=outcome.round,
            items=tuple(items),
            explanations=explanations_in(self.run_directory / step_folder(outcome.round, "query")),
            classes=classes,
            pool=self._pools.pool,
            shape=self._pools.shape,
        )

    def tell(
        self,
        batch: Batch,
        labels: Sequence[Any] | Mapping[str, Any],
        corrections: Mapping[Any, Mapping[str, Sequence[str]]] | None = None,
        *,
        annotator: str = "notebook",
    ) -> int:
        """Label a batch; returns how many of its items still wait.

        labels: one an item, in the order of the batch, None where there is no answer yet; or a mapping by id.
        corrections: by id or place in the batch, what is said of the explanation's parts, by their names:
        `{"wrong": ["plot"], "missed": ["dull"]}`. All or none: raises LabelError for labels that are no classes, items
        that were not asked about, or were labelled before, and corrections of what was not shown.
        """
        by_id = self._by_id(batch, labels)
        named = self._corrections(batch, corrections or {})
        with self._ledger() as ledger:
            space = label_space_of(ledger)
            problems = [f"'{item}': {reason}" for item, label in by_id.items() if (reason := space.problem(label))]
            known = {item.id: item.label for item in ledger.queried()}
            problems += [
                f"'{item}' was labelled '{known[item]}' before" for item in by_id if known.get(item) is not None
            ]
            problems += [f"'{item}' has a correction and no label; give both" for item in named if item not in by_id]
            answers = Answers(labels=by_id, corrections=named, problems=problems)
            take_answers(self.run_directory, ledger, answers, "tell", annotator)
            return sum(item.waits for item in ledger.queried())

    def predict(self, data: Any = None) -> npt.NDArray[np.object_]:
        """(n,) predicted class names; of the learner's own data where none are given."""
        classes = np.array(self._latest().label_space.classes, object)
        return np.asarray(classes[self.predict_proba(data).argmax(axis=1)], object)

    def predict_proba(self, data: Any = None) -> npt.NDArray[np.float64]:
        """(n, c) class probabilities, in the order of `classes`. Raises RunError before anything is labelled."""
        run = self._latest()
        worker = run.worker()
        classifier = worker.classifier(run.ref)
        found = []
        with torch.inference_mode(), threads(worker.threads):
            for part in self._inputs(data, run):
                found.append(classifier.probabilities(on_device(part, classifier.device)).double().cpu().numpy())
        return np.concatenate(found)

    def explain(self, data: Any, target: str | None = None) -> Explanations:
        """Explain the predicted class of each item, or the class `target`."""
        run = self._latest()
        classes = run.label_space.classes
        if target is not None and target not in classes:
            raise XalError(f"'{target}' is not a class{nearest(target, classes)}")
        number = None if target is None else run.label_space.index[target]
        with threads(1):
            parts = [explain_inputs(run, part, number)[0] for part in self._inputs(data, run)]
        return Explanations.concatenate(parts)

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in order; those told so far where they were not given."""
        with self._ledger() as ledger:
            return label_space_of(ledger).classes or self._pools.label_space.classes

    @property
    def run(self) -> Run:
        """What the ledger holds: rounds, labels, metrics. Raises RunError before the first `ask`."""
        return read_run(self.run_directory)

    @property
    def run_directory(self) -> Path:
        """The run's own directory, as `xal status` and `xal report` take it."""
        return self._spec.directory

    def save(self, directory: str | Path) -> Path:
        """Copy the run to a new directory, which `Learner.open` and `xal run DIR/recipe.yaml --out DIR` continue."""
        destination = Path(directory).resolve()
        if destination == self.directory:
            return destination
        if destination.exists() and any(destination.iterdir()):
            raise RunError(f"{destination} is not empty; choose another directory")
        self.close()
        copy_folder(self.directory, destination)
        old, new = str(self.directory), str(destination)
        recipe = destination / RECIPE
        recipe.write_text(recipe.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
        for run in runs_below(destination):
            ledger = open_ledger(run)
            ledger.set_metadata("recipe", (ledger.metadata("recipe") or "").replace(old, new))
            ledger.close()
        return destination

    def close(self) -> None:
        """Stop the engine; what was committed is kept."""
        if self._session is not None:
            self._session.close()
            self._session = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _write_test(self, data: Any, labels: Sequence[str], classes: Sequence[str] | None) -> Path:
        pool = pool_at(data)
        if pool is not None:
            return pool.folder
        items = items_of(data)
        if len(items) != len(labels):
            raise XalError(f"test: {len(items)} items and {len(labels)} labels; give one label an item")
        names = tuple(classes or sorted({str(label) for label in labels}))
        return items.write(self.directory / "test", [str(label) for label in labels], names)

    def _n_queried(self) -> int:
        with self._ledger() as ledger:
            return len(ledger.queried())

    def _by_id(self, batch: Batch, labels: Sequence[Any] | Mapping[str, Any]) -> dict[str, str]:
        if isinstance(labels, Mapping):
            given = {str(item): label for item, label in labels.items()}
            strangers = [item for item in given if item not in batch.ids]
            if strangers:
                raise LabelError(
                    f"{len(strangers)} labels are of items that are not in the batch, first '{strangers[0]}'"
                )
        else:
            if isinstance(labels, str) or len(labels) != len(batch):
                raise LabelError(f"expected {len(batch)} labels, one for each item of the batch, got {len(labels)}")
            given = dict(zip(batch.ids, labels, strict=True))
        return {item: str(label) for item, label in given.items() if label is not None}

    def _corrections(self, batch: Batch, corrections: Mapping[Any, Any]) -> dict[str, dict[str, tuple[str, ...]]]:
        named = {}
        for key, names in corrections.items():
            item = batch.ids[key] if isinstance(key, int) and 0 <= key < len(batch) else str(key)
            if item not in batch.ids:
                raise LabelError(f"a correction is of '{key}', which is not in the batch")
            unknown = set(names) - {"wrong", "missed", "against"}
            if unknown:
                raise LabelError(f"'{item}': {', '.join(sorted(unknown))}: say wrong, missed or against")
            named[item] = {name: _names(names.get(name, ())) for name in ("wrong", "missed", "against")}
        return named

    def _inputs(self, data: Any, run: TrainedRun) -> Iterator[Any]:
        """Decoded inputs, some at a time."""
        if isinstance(data, Batch):
            column = data.pool.read(np.sort(data.positions), [data.pool.kind])[data.pool.kind]
            inputs = decoded(column, data.pool.kind, run.model.kind, run.shape)
            yield inputs[np.argsort(np.argsort(data.positions))]
            return
        pool = self._pools.pool if data is None else pool_at(data)
        if pool is not None:
            for start in range(0, len(pool), CHUNK):
                column = pool.read_span(start, min(start + CHUNK, len(pool)), [pool.kind])[pool.kind]
                yield decoded(column, pool.kind, run.model.kind, run.shape)
            return
        inputs = items_of(data).decoded(run.model.kind, run.shape)
        for start in range(0, len(inputs), CHUNK):
            yield inputs[start : start + CHUNK]

    def _latest(self) -> TrainedRun:
        """The model trained on all labels so far."""
        if self._trained is None or self._pending():
            with self._campaign() as campaign:
                campaign.train()
            self._trained = open_trained_run(self.run_directory)
        return self._trained

    def _pending(self) -> bool:
        """Whether a labelled batch has not been trained on yet."""
        if not is_run(self.run_directory):
            return True
        run = self.run
        last = max((item.round for item in run.queried), default=0)
        whole = not any(item.waits for item in run.queried)
        return whole and last not in run.of("evaluate")

    @contextmanager
    def _campaign(self) -> Iterator[Campaign]:
        if self._session is None:
            self._session = self.recipe.engine.open()
        with self._ledger() as ledger, self._reporter:
            yield Campaign(self._spec, self._session, ledger, self._reporter)

    @contextmanager
    def _ledger(self) -> Iterator[Ledger]:
        with held(self.run_directory) as ledger:
            yield ledger


def _names(given: str | Sequence[str]) -> tuple[str, ...]:
    """One name, or several."""
    return (given,) if isinstance(given, str) else tuple(map(str, given))


def _budget(n: int, batch_size: int) -> dict[str, int]:
    """What `xal run` does where it continues: batches to the end of the pool."""
    if not batch_size >= 1:
        raise XalError(f"batch_size must be at least 1, got {batch_size}")
    if n < 2:
        raise XalError(f"there is nothing to choose from: the data holds {n} item")
    first = min(max(batch_size, 2), n)
    per_round = min(batch_size, max(n - first, 1))
    return {"initial": first, "per_round": per_round, "rounds": (n - first) // per_round}
