"""Folders that must be written, of servers and of the next one from this shell."""

from __future__ import annotations

from typing import Any

import pytest

from doctor.catalogue import Finding, NotVisible, Passed, Skipped
from doctor.checks.home_directory import CHECK
from doctor.deployment import Deployment, Directory, Host
from tests.checks.builders import deployment, evidence, fix_shell, only, outcomes, server

HOME = "/srv/copilot home"
OURS = (Host(platform="linux", user="mona", ports_taken=()),)
AS_ROOT = (Host(platform="linux", user="root", ports_taken=()),)


def folder(role: Any = "home", path: str = HOME, **facts: Any) -> Directory:
    defaults: dict[str, Any] = {
        "state": "directory",
        "is_writable": False,
        "owner": "root",
        "mode": "755",
    }
    return Directory(path=path, role=role, **defaults | facts)


def for_shell(*folders: Directory, hosts: Any = OURS, **facts: Any) -> Deployment:
    return deployment(directories=folders, hosts=hosts, **facts)


def for_server(*folders: Directory, args: str = "--server --port 3000") -> Deployment:
    return deployment(server("1.0.102", args, directories=folders), hosts=OURS)


def test_nothing_to_look_at_is_skipped() -> None:
    only(Skipped, CHECK, deployment())


# This shell


@pytest.mark.parametrize(
    ("facts", "lines", "words"),
    [
        ({}, f"sudo chown -R mona '{HOME}'", "a folder, owner root, mode 755"),
        (
            {"owner": "mona", "mode": "500"},
            f"chmod u+rwx '{HOME}'",
            "a folder, owner mona, mode 500",
        ),
        (
            {"state": "missing", "owner": None, "mode": None},
            f"sudo install -d -o mona -m 700 '{HOME}'",
            "missing, and cannot be made",
        ),
        (
            {"state": "file", "owner": "mona", "mode": "644"},
            f"sudo mv '{HOME}' '{HOME}.old' && sudo install -d -o mona -m 700 '{HOME}'",
            "a file, not a folder",
        ),
    ],
    ids=["owner", "mode", "missing", "file"],
)
def test_a_home_that_cannot_be_written(facts: dict[str, Any], lines: str, words: str) -> None:
    found = only(Finding, CHECK, for_shell(folder(**facts), shell={"COPILOT_HOME": HOME}))
    assert (found.status, found.cause.id) == ("fail", "home-not-writable")
    assert found.subject == "this shell"
    assert found.symptom == "copilot --server ends with exit code 1 and prints nothing"
    assert words in evidence(found)
    assert "to be written by user mona" in evidence(found)
    assert "COPILOT_HOME is set" in evidence(found)
    assert fix_shell(found, "repair-home") == lines
    assert fix_shell(found, "home-elsewhere") == 'export COPILOT_HOME="$(mktemp -d)"'


def test_root_needs_no_sudo() -> None:
    found = only(Finding, CHECK, for_shell(folder(state="file", owner="root"), hosts=AS_ROOT))
    assert "sudo" not in fix_shell(found, "repair-home")


@pytest.mark.parametrize(
    "facts",
    [{"owner": "mona", "mode": "700"}, {"reason": "read-only file system"}],
    ids=["nothing in the mode", "read-only"],
)
def test_a_file_system_that_cannot_be_written(facts: dict[str, Any]) -> None:
    found = only(Finding, CHECK, for_shell(folder(**facts)))
    assert [fix.kind for fix in found.fixes] == ["advice", "command"]
    assert "read-only" in found.fixes[0].summary
    assert "COPILOT_HOME: not set" in evidence(found)


def test_with_a_server_running_it_warns() -> None:
    case = deployment(
        server(directories=(folder(is_writable=True),)), directories=(folder(),), hosts=OURS
    )
    found = [item for item in outcomes(CHECK, case) if isinstance(item, Finding)]
    assert [(item.subject, item.status) for item in found] == [("this shell", "warn")]


def test_a_home_that_can_be_written_passes() -> None:
    only(Passed, CHECK, for_shell(folder(is_writable=True)))
    only(Passed, CHECK, for_shell(folder(state="missing", is_writable=True)))


def test_what_could_not_be_told_is_unknown() -> None:
    found = only(NotVisible, CHECK, for_shell(folder(is_writable=None, reason="no right to look")))
    assert "no right to look" in found.reason


def test_the_logs_in_a_home_that_cannot_be_written_are_no_news() -> None:
    logs = folder("logs", f"{HOME}/logs", state="missing")
    found = only(Finding, CHECK, for_shell(folder(), logs))
    assert found.cause.id == "home-not-writable"


def test_the_logs_of_the_next_server() -> None:
    logs = folder("logs", f"{HOME}/logs")
    _, found = outcomes(CHECK, for_shell(folder(is_writable=True), logs))
    assert isinstance(found, Finding)
    assert (found.status, found.cause.id) == ("warn", "logs-not-writable")
    assert fix_shell(found, "repair-logs") == f"sudo chown -R mona '{HOME}/logs'"


def test_windows_has_other_words() -> None:
    windows = (Host(platform="win32", user="mona", ports_taken=()),)
    found = only(Finding, CHECK, for_shell(folder(path="C:\\copilot"), hosts=windows))
    assert [fix.id for fix in found.fixes] == ["repair-home", "home-elsewhere"]
    assert found.fixes[0].kind == "advice"
    assert fix_shell(found, "home-elsewhere").startswith("$env:COPILOT_HOME = ")


# Running servers


def test_folders_of_a_server_that_are_hidden_are_unknown() -> None:
    only(NotVisible, CHECK, deployment(server()))


def test_a_home_that_got_lost() -> None:
    found = only(Finding, CHECK, for_server(folder()))
    assert (found.status, found.cause.id) == ("warn", "home-not-writable")
    assert (
        found.title == "The server can no longer write its COPILOT_HOME: its next start will fail"
    )
    assert fix_shell(found, "repair-home") == f"sudo chown -R mona '{HOME}'"


def test_a_log_folder_that_cannot_be_written() -> None:
    case = for_server(
        folder(is_writable=True),
        folder("logs", "/var/log/copilot"),
        args="--server --port 3000 --log-dir /var/log/copilot",
    )
    fine, found = outcomes(CHECK, case)
    assert isinstance(fine, Passed)
    assert isinstance(found, Finding)
    assert (found.status, found.cause.id) == ("warn", "logs-not-writable")
    assert "log folder /var/log/copilot: a folder, owner root, mode 755" in evidence(found)
    assert fix_shell(found, "repair-logs").splitlines() == [
        "sudo chown -R mona /var/log/copilot",
        "kill 4123 && sleep 2",
        "copilot --server --port 3000 --log-dir /var/log/copilot",
    ]
    assert fix_shell(found, "default-logs").splitlines()[-1] == "copilot --server --port 3000"


def test_a_file_in_the_place_of_the_log_folder() -> None:
    logs = folder("logs", "/var/log/copilot", state="file", owner="mona", mode="644")
    found = outcomes(CHECK, for_server(folder(is_writable=True), logs))[1]
    assert isinstance(found, Finding)
    assert "mv /var/log/copilot /var/log/copilot.old" in fix_shell(found, "repair-logs")


def test_log_folders_below_a_bad_home_are_no_news_but_others_are() -> None:
    below, beside = folder("logs", f"{HOME}/logs"), folder("logs", "/var/log/copilot")
    assert len(outcomes(CHECK, for_server(folder(), below))) == 1
    assert len(outcomes(CHECK, for_server(folder(), beside))) == 2
