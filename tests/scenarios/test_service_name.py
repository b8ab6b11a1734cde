"""Names that do not lead to a real server: found, explained, and cured by what is printed."""

from __future__ import annotations

import os
import re
import socket
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from tests.harness.cli import NEWEST, OLDEST, RunningServer, base_env, free_port, start_server
from tests.harness.dns import dnsmasq
from tests.harness.doctor import evidence, findings, fix, run_doctor, the_finding
from tests.harness.netns import Namespace, check, namespace

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.scenarios.conftest import Proven

pytestmark = [pytest.mark.real, pytest.mark.namespace]

CHECK = "service-name"
ELSEWHERE = "203.0.113.9"


@dataclass
class Machine:
    """A network place of its own with one real server in it, on loopback."""

    space: Namespace
    server: RunningServer
    folder: Path

    def env(self, url: str, **more: str) -> dict[str, str]:
        return {**base_env(self.folder), "COPILOT_CLI_URL": url, **more}

    def doctor(self, env: Mapping[str, str]) -> dict[str, Any]:
        return run_doctor(env=env, cwd=self.folder, launcher=self.space.launcher)

    def cured(self, finding: dict[str, Any], fix_id: str, env: Mapping[str, str]) -> dict[str, Any]:
        """Paste a fix and look again from the same shell."""
        report = self.doctor(after(fix(finding, fix_id), env))
        assert not findings(report, CHECK), report
        assert not findings(report, "server-handshake"), report
        return report


def after(chosen: dict[str, Any], env: Mapping[str, str]) -> dict[str, str]:
    """The environment of a shell in which the lines of a fix were pasted."""
    done = subprocess.run(
        ["bash", "-c", chosen["shell"] + "\nenv -0"],
        env=dict(env),
        capture_output=True,
        text=True,
        check=True,
    )
    pairs = (line.partition("=") for line in done.stdout.split("\0") if line)
    return {name: value for name, _, value in pairs if name not in {"_", "SHLVL", "PWD"}}


@pytest.fixture(scope="module", params=[OLDEST, NEWEST])
def running(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Machine]:
    check()
    with (
        namespace() as space,
        start_server(request.param, how="native", launcher=space.launcher) as server,
    ):
        space.address(f"{ELSEWHERE}/32")
        yield Machine(space, server, tmp_path_factory.mktemp("shell"))


@pytest.fixture
def machine(running: Machine) -> Machine:
    """The machine without any name but localhost."""
    running.space.hosts({})
    running.space.resolv_conf("nameserver 127.0.0.53\n")
    return running


def test_a_service_name_that_nobody_knows_here(machine: Machine, proven: Proven) -> None:
    env = machine.env(f"copilot:{machine.server.port}")
    with dnsmasq({}, address="127.0.0.53", port=53, launcher=machine.space.launcher):
        finding = the_finding(machine.doctor(env), CHECK)
        assert finding["status"] == "fail"
        # Whether this machine is itself a container decides about the cause.
        assert finding["cause_id"] in {"service-name-outside", "unknown-service"}
        assert "127.0.0.53: copilot A: not known" in evidence(finding)
        assert "[Errno -2] Name or service not known" in finding["symptom"]
        machine.cured(finding, "use-the-server", env)
    proven(CHECK, "use-the-server", machine.server.version)


def test_no_name_server_gives_an_answer(machine: Machine) -> None:
    env = machine.env(f"copilot.example.test:{machine.server.port}")
    finding = the_finding(machine.doctor(env), CHECK)
    assert finding["cause_id"] == "name-servers-silent"
    assert "no name server listens there" in evidence(finding)
    assert "[Errno -3] Temporary failure in name resolution" in finding["symptom"]
    machine.cured(finding, "use-the-server", env)


