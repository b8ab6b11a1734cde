"""Real servers that strangers reach from another host, and how they are shut out."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.harness import MissingPartError
from tests.harness.cli import NEWEST, OLDEST, Cli, cli, unpacked
from tests.harness.doctor import evidence, fix
from tests.harness.netns import namespace
from tests.harness.wire import Wire
from tests.scenarios.place import environment_of
from tests.scenarios.shell import Shell, shell_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.harness.cli import RunningServer
    from tests.harness.doctor import Finding
    from tests.harness.netns import Namespace
    from tests.scenarios.conftest import Proven

pytestmark = [pytest.mark.real, pytest.mark.namespace]

CHECK = "listener-exposed"
HERE, THERE = "198.51.100.1", "198.51.100.2"
NAME = "COPILOT_CONNECTION_TOKEN"


@contextlib.contextmanager
def linked(installed: Cli, folder: Path) -> Iterator[tuple[Shell, Namespace]]:
    """A host for the server, and another one with a stranger."""
    with shell_of(installed, folder) as shell, namespace() as stranger:
        shell.space.link(stranger, f"{HERE}/24", f"{THERE}/24")
        yield shell, stranger


@pytest.fixture
def hosts(cli_version: str, tmp_path: Path) -> Iterator[tuple[Shell, Namespace]]:
    with linked(cli(cli_version), tmp_path) as made:
        yield made


def sees(shell: Shell, port: int, **more: str) -> dict[str, Finding]:
    return shell.sees(CHECK, f"port {port} ", f"127.0.0.1:{port}", **more)


def lets_in(stranger: Namespace, port: int, token: str | None = None) -> bool:
    """Whether a client of the other host is let in and answered."""
    with Wire(stranger.connect(port, HERE)) as wire:
        reply = wire.exchange("connect", {} if token is None else {"token": token})
        return "result" in reply and bool(wire.ping())


def is_refused(stranger: Namespace, port: int) -> bool:
    """Whether nobody listens for the other host."""
    try:
        stranger.connect(port, HERE).close()
    except ConnectionRefusedError:
        return True
    return False


def proves_loopback(
    shell: Shell, stranger: Namespace, server: RunningServer, found: Finding, proven: Proven
) -> None:
    with shell.pasted(fix(found, "loopback"), server.port):
        assert is_refused(stranger, server.port)
        assert sees(shell, server.port) == {}
        if "--acp" not in server.argv:
            assert shell.answers(server.port)
    proven(CHECK, "loopback", shell.version)


def test_every_interface_without_a_token(hosts: tuple[Shell, Namespace], proven: Proven) -> None:
    shell, stranger = hosts
    with shell.server("--host", "0.0.0.0") as server:
        assert lets_in(stranger, server.port)
        found = sees(shell, server.port)
        assert set(found) == {"no-token"}
        finding = found["no-token"]
        assert finding["status"] == "fail"
        assert f"0.0.0.0:{server.port} (every interface)" in evidence(finding)
        assert "it let the doctor in without a connection token" in evidence(finding)
        assert f"{HERE}:{server.port}" in evidence(finding)
        assert "--host 0.0.0.0" in evidence(finding)
        assert "as user root" in finding["detail"]
        assert finding["symptom"].partition(" (")[0] in server.stdout

        chosen = fix(finding, "token")
        assert f"kill {server.listener_pid} " in chosen["shell"]
        with shell.pasted(chosen, server.port) as process:
            token = environment_of(process.pid, server.port)[NAME]
            assert len(token) == 64
            assert not lets_in(stranger, server.port)
            assert not lets_in(stranger, server.port, "another")
            assert lets_in(stranger, server.port, token)
            assert sees(shell, server.port) == {}
            assert sees(shell, server.port, **{NAME: token}) == {}
            code = fix(finding, "client-token")["code"].replace("HOST", HERE)
            there = Shell(stranger, shell.folder, shell.cli)
            assert there.python(f"{code}{CALL}", **{NAME: token}) == "pong: hello"
    proven(CHECK, "token", shell.version)
    proven(CHECK, "client-token", shell.version)


CALL = """
import asyncio

async def call():
    await client.start()
    print((await client.ping("hello")).message)
    await client.stop()

