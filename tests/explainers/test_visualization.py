"""How explanations are shown: what says nothing is not drawn in full colour."""

import numpy as np
import pytest
from scipy import sparse

from xal.core import hashed_words
from xal.explainers.visualization import (
    SAYS_NOTHING,
    heat_map,
    marked,
    marked_html,
    page_of,
    says_nothing,
    summary,
)
from xal.types import Explanations


def of_text(text: str, values: dict[str, float]) -> Explanations:
    columns = [hashed_words.column(word) for word in values]
    shape = (1, hashed_words.COLUMNS)
    attributions = sparse.csr_array(([*values.values()], ([0] * len(values), columns)), shape=shape)
    return Explanations(
        feature_kind="words",
        attributions=attributions,
        interpretable_input=hashed_words.presence([text]),
        explained_class=np.array([0]),
        probability=np.array([0.5]),
    )


def of_image(values: np.ndarray) -> Explanations:
    return Explanations(
        feature_kind="segments",
        attributions=values.reshape(1, -1),
        interpretable_input=np.ones((1, values.size)),
        explained_class=np.array([0]),
        probability=np.array([0.5]),
        segments=np.arange(4).reshape(1, 2, 2),
    )


@pytest.mark.parametrize(("scale", "nothing"), [(1e-4, True), (0.1, False)])
def test_explanations_of_nothing(scale: float, nothing: bool) -> None:
    text = of_text("a good plot", {"good": 2 * scale, "plot": -scale})
    assert says_nothing(text) == nothing
    assert (summary("a good plot", text) == SAYS_NOTHING) == nothing
    assert any(value for _, value in marked("a good plot", text)) != nothing
    image = of_image(np.array([3.0, -1, 0, 0]) * scale)
    pixels = heat_map(np.full((1, 2, 2), 128, np.uint8), image)
    assert (len(np.unique(pixels.reshape(4, 3), axis=0)) == 1) == nothing


def test_a_text_that_is_explained_by_its_vector_has_no_marked_words() -> None:
    """As by shap_embedding: concepts in place of words."""
    explanation = Explanations(
        feature_kind="concepts",
        attributions=np.array([[0.5, -0.25]]),
        interpretable_input=np.array([[1.0, 2.0]]),
        explained_class=np.array([0]),
        probability=np.array([0.9]),
    )
    assert marked("a fine <film>", explanation) == [("a fine <film>", 0.0)]
    assert "a fine &lt;film&gt;" in marked_html("a fine <film>", explanation)
    assert summary("a fine <film>", explanation) == "concept 0 = 1 +0.500, concept 1 = 2 -0.250"
    assert "concept 0 = 1" in page_of("a fine <film>", explanation, "title")
