"""K-means of many images at once: Lloyd's iteration after greedy k-means++, on tensors (b, p, r).

    minimise over centres m_1..m_k of each image the inertia  sum_p min_j |x_p - m_j|^2

Lloyd 1982, doi 10.1109/TIT.1982.1056489; Arthur and Vassilvitskii 2007 (k-means++; greedy: the best of 2 + log k
candidates, as scikit-learn does). The thesis (section 3.2) runs Faiss an image. Here restarts and images are one
product a step. The random numbers are drawn once a call on the CPU and shared by all images, so that a clustering
depends neither on the other images of the batch nor on the device. A candidate is drawn in proportion to its squared
distance d by the exponential race argmax d_p / e_p, e_p ~ Exp(1). An empty cluster keeps its centre.
Clusters are numbered by their first point.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from xal.errors import XalError

WORKING_ELEMENTS = 2**25  # numbers in the largest intermediate of one chunk of images: 128 MiB of float32
TIE = 1e-4  # restarts whose inertia differs by less, relatively, found the same; the first of them is kept


class Clustering(NamedTuple):
    """The restart of least inertia of each image; empty clusters have the highest numbers."""

    labels: Int64[Tensor, "b p"]
    centres: Float[Tensor, "b k r"]
    inertia: Float64[Tensor, " b"]


class Draws(NamedTuple):
    """The random numbers of a call, s restarts and t candidates a centre."""

    first: Int64[Tensor, " s"]
    race: Float[Tensor, "more s t p"]


def kmeans(
    points: Float[Tensor, "b p r"], k: int, *, restarts: int = 2, iterations: int = 25, seed: int = 0
) -> Clustering:
    """Cluster each image's p points into k; at most `iterations` steps, fewer once no label changes."""
    if not (k >= 1 and restarts >= 1 and iterations >= 1):
        raise XalError(f"k, restarts and iterations must be at least 1, got {k}, {restarts}, {iterations}")
    count = points.shape[1]
    generator = torch.Generator().manual_seed(seed)
    candidates = 2 + int(math.log(k))
    first = torch.randint(count, (restarts,), generator=generator)
    race = torch.empty(k - 1, restarts, candidates, count).exponential_(generator=generator)
    race.clamp_(min=torch.finfo(race.dtype).tiny)  # a zero would make 0 / 0 of a point that is a centre already
    draws = Draws(first.to(points.device), race.to(points.device, points.dtype))
    size = max(1, WORKING_ELEMENTS // (count * restarts * max(k, candidates)))
    chunks = [_cluster(chunk, k, draws, iterations) for chunk in torch.split(points, size)]
    return Clustering(*(torch.cat(parts) for parts in zip(*chunks, strict=True)))


def assign(points: Float[Tensor, "b p r"], centres: Float[Tensor, "b k r"]) -> Int64[Tensor, "b p"]:
    """The nearest centre of every point; the lowest index where tied."""
    return _nearest(points, centres[:, None])[0][:, 0]


def _nearest(
    points: Float[Tensor, "b p r"], centres: Float[Tensor, "b s k r"]
) -> tuple[Int64[Tensor, "b s p"], Float[Tensor, "b s p"]]:
    """argmin and min over centres of |m|^2 / 2 - x'm, which is (d^2 - |x|^2) / 2."""
    flat = centres.flatten(1, 2)
    half = flat.square().sum(-1, keepdim=True) / 2
    cost = torch.baddbmm(half, flat, points.mT, alpha=-1).view(*centres.shape[:3], -1)
    least, labels = cost.min(dim=2)
    return labels, least


def _cluster(points: Float[Tensor, "b p r"], k: int, draws: Draws, iterations: int) -> Clustering:
    """Lloyd's iteration for the images of one chunk, all restarts together."""
    centres = _plus_plus(points, k, draws)
    labels, least = _nearest(points, centres)
    for _ in range(iterations):
        centres = _means(points, labels, centres)
        moved, least = _nearest(points, centres)
        if torch.equal(moved, labels):
            break
        labels = moved
    squares = points.square().sum(-1)[:, None]
    inertia = (squares + 2 * least).clamp(min=0).sum(-1, dtype=torch.float64)  # (b, s)
    best = (inertia <= inertia.amin(1, keepdim=True) * (1 + TIE)).int().argmax(1)
    images = torch.arange(len(points), device=points.device)
    return Clustering(*_ordered(labels[images, best], centres[images, best]), inertia[images, best])


def _ordered(
    labels: Int64[Tensor, "b p"], centres: Float[Tensor, "b k r"]
) -> tuple[Int64[Tensor, "b p"], Float[Tensor, "b k r"]]:
    """Number the clusters by their first point, empty ones last: restarts that agree then give the same labels."""
    count = labels.shape[1]
    places = torch.arange(count, device=labels.device).expand_as(labels)
    first = torch.full(centres.shape[:2], count, device=labels.device).scatter_reduce(1, labels, places, "amin")
    order = first.argsort(dim=1, stable=True)
    return order.argsort(dim=1).gather(1, labels), centres.take_along_dim(order[..., None], 1)


def _means(
    points: Float[Tensor, "b p r"], labels: Int64[Tensor, "b s p"], centres: Float[Tensor, "b s k r"]
) -> Float[Tensor, "b s k r"]:
    """The mean of each cluster by a product with its one-hot labels (a scatter is not deterministic on a GPU)."""
    numbers = torch.arange(centres.shape[2], device=points.device)
    members = (labels[:, :, None] == numbers[:, None]).to(points.dtype)  # (b, s, k, p)
    sums = torch.bmm(members.flatten(1, 2), points).view_as(centres)
    sizes = members.sum(-1, keepdim=True)
    return torch.where(sizes > 0, sums / sizes.clamp(min=1), centres)


def _plus_plus(points: Float[Tensor, "b p r"], k: int, draws: Draws) -> Float[Tensor, "b s k r"]:
    """Greedy k-means++: each further centre is the candidate that lowers the inertia most."""
    images = torch.arange(len(points), device=points.device)
    squares = points.square().sum(-1)[:, None]
    chosen = [points[:, draws.first]]  # k of (b, s, r)
    closest = (squares + 2 * _nearest(points, chosen[0][:, :, None])[1]).clamp(min=0)  # (b, s, p)
    for race in draws.race:
        picks = (closest[:, :, None] / race).argmax(-1)  # (b, s, t)
        proposed = points[images[:, None, None], picks]  # (b, s, t, r)
        reach = _nearest(points, proposed.flatten(1, 2)[:, :, None])[1].view(-1, *race.shape)
        reached = torch.minimum((squares[:, None] + 2 * reach).clamp(min=0), closest[:, :, None])  # (b, s, t, p)
        winner = reached.sum(-1).argmin(-1)[..., None, None]  # (b, s, 1, 1)
        chosen.append(proposed.take_along_dim(winner, 2).squeeze(2))
        closest = reached.take_along_dim(winner, 2).squeeze(2)
    return torch.stack(chosen, 2)
