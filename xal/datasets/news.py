"""20 newsgroups as CAIPI uses it: posts without headers, signatures and stop words, with the words that are relevant.

Gold words are the words to which an L1 logistic regression on TF-IDF gives a weight other than 0. The penalty is chosen
so that they are about a fifth of the words that occur in three posts or more. The gold words of a post whose weight has
the sign of its class are relevant.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from xal.core import hashed_words
from xal.data.build.pool_file import PoolFile
from xal.data.build.source import UNREADABLE, binary
from xal.errors import DataError

WORD = re.compile(r"[a-z]{3,}")
GOLD = 0.2  # approximate share of gold words
MIN_POSTS = 3  # posts in which a word must occur
TRAINING = "train"  # name of the training split


def content(post: str) -> str:
    """The words of a post's body in lower case, without its header, its signature, and stop words."""
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    _, blank, body = post.replace("\r\n", "\n").partition("\n\n")
    body = body if blank else post
    body = re.split(r"\n-- ?\n|\n[-_=*]{4,}[^\n]*\n(?=(?:[^\n]*\n){0,8}\Z)", body)[0]
    return " ".join(word for word in WORD.findall(body.lower()) if word not in ENGLISH_STOP_WORDS)


def gold_words(texts: Sequence[str], positive: npt.NDArray[np.bool_]) -> dict[str, float]:
    """Weights of the gold words by word; a weight above 0 speaks for the positive class."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    vectorizer = TfidfVectorizer(tokenizer=hashed_words.tokens, token_pattern=None, lowercase=False, min_df=MIN_POSTS)
    vectors = vectorizer.fit_transform(texts)
    low, high = -1.0, 4.0  # log10 of C
    weights: Any = np.zeros(vectors.shape[1])
    for _ in range(8):
        middle = (low + high) / 2
        model = LogisticRegression(C=10**middle, l1_ratio=1.0, solver="liblinear", random_state=0)
        weights = model.fit(vectors, positive).coef_[0]
        low, high = (low, middle) if (weights != 0).mean() > GOLD else (middle, high)
    names = vectorizer.get_feature_names_out()
    return {str(names[index]): float(weights[index]) for index in np.flatnonzero(weights)}


def build_news(source: Path, destination: Path, split: str) -> tuple[int, int]:
    """Write a pool of one split of the posts (JSON lines of split, group, id, text); returns (posts, gold words).

    Gold words come from the training posts alone, so no test label affects them, and they are the same in every pool. A
    text that occurs twice is written once, in the training split if it occurs there.
    """
    try:
        with binary(source) as handle:
            records = [json.loads(line) for line in handle if line.strip()]
        groups = sorted({record["group"] for record in records})
        posts = [(record["split"], record["group"], str(record["id"]), content(record["text"])) for record in records]
    except (*UNREADABLE, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{source}: expected JSON lines with split, group, id and text ({error!r})") from error
    if len(groups) != 2 or not any(post[0] == split for post in posts):
        raise DataError(f"{source}: expected posts of two groups, some of split '{split}', got {groups}")
    posts = [post for post in posts if post[3]]
    training = [post for post in posts if post[0] == TRAINING]
    if len({post[1] for post in training}) != 2:
        raise DataError(f"{source}: expected posts of both groups of split '{TRAINING}', from which gold words come")
    weights = gold_words([post[3] for post in training], np.array([post[1] == groups[1] for post in training]))
    seen = set() if split == TRAINING else {post[3] for post in training}
    n_before = len(seen)
    with PoolFile(destination, "text", "relevant") as pool:
        for name, group, identity, text in posts:
            if name != split or text in seen:
                continue
            seen.add(text)
            sign = 1 if group == groups[1] else -1
            relevant = {hashed_words.column(word) for word in text.split() if sign * weights.get(word, 0.0) > 0}
            pool.add(f"{group}/{identity}", text, group, sorted(relevant))
        pool.finish(groups)
    return len(seen) - n_before, len(weights)
