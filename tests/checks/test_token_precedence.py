"""Which token counts, in the server and in this shell."""

from __future__ import annotations

import pytest

from doctor.catalogue import Finding, NotVisible, Passed, Skipped
from doctor.checks.token_precedence import CHECK
from doctor.deployment import Environment, Host, Origin
from tests.checks.builders import (
    deployment,
    evidence,
    findings,
    fix_shell,
    handshake,
    hidden,
    only,
    outcomes,
    process,
    server,
)

A = "gho_A1b2C3d4E5f6A1b2C3d4E5f6A1b2C3d4E5f6"
B = "gho_Z9y8X7w6V5u4Z9y8X7w6V5u4Z9y8X7w6V5u4"
CLASSIC = "ghp_A1b2C3d4E5f6A1b2C3d4E5f6A1b2C3d4E5f6"
COPILOT, GH, GITHUB = "COPILOT_GITHUB_TOKEN", "GH_TOKEN", "GITHUB_TOKEN"
RESTART = ["kill 4123 && sleep 2", "copilot --server --port 3000"]


def judged(env: dict[str, str] | Environment, *, shell: object = None, **facts: object) -> Finding:
    """The one finding of a server with this environment, the shell having the same."""
    here = env if shell is None else shell
    version = facts.pop("version", "1.0.102")
    one = server(version, env=env)  # type: ignore[arg-type]
    return only(Finding, CHECK, deployment(one, shell=here, **facts))  # type: ignore[arg-type]


# One token, or equal ones


@pytest.mark.parametrize("env", [{COPILOT: A}, {GH: A}, {GITHUB: A}, {COPILOT: "", GH: A}])
def test_one_token_passes(env: dict[str, str]) -> None:
    found = only(Passed, CHECK, deployment(server(env=env), shell=env))
    assert found.detail == f"{list(env)[-1]} counts"


def test_equal_tokens_pass() -> None:
    env = {COPILOT: A, GH: A, GITHUB: A}
    found = only(Passed, CHECK, deployment(server(env=env), shell=env))
    assert found.detail == "COPILOT_GITHUB_TOKEN counts (the others are equal to it)"


def test_no_token_leaves_it_to_the_stored_login() -> None:
    found = only(Passed, CHECK, deployment(server(has_stored_login=True)))
    assert "stored login is there" in found.detail
    assert "stored login or GitHub CLI" in only(Passed, CHECK, deployment(server())).detail


# Several


def test_a_shadowed_token_that_differs_is_told() -> None:
    found = judged({COPILOT: A, GH: B, GITHUB: B})
    assert (found.cause.id, found.status) == ("shadowed", "warn")
    assert found.title == "COPILOT_GITHUB_TOKEN counts, and GH_TOKEN holds another token"
    text = evidence(found)
    assert "COPILOT_GITHUB_TOKEN of the server: gho, 40 characters, token A" in text
    assert "GH_TOKEN of the server: gho, 40 characters, token B" in text
    assert "GITHUB_TOKEN of the server: gho, 40 characters, token B" in text
    assert fix_shell(found, "drop-shadowed").splitlines() == [
        "unset GH_TOKEN GITHUB_TOKEN",
        *RESTART,
    ]
    assert fix_shell(found, "prefer-other").splitlines() == [
        "unset COPILOT_GITHUB_TOKEN GITHUB_TOKEN",
        *RESTART,
    ]


def test_what_the_server_says_is_evidence() -> None:
    shake = handshake(signed_in=True, status_message="mona (via GH_TOKEN)", models=("m",))
    found = judged({GH: A, GITHUB: B}, shake=shake)
    assert 'auth.getStatus: "mona (via GH_TOKEN)"' in evidence(found)


@pytest.mark.parametrize(
    ("version", "env", "status", "title"),
    [
        ("1.0.63", {COPILOT: CLASSIC, GH: A}, "fail", "keeps GH_TOKEN from being read"),
        ("1.0.81", {COPILOT: "garbage", GITHUB: A}, "fail", "keeps GITHUB_TOKEN from being read"),
        ("1.0.102", {COPILOT: CLASSIC, GH: A}, "warn", "GH_TOKEN is taken in its place"),
        ("1.0.102", {COPILOT: CLASSIC, GITHUB: A}, "warn", "GITHUB_TOKEN is taken in its place"),
        ("1.0.102", {GH: CLASSIC, GITHUB: A}, "fail", "keeps GITHUB_TOKEN from being read"),
        ("1.0.102", {COPILOT: CLASSIC, GH: CLASSIC, GITHUB: A}, "fail", "keeps GITHUB_TOKEN"),
    ],
)
def test_a_refused_token_blocks_by_version(
    version: str, env: dict[str, str], status: str, title: str
) -> None:
    found = judged(env, version=version)
    assert (found.cause.id, found.status) == ("blocked", status)
    assert title in found.title
    assert found.follows == ("token-type",)
    first = fix_shell(found, "drop-refused").splitlines()[0]
    assert first == "unset " + " ".join(list(env)[:-1])


def test_a_blocked_token_is_told_by_what_the_server_says() -> None:
    shake = handshake("1.0.63", signed_in=True, auth_type="user", models=("m",))
    found = judged({COPILOT: CLASSIC, GH: A}, version="1.0.63", shake=shake)
    assert found.status == "warn"
    shake = handshake("1.0.63")
    found = judged({COPILOT: CLASSIC, GH: A}, version="1.0.63", shake=shake)
    assert "Session was not created with authentication info" in found.symptom


# None that is read


