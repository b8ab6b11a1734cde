"""Whether the server is signed in, and why not."""

from __future__ import annotations

import pytest

from doctor.catalogue import Finding, NotVisible, Passed, Skipped
from doctor.checks.credentials import CHECK
from doctor.deployment import LogFile, Origin
from tests.checks.builders import (
    deployment,
    evidence,
    findings,
    fix_shell,
    handshake,
    hidden,
    only,
    outcomes,
    server,
)

GHO = "gho_A1b2C3d4E5f6A1b2C3d4E5f6A1b2C3d4E5f6"
GHP = "ghp_A1b2C3d4E5f6A1b2C3d4E5f6A1b2C3d4E5f6"
NAME = "COPILOT_GITHUB_TOKEN"
BASE = "--server --port 3000"
NAMED = f"{BASE} --auth-token-env MINE"
SIGNED_IN = {"signed_in": True, "models": ("gpt-5-mini",), "status_message": "mona"}


# Not signed in, and why


@pytest.mark.parametrize(
    ("args", "env", "cause", "follows"),
    [
        (BASE, {}, "no-source", ("token-precedence",)),
        (BASE, {NAME: ""}, "no-source", ("token-precedence",)),
        (f"{BASE} --no-auto-login", {NAME: GHO}, "by-flag", ("no-auto-login",)),
        (NAMED, {}, "named-variable-empty", ("no-auto-login",)),
        (NAMED, {"MINE": ""}, "named-variable-empty", ("no-auto-login",)),
        (f"{NAMED} --no-auto-login", {NAME: GHO}, "named-variable-empty", ("no-auto-login",)),
        (NAMED, {NAME: GHP}, "token-refused", ("token-type",)),
        (BASE, {NAME: GHP}, "token-refused", ("token-type",)),
        (BASE, {NAME: " " + GHO}, "token-refused", ("token-type",)),
        (BASE, {NAME: GHO}, "token-not-taken", ()),
        (NAMED, {"MINE": GHP}, "token-not-taken", ()),
        (BASE, {"COPILOT_OFFLINE": "true", NAME: GHO}, "offline", ()),
    ],
)
def test_a_server_that_is_not_signed_in_fails_with_the_reason(
    args: str, env: dict[str, str], cause: str, follows: tuple[str, ...]
) -> None:
    given = deployment(server(args=args, env=env), shake=handshake())
    found = only(Finding, CHECK, given)
    assert (found.cause.id, found.status, found.follows) == (cause, "fail", follows)
    assert 'auth.getStatus: signed in: no: "Not authenticated"' in evidence(found)
    assert len(found.title) <= 90
    assert "own provider" in found.detail
    assert "use_logged_in_user" in found.detail


@pytest.mark.parametrize(
    ("version", "words"),
    [
        ("1.0.2", "nothing ever arrives"),
        ("1.0.11", "Session was not created with authentication info or custom provider"),
        ("1.0.73", "Session was not created with authentication info or custom provider"),
        ("1.0.81", "No GitHub OAuth token or Copilot HMAC key provided"),
        ("1.0.76", " / Execution failed: InvalidArg"),
        ("1.0.200", "No GitHub OAuth token or Copilot HMAC key provided"),
    ],
)
def test_the_words_depend_on_the_version(version: str, words: str) -> None:
    given = deployment(server(version), shake=handshake(version))
    assert words in only(Finding, CHECK, given).symptom


def test_a_session_token_is_offered_where_the_version_takes_it() -> None:
    late = only(Finding, CHECK, deployment(server(), shake=handshake()))
    assert {fix.language for fix in late.fixes if fix.kind == "code"} == {
        *("python", "typescript", "go", "csharp", "java", "rust"),
    }
    early = only(Finding, CHECK, deployment(server("1.0.32"), shake=handshake("1.0.32")))
    assert not [fix for fix in early.fixes if fix.kind == "code"]
    assert "own GitHub token" not in early.detail


def test_the_evidence_names_every_source() -> None:
    given = deployment(
        server(args=NAMED, env={"GITHUB_HOST": "corp.ghe.com"}, has_stored_login=False),
        shake=handshake(),
    )
    text = evidence(only(Finding, CHECK, given))
    assert "launched with --auth-token-env MINE" in text
    assert "MINE of the server: not set" in text
    assert "stored login: no" in text
    assert "GitHub CLI (gh) on the path here: no" in text
    assert "GITHUB_HOST of the server is set and not read" in text


def test_the_fix_fills_the_variable_that_counts() -> None:
    found = only(Finding, CHECK, deployment(server(env={"GH_TOKEN": GHP}), shake=handshake()))
    assert "export GH_TOKEN" in fix_shell(found, "new-token")
    found = only(Finding, CHECK, deployment(server(args=NAMED), shake=handshake()))
    assert "export MINE" in fix_shell(found, "new-token")
    by_flag = server(args=f"{BASE} --no-auto-login")
    found = only(Finding, CHECK, deployment(by_flag, shake=handshake()))
    assert "--no-auto-login" not in fix_shell(found, "new-token")


def test_the_log_has_the_reason_for_a_token_that_was_not_taken() -> None:
    log = LogFile(path="/home/mona/.copilot/logs/process-1.log", mode="600", size_bytes=9,
                  others_can_read=False)  # fmt: skip
    given = deployment(server(env={NAME: GHO}, log_file=log), shake=handshake())
    assert log.path in only(Finding, CHECK, given).detail


