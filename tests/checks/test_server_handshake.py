"""What is on the port is named, with the words it leads to and the way out."""

from __future__ import annotations

import pytest

from doctor.catalogue import Finding, NotVisible, Passed, Skipped
from doctor.checks.server_handshake import CHECK, EXITED, HANGS
from doctor.deployment import Deployment, Holder, Hop, Host, Origin, Resolution, Route, WantedPort
from tests.checks.builders import (
    cli_url,
    deployment,
    evidence,
    fix_shell,
    handshake,
    listener,
    only,
    outcomes,
    process,
    server,
    walked,
)

HERE = cli_url("127.0.0.1:3000")
THERE = cli_url("copilot:3000")


def refused(to: str = "127.0.0.1:3000") -> Route:
    return walked(cli_url(to), "connect", "refused", "127.0.0.1: nothing listens there")


def peer(name: str, detail: str = "", code: str = "", to: str = "127.0.0.1:3000") -> Route:
    """A route to something that is no Copilot server."""
    code = code or (name if name in {"closed", "reset"} else f"peer-{name}")
    shake = handshake(None, peer=name, peer_detail=detail)
    return walked(cli_url(to), "handshake", code, f"it is {name}", handshake=shake)


def held_by(name: str, *command: str, visible: bool = True) -> WantedPort:
    owner = process(812, name=name, command=command, user="root", is_visible=visible)
    holder = Holder(port=3000, address="0.0.0.0", state="listen", owner=owner)
    return WantedPort(port=3000, origin=Origin(kind="target"), holders=(holder,))


def only_finding(route: Route, *servers: object, **facts: object) -> Finding:
    given: Deployment = deployment(*servers, routes=(route,), **facts)  # type: ignore[arg-type]
    return only(Finding, CHECK, given)


# Fine, skipped, not visible


def test_a_copilot_server_passes() -> None:
    route = walked(HERE, handshake=handshake())
    assert only(Passed, CHECK, deployment(server(), routes=(route,))).subject == (
        "route to 127.0.0.1:3000"
    )


def test_a_server_that_refuses_the_token_is_a_copilot_server() -> None:
    route = walked(HERE, "connection-token", "token-required", handshake=handshake())
    only(Passed, CHECK, deployment(routes=(route,)))


def test_without_a_route_it_is_skipped() -> None:
    assert "no target" in only(Skipped, CHECK, deployment()).reason


def test_what_service_name_tells_is_not_told_again() -> None:
    route = walked(THERE, "resolve", "not-resolved", "no address")
    assert only(Skipped, CHECK, deployment(routes=(route,))).blocked_by == "service-name"


@pytest.mark.parametrize(
    "hop",
    [
        Hop(name="connect", status="unknown", code="local", detail="too many open files"),
        Hop(name="connect", status="error", code="probe-broke", detail="the probe itself broke"),
    ],
)
def test_a_probe_that_could_not_look_says_so(hop: Hop) -> None:
    route = Route(client="copilot-doctor", target=HERE, status="unknown", hops=(hop,))
    assert hop.detail in only(NotVisible, CHECK, deployment(routes=(route,))).reason


def test_a_route_without_hops_is_not_a_pass() -> None:
    route = Route(client="copilot-doctor", target=HERE, status="unknown")
    only(NotVisible, CHECK, deployment(routes=(route,)))


# No connection


def test_nothing_listens_and_no_server_runs() -> None:
    finding = only_finding(refused())
    assert finding.cause.id == "nothing-listens"
    assert (finding.status, finding.title) == ("fail", "Nothing listens on 127.0.0.1:3000")
    assert finding.symptom.endswith("at 127.0.0.1:3000: [Errno 111] Connection refused")
    assert "environment: COPILOT_CLI_URL=127.0.0.1:3000" in evidence(finding)
    assert "no Copilot server was found" in evidence(finding)
    assert fix_shell(finding, "start") == "copilot --server --port 3000"
    assert "service-name" in finding.follows


