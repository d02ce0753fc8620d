"""Tables by the program, words by people."""

from pathlib import Path

import pytest

from tests.recipes import small, write_pool
from xal.campaign.experiment import run_experiment
from xal.core.progress import Reporter
from xal.errors import RunError
from xal.report.markdown import KEPT, write_markdown
from xal.store.directory import run_directories
from xal.store.run import read_run


def test_numbers_are_the_runs_and_words_stay(tmp_path: Path) -> None:
    recipe = small(
        write_pool(tmp_path / "pool"),
        strategy=None,
        arms={"entropy": "entropy", "random": "random"},
        seeds=[0, 1],
        explainer=None,
        budget={"rounds": 1},
    )
    run_experiment(recipe, tmp_path / "runs", Reporter(quiet=True))
    directories = run_directories(tmp_path / "runs")
    path = write_markdown(directories, tmp_path / "docs" / "small.md", "this test")
    text = path.read_text()
    assert text.startswith("# small\n") and "by `this test`: 2 arms, seeds 0, 1" in text
    row = next(line for line in text.splitlines() if line.startswith("| entropy |"))
    last = [read_run(tmp_path / "runs" / f"entropy-seed{seed}").curve()[1][-1] for seed in (0, 1)]
    assert row.split(" | ")[2].startswith(f"{sum(last) / 2:.4f} ±")
    assert "| accuracy after | 12 | 20 |" in text
    assert (tmp_path / "docs" / "small.svg").read_text().startswith("<svg")
    path.write_text(text + "\nWhat a person thinks of it.\n")
    again = write_markdown(directories, path, "this test").read_text()
    (tmp_path / "mine.md").write_text("written by hand")
    with pytest.raises(RunError, match="was not written by `xal report`"):
        write_markdown(directories, tmp_path / "mine.md", "this test")
    assert (tmp_path / "mine.md").read_text() == "written by hand"
    assert again == text + "\nWhat a person thinks of it.\n" and again.count(KEPT) == 1
