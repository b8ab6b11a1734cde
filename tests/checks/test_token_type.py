"""The kind of the token that the CLI reads, and what it does with it."""

from __future__ import annotations

import pytest

from doctor.catalogue import Finding, NotVisible, Passed, Skipped
from doctor.checks.token_type import CHECK
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

REST = "A1b2C3d4E5f6A1b2C3d4E5f6A1b2C3d4E5f6"
GHO, GHP, GHS, GHR = (f"{kind}_{REST}" for kind in ("gho", "ghp", "ghs", "ghr"))
NAME = "COPILOT_GITHUB_TOKEN"
MINE = "--server --port 3000 --auth-token-env MINE"


@pytest.mark.parametrize("token", [GHO, f"ghu_{REST}", f"github_pat_{REST}", GHO + " "])
def test_a_token_of_a_good_kind_passes(token: str) -> None:
    assert only(Passed, CHECK, deployment(server(env={NAME: token}), shell={NAME: token}))


@pytest.mark.parametrize(
    ("value", "cause", "title", "log"),
    [
        (GHP, "classic", "a classic token (ghp_), which the CLI refuses", "Classic PATs"),
        (GHR, "refresh-token", "a refresh token (ghr_), which no sign-in takes", "Unsupported"),
        (
            "ghp_xxxxxxxxxxxxxxxxxxxx",
            "placeholder",
            "a placeholder, not a token",
            "No GitHub OAuth",
        ),
        ("deadbeef" * 5, "unrecognised", "no token that the CLI knows", "Unsupported token type"),
        ("   ", "unrecognised", "no token that the CLI knows", "Unsupported token type"),
        (f'"{GHO}"', "quotes", "a value with quotes around it", "Unsupported token type"),
        (f" {GHO}", "white-space", "a token with white space in front", "Unsupported token type"),
        (f"{GHO}\n", "line-end", "a token with a line end in it", ""),
    ],
)
def test_a_token_that_cannot_work_fails(value: str, cause: str, title: str, log: str) -> None:
    given = deployment(server(env={NAME: value}), shell={NAME: value}, shake=handshake())
    found = only(Finding, CHECK, given)
    assert (found.cause.id, found.status) == (cause, "fail")
    assert found.title == f"{NAME} holds {title}"
    assert log in found.symptom
    assert f"{len(value)} characters" in evidence(found)
    assert 'auth.getStatus: "Not authenticated"' in evidence(found)
    assert REST not in repr(found)


@pytest.mark.parametrize("value", [f'"{GHO}"', f" {GHO}", f"{GHO}\n"])
def test_what_surrounds_a_token_can_be_taken_away(value: str) -> None:
    found = only(Finding, CHECK, deployment(server(env={NAME: value}), shell={NAME: value}))
    assert fix_shell(found, "clean").splitlines() == [
        f'export {NAME}="$(printf %s "${NAME}" | tr -d \'[:space:]"\\047\')"',
        "kill 4123 && sleep 2",
        "copilot --server --port 3000",
    ]


def test_the_page_recommends_what_the_cli_refuses() -> None:
    cause = CHECK.cause("classic")
    assert cause.documented is not None
    assert "ghp_" in cause.documented_says
    assert {"1.0.63", "1.0.102"} <= set(cause.observed)


def test_a_new_token_is_asked_for_without_being_shown() -> None:
    found = only(Finding, CHECK, deployment(server(env={NAME: GHP}), shell={NAME: GHP}))
    lines = fix_shell(found, "new-token").splitlines()
    assert lines == [
        "{",
        f"printf '{NAME}: '; stty -echo; read -r {NAME}; stty echo; export {NAME}",
        "kill 4123 && sleep 2",
        "copilot --server --port 3000",
        "}",
    ]
    assert "personal-access-tokens" in found.fixes[0].summary


def test_the_token_of_github_cli_is_offered_where_it_is() -> None:
    given = deployment(server(env={NAME: GHP}), shell={NAME: GHP}, has_gh=True)
    lines = fix_shell(only(Finding, CHECK, given), "token-from-gh").splitlines()
    assert lines[0] == f'export {NAME}="$(gh auth token)"'


def test_a_good_token_behind_it_is_offered() -> None:
    env = {NAME: GHP, "GH_TOKEN": GHO}
    found = only(Finding, CHECK, deployment(server(env=env), shell=env))
    assert fix_shell(found, "use-next").splitlines()[0] == f"unset {NAME}"


def test_a_server_that_signed_in_otherwise_is_told_so() -> None:
    shake = handshake(signed_in=True, auth_type="user", status_message="mona", models=("m",))
    found = only(
        Finding, CHECK, deployment(server(env={NAME: GHP}), shell={NAME: GHP}, shake=shake)
    )
    assert found.status == "warn"
    assert "something else" in found.detail


