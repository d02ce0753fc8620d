"""Ctrl-C and SIGTERM: both stop a command between two commits, and neither interrupts its clean-up."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn


class Terminated(KeyboardInterrupt):
    """SIGTERM arrived; handled like Ctrl-C, which libraries know."""


def _terminate(*_: Any) -> NoReturn:
    raise Terminated


def terminate_like_ctrl_c() -> None:
    """From now on SIGTERM raises `Terminated` in the main thread."""
    signal.signal(signal.SIGTERM, _terminate)


def interrupt_behind(error: BaseException | None) -> KeyboardInterrupt | None:
    """The Ctrl-C or SIGTERM that an error came from, if it did.

    An interrupt may arrive at any byte code: inside a library's lock it comes out as that lock's RuntimeError, and
    typer makes a SystemExit of it.
    """
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, KeyboardInterrupt):
            return error
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return None


@contextmanager
def keeping_handlers() -> Iterator[None]:
    """Put the handlers of SIGINT and SIGTERM back that a library replaces meanwhile."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            if handler is not None:  # None: not installed from Python
                signal.signal(number, handler)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Ignore SIGINT and SIGTERM, for a clean-up that takes a moment."""
    with keeping_handlers():
        ignore_interrupts()
        yield


def ignore_interrupts() -> None:
    """Ignore SIGINT and SIGTERM; nothing outside the main thread, which may not set handlers."""
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
