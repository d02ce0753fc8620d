"""The cost of a CALI step, and batched LIME compared with the `lime` package.

    python benchmarks/interactive.py [--json FILE] [--repeats 3] [--only cali,lime,image]

cali: a campaign on colors with one query per round, on one core. cali_step_s is the median time of a round's query (the
margin over the pool, the explanation), label (with its correction) and update (fine-tuning for two epochs on all
labelled items) after `LABELS` labels, including commits to the ledger. lime: SST-5 sentences with the linear SVM over
TF-IDF, with the same number of coalitions per item, kernel and ridge penalty, without feature selection. The package
explains the first FEW items, one at a time. lime_agreement is the mean correlation of the two explanations of an item;
lime_self_agreement is that of the package's explanations with two seeds, an upper bound due to sampling. image: the
same for SUPERPIXELS superpixels of Fashion-MNIST images with the convnet, untrained; the package gets our superpixels
and calls the network with batches of ten images.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lime.lime_image import LimeImageExplainer
from lime.lime_text import LimeTextExplainer
from partition_shap import sentences, trained
from sklearn.linear_model import Ridge
from table import arguments, seconds, show, write

from xal.campaign.experiment import run_experiment
from xal.campaign.recipe import Recipe
from xal.core import hashed_words
from xal.core.config import parse
from xal.core.malloc import keep_freed_memory
from xal.core.progress import Reporter
from xal.data.images import decode
from xal.datasets.colors import build_colors
from xal.datasets.demo import CLASSES as CLOTHES
from xal.datasets.demo import demo_pool
from xal.explainers.lime import Lime
from xal.models import TorchClassifier
from xal.models.torch.convnet import Convnet
from xal.store.run import read_run

ITEMS, FEW, SAMPLES = 1000, 20, 1000
IMAGES, SUPERPIXELS = 60, 30
LABELS, STEPS = 100, 40


def main() -> None:
    parser = arguments(__doc__)
    parser.set_defaults(repeats=3)
    parser.add_argument("--only", default="cali,lime,image")
    options = parser.parse_args()
    keep_freed_memory()
    measures: dict[str, float] = {}
    for name in options.only.split(","):
        measures |= {"cali": cali, "lime": lime, "image": image}[name](options.repeats)
    write(options.json, measures)


def cali(repeats: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        build_colors(Path(folder) / "pool", items=4000, rule=0, encoding="onehot")
        build_colors(Path(folder) / "test", items=200, rule=0, encoding="onehot", skip=4000)
        recipe = parse(
            Recipe,
            {
                "pool": {"source": f"{folder}/pool", "test": f"{folder}/test"},
                "model": {"name": "senn", "layers": 3},
                "train": {
                    "batch_size": 32,
                    "epochs": 20,
                    "validation": 0,
                    "threads": 1,
                    "start": "finetune",
                    "finetune_epochs": 2,
                },
                "explainer": "self_explaining",
                "annotator": {"name": "simulated", "corrects": "always"},
                "strategy": "margin",
                "feedback": {"name": "cali_ranking", "shown": None, "max_corrections": 4},
                "budget": {"initial": LABELS, "balanced": True, "per_round": 1, "rounds": STEPS},
                "engine": "serial",
            },
        )  # fmt: skip
        run_experiment(recipe, Path(folder) / "runs", Reporter(quiet=True))
        run = read_run(Path(folder) / "runs" / "margin-seed0")
    parts = {
        name: float(np.median([run.of(name)[round].seconds for round in range(2, STEPS + 1)]))
        for name in ("query", "label", "train")
    }
    step = float(
        np.median(
            [sum(run.of(name)[round].seconds for name in ("query", "label", "train")) for round in range(2, STEPS + 1)]
        )
    )
    show(
        f"CALI on colors, pool of 4,000, {LABELS} to {LABELS + STEPS} labels, one core: a step",
        ("part", "ms"),
        [*((name, f"{1000 * value:.1f}") for name, value in parts.items()), ("step", f"{1000 * step:.1f}")],
    )
    return {"cali_step_s": step}


def lime(repeats: int) -> dict[str, float]:
    classifier = trained()
    texts = [text for text in sentences("test")[0] if len(text.split()) > 1][:ITEMS]
    inputs = np.array(texts, object)
    predicted = classifier.probabilities(inputs).argmax(1)
    ours = Lime(samples=SAMPLES)
    explained = ours.explain(classifier, inputs, predicted)

    def theirs(seed: int) -> list[dict[str, float]]:
        explainer = LimeTextExplainer(
            bow=False, feature_selection="none", split_expression=r"\W+", mask_string="", random_state=seed
        )
        explanations = []
        for text, number in zip(texts[:FEW], predicted.tolist(), strict=False):
            explanation = explainer.explain_instance(
                text,
                lambda masked: classifier.probabilities(np.asarray(masked, object)).numpy(),
                labels=(number,),
                num_features=200,
                num_samples=SAMPLES,
                model_regressor=Ridge(alpha=1.0),
            )
            by_word: dict[str, float] = {}
            for index, value in explanation.as_map()[number]:
                word = explanation.domain_mapper.indexed_string.word(index).lower()
                by_word[word] = by_word.get(word, 0.0) + value
            explanations.append(by_word)
        return explanations

    mine = lambda first: [  # noqa: E731
        {word: float(explained.attributions[item, hashed_words.column(word)]) for word in words}
        for item, words in enumerate(first)
    ]
    return compared(
        f"LIME of SST-5 sentences, {SAMPLES} coalitions each", "lime", ITEMS,
        lambda: ours.explain(classifier, inputs, predicted), theirs, mine, repeats,
    )  # fmt: skip


def image(repeats: int) -> dict[str, float]:
    model = Convnet()
    classifier = TorchClassifier(model, model.create((3, 28, 28), len(CLOTHES), seed=0))
    table = demo_pool().read_span(0, IMAGES, ["image"])
    images = torch.from_numpy(decode(table["image"].to_pylist(), (3, 28, 28))[0])
    predicted = classifier.probabilities(images).argmax(1)
    ours = Lime(samples=SAMPLES, superpixels=SUPERPIXELS, mask_value="mean")
    explained = ours.explain(classifier, images, predicted)

    def predict(shown: np.ndarray) -> np.ndarray:
        return classifier.probabilities(torch.from_numpy(np.asarray(shown)).permute(0, 3, 1, 2).float()).numpy()

    def theirs(seed: int) -> list[dict[int, float]]:
        explanations = []
        for item, number in enumerate(predicted[:FEW].tolist()):
            explanation = LimeImageExplainer(random_state=seed).explain_instance(
                images[item].permute(1, 2, 0).numpy().astype(np.double),
                predict,
                labels=(number,),
                top_labels=None,
                num_samples=SAMPLES,
                segmentation_fn=lambda _, item=item: explained.segments[item],
            )
            explanations.append(dict(explanation.local_exp[number]))
        return explanations

    mine = lambda first: [  # noqa: E731
        {part: float(explained.attributions[item, part]) for part in parts} for item, parts in enumerate(first)
    ]
    with torch.inference_mode():
        return compared(
            f"LIME of {SUPERPIXELS} superpixels, 28 x 28, convnet, {SAMPLES} coalitions each", "lime_image", IMAGES,
            lambda: ours.explain(classifier, images, predicted), theirs, mine, repeats,
        )  # fmt: skip


def compared(
    title: str, name: str, items: int, ours: Callable[[], object], theirs: Callable[[int], list[dict[Any, float]]],
    mine: Callable[[list[dict[Any, float]]], list[dict[Any, float]]], repeats: int,
) -> dict[str, float]:  # fmt: skip
    """Compare ours with theirs; mine: converts our explanations of the package's items to its format."""
    times = seconds({"ours": ours, "theirs": lambda: theirs(0)}, repeats)
    first, second = theirs(0), theirs(1)
    rates = items / times["ours"], FEW / times["theirs"]
    agreement, itself = correlation(mine(first), first), correlation(second, first)
    show(
        title,
        ("", "items/s", "correlation with the package's"),
        [("xal", f"{rates[0]:.1f}", f"{agreement:.3f}"), ("lime", f"{rates[1]:.2f}", f"{itself:.3f} (another seed)")],
    )
    return {
        f"{name}_speedup": rates[0] / rates[1],
        f"{name}_items_per_s": rates[0],
        f"{name}_agreement": agreement,
        f"{name}_self_agreement": itself,
    }


def correlation(one: list[dict[Any, float]], other: list[dict[Any, float]]) -> float:
    """Mean correlation of the attributions of an item."""
    correlations = []
    for mine, theirs in zip(one, other, strict=True):
        shared = sorted(mine.keys() & theirs.keys())
        a, b = np.array([mine[word] for word in shared]), np.array([theirs[word] for word in shared])
        if len(shared) > 2 and a.std() > 0 and b.std() > 0:
            correlations.append(np.corrcoef(a, b)[0, 1])
    return float(np.mean(correlations))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
