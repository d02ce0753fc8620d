"""Owen values (shap's PartitionExplainer) of all items of a batch at once.

The players of the game are an item's features, and v(S) is the network's output with only the coalition S kept. A
binary tree groups the players. From the root down, the marginal value v(S + group) - v(S) of a group in a context S is
divided between its two children: each gets the mean of its marginal values without and with its sibling. A group thus
has two contexts, its children have four, and so on. Groups are split in the order of |marginal value| x weight, as in
shap, until `max_evals` coalitions are evaluated; the value of a group that is not split is divided evenly among its
players. The values are complete for any `max_evals`.

Here every step splits groups of all items and calls the network once. For a tree that is split completely, the
coalitions are known in advance: they are evaluated at once, and the Owen values are one sparse product. The values
equal shap's for the same tree, masker, max_evals and batch size, up to rounding, and except that shap splits groups of
equal value in random order.

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
from xal.explainers.masking import Items, MaskedItems, Values, finite, runs
from xal.explainers.partition_tree import Tree, linked
from xal.explainers.perturbation_explainer import PerturbationExplainer
from xal.types import Explanations

SPAN_PLAYERS = 1024
"""Players up to which the nodes of trees are kept as masks, whose memory grows with the square of the players."""


@dataclass(frozen=True, kw_only=True)
class ShapPartition(PerturbationExplainer, name="shap_partition"):
    """Partition SHAP of words, patches or superpixels, or columns. Invariant: base + attributions = output."""

    tolerance: ClassVar[float | None] = COMPLETE

    max_evals: Annotated[int, Field(ge=2)] = 500
    """Coalitions per item, including the empty one and the whole item."""
    batch_size: Annotated[int, Field(ge=2)] = 10
    """Coalitions of an item that are evaluated before the groups are ranked again."""
    tree: Literal["balanced", "shap"] = "balanced"
    """Texts: recursive halves, or shap's heuristic, which keeps phrases together and is slow."""

    def explain(
        self,
        classifier: Any,
        inputs: Inputs,
        target: Integer[Tensor, " b"] | None = None,
        baselines: Tensor | None = None,
    ) -> Explanations:
        """Attribute each item's output to its words, segments or columns."""
        masked = self.masked(classifier, inputs, baselines)
        n_features = masked.n_features
        all_features = np.arange(int(n_features.max(initial=1))) < n_features[:, None]
        outputs = finite(masked.value(np.arange(len(n_features)), all_features))
        is_probability = self.output == "probability"
        probabilities = torch.as_tensor(
            outputs if is_probability else outputs_function(classifier, "probability")(inputs)
        )
        probabilities = probabilities.double().cpu()
        explained = explained_classes(probabilities, target)
        classes = explained.numpy()
        output = outputs[np.arange(len(classes)), classes]
        trees = self._shap_trees(masked) if self.tree == "shap" and masked.kind == "text" else masked.trees()
        values, base = owen_values(masked, trees, classes, output, self.max_evals, self.batch_size)
        return Explanations(
            explained_class=classes,
            probability=probabilities.gather(1, explained[:, None])[:, 0].numpy(),
            base=base,
            output=output,
            **masked.attributed(values),
        )

    def _shap_trees(self, masked: Any) -> list[Tree]:
        return [
            linked(private.shap_text_tree(tokens)) if len(tokens) > 1 else tree
            for tokens, tree in zip(masked.texts.tokens, masked.trees(), strict=True)
        ]


def owen_values(
    masked: MaskedItems,
    trees: list[Tree],
    classes: npt.NDArray[np.int64],
    output: Values,
    max_evals: int,
    batch_size: int,
) -> tuple[Values, Values]:
    """Owen values of the players (b, m), 0 beyond an item's players, and the value of the empty coalition (b,).

    classes: (b,) the explained class of each item. output: (b,) value of all players. Raises XalError if an item's
    tree has another number of players than the item has features.
    """
    for tree, n_features in zip(trees, masked.n_features, strict=True):
        if n_features and tree.high[0] != n_features:
            raise XalError(f"expected a tree with {n_features} players, one per feature, got {tree.high[0]}")
    values, base = np.zeros((len(trees), int(masked.n_features.max(initial=1)))), np.zeros(len(trees))
    needed = np.array([tree.evaluations for tree in trees])
    room = max_evals - 2
    for truncated in (False, True):
        items = np.flatnonzero((needed > room) == truncated)
        items = items[
            np.argsort(masked.n_features[items], kind="stable")
        ]  # a run's masks are as wide as its widest item
        for run in runs(masked, items, np.minimum(needed[items], room)):
            run_trees = [trees[item] for item in run]
            if truncated:
                search = _Truncated(masked, run_trees, run, classes[run], output[run], room, batch_size)
                run_values, base[run] = search.values()
            else:
                run_values, base[run] = _exact(masked, run_trees, run, classes[run], output[run])
            values[run, : run_values.shape[1]] = run_values
    return values, base


