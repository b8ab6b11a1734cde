"""SDKs and CLIs that do not fit: the table, and the check that asks it."""

from __future__ import annotations

import msgspec
import pytest

from doctor.behaviour.compatibility import (
    NEWEST_SDK,
    ROWS,
    cli_for,
    problems,
    sdk_for,
)
from doctor.behaviour.versions import TESTED
from doctor.catalogue import Finding, NotVisible, Passed, Skipped
from doctor.checks.sdk_compatibility import CHECK
from doctor.deployment import Deployment, Origin, Sdk
from tests.checks.builders import (
    client,
    deployment,
    evidence,
    fix_shell,
    handshake,
    only,
    outcomes,
    python_sdk,
    server,
)

NATIVE = "/srv/app/node_modules/@github/copilot-linux-x64/copilot"


def npm_sdk(version: str, language: str = "javascript") -> Sdk:
    return Sdk(
        language=language, package="@github/copilot-sdk", version=version, exactness="installed"
    )


def codes(sdk: str, cli: str, language: str = "python", *, token: bool = False) -> list[str]:
    return [skew.code for skew in problems(sdk, cli, language, needs_token=token)]


# The table


@pytest.mark.parametrize(
    ("sdk", "cli", "expected"),
    [
        # Every combination of the recorded matrix that worked.
        *((sdk, cli, []) for sdk in ("1.0.0", "1.0.13", "1.0.24") for cli in ("1.0.63", "1.0.102")),
        *(("1.0.24", cli, []) for cli in ("1.0.44", "1.0.57", "1.0.73", "1.0.81", "1.0.92")),
        *(("1.0.27", cli, []) for cli in ("1.0.92", "1.0.102")),
        *((sdk, cli, []) for sdk in ("0.1.32", "0.2.3") for cli in ("0.0.400", "1.0.2", "1.0.32")),
        ("0.3.0", "1.0.44", []),
        # And every one that did not.
        *((sdk, "1.0.63", ["ping-timestamp"]) for sdk in ("0.3.0",)),
        *((sdk, "1.0.63", ["ping-timestamp", "old-approval-word"]) for sdk in ("0.1.32", "0.2.3")),
        *(("1.0.27", cli, ["never-returns"]) for cli in ("1.0.44", "1.0.63", "1.0.73", "1.0.81")),
        ("1.0.25", "1.0.63", ["never-returns"]),
        ("0.2.3", "1.0.44", ["old-approval-word"]),
        ("1.0.24", "1.0.32", ["new-approval-word"]),
        ("1.0.27", "1.0.32", ["new-approval-word", "never-returns"]),
        ("1.0.24", "0.0.400", ["protocol-2", "new-approval-word"]),
        # Newer than everything that was run: like the newest.
        ("1.0.99", "1.0.140", []),
        ("0.3.0", "1.0.140", ["ping-timestamp"]),
    ],
)
def test_python(sdk: str, cli: str, expected: list[str]) -> None:
    assert codes(sdk, cli) == expected


@pytest.mark.parametrize(
    ("sdk", "cli", "expected"),
    [
        *((sdk, cli, []) for sdk in ("0.3.0", "1.0.0", "1.0.14") for cli in ("1.0.63", "1.0.102")),
        *(("0.2.2", cli, []) for cli in ("0.0.400", "1.0.2", "1.0.32")),
        *(("0.2.2", cli, ["old-approval-word"]) for cli in ("1.0.44", "1.0.63", "1.0.102")),
        *((sdk, "1.0.32", ["new-approval-word"]) for sdk in ("0.3.0", "1.0.14")),
        ("1.0.14", "0.0.400", ["protocol-2", "new-approval-word"]),
    ],
)
def test_npm(sdk: str, cli: str, expected: list[str]) -> None:
    assert codes(sdk, cli, "javascript") == expected


def test_a_token_matters_where_the_server_demands_one() -> None:
    assert codes("0.3.0", "1.0.63", token=True) == ["no-connection-token", "ping-timestamp"]
    assert codes("0.3.0", "1.0.63", "javascript", token=True) == ["no-connection-token"]
    assert codes("0.3.0", "1.0.63", "javascript") == []
    assert codes("0.3.0", "1.0.32", token=True) == ["new-approval-word"]


