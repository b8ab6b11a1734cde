"""Who has the wanted port, and what frees it, for every kind of socket."""

from __future__ import annotations

import re

import pytest

from doctor.catalogue import Finding, NotVisible, Passed, Skipped
from doctor.checks.port_in_use import CHECK
from doctor.deployment import Host, Process, WantedPort
from tests.checks.builders import (
    client,
    deployment,
    evidence,
    findings,
    fix_shell,
    handshake,
    holder,
    listener,
    only,
    outcomes,
    process,
    server,
    wanted,
)

HERE = Host(
    platform="linux",
    user="mona",
    ports_taken=(3000, 3001),
    ephemeral_ports=(32768, 60999),
    first_unprivileged_port=1024,
    can_bind_low_ports=False,
)
PYTHON = process(
    812,
    name="python3",
    command=("python3", "-m", "http.server"),
    started_at="2026-11-23T08:00:00Z",
)


def of(*ports: WantedPort, **facts: object) -> Finding:
    return only(Finding, CHECK, deployment(hosts=(HERE,), wanted_ports=ports, **facts))  # type: ignore[arg-type]


def test_without_a_wanted_port_there_is_nothing_to_say() -> None:
    assert "--port" in only(Skipped, CHECK, deployment(server())).reason


def test_a_free_port_passes() -> None:
    passed = only(Passed, CHECK, deployment(hosts=(HERE,), wanted_ports=(wanted(3005),)))
    assert passed.subject == "port 3005"
    assert "can start" in passed.detail


def test_a_free_port_among_the_clients_own_passes_with_a_word_about_it() -> None:
    passed = only(Passed, CHECK, deployment(hosts=(HERE,), wanted_ports=(wanted(40000),)))
    assert "32768 to 60999" in passed.detail


def test_port_0_is_any_port() -> None:
    assert only(Passed, CHECK, deployment(hosts=(HERE,), wanted_ports=(wanted(0),)))


def test_sockets_that_cannot_be_listed_are_not_taken_for_free_ports() -> None:
    port = wanted(3000, is_visible=False, reason="netlink: Operation not permitted")
    found = only(NotVisible, CHECK, deployment(hosts=(HERE,), wanted_ports=(port,)))
    assert found.reason == "netlink: Operation not permitted"
    assert "sudo" in found.remedy


# A Copilot server


def test_a_healthy_copilot_server_can_be_shared() -> None:
    found = only(
        Finding,
        CHECK,
        deployment(
            server(),
            shake=handshake(),
            hosts=(HERE,),
            wanted_ports=(wanted(3000, holder(owner=process())),),
            clients=(client(),),
        ),
    )
    assert found.cause.id == "copilot-server"
    assert found.status == "warn"
    assert "127.0.0.1:3000 listen: pid 4123, user mona" in evidence(found)
    assert "answers as Copilot server 1.0.102" in evidence(found)
    assert "connected now: 1 (client pid 5000)" in evidence(found)
    assert found.fixes[0].id == "share"
    assert fix_shell(found, "share") == "export COPILOT_CLI_URL=127.0.0.1:3000"
    assert fix_shell(found, "other-port") == (
        "export COPILOT_CLI_URL=127.0.0.1:3002\ncopilot --server --port 3002"
    )
    assert fix_shell(found, "stop-server") == "kill 4123 && sleep 2"


def test_sharing_a_protected_server_takes_its_token() -> None:
    protected = server(env={"COPILOT_CONNECTION_TOKEN": "a-shared-secret-1"})
    found = only(
        Finding,
        CHECK,
        deployment(protected, hosts=(HERE,), wanted_ports=(wanted(3000, holder(owner=process())),)),
    )
    snippet = next(fix for fix in found.fixes if fix.id == "share-in-code").code
    assert 'connection_token=os.environ["COPILOT_CONNECTION_TOKEN"]' in snippet
    assert "a-shared-secret-1" not in repr(found)


def test_a_server_where_clients_expect_it_passes() -> None:
    port = wanted(3000, holder(owner=process()), name="COPILOT_CLI_URL")
    passed = only(Passed, CHECK, deployment(server(), hosts=(HERE,), wanted_ports=(port,)))
    assert "as clients expect" in passed.detail