def test_a_full_name_that_nobody_knows(machine: Machine) -> None:
    env = machine.env(f"copilot.example.test:{machine.server.port}")
    with dnsmasq({}, address="127.0.0.53", port=53, launcher=machine.space.launcher):
        finding = the_finding(machine.doctor(env), CHECK)
    assert finding["cause_id"] == "unknown-name"
    assert "127.0.0.53: copilot.example.test A: not known" in evidence(finding)
    machine.cured(finding, "use-the-server", env)


def test_one_of_two_name_servers_is_silent(machine: Machine, proven: Proven) -> None:
    machine.space.resolv_conf("nameserver 127.0.0.12\nnameserver 127.0.0.53\n")
    env = machine.env(f"copilot:{machine.server.port}")
    with (
        machine.space.call(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as silent,
        dnsmasq(
            {"copilot": "127.0.0.1"}, address="127.0.0.53", port=53, launcher=machine.space.launcher
        ),
    ):
        silent.bind(("127.0.0.12", 53))
        finding = the_finding(machine.doctor(env), CHECK)
        assert (finding["cause_id"], finding["status"]) == ("name-server-silent", "warn")
        assert "127.0.0.12: copilot A: no answer" in evidence(finding)
        machine.cured(finding, "use-address", env)
    proven(CHECK, "use-address", machine.server.version)


def test_host_docker_internal(machine: Machine) -> None:
    env = machine.env(f"host.docker.internal:{machine.server.port}")
    with dnsmasq({}, address="127.0.0.53", port=53, launcher=machine.space.launcher):
        finding = the_finding(machine.doctor(env), CHECK)
    assert finding["cause_id"] in {"docker-host-name-outside", "docker-host-name-not-added"}
    machine.cured(finding, "use-the-server", env)


def test_a_name_that_leads_back_to_this_machine(machine: Machine) -> None:
    machine.space.hosts({"copilot": "127.0.1.1"})
    env = machine.env(f"copilot:{machine.server.port}")
    finding = the_finding(machine.doctor(env), CHECK)
    assert finding["cause_id"] == "resolves-to-loopback"
    assert "hosts file: copilot: 127.0.1.1" in evidence(finding)
    machine.cured(finding, "use-the-server", env)


def test_a_search_domain_leads_elsewhere(machine: Machine) -> None:
    machine.space.resolv_conf("nameserver 127.0.0.53\nsearch corp.test\n")
    env = machine.env(f"copilot:{machine.server.port}")
    records = {"copilot.corp.test": ELSEWHERE}
    with dnsmasq(records, address="127.0.0.53", port=53, launcher=machine.space.launcher):
        finding = the_finding(machine.doctor(env), CHECK)
        assert finding["cause_id"] == "resolves-elsewhere"
        assert finding["detail"] == "It was found as copilot.corp.test."
        assert f"127.0.0.53: copilot.corp.test A: {ELSEWHERE}" in evidence(finding)
        machine.cured(finding, "use-the-server", env)


def test_a_misspelt_service_in_a_compose_network(machine: Machine, proven: Proven) -> None:
    machine.space.resolv_conf("nameserver 127.0.0.11\noptions ndots:0\n")
    env = machine.env(f"copilot_cli:{machine.server.port}", container="docker")
    with dnsmasq({"copilot-cli": "127.0.0.1"}, port=53, launcher=machine.space.launcher):
        finding = the_finding(machine.doctor(env), CHECK)
        assert finding["cause_id"] == "unknown-service"
        assert "Docker network" in evidence(finding)
        assert "copilot-cli" in finding["detail"]
        machine.cured(finding, "use-nearby", env)
    proven(CHECK, "use-nearby", machine.server.version)


@pytest.mark.parametrize("text", ["http://127.0.0.1:{}/", "tcp://127.0.0.1:{}", "127.0.0.1:{}/v1"])
def test_a_spelling_that_the_sdk_refuses(machine: Machine, text: str, proven: Proven) -> None:
    env = machine.env(text.format(machine.server.port))
    finding = the_finding(machine.doctor(env), CHECK)
    assert finding["cause_id"] in {"sdk-refuses-spelling", "not-an-address"}
    assert "ValueError" in finding["symptom"]
    machine.cured(finding, "host-and-port", env)
    proven(CHECK, "host-and-port", machine.server.version)


def test_a_secret_in_the_address_does_not_come_out(machine: Machine) -> None:
    env = machine.env(f"http://me:Canary7Hunter2@127.0.0.1:{machine.server.port}")
    report = machine.doctor(env)
    assert the_finding(report, CHECK)["cause_id"] == "sdk-refuses-spelling"
    assert "Canary7Hunter2" not in repr(report)


def test_what_is_right_has_no_finding(machine: Machine) -> None:
    for host in ("127.0.0.1", "localhost"):
        report = machine.doctor(machine.env(f"{host}:{machine.server.port}"))
        assert not findings(report, CHECK)


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_localhost_in_a_container(version: str, tmp_path: Path, proven: Proven) -> None:
    """The documented row: the service name, not localhost. What it leaves out is needed too."""
    check()
    port = free_port()
    with namespace() as copilot, namespace({"copilot": "198.51.100.1"}) as api:
        copilot.link(api, "198.51.100.1/24", "198.51.100.2/24")
        env = {
            **base_env(tmp_path),
            "COPILOT_CLI_URL": f"localhost:{port}",
            "container": "docker",
        }

        def look(**more: str) -> dict[str, Any]:
            return run_doctor(env={**env, **more}, cwd=tmp_path, launcher=api.launcher)

        with start_server(version, port=port, how="native", launcher=copilot.launcher):
            finding = the_finding(look(), CHECK)
            assert finding["cause_id"] == "localhost-in-container"
            assert "this is a container (docker)" in evidence(finding)
            assert "not localhost" in finding["documented_says"]
            code = fix(finding, "service-name")["code"]
            # The service name alone does not help: the server is on its own loopback.
            alone = look(COPILOT_CLI_URL=f"copilot:{port}")
            assert not findings(alone, CHECK)
            refused = the_finding(alone, "server-handshake")
            assert refused["cause_id"] == "refused-there"

        command = re.search(r"command: copilot --server (.*)", code)
        url = re.search(r"COPILOT_CLI_URL: (\S+)", code)
        assert command
        assert url
        arguments = command[1].split()
        token = "for-both-sides-1"
        with start_server(
            version,
            *arguments,
            how="native",
            env={"COPILOT_CONNECTION_TOKEN": token},
            launcher=copilot.launcher,
        ):
            # Nothing is published: two containers of one network need no published port.
            cured = look(COPILOT_CLI_URL=url[1], COPILOT_CONNECTION_TOKEN=token)
            assert not findings(cured, CHECK)
            assert not findings(cured, "server-handshake")
            assert cured["routes"][0]["status"] != "fail"
    proven(CHECK, "service-name", version)


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_only_ipv6_is_reached_and_warned_of(version: str, tmp_path: Path) -> None:
    check()
    with namespace({"copilot": "fd00::5"}) as space:
        space.address("fd00::5/128")
        with start_server(version, "--host", "::", how="native", launcher=space.launcher) as server:
            env = {**base_env(tmp_path), "COPILOT_CLI_URL": f"copilot:{server.port}"}
            report = run_doctor(env=env, cwd=tmp_path, launcher=space.launcher)
    finding = the_finding(report, CHECK)
    assert (finding["cause_id"], finding["status"]) == ("only-ipv6", "warn")
    assert "1.0.11 and earlier" in finding["symptom"]
    assert not findings(report, "server-handshake")


def test_the_environment_of_a_pasted_fix_is_kept() -> None:
    changed = after({"shell": "export COPILOT_CLI_URL='[::1]:1'"}, {"PATH": os.defpath})
    assert changed["COPILOT_CLI_URL"] == "[::1]:1"
