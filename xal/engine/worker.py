"""Holds the latest model on a device and does tasks on shards, batch by batch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load

from xal.core.threads import threads
from xal.data.sharding import Block
from xal.engine.tasks import UNREADABLE, ModelRef, ShardResult, ShardTask, check_failures
from xal.errors import NumericalError, ResourceError, RunError, XalError
from xal.explainers import Explainer
from xal.models.model import Classifier, Placement, Precision, Weights
from xal.store.explanation_cache import ExplanationCache
from xal.types import Evidence, Explanations

BATCH_TO_BLAME = 8  # where so many items fail together, without exception, it is not for what they hold


def pick_device(device: str) -> str:
    """`auto`: the GPU where this process sees one. A GPU asked for and absent is an error."""
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ResourceError(f"engine.device is '{device}' but this process sees no GPU; set engine.device: cpu or auto")
    return device


class Worker:
    """Holds the latest model on a device; lives through the campaign, whatever the pass."""

    def __init__(
        self, device: str = "auto", threads: int = 1, precision: Precision = "float32", compiled: bool = False
    ) -> None:
        self.device, self.threads = pick_device(device), threads
        self.placement = Placement(device=self.device, precision=precision, compiled=compiled)
        self.baselines: Any = None
        """Labelled items on the device of the classifier; None: there are none."""
        self._version = ""
        self._classifier: Classifier | None = None
        self._caches: dict[Path, ExplanationCache] = {}

    def classifier(self, ref: ModelRef) -> Classifier:
        """The model of `ref`, loaded when its version is new."""
        if self._classifier is None or self._version != ref.version:
            arrays = {name: tensor.numpy() for name, tensor in load(ref.weights.read_bytes()).items()}
            weights = Weights(arrays=arrays, shape=ref.shape, n_classes=ref.n_classes)
            self._classifier = ref.model.classifier(weights, self.placement)
            self._version = ref.version
            self._caches.clear()
            self.baselines = None if ref.baselines is None else on_device(ref.baselines, self._classifier.device)
        return self._classifier

    def run(self, task: ShardTask, block: Block) -> ShardResult:
        """Do the task on a block, a batch at a time.

        What cannot be decoded, and what fails even alone, is reported with the reason. Raises RunError where more
        than `task.max_failures` items fail, or all of a batch: then the items are not to blame.
        """
        good = np.asarray(block["good"], bool)
        unreadable = [(str(item), UNREADABLE) for item in block["id"][~good]]
        with threads(self.threads):
            if task.model is not None and not task.without_model:
                # here, so that weights that cannot be read are not the items' fault, and are no inference tensors
                self.classifier(task.model)
            values = self._values(task, block, good, unreadable)
        return ShardResult(
            value=task.join(values),
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
                found = self._map(task, batch, unreadable)
                if not found and len(batch["id"]) >= BATCH_TO_BLAME:
                    item, reason = unreadable[-1]
                    raise RunError(f"all {len(batch['id'])} items of a batch fail, the last, '{item}': {reason}")
                values += found
        return values

    def _map(self, task: ShardTask, columns: Block, failed: list[tuple[str, str]]) -> list[Any]:
        """The value of a batch; of one that fails, for want of memory or otherwise, the values of its halves."""
        try:
            return [task.map(self._evidence(task, columns), columns)]
        except XalError:
            raise
        except Exception as error:  # a user's code may raise anything; what it raised is kept
            reason = f"{type(error).__name__}: {error}"
        if torch.cuda.is_available():
            torch.cuda.empty_cache()  # or the halves find the memory of the whole still taken
        items = len(columns["id"])
        if items == 1:
            failed.append((str(columns["id"][0]), reason[:500]))
            check_failures(failed, task.max_failures)
            return []
        half = items // 2
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
        if task.model is None:
            raise XalError("this pass needs predictions, and there is no trained model yet")
        classifier = self.classifier(task.model)
        inputs = on_device(columns["payload"], classifier.device)
        probabilities = embeddings = explanations = None
        if "embeddings" in task.needs:
            probabilities, embeddings = (part.cpu().numpy() for part in classifier.embed(inputs))
        elif "probabilities" in task.needs:
            probabilities = classifier.probabilities(inputs).cpu().numpy()
        if probabilities is not None and not np.isfinite(probabilities).all():
            broken = ~np.isfinite(probabilities).all(axis=1)
            raise NumericalError(
                f"the model gives probabilities that are not finite for {int(broken.sum())} of {len(ids)} items, "
                f"first for id '{ids[broken][0]}'; look at its weights (round's train.lr) and at that item"
            )
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
        )

    def _explain(self, task: ShardTask, classifier: Any, ids: list[str], inputs: Any) -> Explanations:
        """By item from where they are kept; what is not there is computed, and kept."""
        cache = None
        if task.explanation_cache is not None:
            cache = self._caches.setdefault(task.explanation_cache, ExplanationCache(task.explanation_cache))
        known, parts = cache.get(ids) if cache else ([], [])
        have = set(known)
        missing = [number for number, item in enumerate(ids) if item not in have]
        if missing:
            classes = task.explained
            target = None if classes is None else torch.tensor([classes[ids[number]] for number in missing])
            fresh = _explainer(task).explain(classifier, inputs[missing], target, self.baselines)
            new = [ids[number] for number in missing]
            if cache:
                cache.put(new, fresh)
            known, parts = known + new, [*parts, fresh]
        place = {item: number for number, item in enumerate(known)}
        return Explanations.concatenate(parts).take([place[item] for item in ids])


def on_device(inputs: Any, device: Any) -> Any:
    """Images and features as a tensor on the device, texts as they are."""
    if inputs.dtype == object:
        return inputs
    return torch.from_numpy(np.require(inputs, requirements=("C", "W"))).to(device)


def _explainer(task: ShardTask) -> Explainer:
    if task.explainer is None:
        raise XalError("the strategy needs explanations; give the recipe an explainer")
    return task.explainer


def _batches(block: Block, good: npt.NDArray[np.bool_], whole: bool) -> Iterator[Block]:
    """The decoded items of each batch of the block; of all together where no network sees them."""
    numbers = np.zeros(len(good)) if whole else np.asarray(block["batch"])
    for number in np.unique(numbers):
        chosen = np.flatnonzero((numbers == number) & good)
        if len(chosen):
            yield block if len(chosen) == len(good) else {name: values[chosen] for name, values in block.items()}
