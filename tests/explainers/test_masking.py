"""Outputs for masked items against a plain loop over coalitions."""

import numpy as np
import pytest
import torch

from tests.explainers.trained import trained
from xal.encoders.bag_of_words import Hashing
from xal.errors import NumericalError, XalError
from xal.explainers.masking import COALITIONS_PER_CALL, finite, mask_items, runs
from xal.explainers.shap_partition import ShapPartition
from xal.models.sklearn.logistic_regression import LogisticRegression
from xal.models.torch.convnet import Convnet
from xal.types import dense

GENERATOR = np.random.default_rng(0)
ITEMS = np.array([0, 2, 2, 1])


def test_a_masked_row_is_the_mean_over_the_background() -> None:
    x = GENERATOR.normal(size=(60, 5)).astype(np.float32)
    classifier = trained(LogisticRegression(), x, x[:, 0] > 0)
    rows, background = torch.from_numpy(x[:3]), torch.from_numpy(x[10:14])
    masked = mask_items(classifier, rows, "probability", baselines=background)
    masks = GENERATOR.random((4, 5)) < 0.5
    found = masked.value(ITEMS, masks)
    for value, item, mask in zip(found, ITEMS, masks, strict=True):
        replaced = torch.stack([torch.where(torch.from_numpy(mask), rows[item], other) for other in background])
        expected = classifier.probabilities(replaced).mean(dim=0)
        np.testing.assert_allclose(value, expected, atol=1e-6)


@pytest.mark.parametrize("settings", [{}, {"mask_value": "grey"}, {"superpixels": 6, "mask_value": "black"}])
def test_a_masked_image_shows_the_replacement_outside_its_segments(settings: dict) -> None:
    images = GENERATOR.integers(0, 256, (40, 1, 14, 14), np.uint8)
    classifier = trained(Convnet(), images, images.mean(axis=(1, 2, 3)) > 127)
    masked = mask_items(classifier, torch.from_numpy(images[:3]), "margin", **settings)
    masks = GENERATOR.random((4, int(masked.n_features.max()))) < 0.5
    found = masked.value(ITEMS, masks)
    for value, item, mask in zip(found, ITEMS, masks, strict=True):
        segments = masked.segments[item if len(masked.segments) > 1 else 0]
        fill = masked.mask_value[0][item if len(masked.mask_value[0]) > 1 else 0]
        image = torch.where(torch.from_numpy(mask[segments]), torch.from_numpy(images[item]).float(), fill)
        np.testing.assert_allclose(value, classifier.outputs(image[None], "margin").detach().numpy()[0], atol=1e-3)


def test_a_masked_text_lacks_its_words() -> None:
    texts = np.array(["good film", "bad film bad", "good good day", "bad day"], object)
    classifier = trained(LogisticRegression(encoder=Hashing(bits=8)), texts, [1, 0, 1, 0])
    masked = mask_items(classifier, texts[:2], "probability")
    assert masked.n_features.tolist() == [2, 3]
    found = masked.value(np.array([0, 1]), np.array([[True, False, False], [False, True, True]]))
    np.testing.assert_allclose(found, classifier.probabilities(np.array(["good", "film bad"], object)), atol=1e-6)


def test_what_cannot_be_masked_is_refused() -> None:
    x = GENERATOR.normal(size=(20, 3)).astype(np.float32)
    classifier = trained(LogisticRegression(), x, x[:, 0] > 0)
    with pytest.raises(XalError):
        mask_items(classifier, torch.from_numpy(x), "margin")  # no baselines
    with pytest.raises(NumericalError, match="1 of 2 coalitions"):
        finite(np.array([[0.0, 1.0], [np.nan, 1.0]]))


def test_runs_are_consecutive_and_bounded() -> None:
    masked = mask_items(None, torch.zeros(5, 2), "margin", baselines=torch.zeros(1, 2))
    sizes = np.array([COALITIONS_PER_CALL // 2, COALITIONS_PER_CALL // 2, 1, COALITIONS_PER_CALL + 1, 1])
    parts = list(runs(masked, np.arange(5), sizes))
    assert [part.tolist() for part in parts] == [[0, 1], [2], [3], [4]]
    masked.mask_bytes = 2 * 30  # of rows of two columns
    parts = list(runs(masked, np.arange(5), np.full(5, 10)))
    assert [part.tolist() for part in parts] == [[0, 1, 2], [3, 4]]


def test_less_memory_gives_the_same_explanations() -> None:
    texts = np.array([" ".join(f"w{GENERATOR.integers(300)}" for _ in range(200)) for _ in range(12)], object)
    classifier = trained(LogisticRegression(encoder=Hashing(bits=8)), texts, np.arange(12) % 2)
    plenty, little = (ShapPartition(max_evals=300, memory_mb=mb).explain(classifier, texts) for mb in (64, 1))
    np.testing.assert_allclose(dense(plenty.attributions), dense(little.attributions), atol=1e-9)