def _exact(
    masked: MaskedItems, trees: list[Tree], items: Items, classes: npt.NDArray[np.int64], output: Values
) -> tuple[Values, Values]:
    """`owen_values` of a run of items whose trees are split completely."""
    counts = np.array([tree.evaluations + 1 for tree in trees])
    starts = np.cumsum(counts) - counts
    masks = np.zeros((counts.sum(), max(int(tree.high[0]) for tree in trees)), bool)
    same_tree = [[row for row, _ in group] for _, group in groupby(enumerate(trees), lambda pair: id(pair[1]))]
    spans = [slice(starts[rows[0]], starts[rows[-1]] + counts[rows[-1]]) for rows in same_tree]
    for rows, span in zip(same_tree, spans, strict=True):
        tree = trees[rows[0]]
        masks[span].reshape(len(rows), counts[rows[0]], masks.shape[1])[:, :, : tree.high[0]] = tree.exact[0]
    value = finite(masked.value(np.repeat(items, counts), masks))[np.arange(len(masks)), np.repeat(classes, counts)]
    values = np.zeros((len(items), masks.shape[1]))
    for rows, span in zip(same_tree, spans, strict=True):
        tree, coalition_values = trees[rows[0]], value[span].reshape(len(rows), -1)
        values[rows, : tree.high[0]] = (tree.exact[1] @ np.column_stack([coalition_values, output[rows]]).T).T
    return values, value[starts]


@dataclass(eq=False)
class _Groups:
    """Groups of players in their contexts, as parallel arrays."""

    item: Items  # (n,) number of the item in the run
    node: Items  # (n,) node of the group in the trees
    without: Items  # (n,) number of the coalition that is the context
    with_it: Items  # (n,) number of the coalition of the context and the group

    def take(self, index: Items) -> _Groups:
        return _Groups(*(array[index] for array in vars(self).values()))

    def put(self, slots: Items, groups: _Groups) -> None:
        for array, other in zip(vars(self).values(), vars(groups).values(), strict=True):
            array[slots] = other


