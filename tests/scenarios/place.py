"""A place where a fake GitHub answers: real servers, shells and the doctor in one namespace."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from tests.harness.cli import listening
from tests.harness.doctor import findings, paste, run_doctor
from tests.harness.github import FakeGitHub, fake_github
from tests.harness.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.harness.cli import RunningServer

Finding = dict[str, Any]


@dataclass
class Place:
    """One fake GitHub, and a CLI version."""

    github: FakeGitHub
    version: str
    folder: Path

    @contextlib.contextmanager
    def server(self, *args: str, **env: str) -> Iterator[RunningServer]:
        """Run a server as npm installs it, with these variables."""
        with self.github.start_server(self.version, *args, env=env) as server:
            yield server

    def look(
        self, check: str, server: RunningServer, shell: Mapping[str, str] | None = None
    ) -> dict[str, Finding]:
        """Run the doctor, and return what one check says of the server, by cause.

        Args:
            check: Its id.
            server: The one that is asked about; others of this machine are left out.
            shell: The environment that the doctor is started with; else that of the server.
        """
        report = run_doctor(
            *("--select", check, f"127.0.0.1:{server.port}"),
            env=server.env if shell is None else shell,
            cwd=self.folder,
            launcher=self.github.namespace.launcher,
        )
        found = findings(report, check, f"port {server.port} ")
        assert len({item["cause_id"] for item in found}) == len(found), found
        return {item["cause_id"]: item for item in found}

    @contextlib.contextmanager
    def pasted(
        self,
        fix: dict[str, Any],
        server: RunningServer,
        *,
        shell: Mapping[str, str] | None = None,
        answer: str | None = None,
    ) -> Iterator[dict[str, str]]:
        """Paste the lines of a fix; the environment of the server that they start."""
        self.github.seen.clear()
        with paste(
            fix,
            env=server.env if shell is None else shell,
            port=server.port,
            cwd=self.folder,
            launcher=self.github.namespace.launcher,
            answer=answer,
        ) as started:
            yield environment_of(started.pid, server.port)

    def says(self, server: RunningServer) -> dict[str, Any]:
        """What the server on the port says of its sign-in now.

        It is also asked for its models: a sign-in that comes from its cache sends no token.
        """
        with Wire(self.github.namespace.connect(server.port)) as wire:
            wire.connect()
            said = dict(wire.auth_status())
            if said["isAuthenticated"]:
                wire.exchange("models.list")
            return said


@contextlib.contextmanager
def place(version: str, folder: Path) -> Iterator[Place]:
    """Make a place with a fake GitHub; `folder` is where its shells are."""
    with fake_github() as github:
        yield Place(github, version, folder)


def environment_of(pid: int, port: int) -> dict[str, str]:
    """Return the environment of what listens on a port, among a process and its descendants."""
    family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    for process in family:
        with contextlib.suppress(OSError):
            if any(found == port for _, found in listening(process.pid)):
                raw = Path(f"/proc/{process.pid}/environ").read_bytes()
                pairs = (os.fsdecode(item).partition("=") for item in raw.split(b"\0") if item)
                return {name: value for name, _, value in pairs}
    msg = f"nothing listens on {port}"
    raise AssertionError(msg)
