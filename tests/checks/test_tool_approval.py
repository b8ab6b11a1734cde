"""What launch flags do for the tools of SDK clients: nothing."""

from __future__ import annotations

import ast

import msgspec
import pytest

from doctor.catalogue import Finding, Passed, Skipped
from doctor.checks.tool_approval import APPROVE_ALL, CHECK, DECIDE
from doctor.deployment import Sdk
from tests.checks.builders import client, deployment, evidence, only, outcomes, server

ALL = "--server --port 3000 --allow-all-tools --allow-all-paths"
NPM = Sdk(
    language="javascript", package="@github/copilot-sdk", version="0.2.2", exactness="installed"
)


def test_no_server_is_skipped() -> None:
    only(Skipped, CHECK, deployment())


def test_without_a_flag_the_documented_cause_is_given_and_corrected() -> None:
    found = only(Finding, CHECK, deployment(server("1.0.102")))
    assert (found.status, found.cause.id) == ("warn", "client-decides")
    assert found.cause.documented is not None
    assert "--allow-all-tools" in found.cause.documented_says
    assert "1.0.63" in found.cause.observed
    assert "1.0.102" in found.cause.observed
    assert "launch flags that allow: none" in evidence(found)
    assert "a client without a handler has its tools refused at once" in found.detail


@pytest.mark.parametrize(
    "flags",
    ["--allow-all-tools", "--allow-all", "--yolo", "--allow-tool=shell", "--allow-tool=shell(ls)"],
)
def test_with_a_flag_it_is_open_because_the_handler_cannot_be_seen(flags: str) -> None:
    found = only(Finding, CHECK, deployment(server("1.0.63", f"--server --port 3000 {flags}")))
    assert (found.status, found.cause.id) == ("unknown", "client-decides")
    assert found.title == "Whether tools run is decided by each client; the server's flags do not"
    assert flags in evidence(found)
    assert f"{flags} on the server changes nothing" in found.detail


def test_a_hidden_launch_command_is_no_pass() -> None:
    found = only(Finding, CHECK, deployment(server("1.0.63", None)))
    assert found.status == "unknown"
    assert "could not be read" in evidence(found)


def test_the_variable_is_named_as_useless() -> None:
    found = only(Finding, CHECK, deployment(server("1.0.63", env={"COPILOT_ALLOW_ALL": "true"})))
    assert found.status == "warn"
    assert "COPILOT_ALLOW_ALL is set on the server: no effect" in evidence(found)


@pytest.mark.parametrize(
    ("version", "symptom", "words"),
    [
        ("1.0.32", "TimeoutError: Timeout after 60.0s waiting for session.idle", "waits forever"),
        (
            "1.0.63",
            "Permission denied and could not request permission from user",
            "refused at once",
        ),
        (
            "1.0.102",
            (
                "Permission denied and could not request permission from user. Copilot needed the "
                "user's approval and no one could answer."
            ),
            "refused at once",
        ),
        ("1.0.40", "", "hang up to 1.0.32 and are refused from 1.0.44 on"),
        (None, "", "hang up to 1.0.32 and are refused from 1.0.44 on"),
    ],
)
def test_what_a_client_without_a_handler_sees_depends_on_the_version(
    version: str | None, symptom: str, words: str
) -> None:
    found = only(Finding, CHECK, deployment(server(version, ALL)))
    assert found.symptom == symptom
    assert words in found.detail


@pytest.mark.parametrize("flags", ["", " --allow-all"])
def test_oldest_versions_ask_nobody(flags: str) -> None:
    found = only(Finding, CHECK, deployment(server("0.0.400", f"--server --port 3000{flags}")))
    assert (found.status, found.cause.id) == ("warn", "no-gate")
    assert found.cause.observed == ("0.0.400", "0.0.420")


def test_the_fix_is_shown_in_every_language_of_the_sdk() -> None:
    found = only(Finding, CHECK, deployment(server()))
    assert {fix.language for fix in found.fixes} == {
        *("python", "typescript", "go", "csharp", "java", "rust"),
    }
    assert all(fix.kind == "code" and fix.code for fix in found.fixes)


