"""Reduced hypercolumns: the activations of each pixel over several layers, reduced to r components.

A hypercolumn stacks the activations of a pixel over layers, each layer resized bilinearly to the image (half-pixel
centres, clamped edges). Resizing is linear: for the layers of one resolution g, the hypercolumns are U_g A_g, with the
activations A_g (n_g, c_g) and the interpolation U_g (h w, n_g). With X = [U_1 A_1, U_2 A_2, ...]:

    X'X = [A_g' (U_g'U_g'') A_g'']          eigenvectors V if there are fewer channels, or
    R blockdiag(A_g A_g') R,  R = (U'U)^1/2   eigenvectors W, V = blockdiag(A_g') R W / s, if there are fewer positions.

The reduced vectors are sum_g U_g (A_g V_g). X is never built, only r maps are resized, and the singular values s are
those of all h w rows. PCA does the same with A_g - 1 c'A_g in place of A_g, where c = U_g'1 / (h w), since U_g 1 = 1.

Ventura, Cerquitelli, Giacalone 2018, doi 10.1007/978-3-030-00063-9_15 (PCA); the thesis, section 3.2 (truncated SVD).
Departure: the thesis fits on a random 1% of the rows; here the decomposition is exact, of all rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xal.core._typing import Float, Float32, Float64

Reduction = Literal["svd", "pca"]
NOISE = 1e-6  # a few float32 rounding errors: smaller values, relative to the norm of X, are set to 0


class Hypercolumns(NamedTuple):
    """One unit vector per pixel (0 if the reduced vector is 0), and the singular values, 0 beyond the rank."""

    vectors: Float32[Tensor, "b r h w"]
    singular_values: Float64[Tensor, "b r"]


@contextmanager
def captured(module: nn.Module, names: Sequence[str]) -> Iterator[Mapping[str, Tensor]]:
    """Yield copies of the named layers' outputs in the last forward pass; hooks are removed even after an error."""
    outputs: dict[str, Tensor] = {}

    def hook(name: str) -> Any:
        def store(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
            outputs[name] = output.detach().clone()  # a copy, because an in-place activation overwrites it

        return store

    layers = [
        (name, module.get_submodule(name)) for name in names
    ]  # before any hook is set, because an unknown name raises
    handles = [layer.register_forward_hook(hook(name)) for name, layer in layers]
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()


def hypercolumns(
    activations: Sequence[Float[Tensor, "b _ _ _"]],
    size: tuple[int, int],
    components: int = 10,
    reduction: Reduction = "svd",
) -> Hypercolumns:
    """Reduce the hypercolumns of activations (b, channels, height, width) at the image size (h, w).

    reduction: "svd", the truncated SVD of X, or "pca", the SVD of X minus its mean row.
    """
    groups: dict[tuple[int, int], list[Tensor]] = {}
    for maps in activations:
        groups.setdefault((maps.shape[2], maps.shape[3]), []).append(
            maps.to(torch.float64, memory_format=torch.contiguous_format)
        )
    layers = [torch.cat(maps, 1) for maps in groups.values()]  # (b, c_g, h_g, w_g) each
    axes = [_axes(layer, size) for layer in layers]
    rows = size[0] * size[1]

    power = torch.zeros(len(layers[0]), dtype=torch.float64, device=layers[0].device)
    if reduction == "pca":
        for index, (layer, (down, across)) in enumerate(zip(layers, axes, strict=True)):
            mean = torch.einsum("bchw,h,w->bc", layer, down.mean(0), across.mean(0))
            power += rows * mean.square().sum(1)
            layers[index] = layer - mean[..., None, None]

    channels, positions = (sum(sizes) for sizes in zip(*((m.shape[1], m[0, 0].numel()) for m in layers), strict=True))
    project = _by_channels if channels <= positions else _by_positions
    energy, scores = project(layers, axes, components)
    power += energy.sum(1)  # |X|^2, including the mean row
    energy = energy[:, :components].clamp(min=0)
    significant = energy.sqrt() > NOISE * power.sqrt()[:, None]
    maps = torch.zeros(len(power), energy.shape[1], *size, device=power.device)
    for score, (down, across) in zip(scores, axes, strict=True):
        low = torch.where(significant[..., None, None], score, 0.0).float()
        maps += down.float() @ low @ across.float().mT

    missing = components - energy.shape[1]
    singular = F.pad(torch.where(significant, energy, 0.0).sqrt(), (0, missing))
    squares = maps.square().sum(1, keepdim=True)
    floor = (NOISE * (power / rows).sqrt()).float()[:, None, None, None]
    maps *= torch.where(squares.sqrt() > floor, squares.clamp(min=1e-30).rsqrt(), 0.0)
    return Hypercolumns(F.pad(maps, (0, 0, 0, 0, 0, missing)) if missing else maps, singular)


def _axes(layer: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """The interpolation matrices (h, h_g) and (w, w_g) of the axes; U_g is their Kronecker product."""

    def axis(low: int, high: int) -> Tensor:
        unit = torch.eye(low, dtype=layer.dtype, device=layer.device)
        return F.interpolate(unit[None], size=high, mode="linear", align_corners=False)[0].mT

    return axis(layer.shape[2], size[0]), axis(layer.shape[3], size[1])


def _by_channels(
    layers: Sequence[Tensor], axes: Sequence[tuple[Tensor, Tensor]], components: int
) -> tuple[Tensor, list[Tensor]]:
    """From X'X (C x C): squared singular values (b, C), descending, and A_g V_g as maps (b, r, h_g, w_g)."""
    blocks = []
    for left, (down, across) in zip(layers, axes, strict=True):
        row = []
        for right, (other_down, other_across) in zip(layers, axes, strict=True):
            resized = torch.matmul(down.mT @ other_down, torch.matmul(right, other_across.mT @ across))
            row.append(torch.bmm(left.flatten(2), resized.flatten(2).mT))
        blocks.append(torch.cat(row, 2))
    energy, vectors = torch.linalg.eigh(torch.cat(blocks, 1))
    leading = vectors.flip(2)[:, :, :components]
    parts = leading.split([layer.shape[1] for layer in layers], dim=1)
    return energy.flip(1), [torch.einsum("bchw,bcr->brhw", *pair) for pair in zip(layers, parts, strict=True)]


def _by_positions(
    layers: Sequence[Tensor], axes: Sequence[tuple[Tensor, Tensor]], components: int
) -> tuple[Tensor, list[Tensor]]:
    """As `_by_channels`, from R blockdiag(A_g A_g') R (n x n)."""
    gram = torch.cat(
        [torch.cat([torch.kron(d.mT @ e, a.mT @ f) for e, f in axes], dim=1) for d, a in axes], dim=0
    )  # U'U
    values, basis = torch.linalg.eigh(gram)  # singular if resolutions share maps, such as the constant one
    root = (basis * values.clamp(min=0).sqrt()) @ basis.mT
    kernels = [torch.bmm(layer.flatten(2).mT, layer.flatten(2)) for layer in layers]  # A_g A_g'
    parts = root.split([kernel.shape[1] for kernel in kernels], dim=0)
    energy, vectors = torch.linalg.eigh(
        sum((part.mT @ kernel @ part for part, kernel in zip(parts, kernels, strict=True)), torch.zeros_like(root))
    )
    energy, leading = energy.flip(1), vectors.flip(2)[:, :, :components]
    leading = leading / energy[:, None, :components].clamp(min=torch.finfo(energy.dtype).tiny).sqrt()
    scores = [
        (kernel @ (part @ leading)).mT.unflatten(2, layer.shape[2:])
        for layer, kernel, part in zip(layers, kernels, parts, strict=True)
    ]
    return energy, scores
