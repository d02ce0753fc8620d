"""Superpixels: how images are cut, and LIME and partition SHAP of them against their packages."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from benchmarks.shap_reference import image_masker, owen
from xal.data.images import decode
from xal.datasets.demo import demo_pool
from xal.errors import XalError
from xal.explainers.lime import Lime
from xal.explainers.masking import mask_items
from xal.explainers.segmentation import superpixels_of
from xal.explainers.shap_partition import ShapPartition
from xal.models import TorchClassifier
from xal.models.torch.convnet import Convnet


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    """(6, 3, 28, 28) of the demo."""
    return torch.from_numpy(decode(demo_pool().read_span(0, 6, ["image"])["image"].to_pylist(), (3, 28, 28))[0])


@pytest.fixture(scope="module")
def classifier() -> TorchClassifier:
    model = Convnet(filters=4, hidden=8)
    return TorchClassifier(model, model.create((3, 28, 28), 4, seed=0))


def test_every_pixel_is_of_one_connected_part_numbered_in_order(images: torch.Tensor) -> None:
    for wanted in (4, 20):
        for segments in superpixels_of(images, wanted):
            numbers, first = np.unique(segments, return_index=True)
            assert np.array_equal(numbers, np.arange(len(numbers))) and (np.diff(first) > 0).all()
            assert wanted / 2 <= len(numbers) <= wanted * 1.5
            assert all(ndimage.label(segments == number)[1] == 1 for number in numbers)
    assert len({len(np.unique(each)) for each in superpixels_of(images, 20)}) > 1  # so that some are padded
    noise = torch.rand(4, 1, 28, 28, generator=torch.Generator().manual_seed(0)) * 255
    assert all(len(np.unique(each)) == 9 for each in superpixels_of(noise, 9))


def test_parts_follow_edges() -> None:
    image = torch.zeros(1, 3, 20, 20)
    image[:, 0, :, 13:] = 255  # red, between two centres of parts
    segments = superpixels_of(image, 4)[0]
    assert not set(segments[:, :13].ravel()) & set(segments[:, 13:].ravel())


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 2, 3), (3, 4, 4), (2, 9, 9), (4, 9, 9)])
def test_small_and_plain_images(shape: tuple[int, int, int]) -> None:
    """A single colour, few pixels, other numbers of channels."""
    for level in (0, 255):
        assert superpixels_of(torch.full((2, *shape), level, dtype=torch.uint8), 5).shape == (2, *shape[1:])
    assert superpixels_of(torch.zeros(0, *shape), 5).shape == (0, *shape[1:])


@pytest.mark.long
def test_lime_is_the_packages(images: torch.Tensor, classifier: TorchClassifier) -> None:
    """The same superpixels, filled with their mean colour: the packages' draws differ, so that both are uncertain."""
    from lime.lime_image import LimeImageExplainer

    of = torch.zeros(len(images), dtype=torch.int64)
    found = Lime(superpixels=12, mask_value="mean", samples=3000, output="probability").explain(classifier, images, of)
    again = Lime(superpixels=12, mask_value="mean", samples=3000, seed=1).explain(classifier, images, of)

    @torch.no_grad()
    def ask(shown: np.ndarray) -> np.ndarray:
        return classifier.probabilities(torch.from_numpy(np.asarray(shown)).permute(0, 3, 1, 2).float()).numpy()

    for i, image in enumerate(images[:3]):
        explained = LimeImageExplainer(random_state=0).explain_instance(
            image.permute(1, 2, 0).numpy().astype(np.double), ask, labels=(0,), num_samples=3000,
            segmentation_fn=lambda _, number=i: found.segments[number],
        )  # fmt: skip
        theirs = dict(explained.local_exp[0])
        m = int(found.n_features[i])
        ours, others = found.attributions[i, :m], np.array([theirs[number] for number in range(m)])
        noise = np.abs(again.attributions[i, :m] - ours).max()
        assert len(theirs) == m and np.abs(ours - others).max() < 3 * noise < 0.1 * np.abs(others).max()
        assert found.base is not None and found.base[i] == pytest.approx(explained.intercept[0], abs=5 * noise)


@pytest.mark.long
def test_owen_values_are_shaps(images: torch.Tensor, classifier: TorchClassifier) -> None:
    masked = mask_items(classifier, images, "probability", superpixels=12, mask_value="mean")
    found = ShapPartition(superpixels=12, mask_value="mean", max_evals=2000).explain(classifier, images)

    @torch.no_grad()
    def ask(composed: np.ndarray) -> np.ndarray:
        return classifier.probabilities(torch.from_numpy(composed)).numpy()

    for i, tree in enumerate(masked.trees()):
        parts = [each[i].numpy() for each in (masked.images, masked.mask_value[0])]  # type: ignore[attr-defined]
        masker = image_masker(tree, *parts, found.segments[i])
        expected = owen(ask, masker, int(found.explained_class[i]), 2000, 10)
        m = int(masked.n_features[i])
        np.testing.assert_allclose(found.attributions[i, :m], expected, atol=1e-6)
        assert m == found.n_features[i] == found.segments[i].max() + 1 and np.isnan(found.attributions[i, m:]).all()


@pytest.mark.parametrize("mask_value", ["grey", "blur", "mean", "labelled"])
@pytest.mark.parametrize("explainer", [Lime, ShapPartition])
def test_an_image_is_explained_alike_in_any_company(explainer, mask_value, images, classifier) -> None:
    each = explainer(superpixels=9, mask_value=mask_value, **({"samples": 50} if explainer is Lime else {}))
    together = each.explain(classifier, images, None, images[:2])
    each.check(together)
    assert together.per_item and np.isnan(together.attributions).any()
    for i in range(len(images)):
        alone = each.explain(classifier, images[i : i + 1], None, images[:2])
        m = alone.attributions.shape[1]
        assert np.array_equal(alone.segments[0], together.segments[i]) and not np.isnan(alone.attributions).any()
        np.testing.assert_allclose(alone.attributions[0], together.attributions[i, :m], atol=1e-5)
        np.testing.assert_allclose(alone.interpretable_input[0], together.interpretable_input[i, :m])
        inside = images[i].double().mean(0).numpy()[alone.segments[0] == 1] / 255
        assert alone.interpretable_input[0, 1] == pytest.approx(inside.mean())


def test_what_is_absent_shows_its_mean_colour(images: torch.Tensor, classifier: TorchClassifier) -> None:
    for superpixels in (None, 9):
        masked = mask_items(classifier, images, "margin", superpixels=superpixels, patches=3, mask_value="mean")
        segments = np.broadcast_to(masked.segments, (6, 28, 28))  # type: ignore[attr-defined]
        shown = masked.mask_value[0].numpy()  # type: ignore[attr-defined]
        for i, image in enumerate(images.numpy()):
            part = segments[i] == 4
            np.testing.assert_allclose(shown[i][:, part], image[:, part].mean(1, keepdims=True).repeat(part.sum(), 1))


def test_single_pixels_have_no_other_mean(images: torch.Tensor, classifier: TorchClassifier) -> None:
    for parts in ({"patches": 28}, {"superpixels": 784}):
        with pytest.raises(XalError, match="mask_value: mean changes nothing where every feature is one pixel"):
            Lime(mask_value="mean", samples=4, **parts).explain(classifier, images)  # type: ignore[arg-type]