@pytest.mark.parametrize(
    ("facts", "shake", "words"),
    [
        ({"is_orphan": True}, None, "its npm wrapper is gone"),
        ({"version": "1.0.63", "disk_version": "1.0.102"}, None, "it runs 1.0.63, and 1.0.102"),
        ({}, handshake(peer="silent"), "does not answer as a Copilot server should: silent"),
    ],
)
def test_an_old_server_is_to_be_stopped_by_the_process_that_listens(
    facts: dict[str, object], shake: object, words: str
) -> None:
    old = server(wrapper=process(4100, name="node"), **facts)  # type: ignore[arg-type]
    found = only(
        Finding,
        CHECK,
        deployment(
            old,
            shake=shake,  # type: ignore[arg-type]
            hosts=(HERE,),
            wanted_ports=(wanted(3000, holder(owner=process())),),
        ),
    )
    assert found.cause.id == "old-copilot-server"
    assert found.status == "fail"
    assert words in evidence(found)
    assert [fix.id for fix in found.fixes] == ["stop-server", "other-port"]
    assert fix_shell(found, "stop-server") == "kill 4123 && sleep 2"
    assert "4100" not in fix_shell(found, "stop-server")


def test_a_server_under_supervisord_is_stopped_there_and_its_child_as_well() -> None:
    supervised = server(
        is_orphan=True,
        wrapper=process(4100, name="node"),
        ancestors=(process(90, name="bash"), process(80, name="supervisord"), process(1)),
    )
    found = only(
        Finding,
        CHECK,
        deployment(
            supervised, hosts=(HERE,), wanted_ports=(wanted(3000, holder(owner=process())),)
        ),
    )
    shell = fix_shell(found, "stop-server")
    assert shell.splitlines() == [
        'supervisorctl stop "$(supervisorctl status | awk \'$4 == "90," {print $1}\')"',
        "kill 4123 2>/dev/null; sleep 2",
    ]


def test_a_supervisor_without_a_known_command_is_an_advice() -> None:
    supervised = server(is_orphan=True, ancestors=(process(80, name="pm2"),))
    found = only(
        Finding,
        CHECK,
        deployment(
            supervised, hosts=(HERE,), wanted_ports=(wanted(3000, holder(owner=process())),)
        ),
    )
    assert next(fix for fix in found.fixes if fix.id == "stop-server").kind == "advice"


def test_an_acp_server_is_no_server_for_clients() -> None:
    acp = server(args="--acp --port 3000")
    found = only(
        Finding,
        CHECK,
        deployment(acp, hosts=(HERE,), wanted_ports=(wanted(3000, holder(owner=process())),)),
    )
    assert found.cause.id == "other-program"
    assert "an ACP server" in found.title


# Another program


def test_another_program_is_named_with_all_that_is_known() -> None:
    found = of(wanted(3000, holder("0.0.0.0", owner=PYTHON)))
    assert found.title == "Port 3000 is held by python3 (pid 812)"
    assert found.status == "fail"
    assert (
        "0.0.0.0:3000 listen: pid 812, user mona, since 2026-11-23T08:00:00Z: "
        "python3 -m http.server" in evidence(found)
    )
    assert "wanted: port 3000 (from --port)" in evidence(found)
    assert "os error 98" in found.symptom
    assert "127.0.0.1:3000" in found.symptom
    assert fix_shell(found, "stop-program") == "kill 812 && sleep 2"


def test_another_users_program_needs_sudo() -> None:
    owner = process(812, name="nginx", command=("nginx",), user="www-data")
    found = of(wanted(3000, holder(owner=owner)))
    assert fix_shell(found, "stop-program") == "sudo kill 812 && sleep 2"


def test_a_published_port_is_not_freed_by_killing_the_forwarder() -> None:
    owner = process(812, name="docker-proxy", command=("/usr/bin/docker-proxy",), user="root")
    found = of(wanted(3000, holder("0.0.0.0", owner=owner)))
    stop = next(fix for fix in found.fixes if fix.id == "stop-container")
    assert stop.kind == "advice"
    assert "docker ps --filter publish=3000" in stop.summary
    assert not any("kill" in fix.shell for fix in found.fixes)


