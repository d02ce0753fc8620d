"""EBAnO as a whole on a small random network."""

import itertools
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from jaxtyping import TypeCheckError
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn

from xal.errors import NumericalError, ResourceError, XalError
from xal.explainers.ebano import Ebano, EbanoExpress, blur, default_sigma, keep_only
from xal.explainers.ebano.backends import cluster
from xal.explainers.ebano.indices import relation
from xal.explainers.explainer import ConvClassifier, Explainer
from xal.types import Explanations


class Small:
    """Three convolutions, the later ones of lower resolution."""

    def __init__(self, channels: int = 3, classes: int = 5) -> None:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.module: nn.Module = nn.Sequential(
                nn.Conv2d(channels, 8, 3, 2, 1),
                nn.ReLU(inplace=True),
                nn.Conv2d(8, 12, 3, 2, 1),
                nn.ReLU(inplace=True),
                nn.Conv2d(12, 16, 3, 1, 1),
                nn.ReLU(inplace=True),
                nn.Flatten(2),
                nn.AdaptiveMaxPool1d(4),
                nn.Flatten(),
                nn.Linear(64, classes),
            ).eval()
        self.forwards: list[int] = []

    def probabilities(self, images: Tensor) -> Tensor:
        self.forwards.append(len(images))
        return torch.softmax(self.module(images / 64 - 2) * 3, 1)

    def conv_layers(self) -> Sequence[str]:
        return ["0", "2", "4"]


def pictures(count: int, channels: int = 3, size: tuple[int, int] = (32, 28), seed: int = 0) -> Tensor:
    """uint8 images with some structure."""
    coarse = torch.rand(count, channels, 6, 6, generator=torch.Generator().manual_seed(seed)) * 255
    return F.interpolate(coarse, size=size, mode="bilinear").round().to(torch.uint8)


def test_it_is_registered_and_says_what_it_needs() -> None:
    assert Explainer.named("ebano") is Ebano
    assert isinstance(Small(), ConvClassifier)


@pytest.mark.parametrize("reduction", ["svd", "pca"])
def test_invariant_shapes_and_count_of_forwards(reduction: str) -> None:
    classifier, explainer = Small(), Ebano(reduction=reduction, micro_batch=4)  # type: ignore[arg-type]
    got = explainer.explain(classifier, pictures(6))
    explainer.check(got)
    assert got.segments.shape == (6, 32, 28) and got.segments.dtype == np.uint8
    assert got.npir.shape == got.npirp.shape == (6, 5)
    assert np.array_equal((~np.isnan(got.npir)).sum(1), got.n_features)
    assert classifier.forwards[0] == 4 and max(classifier.forwards) <= 4
    assert sum(classifier.forwards) == 6 * (1 + 2 + 3 + 4 + 5)
    assert np.nanmax(np.abs(got.npir)) > 0.01  # the network reacts, else these tests show nothing


def test_indices_are_those_of_the_masks() -> None:
    """Recompute every nPIR image by image from the segments alone."""
    classifier, images = Small(), pictures(4)
    got = Ebano(blur=2.0).explain(classifier, images)
    blurred = blur(images, 2.0)
    with torch.inference_mode():
        original = classifier.probabilities(images.float())
        assert np.array_equal(got.explained_class, original.argmax(1).numpy())
        for i, f in itertools.product(range(4), range(5)):
            if f < got.n_features[i]:
                mask = torch.from_numpy(got.segments[i] == f)
                image = images[i].float() * ~mask + blurred[i] * mask
                t = classifier.probabilities(image[None])[0, got.explained_class[i]]
                o = original[i, got.explained_class[i]]
                expected = float(relation(o, t))
                assert got.npir[i, f] == pytest.approx(expected, abs=1e-5)
                assert got.probability[i] == pytest.approx(float(o), abs=1e-6)