def test_a_look_alike_is_never_read() -> None:
    env = {"GITHUB_COPILOT_TOKEN": A}
    found = judged(env, shake=handshake())
    assert (found.cause.id, found.status) == ("look-alike", "fail")
    assert found.title == "GITHUB_COPILOT_TOKEN is set, which the CLI does not read"
    assert "GITHUB_COPILOT_TOKEN of the server (not read): gho, 40 characters" in evidence(found)
    assert fix_shell(found, "rename").splitlines() == [
        f'export {COPILOT}="$GITHUB_COPILOT_TOKEN"',
        *RESTART,
    ]
    assert fix_shell(found, "name-it").splitlines()[-1] == (
        "copilot --server --port 3000 --auth-token-env GITHUB_COPILOT_TOKEN"
    )


def test_a_look_alike_is_a_warning_where_the_server_is_signed_in_otherwise() -> None:
    shake = handshake(signed_in=True, auth_type="user", models=("m",))
    assert judged({"GITHUB_PAT": A}, shake=shake).status == "warn"
    assert judged({"GITHUB_PAT": A}).status == "warn"


def test_a_look_alike_beside_a_token_is_no_finding() -> None:
    env = {COPILOT: A, "GITHUB_COPILOT_TOKEN": B}
    assert only(Passed, CHECK, deployment(server(env=env), shell=env))


def test_an_empty_token_alone_is_told() -> None:
    found = judged({GITHUB: ""}, shake=handshake())
    assert (found.cause.id, found.status) == ("empty", "fail")
    assert "empty, counts as not set" in evidence(found)
    assert f"export {GITHUB}" in fix_shell(found, "new-token")


def test_a_host_variable_that_is_not_read_is_evidence() -> None:
    found = judged({COPILOT: A, GH: B, "GITHUB_HOST": "corp.ghe.com"})
    assert "GITHUB_HOST of the server is set and not read" in evidence(found)
    found = judged({COPILOT: A, GH: B, "GH_HOST": "corp.ghe.com"})
    assert "GH_HOST of the server: corp.ghe.com" in evidence(found)


# The server and this shell


def test_a_token_that_was_exported_afterwards_does_not_reach_the_server() -> None:
    given = deployment(server(), shell={COPILOT: A}, shake=handshake("1.0.63"))
    found = findings(CHECK, given)["exported-later"]
    assert found.status == "fail"
    assert "the server: no token variable is set" in evidence(found)
    assert "COPILOT_GITHUB_TOKEN of this shell: gho, 40 characters" in evidence(found)
    assert fix_shell(found, "restart-here").splitlines() == RESTART


def test_another_token_in_this_shell_is_told() -> None:
    given = deployment(server(env={COPILOT: A}), shell={GH: B})
    found = findings(CHECK, given)["other-than-here"]
    assert found.status == "warn"
    assert "took COPILOT_GITHUB_TOKEN" in found.title


def test_the_server_of_another_user_is_not_compared() -> None:
    theirs = server(env={COPILOT: A}, process=process(user="service"))
    assert findings(CHECK, deployment(theirs, shell={COPILOT: B})) == {}
    none = server(process=process(user="service"))
    assert findings(CHECK, deployment(none, shell={COPILOT: B})) == {}


def test_a_declared_server_is_not_compared() -> None:
    declared = server(
        env={COPILOT: A}, origin=Origin(kind="file", path="compose.yaml"), process=None
    )
    assert findings(CHECK, deployment(declared, shell={COPILOT: B})) == {}


# What leaves the variables out


def test_a_named_variable_comes_before_all() -> None:
    env = {"MINE": A, COPILOT: B, GH: CLASSIC}
    one = server(args="--server --port 3000 --auth-token-env MINE", env=env)
    assert "comes before all" in next(
        item.detail for item in outcomes(CHECK, deployment(one)) if isinstance(item, Passed)
    )


def test_no_auto_login_leaves_the_finding_to_its_own_check() -> None:
    env = {COPILOT: A, GH: B}
    one = server(args="--server --port 3000 --no-auto-login", env=env)
    assert only(Skipped, CHECK, deployment(one, shell=env)).blocked_by == "no-auto-login"


def test_a_hidden_environment_is_not_visible() -> None:
    found = only(NotVisible, CHECK, deployment(server(env=hidden())))
    assert (found.reason, found.remedy) == ("it belongs to another user", "run as root")


# This shell alone


def test_this_shell_is_judged_for_a_server_to_come() -> None:
    found = only(Finding, CHECK, deployment(shell={COPILOT: A, GH: B}))
    assert (found.subject, found.status, found.cause.id) == ("this shell", "warn", "shadowed")
    assert fix_shell(found, "unset-shadowed") == "unset GH_TOKEN"
    found = only(Finding, CHECK, deployment(shell={"COPILOT_TOKEN": A}))
    assert fix_shell(found, "rename-here") == f'export {COPILOT}="$COPILOT_TOKEN"'
    assert only(Passed, CHECK, deployment(shell={GH: A})).subject == "this shell"
    assert only(Skipped, CHECK, deployment())
    assert only(Skipped, CHECK, deployment(shell=hidden()))


def test_powershell_has_its_own_words() -> None:
    env = {"GITHUB_COPILOT_TOKEN": A}
    found = judged(env, hosts=(Host(platform="win32"),))
    assert fix_shell(found, "rename").splitlines()[0] == (
        f'$env:{COPILOT} = "$env:GITHUB_COPILOT_TOKEN"'
    )


def test_no_value_is_shown() -> None:
    env = {COPILOT: A, GH: B, "GITHUB_PAT": CLASSIC}
    shown = repr(outcomes(CHECK, deployment(server(env=env), shell=env)))
    assert not any(value[4:] in shown for value in env.values())
