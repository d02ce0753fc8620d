"""Partition SHAP of many items at once, against shap's PartitionExplainer item by item, and captum.

    python benchmarks/partition_shap.py [--json FILE] [--repeats 5] [--only text,image,cores]

Text: SST-5 sentences, linear SVM over TF-IDF; images: Fashion-MNIST, the convnet, a grid of 7 x 7 patches. shap is
given our tree and masker, so its values are the same: the largest difference stands beside, in float64. Both use the
machine's cores as torch does. The bare model calls are the same coalitions, in batches, with nothing around them: of
texts cut into words beforehand, of images composed beforehand. captum has no Owen values; its KernelShap is given as
many evaluations. Cores: texts on Ray by one actor and by two; and, for what a second core of the machine is worth, by
one and by two plain processes that are given their texts beforehand.
"""

import os
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from time import perf_counter
from typing import Any

import captum.attr
import numpy as np
import torch
from photos import data_folder
from safetensors.torch import save_file
from shap_reference import image_masker, owen, text_masker
from table import arguments, seconds, show, write

from xal.core.malloc import keep_freed_memory
from xal.core.rng import HashRng
from xal.data.build.treebank import CLASSES, treebank
from xal.data.build.writer import PoolWriter
from xal.data.images import decode
from xal.data.pool import Pool
from xal.datasets.demo import CLASSES as CLOTHES
from xal.datasets.demo import demo_pool
from xal.encoders.bag_of_words import Tfidf
from xal.engine.ray.engine import RayEngine
from xal.engine.tasks import ModelRef, Score
from xal.explainers.masking import MaskedImages, MaskedItems, MaskedTexts, mask_items
from xal.explainers.shap_partition import ShapPartition, owen_values
from xal.models import TorchClassifier
from xal.models.sklearn.linear_svm import LinearSvm
from xal.models.torch.convnet import Convnet
from xal.strategies.alex import Alex
from xal.types import Evidence, Labelled

TEXTS, IMAGES, CANDIDATES, FEW = 1000, 50, 10_000, 25
"""Items; captum, which is slow, explains the first FEW of them."""
EVALS, BATCH = 500, 10


class Recorded:
    """A game that notes the coalitions it is asked about."""

    def __init__(self, masked: MaskedItems) -> None:
        self.masked, self.players, self.at_once, self.calls = masked, masked.players, masked.at_once, []

    def value(self, items: Any, masks: Any) -> Any:
        self.calls.append((items, masks))
        return self.masked.value(items, masks)


def main() -> None:
    parser = arguments(__doc__)
    parser.set_defaults(repeats=5)
    parser.add_argument("--only", default="text,image,cores")
    options = parser.parse_args()
    keep_freed_memory()
    measures: dict[str, float] = {}
    for name in options.only.split(","):
        measures |= {"text": text, "image": image, "cores": cores}[name](options.repeats)
    parts = {name: value for name, value in measures.items() if name.endswith(("_diff", "_calls"))}
    for name in ("max_abs_diff", "ratio_to_model_calls"):
        found = [value for key, value in parts.items() if key.endswith(name)]
        measures |= {name: max(found)} if found else {}
    write(options.json, measures)


def sentences(split: str) -> tuple[list[str], np.ndarray]:
    items = list(treebank(data_folder() / "sst5" / f"{split}.txt.gz", True).items)
    texts = [item.raw for item in items]
    return texts, np.array([CLASSES.index(item.label or "") for item in items])


def svm() -> tuple[LinearSvm, dict[str, torch.Tensor]]:
    texts, labels = sentences("train")
    model = LinearSvm(encoder=Tfidf())
    state, _ = model.train(texts[:3000], labels[:3000], len(CLASSES), 0)
    return model, {name: torch.from_numpy(np.array(value, order="C")) for name, value in state.items()}


@cache
def trained() -> Any:
    model, weights = svm()
    return model.classifier(weights, (), len(CLASSES))


