"""Ports without a Copilot server on them: named, and cured by what is printed."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import ssl
import subprocess
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from tests.harness.cli import (
    NEWEST,
    OLDEST,
    RunningServer,
    base_env,
    cli,
    free_port,
    start_server,
    unpacked,
)
from tests.harness.doctor import evidence, findings, fix, run_doctor, the_finding
from tests.harness.http import serve
from tests.harness.netns import Namespace, check, namespace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from tests.scenarios.conftest import Proven

pytestmark = [pytest.mark.real, pytest.mark.namespace]

CHECK = "server-handshake"
BOTH = pytest.mark.parametrize("version", [OLDEST, NEWEST])
EXITED = "RuntimeError: CLI process exited unexpectedly"


@dataclass
class Shell:
    """A shell in a network place of its own, with the CLI on its path."""

    space: Namespace
    folder: Path
    version: str

    def env(self, url: str = "", **more: str) -> dict[str, str]:
        env = base_env(self.folder)
        env["PATH"] = os.pathsep.join([str(cli(self.version).wrapper.parent), env["PATH"]])
        return {**env, **({"COPILOT_CLI_URL": url} if url else {}), **more}

    def look(self, url: str, *arguments: str, **more: str) -> dict[str, Any]:
        # Alone: what other checks say of the same cause would have this one attached to theirs.
        return run_doctor(
            *("--select", CHECK, *arguments),
            env=self.env(url, **more),
            cwd=self.folder,
            launcher=self.space.launcher,
        )

    def pasted(self, chosen: dict[str, Any], env: Mapping[str, str]) -> dict[str, str]:
        """The environment of this shell after a fix that starts nothing."""
        lines = chosen["shell"] + "\nenv -0"
        done = subprocess.run(
            [*self.space.launcher, "bash", "-c", lines],
            env=dict(env),
            capture_output=True,
            text=True,
            check=True,
        )
        pairs = (item.partition("=") for item in done.stdout.split("\0") if "=" in item)
        return {name: value for name, _, value in pairs if name == "COPILOT_CLI_URL"}

    @contextlib.contextmanager
    def running(self, chosen: dict[str, Any], port: int) -> Iterator[None]:
        """What the lines of a fix start, until the end of the block."""
        with (self.folder / "pasted.txt").open("w+") as output:
            process = subprocess.Popen(
                [*self.space.launcher, "bash", "-c", chosen["shell"]],
                env=self.env(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
            try:
                until = time.monotonic() + 90
                while not self.accepts(port):
                    output.seek(0)
                    said = output.read()
                    assert process.poll() is None, said
                    assert time.monotonic() < until, said
                    time.sleep(0.1)
                yield
            finally:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def accepts(self, port: int) -> bool:
        with contextlib.suppress(OSError):
            self.space.connect(port).close()
            return True
        return False


@pytest.fixture(scope="module", params=[OLDEST, NEWEST])
def beside(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Shell, RunningServer]]:
    """A shell beside a real server that is in order."""
    check()
    with (
        namespace() as space,
        start_server(request.param, how="native", launcher=space.launcher) as server,
    ):
        yield Shell(space, tmp_path_factory.mktemp("shell"), request.param), server


@pytest.fixture
def shell(version: str, tmp_path: Path) -> Iterator[Shell]:
    """A shell where no server runs; the CLI is unpacked in its home."""
    check()
    pkg = tmp_path / ".cache" / "copilot" / "pkg"
    pkg.parent.mkdir(parents=True)
    pkg.symlink_to(unpacked(version), target_is_directory=True)
    with namespace() as space:
        yield Shell(space, tmp_path, version)


def is_cured(report: dict[str, Any]) -> bool:
    [result] = [item for item in report["checks"] if item["id"] == CHECK]
    return not findings(report, CHECK) and result["status"] == "pass"


# Beside a server that is in order


def test_a_copilot_server_passes(beside: tuple[Shell, RunningServer]) -> None:
    shell, server = beside
    assert is_cured(shell.look(server.url))


def test_the_wrong_port(beside: tuple[Shell, RunningServer], proven: Proven) -> None:
    shell, server = beside
    url = f"127.0.0.1:{free_port()}"
    finding = the_finding(shell.look(url), CHECK)
    assert finding["cause_id"] == "wrong-port"
    assert finding["title"] == f"Nothing listens on {url}"
    assert f"pid {server.listener_pid}" in evidence(finding)
    assert f"127.0.0.1:{server.port}" in evidence(finding)
    changed = shell.pasted(fix(finding, "use-the-server"), shell.env(url))
    assert is_cured(shell.look(changed["COPILOT_CLI_URL"]))
    proven(CHECK, "use-the-server", shell.version)


def test_the_address_that_it_does_not_listen_on(
    beside: tuple[Shell, RunningServer], proven: Proven
) -> None:
    shell, server = beside
    url = f"[::1]:{server.port}"
    finding = the_finding(shell.look(url), CHECK)
    assert finding["cause_id"] == "other-address"
    assert f"listens on 127.0.0.1:{server.port}" in finding["detail"]
    changed = shell.pasted(fix(finding, "use-its-address"), shell.env(url))
    assert changed["COPILOT_CLI_URL"] == server.url
    assert is_cured(shell.look(server.url))
    proven(CHECK, "use-its-address", shell.version)


def _say(words: bytes) -> Callable[[socket.socket], None]:
    return lambda connection: connection.sendall(words)


def _reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


@contextlib.contextmanager
def other_program(space: Namespace, manner: Callable[[socket.socket], None]) -> Iterator[int]:
    """A program that does that with every connection and closes it then."""
    listener = space.listen(free_port())

    def loop() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection:
                    manner(connection)

    thread = threading.Thread(target=loop, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)


@pytest.mark.parametrize(
    ("manner", "cause", "title"),
    [
        (_say(b"SSH-2.0-OpenSSH_9.2p1\r\n"), "other-program", "An SSH server"),
        (_say(b"-ERR unknown command\r\n"), "other-program", "A Redis server"),
        (lambda _connection: None, "hangs-up", "accepts connections and closes them at once"),
        (_reset, "hangs-up", "accepts connections and closes them at once"),
    ],
    ids=["ssh", "redis", "closes", "resets"],
)
def test_another_program(
    beside: tuple[Shell, RunningServer], manner: Any, cause: str, title: str
) -> None:
    shell, server = beside
    with other_program(shell.space, manner) as port:
        url = f"127.0.0.1:{port}"
        finding = the_finding(shell.look(url), CHECK)
        assert finding["cause_id"] == cause
        assert title in finding["title"]
        assert EXITED in finding["symptom"]
        changed = shell.pasted(fix(finding, "use-the-server"), shell.env(url))
    assert changed["COPILOT_CLI_URL"] == server.url


def test_an_http_server(beside: tuple[Shell, RunningServer]) -> None:
    shell, server = beside
    listener = shell.space.listen(free_port())
    url = f"127.0.0.1:{listener.getsockname()[1]}"
    with serve(listener, lambda _request: (200, {"Server": "other"}, b"hello")):
        finding = the_finding(shell.look(url), CHECK)
        assert finding["cause_id"] == "other-program"
        assert finding["title"] == f"An HTTP server, not a Copilot server, listens on {url}"
        assert f"pid {os.getpid()}" in evidence(finding)  # the tests have the port
        changed = shell.pasted(fix(finding, "use-the-server"), shell.env(url))
        assert is_cured(shell.look(changed["COPILOT_CLI_URL"]))
    assert changed["COPILOT_CLI_URL"] == server.url


def test_a_tls_server(beside: tuple[Shell, RunningServer]) -> None:
    shell, _ = beside
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)

    def greet(connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            context.wrap_socket(connection, server_side=True).close()

    with other_program(shell.space, greet) as port:
        finding = the_finding(shell.look(f"https://127.0.0.1:{port}"), CHECK)
    assert finding["cause_id"] == "tls"
    assert finding["symptom"] == EXITED


def test_a_stopped_server(beside: tuple[Shell, RunningServer], proven: Proven) -> None:
    shell, server = beside
    pid = server.listener_pid
    os.kill(pid, signal.SIGSTOP)
    try:
        finding = the_finding(shell.look(server.url, "--timeout", "1.5"), CHECK)
        assert finding["cause_id"] == "silent"
        assert finding["title"].startswith(f"The Copilot server on {server.url} accepts")
        assert f"pid {pid}" in evidence(finding)
        shell.pasted(fix(finding, "continue"), shell.env())
        assert is_cured(shell.look(server.url))
    finally:
        os.kill(pid, signal.SIGCONT)
    proven(CHECK, "continue", shell.version)


# Where no server runs


@BOTH
def test_nothing_listens(shell: Shell, proven: Proven) -> None:
    port = free_port()
    url = f"127.0.0.1:{port}"
    finding = the_finding(shell.look(url), CHECK)
    assert finding["cause_id"] == "nothing-listens"
    assert finding["symptom"].endswith("[Errno 111] Connection refused")
    with shell.running(fix(finding, "start"), port):
        assert is_cured(shell.look(url))
    proven(CHECK, "start", shell.version)


@BOTH
def test_a_port_that_another_program_keeps(shell: Shell, proven: Proven) -> None:
    with other_program(shell.space, _say(b"SSH-2.0-OpenSSH_9.2p1\r\n")) as port:
        finding = the_finding(shell.look(f"127.0.0.1:{port}"), CHECK)
        chosen = fix(finding, "start-elsewhere")
        found = re.search(r"export COPILOT_CLI_URL=(127\.0\.0\.1:(\d+))", chosen["shell"])
        assert found
        with shell.running(chosen, int(found[2])):
            assert is_cured(shell.look(found[1]))
    proven(CHECK, "start-elsewhere", shell.version)


@contextlib.contextmanager
def replaced(shell: Shell, chosen: dict[str, Any], old: RunningServer) -> Iterator[None]:
    """As `Shell.running`, but the port is open from the beginning: wait for the old one to go."""
    threading.Thread(target=old.wrapper.wait, daemon=True).start()  # else it stays as a zombie
    with shell.running(chosen, old.port):
        old.wait_gone()
        until = time.monotonic() + 90
        while not shell.accepts(old.port):
            assert time.monotonic() < until
            time.sleep(0.1)
        yield


@BOTH
def test_an_acp_server(shell: Shell, proven: Proven) -> None:
    with start_server(
        shell.version,
        mode="--acp",
        how="native",
        home=shell.folder,
        launcher=shell.space.launcher,
    ) as agent:
        finding = the_finding(shell.look(agent.url, "--timeout", "3"), CHECK)
        assert finding["cause_id"] == "acp"
        assert "start() never returns" in finding["symptom"]
        assert f"pid {agent.listener_pid}" in evidence(finding)
        chosen = fix(finding, "server-not-acp")
        assert f"kill {agent.listener_pid}" in chosen["shell"]
        with replaced(shell, chosen, agent):
            assert is_cured(shell.look(agent.url))
    proven(CHECK, "server-not-acp", shell.version)


@BOTH
def test_another_host_refuses_until_the_server_listens_beyond_loopback(
    shell: Shell, proven: Proven
) -> None:
    port = free_port()
    with namespace() as copilot:
        copilot.link(shell.space, "198.51.100.1/24", "198.51.100.2/24")
        shell.space.hosts({"copilot": "198.51.100.1"})
        url = f"copilot:{port}"
        with start_server(shell.version, port=port, how="native", launcher=copilot.launcher):
            finding = the_finding(shell.look(url), CHECK)
            assert finding["cause_id"] == "refused-there"
            assert "copilot is 198.51.100.1" in evidence(finding)
            code = fix(finding, "host-option")["code"]
        command = re.search(r"command: copilot --server (.*)", code)
        assert command
        token = {"COPILOT_CONNECTION_TOKEN": "for-both-sides-1"}
        with start_server(
            shell.version, *command[1].split(), how="native", env=token, launcher=copilot.launcher
        ):
            assert is_cured(shell.look(url, **token))
    proven(CHECK, "host-option", shell.version)
