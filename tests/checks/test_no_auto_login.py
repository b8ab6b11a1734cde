"""--no-auto-login: what it takes away, and what is left."""

from __future__ import annotations

import pytest

from doctor.catalogue import Finding, NotVisible, Passed, Skipped
from doctor.checks.no_auto_login import CHECK
from tests.checks.builders import (
    deployment,
    evidence,
    fix_shell,
    handshake,
    hidden,
    only,
    server,
)

TOKEN = "gho_A1b2C3d4E5f6A1b2C3d4E5f6A1b2C3d4E5f6"
ARGS = "--server --port 3000 --no-auto-login"
NAMED = f"{ARGS} --auth-token-env MINE"


def test_without_the_flag_it_passes() -> None:
    assert only(Passed, CHECK, deployment(server(), shake=handshake()))
    assert only(Skipped, CHECK, deployment())


@pytest.mark.parametrize("name", ["COPILOT_GITHUB_TOKEN", "GH_TOKEN", "GITHUB_TOKEN"])
def test_the_flag_keeps_the_variables_unread(name: str) -> None:
    given = deployment(server(args=ARGS, env={name: TOKEN}), shake=handshake())
    found = only(Finding, CHECK, given)
    assert (found.cause.id, found.status) == ("disables-variables", "fail")
    assert found.title == f"{name} is set, but --no-auto-login keeps it unread"
    text = evidence(found)
    assert "launched with --no-auto-login" in text
    assert f"{name} of the server: gho, 40 characters, not read" in text
    assert '"Not authenticated"' in text
    assert fix_shell(found, "drop-flag").splitlines() == [
        "kill 4123 && sleep 2",
        "copilot --server --port 3000",
    ]
    assert fix_shell(found, "name-variable").splitlines()[-1] == (
        f"copilot --server --port 3000 --no-auto-login --auth-token-env {name}"
    )


def test_a_token_that_would_be_refused_anyway_is_replaced() -> None:
    env = {"GH_TOKEN": "ghp_A1b2C3d4E5f6A1b2C3d4E5f6A1b2C3d4E5f6"}
    found = only(Finding, CHECK, deployment(server(args=ARGS, env=env)))
    assert [fix.id for fix in found.fixes] == ["new-token"]
    assert "export GH_TOKEN" in fix_shell(found, "new-token")
    assert "--no-auto-login" not in fix_shell(found, "new-token")


def test_the_documented_cause_and_the_observed_one_stand_side_by_side() -> None:
    cause = CHECK.cause("nothing-left")
    assert "1.0.81" in cause.documented_says
    assert {"1.0.63", "1.0.102"} <= set(cause.observed)
    assert "COPILOT_GITHUB_TOKEN" in CHECK.cause("disables-variables").documented_says


@pytest.mark.parametrize(
    ("version", "words"),
    [
        ("0.0.400", "no answer at all"),
        ("1.0.63", "Session was not created with authentication info or custom provider"),
        ("1.0.102", "No GitHub OAuth token or Copilot HMAC key provided"),
        (None, "No GitHub OAuth token or Copilot HMAC key provided"),
    ],
)
def test_the_words_depend_on_the_version(version: str | None, words: str) -> None:
    found = only(Finding, CHECK, deployment(server(version, args=ARGS)))
    assert (found.cause.id, found.status) == ("nothing-left", "fail")
    assert words in found.symptom


def test_a_session_can_bring_its_own_sign_in_on_later_versions() -> None:
    late = only(Finding, CHECK, deployment(server("1.0.63", args=ARGS)))
    assert "own GitHub token (from 1.0.63 on)" in late.detail
    early = only(Finding, CHECK, deployment(server("1.0.32", args=ARGS)))
    assert "does not help" in early.detail


def test_a_stored_login_is_enough_once_the_flag_is_gone() -> None:
    found = only(Finding, CHECK, deployment(server(args=ARGS, has_stored_login=True)))
    assert found.fixes[0].id == "drop-flag-alone"
    found = only(Finding, CHECK, deployment(server(args=ARGS)))
    assert [fix.id for fix in found.fixes] == ["new-token", "drop-flag-alone"]
    assert "--no-auto-login" not in fix_shell(found, "new-token")


def test_the_named_variable_signs_it_in() -> None:
    assert only(Passed, CHECK, deployment(server(args=NAMED, env={"MINE": TOKEN})))


@pytest.mark.parametrize(("env", "state"), [({}, "not set"), ({"MINE": ""}, "empty")])
def test_a_named_variable_without_a_value_leaves_nothing(env: dict[str, str], state: str) -> None:
    given = deployment(server(args=NAMED, env={**env, "GH_TOKEN": TOKEN}), shake=handshake())
    found = only(Finding, CHECK, given)
    assert (found.cause.id, found.status) == ("names-nothing", "fail")
    assert f"MINE of the server: {state}" in evidence(found)
    assert "export MINE" in fix_shell(found, "new-token")


def test_a_server_that_is_signed_in_all_the_same_is_a_warning() -> None:
    shake = handshake(signed_in=True, auth_type="token", models=("m",))
    found = only(Finding, CHECK, deployment(server(args=ARGS), shake=shake))
    assert found.status == "warn"


def test_what_cannot_be_read_is_not_visible() -> None:
    assert only(NotVisible, CHECK, deployment(server(args=None))).remedy
    found = only(NotVisible, CHECK, deployment(server(args=NAMED, env=hidden())))
    assert found.remedy == "run as root"
    signed_in = handshake(signed_in=True, models=("m",))
    assert only(Passed, CHECK, deployment(server(args=NAMED, env=hidden()), shake=signed_in))


def test_the_flag_alone_is_told_also_where_the_environment_is_hidden() -> None:
    found = only(Finding, CHECK, deployment(server(args=ARGS, env=hidden()), shake=handshake()))
    assert found.cause.id == "nothing-left"
    assert "could not be read" in evidence(found)
