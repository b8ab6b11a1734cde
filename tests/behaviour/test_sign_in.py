"""Which token the CLI tries, and what becomes of it: each row was observed with a fake GitHub."""

from __future__ import annotations

import pytest

from doctor.behaviour.sign_in import Fate, named_token, tokens_tried
from doctor.deployment.launch import parse
from doctor.deployment.values import describe_all
from doctor.redaction import Vault

GOOD = "gho_A1b2C3d4E5f6A1b2C3d4E5f6A1b2C3d4E5f6"


def tried(env: dict[str, str], *args: str, version: str = "1.0.102") -> list[tuple[str, Fate]]:
    command = parse(["--server", *args], version)
    environment = describe_all(env, Vault(), (command.auth_token_env or "X",))
    return [(t.variable.name, t.fate(version)) for t in tokens_tried(environment, command)]


@pytest.mark.parametrize(
    ("value", "fate"),
    [
        (GOOD, "sent"),
        ("ghu_" + GOOD[4:], "sent"),
        ("github_pat_" + GOOD[4:], "sent"),
        (GOOD + " ", "sent"),
        (GOOD + "é", "sent"),
        ("ghs_" + GOOD[4:], "unchecked"),
        ("ghp_" + GOOD[4:], "classic"),
        ("ghr_" + GOOD[4:], "unsupported"),
        ("0123456789abcdef0123456789abcdef01234567", "unsupported"),
        ("garbage", "unsupported"),
        ("   ", "unsupported"),
        (" " + GOOD, "unsupported"),
        ("\n" + GOOD, "unsupported"),
        (f'"{GOOD}"', "unsupported"),
        (GOOD + "\n", "line-end"),
        (GOOD + "\r\n", "line-end"),
        (GOOD[:9] + "\n" + GOOD[9:], "line-end"),
        ("ghp_xxxxxxxxxxxxxxxxxxxx", "placeholder"),
        ("your-token-here", "placeholder"),
    ],
)
def test_what_becomes_of_a_token_in_a_variable(value: str, fate: Fate) -> None:
    assert tried({"COPILOT_GITHUB_TOKEN": value}) == [("COPILOT_GITHUB_TOKEN", fate)]


def test_an_installation_token_was_unknown_to_early_versions() -> None:
    env = {"GITHUB_TOKEN": "ghs_" + GOOD[4:]}
    assert tried(env, version="1.0.2") == [("GITHUB_TOKEN", "unsupported")]
    assert tried(env, version="1.0.11") == [("GITHUB_TOKEN", "unchecked")]


@pytest.mark.parametrize(
    ("value", "fate"),
    [
        (GOOD, "sent"),
        ("ghp_" + GOOD[4:], "sent"),
        ("ghr_" + GOOD[4:], "sent"),
        ("garbage", "sent"),
        (" " + GOOD, "sent"),
        (f'"{GOOD}"', "sent"),
        ("ghs_" + GOOD[4:], "unchecked"),
        (GOOD + "\n", "line-end"),
        ("<token>", "placeholder"),
    ],
)
def test_what_becomes_of_a_token_that_the_flag_names(value: str, fate: Fate) -> None:
    assert tried({"MINE": value}, "--auth-token-env", "MINE") == [("MINE", fate)]


def test_the_first_that_is_not_empty_is_tried_and_no_other() -> None:
    env = {"COPILOT_GITHUB_TOKEN": "", "GH_TOKEN": "ghp_" + GOOD[4:], "GITHUB_TOKEN": GOOD}
    assert tried(env) == [("GH_TOKEN", "classic")]


def test_the_named_one_comes_first_and_the_variables_after_it() -> None:
    env = {"MINE": GOOD, "GH_TOKEN": GOOD}
    names = [name for name, _ in tried(env, "--auth-token-env=MINE")]
    assert names == ["MINE", "GH_TOKEN"]


def test_without_auto_login_only_the_named_one_is_tried() -> None:
    env = {"MINE": GOOD, "GH_TOKEN": GOOD}
    assert tried(env, "--no-auto-login") == []
    assert [n for n, _ in tried(env, "--no-auto-login", "--auth-token-env", "MINE")] == ["MINE"]


def test_a_named_variable_without_a_value_is_none() -> None:
    command = parse(["--server", "--auth-token-env", "MINE"], "1.0.63")
    assert named_token(describe_all({"MINE": ""}, Vault(), ("MINE",)), command) is None
    assert named_token(describe_all({}, Vault()), command) is None
    assert named_token(describe_all({}, Vault()), None) is None
