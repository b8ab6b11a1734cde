"""Ports that a real server cannot have: who has them, and the cure that is printed."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import re
import shutil
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.harness.cli import Cli, cli, free_port, unpacked, version_tuple
from tests.harness.cli import _public_copy as public_copy
from tests.harness.doctor import evidence, fix, status
from tests.harness.wire import Wire
from tests.scenarios.shell import Shell, shell_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.harness.doctor import Finding, Fix
    from tests.scenarios.conftest import Proven

pytestmark = [pytest.mark.real, pytest.mark.namespace]

CHECK = "port-in-use"
AS_NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
# A client and its server in one program; the client's own port is chosen.
CLIENT = """
import socket, sys, time
own, peer = map(int, sys.argv[1:3])
listener = socket.create_server(("127.0.0.1", peer))
client = socket.socket()
client.bind(("127.0.0.1", own))
client.connect(("127.0.0.1", peer))
accepted, _ = listener.accept()
if sys.argv[3:] == ["close"]:
    client.close()
    accepted.close()
print("connected", flush=True)
time.sleep(600)
"""


@pytest.fixture
def shell(cli_version: str, tmp_path: Path) -> Iterator[Shell]:
    with shell_of(cli(cli_version), tmp_path) as made:
        yield made


def in_use(version: str) -> str:
    """What a start says on a port that is taken."""
    if version_tuple(version) <= (1, 0, 64):
        return "EADDRINUSE: address already in use"
    return "Address already in use (os error 98)"


def sees(shell: Shell, port: int) -> dict[str, Finding]:
    return shell.sees(CHECK, f"port {port}", "--port", str(port))


def sees_only(shell: Shell, port: int, cause: str) -> Finding:
    found = sees(shell, port)
    assert set(found) == {cause}
    return found[cause]


def can_start(shell: Shell, port: int) -> bool:
    with shell.server(port=port):
        return shell.answers(port)


@contextlib.contextmanager
def http_server(shell: Shell, port: int, host: str = "127.0.0.1") -> Iterator[int]:
    """Python's own HTTP server, and its process id."""
    line = (sys.executable, "-u", "-m", "http.server", str(port), "--bind", host)
    with shell.program(*line) as process:
        assert process.stdout
        assert "Serving HTTP" in process.stdout.readline()
        yield process.pid


def proves_other_port(shell: Shell, found: Finding, proven: Proven) -> None:
    """Paste the start on a free port: it runs there, and clients of this shell are told."""
    chosen = fix(found, "other-port")
    export, start = chosen["shell"].splitlines()
    address = re.fullmatch(r"export COPILOT_CLI_URL=(127\.0\.0\.1:(\d+))", export)
    assert address
    url, port = address[1], int(address[2])
    assert start == f"copilot --server --port {port}"
    assert f"{port}, which is free" in chosen["summary"]
    with shell.pasted(chosen, port):
        assert shell.answers(port)
        assert shell.sees(CHECK, f"port {port}", COPILOT_CLI_URL=url) == {}
    proven(CHECK, "other-port", shell.version)


# Somebody listens


def test_another_program(shell: Shell, proven: Proven) -> None:
    port = free_port()
    with http_server(shell, port) as pid:
        refusal = shell.refusal(port=port)
        assert in_use(shell.version) in refusal
        found = sees_only(shell, port, "other-program")
        assert found["status"] == "fail"
        assert found["title"] == f"Port {port} is held by python3 (pid {pid})"
        assert f"127.0.0.1:{port} listen: pid {pid}, user root" in evidence(found)
        assert f"-m http.server {port}" in evidence(found)
        assert in_use(shell.version) in found["symptom"]
        proves_other_port(shell, found, proven)
        stop = fix(found, "stop-program")
        assert f"kill {pid} " in stop["shell"]
        with shell.pasted(stop):
            assert sees(shell, port) == {}
            assert can_start(shell, port)
    proven(CHECK, "stop-program", shell.version)


def test_a_server_that_clients_can_share(shell: Shell, proven: Proven) -> None:
    with shell.server() as server:
        assert in_use(shell.version) in shell.refusal(port=server.port)
        found = sees_only(shell, server.port, "copilot-server")
        assert found["status"] == "warn"
        assert f"pid {server.listener_pid}, user root" in evidence(found)
        assert f"it answers as Copilot server {shell.version}" in evidence(found)

        changed = shell.after(fix(found, "share"))
        assert changed == {"COPILOT_CLI_URL": server.url}
        assert shell.sees(CHECK, f"port {server.port}", **changed) == {}
        proven(CHECK, "share", shell.version)
        assert shell.python(started(fix(found, "share-in-code"))) == "pong: hello"
        proven(CHECK, "share-in-code", shell.version)
        proves_other_port(shell, found, proven)

        with shell.pasted(fix(found, "stop-server")):
            assert sees(shell, server.port) == {}
            assert can_start(shell, server.port)
        assert server.wait_exit() in {0, 143}  # the wrapper goes with its child
    proven(CHECK, "stop-server", shell.version)


