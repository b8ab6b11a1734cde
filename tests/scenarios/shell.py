"""A shell in a network place of its own, with one CLI version on its path."""

from __future__ import annotations

import contextlib
import os
import shlex
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.harness.cli import Cli, base_env, start_server, unpacked
from tests.harness.doctor import findings, paste, run_doctor, status
from tests.harness.netns import Namespace, check, namespace
from tests.harness.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from tests.harness.cli import RunningServer
    from tests.harness.doctor import Finding, Fix, Report


@dataclass
class Shell:
    """A place in which servers, clients and the doctor run."""

    space: Namespace
    folder: Path
    cli: Cli

    @property
    def version(self) -> str:
        return self.cli.version

    def env(self, **more: str) -> dict[str, str]:
        """What is set in it: the CLI on the path, and nothing of this machine."""
        env = base_env(self.folder)
        env["PATH"] = os.pathsep.join([str(self.cli.wrapper.parent), env["PATH"]])
        return env | more

    def look(self, check_id: str, *arguments: str, **more: str) -> Report:
        """Run the doctor with one check: others would attach its findings to theirs."""
        return run_doctor(
            *("--select", check_id, *arguments),
            env=self.env(**more),
            cwd=self.folder,
            launcher=self.space.launcher,
        )

    def sees(self, check_id: str, subject: str, *arguments: str, **more: str) -> dict[str, Finding]:
        """What one check says of one subject, by cause."""
        report = self.look(check_id, *arguments, **more)
        found = findings(report, check_id, subject)
        assert len({item["cause_id"] for item in found}) == len(found), found
        if not found:
            # Other servers of this machine may be hidden, this one must have been looked at.
            assert status(report, check_id) not in {"skip", "error"}, report["checks"]
            unseen = [item for item in report["unseen"] if item["what"] == check_id]
            assert not [item for item in unseen if subject in item["subject"]], unseen
        return {item["cause_id"]: item for item in found}

    @contextlib.contextmanager
    def server(self, *args: str, **more: Any) -> Iterator[RunningServer]:
        """Run a real server in this place (see `start_server`)."""
        more.setdefault("launcher", self.space.launcher)
        with start_server(more.pop("version", self.version), *args, **more) as server:
            yield server

    @contextlib.contextmanager
    def pasted(
        self, fix: Fix, port: int | None = None, launcher: Sequence[str] = (), **more: str
    ) -> Iterator[subprocess.Popen[str]]:
        """Paste the lines of a fix into this shell."""
        launcher = [*self.space.launcher, *launcher]
        env = self.env(**more)
        with paste(fix, env=env, port=port, cwd=self.folder, launcher=launcher) as process:
            yield process

    def after(self, fix: Fix, **more: str) -> dict[str, str]:
        """The variables that a fix sets which starts nothing."""
        assert fix["kind"] == "command", fix
        lines = ["bash", "-c", fix["shell"] + "\nenv -0"]
        done = self.space.run(lines, env=self.env(**more), cwd=self.folder)
        assert done.returncode == 0, done.stderr
        pairs = (item.partition("=") for item in done.stdout.split("\0") if "=" in item)
        return {name: value for name, _, value in pairs if name.startswith("COPILOT_CLI_URL")}

    @contextlib.contextmanager
    def program(self, *argv: str) -> Iterator[subprocess.Popen[str]]:
        """Run any other program, until the end of the block."""
        with subprocess.Popen(
            [*self.space.launcher, *argv],
            env=self.env(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    def python(self, code: str, **more: str) -> str:
        """Run Python code, which has the SDK, and return what it prints."""
        done = self.space.run([sys.executable, "-c", code], env=self.env(**more), cwd=self.folder)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def refusal(self, *args: str, **more: Any) -> str:
        """What a start says that fails."""
        with self.server(*args, wait=False, **more) as server:
            assert server.wait_exit() != 0
            return server.stderr + server.stdout

    def answers(self, port: int, host: str = "127.0.0.1", token: str | None = None) -> bool:
        """Whether a Copilot server lets a client in there."""
        with Wire(self.space.connect(port, host)) as wire:
            reply = wire.exchange("connect", {} if token is None else {"token": token})
            # Up to 1.0.32 there is no such method, and no token either.
            is_old = reply.get("error", {}).get("code") == -32601
            return (is_old or "result" in reply) and bool(wire.ping())


@contextlib.contextmanager
def shell_of(installed: Cli, folder: Path) -> Iterator[Shell]:
    """Make a shell where no server runs; the CLI is unpacked in its home."""
    check()
    pkg = folder / ".cache" / "copilot" / "pkg"
    pkg.parent.mkdir(parents=True)
    pkg.symlink_to(unpacked(installed.version), target_is_directory=True)
    with namespace() as space:
        yield Shell(space, folder, installed)


def words_of(fix: Fix) -> list[str]:
    """The words of the last line of a fix: the start of a server."""
    return shlex.split(fix["shell"].splitlines()[-1])
