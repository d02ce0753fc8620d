"""Batched partition SHAP compared with shap's PartitionExplainer, which explains one item at a time, and captum.

    python benchmarks/partition_shap.py [--json FILE] [--repeats 5] [--only text,image,cores,long]

text: SST-5 sentences, linear SVM over TF-IDF. image: Fashion-MNIST, the convnet, a grid of 7 x 7 patches. shap gets our
tree and masker, so that its values are the same; the table shows the largest difference, in float64. Both use the
cores that torch uses. "bare model calls" are only the model's calls for the same coalitions in batches, with texts
split and images composed in advance. captum has no Owen values; its KernelShap gets the same number of evaluations.
cores: texts on Ray with one actor and with two, and, to show what a second core can gain, with one and with two plain
processes that get their texts in advance. long: peak memory of a process that explains the 32 longest posts of two of
the 20 newsgroups together with a text of 11,821 words, the length of the longest post of all 20.
"""

import gzip
import itertools
import json
import os
import resource
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
from safetensors.numpy import save_file
from shap_reference import image_masker, owen, text_masker
from table import arguments, seconds, show, write

from xal.core import hashed_words
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
from xal.models.model import Weights
from xal.models.sklearn.linear_svm import LinearSvm
from xal.models.torch.convnet import Convnet
from xal.models.training_data import TrainContext, TrainingData
from xal.strategies.alex import Alex
from xal.types import Evidence, Labelled

TEXTS, IMAGES, CANDIDATES, FEW = 1000, 50, 10_000, 25
"""Numbers of items; captum is slow and explains only the first FEW."""
EVALS, BATCH = 500, 10
LONG, LONGEST_WORDS = 32, 11_821


class Recorded:
    """Maskable items that record the coalitions that are evaluated."""

    def __init__(self, masked: MaskedItems) -> None:
        self.masked, self.calls = masked, []
        self.n_features, self.max_items = masked.n_features, masked.max_items
        self.mask_bytes = masked.mask_bytes

    def value(self, items: Any, masks: Any) -> Any:
        self.calls.append((items, masks))
        return self.masked.value(items, masks)


def main() -> None:
    parser = arguments(__doc__)
    parser.set_defaults(repeats=5)
    parser.add_argument("--only", default="text,image,cores,long")
    options = parser.parse_args()
    keep_freed_memory()
    measures: dict[str, float] = {}
    for name in options.only.split(","):
        measures |= {"text": text, "image": image, "cores": cores, "long": long}[name](options.repeats)
    parts = {name: value for name, value in measures.items() if name.endswith(("_diff", "_calls"))}
    for name in ("max_abs_diff", "ratio_to_model_calls"):
        values = [value for key, value in parts.items() if key.endswith(name)]
        measures |= {name: max(values)} if values else {}
    write(options.json, measures)


def long(repeats: int) -> dict[str, float]:
    with ProcessPoolExecutor(1, get_context("spawn")) as process:
        words, peak = process.submit(explain_long_posts).result()
    show("long texts", ["texts", "words of the longest", "peak memory, MB"], [[LONG + 1, words, f"{peak:.0f}"]])
    return {"long_text_mb": peak}


def explain_long_posts() -> tuple[int, float]:
    """(words of the longest text, peak memory of this process in MB)."""
    with gzip.open(data_folder() / "20news" / "atheism_christian.jsonl.gz", "rt", encoding="utf-8") as lines:
        posts = [json.loads(line) for line in lines]
    texts = sorted((post["text"] for post in posts), key=len)
    split = " ".join(texts[-LONG:]).split()
    longest = " ".join(itertools.islice(itertools.cycle(split), LONGEST_WORDS))
    chosen = np.array([*texts[-LONG:], longest], object)
    train = np.array([post["text"] for post in posts[::4]], object)
    labels = np.array([post["group"] == posts[0]["group"] for post in posts[::4]], np.int64)
    data = TrainingData(inputs=train, labels=labels, n_classes=2, shape=(), n_labelled=len(train))
    model = LinearSvm(encoder=Tfidf())
    arrays = model.fit(data, TrainContext()).arrays
    ShapPartition().explain(model.classifier(Weights(arrays=arrays, shape=(), n_classes=2)), chosen)
    return len(hashed_words.tokens(longest)), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def sentences(split: str) -> tuple[list[str], np.ndarray]:
    items = list(treebank(data_folder() / "sst5" / f"{split}.txt.gz", True).items)
    texts = [item.raw for item in items]
    return texts, np.array([CLASSES.index(item.label or "") for item in items])


