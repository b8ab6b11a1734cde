"""Real servers that listen where their clients are not, and how the two meet."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from typing import TYPE_CHECKING

import pytest

from tests.harness.cli import cli, free_port
from tests.harness.doctor import evidence, fix, status
from tests.harness.netns import namespace
from tests.harness.wire import Wire
from tests.scenarios.place import environment_of
from tests.scenarios.shell import Shell, shell_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.harness.doctor import Finding
    from tests.harness.netns import Namespace
    from tests.scenarios.conftest import Proven

pytestmark = [pytest.mark.real, pytest.mark.namespace]

CHECK = "listener-unreachable"
HERE, THERE = "198.51.100.1", "198.51.100.2"
NAME = "COPILOT_CONNECTION_TOKEN"
TOKEN = {NAME: "for-both-sides-1"}
SDK = """
import asyncio, os
from copilot import CopilotClient, RuntimeConnection

async def call():
    token = os.environ.get("COPILOT_CONNECTION_TOKEN")
    connection = RuntimeConnection.for_uri({url!r}, connection_token=token)
    client = CopilotClient(connection=connection)
    try:
        await client.start()
        print((await client.ping("hello")).message)
    except Exception as error:
        print(f"{{type(error).__name__}}: {{error}}")
    finally:
        await client.stop()

