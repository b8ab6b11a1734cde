"""The shared secret between server and client, seen from both sides and on the wire."""

from __future__ import annotations

import pytest

from doctor.catalogue import Finding, NotVisible, Passed, Skipped
from doctor.checks.connection_token import CHECK
from doctor.deployment import Deployment, Handshake, Hop, Host
from tests.checks.builders import (
    client,
    deployment,
    environment,
    evidence,
    findings,
    fix_shell,
    handshake,
    hidden,
    listener,
    only,
    outcomes,
    process,
    python_sdk,
    route,
    server,
    target,
)

NAME = "COPILOT_CONNECTION_TOKEN"
ONE, TWO = {NAME: "s3cret-of-the-server"}, {NAME: "s3cret-of-the-shell!"}


def shake(token: str, version: str = "1.0.102", **facts: object) -> Handshake:
    unasked = {"signed_in": None, "status_message": None} if token != "accepted" else {}
    return handshake(version, token=token, **unasked | facts)


def ids(given: Deployment) -> dict[str, str]:
    return {cause: finding.status for cause, finding in findings(CHECK, given).items()}


# Nothing set


def test_without_a_server_there_is_nothing_to_judge() -> None:
    assert only(Skipped, CHECK, deployment(shell=ONE)).reason


def test_no_token_is_fine_on_loopback() -> None:
    given = deployment(server(), shake=shake("not-required"))
    assert "fine on loopback" in only(Passed, CHECK, given).detail


def test_no_token_where_other_hosts_get_in_goes_with_the_exposed_listener() -> None:
    given = deployment(server(listeners=[listener("0.0.0.0")]), shake=shake("not-required"))
    found = only(Finding, CHECK, given)
    assert (found.cause.id, found.status) == ("not-set", "warn")
    assert found.follows == ("listener-exposed",)
    assert "listens on 0.0.0.0:3000" in evidence(found)
    assert f"{NAME} of the server: not set" in evidence(found)
    first, *others = fix_shell(found, "new-token").splitlines()
    assert first.startswith(f'export {NAME}="${{{NAME}:-$(head -c 32 /dev/urandom')
    assert others == ["kill 4123 && sleep 2", "copilot --server --port 3000"]


def test_no_token_and_no_view_of_the_sockets_is_not_visible() -> None:
    given = deployment(server(listeners=[]), shake=shake("not-required"))
    assert "who can reach" in only(NotVisible, CHECK, given).reason


@pytest.mark.parametrize(
    ("version", "args", "kind"),
    [
        ("1.0.102", "--server --port 3000", Passed),
        ("1.0.22", "--server --port 3000", Finding),
        ("1.0.102", "--server --port 3000 --host 0.0.0.0", Finding),
        ("1.0.102", "--server --port 3000 --host 127.0.0.1", Passed),
        ("1.0.25", "--server --port 3000", NotVisible),
    ],
)
def test_a_declared_server_is_judged_by_its_bind_address(
    version: str, args: str, kind: type
) -> None:
    from doctor.deployment import Origin

    origin = Origin(kind="file", path="compose.yaml", line=3)
    given = deployment(server(version, args, listeners=[], origin=origin, process=None))
    assert [type(item) for item in outcomes(CHECK, given)] == [kind]


def test_an_empty_token_counts_as_none_and_is_told() -> None:
    given = deployment(server(env={NAME: ""}), shake=shake("not-required"))
    found = only(Finding, CHECK, given)
    assert (found.cause.id, found.status) == ("empty", "warn")
    assert f"{NAME} of the server: set, but empty" in evidence(found)
    assert "No COPILOT_CONNECTION_TOKEN was set" in found.symptom


# One side


def test_a_token_on_the_server_alone_refuses_the_clients_of_this_shell() -> None:
    found = only(Finding, CHECK, deployment(server(env=ONE), shake=shake("required")))
    assert (found.cause.id, found.status) == ("server-only", "fail")
    assert "-32002: AUTHENTICATION_FAILED" in found.symptom
    assert "-32001: AUTHENTICATION_REQUIRED" in found.symptom
    text = evidence(found)
    assert "connect without a token: -32002" in text
    assert f"{NAME} of the server: set, 20 characters" in text
    assert f"{NAME} of this shell: not set" in text
    assert fix_shell(found, "take-over") == (
        f"export {NAME}=\"$(tr '\\0' '\\n' < /proc/4123/environ | sed -n 's/^{NAME}=//p')\""
    )


