"""EBAnO-Augment: the same query, and what its training sees besides."""

import pytest

from tests.strategies.fake_passes import FakePasses, evidence
from xal.core.rng import HashRng
from xal.errors import XalError
from xal.strategies.ebano_augment import EbanoAugment
from xal.strategies.ebano_uncertainty import EbanoUncertainty
from xal.strategies.strategy import Augmentation

RNG = HashRng(0)


def test_the_query_is_that_of_ebano_uncertainty_under_its_own_name() -> None:
    passes = FakePasses(pool=evidence(50), labels={})
    query = passes.query(EbanoAugment(limit=5, threshold=0.0), 12, RNG)
    expected = passes.query(EbanoUncertainty(limit=5, threshold=0.0), 12, RNG)
    assert query.items.ids.tolist() == expected.items.ids.tolist()
    assert query.reasons == expected.renamed("ebano_uncertainty", "ebano_augment").reasons
    assert query.reasons[:5] == ("ebano_augment",) * 5


def test_it_says_which_items_are_copied() -> None:
    assert EbanoAugment().augmentation == Augmentation(limit=None, explained="prediction")
    assert EbanoAugment(augment_limit=3, explained="label").augmentation == Augmentation(limit=3, explained="label")
    with pytest.raises(XalError, match="l_A = 6 is over limit, l_U = 5"):
        EbanoAugment(limit=5, augment_limit=6)
