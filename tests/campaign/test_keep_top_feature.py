"""Copies with everything but fmax blurred."""

import numpy as np
import torch
import torch.nn.functional as F

from xal.campaign import ebano_augment
from xal.campaign.ebano_augment import keep_top_feature
from xal.explainers.ebano import blur
from xal.types import Explanations


def explained(count: int, size: int = 16) -> Explanations:
    generator = np.random.default_rng(0)
    npir = generator.uniform(-1, 1, (count, 3))
    npir[0] = [0.2, 0.2, np.nan]  # a tie goes to the lower index
    return Explanations(
        feature_kind="segments",
        segments=(np.arange(size * size).reshape(size, size) % 3 % np.r_[2, [3] * (count - 1)][:, None, None]).astype(
            np.uint8
        ),
        attributions=npir,
        interpretable_input=np.where(np.isnan(npir), np.nan, 1.0),
        npirp=npir,
        explained_class=np.zeros(count, np.int64),
        probability=np.ones(count),
        per_item=True,
    )


def test_fmax_is_kept_and_the_rest_is_the_blur(monkeypatch) -> None:
    coarse = torch.rand(5, 3, 4, 4, generator=torch.Generator().manual_seed(0)) * 255
    images = F.interpolate(coarse, size=(16, 16), mode="nearest").to(torch.uint8).numpy()
    explanations = explained(5)
    copies = keep_top_feature(images, explanations, 1.5)
    blurred = blur(torch.from_numpy(images), 1.5).round().clamp(0, 255).to(torch.uint8).numpy()
    for image, copy, soft, segments, row in zip(
        images, copies, blurred, explanations.segments, explanations.npir, strict=True
    ):
        kept = segments == np.nanargmax(row)
        assert kept.any() and not kept.all()
        np.testing.assert_array_equal(copy[:, kept], image[:, kept])
        np.testing.assert_array_equal(copy[:, ~kept], soft[:, ~kept])
    assert copies.dtype == np.uint8 and (copies != images).any()
    monkeypatch.setattr(ebano_augment, "CHUNK", 2)
    np.testing.assert_array_equal(keep_top_feature(images, explanations, 1.5), copies)
