"""Progress with rate and time left, on standard error: a bar on a terminal, log lines elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

EVERY = 5.0  # seconds between log lines


class _Rate(ProgressColumn):
    """Column with the rate, in items per second."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:,.0f}/s" if task.speed else "")


class Reporter:
    """Reports progress. `prefix` names the run; `quiet` reports nothing, `brief` only the progress of long stages."""

    def __init__(self, prefix: str = "", quiet: bool = False, brief: bool = False) -> None:
        self.prefix, self.quiet, self.brief = prefix, quiet, brief
        self._console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._bar: Progress | None = None
        self._said = self._advanced = time.monotonic()  # times of the last line, and of the last progress
        self._line: str | None = None  # of the stage that runs

    def say(self, text: str) -> None:
        """Print one line, unless quiet or brief."""
        if not self.quiet and not self.brief:
            self._print(text)

    def _print(self, text: str) -> None:
        self._said = time.monotonic()
        stamp = time.strftime("%H:%M:%S")
        if self._bar is not None:
            self._bar.console.print(f"[dim]{stamp}[/dim] {self.prefix}{text}", markup=True)
        elif self._console.is_terminal:
            self._console.print(f"[dim]{stamp}[/dim] {self.prefix}{text}", markup=True)
        else:
            print(f"{stamp} {self.prefix}{text}", file=sys.stderr, flush=True)

    def stage(self, name: str, unit: str = "items") -> Callable[[int, int | None], None]:
        """A progress callback (done, total) for one stage; total is None if unknown."""
        started = time.monotonic()
        task: TaskID | None = None

        def advance(done: int, total: int | None) -> None:
            nonlocal task
            if self.quiet:
                return
            if self._bar is not None:
                if task is None:
                    task = self._bar.add_task(self.prefix + name, total=total)
                self._bar.update(task, completed=done, total=total)
                if total is not None and done >= total:
                    self._bar.remove_task(task)
                return
            now = self._advanced = time.monotonic()
            if not done:
                return
            rate = done / max(now - started, 1e-9)
            left = f", {(total - done) / rate:.0f} s left" if total else ""
            of, digits = f" of {total:,}" if total else "", 0 if rate >= 10 else 1
            line = f"{name}: {done:,}{of} {unit}, {rate:,.{digits}f}/s{left}"
            self._line = None if done == total else line
            if now - self._said >= EVERY:
                self._print(line)

        return advance

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Say every few seconds that a step still runs, unless its stages report their own progress."""
        started, ended = time.monotonic(), threading.Event()
        self._said, self._line = max(self._said, started), None

        def watch() -> None:
            wait = EVERY
            while not ended.wait(wait):
                wait = max(self._said, self._advanced) + EVERY - time.monotonic()
                if wait <= 0:
                    self._print(self._line or f"{name}: {time.monotonic() - started:.0f} s so far")
                    wait = EVERY

        if self.quiet or self._bar is not None:
            task = None if self._bar is None else self._bar.add_task(self.prefix + name, total=None)
            try:
                yield
            finally:
                if self._bar is not None and task is not None:
                    self._bar.remove_task(task)
            return
        thread = threading.Thread(target=watch, name=f"progress of {name}", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def __enter__(self) -> Reporter:
        if self._console.is_terminal and not self.quiet:
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                _Rate(),
                TimeRemainingColumn(),
                console=self._console,
                transient=True,
            )
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
