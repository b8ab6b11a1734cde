"""Where a server listens, and whether its clients get there."""

from __future__ import annotations

import re

import pytest

from doctor.catalogue import Finding, NotVisible, Passed, Skipped
from doctor.checks.listener_unreachable import CHECK
from doctor.deployment import Host, Resolution, Route
from tests.checks.builders import (
    cli_url,
    client,
    deployment,
    evidence,
    fix_shell,
    handshake,
    listener,
    only,
    outcomes,
    route,
    server,
    target,
    walked,
)

HERE = Host(platform="linux", user="mona", names=("localhost", "box"), addresses=("192.168.1.5",))
BOX = Host(kind="container", engine="docker", platform="linux", addresses=("172.18.0.2",))


def refused(to: str, *addresses: str) -> Route:
    resolution = Resolution(name=to, addresses=addresses) if addresses else None
    return walked(
        cli_url(to), "connect", "refused", f"{to}: nothing listens there", resolution=resolution
    )


def test_without_a_server_and_a_target_there_is_nothing_to_say() -> None:
    assert only(Skipped, CHECK, deployment(hosts=(HERE,)))


# Where it listens


def test_loopback_is_right_for_clients_of_this_machine() -> None:
    assert "127.0.0.1:3000" in only(Passed, CHECK, deployment(server(), hosts=(HERE,))).detail


@pytest.mark.parametrize("address", ["0.0.0.0", "::"])
def test_every_interface_can_be_reached(address: str) -> None:
    given = deployment(server(listeners=(listener(address),)), hosts=(BOX,))
    assert "every interface" in only(Passed, CHECK, given).detail


def test_sockets_that_cannot_be_read_are_not_taken_for_reachable() -> None:
    blind = server(listeners=(), listeners_visible=False)
    assert only(NotVisible, CHECK, deployment(blind, hosts=(HERE,)))


def test_in_a_container_loopback_is_out_of_everybodys_reach() -> None:
    found = only(Finding, CHECK, deployment(server(), hosts=(BOX,)))
    assert found.cause.id == "container-loopback"
    assert found.status == "warn"
    assert "this is a container (docker)" in evidence(found)
    assert "started without --host: 1.0.102 then listens on 127.0.0.1" in evidence(found)
    assert "no client is connected now" in evidence(found)
    lines = fix_shell(found, "host-and-token").splitlines()
    assert lines[0].startswith('export COPILOT_CONNECTION_TOKEN="${COPILOT_CONNECTION_TOKEN:-$(')
    assert lines[1:] == ["kill 4123 && sleep 2", "copilot --server --port 3000 --host 0.0.0.0"]
    compose = next(fix for fix in found.fixes if fix.id == "compose").code
    assert "--host 0.0.0.0" in compose
    assert "COPILOT_CONNECTION_TOKEN" in compose


def test_the_same_from_outside_of_the_container() -> None:
    inside = server(listeners=(listener(namespace="other"),))
    found = only(Finding, CHECK, deployment(inside, hosts=(HERE,)))
    assert found.cause.id == "container-loopback"
    assert "another network namespace" in evidence(found)


def test_a_client_in_the_same_container_makes_it_right() -> None:
    given = deployment(server(), hosts=(BOX,), clients=(client(),))
    assert "client pid 5000" in only(Passed, CHECK, given).detail


def test_a_target_in_the_same_container_that_is_reached_makes_it_right() -> None:
    told = walked(cli_url("127.0.0.1:3000"), server="server-1", handshake=handshake())
    found = outcomes(CHECK, deployment(server(), hosts=(BOX,), routes=(told,)))
    assert [type(item) for item in found] == [Passed, Passed]
    assert isinstance(found[0], Passed)
    assert "127.0.0.1:3000 reaches it" in found[0].detail


def test_the_doctors_own_route_proves_nothing_of_that_kind() -> None:
    own = route(handshake(), target=target())
    assert only(Finding, CHECK, deployment(server(), hosts=(BOX,), routes=(own,)))


@pytest.mark.parametrize("version", ["1.0.22", "1.0.32"])
def test_versions_that_ignore_the_token_are_never_opened_up(version: str) -> None:
    found = only(Finding, CHECK, deployment(server(version), hosts=(BOX,)))
    assert not any("--host 0.0.0.0" in fix.shell for fix in found.fixes)


