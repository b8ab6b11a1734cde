"""Who can reach a server, and what it asks of them."""

from __future__ import annotations

import re

import pytest

from doctor.catalogue import Finding, NotVisible, Passed, Skipped
from doctor.checks.listener_exposed import CHECK
from doctor.deployment import Host, Process
from tests.checks.builders import (
    deployment,
    evidence,
    fix_shell,
    handshake,
    hidden,
    listener,
    only,
    outcomes,
    server,
)

HERE = Host(platform="linux", user="mona", addresses=("192.168.1.5", "fe80::1", "2001:db8::5"))
EVERY = (listener("0.0.0.0"),)
OPEN = "--server --port 3000 --host 0.0.0.0"
TOKEN = {"COPILOT_CONNECTION_TOKEN": "canary-shared-secret-7"}
MAKES_TOKEN = 'export COPILOT_CONNECTION_TOKEN="${COPILOT_CONNECTION_TOKEN:-$(head -c 32 /dev/'


def test_without_a_server_there_is_nothing_to_say() -> None:
    assert only(Skipped, CHECK, deployment())


@pytest.mark.parametrize("args", ["--server --stdio", "--headless --stdio", "--acp", "-p hello"])
def test_a_process_that_listens_nowhere_is_nothing_to_judge(args: str) -> None:
    assert only(Skipped, CHECK, deployment(server(args=args, listeners=())))


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "127.0.0.2", "::ffff:127.0.0.1"])
def test_loopback_passes_with_and_without_a_token(address: str) -> None:
    passed = only(Passed, CHECK, deployment(server(listeners=(listener(address),))))
    assert "loopback alone" in passed.detail


def test_sockets_that_cannot_be_read_are_not_taken_for_closed() -> None:
    blind = server(listeners=(), listeners_visible=False)
    assert "sudo" in only(NotVisible, CHECK, deployment(blind)).remedy


# Open


@pytest.mark.parametrize(
    ("env", "token", "words"),
    [
        ({}, None, "COPILOT_CONNECTION_TOKEN is not set in the server's environment"),
        (
            {"COPILOT_CONNECTION_TOKEN": ""},
            None,
            "COPILOT_CONNECTION_TOKEN is empty in the server's environment",
        ),
        ({}, "not-required", "it let the doctor in without a connection token"),
        (hidden(), "not-required", "it let the doctor in without a connection token"),
        (hidden(), "not-configured", "it says that it has no connection token (-32003)"),
    ],
)
def test_no_token_is_a_failure(env: object, token: str | None, words: str) -> None:
    exposed = server(args=OPEN, env=env, listeners=EVERY)  # type: ignore[arg-type]
    shake = handshake(token=token) if token else None
    found = only(Finding, CHECK, deployment(exposed, shake=shake, hosts=(HERE,)))
    assert found.status == "fail"
    assert found.cause.id == "no-token"
    assert words in evidence(found)
    assert "it listens on 0.0.0.0:3000 (every interface)" in evidence(found)
    assert "reachable at 192.168.1.5:3000, [2001:db8::5]:3000" in evidence(found)
    assert "fe80" not in evidence(found)
    assert "as user mona" in found.detail
    assert [fix.id for fix in found.fixes] == ["loopback", "token", "client-token"]
    assert fix_shell(found, "loopback").splitlines() == [
        "kill 4123 && sleep 2",
        "copilot --server --port 3000 --host 127.0.0.1",
    ]
    lines = fix_shell(found, "token").splitlines()
    assert lines[0].startswith(MAKES_TOKEN)
    assert lines[1:] == ["kill 4123 && sleep 2", "copilot --server --port 3000 --host 0.0.0.0"]


def test_the_wire_counts_more_than_the_environment() -> None:
    # The variable was read, but the server that answers does not ask for it.
    exposed = server(args=OPEN, env=TOKEN, listeners=EVERY)
    found = only(Finding, CHECK, deployment(exposed, shake=handshake(token="not-required")))
    assert found.status == "fail"


