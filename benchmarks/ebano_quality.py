"""Figures 3.4 and 3.5 of the thesis: compare the features of `ebano` with those of `ebano_express`.

    python benchmarks/ebano_quality.py [--photos 100] [--markdown FILE] [--figure FILE] [--json FILE]

It uses photos and the ResNet-50 of the data folder. For each k, and for the best k of each explainer, it measures the
adjusted Rand index (ARI) between the features of `ebano` and `ebano_express`, and for comparison the ARI between two
seeds of `ebano_express`; also the mean silhouette of each explainer's best features on 5000 random pixels, in the
explainer's reduced hypercolumns.
"""

from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from photos import load_photos, photo_network
from sklearn.metrics import adjusted_rand_score, silhouette_score
from table import arguments, markdown, show, write

from xal.core.progress import Reporter
from xal.explainers.ebano import Ebano, EbanoExpress

OURS, EXPRESS, SECOND = Ebano(), EbanoExpress(), EbanoExpress(seed=1)
SILHOUETTE_PIXELS = 5000


def silhouette(columns: torch.Tensor, segments: np.ndarray, seed: int) -> float:
    """Mean silhouette of one image's features on random pixels; NaN if these belong to one feature."""
    chosen = np.random.default_rng(seed).choice(segments.size, SILHOUETTE_PIXELS, replace=False)
    labels = segments.ravel()[chosen]
    vectors = columns.flatten(1).T[torch.from_numpy(chosen)].numpy()
    return float(silhouette_score(vectors, labels)) if len(np.unique(labels)) > 1 else float("nan")


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--photos", type=int, default=100)
    parser.add_argument("--markdown", type=Path, help="write the tables here")
    parser.add_argument("--figure", type=Path, help="draw the distributions here (PNG)")
    options = parser.parse_args()
    torch.set_num_threads(2)
    images, _ = load_photos(options.photos)
    classifier = photo_network()
    ks = list(OURS.ks)
    ari: dict[str, list[float]] = {f"k = {k}": [] for k in ks} | {"best": []}
    two_seeds: dict[str, list[float]] = {f"k = {k}": [] for k in ks}
    silhouettes: dict[str, list[float]] = {"ebano": [], "ebano_express": []}
    advance = Reporter().stage("photos", "photos")
    for number, image in enumerate(images):
        parts, best = {}, {}
        for explainer in (OURS, EXPRESS):
            name = explainer.name
            parts[name] = explainer.segment(classifier, image[None])
            best[name] = explainer.weigh(classifier, parts[name])
            silhouettes[name].append(silhouette(parts[name].columns[0], best[name].segments[0], number))
        second = SECOND.segment(classifier, image[None])
        for index, k in enumerate(ks):
            ours, express, other = (
                part.segments[index, 0].numpy().ravel() for part in (parts["ebano"], parts["ebano_express"], second)
            )
            ari[f"k = {k}"].append(adjusted_rand_score(express, ours))
            two_seeds[f"k = {k}"].append(adjusted_rand_score(express, other))
        ari["best"].append(adjusted_rand_score(best["ebano_express"].segments.ravel(), best["ebano"].segments.ravel()))
        advance(number + 1, len(images))
    difference = np.array(silhouettes["ebano"]) - np.array(silhouettes["ebano_express"])
    columns = ["ARI, ebano and ebano_express", "mean", "median", "10%", "90%"]
    rows = [[name, *_summary(values)] for name, values in ari.items()]
    rows += [[f"two seeds of ebano_express, {name}", *_summary(values)] for name, values in two_seeds.items()]
    silhouette_columns = ["mean silhouette", "mean", "median", "10%", "90%"]
    silhouette_rows = [[name, *_summary(values)] for name, values in silhouettes.items()]
    silhouette_rows.append(["difference", *_summary(difference)])
    title = f"{len(images)} photos, ResNet-50"
    show(title, columns, rows)
    show(title, silhouette_columns, silhouette_rows)
    measures = {
        "photos": float(len(images)),
        "ari_best_mean": float(np.mean(ari["best"])),
        **{f"ari_k{k}_mean": float(np.mean(ari[f"k = {k}"])) for k in ks},
        **{f"ari_two_seeds_k{k}_mean": float(np.mean(two_seeds[f"k = {k}"])) for k in ks},
        "silhouette_difference_mean": float(np.nanmean(difference)),
    }
    if options.markdown:
        options.markdown.write_text(
            f"# Interpretable features: `ebano` and `ebano_express`\n\n"
            f"Written by `python benchmarks/ebano_quality.py --photos {len(images)} --markdown {options.markdown} "
            f"--figure {options.figure}` on {title}.\n\n"
            f"![distributions]({options.figure.name if options.figure else ''})\n\n"
            + markdown(columns, rows)
            + "\n"
            + markdown(silhouette_columns, silhouette_rows),
            encoding="utf-8",
        )
    if options.figure:
        draw(ari, silhouettes, difference, options.figure)
    print()
    write(options.json, measures)


def _summary(values: list[float] | np.ndarray) -> list[float]:
    array = np.asarray(values)
    array = array[~np.isnan(array)]
    return [float(array.mean()), float(np.median(array)), *(float(q) for q in np.quantile(array, (0.1, 0.9)))]


def draw(ari: dict[str, list[float]], silhouettes: dict[str, list[float]], difference: np.ndarray, path: Path) -> None:
    """Distributions as in figures 3.4 (top) and 3.5 (bottom)."""
    figure = Figure(figsize=(11, 5), dpi=110, layout="constrained")
    top, bottom = figure.subfigures(2, 1)
    for axis, (name, values) in zip(top.subplots(1, len(ari), sharey=True), ari.items(), strict=True):
        axis.hist(values, bins=np.linspace(0, 1, 21), color="#c2410c")
        axis.set_title(f"ARI, {name}", fontsize=10)
    shown = [(f"mean silhouette, {name}", values) for name, values in silhouettes.items()]
    for axis, (name, values) in zip(bottom.subplots(1, 3), [*shown, ("difference", difference)], strict=True):
        axis.hist(np.asarray(values)[~np.isnan(values)], bins=20, color="#2563eb")
        axis.set_title(name, fontsize=10)
    figure.savefig(path)


if __name__ == "__main__":
    main()
