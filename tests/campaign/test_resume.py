"""A campaign killed at any moment and started again ends as if it had never stopped."""

from pathlib import Path

import pytest

from tests.recipes import CLASSES, small, write_pool
from xal.campaign.experiment import run_experiment
from xal.campaign.loop import Campaign
from xal.core.progress import Reporter
from xal.store.artefacts import WEIGHTS
from xal.store.ledger import Ledger
from xal.store.run import Run, read_run

pytestmark = pytest.mark.usefixtures("database")  # SQLite, and PostgreSQL
SEED = 20261124
RUN = "ebano_uncertainty-seed0"


def outcome(run: Run) -> object:
    """All that a campaign decides: queries with ranks, scores and reasons, labels, accuracies, steps."""
    items = [(item.round, item.rank, item.id, item.score, item.reason, item.label) for item in run.queried]
    steps = sorted((step.round, step.step) for step in run.steps)
    return items, steps, run.curve()[1]


class Killed(BaseException):
    """Stands for a SIGKILL: nothing catches it."""


def test_stopped_before_and_after_every_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = small(write_pool(tmp_path / "pool"))
    quiet = Reporter(quiet=True)
    run_experiment(recipe, tmp_path / "whole", quiet)
    expected = outcome(read_run(tmp_path / "whole" / RUN))
    commit = Ledger.commit
    stops = 0
    for moment in range(24):  # 12 steps, each stopped once before its commit and once after it

        def stopping(self: Ledger, *args: object, _moment: int = moment, **kwargs: object) -> None:
            nonlocal stops
            if _moment % 2:
                commit(self, *args, **kwargs)  # type: ignore[arg-type]
            stops += 1
            raise Killed

        monkeypatch.setattr(Ledger, "commit", stopping)
        with pytest.raises(Killed):
            run_experiment(recipe, tmp_path / "stopped", quiet)
    monkeypatch.setattr(Ledger, "commit", commit)
    assert stops == 24
    run_experiment(recipe, tmp_path / "stopped", quiet)
    assert outcome(read_run(tmp_path / "stopped" / RUN)) == expected
    for path in (tmp_path / "whole" / RUN).glob(f"round-*/train/{WEIGHTS}"):
        again = tmp_path / "stopped" / path.relative_to(tmp_path / "whole")
        assert again.read_bytes() == path.read_bytes()
    assert not list((tmp_path / "stopped").rglob(".aside-*"))


def test_a_finished_run_does_nothing_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = small(write_pool(tmp_path / "pool"), budget={"rounds": 1})
    run_experiment(recipe, tmp_path / "runs", Reporter(quiet=True))

    def never(*_: object) -> int:
        raise AssertionError("a step of a finished run ran again")

    monkeypatch.setattr(Campaign, "_step", never)
    assert run_experiment(recipe, tmp_path / "runs", Reporter(quiet=True))[0].finished


def test_labels_are_those_of_the_pool(tmp_path: Path) -> None:
    pool = write_pool(tmp_path / "pool")
    recipe = small(pool)
    run_experiment(recipe, tmp_path / "runs", Reporter(quiet=True))
    run = read_run(tmp_path / "runs" / RUN)
    table = recipe.open_pool().read_span(0, 120, ["id", "label"])
    relevance = dict(zip(table["id"].to_pylist(), table["label"].to_pylist(), strict=True))
    assert len(run.queried) == 12 + 2 * 8 and {item.label for item in run.queried} <= set(CLASSES)
    assert all(item.label == relevance[item.id] for item in run.queried)