def test_two_programs_on_two_addresses_are_two_findings() -> None:
    other = process(900, name="node", command=("node", "x.js"))
    port = wanted(3000, holder(owner=PYTHON), holder("::", owner=other))
    found = outcomes(CHECK, deployment(hosts=(HERE,), wanted_ports=(port,)))
    assert ["812" in item.title for item in found if isinstance(item, Finding)] == [True, False]


def test_one_program_on_two_addresses_is_one_finding() -> None:
    found = of(wanted(3000, holder(owner=PYTHON), holder("::", owner=PYTHON)))
    assert "[::]:3000" in evidence(found)


@pytest.mark.parametrize("owner", [None, Process(pid=0, user="carol", is_visible=False)])
def test_an_owner_that_cannot_be_seen_is_said_so(owner: Process | None) -> None:
    found = of(wanted(3000, holder(owner=owner)))
    assert found.cause.id == "owner-hidden"
    assert found.status == "fail"
    assert ("user carol" in found.title) is (owner is not None)
    assert fix_shell(found, "look-as-root") == "sudo lsof -nP -iTCP:3000 -sTCP:LISTEN"
    assert "kill" not in repr(found.fixes)


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "127.0.0.1", "::ffff:127.0.0.1"])
def test_listeners_that_are_in_the_way_of_the_default_address(address: str) -> None:
    assert of(wanted(3000, holder(address, owner=PYTHON))).cause.id == "other-program"


@pytest.mark.parametrize("address", ["::1", "127.0.0.2", "192.168.1.5"])
def test_listeners_on_other_addresses_are_in_the_way_of_some_only(address: str) -> None:
    found = of(wanted(3000, holder(address, owner=PYTHON)))
    assert found.cause.id == "other-address"
    assert found.status == "warn"
    assert "Free: 127.0.0.1:3000" in found.detail


def test_of_a_port_that_nobody_named_a_holder_is_a_warning() -> None:
    found = of(wanted(3000, holder(owner=PYTHON), name="documented default"))
    assert found.status == "warn"
    assert "wanted: port 3000 (of the documented command)" in evidence(found)


# Nobody listens


def test_a_clients_own_end_is_told_from_a_listener() -> None:
    curl = process(77, name="curl", command=("curl", "x"))
    end = holder(port=45000, state="established", remote="192.0.2.1:443", owner=curl)
    found = of(wanted(45000, end))
    assert found.cause.id == "client-end"
    assert "connected to 192.0.2.1:443" in evidence(found)
    port = int(fix_shell(found, "other-port").split()[-1])
    assert not 32768 <= port <= 60999


def test_an_open_connection_outside_of_that_range_is_another_cause() -> None:
    end = holder(state="close-wait", remote="192.0.2.1:5", owner=PYTHON)
    assert of(wanted(3000, end)).cause.id == "open-connection"


def test_a_connection_whose_owner_is_hidden_names_no_pid() -> None:
    found = of(wanted(3000, holder(state="established", remote="192.0.2.1:5")))
    assert "a process that cannot be seen" in found.title
    assert "kill" not in repr(found.fixes)


def test_what_an_ending_copilot_server_has_accepted_is_not_in_the_way() -> None:
    ending = server("1.0.63", listeners=())
    end = holder(state="established", remote="127.0.0.1:5", owner=process())
    given = deployment(ending, hosts=(HERE,), wanted_ports=(wanted(3000, end),))
    assert "not in the way" in only(Passed, CHECK, given).detail


def test_closed_connections_of_a_client_end_by_themselves() -> None:
    found = of(wanted(45000, holder(port=45000, state="time-wait", remote="127.0.0.1:80")))
    assert found.cause.id == "time-wait"
    assert found.status == "warn"
    assert fix_shell(found, "wait") == "sleep 60"