def test_the_risk_names_the_account_that_strangers_use() -> None:
    exposed = server(args=OPEN, listeners=EVERY)
    shake = handshake(signed_in=True, login="octocat")
    found = only(Finding, CHECK, deployment(exposed, shake=shake))
    assert "with its GitHub account (octocat)" in found.detail
    assert "signed in to GitHub as octocat" in evidence(found)


@pytest.mark.parametrize("flag", ["--allow-all", "--yolo", "--allow-all-tools"])
def test_allow_all_flags_are_named_and_not_blamed(flag: str) -> None:
    exposed = server(args=f"{OPEN} {flag}", listeners=EVERY)
    found = only(Finding, CHECK, deployment(exposed))
    assert "started with --" in evidence(found)
    assert "not even asked about" in found.detail
    assert "For SDK clients the flags change nothing" in found.detail
    assert found.cause.documented_says


def test_without_allow_all_flags_nothing_is_said_of_them() -> None:
    found = only(Finding, CHECK, deployment(server(args=OPEN, listeners=EVERY)))
    assert "started with" not in found.detail


@pytest.mark.parametrize("version", ["0.0.400", "1.0.22"])
def test_old_versions_listen_everywhere_by_default(version: str) -> None:
    old = server(
        version,
        listeners=(listener("::", is_dual_stack=True),),
        executable="/opt/app/node_modules/@github/copilot-linux-x64/copilot",
    )
    found = only(Finding, CHECK, deployment(old, shake=handshake(version, has_connect=False)))
    assert found.cause.id == "old-default"
    assert "it listens on [::]:3000 (every interface, IPv4 too)" in evidence(found)
    assert f"{version} has no --host" in evidence(found)
    assert found.symptom.startswith("nothing is printed")
    assert fix_shell(found, "upgrade").splitlines() == [
        "kill 4123 && sleep 2",
        "npm install --prefix /opt/app @github/copilot@1.0.102",
        "copilot --server --port 3000",
    ]
    assert not any("--host" in fix.shell for fix in found.fixes)


def test_a_token_does_not_protect_an_old_version() -> None:
    old = server(
        "1.0.32",
        OPEN,
        TOKEN,
        listeners=EVERY,
        executable="/usr/lib/node_modules/@github/copilot/node_modules/@github/copilot-linux-x64/c",
    )
    found = only(Finding, CHECK, deployment(old))
    assert found.cause.id == "token-ignored"
    assert "1.0.32 ignores it" in evidence(found)
    assert [fix.id for fix in found.fixes] == ["loopback", "upgrade"]
    lines = fix_shell(found, "upgrade").splitlines()
    assert lines[0].startswith(MAKES_TOKEN)
    assert "npm install --global @github/copilot@1.0.102" in lines


def test_a_program_that_did_not_come_from_npm_gets_an_advice() -> None:
    old = server("1.0.22", listeners=(listener("::"),), executable="/snap/copilot/copilot")
    found = only(Finding, CHECK, deployment(old))
    assert found.fixes[0].kind == "advice"


@pytest.mark.parametrize("args", ["--acp --port 3000", "--ui-server --port 3000"])
def test_modes_that_ignore_the_token_are_open_with_it(args: str) -> None:
    exposed = server(args=f"{args} --host 0.0.0.0", env=TOKEN, listeners=EVERY)
    found = only(Finding, CHECK, deployment(exposed))
    assert found.cause.id == "mode-without-token"
    assert "asks for no connection token" in evidence(found)
    assert [fix.id for fix in found.fixes] == ["loopback"]


def test_an_empty_host_is_every_interface() -> None:
    unset = server(
        "1.0.63", ["--server", "--port", "3000", "--host", ""], listeners=(listener("::"),)
    )
    found = only(Finding, CHECK, deployment(unset))
    assert found.cause.id == "empty-host"
    assert "--host (empty)" in evidence(found)
    assert fix_shell(found, "loopback").endswith("copilot --server --port 3000 --host 127.0.0.1")
    assert fix_shell(found, "token").endswith("copilot --server --port 3000 --host 0.0.0.0")


