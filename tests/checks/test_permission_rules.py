"""Rules that match less than they read, and their worth on a server."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

import pytest

from doctor.catalogue import Finding, NotVisible, Passed, Skipped
from doctor.checks.permission_rules import CHECK, REFUSE
from tests.checks.builders import deployment, evidence, findings, fix_shell, only, server

if TYPE_CHECKING:
    from doctor.deployment import Deployment

SERVER = ("--server", "--port", "3000")


def started(*rules: str, mode: tuple[str, ...] = SERVER, version: str = "1.0.102") -> Deployment:
    return deployment(server(version, [*mode, *rules]))


def words_after(deployment: Deployment, cause: str, fix: str) -> str:
    return fix_shell(findings(CHECK, deployment)[cause], fix).splitlines()[-1]


def test_no_server_is_skipped() -> None:
    only(Skipped, CHECK, deployment())


def test_a_hidden_launch_command_is_unknown() -> None:
    only(NotVisible, CHECK, deployment(server("1.0.63", None)))


@pytest.mark.parametrize("rules", [(), ("--allow-all-tools",), ("--allow-tool=shell(git:*)",)])
def test_nothing_to_say(rules: tuple[str, ...]) -> None:
    only(Passed, CHECK, started(*rules))


@pytest.mark.parametrize(
    "rule",
    ["--deny-tool=shell", "--available-tools=view", "--excluded-tools=bash"],
)
@pytest.mark.parametrize("version", ["1.0.32", "1.0.63", "1.0.102"])
def test_no_rule_is_a_safety_net_on_a_server(rule: str, version: str) -> None:
    found = findings(CHECK, started("--allow-all-tools", rule, version=version))["no-safety-net"]
    assert found.status == "warn"
    assert version in found.cause.observed
    assert found.cause.documented_says
    assert rule.replace("=", " ") in evidence(found) or rule in evidence(found)
    assert {fix.id for fix in found.fixes} == {"refuse-in-client", "own-user"}


def test_in_other_modes_rules_do_count() -> None:
    only(Passed, CHECK, started("--deny-tool=shell", mode=("--acp", "--port", "3000")))


def test_the_snippet_is_python_and_imports_what_the_sdk_has() -> None:
    compile(REFUSE, "snippet", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    for node in ast.parse(REFUSE).body:
        if isinstance(node, ast.ImportFrom):
            exec(compile(ast.Module([node], []), "snippet", "exec"))  # noqa: S102 - our own text


def test_deny_wins() -> None:
    case = started("--allow-tool=shell(git push)", "--deny-tool=shell(git:*)")
    found = findings(CHECK, case)["deny-wins"]
    assert found.status == "warn"
    assert "--deny-tool=shell(git:*) wins over it" in evidence(found)
    line = words_after(case, "deny-wins", "rewrite-deny-wins")
    assert "--allow-tool" not in line
    assert "--deny-tool" in line


@pytest.mark.parametrize(
    ("rule", "better"),
    [
        ("shell(git)", "shell(git:*)"),
        ("bash(git:*)", "shell(git:*)"),
        ("Shell(git:*)", "shell(git:*)"),
        ("shell(git *)", "shell(git:*)"),
        ("shell(git push origin main)", "shell(git push)"),
    ],
)
def test_a_rule_that_matches_too_little(rule: str, better: str) -> None:
    case = started(f"--allow-tool={rule}", "--allow-tool=write")
    found = findings(CHECK, case)["matches-too-little"]
    assert f"--allow-tool={rule}: " in evidence(found)
    assert f"better: {better}" in evidence(found)
    assert "still counts for no SDK session" in found.detail
    line = words_after(case, "matches-too-little", "rewrite-matches-too-little")
    assert f"'--allow-tool={better}'" in line
    assert "--allow-tool=write" in line


def test_a_malformed_rule() -> None:
    case = started("--allow-tool=shell (git:*)")
    found = findings(CHECK, case)["malformed"]
    assert "the CLI rejects it" in evidence(found)
    assert found.symptom == ""
    line = words_after(case, "malformed", "rewrite-malformed")
    assert "'--allow-tool=shell(git:*)'" in line


def test_a_malformed_rule_ends_other_modes() -> None:
    case = started("--allow-tool=shell (git:*)", mode=("--acp", "--port", "3000"))
    found = findings(CHECK, case)["malformed"]
    assert found.symptom.startswith("Invalid --allow-tool value.")


def test_a_url_without_a_protocol() -> None:
    case = started("--allow-url=github.com", "--allow-url=https://example.org")
    found = findings(CHECK, case)["url-protocol"]
    assert "https:// alone" in evidence(found)
    line = words_after(case, "url-protocol", "rewrite-url-protocol")
    assert "--allow-url=https://github.com" in line
    assert "--allow-url=https://example.org" in line


def test_a_denied_url_is_left_to_the_reader() -> None:
    found = findings(CHECK, started("--deny-url=github.com"))["url-protocol"]
    assert [fix.kind for fix in found.fixes] == ["advice"]


def test_a_deny_rule_that_can_be_walked_around() -> None:
    case = started("--allow-all-tools", "--deny-tool=shell(git push)")
    found = findings(CHECK, case)["deny-bypassed"]
    assert "bash -c" in evidence(found)
    line = words_after(case, "deny-bypassed", "rewrite-deny-bypassed")
    assert line.endswith("--deny-tool=shell")


def test_a_kind_where_a_tool_belongs() -> None:
    case = started("--available-tools=shell", "--allow-all-tools")
    found = findings(CHECK, case)["visible-not-approved"]
    assert "better: bash" in evidence(found)
    line = words_after(case, "visible-not-approved", "rewrite-visible-not-approved")
    assert "--available-tools=bash" in line


def test_a_rule_that_another_one_covers() -> None:
    case = started("--allow-tool=shell", "--allow-tool=shell(git:*)")
    found = findings(CHECK, case)["redundant"]
    assert "shell allows it already" in evidence(found)
    assert words_after(case, "redundant", "rewrite-redundant").endswith("--allow-tool=shell")


@pytest.mark.parametrize(
    "rules",
    [
        ("--allow-tool=shell(git)", "--allow-tool=write"),
        ("--allow-tool=shell (git:*)",),
        ("--allow-url=github.com",),
        ("--allow-tool=shell(git push)", "--deny-tool=shell(git:*)"),
        ("--allow-tool=shell", "--allow-tool=shell(git:*)"),
        ("--allow-all-tools", "--deny-tool=shell(git push)"),
        ("--allow-all-tools", "--available-tools=shell"),
    ],
)
def test_the_rewritten_command_has_no_such_finding(rules: tuple[str, ...]) -> None:
    import shlex

    for cause, found in findings(CHECK, started(*rules)).items():
        if cause == "no-safety-net":
            continue
        words = shlex.split(fix_shell(found, f"rewrite-{cause}").splitlines()[-1])[1:]
        assert cause not in findings(CHECK, deployment(server("1.0.102", words)))


def test_no_finding_is_a_failure_on_a_server() -> None:
    case = started("--allow-tool=shell(git)", "--deny-tool=write")
    assert {item.status for item in findings(CHECK, case).values()} == {"warn"}
    assert all(isinstance(item, Finding) for item in findings(CHECK, case).values())
