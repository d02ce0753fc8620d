"""Owen values (shap's PartitionExplainer), of all items of a batch at once.

Players are grouped by a binary tree. From the root, a group's worth in a context S, v(S + group) - v(S), is shared by
its two children: each is worth the mean of its marginal without and with its sibling, so a group is weighed in two
contexts, its children in four, and so on. Groups are opened in the order of |worth| x weight, as shap opens them,
until `max_evals` coalitions were asked for; what is not opened is shared evenly by its players. Complete at any
`max_evals`.

Here every step opens groups of all items and asks the network once, and the evaluations that a tree needs in all are
counted beforehand, so a small one is opened level by level without queues. The same values as shap's for the same tree,
masker, max_evals and batch size, up to rounding and up to groups of equal worth, which shap opens at random.

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
from xal.explainers.games import ByCoalitions, Game, Items, Masks, TextGame, Values, finite, runs
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
            owen = _Owen(game, [trees[item] for item in here], here, classes[here], output[here], room, batch_size, cut)
            part, base[here] = owen.run()
            values[here, : part.shape[1]] = part
    return values, base


@dataclass(eq=False)
class _Groups:
    """Groups that may be opened: n of them, over all items of a run."""

    item: Items  # (n,) of the run
    node: Items  # (n,)
    context: Masks  # (n, m)
    without: Values  # (n,) worth of the context
    with_it: Values  # (n,) worth of the context and the group
    weight: Values  # (n,)

    def take(self, index: Any) -> _Groups:
        return _Groups(**{name: part[index] for name, part in vars(self).items()})


@dataclass(eq=False)
class _Owen:
    """One run of items through the tree."""

    game: Game
    trees: list[Tree]
    items: Items
    classes: Items
    output: Values
    room: int  # coalitions that each may ask for
    batch: int
    cut: bool  # whether their trees need more
    credit: Values = field(init=False)

    def run(self) -> tuple[Values, Values]:
        b, players = len(self.items), self.game.players[self.items]
        width = int(players.max(initial=1)) or 1
        distinct = {id(tree): tree for tree in self.trees}
        starts = dict(zip(distinct, np.cumsum([0, *(len(t.low) for t in distinct.values())]).tolist(), strict=False))
        offset = np.array([starts[id(tree)] for tree in self.trees])
        parts = [(tree, starts[key]) for key, tree in distinct.items()]
        self.left, self.right = (
            np.concatenate([np.where(ends < 0, -1, ends + start) for ends, start in each])
            for each in ([(t.left, s) for t, s in parts], [(t.right, s) for t, s in parts])
        )
        self.low, self.high = (np.concatenate([getattr(t, n) for t, _ in parts]) for n in ("low", "high"))
        self.span = (np.arange(width) >= self.low[:, None]) & (np.arange(width) < self.high[:, None])
        self.credit = np.zeros((b, width + 1))
        each, none = np.arange(b), np.zeros((b, width), bool)
        base = self._worth(each, none)
        groups = _Groups(each, offset, none, base, self.output, np.ones(b))
        groups = self._settle(groups.take(players > 0))
        asked = np.zeros(b, np.int64)
        while len(groups.item):
            if not self.cut:
                groups = self._open(groups)
                continue
            chosen, rest = self._choose(groups, asked)
            if not len(chosen.item):
                break  # no item has room left
            asked += 2 * np.bincount(chosen.item, minlength=b)
            opened = self._open(chosen)
            groups = _Groups(**{n: np.concatenate([part, vars(opened)[n]]) for n, part in vars(rest).items()})
        return np.cumsum(self.credit, axis=1)[:, :width], base

    def _worth(self, items: Items, masks: Masks) -> Values:
        worth = finite(self.game.worth(self.items[items], masks))
        return worth[np.arange(len(items)), self.classes[items]]

    def _choose(self, groups: _Groups, asked: Items) -> tuple[_Groups, _Groups]:
        """(groups to open now, the others); those that an item will have no room for are credited as they are."""
        left = -(-(self.room - asked) // 2)  # groups that may be opened yet; whoever comes after so many, never will be
        order = np.argsort(-np.abs(groups.with_it - groups.without) * groups.weight)
        order = order[np.argsort(groups.item[order], kind="stable")]
        ordered = groups.item[order]
        rank = np.arange(len(order)) - np.searchsorted(ordered, ordered)
        never, now = rank >= left[ordered], rank < np.minimum(-(-self.batch // 2), left)[ordered]
        if never.any():
            self._credit(groups.take(order[never]))
        return groups.take(order[now]), groups.take(order[~now & ~never])

    def _open(self, groups: _Groups) -> _Groups:
        """The children of groups in both contexts; single players are credited at once."""
        left, right = self.left[groups.node], self.right[groups.node]
        with_left, with_right = groups.context | self.span[left], groups.context | self.span[right]
        n = len(groups.item)
        worth = self._worth(np.concatenate([groups.item] * 2), np.concatenate([with_left, with_right]))
        one, other, weight = worth[:n], worth[n:], groups.weight / 2
        return self._settle(
            _Groups(
                np.concatenate([groups.item] * 4),
                np.concatenate([left, right, left, right]),
                np.concatenate([groups.context, groups.context, with_right, with_left]),
                np.concatenate([groups.without, groups.without, other, one]),
                np.concatenate([one, other, groups.with_it, groups.with_it]),
                np.concatenate([weight] * 4),
            )
        )

    def _settle(self, groups: _Groups) -> _Groups:
        """Credit single players; the others."""
        single = self.left[groups.node] < 0
        self._credit(groups.take(single))
        return groups.take(~single)

    def _credit(self, groups: _Groups) -> None:
        """Share the worth of groups evenly among their players."""
        low, high = self.low[groups.node], self.high[groups.node]
        each = (groups.with_it - groups.without) * groups.weight / (high - low)
        width = self.credit.shape[1]
        places = np.concatenate([groups.item * width + low, groups.item * width + high])
        found = np.bincount(places, np.concatenate([each, -each]), self.credit.size)
        self.credit += found.reshape(self.credit.shape)
