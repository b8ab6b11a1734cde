"""Logs with secrets or prompts in them, and who can read them."""

from __future__ import annotations

import pytest

from doctor.catalogue import Finding, NotVisible, Passed, Skipped
from doctor.checks.log_secrets import CHECK
from doctor.deployment import Host, LogFile
from tests.checks.builders import deployment, evidence, fix_shell, only, server

PATH = "/var/log/my copilot/process-1-4123.log"
OPEN = LogFile(path=PATH, mode="644", size_bytes=9000, others_can_read=True)
SHUT = LogFile(path=PATH, mode="600", size_bytes=9000, others_can_read=False)
NATIVE = "/usr/local/lib/node_modules/@github/copilot-linux-x64/copilot"
VERBOSE = "--server --port 3000 --log-level"


def test_no_server_is_skipped() -> None:
    only(Skipped, CHECK, deployment())


def test_a_hidden_launch_command_is_unknown() -> None:
    only(NotVisible, CHECK, deployment(server("1.0.81", None, log_file=OPEN)))


@pytest.mark.parametrize("level", ["", "none", "error", "warning", "info", "default"])
def test_other_levels_hold_no_secret(level: str) -> None:
    args = f"{VERBOSE} {level}" if level else "--server --port 3000"
    only(Passed, CHECK, deployment(server("1.0.81", args, log_file=OPEN)))


@pytest.mark.parametrize("level", ["debug", "all"])
def test_the_version_that_logs_its_environment(level: str) -> None:
    case = server(
        "1.0.81",
        f"{VERBOSE} {level}",
        {"COPILOT_CONNECTION_TOKEN": "canary-of-this-test", "COPILOT_GITHUB_TOKEN": "gho_canary1"},
        log_file=OPEN,
        executable=NATIVE,
    )
    found = only(Finding, CHECK, deployment(case))
    assert (found.status, found.cause.id) == ("fail", "environment-in-log")
    assert found.title == "The log holds the server's environment, which every user here can read"
    told = evidence(found)
    assert f"--log-level {level}" in told
    assert f"{PATH}: mode 644, 9000 bytes, every user can read it" in told
    assert "to replace: COPILOT_CONNECTION_TOKEN (19 characters)" in told
    assert "COPILOT_GITHUB_TOKEN" not in told
    assert "canary" not in told
    assert fix_shell(found, "quiet").splitlines() == [
        f"chmod 600 '{PATH}'",
        "kill 4123 && sleep 2",
        "copilot --server --port 3000 --log-level info",
    ]
    assert fix_shell(found, "upgrade").splitlines()[0] == (
        "npm install --global @github/copilot@1.0.102"
    )
    assert found.fixes[-1].id == "rotate"


@pytest.mark.parametrize("log", [SHUT, None])
def test_secrets_in_a_closed_log_warn(log: LogFile | None) -> None:
    found = only(Finding, CHECK, deployment(server("1.0.81", f"{VERBOSE} all", log_file=log)))
    assert (found.status, found.cause.id) == ("warn", "environment-in-log")
    assert "every user" not in found.title
    assert ("could not be seen" in evidence(found)) is (log is None)


@pytest.mark.parametrize("version", ["1.0.77", "1.0.85"])
def test_versions_beside_it_are_unknown(version: str) -> None:
    found = only(Finding, CHECK, deployment(server(version, f"{VERBOSE} all", log_file=OPEN)))
    assert (found.status, found.cause.id) == ("unknown", "environment-in-log")
    assert f"{version} was not tried" in found.detail


def test_an_unknown_version_is_unknown() -> None:
    found = only(NotVisible, CHECK, deployment(server(None, f"{VERBOSE} all", log_file=OPEN)))
    assert "1.0.81 writes the whole environment" in found.reason


@pytest.mark.parametrize("version", ["1.0.63", "1.0.102"])
def test_prompts_that_others_can_read(version: str) -> None:
    found = only(Finding, CHECK, deployment(server(version, f"{VERBOSE} all", log_file=OPEN)))
    assert (found.status, found.cause.id) == ("warn", "others-can-read")
    assert version in found.cause.observed
    assert "every user can read it" in evidence(found)
    assert fix_shell(found, "close-log") == f"chmod 600 '{PATH}'"
    assert "--log-level info" in fix_shell(found, "quiet")


@pytest.mark.parametrize("version", ["1.0.63", "1.0.102", "1.0.140"])
def test_a_closed_log_passes(version: str) -> None:
    only(Passed, CHECK, deployment(server(version, f"{VERBOSE} all", log_file=SHUT)))


@pytest.mark.parametrize("version", ["1.0.2", "1.0.32"])
def test_versions_that_write_no_prompts_pass(version: str) -> None:
    only(Passed, CHECK, deployment(server(version, f"{VERBOSE} all", log_file=OPEN)))


def test_whether_prompts_are_written_is_not_known_between() -> None:
    only(NotVisible, CHECK, deployment(server("1.0.44", f"{VERBOSE} all", log_file=OPEN)))


def test_a_log_that_cannot_be_seen_is_unknown() -> None:
    only(NotVisible, CHECK, deployment(server("1.0.102", f"{VERBOSE} all")))


def test_other_modes_log_too() -> None:
    case = server("1.0.63", "--acp --port 3000 --log-level debug", log_file=OPEN)
    only(Finding, CHECK, deployment(case))


def test_there_is_no_chmod_on_windows() -> None:
    windows = (Host(platform="win32", user="mona", ports_taken=(3000,)),)
    case = server("1.0.63", f"{VERBOSE} all", log_file=OPEN)
    found = only(Finding, CHECK, deployment(case, hosts=windows))
    assert [fix.kind for fix in found.fixes] == ["advice", "command"]
    assert "chmod" not in fix_shell(found, "quiet")
