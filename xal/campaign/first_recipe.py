"""A recipe with comments, for a pool that one knows nothing of."""

from __future__ import annotations

import json

from xal.data.pool import Pool

MODELS = {
    "text": "{name: linear_svm, encoder: tfidf}",
    "features": "logistic_regression",
    "image": "convnet",
}


SIMULATED = "oracle  # the pool's own labels: a simulation; `file` asks people"


def first_recipe(pool: Pool, source: str) -> str:
    """The text of a recipe that labels the pool's items by a file."""
    labelled = 0
    if pool.has_labels:
        for _, table in pool.scan(["label"]):
            labelled += sum(label is not None and bool(label.strip()) for label in table["label"].to_pylist())
    held = f"{len(pool):,} {'texts' if pool.kind == 'text' else 'images' if pool.kind == 'image' else 'rows'}"
    if pool.kind == "image":
        held += f"; {pool.survey}"
    whole = labelled == len(pool)
    n = len(pool) - (0 if whole else labelled)
    batch = max(1, min(100, n // 10))
    first = max(2, batch)
    rounds = max(0, min(5, (n - first) // batch))
    classes = f"  classes: {json.dumps(list(pool.classes), ensure_ascii=False)}\n" if pool.classes else ""
    given = ""
    if labelled and not whole:
        given = f"# {labelled:,} items have a label already: the run starts from them, and asks for others.\n"
    return f"""# {held}; {labelled:,} labels.
pool:
  source: {json.dumps(source, ensure_ascii=False)}
{classes}  new_classes: {"false" if pool.classes else "true"}  # whether annotators may give labels that are not listed
  # test: a labelled pool, to measure accuracy; without it, a fifth of the labels is held out
{given}model: {MODELS[pool.kind]}  # `xal list` shows the others
strategy: margin  # what to ask next: the items between two classes
annotator: {SIMULATED if whole else "file  # writes batches as files"}
budget:
  initial: {first}  # items drawn at random before the first round
  per_round: {batch}
  rounds: {rounds}
engine: {{name: serial}}  # or ray, for many cores and machines
"""