def test_whose_closed_connections_they_were_is_not_known_elsewhere() -> None:
    found = of(wanted(3000, holder(state="time-wait", remote="127.0.0.1:5")))
    assert found.status == "unknown"
    assert "127.0.0.1:3000 time-wait, connected to 127.0.0.1:5" in evidence(found)


@pytest.mark.parametrize("state", ["fin-wait-1", "fin-wait-2", "closing", "last-ack"])
def test_what_a_killed_server_leaves_may_not_be_in_the_way(state: str) -> None:
    # Observed on 1.0.63 and 1.0.102 after SIGKILL with a client connected: a start succeeds.
    found = of(wanted(3000, holder(state=state, remote="127.0.0.1:5")))
    assert found.cause.id == "time-wait"
    assert found.status == "unknown"


def test_half_closed_by_a_process_that_lives_is_open() -> None:
    found = of(wanted(3000, holder(state="fin-wait-2", remote="192.0.2.1:5", owner=PYTHON)))
    assert found.cause.id == "open-connection"


def test_connections_of_a_server_that_listens_are_no_finding_of_their_own() -> None:
    port = wanted(
        3000, holder(owner=PYTHON), holder(state="established", remote="::1:5", owner=PYTHON)
    )
    assert of(port).cause.id == "other-program"


# It cannot be had


@pytest.mark.parametrize("port", [-1, 65536, 99999, 10**40])
def test_a_number_that_is_no_port(port: int) -> None:
    found = of(wanted(port))
    assert found.cause.id == "no-such-port"
    assert found.symptom == "Failed to start server: Error: port must be between 0 and 65535"
    assert fix_shell(found, "other-port").endswith("copilot --server --port 3002")
    assert len(found.title) <= 90


def test_a_low_port_without_the_right() -> None:
    found = of(wanted(80))
    assert found.cause.id == "low-port"
    assert "ports from 1024 on need no privilege" in evidence(found)
    assert "user mona" in found.title
    assert "Permission denied (os error 13)" in found.symptom


@pytest.mark.parametrize(
    "facts",
    [
        {"can_bind_low_ports": True},
        {"first_unprivileged_port": 80},
        {"platform": "win32", "first_unprivileged_port": None, "can_bind_low_ports": None},
    ],
)
def test_a_low_port_with_the_right_passes(facts: dict[str, object]) -> None:
    here = Host(
        **{  # type: ignore[arg-type]
            "platform": "linux",
            "first_unprivileged_port": 1024,
            "can_bind_low_ports": False,
        }
        | facts
    )
    assert only(Passed, CHECK, deployment(hosts=(here,), wanted_ports=(wanted(80),)))


@pytest.mark.parametrize("facts", [{"first_unprivileged_port": None}, {"can_bind_low_ports": None}])
def test_a_right_that_is_not_known_is_not_taken_for_one(facts: dict[str, object]) -> None:
    here = Host(
        **{  # type: ignore[arg-type]
            "platform": "linux",
            "first_unprivileged_port": 1024,
            "can_bind_low_ports": False,
        }
        | facts
    )
    assert only(NotVisible, CHECK, deployment(hosts=(here,), wanted_ports=(wanted(80),)))


def test_a_low_port_that_is_held_is_held_first() -> None:
    assert of(wanted(80, holder(port=80, owner=PYTHON))).cause.id == "other-program"


def test_where_no_free_port_is_known_none_is_named() -> None:
    here = Host(platform="linux", user="mona", ports_taken=None)
    found = only(
        Finding,
        CHECK,
        deployment(hosts=(here,), wanted_ports=(wanted(3000, holder(owner=PYTHON)),)),
    )
    assert next(fix for fix in found.fixes if fix.id == "any-port").kind == "advice"


def test_on_windows_the_lines_are_for_powershell() -> None:
    here = Host(platform="win32", ports_taken=(3000,))
    found = only(
        Finding,
        CHECK,
        deployment(hosts=(here,), wanted_ports=(wanted(3000, holder(owner=PYTHON)),)),
    )
    assert fix_shell(found, "stop-program") == "Stop-Process -Id 812; Start-Sleep 2"
    assert fix_shell(found, "other-port").startswith("$env:COPILOT_CLI_URL = '127.0.0.1:3001'")


