"""Whether the clients of one server are kept apart."""

from __future__ import annotations

import pytest

from doctor.catalogue import Finding, NotVisible, Passed, Skipped
from doctor.checks.client_isolation import CHECK
from doctor.deployment import Unseen
from tests.checks.builders import (
    client,
    deployment,
    evidence,
    fix_shell,
    only,
    process,
    server,
)

CLIENTS = (client(5000, "1.0.24"), client(5001))
OF_TWO_USERS = (client(5000), client(5001, process=process(5001, user="hubot")))
NATIVE = "/srv/app/node_modules/@github/copilot-linux-x64/copilot"


def test_no_server_is_skipped() -> None:
    only(Skipped, CHECK, deployment())


@pytest.mark.parametrize("version", ["1.0.2", "1.0.32", "1.0.63", "1.0.64", "1.0.73"])
def test_two_clients_can_answer_each_other(version: str) -> None:
    found = only(Finding, CHECK, deployment(server(version), clients=CLIENTS))
    assert (found.status, found.cause.id) == ("warn", "shared-approvals")
    assert found.title == "2 clients can answer each other's permission requests"
    assert f"server version: {version}" in evidence(found)
    assert "connected: client pid 5000, python, user mona, github-copilot-sdk 1.0.24" in evidence(
        found
    )
    assert version in found.cause.observed


def test_the_upgrade_goes_where_the_server_came_from() -> None:
    found = only(Finding, CHECK, deployment(server("1.0.63", executable=NATIVE), clients=CLIENTS))
    lines = fix_shell(found, "upgrade").splitlines()
    assert lines[0] == "npm install --prefix /srv/app @github/copilot@1.0.102"
    assert lines[1].startswith("kill 4123")
    assert lines[-1].endswith("--server --port 3000")


def test_without_a_folder_of_npm_the_upgrade_is_told_in_words() -> None:
    found = only(Finding, CHECK, deployment(server("1.0.63"), clients=CLIENTS))
    assert [fix.kind for fix in found.fixes] == ["advice", "advice"]


def test_different_users_make_it_a_failure() -> None:
    found = only(Finding, CHECK, deployment(server("1.0.63"), clients=OF_TWO_USERS))
    assert found.status == "fail"
    assert found.detail == "The clients run as different users: hubot, mona."


def test_oldest_versions_leak_events_but_no_approvals() -> None:
    found = only(Finding, CHECK, deployment(server("0.0.400"), clients=OF_TWO_USERS))
    assert (found.status, found.cause.id) == ("warn", "shared-events")


@pytest.mark.parametrize("version", ["1.0.81", "1.0.92", "1.0.102", "1.0.130"])
def test_newer_versions_keep_clients_apart(version: str) -> None:
    only(Passed, CHECK, deployment(server(version), clients=CLIENTS))


def test_newer_versions_still_share_sessions_between_users() -> None:
    found = only(Finding, CHECK, deployment(server("1.0.102"), clients=OF_TWO_USERS))
    assert (found.status, found.cause.id) == ("warn", "shared-sessions")
    assert found.title == "2 users share a server, and so each other's sessions"


def test_one_client_shares_nothing() -> None:
    found = only(Passed, CHECK, deployment(server("1.0.63"), clients=CLIENTS[:1]))
    assert "no two are connected" in found.detail


def test_a_client_of_another_server_does_not_count() -> None:
    other = client(5001, server="server-2")
    only(Passed, CHECK, deployment(server("1.0.63"), clients=(CLIENTS[0], other)))


@pytest.mark.parametrize("clients", [(), CLIENTS])
def test_an_unknown_version_is_unknown(clients: tuple[object, ...]) -> None:
    found = only(NotVisible, CHECK, deployment(server(None), clients=clients))
    assert "version" in found.reason


def test_a_version_between_two_that_differ_is_unknown() -> None:
    found = only(NotVisible, CHECK, deployment(server("1.0.77"), clients=CLIENTS))
    assert "1.0.77 was not tried" in found.reason


def test_connections_that_cannot_be_seen_are_no_pass() -> None:
    limit = Unseen(what="socket-owner", subject="this machine", reason="it takes root")
    found = only(NotVisible, CHECK, deployment(server("1.0.63"), unseen=(limit,)))
    assert "it takes root" in found.reason
    only(NotVisible, CHECK, deployment(server("1.0.63", listeners_visible=False)))


def test_another_mode_is_not_judged() -> None:
    only(Skipped, CHECK, deployment(server("1.0.63", "--acp --port 3000"), clients=CLIENTS))
