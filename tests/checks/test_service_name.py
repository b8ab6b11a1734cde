"""A name that does not lead to the server, and what leads there instead."""

from __future__ import annotations

from typing import Any

import pytest

from doctor.catalogue import Finding, NotVisible, Passed, Skipped
from doctor.checks.service_name import CHECK
from doctor.deployment import Deployment, Host, Lookup, Resolution, Route, Target
from tests.checks.builders import (
    cli_url,
    deployment,
    evidence,
    findings,
    fix_shell,
    handshake,
    listener,
    only,
    outcomes,
    python_sdk,
    server,
    walked,
)

MACHINE = (Host(platform="linux", ports_taken=(3000,)),)
CONTAINER = (Host(kind="container", engine="docker", platform="linux", ports_taken=()),)
NOT_KNOWN = "[Errno -2] Name or service not known"
NOT_NOW = "[Errno -3] Temporary failure in name resolution"


def asked(name: str, answer: str, *addresses: str, source: str = "127.0.0.11") -> Lookup:
    return Lookup(
        source=source, name=name, kind="A", answer=answer, addresses=addresses, elapsed_ms=2.0
    )


def resolution(
    name: str, *lookups: Lookup, addresses: tuple[str, ...] = (), said: str = "", **facts: Any
) -> Resolution:
    """What is found for a name that the hosts file lacks."""
    last = Lookup(
        source="system",
        name=name,
        kind="any",
        answer="found" if addresses else "nxdomain",
        addresses=addresses,
        detail=said or ("" if addresses else NOT_KNOWN),
    )
    hosts = Lookup(
        source="hosts file", name=name, kind="any", answer="nxdomain", detail="not in /etc/hosts"
    )
    return Resolution(name=name, addresses=addresses, lookups=(hosts, *lookups, last), **facts)


def literal(address: str) -> Resolution:
    lookup = Lookup(
        source="literal", name=address, kind="any", answer="found", addresses=(address,)
    )
    return Resolution(name=address, addresses=(address,), lookups=(lookup,))


def unresolved(found: Resolution, to: Target | None = None) -> Route:
    to = to or cli_url(f"{found.name}:3000")
    return walked(to, "resolve", "not-resolved", "no address", resolution=found)


def given(
    route: Route, *servers: Any, hosts: tuple[Host, ...] = MACHINE, **facts: Any
) -> Deployment:
    return deployment(*servers, targets=(route.target,), routes=(route,), hosts=hosts, **facts)


# Fine, skipped, not visible


def test_without_a_target_it_is_skipped() -> None:
    assert "COPILOT_CLI_URL" in only(Skipped, CHECK, deployment(server())).reason


def test_a_target_that_was_not_looked_up() -> None:
    target = cli_url("copilot:3000")
    only(NotVisible, CHECK, deployment(targets=(target,)))
    route = walked(target)
    only(NotVisible, CHECK, deployment(targets=(target,), routes=(route,)))


def test_an_address_passes() -> None:
    route = walked(cli_url("127.0.0.1:3000"), resolution=literal("127.0.0.1"))
    assert only(Passed, CHECK, given(route)).detail == "127.0.0.1 is an address"


def test_a_service_name_in_its_network_passes() -> None:
    found = resolution(
        "copilot",
        asked("copilot", "found", "172.20.0.2"),
        addresses=("172.20.0.2",),
        name_servers=("127.0.0.11",),
    )
    route = walked(cli_url("copilot:3000"), resolution=found, handshake=handshake())
    assert only(Passed, CHECK, given(route, hosts=CONTAINER)).detail == (
        "copilot is 172.20.0.2 (from 127.0.0.11)"
    )


def test_a_search_domain_is_told_where_it_works() -> None:
    found = resolution(
        "box",
        asked("box.corp.test", "found", "10.0.0.5"),
        addresses=("10.0.0.5",),
        search=("corp.test",),
    )
    route = walked(cli_url("box:3000"), resolution=found, handshake=handshake())
    assert "as box.corp.test" in only(Passed, CHECK, given(route)).detail


def test_a_name_that_is_right_while_the_port_is_not() -> None:
    found = resolution(
        "copilot", asked("copilot", "found", "172.20.0.2"), addresses=("172.20.0.2",)
    )
    route = walked(cli_url("copilot:3000"), "connect", "refused", resolution=found)
    only(Passed, CHECK, given(route, hosts=CONTAINER))


# The spelling


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("copilot", "COPILOT_CLI_URL: it names no port"),
        ("copilot:99999", "COPILOT_CLI_URL: a port is a number from 1 to 65535"),
        ('"copilot:3000"', "COPILOT_CLI_URL: quotes have become a part of it"),
    ],
)
def test_what_is_no_address(text: str, title: str) -> None:
    finding = only(Finding, CHECK, deployment(targets=(cli_url(text),)))
    assert (finding.cause.id, finding.status, finding.title) == ("not-an-address", "fail", title)
    assert f"environment: COPILOT_CLI_URL={text}" in evidence(finding)
    assert "ValueError" in finding.symptom
    assert finding.fixes[0].kind == "advice"


