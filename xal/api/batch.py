"""A batch to label, as a notebook shows it."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from xal.core.html import render
from xal.data.decode import payload_of
from xal.data.images import encode_png
from xal.data.pool import Pool
from xal.explainers.visualization import marked_html, panel, summary
from xal.store.ledger import Queried
from xal.types import Explanations, Shape


@dataclass(frozen=True, eq=False, kw_only=True)
class Batch:
    """Items to label, best first. `show()` draws them with their explanations; `learner.tell(batch, labels)` labels
    them."""

    round: int
    items: tuple[Queried, ...]
    """Each with id, row (its position), score, reason, because (in words), prediction and confidence."""
    explanations: dict[str, Explanations]
    """By id; none in the first batch, since there is no model."""
    classes: tuple[str, ...]
    pool: Pool
    shape: Shape

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[Queried]:
        return iter(self.items)

    @property
    def ids(self) -> list[str]:
        """In order."""
        return [item.id for item in self.items]

    @property
    def positions(self) -> list[int]:
        """Rows of the data that the learner was given."""
        return [item.row for item in self.items]

    def show(self) -> None:
        """Draw the batch in a notebook; elsewhere print it."""
        try:
            from IPython import get_ipython
            from IPython.display import display
        except ImportError:
            print(self)
            return
        if get_ipython() is None:
            print(self)
        else:
            display(self)

    def __str__(self) -> str:
        lines = [f"batch of round {self.round}: {len(self)} items"]
        for card in self._cards(pictures=False):
            guess = f"  {card['prediction']} {card['confidence']:.0%}" if card["prediction"] else ""
            note = f"  [{card['note']}]" if card["note"] else ""
            why = f"  ({card['because']})" if card["because"] else ""
            lines.append(f"  {card['id']}{guess}  {card['reason']} {card['score']:.3f}{note}  {card['text']}{why}")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        """What Jupyter shows."""
        return render("batch.html", batch=self, cards=self._cards(pictures=True))

    def _cards(self, *, pictures: bool) -> list[dict[str, Any]]:
        kind = self.pool.kind
        ordered = sorted(self.items, key=lambda item: item.row)
        column = self.pool.read([item.row for item in ordered], [kind])[kind]  # type: ignore[arg-type]
        raw = dict(zip([item.id for item in ordered], column.to_pylist(), strict=True))
        decoded: dict[str, Any] = {}
        if kind == "image" and pictures:
            images, _ = payload_of(column, kind, self.shape)
            decoded = dict(zip([item.id for item in ordered], images, strict=True))
        return [self._card(item, kind, raw[item.id], decoded.get(item.id)) for item in self.items]

    def _card(self, item: Queried, kind: str, raw: Any, image: Any) -> dict[str, Any]:
        explanation = self.explanations.get(item.id)
        card: dict[str, Any] = {**vars(item), "text": "", "marked": "", "note": "", "picture": ""}
        if kind == "text":
            card["text"] = raw if len(raw) <= 100 else f"{raw[:97]}..."
            card["marked"] = raw if explanation is None else marked_html(raw, explanation)
        elif kind == "features":
            card["text"] = ", ".join(f"{number:g}" for number in raw[:8]) + ", ..." * (len(raw) > 8)
        elif image is not None:
            picture = encode_png(image) if explanation is None else panel(image, explanation, self.classes)
            card["picture"] = "data:image/png;base64," + base64.b64encode(picture).decode()
        if explanation is not None and kind != "image":
            card["note"] = summary(raw, explanation, self.pool.names)
        return card