def started(chosen: Fix) -> str:
    """The code of a fix, and a first call with it."""
    lines = [
        "import asyncio",
        chosen["code"],
        "async def call():",
        "    await client.start()",
        "    print((await client.ping('hello')).message)",
        "    await client.stop()",
        "asyncio.run(call())",
    ]
    return "\n".join(lines)


def test_the_code_carries_the_token_of_a_server_that_wants_one(shell: Shell) -> None:
    token = {"COPILOT_CONNECTION_TOKEN": "for-both-sides-1"}
    with shell.server(env=token) as server:
        found = sees_only(shell, server.port, "copilot-server")
        assert "with its COPILOT_CONNECTION_TOKEN" in fix(found, "share")["summary"]
        code = started(fix(found, "share-in-code"))
        assert shell.python(code, **token) == "pong: hello"
        assert "for-both-sides-1" not in json.dumps(found)


def test_a_server_that_outlived_its_wrapper(shell: Shell, proven: Proven) -> None:
    with shell.server() as server:
        wrapper, pid, port = server.wrapper.pid, server.listener_pid, server.port
        assert wrapper != pid
        # What `kill $!`, a supervisor and Ctrl-C in another shell do: it frees nothing.
        os.kill(wrapper, signal.SIGTERM)
        server.wait_exit()
        assert shell.answers(port)
        assert in_use(shell.version) in shell.refusal(port=port)

        found = sees_only(shell, port, "old-copilot-server")
        assert found["status"] == "fail"
        assert found["title"] == f"An old Copilot server (pid {pid}) still holds port {port}"
        assert f"127.0.0.1:{port} listen: pid {pid}, user root" in evidence(found)
        assert "its npm wrapper is gone" in evidence(found)
        proves_other_port(shell, found, proven)
        stop = fix(found, "stop-server")
        assert re.findall(r"kill (\d+)", stop["shell"]) == [str(pid)]
        with shell.pasted(stop):
            assert sees(shell, port) == {}
            assert can_start(shell, port)
    proven(CHECK, "stop-server", shell.version)


@pytest.mark.parametrize("installed", ["1.0.102"])
def test_a_server_that_an_upgrade_left_running(
    installed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, proven: Proven
) -> None:
    running = "1.0.63"
    unpacked(running)
    root = tmp_path / "cli"
    shutil.copytree(cli(running).root, root, symlinks=True, copy_function=os.link)
    home = tmp_path / "home"
    with shell_of(Cli(running, root), home) as shell:
        monkeypatch.setattr("tests.harness.cli.cli", lambda _version: Cli(running, root))
        with shell.server() as server:
            shutil.rmtree(root)
            source = cli(installed).root
            shutil.copytree(source, root, symlinks=True, copy_function=os.link)
            monkeypatch.undo()
            found = sees_only(shell, server.port, "old-copilot-server")
            assert f"it runs {running}, and {installed} is installed" in evidence(found)
            assert f"pid {server.listener_pid}" in evidence(found)
            with shell.pasted(fix(found, "stop-server")):
                assert sees(shell, server.port) == {}
        with shell.server(version=installed, port=server.port):
            assert sees_only(shell, server.port, "copilot-server")
    proven(CHECK, "stop-server", running)


def test_a_server_that_does_not_answer(shell: Shell, proven: Proven) -> None:
    with shell.server() as server:
        pid = server.listener_pid
        os.kill(pid, signal.SIGSTOP)
        try:
            arguments = ("--port", str(server.port), "--timeout", "1")
            found = shell.sees(CHECK, f"port {server.port}", *arguments)["old-copilot-server"]
            assert "it does not answer as a Copilot server should" in evidence(found)
            proves_other_port(shell, found, proven)
        finally:
            os.kill(pid, signal.SIGCONT)