def svm() -> tuple[LinearSvm, Weights]:
    texts, labels = sentences("train")
    model, n = LinearSvm(encoder=Tfidf()), 3000
    data = TrainingData(
        inputs=np.array(texts[:n], object), labels=labels[:n], n_classes=len(CLASSES), shape=(), n_labelled=n
    )
    fitted = model.fit(data, TrainContext())
    return model, Weights(arrays=fitted.arrays, shape=(), n_classes=len(CLASSES))


@cache
def trained() -> Any:
    model, weights = svm()
    return model.classifier(weights)


def text(repeats: int) -> dict[str, float]:
    classifier = trained()
    texts = [text for text in sentences("test")[0] if len(text.split()) > 1][:TEXTS]
    inputs = np.array(texts, object)
    predicted = classifier.probabilities(inputs).argmax(1).numpy()
    masked = mask_items(classifier, inputs, "probability")
    assert isinstance(masked, MaskedTexts)
    trees, tokens = masked.trees(), masked.texts.tokens

    def theirs() -> list[np.ndarray]:
        predict = lambda masked: classifier.probabilities(np.asarray(masked, object)).numpy()  # noqa: E731
        return [
            owen(predict, text_masker(tree, words), number, EVALS, BATCH)
            for tree, words, number in zip(trees, tokens, predicted, strict=True)
        ]

    def captums() -> None:
        for item, words in enumerate(tokens[:FEW]):
            index = np.full(1, item)
            kernel = captum.attr.KernelShap(
                lambda kept, index=index: torch.from_numpy(masked.value(index.repeat(len(kept)), kept.bool().numpy()))
            )
            ones = torch.ones(1, len(words))
            kernel.attribute(ones, target=int(predicted[item]), n_samples=EVALS, perturbations_per_eval=BATCH)

    return compared(
        "text", "SST-5, linear SVM over TF-IDF", classifier, inputs, masked, predicted, theirs, captums, repeats
    )


def image(repeats: int) -> dict[str, float]:
    model = Convnet()
    classifier = TorchClassifier(model, model.create((1, 28, 28), len(CLOTHES), seed=0))
    table = demo_pool().read_span(0, IMAGES, ["image"])
    images = torch.from_numpy(decode(table["image"].to_pylist(), (1, 28, 28))[0])
    predicted = classifier.probabilities(images).argmax(1).numpy()
    masked = mask_items(classifier, images, "probability")
    assert isinstance(masked, MaskedImages)

    def predict(composed: np.ndarray) -> np.ndarray:
        return classifier.probabilities(torch.from_numpy(composed)).numpy()

    def theirs() -> list[np.ndarray]:
        maskers = (
            image_masker(tree, pixels.numpy(), blurred.numpy(), masked.segments[0])
            for tree, pixels, blurred in zip(masked.trees(), masked.images, masked.mask_value[0], strict=True)
        )
        return [owen(predict, masker, number, EVALS, BATCH) for masker, number in zip(maskers, predicted, strict=True)]

    def captums() -> None:
        segments = torch.from_numpy(masked.segments)[None]
        kernel = captum.attr.KernelShap(classifier.probabilities)
        for pixels, blurred, number in zip(masked.images[:FEW], masked.mask_value[0], predicted, strict=False):
            kernel.attribute(
                pixels[None],
                blurred[None],
                target=int(number),
                feature_mask=segments,
                n_samples=EVALS,
                perturbations_per_eval=BATCH,
            )

    with torch.inference_mode():
        measures = compared(
            "image", "28 x 28, convnet", classifier, images, masked, predicted, theirs, captums, repeats
        )
        model64 = TorchClassifier(Doubled(), classifier.module.double())
        masked = mask_items(model64, images.double(), "probability")
        output = model64.probabilities(images.double()).numpy()[np.arange(IMAGES), predicted]
        values, _ = owen_values(masked, masked.trees(), predicted, output, EVALS, BATCH)
        predict64 = lambda composed: model64.probabilities(torch.from_numpy(composed)).numpy()  # noqa: E731
        differences = []
        for item, (pixels, blurred) in enumerate(zip(masked.images, masked.mask_value[0], strict=True)):
            masker = image_masker(masked.trees()[item], pixels.numpy(), blurred.numpy(), masked.segments[0])
            differences.append(np.abs(owen(predict64, masker, predicted[item], EVALS, BATCH) - values[item]).max())
    print(
        f"image: largest difference {max(differences):.3g} in float64, {measures['image_max_abs_diff']:.3g} in float32"
    )
    return measures | {"image_max_abs_diff": float(max(differences))}


class Doubled(Convnet):
    """The convnet in float64."""

    def preprocess(self, images: torch.Tensor) -> torch.Tensor:
        return images.double() / 255


