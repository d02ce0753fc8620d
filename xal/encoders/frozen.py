"""What all frozen networks share: they are loaded once per process, and known by the content of their weights."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import nn

from xal.encoders.encoder import Encoder, Encoding

MOST_LOADED = 2
_loaded: dict[str, Encoding] = {}

E = TypeVar("E", bound=Encoding)


def loaded_once(encoder: Encoder, load: Callable[[], E]) -> E:
    """What `load` returns for an encoder of these settings; the last MOST_LOADED are kept."""
    key = repr(encoder)
    if key not in _loaded:
        while len(_loaded) >= MOST_LOADED:
            _loaded.pop(next(iter(_loaded)))
        _loaded[key] = load()
    return _loaded[key]  # type: ignore[return-value]


def digest_of_weights(module: nn.Module) -> str:
    """16 hex digits of a network's weights."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]
