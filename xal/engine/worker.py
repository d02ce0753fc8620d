"""The worker of every engine: holds the latest model on a device and runs tasks on shards, batch by batch."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from xal.core.answers import check_explanations, check_numbers, check_probabilities
from xal.core.failures import is_storage_error, known_error
from xal.core.threads import threads
from xal.data.sharding import Block
from xal.engine.tasks import UNREADABLE, ModelRef, ShardResult, ShardTask, check_failures
from xal.errors import ResourceError, RunError, XalError
from xal.explainers import Explainer
from xal.models.model import Classifier, Placement, Precision, Weights
from xal.store.artefacts import read_weights
from xal.store.explanation_cache import ExplanationCache
from xal.types import Evidence, Explanations

BATCH_TO_BLAME = 8  # if all items of a batch of at least this size fail, blame the model, not the items


def pick_device(device: str) -> str:
    """The torch device; `auto` is the GPU if this process sees one. Raises ResourceError for a missing GPU."""
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ResourceError(f"engine.device is '{device}' but this process sees no GPU; set engine.device: cpu or auto")
    return device


class Worker:
    """Holds the latest model on a device, through all passes of a campaign."""

    def __init__(
        self, device: str = "auto", threads: int = 1, precision: Precision = "float32", compiled: bool = False
    ) -> None:
        self.device, self.threads = pick_device(device), threads
        self.placement = Placement(device=self.device, precision=precision, compiled=compiled)
        self.baselines: Any = None
        """Labelled items on the classifier's device, for explainers that need them; None: there are none."""
        self._version = ""
        self._classifier: Classifier | None = None
        self._caches: dict[Path, ExplanationCache] = {}

    def classifier(self, ref: ModelRef) -> Classifier:
        """The model of `ref`, loaded if its version differs from that of the last call."""
        if self._classifier is None or self._version != ref.version:
            arrays = read_weights(ref.weights)
            weights = Weights(arrays=arrays, shape=ref.shape, n_classes=ref.n_classes)
            self._classifier = ref.model.classifier(weights, self.placement)
            self._version = ref.version
            self._caches.clear()
            self.baselines = None if ref.baselines is None else on_device(ref.baselines, self._classifier.device)
        return self._classifier

    def run(self, task: ShardTask, block: Block) -> ShardResult:
        """Run the task on a block, one batch at a time.

        Items that cannot be decoded, or that fail even in a batch of one, are reported with the reason. Raises RunError
        if more than `task.max_failures` items fail, or all items of a batch of at least BATCH_TO_BLAME.
        """
        good = np.asarray(block["good"], bool)
        unreadable = [(str(item), UNREADABLE) for item in block["id"][~good]]
        with threads(self.threads):
            if task.model is not None and not task.without_model:
                # loaded before the batches, so that unreadable weights do not count as failed items,
                # and outside inference mode, so that the weights are no inference tensors
                self.classifier(task.model)
            values = self._values(task, block, good, unreadable)
        return ShardResult(
            value=task.reduce(values, np.asarray(block["row"], np.int64)),
            items=len(good),
            first=int(block["row"][0]) if len(good) else 0,
            unreadable=tuple(unreadable),
        )

    def _values(
        self, task: ShardTask, block: Block, good: npt.NDArray[np.bool_], unreadable: list[tuple[str, str]]
    ) -> list[Any]:
        values: list[Any] = []
        with torch.inference_mode():
            for batch in _batches(block, good, whole=task.without_model):
                batch_values = self._map(task, batch, unreadable)
                if not batch_values and len(batch["id"]) >= BATCH_TO_BLAME:
                    item, reason = unreadable[-1]
                    raise RunError(f"all {len(batch['id'])} items of a batch fail, the last, '{item}': {reason}")
                values += batch_values
        return values

    def _map(self, task: ShardTask, columns: Block, failed: list[tuple[str, str]]) -> list[Any]:
        """[value] of a batch; if the batch fails, out of memory or otherwise, the values of its halves."""
        try:
            return [task.map(self._evidence(task, columns), columns)]
        except XalError:
            raise
        except Exception as error:  # user code may raise anything; its message is reported
            if is_storage_error(error):
                raise ResourceError(f"scoring stopped: {known_error(error)}") from error
            reason = f"{type(error).__name__}: {error}"
        if torch.cuda.is_available():
            torch.cuda.empty_cache()  # free the memory of the whole batch before its halves run
        n_items = len(columns["id"])
        if n_items == 1:
            failed.append((str(columns["id"][0]), reason[:500]))
            check_failures(failed, task.max_failures)
            return []
        half = n_items // 2
        parts = [{name: values[part] for name, values in columns.items()} for part in (slice(half), slice(half, None))]
        return [value for part in parts for value in self._map(task, part, failed)]

    def _evidence(self, task: ShardTask, columns: Block) -> Evidence:
        ids, rows = columns["id"].astype(object), columns["row"]
        if not task.needs:
            return Evidence(ids=ids, rows=rows)
        interpretable_input = columns.get("words")
        if task.without_model:
            if interpretable_input is None:
                interpretable_input = _explainer(task).to_interpretable(on_device(columns["payload"], "cpu"))
            return Evidence(ids=ids, rows=rows, interpretable_input=interpretable_input)
        if task.encoder is not None:
            encoding = task.encoder.load({}).to(self.device)
            vectors = np.asarray(encoding.vectors(columns["payload"]), np.float32)
            return Evidence(ids=ids, rows=rows, embeddings=vectors)
        if task.model is None and task.on_vectors:
            return Evidence(ids=ids, rows=rows, embeddings=np.asarray(columns["payload"], np.float32))
        if task.model is None:
            raise XalError("this pass needs predictions, but there is no trained model yet; label and train first")
        classifier: Any = self.classifier(task.model)  # what it has besides predictions, the recipe has checked
        if task.on_vectors:
            classifier = classifier.head
        inputs = on_device(columns["payload"], classifier.device)
        model, n_classes = f"model '{task.model.model.name}'", task.model.n_classes
        probabilities = embeddings = explanations = contrastive = sampled = None
        if "contrastive" in task.needs:
            probabilities, embeddings, contrastive = (part.cpu().numpy() for part in classifier.contrast(inputs))
            embeddings = embeddings if "embeddings" in task.needs else None
        elif "embeddings" in task.needs:
            probabilities, embeddings = (part.cpu().numpy() for part in classifier.embed(inputs))
        elif "probabilities" in task.needs:
            probabilities = classifier.probabilities(inputs).cpu().numpy()
        if probabilities is not None:
            check_probabilities(model, probabilities, n_classes, ids)
        if embeddings is not None:
            check_numbers(model, "embeddings", embeddings, (len(ids), None), "a row an item", ids)
        if contrastive is not None:
            check_numbers(model, "contrastive explanations", contrastive, (len(ids), None), "a row an item", ids)
        if "sampled_probabilities" in task.needs:
            sampled = classifier.sampled_probabilities(inputs).cpu().numpy()
            check_numbers(model, "sampled probabilities", sampled, (len(ids), None, n_classes), "draws an item", ids)
        if "explanations" in task.needs:
            explanations = self._explain(task, classifier, [str(item) for item in ids], inputs)
        if "interpretable_input" in task.needs:
            interpretable_input = _explainer(task).to_interpretable(inputs)
        return Evidence(
            ids=ids,
            rows=rows,
            probabilities=probabilities,
            embeddings=embeddings,
            explanations=explanations,
            interpretable_input=interpretable_input,
            contrastive=contrastive,
            sampled_probabilities=sampled,
        )

    def _explain(self, task: ShardTask, classifier: Any, ids: list[str], inputs: Any) -> Explanations:
        """The items' explanations, from the cache where it has them; the others are computed and cached."""
        cache = None
        if task.explanation_cache is not None:
            cache = self._caches.setdefault(task.explanation_cache, ExplanationCache(task.explanation_cache))
        order, parts = cache.get(ids) if cache else ([], [])
        cached = set(order)
        missing = [index for index, item in enumerate(ids) if item not in cached]
        if missing:
            missing_ids = [ids[index] for index in missing]
            classes = task.explained
            target = None if classes is None else torch.tensor([classes[item] for item in missing_ids])
            explainer = _explainer(task)
            computed = explainer.explain(classifier, inputs[missing], target, self.baselines)
            n_classes = 0 if task.model is None else task.model.n_classes
            check_explanations(f"explainer '{explainer.name}'", computed, n_classes, missing_ids)
            if cache:
                cache.put(missing_ids, computed)
            order, parts = order + missing_ids, [*parts, computed]
        index_of = {item: index for index, item in enumerate(order)}
        return Explanations.concatenate(parts).take([index_of[item] for item in ids])


def on_device(inputs: Any, device: Any) -> Any:
    """Images and features as a tensor on the device; texts unchanged."""
    if inputs.dtype == object:
        return inputs
    return torch.from_numpy(np.require(inputs, requirements=("C", "W"))).to(device)


def _explainer(task: ShardTask) -> Explainer:
    if task.explainer is None:
        raise XalError("the strategy needs explanations; name an explainer in the recipe")
    return task.explainer


def _batches(block: Block, good: npt.NDArray[np.bool_], whole: bool) -> Iterator[Block]:
    """The decoded items of the block batch by batch; `whole`: all in one batch."""
    batches = np.zeros(len(good)) if whole else np.asarray(block["batch"])
    edges = [0, *(np.flatnonzero(np.diff(batches)) + 1).tolist(), len(good)]  # rows of a batch follow each other
    for start, stop in pairwise(edges):
        part = {name: values[start:stop] for name, values in block.items()}
        kept = good[start:stop]
        if kept.any():
            yield part if kept.all() else {name: values[kept] for name, values in part.items()}
