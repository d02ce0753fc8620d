"""Code is imported because the user names it, never because a run does."""

from pathlib import Path

import pytest

from xal.core import imports
from xal.errors import RunError


@pytest.mark.parametrize(
    "recipe",
    [
        {"model": {"name": "stranger.payload:X"}},
        {"strategy": "stranger.payload:X"},
        {"arms": {"a": {"name": "threshold", "strategy": {"name": "stranger.payload:X"}}}},
        {"model": {"name": "module", "factory": "stranger.payload:f"}},
        {"model": {"name": "senn", "phi": "stranger.payload:f"}},
        {"model": {"name": "sklearn", "estimator": "stranger.payload:X"}},
    ],
)
def test_what_only_a_run_names_is_refused(recipe: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imports, "_allowed", set())
    with pytest.raises(RunError, match=r"stranger\.payload, which is not imported"):
        imports.check_stored(recipe, Path("run"))
    imports.allow_named(recipe)
    imports.check_stored(recipe, Path("run"))


def test_names_of_classes_and_ours_are_no_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imports, "_allowed", set())
    imports.check_stored({"pool": {"classes": ["a:b"], "source": "s3:x"}, "model": {"name": "convnet"}}, Path("run"))
    imports.check_stored({"model": {"name": "sklearn", "estimator": "sklearn.svm:SVC"}}, Path("run"))