def test_what_is_no_address_while_a_server_runs_here() -> None:
    finding = only(Finding, CHECK, deployment(server(), targets=(cli_url("copilot"),)))
    assert fix_shell(finding, "use-the-server") == "export COPILOT_CLI_URL=127.0.0.1:3000"


def test_a_path_is_cut_off() -> None:
    finding = only(Finding, CHECK, deployment(targets=(cli_url("copilot:3000/v1?key=s3cr3t"),)))
    assert fix_shell(finding, "host-and-port") == "export COPILOT_CLI_URL=copilot:3000"
    assert "s3cr3t" not in repr(finding)


@pytest.mark.parametrize(
    ("text", "objection", "words"),
    [
        ("tcp://127.0.0.1:3000", "takes http://", "Invalid cli_url format"),
        ("http://127.0.0.1:3000/", "the / at the end", "Invalid port in cli_url"),
        ("http://me:hunter2@127.0.0.1:3000", "no user name or password", "Invalid cli_url format"),
    ],
)
def test_a_spelling_that_the_sdk_refuses(text: str, objection: str, words: str) -> None:
    route = walked(cli_url(text), resolution=literal("127.0.0.1"), handshake=handshake())
    finding = findings(CHECK, given(route))["sdk-refuses-spelling"]
    assert finding.status == "fail"
    assert objection in finding.detail
    assert words in finding.symptom
    assert fix_shell(finding, "host-and-port") == "export COPILOT_CLI_URL=127.0.0.1:3000"
    assert "hunter2" not in repr(finding)


# No address


def test_a_service_name_outside_of_its_network() -> None:
    found = resolution(
        "copilot",
        asked("copilot", "nxdomain", source="192.168.1.1"),
        name_servers=("192.168.1.1",),
    )
    finding = only(Finding, CHECK, given(unresolved(found)))
    assert (finding.cause.id, finding.status) == ("service-name-outside", "fail")
    assert finding.title == "copilot is not known on this machine"
    assert finding.symptom == (
        f"RuntimeError: Failed to connect to CLI server at copilot:3000: {NOT_KNOWN}"
    )
    told = evidence(finding)
    assert "dns: hosts file: copilot: not known (not in /etc/hosts)" in told
    assert "dns: 192.168.1.1: copilot A: not known" in told
    assert f"dns: system: copilot: not known ({NOT_KNOWN})" in told
    assert fix_shell(finding, "use-published") == "export COPILOT_CLI_URL=127.0.0.1:3000"


def test_a_service_name_outside_while_a_server_runs_here() -> None:
    found = resolution("copilot", asked("copilot", "nxdomain"))
    running = server(listeners=(listener(port=4000),))
    finding = only(Finding, CHECK, given(unresolved(found), running))
    assert [fix.id for fix in finding.fixes] == ["use-the-server"]
    assert fix_shell(finding, "use-the-server") == "export COPILOT_CLI_URL=127.0.0.1:4000"


def test_a_name_that_only_the_system_was_asked_for() -> None:
    finding = only(Finding, CHECK, given(unresolved(resolution("copilot"))))
    assert finding.cause.id == "service-name-outside"


def test_a_misspelt_service_in_a_compose_network() -> None:
    found = resolution(
        "copilot_cli",
        asked("copilot_cli", "servfail"),
        name_servers=("127.0.0.11",),
        nearby=("copilot-cli", "copilot"),
    )
    finding = only(Finding, CHECK, given(unresolved(found), hosts=CONTAINER))
    assert finding.cause.id == "unknown-service"
    assert finding.detail == "Names like it that do resolve here: copilot-cli, copilot."
    assert "resolver settings of a Docker network" in evidence(finding)
    assert fix_shell(finding, "use-nearby") == "export COPILOT_CLI_URL=copilot-cli:3000"
    assert fix_shell(finding, "use-nearby-2") == "export COPILOT_CLI_URL=copilot:3000"
    assert not finding.fixes[0].safe
    assert "networks: [copilot]" in finding.fixes[2].code


def test_a_full_name_that_nobody_knows() -> None:
    found = resolution("copilot.corp.test", asked("copilot.corp.test", "nxdomain"))
    finding = only(Finding, CHECK, given(unresolved(found)))
    assert finding.cause.id == "unknown-name"
    assert finding.fixes


