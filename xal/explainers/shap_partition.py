"""Owen values (shap's PartitionExplainer), of all items of a batch at once.

Players are grouped by a binary tree. From the root, a group's worth in a context S, v(S + group) - v(S), is shared by
its two children: each is worth the mean of its marginal without and with its sibling, so a group is weighed in two
contexts, its children in four, and so on. Groups are opened in the order of |worth| x weight, as shap opens them,
until `max_evals` coalitions were asked for; what is not opened is shared evenly by its players. Complete at any
`max_evals`.

Here every step opens groups of all items and asks the network once. The coalitions of a tree that is opened whole are
known beforehand: they are asked about at once, and the values are one sparse product. The same values as shap's for
the same tree, masker, max_evals and batch size, up to rounding and up to groups of equal worth, which shap opens at
random.

G. Owen 1977, "Values of games with a priori unions"; S. Lundberg's `shap` 0.51, `PartitionExplainer`.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from xal.core import private
from xal.core._typing import Field, Integer
from xal.errors import XalError
from xal.explainers.explainer import COMPLETE, Inputs, explained_classes, outputs_function
from xal.explainers.masking import Items, MaskedItems, MaskedTexts, Values, finite, runs
from xal.explainers.partition_tree import Tree, linked
from xal.explainers.perturbation_explainer import PerturbationExplainer
from xal.types import Explanations


@dataclass(frozen=True, kw_only=True)
class ShapPartition(PerturbationExplainer, name="shap_partition"):
    """Partition SHAP of words, patches or superpixels, columns. Invariant: base + attributions = output."""

    tolerance: ClassVar[float | None] = COMPLETE

    max_evals: Annotated[int, Field(ge=2)] = 500
    """Coalitions an item, the empty one and the whole counted."""
    batch_size: Annotated[int, Field(ge=2)] = 10
    """Coalitions of an item that are asked for before the most worthy groups are looked for again."""
    tree: Literal["balanced", "shap"] = "balanced"
    """Texts: halves of halves, or shap's heuristic, which keeps phrases together and is slow."""

    def explain(
        self,
        classifier: Any,
        inputs: Inputs,
        target: Integer[Tensor, " b"] | None = None,
        baselines: Tensor | None = None,
    ) -> Explanations:
        """Of each item's words, parts or columns."""
        masked = self.masked(classifier, inputs, baselines)
        everyone = np.arange(int(masked.players.max(initial=1))) < masked.players[:, None]
        whole = finite(masked.value(np.arange(len(masked.players)), everyone))
        told = whole if self.output == "probability" else outputs_function(classifier, "probability")(inputs)
        probabilities = torch.as_tensor(told).double().cpu()
        explained = explained_classes(probabilities, target)
        of = explained.numpy()
        output = whole[np.arange(len(of)), of]
        trees = self._shap_trees(masked) if self.tree == "shap" and isinstance(masked, MaskedTexts) else masked.trees()
        values, base = owen_values(masked, trees, of, output, self.max_evals, self.batch_size)
        return Explanations(
            explained_class=of,
            probability=probabilities.gather(1, explained[:, None])[:, 0].numpy(),
            base=base,
            output=output,
            **masked.attributed(values),
        )

    def _shap_trees(self, masked: MaskedTexts) -> list[Tree]:
        short = [tokens if len(tokens) > 1 else None for tokens in masked.texts.tokens]
        return [
            tree if tokens is None else linked(private.shap_text_tree(tokens))
            for tokens, tree in zip(short, masked.trees(), strict=True)
        ]


def owen_values(
    masked: MaskedItems,
    trees: list[Tree],
    classes: npt.NDArray[np.int64],
    output: Values,
    max_evals: int,
    batch_size: int,
) -> tuple[Values, Values]:
    """((b, m) values of the players, (b,) worth of none), of each item's class; 0 beyond an item's players.

    output: (b,) worth of all players. Raises XalError where an item's tree is of another size.
    """
    for tree, players in zip(trees, masked.players, strict=True):
        if players and tree.high[0] != players:
            raise XalError(f"a tree over {tree.high[0]} players was given for an item of {players}")
    values, base = np.zeros((len(trees), int(masked.players.max(initial=1)))), np.zeros(len(trees))
    need = np.array([tree.evaluations for tree in trees])
    room = max_evals - 2
    for cut in (False, True):  # those whose whole tree is opened ask for no order
        items = np.flatnonzero((need > room) == cut)
        items = items[np.argsort(masked.players[items], kind="stable")]  # masks are as wide as the widest item of a run
        for here in runs(masked, items, np.minimum(need[items], room)):
            some = [trees[item] for item in here]
            if cut:
                part, base[here] = _Cut(masked, some, here, classes[here], output[here], room, batch_size).run()
            else:
                part, base[here] = _whole(masked, some, here, classes[here], output[here])
            values[here, : part.shape[1]] = part
    return values, base