def text(repeats: int) -> dict[str, float]:
    classifier = trained()
    texts = [text for text in sentences("test")[0] if len(text.split()) > 1][:TEXTS]
    payload = np.array(texts, object)
    of = classifier.probabilities(payload).argmax(1).numpy()
    masked = mask_items(classifier, payload, "probability")
    assert isinstance(masked, MaskedTexts)
    trees, tokens = masked.trees(), masked.texts.tokens

    def theirs() -> list[np.ndarray]:
        ask = lambda left: classifier.probabilities(np.asarray(left, object)).numpy()  # noqa: E731
        return [
            owen(ask, text_masker(tree, words), number, EVALS, BATCH)
            for tree, words, number in zip(trees, tokens, of, strict=True)
        ]

    def captums() -> None:
        for item, words in enumerate(tokens[:FEW]):
            every = np.full(1, item)
            kernel = captum.attr.KernelShap(
                lambda kept, every=every: torch.from_numpy(masked.value(every.repeat(len(kept)), kept.bool().numpy()))
            )
            ones = torch.ones(1, len(words))
            kernel.attribute(ones, target=int(of[item]), n_samples=EVALS, perturbations_per_eval=BATCH)

    return compared("text", "SST-5, linear SVM over TF-IDF", classifier, payload, masked, of, theirs, captums, repeats)


def image(repeats: int) -> dict[str, float]:
    model = Convnet()
    classifier = TorchClassifier(model, model.create((1, 28, 28), len(CLOTHES), seed=0))
    table = demo_pool().read_span(0, IMAGES, ["image"])
    images = torch.from_numpy(decode(table["image"].to_pylist(), (1, 28, 28))[0])
    of = classifier.probabilities(images).argmax(1).numpy()
    masked = mask_items(classifier, images, "probability")
    assert isinstance(masked, MaskedImages)

    def ask(composed: np.ndarray) -> np.ndarray:
        return classifier.probabilities(torch.from_numpy(composed)).numpy()

    def theirs() -> list[np.ndarray]:
        maskers = (
            image_masker(tree, pixels.numpy(), blurred.numpy(), masked.segments[0])
            for tree, pixels, blurred in zip(masked.trees(), masked.images, masked.mask_value[0], strict=True)
        )
        return [owen(ask, masker, number, EVALS, BATCH) for masker, number in zip(maskers, of, strict=True)]

    def captums() -> None:
        segments = torch.from_numpy(masked.segments)[None]
        kernel = captum.attr.KernelShap(classifier.probabilities)
        for pixels, blurred, number in zip(masked.images[:FEW], masked.mask_value[0], of, strict=False):
            kernel.attribute(
                pixels[None],
                blurred[None],
                target=int(number),
                feature_mask=segments,
                n_samples=EVALS,
                perturbations_per_eval=BATCH,
            )

    with torch.inference_mode():
        found = compared("image", "28 x 28, convnet", classifier, images, masked, of, theirs, captums, repeats)
        model64 = TorchClassifier(Doubled(), classifier.module.double())
        masked = mask_items(model64, images.double(), "probability")
        output = model64.probabilities(images.double()).numpy()[np.arange(IMAGES), of]
        values, _ = owen_values(masked, masked.trees(), of, output, EVALS, BATCH)
        ask64 = lambda composed: model64.probabilities(torch.from_numpy(composed)).numpy()  # noqa: E731
        differences = []
        for item, (pixels, blurred) in enumerate(zip(masked.images, masked.mask_value[0], strict=True)):
            masker = image_masker(masked.trees()[item], pixels.numpy(), blurred.numpy(), masked.segments[0])
            differences.append(np.abs(owen(ask64, masker, of[item], EVALS, BATCH) - values[item]).max())
    print(
        f"image, in float64: largest difference {max(differences):.3g} (in float32: {found['image_max_abs_diff']:.3g})"
    )
    return found | {"image_max_abs_diff": float(max(differences))}


class Doubled(Convnet):
    """The convnet on float64."""

    def preprocess(self, images: torch.Tensor) -> torch.Tensor:
        return images.double() / 255