def test_a_single_address_leaves_localhost_out() -> None:
    bound = server(
        args="--server --port 3000 --host 192.168.1.5", listeners=(listener("192.168.1.5"),)
    )
    found = only(Finding, CHECK, deployment(bound, hosts=(HERE,)))
    assert found.cause.id == "one-address"
    assert "started with --host 192.168.1.5" in evidence(found)
    assert fix_shell(found, "use-its-address") == "export COPILOT_CLI_URL=192.168.1.5:3000"
    assert fix_shell(found, "host-and-token").endswith(
        "copilot --server --port 3000 --host 0.0.0.0"
    )


def test_ipv6_loopback_alone_leaves_127_out() -> None:
    bound = server(args="--server --port 3000 --host ::1", listeners=(listener("::1"),))
    found = only(Finding, CHECK, deployment(bound, hosts=(HERE,)))
    assert found.cause.id == "one-family"
    assert "127.0.0.1" in found.title
    assert fix_shell(found, "ipv4").endswith("copilot --server --port 3000 --host 127.0.0.1")
    assert fix_shell(found, "use-its-address") == "export COPILOT_CLI_URL='[::1]:3000'"


def test_ipv6_loopback_alone_is_wrong_inside_of_a_container_too() -> None:
    bound = server(args="--server --port 3000 --host ::1", listeners=(listener("::1"),))
    found = only(Finding, CHECK, deployment(bound, hosts=(BOX,)))
    assert found.cause.id == "one-family"
    assert [fix.id for fix in found.fixes] == ["ipv4", "use-its-address", "host-and-token"]


@pytest.mark.parametrize("address", ["::1", "192.168.1.5"])
def test_whoever_is_connected_has_found_the_way(address: str) -> None:
    bound = server(listeners=(listener(address),))
    assert only(Passed, CHECK, deployment(bound, hosts=(HERE,), clients=(client(),)))


# Where clients are told to connect


def found_for(told: Route, *servers: object, host: Host = HERE) -> Finding:
    given = deployment(*servers, hosts=(host,), routes=(told,))  # type: ignore[arg-type]
    found = [i for i in outcomes(CHECK, given) if isinstance(i, Finding) and "route" in i.subject]
    assert len(found) == 1
    return found[0]


def test_a_target_that_accepts_passes() -> None:
    told = walked(cli_url("copilot:3000"), handshake=handshake())
    assert only(Passed, CHECK, deployment(routes=(told,))).subject == "route to copilot:3000"


@pytest.mark.parametrize("told", [refused("192.168.1.5:3000"), refused("box:3000", "192.168.1.5")])
def test_the_machines_own_address_is_not_loopback(told: Route) -> None:
    found = found_for(told, server())
    assert found.cause.id == "loopback-only"
    assert found.status == "fail"
    assert found.subject == f"route to {told.target.text}"
    assert "It listens on 127.0.0.1:3000." in found.detail
    assert f"COPILOT_CLI_URL={told.target.text}" in evidence(found)
    assert "nothing listens there" in evidence(found)
    assert [fix.id for fix in found.fixes] == ["use-its-address", "host-and-token"]
    assert fix_shell(found, "use-its-address") == "export COPILOT_CLI_URL=127.0.0.1:3000"
    assert "Connection refused" in found.symptom


def test_another_address_of_loopback_is_not_the_same() -> None:
    # Debian gives the machine's own name 127.0.1.1.
    assert found_for(refused("box:3000", "127.0.1.1"), server()).cause.id == "loopback-only"


@pytest.mark.parametrize(
    ("told", "listens"),
    [
        (refused("[::1]:3000"), "127.0.0.1"),
        (refused("localhost:3000", "::1"), "127.0.0.1"),
        (refused("127.0.0.1:3000"), "::1"),
        (refused("[::1]:3000"), "0.0.0.0"),
    ],
)
def test_ipv4_and_ipv6_are_two_doors(told: Route, listens: str) -> None:
    found = found_for(told, server(listeners=(listener(listens),)))
    assert found.cause.id == "one-family"
    assert found.fixes[0].id == "use-its-address"


def test_localhost_is_refused_where_one_address_was_bound() -> None:
    bound = server(listeners=(listener("192.168.1.5"),))
    found = found_for(refused("127.0.0.1:3000"), bound)
    assert found.cause.id == "one-address"
    assert fix_shell(found, "use-its-address") == "export COPILOT_CLI_URL=192.168.1.5:3000"


def test_a_port_that_no_copilot_server_has_is_not_this_checks_business() -> None:
    found = outcomes(CHECK, deployment(hosts=(HERE,), routes=(refused("127.0.0.1:3001"),)))
    assert [type(item) for item in found] == [Skipped]


