"""Which model sessions get."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from doctor.catalogue import Finding, NotVisible, Passed, Skipped
from doctor.checks.model import CHECK, MOST_MODELS
from tests.checks.builders import (
    client,
    deployment,
    environment,
    evidence,
    findings,
    fix_shell,
    handshake,
    hidden,
    only,
    server,
)

if TYPE_CHECKING:
    from doctor.deployment import Handshake

BASE = "--server --port 3000"
MODELS = ("auto", "gpt-5-mini", "claude-sonnet-4")
RESTART = ["kill 4123 && sleep 2", "copilot --server --port 3000"]


def offers(*models: str, version: str = "1.0.102") -> Handshake:
    return handshake(version, signed_in=True, models=models or MODELS)


def test_no_model_leaves_it_to_the_session() -> None:
    assert "default one" in only(Passed, CHECK, deployment(server(), shake=offers())).detail
    assert only(Skipped, CHECK, deployment())


def test_a_model_that_is_offered_passes() -> None:
    env = {"COPILOT_MODEL": "gpt-5-mini"}
    found = only(Passed, CHECK, deployment(server(env=env), shake=offers()))
    assert found.detail == "sessions get gpt-5-mini, or their own"
    both = server(args=f"{BASE} --model gpt-5-mini", env=env)
    assert only(Passed, CHECK, deployment(both, shake=offers()))
    auto = server(env={"COPILOT_MODEL": "auto"})
    assert only(Passed, CHECK, deployment(auto, shake=offers()))


def test_the_flag_alone_has_no_effect() -> None:
    given = deployment(server(args=f"{BASE} --model gpt-5-mini"), shake=offers())
    found = only(Finding, CHECK, given)
    assert (found.cause.id, found.status) == ("flag-ignored", "warn")
    assert found.title == "--model gpt-5-mini has no effect on SDK sessions"
    assert "launched with --model gpt-5-mini" in evidence(found)
    assert "COPILOT_MODEL of the server: not set" in evidence(found)
    assert fix_shell(found, "use-variable").splitlines() == [
        "export COPILOT_MODEL=gpt-5-mini",
        *RESTART,
    ]
    codes = {fix.language: fix.code for fix in found.fixes if fix.kind == "code"}
    assert codes["python"] == 'session = await client.create_session(model="gpt-5-mini")'
    assert codes["typescript"] == (
        'const session = await client.createSession({ model: "gpt-5-mini" });'
    )
    assert found.cause.documented_says.startswith("--model sets the default model")


def test_a_flag_that_names_no_offered_model_says_so() -> None:
    found = only(
        Finding, CHECK, deployment(server(args=f"{BASE} --model=nonsense"), shake=offers())
    )
    assert "nonsense is not among them" in evidence(found)


def test_the_variable_counts_where_both_differ() -> None:
    one = server(args=f"{BASE} --model gpt-5-mini", env={"COPILOT_MODEL": "claude-sonnet-4"})
    found = only(Finding, CHECK, deployment(one, shake=offers()))
    assert (found.cause.id, found.status) == ("flag-and-variable", "warn")
    assert (
        found.title == "SDK sessions get claude-sonnet-4 (COPILOT_MODEL), not gpt-5-mini (--model)"
    )
    assert fix_shell(found, "use-variable").splitlines()[0] == "export COPILOT_MODEL=gpt-5-mini"
    assert fix_shell(found, "drop-flag").splitlines() == RESTART


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("gpt-5-mni", "gpt-5-mini"),
        ("Claude-Sonnet-4", "claude-sonnet-4"),
        (" gpt-5-mini", "gpt-5-mini"),
        ("gpt-5-mini ", "gpt-5-mini"),
        ("no-such-model", "gpt-5-mini"),
    ],
)
def test_a_model_that_is_not_offered_fails(name: str, near: str) -> None:
    given = deployment(server(env={"COPILOT_MODEL": name}), shake=offers())
    found = only(Finding, CHECK, given)
    assert (found.cause.id, found.status) == ("not-offered", "fail")
    assert "models.list: auto, gpt-5-mini, claude-sonnet-4" in evidence(found)
    assert fix_shell(found, "offered-model").splitlines() == [
        f"export COPILOT_MODEL={near}",
        *RESTART,
    ]


def test_a_server_that_offers_nothing_has_no_fix_for_it() -> None:
    shake = handshake(signed_in=True, models=())
    found = only(Finding, CHECK, deployment(server(env={"COPILOT_MODEL": "x"}), shake=shake))
    assert found.fixes == ()
    assert "models.list: none" in evidence(found)


def test_a_long_list_may_have_been_cut() -> None:
    shake = offers(*(f"model-{n}" for n in range(MOST_MODELS)))
    given = deployment(server(env={"COPILOT_MODEL": "gpt-5-mini"}), shake=shake)
    assert str(MOST_MODELS) in only(NotVisible, CHECK, given).reason


def test_without_the_list_it_is_not_known() -> None:
    env = {"COPILOT_MODEL": "gpt-5-mini"}
    assert "not asked" in only(NotVisible, CHECK, deployment(server(env=env))).reason
    given = deployment(server(env=env), shake=handshake())
    assert "not signed in" in only(NotVisible, CHECK, given).reason
    broken = handshake(signed_in=True, models_error="Failed to list models")
    given = deployment(server(env=env), shake=broken)
    assert "Failed to list models" in only(NotVisible, CHECK, given).reason


def test_a_hidden_environment_is_not_visible() -> None:
    assert only(NotVisible, CHECK, deployment(server(env=hidden()))).remedy == "run as root"
    one = server(args=f"{BASE} --model gpt-5-mini", env=hidden())
    found = only(Finding, CHECK, deployment(one))
    assert (found.status, found.cause.id) == ("unknown", "flag-ignored")


@pytest.mark.parametrize(("version", "cause"), [("1.0.63", "none-for-provider"), ("1.0.102", "")])
def test_a_session_with_a_provider_needs_a_model_by_version(version: str, cause: str) -> None:
    own = client(environment=environment({"COPILOT_PROVIDER_BASE_URL": "http://127.0.0.1:1/v1"}))
    given = deployment(server(version), clients=(own,), shake=offers(version=version))
    found = findings(CHECK, given)
    assert list(found) == ([cause] if cause else [])
    if cause:
        assert "No model available" in found[cause].symptom
        assert "COPILOT_PROVIDER_BASE_URL is set: client pid 5000" in evidence(found[cause])
        assert 'model="MODEL"' in found[cause].fixes[0].code


def test_a_strange_name_stays_one_word_and_one_string() -> None:
    found = only(Finding, CHECK, deployment(server(args=["--server", "--model", 'a" b'])))
    assert fix_shell(found, "use-variable").splitlines()[0] == "export COPILOT_MODEL='a\" b'"
    assert all('model="a b"' in f.code for f in found.fixes if f.language == "python")