asyncio.run(call())
"""


@pytest.fixture
def hosts(cli_version: str, tmp_path: Path) -> Iterator[tuple[Shell, Shell]]:
    """The host of the server, and that of a client, joined by a cable."""
    with shell_of(cli(cli_version), tmp_path / "server") as here, namespace() as space:
        here.space.link(space, f"{HERE}/24", f"{THERE}/24")
        folder = tmp_path / "client"
        folder.mkdir()
        yield here, Shell(space, folder, here.cli)


def sees(shell: Shell, url: str, **more: str) -> dict[str, Finding]:
    """What is said of the way to an address."""
    return shell.sees(CHECK, url, url, **more)


def reaches(shell: Shell, url: str, **more: str) -> bool:
    return shell.python(SDK.format(url=url), **more) == "pong: hello"


def refusal(shell: Shell, url: str) -> str:
    return shell.python(SDK.format(url=url))


def test_loopback_is_refused_from_another_host(hosts: tuple[Shell, Shell], proven: Proven) -> None:
    here, there = hosts
    with here.server() as server:
        url = f"{HERE}:{server.port}"
        # On the client's host: only the refusal is seen.
        assert "Connection refused" in refusal(there, url)
        found = sees(there, url)
        assert set(found) == {"refused-there"}
        assert found["refused-there"]["status"] == "unknown"
        assert found["refused-there"]["symptom"] == refusal(there, url)
        # On the server's host: why.
        found = sees(here, url)
        assert set(found) == {"loopback-only"}
        finding = found["loopback-only"]
        assert finding["status"] == "fail"
        assert f"listens on 127.0.0.1:{server.port}" in evidence(finding)
        assert f"pid {server.listener_pid}" in evidence(finding)
        assert f"target: {url}" in evidence(finding)

        changed = here.after(fix(finding, "use-its-address"))
        assert changed == {"COPILOT_CLI_URL": server.url}
        assert reaches(here, changed["COPILOT_CLI_URL"])
        assert here.sees(CHECK, server.url, **changed) == {}
        proven(CHECK, "use-its-address", here.version)

        chosen = fix(finding, "host-and-token")
        assert f"kill {server.listener_pid} " in chosen["shell"]
        with here.pasted(chosen, server.port) as process:
            token = environment_of(process.pid, server.port)[NAME]
            assert reaches(there, url, **{NAME: token})
            assert not reaches(there, url)
            for shell in (here, there):
                assert sees(shell, url, **{NAME: token}) == {}
    proven(CHECK, "host-and-token", here.version)


def test_a_start_that_is_told_to_the_other_host(hosts: tuple[Shell, Shell], proven: Proven) -> None:
    here, there = hosts
    port = free_port()
    url = f"{HERE}:{port}"
    finding = sees(there, url, **TOKEN)["refused-there"]
    with here.pasted(fix(finding, "start-there"), port, **TOKEN):
        assert reaches(there, url, **TOKEN)
        assert sees(there, url, **TOKEN) == {}
    proven(CHECK, "start-there", here.version)
    command = re.search(r"command: copilot --server (.*)", fix(finding, "compose")["code"])
    assert command
    with here.server(*command[1].split(), env=TOKEN):
        assert reaches(there, url, **TOKEN)
        assert sees(there, url, **TOKEN) == {}
    proven(CHECK, "compose", here.version)


def test_one_address_leaves_localhost_out(hosts: tuple[Shell, Shell], proven: Proven) -> None:
    here, there = hosts
    with here.server("--host", HERE, env=TOKEN) as server:
        url = f"127.0.0.1:{server.port}"
        found = sees(here, url, **TOKEN)
        assert set(found) == {"one-address"}
        assert "Connection refused" in refusal(here, url)
        assert f"started with --host {HERE}" in evidence(found["one-address"])
        changed = here.after(fix(found["one-address"], "use-its-address"))
        assert changed == {"COPILOT_CLI_URL": f"{HERE}:{server.port}"}
        for shell in (here, there):
            assert reaches(shell, changed["COPILOT_CLI_URL"], **TOKEN)
        assert here.sees(CHECK, f":{server.port}", **changed, **TOKEN) == {}
        proven(CHECK, "use-its-address", here.version)
        with here.pasted(fix(found["one-address"], "host-and-token"), server.port, **TOKEN):
            assert reaches(here, url, **TOKEN)
            assert sees(here, url, **TOKEN) == {}
    proven(CHECK, "host-and-token", here.version)


def test_one_family(hosts: tuple[Shell, Shell], proven: Proven) -> None:
    here, _ = hosts
    with here.server("--host", "::1") as server:
        url = f"127.0.0.1:{server.port}"
        found = sees(here, url)
        assert set(found) == {"one-family"}
        assert f"listens on [::1]:{server.port}" in evidence(found["one-family"])
        changed = here.after(fix(found["one-family"], "use-its-address"))
        assert changed == {"COPILOT_CLI_URL": f"[::1]:{server.port}"}
        assert reaches(here, changed["COPILOT_CLI_URL"])
        assert here.sees(CHECK, f"[::1]:{server.port}", **changed) == {}
        proven(CHECK, "use-its-address", here.version)

        # Of the server alone, where nobody says what clients are told.
        report = here.look(CHECK)
        [alone] = [
            item
            for item in report["findings"]
            if item["subject"].startswith("Copilot server")
            and f"port {server.port} " in item["subject"]
        ]
        assert alone["cause_id"] == "one-family"
        assert alone["status"] == "warn"
        with here.pasted(fix(alone, "ipv4"), server.port):
            assert reaches(here, url)
            assert sees(here, url) == {}
    proven(CHECK, "ipv4", here.version)


def test_a_server_in_another_network_namespace(hosts: tuple[Shell, Shell]) -> None:
    here, there = hosts
    with here.server() as server:
        url = f"127.0.0.1:{server.port}"
        found = sees(there, url)
        assert set(found) == {"container-loopback"}
        finding = found["container-loopback"]
        assert "in another network namespace" in finding["detail"]
        assert f"pid {server.listener_pid}" in evidence(finding)
        # Its lines would run in the wrong place: what to change is told instead.
        told = fix(finding, "host-and-token")
        assert told["kind"] == "advice"
        assert "--host 0.0.0.0" in told["summary"]
    with here.server("--host", "0.0.0.0", port=server.port, env=TOKEN):
        assert set(sees(there, url, **TOKEN)) == {"not-published"}
        assert reaches(there, f"{HERE}:{server.port}", **TOKEN)
        assert sees(there, f"{HERE}:{server.port}", **TOKEN) == {}


@contextlib.contextmanager
def forwarder(space: Namespace, port: int) -> Iterator[None]:
    """What publishes a container's port: it accepts first, and connects then."""
    listener = space.listen(port)
    opened: list[socket.socket] = []

    def pump(source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def loop() -> None:
        while True:
            try:
                accepted, _ = listener.accept()
            except OSError:
                return
            try:
                behind = space.connect(port, HERE)
            except OSError:
                accepted.close()
                continue
            behind.settimeout(None)
            opened.extend((accepted, behind))
            for ends in ((accepted, behind), (behind, accepted)):
                threading.Thread(target=pump, args=ends, daemon=True).start()

    thread = threading.Thread(target=loop, daemon=True)
    thread.start()
    try:
        yield
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)
        for end in opened:
            end.close()


def test_a_published_port_with_a_server_on_loopback_behind(
    hosts: tuple[Shell, Shell], proven: Proven
) -> None:
    here, there = hosts
    with here.server() as server, forwarder(there.space, server.port):
        url = f"127.0.0.1:{server.port}"
        assert not reaches(there, url)
        found = sees(there, url)
        assert set(found) == {"forwarded-to-loopback"}
        finding = found["forwarded-to-loopback"]
        assert finding["status"] == "fail"
        assert f"listens on 127.0.0.1:{server.port}" in evidence(finding)
        command = re.search(r"command: copilot --server (.*)", fix(finding, "compose")["code"])
        assert command
        arguments = command[1].split()
    with here.server(*arguments, env=TOKEN) as server, forwarder(there.space, server.port):
        assert reaches(there, url, **TOKEN)
        assert sees(there, url, **TOKEN) == {}
    proven(CHECK, "compose", here.version)


def test_where_it_is_reached_it_passes(hosts: tuple[Shell, Shell]) -> None:
    here, _ = hosts
    with here.server() as server, Wire(here.space.connect(server.port)) as wire:
        wire.connect()
        report = here.look(CHECK, server.url)
        assert status(report, CHECK) not in {"skip", "error"}
        assert sees(here, server.url) == {}
