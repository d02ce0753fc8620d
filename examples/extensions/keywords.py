"""An annotator that labels texts by keywords.

In a recipe:   annotator: {name: "keywords:Keywords", words: {sport: [goal, match], tech: [laptop]}, otherwise: other}
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

import xal
from xal.annotators.annotator import Request


@dataclass(frozen=True, kw_only=True)
class Keywords(xal.Annotator):
    """Gives a text the class most of whose keywords it holds."""

    words: dict[str, list[str]]
    """Keywords of each class, in lower case."""
    otherwise: str | None = None
    """The label of a text without a keyword; null: none, and the campaign waits for a person's label."""

    def annotate(self, request: Request) -> Mapping[str, str]:
        """Labels by id."""
        rows = np.sort([item.row for item in request.items])
        table = request.pool.read(rows, ["id", "text"])
        texts = dict(zip(table["id"].to_pylist(), table["text"].to_pylist(), strict=True))
        labels = {item.id: self._label(texts[item.id]) for item in request.items}
        return {item: label for item, label in labels.items() if label is not None}

    def problems(self, pool: xal.Pool, feedback: xal.Feedback | None, *, explains_concepts: bool) -> list[str]:
        """Reported by `xal validate`, before anything is labelled."""
        return [] if pool.kind == "text" else [f"annotator: keywords labels texts, the pool holds {pool.kind}"]

    def _label(self, text: str) -> str | None:
        found = text.lower().split()
        counts = {name: sum(found.count(word) for word in words) for name, words in self.words.items()}
        best = max(counts, key=lambda name: counts[name])
        return best if counts[best] else self.otherwise