def test_nothing_listens_but_a_server_runs_on_another_port() -> None:
    running = server(args="--server --port 4000", listeners=(listener(port=4000),))
    finding = only_finding(refused(), running)
    assert finding.cause.id == "wrong-port"
    assert "on port 4000" in finding.detail
    assert "127.0.0.1:4000" in evidence(finding)
    assert fix_shell(finding, "use-the-server") == "export COPILOT_CLI_URL=127.0.0.1:4000"


def test_several_servers_are_alternatives() -> None:
    first = server(listeners=(listener(port=4000),))
    second = server(id="server-2", listeners=(listener("::1", 4001),))
    finding = only_finding(refused(), first, second)
    assert [fix.id for fix in finding.fixes] == ["use-the-server", "use-server-2"]
    assert fix_shell(finding, "use-server-2") == "export COPILOT_CLI_URL='[::1]:4001'"


def test_an_acp_server_elsewhere_is_no_way_out() -> None:
    agent = server(args="--acp --port 4000", listeners=(listener(port=4000),))
    finding = only_finding(refused(), agent)
    assert finding.cause.id == "nothing-listens"
    assert "acp (pid 4123)" in evidence(finding)


@pytest.mark.parametrize("to", ["[::1]:3000", "192.0.2.7:3000", "box:3000"])
def test_the_server_listens_on_another_address(to: str) -> None:
    here = Host(addresses=("192.0.2.7",), names=("box",), platform="linux")
    finding = only_finding(refused(to), server(), hosts=(here,))
    assert finding.cause.id == "other-address"
    assert "listens on 127.0.0.1:3000" in finding.detail
    assert fix_shell(finding, "use-its-address") == "export COPILOT_CLI_URL=127.0.0.1:3000"


def test_another_host_refuses() -> None:
    found = Resolution(name="copilot", addresses=("172.20.0.2",))
    finding = only_finding(
        walked(THERE, "connect", "refused", "172.20.0.2: nothing listens", resolution=found)
    )
    assert finding.cause.id == "refused-there"
    assert "publishing is not needed" in finding.cause.documented_says.lower()
    assert "dns: copilot is 172.20.0.2" in evidence(finding)
    yaml = next(fix for fix in finding.fixes if fix.id == "host-option")
    assert "--host 0.0.0.0 --port 3000" in yaml.code
    assert "COPILOT_CONNECTION_TOKEN" in yaml.code


@pytest.mark.parametrize(
    ("code", "cause", "words"),
    [
        ("timeout", "no-answer", "timed out (after 10 s)"),
        ("unreachable", "no-route", "Network is unreachable"),
        ("forbidden", "no-route", "Network is unreachable"),
        ("reset", "hangs-up", EXITED),
    ],
)
def test_no_connection(code: str, cause: str, words: str) -> None:
    finding = only_finding(walked(THERE, "connect", code, "measured"))
    assert finding.cause.id == cause
    assert words in finding.symptom
    assert "wire: connect: measured" in evidence(finding)


# Somebody else


@pytest.mark.parametrize(
    ("name", "what", "symptom"),
    [
        ("http", "An HTTP server", EXITED),
        ("ssh", "An SSH server", EXITED),
        ("redis", "A Redis server", EXITED),
        ("unknown", "Another program", EXITED),
        ("garbage", "Another program", HANGS),
        ("something-new", "Another program", EXITED),
    ],
)
def test_another_program(name: str, what: str, symptom: str) -> None:
    wanted = (held_by("python3", "python3", "-m", "http.server"),)
    finding = only_finding(peer(name, "says hello"), wanted_ports=wanted)
    assert finding.cause.id == "other-program"
    assert finding.title == f"{what}, not a Copilot server, listens on 127.0.0.1:3000"
    assert symptom in finding.symptom
    assert "pid 812, user root: python3 -m http.server" in evidence(finding)
    assert "it says: says hello" in evidence(finding)
    assert fix_shell(finding, "start-elsewhere") == (
        "export COPILOT_CLI_URL=127.0.0.1:3001\ncopilot --server --port 3001"
    )
    assert "nc -z" in finding.cause.documented_says


