"""On real photos with a real ResNet-50: k-means against scikit-learn's, hypercolumns against all rows."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.metrics import adjusted_rand_score
from torch import Tensor

from benchmarks.photos import load_photos, photo_network
from xal.explainers.ebano import Ebano
from xal.explainers.ebano.hypercolumns import captured, hypercolumns
from xal.models import TorchClassifier


@pytest.fixture(scope="module")
def classifier(shared_data: Path) -> TorchClassifier:
    os.environ["XAL_DATA"] = str(shared_data)
    return photo_network()


def test_the_weights_are_those_of_the_data_folder(classifier: TorchClassifier) -> None:
    """72.3% top-1 on all 300 photos (shared/data/README.md); 40 of them bound it loosely."""
    images, classes = load_photos(40)
    with torch.inference_mode():
        predicted = torch.cat([classifier.probabilities(part).argmax(1) for part in images.split(8)])
    assert (predicted == classes).float().mean() > 0.55


@pytest.mark.parametrize("photos", [8, pytest.param(20, marks=pytest.mark.slow)])
def test_inertia_and_masks_are_those_of_scikit_learn(
    classifier: TorchClassifier, photos: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Inertia over all pixels at most 1% over scikit-learn's with 10 restarts, median; ARI beside it."""
    images, _ = load_photos(photos)
    engine = Ebano()
    parts = [engine.segment(classifier, part) for part in images.split(8)]
    columns = torch.cat([part.columns for part in parts]).flatten(2)
    segments = torch.cat([part.segments for part in parts], 1).flatten(2)
    lines = []
    for place, k in enumerate(engine.ks):
        ratios, ours, seeds = [], [], []
        for points, labels in zip(columns, segments[place], strict=True):
            first, second = (KMeans(k, n_init=10, random_state=seed).fit(points.T.numpy()) for seed in (0, 1))
            ratios.append(inertia(points, labels, k) / first.inertia_)
            ours.append(adjusted_rand_score(first.labels_, labels.numpy()))
            seeds.append(adjusted_rand_score(first.labels_, second.labels_))
        lines.append(
            f"k = {k}: inertia / scikit-learn's {np.median(ratios):.4f}, ARI to it {np.mean(ours):.3f} "
            f"(median {np.median(ours):.3f}), two seeds of it {np.mean(seeds):.3f} (median {np.median(seeds):.3f})"
        )
        assert np.median(ratios) <= 1.01
        assert np.median(ours) > 0.9
    with capsys.disabled():
        print("\n" + "\n".join(lines))


def inertia(points: Tensor, labels: Tensor, k: int) -> float:
    """Of the clusters' own means."""
    total = 0.0
    for number in range(k):
        members = points[:, labels == number].double()
        total += float((members - members.mean(1, keepdim=True)).square().sum()) if members.shape[1] else 0.0
    return total


@pytest.mark.parametrize("reduction", ["svd", "pca"])
def test_hypercolumns_of_a_photo_are_scikit_learns_on_all_rows(classifier: TorchClassifier, reduction: str) -> None:
    """Layers of two resolutions, a photo that is neither square nor of even size."""
    image = load_photos(1)[0][:, :, :75, :91].float()
    names = ["layer3.5.conv1", "layer4.2.conv1"]
    with torch.inference_mode(), captured(classifier.module, names) as activations:
        classifier.probabilities(image)
    maps = [activations[name] for name in names]
    assert maps[0].shape[2:] != maps[1].shape[2:]
    got = hypercolumns(maps, (75, 91), 10, reduction)  # type: ignore[arg-type]
    resized = [F.interpolate(each.double(), size=(75, 91), mode="bilinear", align_corners=False) for each in maps]
    rows = torch.cat(resized, 1)[0].flatten(1).T.numpy()
    if reduction == "svd":
        model = TruncatedSVD(10, algorithm="arpack").fit(rows)
        reduced = rows @ model.components_.T
    else:
        model = PCA(10, svd_solver="full").fit(rows)
        reduced = (rows - rows.mean(0)) @ model.components_.T
    np.testing.assert_allclose(got.singular_values[0], model.singular_values_, rtol=1e-4)
    expected = reduced / np.linalg.norm(reduced, axis=1, keepdims=True)
    vectors = got.vectors[0].flatten(1).T.numpy()
    signs = np.sign((vectors * expected).sum(0))
    np.testing.assert_allclose(vectors * signs, expected, atol=1e-3)


def test_a_batch_changes_no_photo(classifier: TorchClassifier) -> None:
    """Clustered alone or among others; the network's own rounding does not matter here."""
    images, _ = load_photos(4)
    engine = Ebano()
    together = engine.segment(classifier, images)
    for number in range(4):
        alone = engine.segment(classifier, images[number : number + 1])
        same = (alone.segments[:, 0] == together.segments[:, number]).float().mean()
        assert same > 0.999