def test_between_two_clis_that_differ_nothing_is_certain() -> None:
    for sdk, cli in (("1.0.27", "1.0.85"), ("0.3.0", "1.0.50"), ("0.2.3", "1.0.40")):
        assert {skew.certainty for skew in problems(sdk, cli)} == {"between"}


def test_another_language_is_a_hint_alone() -> None:
    (found,) = problems("1.0.27", "1.0.63", "go")
    assert (found.certainty, found.sdk_fix, found.cli_fix) == ("other-language", "", "")
    assert not found.observed


@pytest.mark.parametrize("version", ["", "latest", None, "1.0"])
def test_what_is_no_version_gives_no_verdict(version: str | None) -> None:
    assert problems(version, "1.0.63") == problems("1.0.27", version) == []


@pytest.mark.parametrize("cli", [v for v in TESTED if v != "0.0.420"])
@pytest.mark.parametrize("language", ["python", "javascript"])
def test_for_every_tested_cli_an_sdk_is_known(cli: str, language: str) -> None:
    sdk = sdk_for(cli, language)
    assert sdk
    assert codes(sdk, cli, language, token=True) == []


def test_the_versions_to_move_to() -> None:
    assert [sdk_for(cli, "python") for cli in ("1.0.32", "1.0.63", "1.0.81", "1.0.92")] == [
        *("0.2.3", "1.0.24", "1.0.24", "1.0.27"),
    ]
    assert [cli_for(sdk, "python") for sdk in ("0.2.3", "0.3.0", "1.0.24", "1.0.27")] == [
        *("1.0.32", "1.0.44", "1.0.102", "1.0.102"),
    ]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.language}-{row.code}")
def test_every_run_lies_in_its_row(row: object) -> None:
    assert isinstance(row, type(ROWS[0]))
    assert row.runs
    for sdk, cli in row.runs:
        assert row.covers_sdk(sdk)
        assert row.covers_cli(cli) is True
        assert cli in TESTED


# The check


def judged(sdk: Sdk | str, version: str | None = "1.0.63", **facts: object) -> Deployment:
    found = python_sdk(sdk) if isinstance(sdk, str) else sdk
    clients = (msgspec.structs.replace(client(5000), sdk=found),)
    return deployment(server(version, executable=NATIVE), clients=clients, **facts)


def test_no_server_is_skipped() -> None:
    only(Skipped, CHECK, deployment())


def test_an_unknown_version_is_unknown() -> None:
    found = only(NotVisible, CHECK, judged("1.0.27", None))
    assert "could not be read" in found.reason


def test_a_client_that_will_wait_for_ever() -> None:
    found = only(Finding, CHECK, judged("1.0.27"))
    assert (found.status, found.cause.id) == ("fail", "never-returns")
    assert found.subject == "client pid 5000"
    assert found.title == "send_and_wait never returns: Python SDK 1.0.27 does not fit CLI 1.0.63"
    assert found.symptom == "TimeoutError: Timeout after 60.0s waiting for session.idle"
    assert "github-copilot-sdk 1.0.27 (installed)" in evidence(found)
    assert "server version: 1.0.63" in evidence(found)
    assert fix_shell(found, "move-sdk") == "python -m pip install 'github-copilot-sdk==1.0.24'"
    lines = fix_shell(found, "move-cli").splitlines()
    assert lines[0] == "npm install --prefix /srv/app @github/copilot@1.0.102"
    assert lines[-1].endswith("--server --port 3000")


@pytest.mark.parametrize(
    ("sdk", "version", "cause"),
    [
        ("0.3.0", "1.0.63", "ping-timestamp"),
        ("0.2.3", "1.0.44", "old-approval-word"),
        ("1.0.24", "1.0.32", "new-approval-word"),
        ("1.0.24", "0.0.400", "protocol-2"),
    ],
)
def test_other_pairs_that_fail(sdk: str, version: str, cause: str) -> None:
    found = only(Finding, CHECK, judged(sdk, version))
    assert (found.status, found.cause.id) == ("fail", cause)
    assert found.fixes
    assert version in found.cause.observed