def test_another_program_while_a_server_runs_elsewhere() -> None:
    running = server(listeners=(listener(port=4000),))
    finding = only_finding(peer("http"), running)
    assert [fix.id for fix in finding.fixes] == ["use-the-server"]
    assert "whose port 3000 is could not be seen" in evidence(finding)


def test_an_owner_that_cannot_be_seen() -> None:
    finding = only_finding(peer("http"), wanted_ports=(held_by("", visible=False),))
    assert "a process of user root that this user cannot see" in evidence(finding)


def test_another_program_on_another_host() -> None:
    finding = only_finding(peer("http", to="copilot:3000"))
    assert [fix.id for fix in finding.fixes] == ["ask-there"]
    assert "socket" not in {item.kind for item in finding.evidence}


def test_without_a_free_port_in_sight_it_is_an_advice() -> None:
    finding = only_finding(peer("http"), hosts=(Host(ports_taken=None),))
    assert [fix.kind for fix in finding.fixes] == ["advice"]


def test_tls() -> None:
    finding = only_finding(peer("tls", to="https://copilot:3000"))
    assert finding.cause.id == "tls"
    assert finding.title == ("A TLS server, not a Copilot server, listens on https://copilot:3000")
    assert finding.symptom == EXITED


def test_acp_is_started_again_as_a_server() -> None:
    agent = server(args="--acp --port 3000")
    finding = only_finding(peer("acp", "Copilot 1.0.102, ACP version 1"), agent)
    assert finding.cause.id == "acp"
    assert finding.symptom == HANGS
    assert "pid 4123" in evidence(finding)
    shell = fix_shell(finding, "server-not-acp")
    assert shell.startswith("kill 4123 && sleep 2\n")
    assert shell.endswith("copilot --port 3000 --server")


def test_acp_on_another_host() -> None:
    finding = only_finding(peer("acp", to="copilot:3000"))
    assert [fix.id for fix in finding.fixes] == ["server-not-acp"]


def test_a_stopped_server_is_silent() -> None:
    finding = only_finding(peer("silent"), server())
    assert finding.cause.id == "silent"
    assert (
        finding.title == "The Copilot server on 127.0.0.1:3000 accepts connections and says nothing"
    )
    assert finding.symptom == HANGS
    assert "kill -CONT 4123" in fix_shell(finding, "continue")
    restart = fix_shell(finding, "restart").splitlines()
    assert restart == ["kill -CONT 4123", "kill 4123 && sleep 2", "copilot --server --port 3000"]


def test_something_silent() -> None:
    finding = only_finding(peer("silent"), wanted_ports=(held_by("nc", "nc", "-lk", "3000"),))
    assert finding.title == "Something on 127.0.0.1:3000 accepts connections and says nothing"
    assert [fix.id for fix in finding.fixes] == ["start-elsewhere"]


@pytest.mark.parametrize("name", ["closed", "reset"])
def test_docker_accepts_and_hangs_up(name: str) -> None:
    wanted = (held_by("docker-proxy", "/usr/bin/docker-proxy", "-proto", "tcp"),)
    finding = only_finding(peer(name), wanted_ports=wanted)
    assert finding.cause.id == "hangs-up"
    assert "Docker forwards this port" in finding.detail
    assert EXITED in finding.symptom
    assert "--host 0.0.0.0" in finding.fixes[0].code


def test_a_program_that_hangs_up() -> None:
    finding = only_finding(peer("closed"))
    assert finding.detail == ""
    assert "copilot-sdk/issues/1153" in finding.cause.reported[0]


# A Copilot server in trouble