def test_the_most_informative_k_is_kept() -> None:
    """Against a run for each k alone; ties would go to the smallest."""
    classifier, images = Small(), pictures(6)
    alone = [Ebano(k_min=k, k_max=k).explain(classifier, images) for k in (2, 3, 4)]
    spreads = np.stack([np.ptp(part.npir, axis=1) for part in alone])
    got = Ebano(k_max=4).explain(classifier, images)
    assert np.array_equal(got.n_features, 2 + spreads.argmax(0))
    assert len(set(got.n_features.tolist())) > 1
    for i, k in enumerate(got.n_features):
        assert np.array_equal(got.segments[i], alone[k - 2].segments[i])


@pytest.mark.parametrize("stride", [1, 3])
def test_batch_and_single_agree(stride: int) -> None:
    classifier, images = Small(), pictures(5)
    explainer = Ebano(stride=stride)
    together = explainer.explain(classifier, images)
    alone = Explanations.concatenate([explainer.explain(classifier, images[i : i + 1]) for i in range(5)])
    assert np.array_equal(together.segments, alone.segments)
    assert np.array_equal(together.n_features, alone.n_features)
    np.testing.assert_allclose(together.npir, alone.npir, atol=1e-4)
    again = explainer.explain(classifier, images)
    assert np.array_equal(together.npir, again.npir, equal_nan=True)
    assert np.array_equal(together.npirp, again.npirp, equal_nan=True)


def test_a_given_class_is_explained() -> None:
    classifier, images = Small(), pictures(3)
    predicted = Ebano().explain(classifier, images)
    same = Ebano().explain(classifier, images, torch.from_numpy(predicted.explained_class))
    assert np.array_equal(predicted.npir, same.npir, equal_nan=True)
    other = (predicted.explained_class + 1) % 5
    given = Ebano().explain(classifier, images, torch.from_numpy(other))
    Ebano().check(given)
    assert np.array_equal(given.explained_class, other)
    assert (given.probability < predicted.probability).all()
    assert not np.allclose(given.npir[:, :2], predicted.npir[:, :2])


def test_variant_of_the_other_classes() -> None:
    classifier, images = Small(), pictures(3)
    absolute, positive = (Ebano(k_max=2, other_classes=v).explain(classifier, images) for v in ("absolute", "positive"))
    assert np.array_equal(absolute.npir, positive.npir)
    assert (absolute.npirp <= positive.npirp).all() and (absolute.npirp < positive.npirp).any()


@pytest.mark.parametrize(
    ("channels", "size", "options"),
    [
        (1, (20, 33), {}),
        (3, (8, 8), {"blur": 10.0}),  # smaller than the blur
        (3, (4, 9), {}),
        (3, (16, 16), {"components": 200}),  # more than the rank
        (3, (16, 16), {"layers": 99}),  # more than there are
        (3, (16, 16), {"layers": ("0",), "k_min": 3, "k_max": 3}),
        (3, (16, 16), {"stride": 7}),
    ],
)
def test_unusual_images_and_options(channels: int, size: tuple[int, int], options: dict[str, object]) -> None:
    explainer = Ebano(**options)  # type: ignore[arg-type]
    got = explainer.explain(Small(channels), pictures(2, channels, size))
    explainer.check(got)
    assert got.segments.shape == (2, *size) and got.segments.max() > 0


def test_the_layers_matter() -> None:
    classifier, images = Small(), pictures(3)
    last, named, first = (Ebano(layers=layers).explain(classifier, images) for layers in (1, ("4",), ("0",)))
    assert np.array_equal(last.segments, named.segments)
    assert not np.array_equal(last.segments, first.segments)


