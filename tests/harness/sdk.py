"""Real SDK clients, each version in an environment of its own from the cache."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tests.harness.cli import StartError, base_env
from tests.harness.venv import venv_python

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.harness.model import FakeModel

# Speaks to a server up to 1.0.44 only; the last that gets along with CLI 1.0.63; hangs with it.
OLD, LAST_FOR_OLD_CLI, NEW = "0.3.0", "1.0.24", "1.0.27"

Handler = Literal["approve_all", "silent", "none"]

_SCRIPT = Path(__file__).with_name("sdk_client.py")


@dataclass(frozen=True)
class SdkResult:
    """What a client of one SDK version met with."""

    started: bool
    """Whether `start()` returned."""
    start_error: str | None
    """`TypeName: text` that `start()` raised, or "hung"."""
    session_error: str | None = None
    """The same of `create_session()`."""
    send_error: str | None = None
    """The same of `send_and_wait()`."""
    returned: bool = False
    """Whether `send_and_wait()` returned."""
    answer: str | None = None
    """Text of the answer that it returned."""


Which = str | Path | None
"""An SDK version; a Python of the test's own; None: the one that runs the tests."""


def sdk_python(version: Which) -> Path:
    """Return the Python that has this SDK version installed, after making it if need be.

    Args:
        version: SDK version, or else what `Which` allows.

    Raises:
        MissingPartError: pip could not install it.
    """
    if version is None:
        return Path(sys.executable)
    if isinstance(version, Path):
        return version
    return venv_python("sdk", f"github-copilot-sdk=={version}")


def run_session(
    version: Which,
    url: str,
    *,
    token: str | None = None,
    model: FakeModel | None = None,
    handler: Handler = "approve_all",
    session_model: str | None = "fake-model",
    limit_s: float = 20.0,
    sdk_timeout_s: float = 60.0,
    launcher: Sequence[str] = (),
) -> SdkResult:
    """Connect with a real SDK, open one session, send one message, and tell what happened.

    Args:
        version: SDK version (see `sdk_python`).
        url: Where the server is, such as `127.0.0.1:3000`.
        token: Connection token that the client passes.
        model: The session's own model provider; without one the server's sign-in counts.
        handler: What the client does with permission requests.
        session_model: The session's own model; None leaves it to the server.
        limit_s: How long each step may take before it counts as hung.
        sdk_timeout_s: The timeout given to `send_and_wait`.
        launcher: Words in front of the command, such as `ip netns exec NAME`.
    """
    job = _job("session", url, token) | {
        "provider": model.provider if model else None,
        "handler": handler,
        "model": session_model,
        "limit_s": limit_s,
        "sdk_timeout_s": sdk_timeout_s,
    }
    return _run(version, job, 3 * limit_s + 30, launcher)


def run_start(
    version: Which,
    url: str,
    *,
    token: str | None = None,
    limit_s: float = 10.0,
    launcher: Sequence[str] = (),
) -> SdkResult:
    """Connect with a real SDK (`start()`), and tell what happened."""
    return _run(version, _job("start", url, token, limit_s), limit_s + 30, launcher)


def _job(act: str, url: str, token: str | None, limit_s: float = 20.0) -> dict[str, Any]:
    return {"act": act, "url": url, "token": token, "limit_s": limit_s}


def _run(version: Which, job: dict[str, Any], limit_s: float, launcher: Sequence[str]) -> SdkResult:
    with tempfile.TemporaryDirectory(prefix="cd-sdk-") as home:
        done = subprocess.run(
            [*launcher, str(sdk_python(version)), str(_SCRIPT)],
            env=base_env(Path(home)),
            cwd=home,
            input=json.dumps(job) + "\n",
            capture_output=True,
            text=True,
            errors="replace",
            timeout=limit_s,
            check=False,
        )
    if not done.stdout:
        raise StartError(f"the client of SDK {version} said nothing: {done.stderr[-2000:]}")
    return SdkResult(**json.loads(done.stdout))


@dataclass
class IdleClient:
    """A real SDK client in a process of its own, connected to a server and at rest."""

    process: subprocess.Popen[str]
    home: Path

    @property
    def pid(self) -> int:
        return self.process.pid


@contextlib.contextmanager
def idle_client(
    version: Which,
    url: str,
    *,
    token: str | None = None,
    cwd: Path | None = None,
    launcher: Sequence[str] = (),
) -> Iterator[IdleClient]:
    """Keep a real SDK client connected to a server until the end of the block.

    Args:
        version: SDK version (see `sdk_python`).
        url: Where the server is, such as `127.0.0.1:3000`.
        token: Connection token that the client passes.
        cwd: Working directory of the client; else its home.
        launcher: Words in front of the command, such as `ip netns exec NAME`.

    Raises:
        StartError: The client could not connect.
    """
    with tempfile.TemporaryDirectory(prefix="cd-sdk-") as home:
        process = subprocess.Popen(
            [*launcher, str(sdk_python(version)), str(_SCRIPT)],
            env=base_env(Path(home)),
            cwd=cwd or home,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            errors="replace",
        )
        with process:
            assert process.stdin is not None
            assert process.stdout is not None
            try:
                process.stdin.write(json.dumps(_job("idle", url, token)) + "\n")
                process.stdin.flush()
                said = process.stdout.readline()
                if not said:
                    raise StartError(f"the client of SDK {version} ended: {process.wait()}")
                result = SdkResult(**json.loads(said))
                if not result.started:
                    raise StartError(f"the client of SDK {version}: {result.start_error}")
                yield IdleClient(process, Path(home))
            finally:
                process.kill()
