"""Outputs for coalitions of patches from tables, with far fewer multiplications, for networks with local first layers.

The network must be convolutions (and elementwise layers), then Flatten, Linear, and any further layers. Its Linear
layer is then a sum over the positions of the last feature map, and a position depends only on the patches in its
receptive field, which must be at most 2 x 2. Colour the patches with four colours so that any 2 x 2 have different
ones. Sixteen masked images, one for each set of colours that is kept, then contain every position in every state that
a coalition can give it. So sixteen images per item pass through the local layers, the contribution of each group of
positions to the Linear layer is stored in a table, and the output for a coalition is computed from a sum of table rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.functional import embedding_bag

Masks = npt.NDArray[np.bool_]
ELEMENTWISE = (nn.ReLU, nn.Identity, nn.Dropout, nn.BatchNorm2d, nn.LeakyReLU, nn.GELU, nn.Tanh, nn.Sigmoid)
COLOURS = 4


@dataclass(eq=False)
class PatchTables:
    """The layers of such a network, and the groups of positions of its feature map that see the same patches."""

    preprocess: Any
    local: nn.Sequential
    linear: nn.Linear
    rest: nn.Sequential
    states: Tensor  # (16, h, w) the pixels that each set of colours keeps
    groups: list[tuple[Tensor, Tensor]]  # for each group size: group numbers (G,), positions (G, size)
    features: npt.NDArray[np.int64]  # (groups, 4) the feature of each colour; -1: the group does not see the colour

    def table(self, images: Tensor, mask_value: Tensor) -> Tensor:
        """(n * 16 * groups, hidden) contribution of each group to the Linear layer, per image and set of colours."""
        n, count = len(images), len(self.features)
        kept = self.states[None, :, None]  # (1, 16, 1, h, w)
        composed = torch.where(kept, images[:, None], mask_value[:, None]).flatten(0, 1)
        maps = self.local(self.preprocess(composed)).contiguous().flatten(2)  # (16 n, ch, positions)
        weight = self.linear.weight.view(len(self.linear.weight), maps.shape[1], -1)
        table = maps.new_empty(n * 16, count, len(weight))
        for numbers, positions in self.groups:
            left = maps[:, :, positions].permute(2, 0, 1, 3).flatten(2)  # (G, 16 n, ch * size)
            right = weight[:, :, positions].permute(2, 1, 3, 0).flatten(1, 2)  # (G, ch * size, hidden)
            table[:, numbers] = torch.bmm(left, right).transpose(0, 1)
        flat: Tensor = table.flatten(0, 1)
        return flat

    def logits(self, table: Tensor, image: npt.NDArray[np.int64], masks: Masks) -> Tensor:
        """(n, c) logits for coalitions; image: (n,) the index of each coalition's image in the table."""
        visible = np.where(self.features >= 0, masks[:, np.maximum(self.features, 0)], False)  # (n, groups, 4)
        state = visible @ (1 << np.arange(COLOURS))
        count = len(self.features)
        rows = (image[:, None] * 16 + state) * count + np.arange(count)
        hidden = embedding_bag(torch.from_numpy(rows).to(table.device), table, mode="sum")
        out: Tensor = self.rest(hidden if self.linear.bias is None else hidden + self.linear.bias)
        return out


def patch_tables(classifier: Any, rows: int, columns: int, segments: npt.NDArray[np.int64]) -> PatchTables | None:
    """The tables of a classifier for a grid of patches, or None if its network does not have the required form."""
    if not hasattr(classifier, "logits"):  # its module is an encoder, not the whole network
        return None
    module = getattr(classifier, "module", None)
    if not isinstance(module, nn.Sequential) or getattr(classifier, "precision", "float32") != "float32":
        return None
    layers = list(module)
    if any(layer._forward_hooks or layer._forward_pre_hooks for layer in module.modules()):
        return None
    flat = next((number for number, layer in enumerate(layers) if isinstance(layer, nn.Flatten)), None)
    if flat is None or flat + 1 >= len(layers) or layers[flat].start_dim != 1:
        return None
    linear, local = layers[flat + 1], layers[:flat]
    size, start, jump = [1, 1], [0, 0], [1, 1]
    for layer in local:
        if isinstance(layer, nn.Conv2d) and layer.padding_mode == "zeros" and not isinstance(layer.padding, str):
            for axis in (0, 1):
                size[axis] += (layer.kernel_size[axis] - 1) * layer.dilation[axis] * jump[axis]
                start[axis] -= layer.padding[axis] * jump[axis]
                jump[axis] *= layer.stride[axis]
        elif not isinstance(layer, ELEMENTWISE):
            return None
    if not isinstance(linear, nn.Linear):
        return None
    device = linear.weight.device
    h, w = segments.shape
    grid = np.arange(h) * rows // h, np.arange(w) * columns // w  # patch row of each pixel row, and column
    blocks = []
    for axis, (patch_of, length) in enumerate(((grid[0], h), (grid[1], w))):
        number = (length - start[axis] * 2 - size[axis]) // jump[axis] + 1  # positions along the axis
        first = np.clip(start[axis] + np.arange(number) * jump[axis], 0, length - 1)
        last = np.clip(start[axis] + np.arange(number) * jump[axis] + size[axis] - 1, 0, length - 1)
        if number < 1 or (patch_of[last] - patch_of[first]).max() > 1:
            return None
        blocks.append(np.stack([patch_of[first], patch_of[last]]))
    channels = next((layer.out_channels for layer in reversed(local) if isinstance(layer, nn.Conv2d)), 0)
    if linear.in_features != channels * blocks[0].shape[1] * blocks[1].shape[1]:
        return None
    colour = (grid[0][:, None] % 2) * 2 + grid[1] % 2
    states = torch.from_numpy((np.arange(16)[:, None, None] >> colour) & 1 == 1).to(device)
    corners = np.stack(
        [*np.broadcast_arrays(blocks[0][0][:, None], blocks[0][1][:, None], blocks[1][0], blocks[1][1])], axis=-1
    ).reshape(-1, 4)
    distinct, member = np.unique(corners, axis=0, return_inverse=True)
    feature = np.zeros((rows, columns), np.int64)
    feature[grid[0][:, None], grid[1]] = segments
    features = np.full((len(distinct), COLOURS), -1)
    for corner_row in (0, 1):
        for corner_column in (2, 3):
            i, j = distinct[:, corner_row], distinct[:, corner_column]
            features[np.arange(len(distinct)), (i % 2) * 2 + j % 2] = feature[i, j]
    counts = np.bincount(member.ravel(), minlength=len(distinct))
    order = np.argsort(member.ravel(), kind="stable")
    starts = np.concatenate([[0], np.cumsum(counts)])
    groups = []
    for size_of_group in np.unique(counts):
        numbers = np.flatnonzero(counts == size_of_group)
        positions = np.stack([order[starts[number] : starts[number] + size_of_group] for number in numbers])
        groups.append((torch.from_numpy(numbers).to(device), torch.from_numpy(positions).to(device)))
    rest = nn.Sequential(*layers[flat + 2 :])
    return PatchTables(classifier.preprocess, nn.Sequential(*local), linear, rest, states, groups, features)
