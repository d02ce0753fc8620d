"""The numbers of `xal study ebano` against their definitions."""

import itertools
import json
import math
from dataclasses import replace

import numpy as np
import pytest

from xal.campaign.explained_images import Explained
from xal.data.label_space import LabelSpace
from xal.datasets.demo import demo_pool
from xal.report.ebano_study import _spread, index_statistics, write_study
from xal.types import Explanations


def explained(n: int = 24) -> Explained:
    generator = np.random.default_rng(0)
    npir, npirp = generator.uniform(-1, 1, (2, n, 3))
    probabilities = generator.dirichlet(np.ones(4), n)
    return Explained(
        images=generator.integers(0, 256, (n, 1, 8, 8)).astype(np.uint8),
        labels=generator.integers(0, 4, n),
        probabilities=probabilities,
        explanations=Explanations(
            feature_kind="segments",
            segments=generator.integers(0, 3, (n, 8, 8)).astype(np.uint8),
            attributions=npir,
            interpretable_input=np.where(np.isnan(npir), np.nan, 1.0),
            npirp=npirp,
            explained_class=probabilities.argmax(1),
            probability=probabilities.max(1),
            per_item=True,
        ),
        label_space=LabelSpace(("a", "b", "c/d", "e")),
        on="the test pool",
        round=1,
        pool=demo_pool(),
        rows=np.arange(n),
    )


def test_numbers_are_their_definitions() -> None:
    given = explained()
    found = index_statistics(given)
    right = given.probabilities.argmax(1) == given.labels
    fmax = given.explanations.npir.argmax(1)
    for name in ("npir", "npirp"):
        values = getattr(given.explanations, name)[np.arange(24), fmax]
        assert found[f"{name}_median_right"] == np.median(values[right])
        pairs = list(itertools.product(values[right], values[~right]))
        assert found[f"{name}_larger_if_right"] == pytest.approx(np.mean([a > b for a, b in pairs]))
        ranks = [each.argsort().argsort() for each in (values, given.probabilities.max(1))]
        assert found[f"{name}_confidence_correlation"] == pytest.approx(np.corrcoef(*ranks)[0, 1])
    assert found["accuracy"] == right.mean() and found["items"] == 24


def test_all_right_or_all_alike_gives_nan_not_a_crash(tmp_path) -> None:
    given = explained()
    given = replace(given, labels=given.probabilities.argmax(1), probabilities=np.eye(4)[np.zeros(24, int)])
    given = replace(given, labels=np.zeros(24, np.int64))
    found = write_study(given, tmp_path / "study")
    assert json.loads((tmp_path / "study" / "summary.json").read_text())["npir_larger_if_right"] is None
    assert math.isnan(found["npir_larger_if_right"]) and math.isnan(found["npir_confidence_correlation"])
    assert (tmp_path / "study" / "class-002-c-d.png").exists()  # a class with no image, and a slash in its name


def test_pictures_do_not_cover_each_other() -> None:
    x, y = np.random.default_rng(1).uniform(-1, 1, (2, 500))
    shown = _spread(x, y)
    assert len(shown) > 20
    gaps = [max(abs(x[a] - x[b]), abs(y[a] - y[b])) for a, b in itertools.combinations(shown, 2)]
    assert min(gaps) > 0.2