def test_every_language_has_its_snippet_and_the_one_in_use_comes_first() -> None:
    given = deployment(
        server(env=ONE),
        shake=shake("required"),
        sdks=(python_sdk("1.0.27"),),
    )
    codes = [fix for fix in only(Finding, CHECK, given).fixes if fix.kind == "code"]
    assert {fix.language for fix in codes} == {
        *("python", "typescript", "go", "csharp", "java", "rust"),
    }
    assert codes[0].language == "python"
    assert all("COPILOT_CONNECTION_TOKEN" in fix.code for fix in codes)
    assert all("3000" in fix.code for fix in codes)
    assert not any("{{" in fix.code for fix in codes)


def test_the_words_of_an_old_sdk_depend_on_the_version() -> None:
    given = deployment(server("1.0.63", env=ONE), shake=shake("required", "1.0.63"))
    assert "-32001: Unknown error" in only(Finding, CHECK, given).symptom


def test_clients_that_are_connected_have_it() -> None:
    given = deployment(server(env=ONE), shake=shake("required"), clients=(client(),))
    found = only(Finding, CHECK, given)
    assert (found.status, found.detail) == (
        "warn",
        "1 other client(s) are connected: they have it.",
    )


def test_what_was_not_asked_is_told_by_both_environments() -> None:
    assert ids(deployment(server(env=ONE))) == {"server-only": "fail"}
    assert ids(deployment(server(env=ONE), shell={NAME: ""})) == {"server-only": "fail"}
    assert ids(deployment(server(env=ONE), shell=TWO)) == {"different": "fail"}
    assert only(Passed, CHECK, deployment(server(env=ONE), shell=ONE)).detail


def test_a_token_in_this_shell_alone_is_refused() -> None:
    found = only(Finding, CHECK, deployment(server(), shell=TWO, shake=shake("not-configured")))
    assert (found.cause.id, found.status) == ("client-only", "fail")
    assert "-32003" in found.symptom
    assert found.detail == ""
    assert fix_shell(found, "restart-with-token").splitlines() == [
        "kill 4123 && sleep 2",
        "copilot --server --port 3000",
    ]
    assert fix_shell(found, "unset-here") == f"unset {NAME}"


def test_the_connection_goes_mute_on_some_versions() -> None:
    said = shake("not-configured", "1.0.63", went_mute=True)
    found = only(Finding, CHECK, deployment(server("1.0.63"), shell=TWO, shake=said))
    assert "answers nothing more" in found.detail
    assert "answered nothing more" in evidence(found)


def test_the_wire_counts_where_the_environment_is_hidden() -> None:
    def given(said: str, shell: dict[str, str]) -> Deployment:
        return deployment(server(env=hidden()), shell=shell, shake=shake(said))

    assert ids(given("required", {})) == {"server-only": "fail"}
    assert ids(given("rejected", TWO)) == {"different": "fail"}
    assert ids(given("not-configured", TWO)) == {"client-only": "fail"}
    assert only(Passed, CHECK, given("accepted", ONE)).detail == (
        "the server accepted this shell's token"
    )
    assert only(Finding, CHECK, given("required", {})).fixes[0].id == "same-value"


def test_nothing_said_and_nothing_seen_is_not_visible() -> None:
    found = only(NotVisible, CHECK, deployment(server(env=hidden())))
    assert "it belongs to another user" in found.reason
    assert found.remedy == "run as root"
    assert only(NotVisible, CHECK, deployment(server(env=ONE), shell=hidden()))


# Both sides


def test_the_same_token_on_both_sides_passes() -> None:
    given = deployment(server(env=ONE), shell=ONE, shake=shake("accepted"))
    assert only(Passed, CHECK, given)