@dataclass(eq=False)
class _Truncated:
    """Owen values of a run of items whose trees need more coalitions than `max_evals` allows."""

    masked: MaskedItems
    trees: list[Tree]
    items: Items
    classes: Items
    output: Values
    room: int  # coalitions per item
    batch: int

    def values(self) -> tuple[Values, Values]:
        """The (b, m) Owen values and (b,) values of the empty coalition, as `owen_values` returns them."""
        b, max_splits = len(self.items), -(-self.room // 2)
        roots = self._join_trees()
        width = self.width
        self.masks = np.zeros((b * (self.room + 3), width), bool)  # coalitions: empty, all players, then evaluated ones
        self.value = np.zeros(len(self.masks))
        empty = np.arange(b)
        base = self._evaluate(empty, empty)
        self.value[b : 2 * b] = self.output
        self.n_coalitions = 2 * b
        self.finished: list[tuple[Items, Items, Values]] = []  # items, nodes, and the value that their players share
        self.rank = np.full((b, 3 * max_splits + 1), -1.0)  # |marginal value| x weight of the groups to split, by item
        self.groups = _Groups(*np.empty((4, self.rank.size), np.int64))
        self.filled = np.zeros(b, np.int64)  # slots used in each row
        self._put(_Groups(empty, roots, empty, empty + b), np.empty(0, np.int64))
        quota = np.full(b, max_splits)  # splits left for each item
        while len(chosen := self._choose(quota)):
            quota -= np.bincount(self.groups.item[chosen], minlength=b)
            self._split(chosen)
        rest = self.groups.take(np.flatnonzero(self.rank >= 0))
        self.finished.append((rest.item, rest.node, self._weighted_marginal(rest)))
        item, node, share = map(np.concatenate, zip(*self.finished, strict=True))
        low, high = self.low[node], self.high[node]
        per_player = share / (high - low)
        ends = np.concatenate([item * (width + 1) + low, item * (width + 1) + high])
        change = np.bincount(ends, np.concatenate([per_player, -per_player]), b * (width + 1)).reshape(b, width + 1)
        return np.asarray(np.cumsum(change, axis=1)[:, :width], np.float64), base

    def _join_trees(self) -> Items:
        """Concatenate the nodes of all distinct trees (`left`, `right`, ...); return (b,) the root of each item."""
        distinct = list({id(tree): tree for tree in self.trees}.values())
        width = max(int(tree.high[0]) for tree in distinct)
        starts = np.cumsum([0, *(len(tree.low) for tree in distinct)])
        self.left, self.right = (
            np.concatenate(
                [np.where(ends < 0, -1, ends + start) for ends, start in zip(children, starts, strict=False)]
            )
            for children in ([tree.left for tree in distinct], [tree.right for tree in distinct])
        )
        self.low, self.high, self.weight = (
            np.concatenate([getattr(tree, name) for tree in distinct]) for name in ("low", "high", "weights")
        )
        self.width, self.span = width, None
        if width <= SPAN_PLAYERS:  # wider trees would need a square of their players
            self.span = np.concatenate([np.pad(tree.spans, ((0, 0), (0, width - tree.high[0]))) for tree in distinct])
        root_of = {id(tree): start for tree, start in zip(distinct, starts, strict=False)}
        return np.array([root_of[id(tree)] for tree in self.trees])

    def _evaluate(self, items: Items, coalitions: Items | slice) -> Values:
        """Evaluate coalitions that are set in `masks`, and store and return their values."""
        value = finite(self.masked.value(self.items[items], self.masks[coalitions]))
        self.value[coalitions] = value[np.arange(len(items)), self.classes[items]]
        return self.value[coalitions]

    def _with_nodes(self, context: npt.NDArray[np.bool_], nodes: Items, out: npt.NDArray[np.bool_]) -> None:
        """Write (n, m) contexts, each with the players of its node, to `out`."""
        if self.span is not None:
            np.bitwise_or(context, self.span[nodes], out=out)
            return
        out[:] = context
        for row, low, high in zip(out, self.low[nodes], self.high[nodes], strict=True):
            row[low:high] = True

    def _choose(self, quota: Items) -> Items:
        """Return the slots of the groups to split next, given the number of splits left for each item."""
        rank, rows = self.rank[:, : self.filled.max()], np.arange(len(quota))
        chosen = []
        for turn in range(-(-self.batch // 2)):
            best = rank.argmax(axis=1)
            splitting = np.flatnonzero((rank[rows, best] >= 0) & (turn < quota))
            rank[splitting, best[splitting]] = -1
            chosen.append(splitting * self.rank.shape[1] + best[splitting])
            if not len(splitting):
                break
        return np.sort(np.concatenate(chosen))

    def _split(self, slots: Items) -> None:
        """Replace groups with their children, each in both contexts."""
        groups, n = self.groups.take(slots), len(slots)
        left, right = self.left[groups.node], self.right[groups.node]
        context = self.masks[groups.without]
        one = np.arange(self.n_coalitions, self.n_coalitions + n)
        other = one + n
        self._with_nodes(context, left, self.masks[one[0] : other[0]])
        self._with_nodes(context, right, self.masks[other[0] : other[0] + n])
        self.n_coalitions += 2 * n
        self._evaluate(np.tile(groups.item, 2), slice(one[0], self.n_coalitions))
        children = _Groups(
            np.repeat(groups.item, 4),
            np.stack([left, right, left, right], axis=1).ravel(),
            np.stack([groups.without, groups.without, other, one], axis=1).ravel(),
            np.stack([one, other, groups.with_it, groups.with_it], axis=1).ravel(),
        )
        self._put(children, slots)

    def _put(self, groups: _Groups, free: Items) -> None:
        """Give groups slots in their items' rows, free ones first; single players are finished and get none."""
        value, single = self._weighted_marginal(groups), self.left[groups.node] < 0
        done, remaining = np.flatnonzero(single), np.flatnonzero(~single)
        self.finished.append((groups.item[done], groups.node[done], value[done]))
        groups, b = groups.take(remaining), len(self.filled)
        n_new, n_free = np.bincount(groups.item, minlength=b), np.bincount(self.groups.item[free], minlength=b)
        over = np.arange(len(remaining)) - (np.cumsum(n_new) - n_new + n_free)[groups.item]  # beyond the free slots
        slots = groups.item * self.rank.shape[1] + self.filled[groups.item] + over
        reused = np.flatnonzero(over < 0)
        slots[reused] = free[np.cumsum(n_free)[groups.item[reused]] + over[reused]]
        self.groups.put(slots, groups)
        self.rank.reshape(-1)[slots] = np.abs(value[remaining])
        self.filled += np.maximum(n_new - n_free, 0)

    def _weighted_marginal(self, groups: _Groups) -> Values:
        """Marginal value x weight: the part of the value of all players that the players of each group share."""
        change = self.value[groups.with_it] - self.value[groups.without]
        return np.asarray(change * self.weight[groups.node])