def test_host_docker_internal_on_the_machine() -> None:
    found = resolution("host.docker.internal", asked("host.docker.internal", "nxdomain"))
    finding = only(Finding, CHECK, given(unresolved(found), server()))
    assert finding.cause.id == "docker-host-name-outside"
    assert fix_shell(finding, "use-the-server") == "export COPILOT_CLI_URL=127.0.0.1:3000"
    finding = only(Finding, CHECK, given(unresolved(found)))
    assert fix_shell(finding, "use-published") == "export COPILOT_CLI_URL=127.0.0.1:3000"


@pytest.mark.parametrize("search", [(), ("dns.podman",)])
def test_host_docker_internal_in_a_container(search: tuple[str, ...]) -> None:
    found = resolution("host.docker.internal", asked("x", "nxdomain"), search=search)
    finding = only(Finding, CHECK, given(unresolved(found), hosts=CONTAINER))
    assert finding.cause.id == "docker-host-name-not-added"
    assert "host.docker.internal:host-gateway" in finding.fixes[bool(search)].code
    assert (finding.fixes[0].id == "podman-name") == bool(search)


@pytest.mark.parametrize("answer", ["timeout", "error", "servfail", "refused", "truncated"])
def test_no_name_server_answers(answer: str) -> None:
    found = resolution(
        "copilot.corp.test",
        asked("copilot.corp.test", answer),
        said=NOT_NOW,
        name_servers=("192.0.2.53",),
    )
    finding = only(Finding, CHECK, given(unresolved(found), server()))
    assert finding.cause.id == "name-servers-silent"
    assert NOT_NOW in finding.symptom
    assert "192.0.2.53" in finding.fixes[0].summary
    assert finding.fixes[1].id == "use-the-server"


def test_a_system_that_does_not_answer() -> None:
    late = Lookup(source="system", name="copilot", kind="any", answer="timeout", elapsed_ms=3000)
    found = Resolution(name="copilot", lookups=(late,))
    finding = only(Finding, CHECK, given(unresolved(found)))
    assert finding.cause.id == "name-servers-silent"
    assert "no answer after 3.0 s" in evidence(finding)


# The wrong address


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_localhost_in_a_container(host: str) -> None:
    found = literal(host) if host[0] == "1" else resolution("localhost", addresses=("127.0.0.1",))
    route = walked(cli_url(f"{host}:3000"), "connect", "refused", resolution=found)
    finding = only(Finding, CHECK, given(route, hosts=CONTAINER))
    assert (finding.cause.id, finding.status) == ("localhost-in-container", "fail")
    assert "this is a container (docker)" in evidence(finding)
    assert "Connection refused" in finding.symptom
    assert "not localhost" in finding.cause.documented_says
    fix = finding.fixes[0]
    assert "COPILOT_CLI_URL: copilot:3000" in fix.code
    assert "--host 0.0.0.0" in fix.code
    assert fix_shell(finding, "start-here") == "copilot --server --port 3000"


def test_localhost_in_a_container_with_a_server_on_another_port() -> None:
    route = walked(
        cli_url("localhost:3000"),
        "connect",
        "refused",
        resolution=resolution("localhost", addresses=("127.0.0.1",)),
    )
    running = server(listeners=(listener(port=4000),))
    only(Passed, CHECK, given(route, running, hosts=CONTAINER))  # only the port is wrong


def test_localhost_in_a_container_that_has_the_server_is_right() -> None:
    found = resolution("localhost", addresses=("127.0.0.1",))
    route = walked(cli_url("localhost:3000"), resolution=found, handshake=handshake())
    only(Passed, CHECK, given(route, server(), hosts=CONTAINER))


def test_localhost_on_a_machine_is_the_handshakes_business() -> None:
    found = resolution("localhost", addresses=("127.0.0.1",))
    route = walked(cli_url("localhost:3000"), "connect", "refused", resolution=found)
    only(Passed, CHECK, given(route))


def test_a_name_that_leads_back_to_this_machine() -> None:
    listed = Lookup(
        source="hosts file", name="copilot", kind="any", answer="found", addresses=("127.0.1.1",)
    )
    found = Resolution(name="copilot", addresses=("127.0.1.1",), lookups=(listed,))
    route = walked(cli_url("copilot:3000"), "connect", "refused", "nothing", resolution=found)
    finding = only(Finding, CHECK, given(route))
    assert finding.cause.id == "resolves-to-loopback"
    assert finding.title == "copilot leads back to this machine: 127.0.1.1"
    assert "dns: hosts file: copilot: 127.0.1.1" in evidence(finding)
    assert "wire: connect: nothing" in evidence(finding)
    assert "hosts file" in finding.fixes[-1].summary


def test_a_name_that_leads_back_to_a_server_here_is_right() -> None:
    found = resolution("box", addresses=("127.0.1.1",))
    route = walked(cli_url("box:3000"), resolution=found, handshake=handshake())
    only(Passed, CHECK, given(route, server()))


