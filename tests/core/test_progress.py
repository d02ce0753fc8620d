"""Progress away from a terminal: plain lines with rate and time left, not too often."""

import itertools
import re
import threading
import time

import pytest

from xal.core import progress
from xal.core.progress import EVERY, Reporter


def test_lines_have_a_rate_and_the_time_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """10 items in each EVERY seconds: a line each time, 1 item a second, 70 s left of 100 items after 30."""
    now = 0.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    with Reporter(prefix="[run] ") as reporter:
        advance = reporter.stage("score")
        for done in (10, 20, 30):
            now += EVERY
            advance(done, 100)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert lines[2].endswith(f"[run] score: 30 of 100 items, {10 / EVERY:.1f}/s, {7 * EVERY:.0f} s left")


def test_between_them_nothing_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    with Reporter() as reporter:
        advance = reporter.stage("score")
        for done in range(100):
            advance(done, None)
    assert capsys.readouterr().err == ""


def test_quiet_says_nothing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    clock = itertools.count(0.0, 2 * EVERY)
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    with Reporter(quiet=True) as reporter:
        reporter.say("hello")
        reporter.stage("score")(5, 10)
    assert capsys.readouterr() == ("", "")


def test_a_silent_step_says_that_it_runs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(progress, "EVERY", 0.2)
    with Reporter() as reporter, reporter.step("round 1 train"):
        time.sleep(0.7)
    lines = capsys.readouterr().err.splitlines()
    assert 2 <= len(lines) <= 3 and lines[0].endswith("round 1 train: 0 s so far")


def test_a_step_that_reports_its_progress_says_no_more(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with Reporter() as reporter:
        advance = reporter.stage("score")
        monkeypatch.setattr(progress, "EVERY", 0.2)
        with reporter.step("round 1 query"):
            for done in range(1, 15):
                time.sleep(0.05)
                advance(done, 14)
    lines = capsys.readouterr().err.splitlines()
    assert lines and all("score: " in line for line in lines)


def test_a_step_ends_where_it_fails(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="no"), Reporter() as reporter, reporter.step("train"):
        raise ValueError("no")
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("progress")]


def test_a_slow_stage_is_told_between_its_reports(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A stage that reports a little less often than lines are printed is not hidden by "so far"."""
    monkeypatch.setattr(progress, "EVERY", 0.2)
    with Reporter() as reporter, reporter.step("embedding the pools"):
        advance = reporter.stage("embed pool")
        for done in (10, 20, 30, 40):
            time.sleep(0.26)
            advance(done, 100)
        time.sleep(0.3)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].endswith("embedding the pools: 0 s so far")
    assert len(lines) > 1 and all(
        re.search(r"embed pool: \d0 of 100 items, \d+/s, \d+ s left$", line) for line in lines[1:]
    )
