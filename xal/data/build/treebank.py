"""The Stanford Sentiment Treebank: one tree per line, `(3 (2 It) (4 's good))`. A sentence has the label of the root.

R. Socher et al., "Recursive Deep Models for Semantic Compositionality Over a Sentiment Treebank", EMNLP 2013.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from xal.data.build.source import UNREADABLE, Item, Source, binary
from xal.errors import DataError

CLASSES = ("very negative", "negative", "neutral", "positive", "very positive")
_ROOT = re.compile(r"\(([0-4]) ")
_LEAF = re.compile(r"\([0-4] ([^()]+)\)")
_BRACKETS = {"-LRB-": "(", "-RRB-": ")"}


def treebank(path: Path, labelled: bool) -> Source:
    """The sentences, as words joined by spaces; ids have the line number, from 0."""
    try:
        with binary(path) as stream:
            total = sum(1 for _ in stream)
    except UNREADABLE as error:
        raise DataError(f"cannot read {path}: {error}") from error

    def items() -> Iterator[Item]:
        stem = path.name.split(".")[0]
        with binary(path) as stream:
            for number, line in enumerate(stream):
                identity = f"{stem}-{number:0{len(str(total))}d}"
                root = _ROOT.match(text := line.decode("utf-8", "replace").strip())
                if root is None:
                    yield Item(identity, reason="not a tree such as (3 (2 It) (4 works))")
                    continue
                words = [_BRACKETS.get(word, word.replace("\\/", "/")) for word in _LEAF.findall(text)]
                yield Item(identity, " ".join(words), CLASSES[int(root[1])] if labelled else None)

    return Source(kind="text", items=items(), prepare=_text, labelled=labelled, total=total, classes=CLASSES)


def is_treebank(path: Path) -> bool:
    """Whether the first line starts like a tree."""
    try:
        with binary(path) as stream:
            return _ROOT.match(stream.readline(200).decode("utf-8", "replace")) is not None
    except UNREADABLE:
        return False


def _text(raw: str) -> str:
    if not raw:
        raise DataError("the tree has no words")
    return raw
