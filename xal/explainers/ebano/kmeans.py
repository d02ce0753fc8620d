"""K-means of many images at once, for all k together: Lloyd's iteration after greedy k-means++, on tensors (b, r, p).

    minimise over centres m_1..m_k of each image the inertia  sum_p min_j |x_p - m_j|^2

Lloyd 1982, doi 10.1109/TIT.1982.1056489; Arthur and Vassilvitskii 2007 (k-means++; greedy: the best of 2 + log k
candidates, as in scikit-learn). The thesis (section 3.2) runs Faiss for each image and each k. Here

- the centres of all k and all restarts of an image are rows of one matrix, so that a step for a batch of images is two
  products: (-m, |m|^2 / 2) times (x, 1) gives (d^2 - |x|^2) / 2, and memberships times (x, 1) give sums and sizes;
- k-means++ runs once, for the largest k, and its first j centres are used for k = j; no k depends on the others;
- restarts run on a lattice of the points (every 5th of 56 x 56); the worse ones are discarded in two comparisons, and
  the best one of each k continues with all points.

The random numbers are drawn on the CPU and shared by all images, so that a clustering depends neither on the other
images of the batch nor on the device. A candidate is drawn with probability proportional to its squared distance d by
the exponential race argmax d_p / e_p, e_p ~ Exp(1). A point at equal distance from two centres counts for both. An
empty cluster keeps its centre. Clusters are numbered by their first point, empty ones last.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from xal.core._typing import Float, Float64, Int64
from xal.errors import XalError

SCREENING = 5  # steps before the restarts are compared
KEPT_SHARES = (0.5, 0.0)  # share of the restarts (at least one) that continues after the first and second comparison
MIN_POINTS = 256  # fewest points that restarts are compared on, if an image has as many
TIE = 1e-4  # restarts are tied if their inertia differs by less, relatively; the first of them continues
WORKING_ELEMENTS = {"cpu": 2**21, "cuda": 2**28}  # numbers in the largest intermediate of one chunk of images


class Clustering(NamedTuple):
    """The centres for one k, and the inertia over the points that they were fitted to."""

    centres: Float[Tensor, "b k r"]
    inertia: Float64[Tensor, " b"]


class _Group(NamedTuple):
    """The rows of one k in the matrix of centres: s restarts with k centres each."""

    restarts: int
    k: int


class _Draws(NamedTuple):
    """The random numbers of a call: sampled points, s first centres among them, and rates that draw candidates."""

    sample: Int64[Tensor, " n"]
    first: Int64[Tensor, " s"]
    rates: tuple[Float[Tensor, "s t n"], ...]


def kmeans(
    points: Float[Tensor, "b r p"], ks: Sequence[int], *, restarts: int = 10, iterations: int = 60, seed: int = 0
) -> list[Clustering]:
    """Cluster each image's p points for each of `ks`, with at most `iterations` steps, fewer if no centre moves.

    Returns one Clustering per k. Raises XalError for numbers below 1.
    """
    if not (len(ks) and min(ks) >= 1 and restarts >= 1 and iterations >= 1):
        raise XalError(f"k, restarts and iterations must be at least 1, got {list(ks)}, {restarts}, {iterations}")
    sample, first, rates = _draws(points.shape[2], max(ks), restarts, seed)
    device = points.device
    draws = _Draws(sample.to(device), first.to(device), tuple(rate.to(device) for rate in rates))
    working = WORKING_ELEMENTS.get(points.device.type, WORKING_ELEMENTS["cpu"])
    rows = max(sum(ks) * points.shape[2], sum(ks) * restarts * len(draws.sample))
    chunks = [_cluster(chunk, ks, draws, iterations) for chunk in points.split(max(1, working // rows))]
    return [Clustering(*map(torch.cat, zip(*same_k, strict=True))) for same_k in zip(*chunks, strict=True)]


@lru_cache(maxsize=8)
def _draws(count: int, k: int, restarts: int, seed: int) -> _Draws:
    generator = torch.Generator().manual_seed(seed)
    step = 1 if restarts == 1 else _lattice(count)
    sample = torch.arange(0, count, step)
    first = torch.randint(len(sample), (restarts,), generator=generator)
    shapes = [(restarts, 2 + int(math.log(n_centres)), len(sample)) for n_centres in range(2, k + 1)]
    races = [torch.empty(shape).exponential_(generator=generator) for shape in shapes]
    return _Draws(sample, first, tuple(race.clamp_(min=1e-30).reciprocal_() for race in races))


def _lattice(count: int) -> int:
    """A step coprime to the count, so that the rows of an image are sampled at different columns."""
    return next((step for step in range(7, 1, -1) if math.gcd(step, count) == 1 and count // step >= MIN_POINTS), 1)


def _cluster(points: Float[Tensor, "b r p"], ks: Sequence[int], draws: _Draws, iterations: int) -> list[Clustering]:
    """`kmeans` for the images of one chunk."""
    extended = torch.cat([points, torch.ones_like(points[:, :1])], 1)  # (b, r + 1, p)
    sampled = extended[:, :, draws.sample]
    restarts = len(draws.first)
    chosen = _plus_plus(sampled, max(ks), draws)
    centres = torch.cat([chosen[:, :, :k].flatten(1, 2) for k in ks], 1)  # (b, sum of s k, r)
    for share in KEPT_SHARES:
        groups = [_Group(restarts, k) for k in ks]
        if restarts > 1:
            restarts = max(1, int(share * restarts))
            centres, _ = _best(sampled, _lloyd(sampled, centres, groups, min(SCREENING, iterations)), groups, restarts)
    groups = [_Group(1, k) for k in ks]
    centres, inertia = _best(extended, _lloyd(extended, centres, groups, iterations), groups, 1)
    parts = zip(centres.split(list(ks), 1), inertia.unbind(1), strict=True)
    return [Clustering(_ordered(extended, part), part_inertia) for part, part_inertia in parts]


def assign(points: Float[Tensor, "b r p"], centres: Float[Tensor, "b k r"]) -> Int64[Tensor, "b p"]:
    """The index of the nearest centre of every point; any of them if tied."""
    half = centres.square().sum(-1, keepdim=True) / 2
    return torch.baddbmm(half, centres, points, alpha=-1).min(1).indices


def _costs(extended: Float[Tensor, "b r1 p"], centres: Float[Tensor, "b s r"]) -> Float[Tensor, "b s p"]:
    """|m|^2 / 2 - x'm = (d^2 - |x|^2) / 2 of every centre and point."""
    return torch.bmm(torch.cat([-centres, centres.square().sum(-1, keepdim=True) / 2], -1), extended)


