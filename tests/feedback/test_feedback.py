"""What every feedback declares of itself fits what it does."""

import numpy as np
import pytest
import torch

from xal.explainers import Explainer
from xal.feedback import Feedback
from xal.feedback.feedback import CorrectionBatch
from xal.types import CORRECTION_KINDS

EVERY = [pytest.param(kind(), id=name) for name, kind in Feedback.registry.items()]
LIME = Explainer.named("lime")()


def test_the_family_is_not_empty() -> None:
    assert {"counterexamples", "rrr", "rrr_gradcam", "cali_ranking", "unused"} <= set(Feedback.registry)


@pytest.mark.parametrize("feedback", EVERY)
class TestFeedback:
    def test_what_it_learns_by(self, feedback: Feedback) -> None:
        assert feedback.learns == (feedback.has_loss or feedback.makes_copies) == (feedback.name != "unused")
        assert feedback.correction_kinds and set(feedback.correction_kinds) <= set(CORRECTION_KINDS)
        if not feedback.has_loss:
            with pytest.raises(NotImplementedError, match=f"{feedback.name} does not change the loss"):
                feedback.forward(None, torch.zeros(1), None)
        if not feedback.makes_copies:
            payload = np.zeros((2, 3), np.float32)
            batch = CorrectionBatch(
                ids=["a", "b"], payload=payload, labels=np.zeros(2, int), wrong=payload > 0, known=payload,
                known_labels=np.zeros(2, int),
            )  # fmt: skip
            copies, source = feedback.copies(batch, 0)
            assert copies.shape == (0, 3) and len(source) == 0

    def test_it_says_which_pools_it_takes(self, feedback: Feedback) -> None:
        for kind in ("image", "text", "features"):
            problems = feedback.pool_problems(kind, 4)
            assert bool(problems) == (kind not in feedback.kinds)
            assert all(problem.startswith(f"feedback: '{feedback.name}' takes") for problem in problems)

    def test_it_asks_for_an_explainer(self, feedback: Feedback) -> None:
        (problem,) = feedback.problems(None, explains_concepts=False)
        assert "name an explainer" in problem

    def test_concepts_are_no_parts_of_items(self, feedback: Feedback) -> None:
        own = "self_explaining" in feedback.requires
        explainer = Explainer.named("self_explaining")() if own else LIME
        problems = feedback.problems(explainer, explains_concepts=True)
        assert bool(problems) == (feedback.learns and not own)
