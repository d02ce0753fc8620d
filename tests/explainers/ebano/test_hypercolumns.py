"""The reduction before resizing against full hypercolumns and scikit-learn on all their rows."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.decomposition import PCA, TruncatedSVD
from torch import Tensor, nn

from xal.explainers.ebano.hypercolumns import captured, hypercolumns

# (channels, height, width) of the layers, the image's size
CASES = {
    "one layer, fewer channels": ([(6, 7, 7)], (28, 28)),
    "one layer, fewer positions": ([(40, 4, 4)], (28, 28)),
    "one resolution, two layers": ([(12, 4, 4), (20, 4, 4)], (16, 16)),
    "mixed, fewer channels": ([(4, 9, 9), (6, 5, 5)], (27, 27)),
    "mixed, fewer positions": ([(30, 4, 4), (50, 2, 2)], (16, 16)),
    "odd, not square": ([(5, 7, 5), (7, 3, 4)], (23, 31)),
    "odd, not square, fewer positions": ([(60, 3, 5), (9, 2, 3)], (17, 29)),
    "interleaved resolutions": ([(5, 6, 6), (4, 3, 3), (6, 6, 6)], (18, 18)),
    "a layer larger than the image": ([(5, 12, 12)], (9, 7)),
    "one position": ([(30, 1, 1), (30, 4, 4)], (12, 12)),
}


def layers_of(shapes: list[tuple[int, int, int]], images: int, seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(images, *shape, generator=generator) + 0.3 for shape in shapes]


def full(layers: list[Tensor], size: tuple[int, int], image: int) -> np.ndarray:
    """(h w, C) hypercolumns as the papers build them."""
    resized = [F.interpolate(a.double(), size=size, mode="bilinear", align_corners=False)[image] for a in layers]
    return torch.cat([a.flatten(1) for a in resized]).T.numpy()


@pytest.mark.parametrize("images", [1, 3])
@pytest.mark.parametrize("reduction", ["svd", "pca"])
@pytest.mark.parametrize("case", CASES)
def test_is_scikit_learn_on_all_rows(case: str, reduction: str, images: int) -> None:
    shapes, size = CASES[case]
    layers, r = layers_of(shapes, images), 3
    got = hypercolumns(layers, size, r, reduction)  # type: ignore[arg-type]
    assert got.vectors.shape == (images, r, *size) and got.vectors.dtype == torch.float32
    for image in range(images):
        columns = full(layers, size, image)
        model = PCA(r, svd_solver="full") if reduction == "pca" else TruncatedSVD(r, algorithm="arpack", random_state=0)
        expected = model.fit_transform(columns)
        expected /= np.linalg.norm(expected, axis=1, keepdims=True)
        vectors = got.vectors[image].flatten(1).T.double().numpy()
        vectors *= np.sign((vectors * expected).sum(0))
        np.testing.assert_allclose(got.singular_values[image], model.singular_values_, rtol=1e-4)
        np.testing.assert_allclose(vectors, expected, atol=2e-3)
        assert np.median(np.abs(vectors - expected)) < 1e-5  # pixels of a small reduced vector have less precision


@pytest.mark.parametrize("case", CASES)
def test_all_singular_values(case: str) -> None:
    """Of numpy's SVD; those beyond the rank are exactly zero on our side, noise on its."""
    shapes, size = CASES[case]
    layers = layers_of(shapes, 1)
    columns = full(layers, size, 0)
    expected = np.linalg.svd(columns, compute_uv=False)
    expected = np.where(expected > 1e-9 * expected[0], expected, 0.0)
    components = columns.shape[1] + 4
    got = hypercolumns(layers, size, components).singular_values[0].numpy()
    count = min(len(expected), components)
    np.testing.assert_allclose(got[:count], expected[:count], rtol=1e-4, atol=1e-12)
    assert not got[count:].any()


@pytest.mark.parametrize("channels", [3, 100])
def test_beyond_the_rank_is_zero_not_noise(channels: int) -> None:
    generator = torch.Generator().manual_seed(0)
    low_rank = torch.einsum(
        "rc,rhw->chw", torch.randn(2, channels, generator=generator), torch.randn(2, 5, 5, generator=generator)
    )
    got = hypercolumns([low_rank[None]], (20, 20), 6)
    assert (got.singular_values[0, :2] > 0).all() and not got.singular_values[0, 2:].any()
    assert not got.vectors[:, 2:].any()
    np.testing.assert_allclose(got.vectors.norm(dim=1), 1, rtol=1e-5)


def test_constant_maps_are_zero_when_centred_and_equal_when_not() -> None:
    constant = torch.linspace(-1, 1, 8)[None, :, None, None].expand(1, 8, 5, 6)
    centred = hypercolumns([constant], (20, 24), 3, "pca")
    assert not centred.vectors.any() and not centred.singular_values.any()
    plain = hypercolumns([constant], (20, 24), 3)
    np.testing.assert_allclose(plain.vectors[:, 0].abs(), 1, rtol=1e-6)
    assert not hypercolumns([torch.zeros(2, 8, 5, 6)], (20, 24), 3).vectors.any()


def test_zero_pixels_stay_zero_and_the_rest_are_unit() -> None:
    maps = torch.zeros(1, 4, 8, 8)
    maps[..., :3] = torch.randn(1, 4, 8, 3, generator=torch.Generator().manual_seed(0))
    norms = hypercolumns([maps], (8, 8), 4).vectors[0].norm(dim=0)
    assert not norms[:, 3:].any()
    np.testing.assert_allclose(norms[:, :3], 1, rtol=1e-5)


def test_captures_the_output_before_an_activation_in_place() -> None:
    module = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(inplace=True), nn.Conv2d(4, 2, 3), nn.ReLU(inplace=True))
    images = torch.randn(2, 1, 9, 9, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        with captured(module, ["0", "2"]) as outputs:
            module(images)
        assert torch.equal(outputs["0"], module[0](images))
    assert (outputs["0"] < 0).any() and list(outputs) == ["0", "2"]


def test_hooks_are_removed_even_after_an_error() -> None:
    module = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU())
    with pytest.raises(ZeroDivisionError), captured(module, ["0"]):
        assert module[0]._forward_hooks
        raise ZeroDivisionError
    assert not module[0]._forward_hooks
    with pytest.raises(AttributeError), captured(module, ["0", "nothing"]):
        pass
    assert not module[0]._forward_hooks
