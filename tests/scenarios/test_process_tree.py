"""Signals to a real server: below npm's wrapper, as PID 1, under supervisord."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from tests.harness import MissingPartError
from tests.harness.cli import NEWEST, OLDEST, listening, start_server
from tests.harness.doctor import evidence, findings, fix, paste, run_doctor
from tests.harness.venv import venv_python

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.harness.cli import RunningServer
    from tests.scenarios.conftest import Proven

pytestmark = pytest.mark.real

CHECK = "process-tree"
BOTH = pytest.mark.parametrize("version", [OLDEST, NEWEST])
CONTAINER = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")


def look(server: RunningServer) -> list[dict[str, Any]]:
    report = run_doctor("--select", CHECK, env=server.env, cwd=server.home)
    found = findings(report, CHECK, f"on port {server.port} ")
    # Depends on who else is connected at this moment: another test's doctor, for example.
    return [item for item in found if not item["title"].startswith("Stopping this server takes")]


def is_gone(pid: int, limit_s: float) -> bool:
    until = time.monotonic() + limit_s
    while time.monotonic() < until:
        with contextlib.suppress(psutil.NoSuchProcess):
            if psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                time.sleep(0.05)
                continue
        return True
    return False


@BOTH
def test_a_signal_to_the_wrapper_leaves_an_orphan(version: str, proven: Proven) -> None:
    with start_server(version) as server:
        listener = server.listener_pid
        assert look(server) == []
        server.wrapper.terminate()
        server.wrapper.wait(10)
        assert server.listener_pid == listener
        (found,) = look(server)
        assert found["status"] == "warn"
        assert f"pid {listener} is the server" in evidence(found)
        assert f":{server.port}" in evidence(found)

        with paste(fix(found, "kill-orphan"), env=server.env):
            assert is_gone(listener, 5)
            assert look(server) == []
        proven(CHECK, "kill-orphan", version)


@pytest.fixture
def needs_containers() -> None:
    if sys.platform != "linux" or os.geteuid() != 0 or not shutil.which("unshare"):
        raise MissingPartError("PID namespaces need Linux, root and unshare")


def first_inside(server: RunningServer) -> int:
    """The process that is PID 1 of the container, as this machine counts."""
    (child,) = psutil.Process(server.wrapper.pid).children()
    return child.pid


@BOTH
@pytest.mark.usefixtures("needs_containers")
def test_the_wrapper_as_pid_1_ignores_sigterm(version: str, proven: Proven) -> None:
    with start_server(version, launcher=CONTAINER) as server:
        (found,) = look(server)
        assert found["status"] == "warn"
        assert "PID 1 of the container" in evidence(found)
        first = first_inside(server)
        os.kill(first, signal.SIGTERM)
        assert not is_gone(first, 3)

        words = json.loads(fix(found, "exec-native")["code"].removeprefix("CMD "))
        assert fix(found, "init")["code"].endswith("init: true")
    # The printed CMD, as PID 1.
    with container(words, server) as shell:
        assert look(server) == []
        (child,) = psutil.Process(shell.pid).children()
        os.kill(child.pid, signal.SIGTERM)
        assert is_gone(child.pid, 5)
    proven(CHECK, "exec-native", version)


@BOTH
@pytest.mark.usefixtures("needs_containers")
def test_a_small_init_passes_sigterm_on(version: str, proven: Proven) -> None:
    # What `init: true` puts there is tini, or a program that does the same.
    tini = shutil.which("tini") or shutil.which("docker-init") or shutil.which("catatonit")
    if tini is None:
        raise MissingPartError("there is no small init (apt-get install tini)")
    with start_server(version, launcher=(*CONTAINER, tini, "--")) as server:
        assert look(server) == []
        first, listener = first_inside(server), server.listener_pid
        os.kill(first, signal.SIGTERM)
        assert is_gone(first, 5)
        assert is_gone(listener, 5)
        proven(CHECK, "init", version)


@contextlib.contextmanager
def container(words: list[str], server: RunningServer) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command as PID 1 of a container until it listens on the server's port."""
    server.home.mkdir(parents=True, exist_ok=True)
    shell = subprocess.Popen(
        [*CONTAINER, *words],
        env=server.env,
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    try:
        until = time.monotonic() + 90
        while time.monotonic() < until:
            children = psutil.Process(shell.pid).children(recursive=True)
            if any(port == server.port for child in children for _, port in listening(child.pid)):
                break
            assert shell.poll() is None
            time.sleep(0.1)
        yield shell
    finally:
        shell.kill()
        shell.wait(10)
        shutil.rmtree(server.home, ignore_errors=True)


class Supervised:
    """A server below supervisord, steered as a person would: supervisorctl and its file."""

    def __init__(self, server: RunningServer, folder: Path) -> None:
        python = venv_python("tools", "supervisor==4.3.0")
        socket = folder / "sock"
        self.file = folder / "supervisord.conf"
        self._python = str(python)
        self._command = f"command={' '.join(server.argv)}"
        self.file.write_text(
            f"[supervisord]\nnodaemon=true\nlogfile=/dev/null\nlogfile_maxbytes=0\n"
            f"pidfile={folder}/pid\n"
            f"[unix_http_server]\nfile={socket}\n[supervisorctl]\nserverurl=unix://{socket}\n"
            "[rpcinterface:supervisor]\nsupervisor.rpcinterface_factory = "
            "supervisor.rpcinterface:make_main_rpcinterface\n"
            f"[program:copilot]\n{self._command}\nstartretries=0\n"
            f"stdout_logfile={folder}/out\nstderr_logfile={folder}/err\n"
        )
        self.daemon = subprocess.Popen(
            [self._python, "-m", "supervisor.supervisord", "-c", str(self.file)],
            env=server.env,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def change(self, lines: str) -> None:
        """Put the lines into the section of the program, as the fix says."""
        text = self.file.read_text()
        if lines.startswith("command="):
            text = text.replace(self._command, lines)
        else:
            text += lines + "\n"
        self.file.write_text(text)
        self.ctl("update")

    def ctl(self, *words: str) -> None:
        subprocess.run(
            [self._python, "-m", "supervisor.supervisorctl", "-c", str(self.file), *words],
            check=False,
            capture_output=True,
            timeout=60,
        )

    def listener(self, port: int, limit_s: float = 60) -> int | None:
        """The process that listens; None: nobody within the time."""
        until = time.monotonic() + limit_s
        while time.monotonic() < until:
            for process in psutil.process_iter():
                with contextlib.suppress(psutil.Error, OSError):
                    if str(port) in process.cmdline() and ("127.0.0.1", port) in listening(
                        process.pid
                    ):
                        return process.pid
            time.sleep(0.1)
        return None

    def end(self, port: int) -> None:
        self.ctl("shutdown")
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.daemon.wait(15)
        self.daemon.kill()
        left = self.listener(port, 0.3)
        if left is not None:
            os.kill(left, signal.SIGKILL)


@BOTH
@pytest.mark.parametrize("fix_id", ["supervise-native", "stop-group"])
def test_a_stop_by_supervisord(version: str, fix_id: str, tmp_path: Path, proven: Proven) -> None:
    with start_server(version) as server:
        port, pid = server.port, server.listener_pid
        os.kill(pid, signal.SIGTERM)
        server.wait_gone()
        supervised = Supervised(server, tmp_path)
        try:
            assert supervised.listener(port)
            (found,) = look(server)
            assert found["status"] == "unknown"
            assert f"supervisord (pid {supervised.daemon.pid})" in evidence(found)
            supervised.ctl("stop", "copilot")
            orphan = supervised.listener(port, 5)
            assert orphan, "the stop did reach the server"
            os.kill(orphan, signal.SIGTERM)
            assert is_gone(orphan, 15)

            supervised.change(fix(found, fix_id)["code"])
            supervised.ctl("start", "copilot")
            running = supervised.listener(port)
            assert running
            if fix_id == "supervise-native":
                assert look(server) == []
            supervised.ctl("stop", "copilot")
            assert is_gone(running, 15)
            assert supervised.listener(port, 1) is None
            proven(CHECK, fix_id, version)
        finally:
            supervised.end(port)
