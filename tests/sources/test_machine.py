"""This machine as a Deployment: real servers, clients and holders of ports, and no secret."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from doctor.deployment import Deployment, Origin, Server
from doctor.deployment.targets import parse_target
from doctor.redaction import Vault
from doctor.sources import machine
from tests.harness.cli import NEWEST, base_env, cli, free_port, start_server, unpacked

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.harness.cli import RunningServer

HOLD = """
import socket, sys
held = [socket.create_server((sys.argv[1], int(sys.argv[2])))]
print(held[0].getsockname()[1], flush=True)
if len(sys.argv) > 3:
    held.append(socket.create_connection(held[0].getsockname()))
    held.append(held[0].accept())
    held.pop(0).close()
    print("closed", flush=True)
sys.stdin.read()
"""
CONNECT = """
import socket, sys
held = [socket.create_connection(("127.0.0.1", int(sys.argv[1]))) for _ in range(2)]
print("ready", flush=True)
sys.stdin.read()
"""
TOKEN = "gho_" + "A1b2C3d4" * 5


@contextlib.contextmanager
def child(script: str, *args: str, lines: int = 1, **env: str) -> Iterator[tuple[int, str]]:
    """Run a Python program until the block ends; its pid and its first lines."""
    process = subprocess.Popen(
        [sys.executable, "-c", script, *args],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **env},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield process.pid, "".join(process.stdout.readline() for _ in range(lines))
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


def look(
    *targets: str, port: int | None = None, vault: Vault | None = None, **environ: str
) -> Deployment:
    given = [parse_target(text, Origin(kind="target", name="argument")) for text in targets]
    return machine.look(
        environ={"PATH": os.environ["PATH"], **environ},
        vault=vault or Vault(),
        targets=given,
        port=port,
    )


def of(deployment: Deployment, running: RunningServer) -> Server:
    """Return the one server that a test has started."""
    found = [item for item in deployment.servers if item.process.pid in running.pids]  # type: ignore[union-attr]
    assert len(found) == 1, found
    return found[0]


# --- ports and targets, without a CLI -----------------------------------------------------------


def test_the_holder_of_a_wanted_port_is_named() -> None:
    with child(HOLD, "127.0.0.1", "0") as (pid, said):
        port = int(said)
        [wanted] = look(port=port).wanted_ports

    assert (wanted.port, wanted.is_visible) == (port, True)
    [holder] = wanted.holders
    assert (holder.state, holder.address) == ("listen", "127.0.0.1")
    assert holder.owner is not None
    assert holder.owner.pid == pid
    assert holder.owner.started_at is not None


def test_accepted_connections_are_no_holders_beside_the_listener() -> None:
    with child(HOLD, "127.0.0.1", "0") as (_, said), child(CONNECT, said.strip()):
        [wanted] = look(port=int(said)).wanted_ports

    assert [holder.state for holder in wanted.holders] == ["listen"]


def test_connections_without_a_listener_hold_the_port() -> None:
    with child(HOLD, "127.0.0.1", "0", "close", lines=2) as (pid, said):
        [wanted] = look(port=int(said.split()[0])).wanted_ports

    assert {holder.state for holder in wanted.holders} == {"established"}
    assert {holder.owner.pid for holder in wanted.holders if holder.owner} == {pid}
    assert all(
        holder.remote and holder.remote.startswith("127.0.0.1:") for holder in wanted.holders
    )


@pytest.mark.parametrize(
    ("targets", "environ", "port", "expected"),
    [
        (("127.0.0.1:41",), {}, None, [41]),
        (("localhost:41", "[::1]:42"), {}, None, [41, 42]),
        (("example.org:41",), {}, None, []),
        ((), {"COPILOT_CLI_URL": "localhost:43"}, None, [43]),
        ((), {"COPILOT_CLI_URL": "localhost:43"}, 44, [44, 43]),
        (("localhost:",), {}, None, []),
    ],
)
def test_which_ports_are_wanted(
    targets: Sequence[str], environ: dict[str, str], port: int | None, expected: list[int]
) -> None:
    found = look(*targets, port=port, **environ)

    assert [item.port for item in found.wanted_ports] == expected


def test_a_target_with_a_problem_stays_in_the_picture() -> None:
    assert [bool(item.problem) for item in look("localhost:", "localhost:41").targets] == [
        True,
        False,
    ]


def test_arguments_come_before_the_variable() -> None:
    found = look("localhost:41", COPILOT_CLI_URL="localhost:43")

    assert [item.port for item in found.targets] == [41]


def test_the_shell_is_kinds_and_lengths() -> None:
    found = look(COPILOT_GITHUB_TOKEN=TOKEN, COPILOT_CONNECTION_TOKEN="tiger-tiger")
    variable = found.shell.get("COPILOT_GITHUB_TOKEN")

    assert variable is not None
    assert (variable.kind, variable.length) == ("gho", len(TOKEN))
    text = msgspec.json.encode(found).decode()
    assert TOKEN[4:] not in text
    assert "tiger" not in text


# --- real servers -------------------------------------------------------------------------------

WAYS: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "npm wrapper": ((), {}),
    "native": ((), {"how": "native"}),
    "under bash -c": ((), {"how": "bash"}),
    "--headless": ((), {"mode": "--headless"}),
    "port absent": ((), {"port": "absent"}),
}


@pytest.mark.real
@pytest.mark.parametrize("way", WAYS)
def test_a_server_is_one_however_it_was_started(way: str) -> None:
    args, options = WAYS[way]
    with start_server(NEWEST, *args, env={"COPILOT_GITHUB_TOKEN": TOKEN}, **options) as running:
        found = look()
        server = of(found, running)
        listener_pid, wrapper_pid = running.listener_pid, running.wrapper.pid
        log, home = running.log_dir, running.copilot_home

    assert server.process is not None
    assert server.process.pid == listener_pid
    assert server.port == running.port
    assert server.mode == ("headless" if way == "--headless" else "server")
    assert server.command is not None
    assert server.command.is_tcp_server
    assert server.version == NEWEST
    if options.get("how") == "native":
        assert server.wrapper is None
    elif options.get("how") != "bash":
        assert server.wrapper is not None
        assert server.wrapper.pid == wrapper_pid
    assert [(item.address, item.namespace) for item in server.listeners] == [("127.0.0.1", "own")]
    variable = server.environment.get("COPILOT_GITHUB_TOKEN")
    assert variable is not None
    assert (variable.kind, variable.length, variable.text) == ("gho", len(TOKEN), None)
    assert TOKEN[4:] not in msgspec.json.encode(found).decode()
    assert [(item.role, item.path) for item in server.directories] == [
        ("home", str(home)),
        ("logs", str(log)),
    ]
    assert server.log_file is not None
    assert str(listener_pid) in server.log_file.path
    assert server.has_stored_login is False


@pytest.mark.real
def test_an_acp_server_is_no_server_for_sdk_clients() -> None:
    with start_server(NEWEST, mode="--acp") as running:
        server = of(look(), running)

    assert server.mode == "acp"
    assert server.port == running.port
    assert server.command is not None
    assert not server.command.is_tcp_server


@pytest.mark.real
@pytest.mark.parametrize(
    ("args", "mode"), [(("--headless", "--stdio"), "stdio"), (("-p", "hello"), "prompt")]
)
def test_what_listens_nowhere_is_told_apart(args: tuple[str, ...], mode: str) -> None:
    with held_open(*args) as process:
        found = [item for item in wait_for(process.pid) if item.process]

    [server] = [item for item in found if item.process and item.process.pid == process.pid]
    assert server.mode == mode
    assert server.listeners == ()
    assert server.command is not None
    assert not server.command.is_tcp_server


@contextlib.contextmanager
def held_open(*args: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a CLI that talks on standard input, until the block ends."""
    with tempfile.TemporaryDirectory() as home:
        place = Path(home) / ".cache/copilot/pkg"
        place.parent.mkdir(parents=True)
        place.symlink_to(unpacked(NEWEST))
        process = subprocess.Popen(
            [str(cli(NEWEST).native), *args],
            env=base_env(Path(home), Path(home) / ".copilot"),
            cwd=home,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()
            assert process.stdin is not None
            process.stdin.close()


def wait_for(pid: int) -> tuple[Server, ...]:
    """Return the servers as soon as a process is among them."""
    until = time.monotonic() + 20
    while True:
        servers = look().servers
        if any(item.process and item.process.pid == pid for item in servers):
            return servers
        assert time.monotonic() < until
        time.sleep(0.02)


@pytest.mark.real
def test_clients_are_who_is_connected_to_this_server() -> None:
    port = free_port()
    with (
        start_server(NEWEST, f"--port={port}") as running,
        child(CONNECT, str(port), GH_TOKEN=TOKEN) as (first, _),
        child(CONNECT, str(port)) as (second, _),
    ):
        found = look()
        server = of(found, running)
        clients = found.clients_of(server)

    # Two connections each, one client each; neither the server nor the doctor is one.
    assert {item.process.pid for item in clients if item.process} == {first, second}
    assert len(clients) == 2
    assert {item.target for item in clients} == {f"127.0.0.1:{port}"}
    assert server.command is not None
    assert server.command.port == port
    seen = next(item for item in clients if item.process and item.process.pid == first)
    variable = seen.environment.get("GH_TOKEN")
    assert variable is not None
    assert variable.kind == "gho"
    assert TOKEN[4:] not in msgspec.json.encode(found).decode()


@pytest.mark.real
def test_who_is_connected_to_the_same_port_elsewhere_is_no_client() -> None:
    port = free_port()
    with (
        start_server(NEWEST, port=port) as running,
        child(HOLD, "127.0.0.2", str(port)),
        child(CONNECT.replace('"127.0.0.1"', '"127.0.0.2"'), str(port)),
    ):
        found = look()
        clients = found.clients_of(of(found, running))

    assert clients == ()


@pytest.mark.real
def test_a_secret_of_one_process_is_not_shown_in_the_arguments_of_another() -> None:
    word = "correcthorse"
    with (
        start_server(NEWEST, "--model", word) as first,
        start_server(NEWEST, env={"COPILOT_CONNECTION_TOKEN": word}) as second,
    ):
        found = look()
        of(found, first)
        of(found, second)

    assert word not in msgspec.json.encode(found).decode()


@pytest.mark.real
def test_paths_are_looked_at_as_they_are_and_shown_without_what_looks_secret(
    tmp_path: Path,
) -> None:
    home = tmp_path / "a1b2c3d4e5f6a7b8c9d0"
    home.mkdir()
    (home / "config.json").write_text('{"copilotTokens": {"https://github.com:mona": "x"}}')
    logs = tmp_path / "0a1b2c3d4e5f6a7b8c9d"
    with start_server(NEWEST, "--log-dir", str(logs), copilot_home=home) as running:
        server = of(look(), running)

    assert server.has_stored_login is True
    assert server.log_file is not None
    assert [item.state for item in server.directories] == ["directory", "directory"]
    assert home.name not in str(server)


@pytest.mark.real
@pytest.mark.namespace
@pytest.mark.usefixtures("needs_root_namespace")
def test_a_server_in_another_network_namespace_is_not_reached_from_here() -> None:
    from tests.harness.netns import namespace

    with (
        namespace() as space,
        start_server(NEWEST, launcher=space.launcher) as running,
        child(HOLD, "127.0.0.1", str(running.port)),
        child(CONNECT, str(running.port)),
    ):
        found = look(port=running.port)
        server = of(found, running)

    assert [item.namespace for item in server.listeners] == ["other"]
    assert found.clients_of(server) == ()  # whoever is connected to that port is so here
    # The port is held here by the test's own child, and not by that server.
    [wanted] = found.wanted_ports
    assert server.process is not None
    assert server.process.pid not in {item.owner.pid for item in wanted.holders if item.owner}
    assert not found.targets