asyncio.run(call())
"""


def test_with_every_tool_allowed(hosts: tuple[Shell, Namespace], proven: Proven) -> None:
    shell, stranger = hosts
    with shell.server("--host", "0.0.0.0", "--allow-all") as server:
        assert lets_in(stranger, server.port)
        found = sees(shell, server.port)["no-token"]
        assert "started with --allow-all" in evidence(found)
        assert "--allow-all" in found["detail"]
        assert "--allow-all" in fix(found, "loopback")["shell"]  # the flag is not the fault
        proves_loopback(shell, stranger, server, found, proven)


def test_one_address_of_the_network(hosts: tuple[Shell, Namespace], proven: Proven) -> None:
    shell, stranger = hosts
    with shell.server("--host", HERE) as server:
        assert lets_in(stranger, server.port)
        found = shell.sees(CHECK, f"port {server.port} ", f"{HERE}:{server.port}")["no-token"]
        assert f"it listens on {HERE}:{server.port}" in evidence(found)
        proves_loopback(shell, stranger, server, found, proven)


def test_protected_or_on_loopback_it_passes(hosts: tuple[Shell, Namespace]) -> None:
    shell, stranger = hosts
    with shell.server() as server:
        assert is_refused(stranger, server.port)
        assert sees(shell, server.port) == {}
    with shell.server("--host", "0.0.0.0", env={NAME: "for-both-sides-1"}) as server:
        assert not lets_in(stranger, server.port)
        assert sees(shell, server.port) == {}


def test_an_acp_server_ignores_the_token(hosts: tuple[Shell, Namespace], proven: Proven) -> None:
    shell, stranger = hosts
    token = {NAME: "for-both-sides-1"}
    with shell.server("--host", "0.0.0.0", mode="--acp", env=token) as agent:
        assert not is_refused(stranger, agent.port)
        found = sees(shell, agent.port)
        assert set(found) == {"mode-without-token"}
        assert "an ACP server asks for no connection token" in evidence(found["mode-without-token"])
        proves_loopback(shell, stranger, agent, found["mode-without-token"], proven)


def test_an_empty_host_is_every_interface(tmp_path: Path, proven: Proven) -> None:
    with (
        linked(cli(OLDEST), tmp_path) as (shell, stranger),
        shell.server("--host", "") as server,
    ):
        assert lets_in(stranger, server.port)
        found = sees(shell, server.port)
        assert set(found) == {"empty-host"}
        assert "--host (empty)" in evidence(found["empty-host"])
        assert "--host 0.0.0.0" in fix(found["empty-host"], "token")["shell"]
        proves_loopback(shell, stranger, server, found["empty-host"], proven)


def test_a_token_that_1_0_32_ignores(tmp_path: Path, proven: Proven) -> None:
    with (
        linked(cli("1.0.32"), tmp_path) as (shell, stranger),
        shell.server("--host", "0.0.0.0", env={NAME: "for-both-sides-1"}) as server,
    ):
        with Wire(stranger.connect(server.port, HERE)) as wire:
            assert wire.ping()
        found = sees(shell, server.port)
        assert set(found) == {"token-ignored"}
        proves_loopback(shell, stranger, server, found["token-ignored"], proven)


def test_1_0_22_is_exposed_by_default_until_it_is_upgraded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, proven: Proven
) -> None:
    old = "1.0.22"
    unpacked(old)
    root = tmp_path / "installed"
    shutil.copytree(cli(old).root, root, symlinks=True, copy_function=os.link)
    store = Path(os.path.expanduser("~/.npm"))  # noqa: PTH111 - npm's own default
    with linked(Cli(old, root), tmp_path / "home") as (shell, stranger):
        pkg = shell.folder / ".cache" / "copilot" / "pkg"
        pkg.unlink()
        pkg.symlink_to(unpacked(NEWEST), target_is_directory=True)
        monkeypatch.setattr("tests.harness.cli.cli", lambda _version: Cli(old, root))
        with shell.server() as server:
            monkeypatch.undo()
            with Wire(stranger.connect(server.port, HERE)) as wire:
                assert wire.ping()
            found = sees(shell, server.port)
            assert set(found) == {"old-default"}
            finding = found["old-default"]
            assert "has no --host and listens on every interface" in evidence(finding)
            assert "every interface, IPv4 too" in evidence(finding)
            chosen = fix(finding, "upgrade")
            assert f"npm install --prefix {root} @github/copilot@{NEWEST}" in chosen["shell"]
            # The place has no way out: npm takes what it has downloaded before.
            offline = {"npm_config_offline": "true", "npm_config_cache": str(store)}
            try:
                with shell.pasted(chosen, server.port, **offline):
                    assert is_refused(stranger, server.port)
                    assert sees(shell, server.port) == {}
                    assert shell.answers(server.port)
            except AssertionError as error:
                if "ENOTCACHED" in str(error):
                    raise MissingPartError(f"npm has no copy of CLI {NEWEST}") from error
                raise
    proven(CHECK, "upgrade", old)