def test_one_address_that_is_not_loopback_is_exposed_as_well() -> None:
    exposed = server(args=OPEN, listeners=(listener("192.168.1.5"),))
    found = only(Finding, CHECK, deployment(exposed, hosts=(HERE,)))
    assert "it listens on 192.168.1.5:3000" in evidence(found)
    assert "reachable at" not in evidence(found)


def test_in_a_container_the_token_comes_first() -> None:
    exposed = server(args=OPEN, listeners=EVERY)
    here = Host(kind="container", engine="docker", platform="linux")
    found = only(Finding, CHECK, deployment(exposed, hosts=(here,)))
    assert [fix.id for fix in found.fixes] == ["token", "client-token", "loopback"]


def test_a_container_seen_from_its_host_is_told_as_one() -> None:
    exposed = server(args=OPEN, listeners=(listener("0.0.0.0", namespace="other"),))
    found = only(Finding, CHECK, deployment(exposed, hosts=(HERE,)))
    assert "another network namespace" in evidence(found)
    assert "reachable at" not in evidence(found)
    assert found.fixes[0].id == "token"


def test_a_supervised_server_is_changed_where_it_is_started() -> None:
    supervised = server(
        args=OPEN, listeners=EVERY, ancestors=(Process(pid=80, name="supervisord"),)
    )
    found = only(Finding, CHECK, deployment(supervised))
    loopback = next(fix for fix in found.fixes if fix.id == "loopback")
    assert loopback.kind == "advice"
    assert "--host 127.0.0.1" in loopback.summary


# Protected


@pytest.mark.parametrize("token", ["accepted", "required", "rejected"])
def test_a_server_that_asks_for_a_token_passes(token: str) -> None:
    protected = server(args=OPEN, env=hidden(), listeners=EVERY)
    passed = only(Passed, CHECK, deployment(protected, shake=handshake(token=token)))
    assert "not encrypted" in passed.detail


def test_a_token_in_the_environment_of_a_version_that_enforces_it_passes() -> None:
    protected = server("1.0.44", OPEN, TOKEN, listeners=EVERY)
    passed = only(Passed, CHECK, deployment(protected))
    assert "is set in the server's environment" in passed.detail
    assert TOKEN["COPILOT_CONNECTION_TOKEN"] not in passed.detail


# Not known


def test_what_protects_it_may_not_be_visible() -> None:
    exposed = server(args=OPEN, env=hidden(), listeners=EVERY)
    found = only(Finding, CHECK, deployment(exposed))
    assert found.status == "unknown"
    assert found.cause.id == "protection-not-known"
    assert "it belongs to another user" in evidence(found)
    assert found.fixes[0].id == "ask-it"


@pytest.mark.parametrize("version", [None, "1.0.40"])
def test_whether_a_version_in_a_gap_enforces_the_token_is_not_known(version: str | None) -> None:
    exposed = server(version, OPEN, TOKEN, listeners=EVERY)
    found = only(Finding, CHECK, deployment(exposed))
    assert found.status == "unknown"
    assert "up to 1.0.32 ignore it, from 1.0.44 on" in evidence(found)


def test_each_server_is_judged_on_its_own() -> None:
    second = server(id="server-2", args=OPEN, listeners=EVERY)
    found = outcomes(CHECK, deployment(server(), second))
    assert [type(item) for item in found] == [Passed, Finding]


def test_the_servers_own_warning_is_a_symptom() -> None:
    said = (
        "Warning: No COPILOT_CONNECTION_TOKEN was set, so connections will be accepted from any "
        "client"
    )
    symptom = next(item for item in CHECK.symptoms if item.pattern)
    assert re.search(symptom.pattern, said)
    assert symptom.versions[0] == "1.0.44"


def test_titles_are_short_enough_for_the_highest_port() -> None:
    for args in (OPEN, "--ui-server --port 65535", "--acp --port 65535"):
        for env in ({}, hidden()):
            exposed = server(args=args, env=env, listeners=(listener("0.0.0.0", 65535),))
            assert len(only(Finding, CHECK, deployment(exposed)).title) <= 90