def test_early_versions_say_nothing_to_the_client() -> None:
    found = only(Finding, CHECK, deployment(server("1.0.2", env={NAME: GHP}), shell={NAME: GHP}))
    assert "no answer at all" in found.symptom


# Installation tokens


def test_an_installation_token_is_used_unchecked() -> None:
    shake = handshake(signed_in=True, auth_type="env", models=("m",))
    env = {"GITHUB_TOKEN": GHS}
    found = only(Finding, CHECK, deployment(server(env=env), shell=env, shake=shake))
    assert (found.cause.id, found.status) == ("server-to-server", "warn")
    assert "copilot_requests" in found.fixes[0].summary
    assert found.detail == ""


def test_an_installation_token_is_ignored_by_early_versions() -> None:
    env = {"GITHUB_TOKEN": GHS}
    found = only(Finding, CHECK, deployment(server("1.0.2", env=env), shell=env))
    assert (found.cause.id, found.status) == ("server-to-server", "fail")


# A line end, by version


@pytest.mark.parametrize(
    ("version", "status", "words"),
    [
        ("1.0.32", "warn", ""),
        ("1.0.63", "fail", "Failed to list models"),
        ("1.0.64", "fail", "invalid HTTP header value for Authorization"),
        ("1.0.102", "fail", "invalid HTTP header value for Authorization"),
    ],
)
def test_a_line_end_does_harm_by_version(version: str, status: str, words: str) -> None:
    env = {NAME: f"{GHO}\n"}
    found = only(Finding, CHECK, deployment(server(version, env=env), shell=env))
    assert (found.cause.id, found.status) == ("line-end", status)
    assert words in found.symptom


def test_a_server_that_calls_itself_signed_in_with_a_line_end_fails_all_the_same() -> None:
    env = {NAME: f"{GHO}\n"}
    shake = handshake("1.0.63", signed_in=True, models_error="Failed to list models")
    found = only(Finding, CHECK, deployment(server("1.0.63", env=env), shell=env, shake=shake))
    assert found.status == "fail"
    assert "Failed to list models" in evidence(found)


# Through --auth-token-env


@pytest.mark.parametrize(
    ("value", "cause"),
    [
        (GHP, "classic-by-flag"),
        (GHS, "server-to-server"),
        (GHR, "refresh-token"),
        ("garbage", "unrecognised-by-flag"),
        (f'"{GHO}"', "quotes"),
        (GHO + "é", "not-ascii"),
    ],
)
def test_a_named_token_goes_to_github_as_it_is(value: str, cause: str) -> None:
    given = deployment(server(args=MINE, env={"MINE": value}), shake=handshake())
    found = only(Finding, CHECK, given)
    assert (found.cause.id, found.status) == (cause, "warn")
    assert found.title.startswith("MINE holds")
    assert "named by --auth-token-env" in evidence(found)


def test_a_named_token_with_a_line_end_fails() -> None:
    given = deployment(server(args=MINE, env={"MINE": f"{GHO}\n"}))
    found = only(Finding, CHECK, given)
    assert (found.cause.id, found.status) == ("line-end", "fail")
    assert "export MINE=" in fix_shell(found, "clean")


# Nothing to judge, nothing seen


def test_no_token_and_no_auto_login_are_skipped() -> None:
    assert "no token variable" in only(Skipped, CHECK, deployment(server())).reason
    args = "--server --port 3000 --no-auto-login"
    given = deployment(server(args=args, env={NAME: GHP}), shell={NAME: GHP})
    assert only(Skipped, CHECK, given).blocked_by == "no-auto-login"
    assert only(Skipped, CHECK, deployment())


def test_a_hidden_environment_is_not_visible() -> None:
    found = only(NotVisible, CHECK, deployment(server(env=hidden())))
    assert found.remedy == "run as root"


# This shell


def test_the_token_of_this_shell_is_judged_for_a_server_to_come() -> None:
    found = only(Finding, CHECK, deployment(shell={NAME: GHP}))
    assert (found.subject, found.status, found.cause.id) == ("this shell", "warn", "classic")
    quoted = only(Finding, CHECK, deployment(shell={"GH_TOKEN": f"'{GHO}'"}))
    assert fix_shell(quoted, "clean-here").startswith("export GH_TOKEN=")
    assert only(Passed, CHECK, deployment(shell={"GITHUB_TOKEN": GHO})).subject == "this shell"


def test_the_token_of_this_shell_is_not_told_twice() -> None:
    given = deployment(server(env={NAME: GHP}), shell={NAME: GHP})
    assert len(outcomes(CHECK, given)) == 1
    assert set(findings(CHECK, given)) == {"classic"}