# Servers in each other's way


def test_two_servers_on_two_addresses_of_one_port() -> None:
    second = server(
        "1.0.63",
        "--server --port 3000 --host ::1",
        listeners=(listener("::1"),),
        id="server-2",
        process=process(4200),
    )
    found = findings(CHECK, deployment(server(), second, hosts=(HERE,)))["same-port"]
    assert found.subject == "port 3000"
    assert found.status == "warn"
    assert "127.0.0.1:3000: Copilot server 1.0.102" in evidence(found)
    assert "[::1]:3000: Copilot server 1.0.63" in evidence(found)
    assert fix_shell(found, "move-one").splitlines()[-1] == (
        "copilot --server --host ::1 --port 3002"
    )
    assert fix_shell(found, "stop-one") == "kill 4200 && sleep 2"


def test_servers_in_different_networks_have_nothing_to_do_with_each_other() -> None:
    second = server(listeners=(listener(namespace="other"),), id="server-2", process=process(4200))
    assert only(Skipped, CHECK, deployment(server(), second, hosts=(HERE,)))


def test_a_start_for_a_held_port_is_told() -> None:
    late = server(
        "1.0.63",
        listeners=(),
        id="server-2",
        process=process(4300, started_at="2026-11-23T09:00:00Z"),
    )
    first = server(process=process(started_at="2026-11-23T08:00:00Z"))
    found = findings(CHECK, deployment(first, late, hosts=(HERE,)))["start-fails"]
    assert found.status == "fail"
    assert found.symptom.endswith("EADDRINUSE: address already in use 127.0.0.1:3000")
    assert "pid 4123" in evidence(found)
    assert fix_shell(found, "other-port") == "copilot --server --port 3002"
    assert fix_shell(found, "stop-holder") == "kill 4123 && sleep 2"


def test_a_server_that_is_ending_is_not_waiting_for_its_port() -> None:
    ending = server(
        "1.0.63",
        listeners=(),
        id="server-2",
        process=process(4300, started_at="2026-11-23T07:00:00Z"),
    )
    first = server(process=process(started_at="2026-11-23T08:00:00Z"))
    assert only(Skipped, CHECK, deployment(first, ending, hosts=(HERE,)))


# The catalogue


@pytest.mark.parametrize(
    ("said", "version"),
    [
        (
            "Failed to start server: Error: listen EADDRINUSE: address already in use :::3000",
            "1.0.22",
        ),
        (
            "Failed to start server: Error: listen EADDRINUSE: address already in use 0.0.0.0:3000",
            "1.0.63",
        ),
        ("Failed to start server: Error: Address already in use (os error 98)", "1.0.102"),
        ("Failed to start server: Error: listen EACCES: permission denied 127.0.0.1:80", "1.0.63"),
        ("Failed to start server: Error: Permission denied (os error 13)", "1.0.102"),
        ("RangeError [ERR_SOCKET_BAD_PORT]: options.port should be >= 0 and < 65536.", "1.0.63"),
        ("Failed to start server: Error: port must be between 0 and 65535", "1.0.102"),
    ],
)
def test_every_spelling_of_the_failure_is_a_symptom(said: str, version: str) -> None:
    matching = [
        symptom
        for symptom in CHECK.symptoms
        if symptom.pattern and re.search(symptom.pattern, said, re.IGNORECASE)
    ]
    assert any(version in symptom.versions for symptom in matching)


def test_every_title_and_every_fix_id_keeps_its_form() -> None:
    long = process(812, name="a" * 60, command=("b" * 300,))
    ports = (
        wanted(3000, holder(owner=long)),
        wanted(45000, holder(port=45000, state="established", owner=long)),
        wanted(80),
    )
    for item in outcomes(CHECK, deployment(hosts=(HERE,), wanted_ports=ports)):
        assert isinstance(item, Finding)
        assert len(item.title) <= 90
        assert len({fix.id for fix in item.fixes}) == len(item.fixes)
