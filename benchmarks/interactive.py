"""Learning from corrections: what a step of CALI costs, and LIME of many items at once against the `lime` package.

    python benchmarks/interactive.py [--json FILE] [--repeats 3] [--only cali,lime]

cali: a campaign on colors, one query a round, on one core: cali_step_s is the median time of a round's query (the
margin over the pool, the explanation), label (with its correction) and update (fine-tuning on all labelled items,
twice through) after `LABELS` labels, commits to the ledger with it. lime: SST-5 sentences, the linear SVM over TF-IDF,
as many coalitions an item, kernel and ridge penalty, no feature selection; the package, one item after another, is
given FEW of them. lime_agreement is the mean correlation of the two explanations of an item, lime_self_agreement
that of the package's with itself under another seed, which sampling limits.
"""

import tempfile
from pathlib import Path

import numpy as np
import torch
from lime.lime_text import LimeTextExplainer
from partition_shap import sentences, svm
from sklearn.linear_model import Ridge
from table import arguments, seconds, show, write

from xal import words
from xal.campaign.experiment import run_experiment
from xal.campaign.recipe import Recipe
from xal.config import parse
from xal.data.confounded import build_colors
from xal.explainers.lime import Lime
from xal.models.memory import keep_freed_memory
from xal.progress import Reporter
from xal.report.runs import read_run

ITEMS, FEW, SAMPLES = 1000, 20, 1000
LABELS, STEPS = 100, 40


def main() -> None:
    parser = arguments(__doc__)
    parser.set_defaults(repeats=3)
    parser.add_argument("--only", default="cali,lime")
    options = parser.parse_args()
    keep_freed_memory()
    measures: dict[str, float] = {}
    for name in options.only.split(","):
        measures |= {"cali": cali, "lime": lime}[name](options.repeats)
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
                "feedback": {"name": "cali_ranking", "shown": None, "most": 4},
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
    model, weights = svm()
    network = model.network(weights, (), 5)
    texts = [text for text in sentences("test")[0] if len(text.split()) > 1][:ITEMS]
    payload = np.array(texts, object)
    of = network.probabilities(payload).argmax(1)
    ours = Lime(samples=SAMPLES)
    found = ours.explain(network, payload, of)

    def theirs(seed: int) -> list[dict[str, float]]:
        explainer = LimeTextExplainer(
            bow=False, feature_selection="none", split_expression=r"\W+", mask_string="", random_state=seed
        )
        explanations = []
        for text, number in zip(texts[:FEW], of.tolist(), strict=False):
            each = explainer.explain_instance(
                text,
                lambda left: network.probabilities(np.asarray(left, object)).numpy(),
                labels=(number,),
                num_features=200,
                num_samples=SAMPLES,
                model_regressor=Ridge(alpha=1.0),
            )
            by_word: dict[str, float] = {}
            for place, value in each.as_map()[number]:
                word = each.domain_mapper.indexed_string.word(place).lower()
                by_word[word] = by_word.get(word, 0.0) + value
            explanations.append(by_word)
        return explanations

    took = seconds({"ours": lambda: ours.explain(network, payload, of), "theirs": lambda: theirs(0)}, repeats)
    first, second = theirs(0), theirs(1)
    mine = [
        {word: float(found.attributions[item, words.column(word)]) for word in each} for item, each in enumerate(first)
    ]
    rates = ITEMS / took["ours"], FEW / took["theirs"]
    agreement, itself = correlation(mine, first), correlation(second, first)
    show(
        f"LIME of SST-5 sentences, {SAMPLES} coalitions each",
        ("", "items/s", "correlation with the package's"),
        [("xal", f"{rates[0]:.1f}", f"{agreement:.3f}"), ("lime", f"{rates[1]:.2f}", f"{itself:.3f} (another seed)")],
    )
    return {
        "lime_speedup": rates[0] / rates[1],
        "lime_items_per_s": rates[0],
        "lime_agreement": agreement,
        "lime_self_agreement": itself,
    }


def correlation(one: list[dict[str, float]], other: list[dict[str, float]]) -> float:
    """Mean over items of the correlation of their words' attributions."""
    found = []
    for mine, theirs in zip(one, other, strict=True):
        shared = sorted(mine.keys() & theirs.keys())
        a, b = np.array([mine[word] for word in shared]), np.array([theirs[word] for word in shared])
        if len(shared) > 2 and a.std() > 0 and b.std() > 0:
            found.append(np.corrcoef(a, b)[0, 1])
    return float(np.mean(found))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