def _lloyd(
    extended: Float[Tensor, "b r1 p"], centres: Float[Tensor, "b s r"], groups: Sequence[_Group], iterations: int
) -> Float[Tensor, "b s r"]:
    """Lloyd's iteration until no centre moves; images that converged are dropped when they are half or more."""
    result = centres.clone()
    images = torch.arange(len(centres), device=centres.device)
    for _ in range(iterations):
        before, centres = centres, _step(extended, centres, groups)
        moving = (centres != before).flatten(1).any(1)
        count = int(moving.sum())
        if 2 * count <= len(moving):
            result[images] = centres
            images, extended, centres = images[moving], extended[moving], centres[moving]
            if not count:
                break
    result[images] = centres
    return result


def _step(
    extended: Float[Tensor, "b r1 p"], centres: Float[Tensor, "b s r"], groups: Sequence[_Group]
) -> Float[Tensor, "b s r"]:
    """The mean of each cluster's points; an empty one keeps its centre."""
    members = _costs(extended, centres)
    for costs, group in zip(members.split([s * k for s, k in groups], 1), groups, strict=True):
        by_centre = costs.unflatten(1, group)
        by_centre.le_(by_centre.amin(2, keepdim=True))  # in place: 1 for a member, 0 for the others
    sums = torch.bmm(extended, members.mT).mT  # this order is faster on a CPU
    sizes = sums[..., -1:]
    return torch.where(sizes > 0, sums[..., :-1] / sizes.clamp(min=1), centres)


def _best(
    extended: Float[Tensor, "b r1 p"],
    centres: Float[Tensor, "b s r"],
    groups: Sequence[_Group],
    keep: int,
) -> tuple[Float[Tensor, "b ks r"], Float64[Tensor, "b g"]]:
    """The centres of the `keep` best restarts of each group, best first, and the least inertia."""
    power = _squares(extended).sum(1, dtype=torch.float64)[:, None]
    sizes = [s * k for s, k in groups]
    best_centres, least = [], []
    by_group = zip(_costs(extended, centres).split(sizes, 1), centres.split(sizes, 1), groups, strict=True)
    for costs, rows, group in by_group:
        nearest = costs.unflatten(1, group).amin(2)  # (b, s, p)
        inertia = (power + 2 * nearest.sum(-1, dtype=torch.float64)).clamp(min=0)
        tied = inertia <= inertia.amin(1, keepdim=True) * (1 + TIE)
        best = torch.where(tied, -1.0, inertia).argsort(dim=1, stable=True)[:, :keep]
        best_centres.append(rows.unflatten(1, group).take_along_dim(best[..., None, None], 1).flatten(1, 2))
        least.append(inertia.take_along_dim(best[:, :1], 1))
    return torch.cat(best_centres, 1), torch.cat(least, 1)


def _ordered(extended: Float[Tensor, "b r1 p"], centres: Float[Tensor, "b k r"]) -> Float[Tensor, "b k r"]:
    """Number clusters by their first point, empty ones last, so that equal clusterings have equal labels."""
    count = extended.shape[2]
    labels = _costs(extended, centres).min(1).indices
    numbers = torch.arange(centres.shape[1], device=labels.device)[:, None]
    positions = torch.arange(count, device=labels.device, dtype=torch.int32)
    first = torch.where(labels[:, None] == numbers, positions, count).amin(2)
    return centres.take_along_dim(first.argsort(dim=1, stable=True)[..., None], 1)


def _plus_plus(extended: Float[Tensor, "b r1 n"], k: int, draws: _Draws) -> Float[Tensor, "b s k r"]:
    """Greedy k-means++: each further centre is the candidate that reduces the inertia most."""
    points, squares = extended[:, :-1], _squares(extended)[:, None]
    chosen = [points[:, :, draws.first].mT]  # k of (b, s, r)
    closest = (squares + 2 * _costs(extended, chosen[0])).clamp(min=0)  # (b, s, n)
    for rate in draws.rates:
        shape = rate.shape[:2]
        picks = (closest[:, :, None] * rate).max(-1).indices.flatten(1)  # (b, s t)
        proposed = points.take_along_dim(picks[:, None], 2).mT  # (b, s t, r)
        reach = (squares + 2 * _costs(extended, proposed)).clamp(min=0).unflatten(1, shape)
        reach = torch.minimum(reach, closest[:, :, None])  # (b, s, t, n)
        winner = reach.sum(-1).min(-1).indices[..., None, None]  # (b, s, 1, 1)
        chosen.append(proposed.unflatten(1, shape).take_along_dim(winner, 2).squeeze(2))
        closest = reach.take_along_dim(winner, 2).squeeze(2)
    return torch.stack(chosen, 2)


def _squares(extended: Float[Tensor, "b r1 p"]) -> Float[Tensor, "b p"]:
    """|x|^2 of every point."""
    return extended[:, :-1].square().sum(1)