def _whole(
    masked: MaskedItems, trees: list[Tree], items: Items, classes: npt.NDArray[np.int64], output: Values
) -> tuple[Values, Values]:
    """Of a run of items whose trees are opened whole."""
    counts = np.array([tree.evaluations + 1 for tree in trees])
    starts = np.cumsum(counts) - counts
    masks = np.zeros((counts.sum(), max(int(tree.high[0]) for tree in trees)), bool)
    alike = [[row for row, _ in same] for _, same in groupby(enumerate(trees), lambda each: id(each[1]))]
    asked = [slice(starts[rows[0]], starts[rows[-1]] + counts[rows[-1]]) for rows in alike]
    for rows, here in zip(alike, asked, strict=True):
        tree = trees[rows[0]]
        masks[here].reshape(len(rows), counts[rows[0]], masks.shape[1])[:, :, : tree.high[0]] = tree.opened[0]
    value = finite(masked.value(np.repeat(items, counts), masks))[np.arange(len(masks)), np.repeat(classes, counts)]
    values = np.zeros((len(items), masks.shape[1]))
    for rows, here in zip(alike, asked, strict=True):
        tree, known = trees[rows[0]], value[here].reshape(len(rows), -1)
        values[rows, : tree.high[0]] = (tree.opened[1] @ np.column_stack([known, output[rows]]).T).T
    return values, value[starts]


@dataclass(eq=False)
class _Groups:
    """Groups of players in contexts, item by item."""

    item: Items  # (n,) of the run
    node: Items  # (n,)
    without: Items  # (n,) number of the coalition that is the context
    with_it: Items  # (n,) that of the context and the group

    def take(self, index: Items) -> _Groups:
        return _Groups(*(part[index] for part in vars(self).values()))

    def put(self, places: Items, groups: _Groups) -> None:
        for part, other in zip(vars(self).values(), vars(groups).values(), strict=True):
            part[places] = other


