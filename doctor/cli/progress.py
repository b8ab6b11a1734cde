"""A sign of life on standard error for waits that people notice."""

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_NOTICED_AFTER_S = 0.5


@contextmanager
def waiting(what: str, *, quiet: bool = False) -> Iterator[None]:
    """Show a spinner while the block runs, if that takes longer than half a second.

    Only on a terminal: nothing is written to a pipe, in CI, or with `quiet`.
    """
    if quiet or not sys.stderr.isatty() or os.environ.get("CI") or os.environ.get("TERM") == "dumb":
        yield
        return
    shown: list[object] = []
    over = threading.Event()

    def show() -> None:
        if over.wait(_NOTICED_AFTER_S):
            return
        from rich.console import Console

        with Console(stderr=True).status(what, spinner="line"):
            shown.append(what)
            over.wait()

    thread = threading.Thread(target=show, name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(timeout=1)