def test_a_flat_image_has_empty_features_of_index_zero() -> None:
    """A 1 x 1 convolution makes all hypercolumns of a flat image equal: one feature holds every pixel."""

    class Pointwise(Small):
        def __init__(self) -> None:
            super().__init__()
            self.module = nn.Sequential(nn.Conv2d(3, 5, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()

        def conv_layers(self) -> Sequence[str]:
            return ["0"]

    classifier = Pointwise()
    got = Ebano(reduction="pca").explain(classifier, torch.full((2, 3, 16, 16), 90, dtype=torch.uint8))
    Ebano().check(got)
    assert sum(classifier.forwards) == 2 + 2 * 4  # the image, and one feature for each of four k
    assert (got.segments == got.segments[:, :1, :1]).all()
    empty = (np.arange(5) != got.segments[:, :1, 0]) & ~np.isnan(got.npir)
    assert empty.any(1).all() and not got.npir[empty].any() and not got.npirp[empty].any()
    np.testing.assert_allclose(got.npir[~np.isnan(got.npir)], 0, atol=1e-5)


def test_express_takes_log2_of_the_layers_and_the_other_settings() -> None:
    """floor(log2 of three layers) = 1 layer, PCA, scikit-learn, max(0, w_c)."""
    classifier, images = Small(), pictures(2, size=(12, 10))
    express = EbanoExpress(components=4, restarts=2)
    got = express.explain(classifier, images)
    express.check(got)
    assert Explainer.named("ebano_express") is EbanoExpress and express.backend == "sklearn"
    same = Ebano(
        components=4,
        layers=("4",),
        reduction="pca",
        backend="sklearn",
        restarts=2,
        iterations=300,
        stride=1,
        other_classes="positive",
    )
    again = same.explain(classifier, images)
    assert np.array_equal(got.segments, again.segments) and np.array_equal(got.npirp, again.npirp, equal_nan=True)
    assert express.explain(classifier, images, torch.tensor([0, 1])).explained_class.tolist() == [0, 1]


@pytest.mark.parametrize(("backend", "package"), [("faiss", "faiss"), ("sklearn", "sklearn.cluster")])
def test_a_back_end_that_is_not_installed_is_named(backend: str, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ResourceError, match="pip install"):
        Ebano(backend=backend).explain(Small(), pictures(1))  # type: ignore[arg-type]


@pytest.mark.parametrize("backend", ["faiss", "sklearn"])
def test_the_outside_back_ends_explain(backend: str) -> None:
    explainer = Ebano(backend=backend, restarts=2, iterations=20)  # type: ignore[arg-type]
    classifier, images = Small(), pictures(3)
    got = explainer.explain(classifier, images)
    explainer.check(got)
    assert np.array_equal(got.segments, explainer.explain(classifier, images).segments)


def test_the_grid_is_64_wide_at_most_unless_told(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def watched(points: Tensor, *rest: Any) -> Any:
        seen.append(points.shape[2])
        return cluster(points, *rest)

    monkeypatch.setattr("xal.explainers.ebano.explainer.cluster", watched)
    for size, options in [((32, 28), {}), ((130, 70), {}), ((32, 28), {"stride": 4})]:
        Ebano(**options).explain(Small(), pictures(1, size=size))  # type: ignore[arg-type]
    assert seen == [32 * 28, 44 * 24, 8 * 7]


def test_ties_go_to_the_smallest_k() -> None:
    class Deaf(Small):
        def probabilities(self, images: Tensor) -> Tensor:
            return super().probabilities(images) * 0 + 0.2

    assert Ebano().explain(Deaf(), pictures(2)).n_features.tolist() == [2, 2]


def test_hooks_are_removed_even_after_an_error_and_the_mode_is_kept() -> None:
    classifier = Small()
    classifier.module[-1].register_forward_hook(fail := _fail_once())  # type: ignore[index]
    with pytest.raises(RuntimeError, match="broken on purpose"):
        Ebano().explain(classifier, pictures(1))
    convolutions = [classifier.module.get_submodule(name) for name in classifier.conv_layers()]
    assert fail.failed and not any(layer._forward_hooks for layer in convolutions)
    classifier.module.train()
    Ebano().explain(classifier, pictures(1))
    assert classifier.module.training and not any(layer._forward_hooks for layer in convolutions)


class _fail_once:
    failed = False

    def __call__(self, *_: object) -> None:
        if not self.failed:
            self.failed = True
            raise RuntimeError("broken on purpose")


@pytest.mark.parametrize("when", [0, 1])
def test_probabilities_that_are_not_finite_are_counted(when: int) -> None:
    class Broken(Small):
        def probabilities(self, images: Tensor) -> Tensor:
            outputs = super().probabilities(images)
            if len(self.forwards) == when + 1:
                outputs[0, :2] = torch.nan
            return outputs

    with pytest.raises(NumericalError, match="^2 of .* not finite"):
        Ebano().explain(Broken(), pictures(2))


def test_logits_are_refused() -> None:
    class Logits(Small):
        def probabilities(self, images: Tensor) -> Tensor:
            return super().probabilities(images).log()

    with pytest.raises(NumericalError, match="softmax"):
        Ebano().explain(Logits(), pictures(2))


def test_mistakes_are_named() -> None:
    classifier, images = Small(), pictures(2)
    with pytest.raises(XalError, match="at least k_min = 6, got 5"):
        Ebano(k_min=6)
    for layers in (0, -1, ()):
        with pytest.raises(XalError, match="at least one layer"):
            Ebano(layers=layers)
    with pytest.raises(XalError, match="'5'"):
        Ebano(layers=("5",)).explain(classifier, images)
    with pytest.raises((XalError, TypeCheckError), match="shape|Shaped"):  # the latter where shapes are checked
        Ebano().explain(classifier, images[0])
    with pytest.raises(XalError, match="shape"):
        Ebano().explain(classifier, images[:0])
    with pytest.raises((XalError, TypeCheckError), match="expected 2 targets|'target'"):
        Ebano().explain(classifier, images, torch.tensor([0, 1, 2]))
    with pytest.raises(XalError, match=r"0..4, got 1 outside"):
        Ebano().explain(classifier, images, torch.tensor([0, 5]))
    with pytest.raises(XalError, match="at least 0.1 pixels"):
        Ebano(blur=0.0).explain(classifier, images)


def test_check_finds_a_tampered_explanation() -> None:
    explainer = Ebano()
    good = explainer.explain(Small(), pictures(3))
    explainer.check(good)
    npir, npirp, segments = good.npir.copy(), good.npirp.copy(), good.segments.copy()
    npir[1, 0], npirp[2, 1], segments[0, 0, 0] = 1.5, np.nan, 200
    lost = np.where(good.segments == 0, 1, good.segments).astype(np.uint8)
    for tampered, problem in [
        (replace(good, attributions=npir), "among 3 explanations: 1 have nPIR outside"),
        (replace(good, npirp=npirp), "1 have different features in nPIR and nPIRP"),
        (replace(good, segments=segments), "1 have pixels that belong to no feature"),
        (replace(good, segments=lost), "3 have nonzero nPIR for a feature without pixels"),
        (replace(good, attributions=np.nan_to_num(good.npir)), "different features"),
        (replace(good, attributions=good.npir[:, :1]), "3 have k outside 2..5"),
        (replace(good, probability=good.probability + 2), "3 have a probability"),
    ]:
        with pytest.raises(NumericalError, match=problem):
            explainer.check(tampered)


@pytest.mark.parametrize("sigma", [0.5, 2.0])
def test_blur_is_that_of_scipy(sigma: float) -> None:
    images = pictures(2)
    expected = gaussian_filter(images.numpy().astype(np.float64), (0, 0, sigma, sigma), mode="mirror", truncate=4.0)
    np.testing.assert_allclose(blur(images, sigma), expected, atol=2e-3 * 255)
    assert np.median(np.abs(blur(images, sigma).numpy() - expected)) < 0.05


def test_keep_only_blurs_the_rest() -> None:
    images = pictures(2)
    mask = torch.zeros(2, 32, 28, dtype=torch.bool)
    mask[0, :10] = True
    kept, blurred = keep_only(images, mask), blur(images, default_sigma(32, 28))
    assert torch.equal(kept[0, :, :10], images[0, :, :10].float())
    assert torch.equal(kept[0, :, 10:], blurred[0, :, 10:]) and torch.equal(kept[1], blurred[1])
    assert default_sigma(224, 300) == 10.0