def test_different_tokens_fail_and_either_side_can_give_way() -> None:
    given = deployment(server(env=ONE), shell=TWO, shake=shake("rejected"))
    found = only(Finding, CHECK, given)
    assert (found.cause.id, found.status) == ("different", "fail")
    assert "connect with this shell's token: -32002" in evidence(found)
    assert [fix.id for fix in found.fixes] == ["take-over", "restart-with-token"]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("s3cret\n", "a line end"),
        ("s3cret\r\n", "a line end and a carriage return"),
        (" s3cret", "white space in front"),
        ("s3cret ", "white space behind"),
        ('"s3cret"', "quotes around it"),
        ("   ", "white space in front and white space behind"),
    ],
)
def test_what_surrounds_the_value_belongs_to_it(value: str, words: str) -> None:
    given = deployment(server(env={NAME: value}), shell={NAME: "s3cret"}, shake=shake("rejected"))
    found = findings(CHECK, given)
    assert set(found) == {"white-space", "different"}
    assert found["white-space"].title == f"The server's connection token has {words}"
    lines = fix_shell(found["white-space"], "clean").splitlines()
    assert lines[0] == f'export {NAME}="$(printf %s "${NAME}" | tr -d \'[:space:]"\\047\')"'
    assert lines[1:] == ["kill 4123 && sleep 2", "copilot --server --port 3000"]
    # One line of /proc is not the value, where it has several.
    assert found["different"].fixes[0].id == "same-value"


def test_white_space_on_both_sides_is_told_and_works() -> None:
    odd = {NAME: "s3cret\n"}
    given = deployment(server(env=odd), shell=odd, shake=shake("accepted"))
    assert ids(given) == {"white-space": "warn"}
    assert any(isinstance(item, Passed) for item in outcomes(CHECK, given))


# Versions that ignore it, SDKs that cannot


def test_an_old_server_ignores_its_token() -> None:
    said = shake("not-required", "1.0.32", has_connect=False)
    found = only(Finding, CHECK, deployment(server("1.0.32", env=ONE), shake=said))
    assert (found.cause.id, found.status) == ("ignored", "fail")
    assert "server version: 1.0.32" in evidence(found)
    assert found.fixes[0].kind == "advice"
    assert "1.0.102" in found.fixes[0].summary


def test_an_old_server_of_npm_is_upgraded_in_its_place_and_keeps_its_token() -> None:
    native = "/srv/node_modules/@github/copilot-linux-x64/copilot"
    old = server("1.0.32", env=ONE, executable=native)
    lines = fix_shell(only(Finding, CHECK, deployment(old)), "upgrade").splitlines()
    assert lines[0].startswith(f'export {NAME}="$(tr ')
    assert lines[1:] == [
        "npm install --prefix /srv @github/copilot@1.0.102 &&",
        "kill 4123 && sleep 2",
        "copilot --server --port 3000",
    ]


def test_what_the_server_would_lose_is_named() -> None:
    one = server(env={"GH_TOKEN": "gho_A1b2C3d4E5f6A1b2C3d4E5f6A1b2C3d4E5f6"})
    found = only(Finding, CHECK, deployment(one, shell=TWO, shake=shake("not-configured")))
    assert "set GH_TOKEN here first" in found.fixes[0].summary


def test_a_token_that_is_ignored_before_the_world_is_a_failure() -> None:
    open_ = server("1.0.22", env=ONE, listeners=[listener("::", is_dual_stack=True)])
    assert ids(deployment(open_)) == {"ignored": "fail"}


def test_a_server_without_connect_takes_a_token_from_this_shell_as_none() -> None:
    said = shake("ignored", "1.0.32", has_connect=False)
    given = deployment(server("1.0.32"), shell=TWO, shake=said)
    assert "fine on loopback" in only(Passed, CHECK, given).detail


def test_between_the_versions_the_server_itself_tells() -> None:
    hidden_version = deployment(server("1.0.38", env=ONE))
    assert "enforces" in only(NotVisible, CHECK, hidden_version).reason
    asked = deployment(server("1.0.38", env=ONE), shell=ONE, shake=shake("accepted", "1.0.38"))
    assert only(Passed, CHECK, asked)