def test_an_sdk_that_cannot_pass_the_token() -> None:
    shake = handshake("1.0.63", token="required")
    found = only(Finding, CHECK, judged("0.3.0", shake=shake))
    assert found.cause.id == "no-connection-token"
    assert found.follows == ("connection-token",)


def test_the_npm_sdk_is_judged_by_its_own_numbers() -> None:
    found = only(Finding, CHECK, judged(npm_sdk("0.2.2")))
    assert (found.status, found.cause.id) == ("fail", "old-approval-word")
    assert fix_shell(found, "move-sdk") == "npm install @github/copilot-sdk@1.0.14"
    only(Passed, CHECK, judged(npm_sdk("1.0.14")))


def test_a_version_between_warns() -> None:
    found = only(Finding, CHECK, judged("1.0.27", "1.0.85"))
    assert found.status == "warn"
    assert found.title == "Python SDK 1.0.27 may not fit CLI 1.0.85"


def test_a_language_that_was_not_run_warns_or_is_unknown() -> None:
    found = only(Finding, CHECK, judged(npm_sdk("1.0.27", "go")))
    assert found.status == "warn"
    assert "was not tried" in found.detail
    only(NotVisible, CHECK, judged(npm_sdk("1.0.14", "dotnet"), "1.0.102"))


def test_a_declared_version_is_not_certain() -> None:
    found = only(Finding, CHECK, judged(python_sdk("1.0.27", "declared")))
    assert found.status == "warn"


def test_a_client_that_fits_passes() -> None:
    found = only(Passed, CHECK, judged("1.0.24"))
    assert found.detail == "github-copilot-sdk 1.0.24 works with CLI 1.0.63"


def test_a_client_whose_sdk_is_hidden_is_unknown() -> None:
    found = outcomes(CHECK, deployment(server("1.0.102"), clients=(client(5000),)))
    assert isinstance(found[0], NotVisible)
    assert found[0].subject == "client pid 5000"


def test_the_project_here_warns() -> None:
    origin = Origin(kind="file", path="uv.lock", line=12)
    sdk = msgspec.structs.replace(python_sdk("1.0.27", "locked"), origin=origin)
    found = only(Finding, CHECK, deployment(server("1.0.63"), sdks=(sdk,)))
    assert (found.status, found.cause.id, found.origin) == ("warn", "never-returns", origin)
    assert "read from uv.lock:12" in evidence(found)
    only(Passed, CHECK, deployment(server("1.0.102"), sdks=(sdk,)))


def test_a_range_is_no_version() -> None:
    sdk = python_sdk(None, "declared", ">=1.0")
    found = outcomes(CHECK, deployment(server("1.0.102"), sdks=(sdk,)))
    assert [type(item) for item in found] == [NotVisible, Passed]


@pytest.mark.parametrize(
    ("version", "title"),
    [
        ("1.0.63", "Python SDK 1.0.27 does not work with CLI 1.0.63, and no client is in view"),
        ("1.0.85", "Python SDK 1.0.27 may not work with CLI 1.0.85, and no client is in view"),
    ],
)
def test_without_a_client_the_newest_sdk_is_warned_of(version: str, title: str) -> None:
    found = only(Finding, CHECK, deployment(server(version)))
    assert (found.status, found.cause.id, found.title) == ("warn", "not-known", title)
    assert "Python SDK up to 0.3.0" in evidence(found)
    assert "Python SDK from 1.0.25 on" in evidence(found)
    assert fix_shell(found, "pin-sdk") == "python -m pip install 'github-copilot-sdk==1.0.24'"


def test_without_a_client_and_with_a_new_server_the_old_sdks_are_named() -> None:
    found = only(Passed, CHECK, deployment(server("1.0.102")))
    assert "Python SDK up to 0.3.0" in found.detail
    assert "npm SDK up to 0.2.2" in found.detail
    assert NEWEST_SDK["python"] == "1.0.27"