def test_the_fix_is_shown_in_the_languages_of_the_clients() -> None:
    clients = (client(5000, "1.0.24"), client(5001, sdk=None))
    found = [
        item
        for item in outcomes(CHECK, deployment(server("1.0.63"), clients=clients))
        if isinstance(item, Finding)
    ]
    assert len(found) == 1
    assert [fix.id for fix in found[0].fixes] == ["handler-python", "decide-python"]
    assert "client pid 5000: github-copilot-sdk 1.0.24" in evidence(found[0])
    assert "client pid 5001: SDK not known" in evidence(found[0])


def test_old_python_clients_get_no_snippet_of_the_new_sdk() -> None:
    clients = (client(5000, "0.2.3"),)
    found = outcomes(CHECK, deployment(server("1.0.32"), clients=clients))[0]
    assert isinstance(found, Finding)
    assert [fix.id for fix in found.fixes] == ["handler-python"]


@pytest.mark.parametrize("text", [APPROVE_ALL["python"], DECIDE])
def test_python_snippets_are_python(text: str) -> None:
    compile(text, "snippet", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


@pytest.mark.parametrize("text", [APPROVE_ALL["python"], DECIDE])
def test_python_snippets_import_what_the_sdk_has(text: str) -> None:
    imports = [node for node in ast.parse(text).body if isinstance(node, ast.ImportFrom)]
    assert imports
    for node in imports:
        exec(compile(ast.Module([node], []), "snippet", "exec"))  # noqa: S102 - our own text


@pytest.mark.parametrize(
    ("sdk", "version", "words"),
    [
        ("0.2.3", "1.0.44", "unexpected user permission response"),
        ("0.2.3", "1.0.63", "unexpected user permission response"),
        (
            "0.2.3",
            "1.0.64",
            "permission orchestrator internal error: unexpected user permission response: approved",
        ),
        (
            "0.2.3",
            "1.0.102",
            (
                "native tool permission flow failed: GenericFailure, permission orchestrator "
                "internal error: unexpected user permission response: approved"
            ),
        ),
        ("0.3.0", "1.0.2", "Unhandled permission result kind: [object Object]"),
        ("1.0.24", "1.0.32", "Unhandled permission result kind: [object Object]"),
    ],
)
def test_a_client_with_the_words_of_another_version(sdk: str, version: str, words: str) -> None:
    clients = (client(5000, sdk),)
    _, found = outcomes(CHECK, deployment(server(version), clients=clients))
    assert isinstance(found, Finding)
    assert (found.status, found.cause.id) == ("fail", "wrong-word")
    assert (found.subject, found.symptom) == ("client pid 5000", words)
    assert found.follows == ("sdk-compatibility",)
    assert f"github-copilot-sdk {sdk} (installed)" in evidence(found)


def test_the_npm_sdk_has_words_too() -> None:
    clients = (msgspec.structs.replace(client(5000), sdk=NPM),)
    _, found = outcomes(CHECK, deployment(server("1.0.63"), clients=clients))
    assert isinstance(found, Finding)
    assert found.cause.id == "wrong-word"
    assert "@github/copilot-sdk 1.0.14" in found.fixes[0].summary


def test_a_version_between_is_not_called_a_failure() -> None:
    clients = (client(5000, "0.2.3"),)
    _, found = outcomes(CHECK, deployment(server("1.0.40"), clients=clients))
    assert isinstance(found, Finding)
    assert (found.status, found.cause.id) == ("unknown", "wrong-word")


def test_a_client_with_the_right_words_passes() -> None:
    clients = (client(5000, "1.0.27"),)
    _, found = outcomes(CHECK, deployment(server("1.0.102"), clients=clients))
    assert isinstance(found, Passed)


def test_words_are_not_judged_where_the_version_is_unknown() -> None:
    clients = (client(5000, "1.0.27"),)
    assert len(outcomes(CHECK, deployment(server(None), clients=clients))) == 1