@dataclass(eq=False)
class _Cut:
    """One run of items through trees that need more coalitions than they may ask for."""

    masked: MaskedItems
    trees: list[Tree]
    items: Items
    classes: Items
    output: Values
    room: int  # coalitions that each may ask for
    batch: int

    def run(self) -> tuple[Values, Values]:
        """As `owen_values`, of these items."""
        b, opened = len(self.items), -(-self.room // 2)
        roots = self._plant()
        width = self.span.shape[1]
        self.masks = np.zeros((b * (self.room + 3), width), bool)  # every coalition: none, all, what is asked about
        self.value = np.zeros(len(self.masks))
        none = np.arange(b)
        base = self._ask(none, none)
        self.value[b : 2 * b] = self.output
        self.known = 2 * b
        self.ended: list[tuple[Items, Items, Values]] = []  # items, nodes, and what their players share
        self.rank = np.full((b, 3 * opened + 1), -1.0)  # |worth| x weight of the groups that may be opened, by item
        self.groups = _Groups(*np.empty((4, self.rank.size), np.int64))
        self.filled = np.zeros(b, np.int64)  # of each row
        self._put(_Groups(none, roots, none, none + b), np.empty(0, np.int64))
        quota = np.full(b, opened)  # groups that each may open yet
        while len(chosen := self._choose(quota)):
            quota -= np.bincount(self.groups.item[chosen], minlength=b)
            self._open(chosen)
        rest = self.groups.take(np.flatnonzero(self.rank >= 0))
        self.ended.append((rest.item, rest.node, self._share_of(rest)))
        item, node, share = map(np.concatenate, zip(*self.ended, strict=True))
        low, high = self.low[node], self.high[node]
        each = share / (high - low)
        places = np.concatenate([item * (width + 1) + low, item * (width + 1) + high])
        change = np.bincount(places, np.concatenate([each, -each]), b * (width + 1)).reshape(b, width + 1)
        return np.asarray(np.cumsum(change, axis=1)[:, :width], np.float64), base

    def _plant(self) -> Items:
        """(b,) the root of each item's tree, in the nodes of all of them: `left`, `right`, `low`, `high`, ..."""
        distinct = list({id(tree): tree for tree in self.trees}.values())
        width = max(int(tree.high[0]) for tree in distinct)
        starts = np.cumsum([0, *(len(tree.low) for tree in distinct)])
        self.left, self.right = (
            np.concatenate([np.where(ends < 0, -1, ends + start) for ends, start in zip(each, starts, strict=False)])
            for each in ([tree.left for tree in distinct], [tree.right for tree in distinct])
        )
        self.low, self.high, self.weight = (
            np.concatenate([getattr(tree, name) for tree in distinct]) for name in ("low", "high", "weights")
        )
        self.span = np.concatenate([np.pad(tree.spans, ((0, 0), (0, width - tree.high[0]))) for tree in distinct])
        place = {id(tree): start for tree, start in zip(distinct, starts, strict=False)}
        return np.array([place[id(tree)] for tree in self.trees])

    def _ask(self, items: Items, coalitions: Items | slice) -> Values:
        """The worth of coalitions that stand in `masks`."""
        value = finite(self.masked.value(self.items[items], self.masks[coalitions]))
        self.value[coalitions] = value[np.arange(len(items)), self.classes[items]]
        return self.value[coalitions]

    def _choose(self, quota: Items) -> Items:
        """Take the places of the groups to open now, item by item, given how many each item may open yet."""
        rank, rows = self.rank[:, : self.filled.max()], np.arange(len(quota))
        chosen = []
        for turn in range(-(-self.batch // 2)):
            best = rank.argmax(axis=1)
            now = np.flatnonzero((rank[rows, best] >= 0) & (turn < quota))
            rank[now, best[now]] = -1
            chosen.append(now * self.rank.shape[1] + best[now])
            if not len(now):
                break
        return np.sort(np.concatenate(chosen))

    def _open(self, places: Items) -> None:
        """Put the children of groups, in both contexts, in their stead."""
        groups, n = self.groups.take(places), len(places)
        left, right = self.left[groups.node], self.right[groups.node]
        context = self.masks[groups.without]
        one = np.arange(self.known, self.known + n)
        other = one + n
        np.bitwise_or(context, self.span[left], out=self.masks[one[0] : other[0]])
        np.bitwise_or(context, self.span[right], out=self.masks[other[0] : other[0] + n])
        self.known += 2 * n
        self._ask(np.tile(groups.item, 2), slice(one[0], self.known))
        children = _Groups(
            np.repeat(groups.item, 4),
            np.stack([left, right, left, right], axis=1).ravel(),
            np.stack([groups.without, groups.without, other, one], axis=1).ravel(),
            np.stack([one, other, groups.with_it, groups.with_it], axis=1).ravel(),
        )
        self._put(children, places)

    def _put(self, groups: _Groups, free: Items) -> None:
        """Give groups places in their items' rows, the free ones first; single players need none, they have ended."""
        value, single = self._share_of(groups), self.left[groups.node] < 0
        ended, lasting = np.flatnonzero(single), np.flatnonzero(~single)
        self.ended.append((groups.item[ended], groups.node[ended], value[ended]))
        groups, b = groups.take(lasting), len(self.filled)
        many, room = np.bincount(groups.item, minlength=b), np.bincount(self.groups.item[free], minlength=b)
        over = np.arange(len(lasting)) - (np.cumsum(many) - many + room)[groups.item]  # of the item's free places
        places = groups.item * self.rank.shape[1] + self.filled[groups.item] + over
        reused = np.flatnonzero(over < 0)
        places[reused] = free[np.cumsum(room)[groups.item[reused]] + over[reused]]
        self.groups.put(places, groups)
        self.rank.reshape(-1)[places] = np.abs(value[lasting])
        self.filled += np.maximum(many - room, 0)

    def _share_of(self, groups: _Groups) -> Values:
        """In their contexts x weight: what their players share of the worth of all."""
        change = self.value[groups.with_it] - self.value[groups.without]
        return np.asarray(change * self.weight[groups.node])