def test_an_acp_server(shell: Shell, proven: Proven) -> None:
    with shell.server(mode="--acp") as agent:
        found = sees_only(shell, agent.port, "other-program")
        assert f"held by an ACP server of Copilot (pid {agent.listener_pid})" in found["title"]
        with shell.pasted(fix(found, "stop-server")):
            assert sees(shell, agent.port) == {}
            assert can_start(shell, agent.port)
    proven(CHECK, "stop-server", shell.version)


def test_two_servers_on_one_port(shell: Shell, proven: Proven) -> None:
    with shell.server() as first, shell.server("--host", "::1", port=first.port) as second:
        assert first.addresses == ["127.0.0.1"]
        found = shell.sees(CHECK, f"port {first.port}", COPILOT_CLI_URL=first.url)["same-port"]
        assert found["status"] == "warn"
        assert f"127.0.0.1:{first.port}: " in evidence(found)
        assert f"[::1]:{first.port}: " in evidence(found)
        move = fix(found, "move-one")
        assert f"kill {second.listener_pid} " in move["shell"]
        port = int(move["shell"].rpartition(" ")[2])
        with shell.pasted(move, port):
            assert shell.answers(port, "::1")
            assert shell.sees(CHECK, f"port {first.port}", COPILOT_CLI_URL=first.url) == {}
    proven(CHECK, "move-one", shell.version)


def test_the_second_of_two_servers_can_be_stopped(shell: Shell, proven: Proven) -> None:
    with shell.server() as first, shell.server("--host", "::1", port=first.port) as second:
        found = shell.sees(CHECK, f"port {first.port}", COPILOT_CLI_URL=first.url)["same-port"]
        with shell.pasted(fix(found, "stop-one")):
            second.wait_gone()
            assert shell.answers(first.port)
            assert shell.sees(CHECK, f"port {first.port}", COPILOT_CLI_URL=first.url) == {}
    proven(CHECK, "stop-one", shell.version)


def test_another_address(shell: Shell, proven: Proven) -> None:
    shell.space.address("198.51.100.1/32")
    port = free_port()
    with http_server(shell, port, "198.51.100.1") as pid:
        found = sees_only(shell, port, "other-address")
        assert found["status"] == "warn"
        assert f"198.51.100.1:{port} listen: pid {pid}" in evidence(found)
        assert can_start(shell, port)
        assert in_use(shell.version) in shell.refusal("--host", "0.0.0.0", port=port)
        proves_other_port(shell, found, proven)


def test_up_to_1_0_22_any_address_is_in_the_way(tmp_path: Path) -> None:
    with shell_of(cli("1.0.22"), tmp_path) as shell:
        shell.space.address("198.51.100.1/32")
        port = free_port()
        with http_server(shell, port, "198.51.100.1"):
            assert f"address already in use :::{port}" in shell.refusal(port=port)
            assert "up to 1.0.22" in sees_only(shell, port, "other-address")["cause"]


# Nobody listens


@contextlib.contextmanager
def client(shell: Shell, own: int, *more: str) -> Iterator[int]:
    """A program with a connection from that port of its own."""
    with shell.program(sys.executable, "-c", CLIENT, str(own), str(free_port()), *more) as process:
        assert process.stdout
        assert process.stdout.readline()
        yield process.pid


@pytest.mark.parametrize(("port", "cause"), [(40_123, "client-end"), (20_123, "open-connection")])
def test_a_clients_own_connection(shell: Shell, port: int, cause: str, proven: Proven) -> None:
    with client(shell, port) as pid:
        assert in_use(shell.version) in shell.refusal(port=port)
        found = sees_only(shell, port, cause)
        assert found["status"] == "fail"
        assert f"127.0.0.1:{port} established" in evidence(found)
        assert f"pid {pid}, user root" in evidence(found)
        proves_other_port(shell, found, proven)
        with shell.pasted(fix(found, "stop-program")):
            assert sees(shell, port) == {}
            assert can_start(shell, port)
    proven(CHECK, "stop-program", shell.version)


@pytest.mark.parametrize(("port", "expected"), [(40_124, "warn"), (20_124, "unknown")])
def test_what_a_closed_connection_leaves(
    shell: Shell, port: int, expected: str, proven: Proven
) -> None:
    with client(shell, port, "close"):
        assert in_use(shell.version) in shell.refusal(port=port)
        found = sees_only(shell, port, "time-wait")
        assert found["status"] == expected
        assert f"127.0.0.1:{port} time-wait" in evidence(found)
        assert fix(found, "wait")["shell"] == "sleep 60"
        proves_other_port(shell, found, proven)