@pytest.mark.parametrize("from_project", [True, False])
def test_an_old_sdk_cannot_pass_a_token(from_project: bool) -> None:
    facts = (
        {"sdks": (python_sdk("0.3.0"),)} if from_project else {"clients": (client(sdk="0.3.0"),)}
    )
    given = deployment(server("1.0.63", env=ONE), shell=ONE, shake=shake("accepted"), **facts)
    found = findings(CHECK, given)
    assert set(found) == {"sdk-too-old"}
    assert found["sdk-too-old"].status == "fail"
    assert "github-copilot-sdk 0.3.0 (installed)" in evidence(found["sdk-too-old"])
    assert fix_shell(found["sdk-too-old"], "upgrade-sdk") == (
        "python -m pip install 'github-copilot-sdk>=1.0.0,<1.0.25'"
    )


def test_the_newest_cli_goes_with_the_newest_sdk() -> None:
    given = deployment(server(env=ONE), shell=ONE, sdks=(python_sdk("0.2.3"),))
    assert "'github-copilot-sdk>=1.0.27'" in fix_shell(
        findings(CHECK, given)["sdk-too-old"], "upgrade-sdk"
    )


def test_a_range_of_sdk_versions_is_no_finding() -> None:
    sdk = python_sdk(None, "declared", ">=0.2")
    assert only(Passed, CHECK, deployment(server(env=ONE), shell=ONE, sdks=(sdk,)))


# Targets elsewhere


@pytest.mark.parametrize(
    ("said", "shell", "cause", "status"),
    [
        ("required", {}, "server-only", "fail"),
        ("rejected", TWO, "different", "fail"),
        ("not-configured", TWO, "client-only", "fail"),
        ("ignored", TWO, "ignored", "fail"),
        ("not-required", {}, "not-set", "warn"),
    ],
)
def test_a_server_elsewhere_is_judged_by_its_answer(
    said: str, shell: dict[str, str], cause: str, status: str
) -> None:
    there = route(
        shake(said, address="192.0.2.7"), None, target=target("copilot.example", 3000, "target")
    )
    found = only(Finding, CHECK, deployment(shell=shell, routes=(there,)))
    assert (found.cause.id, found.status) == (cause, status)
    assert found.subject == "route to copilot.example:3000"
    assert any("copilot.example:3000" in fix.summary for fix in found.fixes)
    assert evidence(found).startswith("wire: connect")


def test_a_server_elsewhere_that_takes_the_token_passes() -> None:
    there = route(shake("accepted", address="192.0.2.7"), None)
    assert only(Passed, CHECK, deployment(shell=ONE, routes=(there,)))


def test_a_tunnel_on_loopback_without_a_token_passes() -> None:
    assert only(Passed, CHECK, deployment(routes=(route(shake("not-required"), None),)))


def test_a_route_that_broke_before_is_skipped() -> None:
    hop = Hop(name="connect", status="fail", code="refused")
    broken = route(None, None, status="fail", hops=(hop,))
    assert only(Skipped, CHECK, deployment(routes=(broken,))).blocked_by == "connect"


def test_a_server_that_did_not_say_is_not_visible() -> None:
    assert only(NotVisible, CHECK, deployment(routes=(route(shake("unknown"), None),)))


# Platforms and supervisors


def test_on_windows_the_lines_are_for_powershell() -> None:
    hosts = (Host(platform="win32"),)
    given = deployment(server(), shell=TWO, shake=shake("not-configured"), hosts=hosts)
    assert fix_shell(only(Finding, CHECK, given), "unset-here") == f"Remove-Item Env:{NAME}"
    other = deployment(server(env=ONE), shake=shake("required"), hosts=hosts)
    assert only(Finding, CHECK, other).fixes[0].kind == "advice"


def test_a_supervised_server_is_changed_where_it_is_started() -> None:
    above = (process(77, name="supervisord"),)
    given = deployment(server(ancestors=above), shell=TWO, shake=shake("not-configured"))
    fix = only(Finding, CHECK, given).fixes[0]
    assert fix.kind == "advice"
    assert "supervisord (pid 77)" in fix.summary


def test_no_value_is_shown() -> None:
    given = deployment(server(env=ONE), shell=TWO, shake=shake("rejected"))
    shown = repr(outcomes(CHECK, given))
    assert "s3cret" not in shown
    assert environment(ONE).get(NAME) is not None
