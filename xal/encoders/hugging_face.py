"""Encoders from Hugging Face: any text or vision network of transformers, any model of sentence-transformers.

A checkpoint is a folder, or a name on huggingface.co. Weights are read from safetensors files only, because pickled
ones run code, and no code that comes with a checkpoint is run.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from xal.core._typing import Field
from xal.core.extras import require
from xal.encoders.frozen import digest_of_weights
from xal.encoders.image_encoders import ImageEncoder, Preprocessing
from xal.encoders.sentence_encoders import BATCH, SentenceEncoder, Sentences, SentenceTransformer
from xal.errors import DataError, ResourceError

FIELD = "encoder.checkpoint"
PICKLED = ("pytorch_model*.bin", "*.pt", "*.pth", "*.ckpt", "tf_model.h5")


def to_download(checkpoint: str) -> str | None:
    """What will be downloaded for a checkpoint; None: nothing."""
    if Path(checkpoint).exists() or _is_path(checkpoint):
        return None
    hub = require("huggingface_hub", "transformers", FIELD)
    if isinstance(hub.try_to_load_from_cache(checkpoint, "config.json"), str):
        return None
    return f"{checkpoint} from huggingface.co, to {hub.constants.HF_HUB_CACHE}"


@contextmanager
def loading(checkpoint: str, field: str = FIELD) -> Iterator[None]:
    """Turn what Hugging Face's packages raise for a checkpoint into one DataError."""
    folder = Path(checkpoint)
    if _is_path(checkpoint) and not folder.is_dir():
        raise DataError(f"{field}: no folder '{checkpoint}'")
    if folder.is_dir() and not list(folder.rglob("*.safetensors")):
        pickled = [path.name for pattern in PICKLED for path in folder.rglob(pattern)]
        if pickled:
            raise DataError(
                f"{field}: {folder} holds pickled weights ({pickled[0]}), which can run code when they are read; where "
                "you trust them, convert them to model.safetensors (save_pretrained does)"
            )
    try:
        yield
    except Exception as error:  # transformers, safetensors, tokenizers and huggingface_hub have errors of their own
        if isinstance(error, ResourceError):
            raise
        lines = [line for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
        raise DataError(
            f"{field}: '{checkpoint}' cannot be loaded ({lines[0].strip().rstrip('.')}); expected a folder with "
            "config.json and model.safetensors, or a name on huggingface.co; without a network, download it elsewhere "
            "and give its folder"
        ) from error


def base_network(transformers: Any, checkpoint: str) -> nn.Module:
    """A network without its head. Raises DataError for weights that do not fit its configuration."""
    with loading(checkpoint), quiet(transformers), torch.random.fork_rng():
        torch.manual_seed(0)  # of poolers, whose weights some checkpoints lack
        network, loaded = transformers.AutoModel.from_pretrained(
            checkpoint, use_safetensors=True, output_loading_info=True, dtype=torch.float32, attn_implementation="eager"
        )
    check_loaded(checkpoint, network, loaded)
    module: nn.Module = network.eval()
    return module


def check_loaded(checkpoint: str, network: Any, loaded: Any, field: str = FIELD) -> None:
    """Raise DataError if weights of a network's body are missing or have other shapes; heads and poolers may be new."""
    body = f"{network.base_model_prefix}." if hasattr(network, network.base_model_prefix) else ""
    missing, mismatched = (
        sorted(str(key) for key in loaded[kind] if str(key).startswith(body) and "pooler" not in str(key))
        for kind in ("missing_keys", "mismatched_keys")
    )
    if missing or mismatched:
        examples = ", ".join([*missing, *mismatched][:3])
        raise DataError(
            f"{field}: '{checkpoint}' lacks {len(missing)} weights of a {type(network).__name__} and has "
            f"{len(mismatched)} of other shapes, e.g. {examples}; is config.json that of another network?"
        )


@contextmanager
def quiet(transformers: Any) -> Iterator[None]:
    """Without transformers' bars and tables: what they say is checked and raised here."""
    logging = transformers.utils.logging
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def _is_path(checkpoint: str) -> bool:
    """Whether it is meant as a folder: names on huggingface.co have at most one slash, and do not begin with it."""
    return checkpoint.startswith((".", "/", "~")) or checkpoint.count("/") > 1


class Pooled(Sentences):
    """A transformer with its tokenizer; the vector of a text is the mean of its tokens', or the first one's."""

    def __init__(self, tokenizer: Any, module: nn.Module, pooling: str, max_tokens: int) -> None:
        self.tokenizer, self.module = tokenizer, module.eval()
        self.module.requires_grad_(False)
        self.pooling, self.max_tokens = pooling, max_tokens

    def to(self, device: torch.device | str) -> Pooled:
        """Move the network to a device."""
        self.device = torch.device(device)
        self.module.to(self.device)
        return self

    def compute(self, texts: list[str]) -> npt.NDArray[np.float32]:
        """As the base class. Texts of about one length share a batch, so that little is padded."""
        order = sorted(range(len(texts)), key=lambda number: len(texts[number]))
        vectors: list[npt.NDArray[np.float32]] = [np.empty(0, np.float32)] * len(texts)
        for start in range(0, len(order), BATCH):
            numbers = order[start : start + BATCH]
            for number, vector in zip(numbers, self._batch([texts[number] for number in numbers]), strict=True):
                vectors[number] = vector
        return np.stack(vectors)

    def _batch(self, texts: list[str]) -> npt.NDArray[np.float32]:
        with torch.inference_mode():
            tokens = self.tokenizer(
                texts, padding=True, truncation=True, max_length=self.max_tokens, return_tensors="pt"
            ).to(self.device)
            states: Tensor = self.module(**tokens).last_hidden_state
            if self.pooling == "cls":
                return np.asarray(states[:, 0].float().cpu())
            weights = tokens["attention_mask"].unsqueeze(-1).to(states.dtype)
            mean = (states * weights).sum(dim=1) / weights.sum(dim=1).clamp_min(1)
            return np.asarray(mean.float().cpu())


@dataclass(frozen=True, kw_only=True)
class SentenceTransformersEncoder(SentenceEncoder, name="sentence_transformers"):
    """A model of the package sentence-transformers, with its own pooling."""

    checkpoint: str
    """A folder that holds the model, or its name on huggingface.co, from where it is downloaded."""
    normalize: bool = True
    """Divide every vector by its length."""

    @property
    def download(self) -> str | None:
        """The model, if it is neither a folder nor in Hugging Face's cache."""
        return to_download(self.checkpoint)

    @property
    def weights_digest(self) -> str:
        """Of the network's state."""
        return digest_of_weights(self.load({}).network)  # type: ignore[attr-defined]

    def network(self) -> SentenceTransformer:
        """Raises DataError for a checkpoint that cannot be loaded."""
        package = require("sentence_transformers", "sentence-transformers", "encoder 'sentence_transformers'")
        with loading(self.checkpoint):
            network = package.SentenceTransformer(
                self.checkpoint, device="cpu", trust_remote_code=False, model_kwargs={"use_safetensors": True}
            )
        return SentenceTransformer(network, normalize=self.normalize)


@dataclass(frozen=True, kw_only=True)
class TransformersEncoder(SentenceEncoder, name="transformers"):
    """A transformer of the package transformers, such as BERT or ModernBERT, without its head."""

    checkpoint: str
    """A folder that holds network and tokenizer, or a name on huggingface.co, from where they are downloaded."""
    pooling: Literal["mean", "cls"] = "mean"
    """`mean`: of the last layer's tokens; `cls`: of its first token."""
    max_tokens: Annotated[int, Field(ge=8)] = 256
    """Longer texts are cut."""

    @property
    def download(self) -> str | None:
        """The network, if it is neither a folder nor in Hugging Face's cache."""
        return to_download(self.checkpoint)

    @property
    def weights_digest(self) -> str:
        """Of the network's state."""
        return digest_of_weights(self.load({}).module)  # type: ignore[attr-defined]

    def network(self) -> Pooled:
        """Raises DataError for a checkpoint that cannot be loaded, or of another kind of network."""
        transformers = require("transformers", "transformers", "encoder 'transformers'")
        with loading(self.checkpoint):
            tokenizer = transformers.AutoTokenizer.from_pretrained(self.checkpoint)
        return Pooled(tokenizer, base_network(transformers, self.checkpoint), self.pooling, self.max_tokens)


class _Pooling(nn.Module):
    """A vision network that returns one vector an image."""

    def __init__(self, network: Any, pooling: str) -> None:
        super().__init__()
        self.network, self.pooling = network, pooling

    def forward(self, images: Tensor) -> Tensor:
        """(b, c, h, w) -> (b, d): the image tower's features of CLIP and SigLIP; means over space of maps."""
        if hasattr(self.network, "get_image_features"):
            features = self.network.get_image_features(pixel_values=images)
            return features if isinstance(features, Tensor) else features.pooler_output
        states: Tensor = self.network(pixel_values=images).last_hidden_state
        if states.ndim == 4:
            return states.mean(dim=(2, 3))
        return states[:, 0] if self.pooling == "cls" else states.mean(dim=1)


@dataclass(frozen=True, kw_only=True)
class TransformersImageEncoder(ImageEncoder, name="transformers_image"):
    """A vision network of the package transformers: DINOv2, ViT, the image towers of CLIP and SigLIP, and others."""

    checkpoint: str
    """A folder that holds the network and preprocessor_config.json, or a name on huggingface.co, from where they are
    downloaded."""
    pooling: Literal["cls", "mean"] = "cls"
    """`cls`: of the first token; `mean`: of all tokens. CLIP, SigLIP and networks of convolutions have their own."""

    @property
    def download(self) -> str | None:
        """The network, if it is neither a folder nor in Hugging Face's cache."""
        return to_download(self.checkpoint)

    def expected(self) -> Preprocessing:
        """As preprocessor_config.json says. Raises DataError if it is missing."""
        transformers = require("transformers", "transformers", f"encoder '{self.name}'")
        with loading(self.checkpoint):
            settings, _ = transformers.ImageProcessingMixin.get_image_processor_dict(self.checkpoint)
        default = Preprocessing()
        crop = settings.get("crop_size") if settings.get("do_center_crop", True) else None
        size = crop or settings.get("size") or default.size
        if isinstance(size, dict):
            size = size.get("height") or size.get("shortest_edge") or default.size
        if settings.get("do_normalize", True) is False:
            return Preprocessing(int(size), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
        mean, std = (settings.get(f"image_{name}") or getattr(default, name) for name in ("mean", "std"))
        return Preprocessing(int(size), tuple(mean), tuple(std))

    def module(self) -> nn.Module:
        """Raises DataError for a checkpoint that cannot be loaded, or of another kind of network."""
        transformers = require("transformers", "transformers", f"encoder '{self.name}'")
        return _Pooling(base_network(transformers, self.checkpoint), self.pooling)