def test_where_a_hidden_server_listens_is_not_known() -> None:
    blind = server(listeners=(), listeners_visible=False)
    given = deployment(blind, hosts=(HERE,), routes=(refused("192.168.1.5:3000"),))
    assert [type(item) for item in outcomes(CHECK, given)] == [NotVisible, NotVisible]


def test_a_container_that_publishes_nothing() -> None:
    inside = server(listeners=(listener("0.0.0.0", namespace="other"),))
    found = found_for(refused("127.0.0.1:3000"), inside)
    assert found.cause.id == "not-published"
    assert "-p 3000:3000" in found.fixes[0].summary


def test_a_container_that_listens_on_its_own_loopback() -> None:
    inside = server(listeners=(listener(namespace="other"),))
    found = found_for(refused("127.0.0.1:3000"), inside)
    assert found.cause.id == "container-loopback"
    assert [fix.id for fix in found.fixes] == ["host-and-token", "publish"]
    # A kill from outside would end the container, and the new server would not be in it.
    assert found.fixes[0].kind == "advice"
    assert "its container starts it" in found.fixes[0].summary


def test_another_host_that_refuses_is_not_judged_from_here() -> None:
    found = found_for(refused("copilot:3000", "172.18.0.3"))
    assert found.cause.id == "refused-there"
    assert found.status == "unknown"
    assert "copilot is 172.18.0.3" in evidence(found)
    lines = fix_shell(found, "start-there").splitlines()
    assert "COPILOT_CONNECTION_TOKEN" in lines[0]
    assert lines[1] == "copilot --server --host 0.0.0.0 --port 3000"


def test_a_forwarder_that_hangs_up_may_stand_before_a_loopback() -> None:
    told = walked(
        cli_url("127.0.0.1:3000"),
        "handshake",
        "closed",
        "it closed the connection",
        handshake=handshake(None, peer="closed"),
    )
    found = found_for(told)
    assert found.status == "unknown"
    assert found.cause.id == "forwarded-to-loopback"
    assert {fix.id for fix in found.fixes} == {"compose", "look-inside"}


def test_with_the_server_behind_the_forwarder_in_sight_it_is_certain() -> None:
    told = walked(
        cli_url("127.0.0.1:3000"),
        "handshake",
        "closed",
        "it closed the connection",
        handshake=handshake(None, peer="closed"),
    )
    inside = server(listeners=(listener(namespace="other"),))
    found = found_for(told, inside)
    assert found.status == "fail"
    assert found.fixes[0].id == "host-and-token"


def test_a_server_on_another_port_is_not_taken_for_the_one_behind() -> None:
    told = walked(
        cli_url("127.0.0.1:8080"),
        "handshake",
        "closed",
        "it closed the connection",
        handshake=handshake(None, peer="closed"),
    )
    inside = server(listeners=(listener(namespace="other"),))
    assert found_for(told, inside).status == "unknown"


@pytest.mark.parametrize("code", ["timeout", "unreachable"])
def test_silence_on_the_way_is_not_a_question_of_where_it_listens(code: str) -> None:
    told = walked(cli_url("copilot:3000"), "connect", code, "no answer")
    assert only(Skipped, CHECK, deployment(routes=(told,))).blocked_by == "connect"


def test_a_name_that_does_not_resolve_blocks_the_question() -> None:
    told = walked(cli_url("copilot:3000"), "resolve", "not-resolved")
    assert only(Skipped, CHECK, deployment(routes=(told,))).blocked_by == "resolve"


def test_the_routes_that_the_doctor_made_itself_are_not_judged_twice() -> None:
    own = walked(target(), "connect", "refused")
    assert [type(i) for i in outcomes(CHECK, deployment(server(), routes=(own,)))] == [Passed]


def test_titles_are_short_enough() -> None:
    name = "a" * 60 + ".example:65535"
    inside = server(listeners=(listener(port=65535, namespace="other"),))
    routes = (
        refused(name, "172.18.0.3"),
        refused(name, "127.0.0.1"),
        walked(cli_url(name), "handshake", "closed", handshake=handshake(None, peer="closed")),
    )
    for told in routes:
        for servers in ((), (inside,)):
            given = deployment(*servers, hosts=(HERE,), routes=(told,))
            for found in outcomes(CHECK, given):
                assert len(getattr(found, "title", "")) <= 90, found


@pytest.mark.parametrize(
    "said",
    [
        "Failed to connect to CLI server at copilot:3000: [Errno 111] Connection refused",
        "Copilot CLI: The JSON-RPC connection with the remote party was lost before the request",
    ],
)
def test_the_words_of_the_sdks_are_symptoms(said: str) -> None:
    assert any(item.pattern and re.search(item.pattern, said) for item in CHECK.symptoms)
