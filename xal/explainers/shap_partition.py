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

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from xal.errors import XalError
from xal.explainers.explainer import Payload, check_complete, explained_classes, outputs_function
from xal.explainers.games import ByCoalitions, Game, Items, TextGame, Values, finite, runs
from xal.explainers.trees import Tree, linked
from xal.hints import Field, Integer
from xal.types import Explanations


@dataclass(frozen=True, kw_only=True)
class ShapPartition(ByCoalitions, name="shap_partition"):
    """Partition SHAP of words, patches, or columns. Invariant: base + attributions = output."""

    max_evals: Annotated[int, Field(ge=2)] = 500
    """Coalitions an item, the empty one and the whole counted."""
    batch_size: Annotated[int, Field(ge=2)] = 10
    """Coalitions of an item that are asked for before the most worthy groups are looked for again."""
    tree: Literal["balanced", "shap"] = "balanced"
    """Texts: halves of halves, or shap's heuristic, which keeps phrases together and is slow."""

    def explain(self, network: Any, payload: Payload, classes: Integer[Tensor, " b"] | None = None) -> Explanations:
        """Of each item's words, patches or columns."""
        game = self.game(network, payload)
        everyone = np.arange(int(game.players.max(initial=1))) < game.players[:, None]
        whole = finite(game.worth(np.arange(len(game.players)), everyone))
        told = whole if self.output == "probability" else outputs_function(network, "probability")(payload)
        probabilities = torch.as_tensor(told).double().cpu()
        explained = explained_classes(probabilities, classes)
        of = explained.numpy()
        output = whole[np.arange(len(of)), of]
        trees = self._shap_trees(game) if self.tree == "shap" and isinstance(game, TextGame) else game.trees()
        values, base = owen_values(game, trees, of, output, self.max_evals, self.batch_size)
        return Explanations(
            explained_class=of,
            probability=probabilities.gather(1, explained[:, None])[:, 0].numpy(),
            base=base,
            output=output,
            **game.attributed(values),
        )

    def check(self, explanations: Explanations) -> None:
        """Raise NumericalError unless complete."""
        check_complete(explanations)

    def _shap_trees(self, game: TextGame) -> list[Tree]:
        from shap.maskers._text import partition_tree

        short = [tokens if len(tokens) > 1 else None for tokens in game.texts.tokens]
        return [
            tree if tokens is None else linked(partition_tree(tokens, []))
            for tokens, tree in zip(short, game.trees(), strict=True)
        ]


def owen_values(
    game: Game, trees: list[Tree], classes: npt.NDArray[np.int64], output: Values, max_evals: int, batch_size: int
) -> tuple[Values, Values]:
    """((b, m) values of the players, (b,) worth of none), of each item's class; 0 beyond an item's players.

    output: (b,) worth of all players. Raises XalError where an item's tree is of another size.
    """
    for tree, players in zip(trees, game.players, strict=True):
        if players and tree.high[0] != players:
            raise XalError(f"a tree over {tree.high[0]} players was given for an item of {players}")
    values, base = np.zeros((len(trees), int(game.players.max(initial=1)))), np.zeros(len(trees))
    need = np.array([tree.evaluations for tree in trees])
    room = max_evals - 2
    for cut in (False, True):  # those whose whole tree is opened ask for no order
        items = np.flatnonzero((need > room) == cut)
        items = items[np.argsort(game.players[items], kind="stable")]  # masks are as wide as the widest item of a run
        for here in runs(game, items, np.minimum(need[items], room)):
            some = [trees[item] for item in here]
            if cut:
                part, base[here] = _Cut(game, some, here, classes[here], output[here], room, batch_size).run()
            else:
                part, base[here] = _whole(game, some, here, classes[here], output[here])
            values[here, : part.shape[1]] = part
    return values, base


def _whole(
    game: Game, trees: list[Tree], items: Items, classes: npt.NDArray[np.int64], output: Values
) -> tuple[Values, Values]:
    """Of a run of items whose trees are opened whole."""
    counts = np.array([tree.evaluations + 1 for tree in trees])
    ends = np.cumsum(counts)
    masks = np.zeros((ends[-1], max(int(tree.high[0]) for tree in trees)), bool)
    for tree, end, count in zip(trees, ends, counts, strict=True):
        masks[end - count : end, : tree.high[0]] = tree.opened[0]
    worth = finite(game.worth(np.repeat(items, counts), masks))[np.arange(ends[-1]), np.repeat(classes, counts)]
    values = np.zeros((len(items), masks.shape[1]))
    for row, (tree, end, count) in enumerate(zip(trees, ends, counts, strict=True)):
        values[row, : tree.high[0]] = tree.opened[1] @ np.append(worth[end - count : end], output[row])
    return values, worth[ends - counts]