def compared(
    name: str, title: str, classifier: Any, inputs: Any, masked: Any, predicted: np.ndarray,
    theirs: Callable[[], list[np.ndarray]], captums: Callable[[], None], repeats: int,
) -> dict[str, float]:  # fmt: skip
    explainer = ShapPartition(max_evals=EVALS, batch_size=BATCH)
    recorded, n_features, items = Recorded(masked), masked.n_features, np.arange(len(predicted))
    output = recorded.value(items, np.arange(int(n_features.max())) < n_features[:, None])[items, predicted]
    owen_values(recorded, masked.trees(), predicted, output, EVALS, BATCH)  # type: ignore[arg-type]
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
    explanations = explainer.explain(classifier, inputs)
    reference = theirs()
    ours = owen_values(masked, masked.trees(), predicted, output, EVALS, BATCH)[0]
    difference = max(float(np.abs(ours[i, : len(r)] - r).max()) for i, r in enumerate(reference))
    explainer.check(explanations)
    times = seconds(
        {
            "xal": lambda: explainer.explain(classifier, inputs),
            "bare model calls": lambda: [call() for call in calls],
            "shap": theirs,
            "captum KernelShap": captums,
        },
        repeats,
    )
    times["captum KernelShap"] *= len(predicted) / FEW
    n_coalitions = sum(len(items) for items, _ in recorded.calls)
    rows = [
        [name, 1e3 * time / len(predicted), len(predicted) / time, time / times["xal"]] for name, time in times.items()
    ]
    show(
        f"{title}: {len(predicted)} items, {n_coalitions:,} coalitions; largest difference from shap {difference:.2g}",
        ["", "ms per item", "items/s", "time / ours"],
        rows,
    )
    return {
        f"{name}_speedup": times["shap"] / times["xal"],
        f"{name}_over_captum": times["captum KernelShap"] / times["xal"],
        f"{name}_max_abs_diff": difference,
        f"{name}_ratio_to_model_calls": times["xal"] / times["bare model calls"],
    }


def plain(texts: list[str]) -> int:
    """Explain texts in a process as an actor does: on one thread, 256 at a time."""
    keep_freed_memory()
    torch.set_num_threads(1)
    for at in range(0, len(texts), 256):
        ShapPartition().explain(trained(), np.array(texts[at : at + 256], object))
    return len(texts)


def cores(repeats: int) -> dict[str, float]:
    """Explain and score 10,000 texts with one actor and with two, and with plain processes."""
    model, weights = svm()
    texts = [text for split in ("train", "test") for text in sentences(split)[0]][:CANDIDATES]
    with tempfile.TemporaryDirectory() as scratch:
        writer = PoolWriter(Path(scratch) / "pool.parquet", "text", labelled=False)
        for number, text_of_item in enumerate(texts):
            writer.add(f"{number:05d}", text_of_item)
        writer.close(CLASSES)
        save_file(dict(weights.arrays), Path(scratch) / "weights.safetensors")
        pool = Pool.open(Path(scratch) / "pool.parquet")
        ref = ModelRef(model=model, weights=Path(scratch) / "weights.safetensors", version="1", shape=(), n_classes=5)
        strategy, explainer = Alex(), ShapPartition()
        first = np.array(texts[:200], object)
        explained = explainer.explain(model.classifier(weights), first)
        evidence = Evidence(ids=first, rows=np.arange(200), explanations=explained)
        labelled = Labelled(evidence=evidence, labels=explained.explained_class)
        task = Score(
            needs=strategy.needs, model=ref, explainer=explainer, strategy=strategy, rng=HashRng(0), keep=100,
            state=strategy.prepare(labelled, None, None),
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
                    passes = session.run(pool, task, shape=(), rows=np.arange(len(pool)))
                    items = sum(result.items for result in passes)
                    times.setdefault(("actors", actors), []).append(perf_counter() - started)
                for number, processes in pools.items():
                    started = perf_counter()
                    assert sum(processes.map(plain, [texts[at::number] for at in range(number)])) == items
                    times.setdefault(("plain processes", number), []).append(perf_counter() - started)
        medians = {key: float(np.median(values[1:])) for key, values in times.items()}
    rows = [[f"{name}: {number}", time, items / time] for (name, number), time in medians.items()]
    show(f"{items:,} texts explained, {os.cpu_count()} cores", ["", "seconds", "items/s"], rows)
    return {
        "two_core_speedup": medians["actors", 1] / medians["actors", 2],
        "two_plain_processes_speedup": medians["plain processes", 1] / medians["plain processes", 2],
    }


if __name__ == "__main__":
    main()