def test_what_a_server_leaves_is_not_in_the_way(shell: Shell) -> None:
    with shell.server() as server, Wire(shell.space.connect(server.port)) as wire:
        wire.connect()
        os.kill(server.listener_pid, signal.SIGKILL)
        server.wait_exit()
        port = server.port
        assert can_start(shell, port)
        assert "fail" not in {item["status"] for item in sees(shell, port).values()}


# It cannot be had


@pytest.mark.parametrize("port", [65_536, 99_999])
def test_no_port(shell: Shell, port: int, proven: Proven) -> None:
    refusal = shell.refusal("--port", str(port), port="absent")
    found = sees_only(shell, port, "no-such-port")
    assert found["status"] == "fail"
    said = "ERR_SOCKET_BAD_PORT" if "ERR_SOCKET" in refusal else "between 0 and 65535"
    assert said in refusal
    assert f"port: {port}" in evidence(found)
    proves_other_port(shell, found, proven)


# With no right to anything. The doctor's files may lie where another user cannot read:
# a first run loads what is needed, then every right is given up for good.
DOCTOR_AS_NOBODY = """
import os, sys
from doctor.cli.app import run
arguments = ["check", "--json", "--select", "port-in-use", "--port", sys.argv[1]]
shown, sys.stdout = sys.stdout, open(os.devnull, "w")
run(arguments)
sys.stdout = shown
os.chdir("/")
os.setgroups([])
os.setresgid(65534, 65534, 65534)
os.setresuid(65534, 65534, 65534)
sys.exit(run(arguments))
"""


def sees_as_nobody(shell: Shell, port: int) -> tuple[list[Finding], str]:
    """The findings of a user who may nothing, and the status of the check."""
    done = subprocess.run(
        [*shell.space.launcher, sys.executable, "-c", DOCTOR_AS_NOBODY, str(port)],
        env=shell.env(PYTHONPATH=os.getcwd()),  # noqa: PTH109 - the doctor under test
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return report["findings"], status(report, CHECK)


@pytest.fixture
def nobody(cli_version: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """A shell whose home and CLI are open to an unprivileged user."""
    open_to_all = Cli(cli_version, public_copy(cli(cli_version).root))
    home = tmp_path_factory.mktemp("home")
    with shell_of(open_to_all, home) as made:
        link = home / ".cache" / "copilot" / "pkg"
        link.unlink()
        link.symlink_to(public_copy(unpacked(cli_version)), target_is_directory=True)
        for path in (home, *home.rglob("*")):
            shutil.chown(path, "nobody", pwd.getpwnam("nobody").pw_gid)
        for path in home.parents[:-2]:
            path.chmod(path.stat().st_mode | 0o011)
        yield made


def test_a_port_that_needs_a_right(nobody: Shell, proven: Proven) -> None:
    port = 80
    found, _ = sees_as_nobody(nobody, port)
    assert [item["cause_id"] for item in found] == ["low-port"]
    assert found[0]["title"] == "Port 80 needs a right that user nobody does not have"
    assert "ports from 1024 on need no privilege" in evidence(found[0])
    chosen = fix(found[0], "other-port")
    other = int(chosen["shell"].rpartition(" ")[2])
    with nobody.pasted(chosen, other, AS_NOBODY):
        assert nobody.answers(other)
        assert sees_as_nobody(nobody, other)[0][0]["status"] == "warn"  # a server, as wanted
        assert nobody.sees(CHECK, f"port {other}", COPILOT_CLI_URL=f"127.0.0.1:{other}") == {}
    proven(CHECK, "other-port", nobody.version)


def test_root_may_have_such_a_port(shell: Shell) -> None:
    assert sees(shell, 80) == {}
    assert can_start(shell, 80)


def test_another_users_program(nobody: Shell, proven: Proven) -> None:
    port = free_port()
    with http_server(nobody, port):
        found, _ = sees_as_nobody(nobody, port)
        assert [item["cause_id"] for item in found] == ["owner-hidden"]
        assert "a process of user root that cannot be seen" in found[0]["title"]
        lines = fix(found[0], "look-as-root")["shell"]
        assert lines == f"sudo lsof -nP -iTCP:{port} -sTCP:LISTEN"
        chosen = fix(found[0], "other-port")
        other = int(chosen["shell"].rpartition(" ")[2])
        with nobody.pasted(chosen, other, AS_NOBODY):
            assert nobody.sees(CHECK, f"port {other}", COPILOT_CLI_URL=f"127.0.0.1:{other}") == {}
    proven(CHECK, "other-port", nobody.version)
