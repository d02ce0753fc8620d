"""Weights of torchvision's networks: from a local file, or by torchvision's name, which it downloads."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.error import URLError

import torch
from torch import Tensor, nn

from xal.core.extras import require
from xal.errors import DataError

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of red, green and blue in ImageNet, on a scale of 0-1


def torchvision_models(needed_by: str) -> Any:
    """torchvision.models, imported only when used because the import takes seconds."""
    return require("torchvision.models", "vision", needed_by)


def is_path(weights: str) -> bool:
    """Whether `weights` is meant as a file, rather than as torchvision's name."""
    path = Path(weights)
    return path.is_file() or bool(path.suffix) or len(path.parts) > 1


def named_weights(architecture: str, weights: str, field: str) -> Any:
    """torchvision's entry for weights of that name; DataError that lists the names there are."""
    available = torchvision_models(field).get_model_weights(architecture)
    if weights not in available.__members__:
        raise DataError(f"{field}: '{weights}' is neither a file nor one of {', '.join(available.__members__)}")
    return available[weights]


def to_download(architecture: str, weights: str | None, field: str) -> str | None:
    """What will be downloaded, its size and where it is kept; None: nothing."""
    if weights is None or is_path(weights):
        return None
    named = named_weights(architecture, weights, field)
    cached = Path(torch.hub.get_dir()) / "checkpoints" / Path(named.url).name
    if cached.exists():
        return None
    return f"{architecture} {weights}, {named.meta['_file_size']:.0f} MB, to {cached.parent}"


def read_file(weights: str, expected: str, field: str) -> dict[str, Tensor]:
    """The state_dict in a .safetensors or .pth file, of which nothing but tensors is unpickled. Raises DataError."""
    from safetensors.torch import load_file

    try:
        if Path(weights).suffix == ".safetensors":
            return load_file(weights)
        loaded = torch.load(weights, map_location="cpu", weights_only=True)
        return dict(loaded.get("state_dict", loaded))
    except Exception as error:  # safetensors, zip and pickle raise errors of different types
        raise DataError(
            f"{field}: '{weights}' holds no weights ({type(error).__name__}); expected the state_dict of {expected} as "
            ".safetensors or .pth"
        ) from error


def read_weights(architecture: str, weights: str, field: str) -> dict[str, Tensor]:
    """The state of a network, by torchvision's key names.

    weights: a .safetensors or .pth file, or torchvision's name. field: names the setting in errors. Raises DataError.
    """
    if Path(weights).is_file():
        return read_file(weights, f"a torchvision {architecture}", field)
    if is_path(weights):
        raise DataError(f"{field}: no file '{weights}'")
    named = named_weights(architecture, weights, field)
    try:
        return dict(named.get_state_dict(progress=False, check_hash=True))
    except (URLError, OSError, RuntimeError) as error:
        raise DataError(
            f"{field}: download of {architecture} {weights} failed ({error}); "
            "fetch the file elsewhere and give its path"
        ) from error


def load_weights(module: nn.Module, state: dict[str, Tensor], field: str) -> None:
    """Load a state into a network; a last layer of another width keeps its random weights. Raises DataError."""
    expected = module.state_dict()
    head = last_linear(module)
    for key in (f"{head}.weight", f"{head}.bias"):
        if key in state and key in expected and state[key].shape != expected[key].shape:
            state[key] = expected[key]
    mismatched = [key for key in expected.keys() & state.keys() if state[key].shape != expected[key].shape]
    if mismatched:
        first = min(mismatched)
        raise DataError(
            f"{field}: {len(mismatched)} shapes differ, e.g. {first} is {tuple(state[first].shape)}, "
            f"expected {tuple(expected[first].shape)}; is this the file of another architecture?"
        )
    missing, unexpected = module.load_state_dict(state, strict=False)
    if missing or unexpected:
        raise DataError(
            f"{field}: {len(missing)} keys missing, {len(unexpected)} unknown, e.g. "
            f"{', '.join([*missing, *unexpected][:4])}; are they those of this architecture?"
        )


def last_linear(module: nn.Module) -> str:
    """The name of the network's last linear layer, its classification head; "" if it has none."""
    return next((name for name, layer in reversed(list(module.named_modules())) if isinstance(layer, nn.Linear)), "")