def compared(
    name: str, title: str, classifier: Any, payload: Any, masked: MaskedItems, of: np.ndarray,
    theirs: Callable[[], list[np.ndarray]], captums: Callable[[], None], repeats: int,
) -> dict[str, float]:  # fmt: skip
    explainer = ShapPartition(max_evals=EVALS, batch_size=BATCH)
    recorded, everyone = Recorded(masked), np.arange(int(masked.players.max())) < masked.players[:, None]
    output = recorded.value(np.arange(len(of)), everyone)[np.arange(len(of)), of]
    owen_values(recorded, masked.trees(), of, output, EVALS, BATCH)  # type: ignore[arg-type]
    calls: list[Callable[[], object]] = []
    for items, masks in recorded.calls:
        if isinstance(masked, MaskedTexts):
            calls.append(lambda items=items, masks=masks: masked.value(items, masks))
            continue
        for at in range(0, len(items), 256):
            composed = torch.where(
                torch.from_numpy(masks[at : at + 256])[:, torch.from_numpy(masked.segments[0])][:, None],
                masked.images[items[at : at + 256]],
                masked.mask_value[0][items[at : at + 256]],
            )
            calls.append(lambda composed=composed: classifier.probabilities(composed))
    values = explainer.explain(classifier, payload)
    reference = theirs()
    own = owen_values(masked, masked.trees(), of, output, EVALS, BATCH)[0]
    difference = max(float(np.abs(own[i, : len(r)] - r).max()) for i, r in enumerate(reference))
    explainer.check(values)
    timed = seconds(
        {
            "xal": lambda: explainer.explain(classifier, payload),
            "bare model calls": lambda: [call() for call in calls],
            "shap": theirs,
            "captum KernelShap": captums,
        },
        repeats,
    )
    timed["captum KernelShap"] *= len(of) / FEW
    asked = sum(len(items) for items, _ in recorded.calls)
    rows = [[each, 1e3 * time / len(of), len(of) / time, time / timed["xal"]] for each, time in timed.items()]
    show(
        f"{title}: {len(of)} items, {asked:,} coalitions; largest difference to shap {difference:.2g}",
        ["", "ms an item", "items/s", "time over ours"],
        rows,
    )
    return {
        f"{name}_speedup": timed["shap"] / timed["xal"],
        f"{name}_over_captum": timed["captum KernelShap"] / timed["xal"],
        f"{name}_max_abs_diff": difference,
        f"{name}_ratio_to_model_calls": timed["xal"] / timed["bare model calls"],
    }


def plain(texts: list[str]) -> int:
    """Texts explained in a process of its own, as an actor does: on one thread, 256 at a time."""
    keep_freed_memory()
    torch.set_num_threads(1)
    for at in range(0, len(texts), 256):
        ShapPartition().explain(trained(), np.array(texts[at : at + 256], object))
    return len(texts)


def cores(repeats: int) -> dict[str, float]:
    """10,000 texts explained and scored by one actor and by two, and by plain processes."""
    model, weights = svm()
    texts = [text for split in ("train", "test") for text in sentences(split)[0]][:CANDIDATES]
    with tempfile.TemporaryDirectory() as scratch:
        writer = PoolWriter(Path(scratch) / "pool.parquet", "text", labelled=False)
        for number, each in enumerate(texts):
            writer.add(f"{number:05d}", each)
        writer.close(CLASSES)
        save_file(weights, Path(scratch) / "weights.safetensors")
        pool = Pool.open(Path(scratch) / "pool.parquet")
        ref = ModelRef(model=model, weights=Path(scratch) / "weights.safetensors", version="1", shape=(), classes=5)
        strategy, explainer = Alex(), ShapPartition()
        first = np.array(texts[:200], object)
        explained = explainer.explain(model.classifier(weights, (), len(CLASSES)), first)
        evidence = Evidence(ids=first, rows=np.arange(200), explanations=explained)
        labelled = Labelled(evidence=evidence, labels=explained.explained_class)
        work = Score(
            needs=strategy.needs, model=ref, explainer=explainer, strategy=strategy, rng=HashRng(0), keep=100,
            state=strategy.prepare(labelled, None),
        )  # fmt: skip
        times: dict[tuple[str, int], list[float]] = {}
        with ExitStack() as stack:
            sessions = {
                actors: stack.enter_context(RayEngine(actors=actors, actor_cpus=0.3).open()) for actors in (1, 2)
            }
            pools = {
                number: stack.enter_context(ProcessPoolExecutor(number, mp_context=get_context("spawn")))
                for number in (1, 2)
            }
            for _ in range(repeats + 1):
                for actors, session in sessions.items():
                    started = perf_counter()
                    passes = session.run(pool, work, shape=(), rows=np.arange(len(pool)))
                    items = sum(partial.items for partial in passes)
                    times.setdefault(("actors", actors), []).append(perf_counter() - started)
                for number, processes in pools.items():
                    started = perf_counter()
                    assert sum(processes.map(plain, [texts[at::number] for at in range(number)])) == items
                    times.setdefault(("plain processes", number), []).append(perf_counter() - started)
        taken = {key: float(np.median(values[1:])) for key, values in times.items()}
    rows = [[f"{name}: {number}", time, items / time] for (name, number), time in taken.items()]
    show(f"{items:,} texts explained, {os.cpu_count()} cores", ["", "seconds", "items/s"], rows)
    return {
        "two_core_speedup": taken["actors", 1] / taken["actors", 2],
        "two_plain_processes_speedup": taken["plain processes", 1] / taken["plain processes", 2],
    }


if __name__ == "__main__":
    main()