def test_shutting_down() -> None:
    route = walked(HERE, "handshake", "shutting-down", "-32000", handshake=handshake())
    finding = only_finding(route, server())
    assert finding.cause.id == "shutting-down"
    assert fix_shell(finding, "start-again").splitlines() == [
        "while kill -0 4123 2>/dev/null; do sleep 0.5; done",
        "copilot --server --port 3000",
    ]


def test_shutting_down_between_two_answers() -> None:
    route = walked(THERE, "protocol-version", "shutting-down", "-32000", handshake=handshake())
    assert only_finding(route).cause.id == "shutting-down"


def test_no_answer_in_time() -> None:
    route = walked(HERE, "handshake", "timeout", "5 s", handshake=handshake())
    finding = only_finding(route, server())
    assert (finding.cause.id, finding.status) == ("slow", "fail")
    assert {fix.id for fix in finding.fixes} == {"continue", "restart"}


def test_mute() -> None:
    route = walked(HERE, "protocol-version", "mute", "no ping", handshake=handshake())
    finding = only_finding(route, server())
    assert finding.cause.id == "slow"
    assert "connection-token" in finding.follows


def test_slow_is_a_warning() -> None:
    slow = Hop(name="handshake", status="warn", code="slow", detail="after 2600 ms")
    route = walked(HERE, handshake=handshake())
    hops = tuple(slow if hop.name == "handshake" else hop for hop in route.hops)
    finding = only_finding(
        Route(client="x", target=HERE, status="warn", hops=hops, handshake=handshake()), server()
    )
    assert (finding.cause.id, finding.status) == ("slow", "warn")
    assert "after 2600 ms" in evidence(finding)


def test_https_does_not_encrypt() -> None:
    route = walked(cli_url("https://copilot:3000"), handshake=handshake())
    first, second = outcomes(CHECK, deployment(routes=(route,)))
    assert isinstance(first, Finding)
    assert (first.cause.id, first.status) == ("https-is-not-tls", "warn")
    assert "ssh -f -N -L 127.0.0.1:3000:127.0.0.1:3000 copilot" in fix_shell(first, "tunnel")
    assert fix_shell(first, "say-so") == "export COPILOT_CLI_URL=copilot:3000"
    assert isinstance(second, Passed)


def test_https_on_this_machine_is_nobodys_business() -> None:
    route = walked(cli_url("https://127.0.0.1:3000"), handshake=handshake())
    only(Passed, CHECK, deployment(server(), routes=(route,)))


# All of it


def test_titles_fit_a_line_for_the_longest_name() -> None:
    target = f"{'a' * 60}.{'b' * 60}.example:3000"
    routes = [
        refused(target),
        *(peer(name, to=target) for name in ("http", "tls", "acp", "silent", "closed")),
        walked(cli_url(target), "connect", "timeout"),
        walked(cli_url(target), "connect", "unreachable"),
        walked(cli_url(target), "handshake", "timeout", handshake=handshake()),
        walked(cli_url(target), "protocol-version", "mute", handshake=handshake()),
        walked(cli_url(target), "handshake", "shutting-down", handshake=handshake()),
    ]
    for outcome in outcomes(CHECK, deployment(routes=tuple(routes))):
        assert isinstance(outcome, Finding)
        assert len(outcome.title) <= 90, outcome.title
        assert not outcome.title.endswith(".")
        assert len({fix.id for fix in outcome.fixes}) == len(outcome.fixes)


def test_every_cause_has_a_general_fix() -> None:
    assert {fix.cause for fix in CHECK.fixes} == {cause.id for cause in CHECK.causes}


def test_powershell_on_windows() -> None:
    running = server(listeners=(listener(port=4000),))
    finding = only_finding(refused(), running, hosts=(Host(platform="win32"),))
    assert fix_shell(finding, "use-the-server") == "$env:COPILOT_CLI_URL = '127.0.0.1:4000'"