def test_a_search_domain_leads_elsewhere() -> None:
    found = resolution(
        "copilot",
        asked("copilot.corp.test", "found", "10.1.1.1"),
        addresses=("10.1.1.1",),
        search=("corp.test",),
    )
    route = walked(cli_url("copilot:3000"), "handshake", "peer-http", resolution=found)
    finding = only(Finding, CHECK, given(route))
    assert finding.cause.id == "resolves-elsewhere"
    assert finding.detail == "It was found as copilot.corp.test."
    assert "dot at its end" in finding.fixes[-1].summary


def test_a_captive_portal_answers_for_any_name() -> None:
    found = resolution("copilot", asked("copilot", "found", "8.8.4.4"), addresses=("8.8.4.4",))
    route = walked(cli_url("copilot:3000"), "connect", "timeout", resolution=found)
    finding = only(Finding, CHECK, given(route))
    assert finding.cause.id == "resolves-elsewhere"


# IPv6


@pytest.mark.parametrize(
    ("sdk", "status"), [("1.0.11", "fail"), ("0.3.0", "fail"), (None, "warn"), ("1.0.27", None)]
)
def test_only_ipv6(sdk: str | None, status: str | None) -> None:
    found = resolution("copilot", asked("copilot", "no-data"), addresses=("fd00::5",))
    route = walked(cli_url("copilot:3000"), resolution=found, handshake=handshake())
    sdks = (python_sdk(sdk),) if sdk else ()
    if status is None:
        only(Passed, CHECK, given(route, sdks=sdks))
        return
    finding = only(Finding, CHECK, given(route, sdks=sdks))
    assert (finding.cause.id, finding.status) == ("only-ipv6", status)
    assert NOT_KNOWN in finding.symptom
    assert (f"github-copilot-sdk {sdk}" in evidence(finding)) == (sdk is not None)


def test_an_ipv6_address_itself() -> None:
    route = walked(cli_url("[fd00::5]:3000"), resolution=literal("fd00::5"), handshake=handshake())
    finding = only(Finding, CHECK, given(route))
    assert finding.cause.id == "only-ipv6"
    assert "Invalid cli_url format: [fd00::5]:3000" in finding.symptom


def test_the_hosts_files_localhost_is_no_ipv6_problem() -> None:
    found = resolution("six", addresses=("::1",))
    route = walked(cli_url("six:3000"), resolution=found, handshake=handshake())
    only(Passed, CHECK, given(route))


# Slow


def test_one_of_two_name_servers_is_silent() -> None:
    found = resolution(
        "copilot",
        Lookup(source="192.0.2.53", name="copilot", kind="A", answer="timeout", elapsed_ms=1000),
        asked("copilot", "found", "10.0.0.9"),
        addresses=("10.0.0.9",),
    )
    route = walked(cli_url("copilot:3000"), resolution=found, handshake=handshake())
    finding = only(Finding, CHECK, given(route))
    assert (finding.cause.id, finding.status) == ("name-server-silent", "warn")
    assert finding.title == "The name server 192.0.2.53 does not answer"
    assert "192.0.2.53: copilot A: no answer after 1.0 s" in evidence(finding)
    assert fix_shell(finding, "use-address") == "export COPILOT_CLI_URL=10.0.0.9:3000"


# All of it


def test_titles_fit_a_line_for_the_longest_name() -> None:
    name = f"{'a' * 60}.{'b' * 60}.example"
    single = "c" * 63
    routes = [
        unresolved(resolution(name, asked(name, "nxdomain"))),
        unresolved(resolution(name, asked(name, "timeout"))),
        unresolved(resolution(single, asked(single, "nxdomain"))),
        walked(
            cli_url(f"{single}:65535"),
            "connect",
            "refused",
            resolution=resolution(single, asked(name, "found"), addresses=("8.8.8.8",)),
        ),
        walked(
            cli_url(f"{name}:65535"),
            "connect",
            "refused",
            resolution=resolution(name, addresses=("127.0.1.1",)),
        ),
        walked(cli_url(f"{name}:1"), resolution=resolution(name, addresses=("fd00::5",))),
    ]
    for hosts in (MACHINE, CONTAINER):
        for route in routes:
            for outcome in outcomes(CHECK, given(route, hosts=hosts)):
                assert isinstance(outcome, Finding)
                assert len(outcome.title) <= 90, outcome.title
                assert len({fix.id for fix in outcome.fixes}) == len(outcome.fixes)


def test_much_evidence_is_cut() -> None:
    many = [asked(f"copilot.d{number}.test", "nxdomain") for number in range(30)]
    finding = only(Finding, CHECK, given(unresolved(resolution("copilot", *many))))
    assert len(finding.evidence) < 15
    assert "more questions" in evidence(finding)


def test_every_cause_has_a_general_fix() -> None:
    assert {fix.cause for fix in CHECK.fixes} == {cause.id for cause in CHECK.causes}