def test_a_hidden_environment_still_fails_without_a_reason() -> None:
    given = deployment(server(env=hidden()), shake=handshake())
    found = only(Finding, CHECK, given)
    assert (found.cause.id, found.status) == ("not-signed-in", "fail")
    assert "could not be read: it belongs to another user" in evidence(found)


def test_offline_mode_goes_away_with_its_variable() -> None:
    env = {"COPILOT_OFFLINE": "true", "COPILOT_PROVIDER_BASE_URL": "http://127.0.0.1:1/v1"}
    found = findings(CHECK, deployment(server(env=env), shake=handshake()))
    assert set(found) == {"offline", "provider-variables"}
    assert fix_shell(found["offline"], "go-online").splitlines()[0] == "unset COPILOT_OFFLINE"
    assert "COPILOT_OFFLINE of the server: true" in evidence(found["offline"])


def test_offline_mode_has_no_effect_on_a_server_that_is_signed_in() -> None:
    shake = handshake("1.0.2", **SIGNED_IN)
    env = {"COPILOT_OFFLINE": "true", NAME: GHO}
    assert only(Passed, CHECK, deployment(server("1.0.2", env=env), shake=shake))


# Provider variables


@pytest.mark.parametrize("signed_in", [True, False])
def test_provider_variables_do_nothing_for_sessions(signed_in: bool) -> None:
    env = {"COPILOT_PROVIDER_BASE_URL": "http://127.0.0.1:1/v1", "COPILOT_PROVIDER_API_KEY": "k"}
    shake = handshake(**SIGNED_IN) if signed_in else handshake()
    found = findings(CHECK, deployment(server(env=env), shake=shake))
    assert found["provider-variables"].status == "warn"
    assert "COPILOT_PROVIDER_API_KEY of the server: set" in evidence(found["provider-variables"])
    assert "base_url" in found["provider-variables"].fixes[0].code
    assert ("no-source" in found) is not signed_in


# Signed in


def test_a_server_that_is_signed_in_passes() -> None:
    shake = handshake("1.0.63", login="mona", auth_type="env", **SIGNED_IN)
    found = only(Passed, CHECK, deployment(server("1.0.63", env={NAME: GHO}), shake=shake))
    assert found.detail == "signed in as mona (env)"


def test_its_word_may_come_from_a_cache() -> None:
    shake = handshake(login="mona", auth_type="env", **SIGNED_IN)
    found = only(Passed, CHECK, deployment(server(env={NAME: GHO}), shake=shake))
    assert "may come from a cache" in found.detail


def test_signed_in_without_models_is_no_sign_in() -> None:
    shake = handshake("1.0.63", signed_in=True, models_error="models.list: Failed to list models")
    given = deployment(server("1.0.63", env={NAME: GHO + "\n"}), shake=shake)
    found = only(Finding, CHECK, given)
    assert (found.cause.id, found.status) == ("signed-in-without-models", "fail")
    assert "Failed to list models" in evidence(found)
    assert found.follows == ("token-type",)


def test_via_gh_without_gh_means_another_variable() -> None:
    env = {NAME: GHP, "GH_TOKEN": GHO}
    shake = handshake(auth_type="gh-cli", **SIGNED_IN)
    found = only(Finding, CHECK, deployment(server(env=env), shake=shake))
    assert (found.cause.id, found.status) == ("via-gh-without-gh", "warn")
    assert found.follows == ("token-precedence", "token-type")
    assert fix_shell(found, "drop-first").splitlines()[0] == f"unset {NAME}"
    assert only(Passed, CHECK, deployment(server(env=env), shake=shake, has_gh=True))
    assert only(Passed, CHECK, deployment(server(), shake=shake))


def test_a_named_variable_without_a_value_is_told_although_something_else_signed_in() -> None:
    given = deployment(server(args=NAMED, env={NAME: GHO}), shake=handshake(**SIGNED_IN))
    found = only(Finding, CHECK, given)
    assert (found.cause.id, found.status) == ("named-variable-empty", "warn")


# Not asked


def test_a_server_that_wants_its_connection_token_says_nothing() -> None:
    shake = handshake(token="required", signed_in=None, status_message=None)
    found = only(NotVisible, CHECK, deployment(server(), shake=shake))
    assert "COPILOT_CONNECTION_TOKEN" in found.remedy


def test_a_server_that_was_not_asked_is_not_visible() -> None:
    assert "not asked" in only(NotVisible, CHECK, deployment(server())).reason
    silent = handshake(signed_in=None, status_message=None)
    assert "did not say" in only(NotVisible, CHECK, deployment(server(), shake=silent)).reason
    declared = server(origin=Origin(kind="file", path="compose.yaml"), process=None)
    assert only(NotVisible, CHECK, deployment(declared)).remedy == "start the server"


@pytest.mark.parametrize(("env", "status"), [({}, "fail"), ({NAME: GHO}, "warn")])
def test_a_named_variable_without_a_value_is_told_without_asking(
    env: dict[str, str], status: str
) -> None:
    found = only(Finding, CHECK, deployment(server(args=NAMED, env=env)))
    assert (found.cause.id, found.status) == ("named-variable-empty", status)


def test_without_a_server_it_is_skipped() -> None:
    assert only(Skipped, CHECK, deployment())


def test_no_value_is_shown() -> None:
    env = {NAME: GHO, "COPILOT_PROVIDER_API_KEY": "provider-secret"}
    shown = repr(outcomes(CHECK, deployment(server(env=env), shake=handshake())))
    assert GHO[4:] not in shown
    assert "provider-secret" not in shown
