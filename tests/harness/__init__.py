"""The real parts that the tests work with: CLIs, SDKs, a model server and a fake GitHub.

Everything is installed on demand into a cache outside of the tree, and nothing of the machine that
runs the tests (its tokens, its home, its running servers) takes part.
"""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class MissingPartError(RuntimeError):
    """A part that a test needs is not to be had on this machine.

    `tests/conftest.py` turns it into a skip with this reason, and into a failure where `CI=true`.
    """


def in_ci() -> bool:
    """Whether missing parts are failures."""
    return os.environ.get("CI", "").lower() in {"1", "true"}


def cache_dir() -> Path:
    """The folder that keeps installed parts between runs.

    `COPILOT_DOCTOR_TEST_CACHE` at import time wins over the platform's cache folder. (The tests
    scrub the environment later.)
    """
    _CACHE.mkdir(parents=True, exist_ok=True)
    return _CACHE


def _default_cache() -> Path:
    given = os.environ.get("COPILOT_DOCTOR_TEST_CACHE")
    if given:
        return Path(given).resolve()
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "copilot-doctor-tests"


_CACHE = _default_cache()

MACHINE = dict(os.environ)
"""The environment that the tests were started with. While they run, proxies and certificates are
scrubbed, without which npm's and pip's registries may be out of reach."""


@contextlib.contextmanager
def locked(name: str) -> Iterator[None]:
    """Hold a lock of that name against other test processes.

    It only saves double work: what is made under it appears by an atomic rename anyway.
    """
    path = cache_dir() / "locks" / f"{name}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    if sys.platform == "win32":
        yield
        return
    import fcntl

    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
