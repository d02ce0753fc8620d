"""Vectors that come with the pool: a column of it, computed elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NoReturn

from xal.encoders.encoder import Encoder, Encoding, State
from xal.errors import XalError
from xal.types import Kind


@dataclass(frozen=True, kw_only=True)
class Column(Encoder, name="column"):
    """A column of vectors beside the pool's images or texts. Changed items have none, so `shap_embedding` explains."""

    kept: ClassVar[bool] = True

    column: str = "vector"
    """A column of lists of numbers, all of one length, in the pool and in its test and validation pools."""
    of: Literal["image", "text"] = "image"
    """What the pool holds."""

    @property
    def kind(self) -> Kind:
        """The setting `of`."""
        return self.of

    @property
    def pool_column(self) -> str:
        """The setting `column`."""
        return self.column

    def load(self, state: State) -> Encoding:
        """An encoding that cannot encode."""
        return _Given(self.column)


class _Given(Encoding):
    def __init__(self, column: str) -> None:
        self.column = column

    def encode(self, texts: Any) -> NoReturn:
        """Raises XalError."""
        raise XalError(
            f"encoder 'column' takes the vectors of the pool's column '{self.column}' and cannot compute any; items "
            "outside the pool, or changed ones, have none"
        )