@dataclass(eq=False)
class _Groups:
    """Groups that may be opened: n of them, over all items of a run."""

    item: Items  # (n,) of the run
    node: Items  # (n,)
    without: Items  # (n,) number of the coalition that is the context
    with_it: Items  # (n,) that of the context and the group
    weight: Values  # (n,)

    def take(self, index: Items) -> _Groups:
        return _Groups(*(part[index] for part in vars(self).values()))

    def join(self, other: _Groups) -> _Groups:
        return _Groups(*map(np.concatenate, zip(vars(self).values(), vars(other).values(), strict=True)))


@dataclass(eq=False)
class _Cut:
    """One run of items through trees that need more coalitions than they may ask for."""

    game: Game
    trees: list[Tree]
    items: Items
    classes: Items
    output: Values
    room: int  # coalitions that each may ask for
    batch: int
    credit: Values = field(init=False)

    def run(self) -> tuple[Values, Values]:
        b = len(self.items)
        distinct = list({id(tree): tree for tree in self.trees}.values())
        width = max(int(tree.high[0]) for tree in distinct)
        starts = np.cumsum([0, *(len(tree.low) for tree in distinct)])
        place = {id(tree): start for tree, start in zip(distinct, starts, strict=False)}
        self.left, self.right = (
            np.concatenate([np.where(ends < 0, -1, ends + start) for ends, start in zip(each, starts, strict=False)])
            for each in ([tree.left for tree in distinct], [tree.right for tree in distinct])
        )
        self.low, self.high = (np.concatenate([getattr(tree, name) for tree in distinct]) for name in ("low", "high"))
        self.span = np.concatenate([np.pad(tree.spans, ((0, 0), (0, width - tree.high[0]))) for tree in distinct])
        self.credit = np.zeros((b, width + 1))
        self.masks = np.zeros((b * (self.room + 3), width), bool)  # every coalition: none, all, what is asked about
        self.worth = np.zeros(len(self.masks))
        none = np.arange(b)
        base = self._ask(none, none)
        self.worth[b : 2 * b] = self.output
        roots = np.array([place[id(tree)] for tree in self.trees])
        groups, known = _Groups(none, roots, none, none + b, np.ones(b)), 2 * b
        asked = np.zeros(b, np.int64)
        while True:
            chosen, rest = self._choose(groups, asked)
            if not len(chosen.item):
                break  # no item has room left
            asked += 2 * np.bincount(chosen.item, minlength=b)
            groups = rest.join(self._open(chosen, known))
            known += 2 * len(chosen.item)
        return np.cumsum(self.credit, axis=1)[:, :width], base

    def _ask(self, items: Items, coalitions: Items) -> Values:
        """The worth of coalitions that stand in `masks`."""
        worth = finite(self.game.worth(self.items[items], self.masks[coalitions]))
        self.worth[coalitions] = worth[np.arange(len(items)), self.classes[items]]
        return self.worth[coalitions]

    def _choose(self, groups: _Groups, asked: Items) -> tuple[_Groups, _Groups]:
        """(groups to open now, the others); those that an item will have no room for are credited as they are."""
        left = -(-(self.room - asked) // 2)  # groups that may be opened yet; whoever comes after so many, never will be
        order = np.argsort(-np.abs(self.worth[groups.with_it] - self.worth[groups.without]) * groups.weight)
        order = order[np.argsort(groups.item[order].astype(np.uint16), kind="stable")]  # a run holds 2^16 at most
        ordered = groups.item[order]
        rank = np.arange(len(order)) - np.searchsorted(ordered, np.arange(len(asked)))[ordered]
        mine = left[ordered]
        now = rank < np.minimum(-(-self.batch // 2), mine)
        self._credit(groups, order[rank >= mine])
        return groups.take(order[now]), groups.take(order[~now & (rank < mine)])

    def _open(self, groups: _Groups, known: int) -> _Groups:
        """The children of groups in both contexts; single players are credited at once.

        known: how many coalitions there are so far.
        """
        left, right = self.left[groups.node], self.right[groups.node]
        one = known + np.arange(len(left))
        other = one + len(left)
        context = self.masks[groups.without]
        self.masks[one], self.masks[other] = context | self.span[left], context | self.span[right]
        self._ask(np.concatenate([groups.item] * 2), np.concatenate([one, other]))
        opened = _Groups(
            np.concatenate([groups.item] * 4),
            np.concatenate([left, right, left, right]),
            np.concatenate([groups.without, groups.without, other, one]),
            np.concatenate([one, other, groups.with_it, groups.with_it]),
            np.concatenate([groups.weight / 2] * 4),
        )
        single = self.left[opened.node] < 0
        self._credit(opened, np.flatnonzero(single))
        return opened.take(np.flatnonzero(~single))

    def _credit(self, groups: _Groups, index: Items) -> None:
        """Share the worth of the groups at `index` evenly among their players."""
        node, item = groups.node[index], groups.item[index]
        low, high = self.low[node], self.high[node]
        change = self.worth[groups.with_it[index]] - self.worth[groups.without[index]]
        each = change * groups.weight[index] / (high - low)
        width = self.credit.shape[1]
        places = np.concatenate([item * width + low, item * width + high])
        found = np.bincount(places, np.concatenate([each, -each]), self.credit.size)
        self.credit += found.reshape(self.credit.shape)
