"""BALD by the definition, and as scikit-activeml's greedy BALD scores single items."""

import numpy as np
from skactiveml.pool import batch_bald

from tests.strategies.arrays import asked


def test_the_items_of_largest_mutual_information() -> None:
    draws = np.random.default_rng(0).dirichlet(np.full(4, 0.5), (60, 10))
    mean = draws.mean(axis=1)
    entropy = -(mean * np.log(mean)).sum(axis=1)
    information = entropy + (draws * np.log(draws)).sum(axis=2).mean(axis=1)
    found = asked("bald", 15, probabilities=mean, sampled_probabilities=draws)
    assert found == np.argsort(-information)[:15].tolist()
    theirs = batch_bald(draws.transpose(1, 0, 2), batch_size=1, random_state=0)
    assert found[0] == np.argmax(theirs[0])


def test_members_that_agree_tell_nothing() -> None:
    same = np.tile([0.5, 0.5], (6, 10, 1))
    same[3, :5], same[3, 5:] = (1, 0), (0, 1)  # certain members that disagree, with a zero among them
    assert asked("bald", 6, probabilities=same.mean(axis=1), sampled_probabilities=same)[0] == 3
