"""The handshake: what it establishes at a Copilot server, and at everything else."""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
import time
import tracemalloc
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from doctor.probes.handshake import Handshake, Step, shake_hands
from tests.harness.cli import NEWEST, OLDEST, start_server, version_tuple
from tests.harness.github import MODELS, fake_github
from tests.probes.hostile import (
    BEL_AND_COLOUR,
    PEERS,
    Behaviour,
    FakeCopilot,
    Talk,
    always,
    always_refuses,
    dies_after_connect,
    frame,
    framed,
    says,
    serve,
    silent,
)

TOKEN = "c0nnection-5ecret-\u00e4<&>\"'x"
STEPS = (
    "connect",
    "handshake",
    "connection-token",
    "protocol-version",
    "authentication",
    "models",
)


class Known:
    """A connection token of the tests."""

    def __init__(self, value: str = TOKEN) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value


def shake(behaviour: Behaviour, *, token: str | None = None, timeout_s: float = 10) -> Handshake:
    with serve(behaviour) as served:
        secret = None if token is None else Known(token)
        return shake_hands("127.0.0.1", served.port, token=secret, timeout_s=timeout_s)


def step(result: Handshake, name: str) -> Step:
    return next(step for step in result.steps if step.name == name)


def outcomes(result: Handshake) -> dict[str, tuple[str, str]]:
    return {step.name: (step.status, step.code) for step in result.steps}


def check_shape(result: Handshake) -> None:
    """What holds for every result."""
    assert tuple(step.name for step in result.steps) == STEPS
    statuses = [step.status for step in result.steps]
    if "fail" in statuses:
        assert set(statuses[statuses.index("fail") + 1 :]) <= {"skip"}
    for one in result.steps:
        assert one.detail
        assert one.expected
        assert len(one.detail) <= 300
        assert one.detail.replace("\ufffd", "?").isprintable()
        assert one.elapsed_ms >= 0
    # It can be written and read again.
    assert msgspec.json.decode(msgspec.json.encode(result), type=Handshake) == result


# A Copilot server


def test_healthy_server_without_a_token() -> None:
    server = FakeCopilot()

    result = shake(server)

    check_shape(result)
    assert outcomes(result) == {
        "connect": ("pass", "ok"),
        "handshake": ("pass", "ok"),
        "connection-token": ("pass", "token-not-required"),
        "protocol-version": ("pass", "ok"),
        "authentication": ("warn", "not-signed-in"),
        "models": ("skip", "not-signed-in"),
    }
    assert (result.peer, result.address) == ("copilot", "127.0.0.1")
    assert (result.version, result.protocol_version) == ("1.0.102", 3)
    assert (result.has_connect, result.sent_token, result.token) == (True, False, "not-required")
    assert (result.signed_in, result.status_message) == (False, "Not authenticated")
    assert result.timestamp == "string"
    assert [request["method"] for request in server.heard] == [
        "connect",
        "ping",
        "status.get",
        "auth.getStatus",
    ]
    assert server.heard[0]["params"] == {}


def test_nothing_is_sent_behind_connect_before_its_answer() -> None:
    """1.0.102 refuses a request that overtakes the token: observed with all in one piece."""
    server = FakeCopilot(token=TOKEN, delay_s={"connect": 0.1})

    result = shake(server, token=TOKEN)

    assert step(result, "protocol-version").status == "pass"
    assert server.heard[0]["params"] == {"token": TOKEN}


def test_right_token() -> None:
    result = shake(FakeCopilot(token=TOKEN), token=TOKEN)

    check_shape(result)
    assert outcomes(result)["connection-token"] == ("pass", "token-accepted")
    assert (result.token, result.sent_token, result.version) == ("accepted", True, "1.0.102")


@pytest.mark.parametrize(
    ("sent", "state"), [(None, "required"), ("", "required"), ("wrong-token", "rejected")]
)
def test_missing_or_wrong_token(sent: str | None, state: str) -> None:
    result = shake(FakeCopilot(token=TOKEN), token=sent)

    check_shape(result)
    assert outcomes(result)["handshake"] == ("pass", "ok")
    assert outcomes(result)["connection-token"] == ("fail", f"token-{state}")
    assert {outcomes(result)[name] for name in STEPS[3:]} == {("skip", "blocked")}
    assert (result.peer, result.token, result.version) == ("copilot", state, None)
    assert result.sent_token is bool(sent)


@pytest.mark.parametrize("code", [-32001, -32002])
def test_token_errors_without_words(code: int) -> None:
    result = shake(always_refuses(code), token=TOKEN)

    assert outcomes(result)["connection-token"] == ("fail", "token-rejected")


@pytest.mark.parametrize("mute", [True, False])
def test_token_for_a_server_without_one(mute: bool) -> None:
    server = FakeCopilot(mute_after_refusal=mute, version="1.0.63")
    started = time.monotonic()

    result = shake(server, token=TOKEN)

    check_shape(result)
    assert outcomes(result)["connection-token"] == ("fail", "token-not-configured")
    assert (result.token, result.went_mute) == ("not-configured", mute)
    # Learnt on another connection, without the token.
    assert (result.version, result.protocol_version, result.signed_in) == ("1.0.63", 3, False)
    assert [r["params"] for r in server.heard if r["method"] == "connect"] == [
        {"token": TOKEN},
        {},
    ]
    assert ("nothing more" in step(result, "connection-token").detail) is mute
    assert time.monotonic() - started < 5


def test_token_for_a_server_without_one_that_answers_nobody() -> None:
    """Without an answer on the other connection, silence on the first proves nothing."""

    def refuses_once(talk: Talk) -> None:
        request = talk.request()
        if "token" in request["params"]:
            talk.refuse(request, -32003, "AUTHENTICATION_NOT_CONFIGURED")
        talk.stay()

    result = shake(refuses_once, token=TOKEN, timeout_s=0.5)

    check_shape(result)
    assert (result.token, result.went_mute, result.version) == ("not-configured", False, None)


@pytest.mark.parametrize(
    ("sent", "status", "state"),
    [(None, "pass", "not-required"), (TOKEN, "warn", "ignored")],
)
def test_server_without_connect(sent: str | None, status: str, state: str) -> None:
    server = FakeCopilot(has_connect=False, version="1.0.32", timestamp=1795397001358)

    result = shake(server, token=sent)

    check_shape(result)
    assert outcomes(result)["connection-token"] == (status, f"token-{state}")
    assert (result.has_connect, result.token, result.version) == (False, state, "1.0.32")
    assert result.timestamp == "integer"


@pytest.mark.parametrize(
    ("protocol", "outcome"),
    [(3, ("pass", "ok")), (2, ("warn", "protocol-older")), (4, ("warn", "protocol-newer"))],
)
def test_protocol_version(protocol: int, outcome: tuple[str, str]) -> None:
    result = shake(FakeCopilot(protocol=protocol))

    assert outcomes(result)["protocol-version"] == outcome
    assert result.protocol_version == protocol


@pytest.mark.parametrize("protocol", ["3", None, -1, 2**31, 10**30, 3.5, [3], True])
def test_protocol_version_that_is_none(protocol: object) -> None:
    result = shake(FakeCopilot(protocol=protocol))

    check_shape(result)
    assert outcomes(result)["handshake"] == ("fail", "peer-unknown")
    assert result.protocol_version is None


def test_version_of_connect_wins() -> None:
    """1.0.81 says 0.0.1 to `status.get` (observed)."""
    assert shake(FakeCopilot(version="1.0.81", status_version="0.0.1")).version == "1.0.81"


SIGNED_IN = {
    "isAuthenticated": True,
    "authType": "env",
    "host": "https://github.com",
    "login": "mona",
    "statusMessage": "mona (via COPILOT_GITHUB_TOKEN)",
}


def test_signed_in_server_with_models() -> None:
    models = {"models": [{"id": "gpt-5.2", "name": "GPT"}, {"id": "claude-sonnet-4.5", "x": 1}]}

    result = shake(FakeCopilot(auth=SIGNED_IN, models=models))

    check_shape(result)
    assert outcomes(result)["authentication"] == ("pass", "signed-in")
    assert outcomes(result)["models"] == ("pass", "ok")
    assert result.models == ("gpt-5.2", "claude-sonnet-4.5")
    assert (result.signed_in, result.login, result.auth_type) == (True, "mona", "env")
    assert result.auth_host == "https://github.com"
    assert "mona" in step(result, "authentication").detail


def test_models_that_take_too_long_are_unknown() -> None:
    started = time.monotonic()

    result = shake(FakeCopilot(auth=SIGNED_IN, ignore=("models.list",)), timeout_s=0.5)

    check_shape(result)
    assert outcomes(result)["models"] == ("unknown", "timeout")
    assert (result.models, result.signed_in) == (None, True)
    assert result.models_error
    assert time.monotonic() - started < 2


def test_models_that_are_refused() -> None:
    result = shake(FakeCopilot(auth=SIGNED_IN))

    assert outcomes(result)["models"] == ("fail", "refused-by-server")
    assert result.models_error is not None
    assert "no network" in result.models_error


def test_no_models() -> None:
    result = shake(FakeCopilot(auth=SIGNED_IN, models={"models": []}))

    assert outcomes(result)["models"] == ("warn", "no-models")
    assert result.models == ()


@pytest.mark.parametrize(
    "models", [5, [], {"models": {}}, {"models": [5]}, {"models": [{"id": 5}]}, {"models": [{}]}]
)
def test_models_of_another_shape_are_unknown(models: object) -> None:
    result = shake(FakeCopilot(auth=SIGNED_IN, models=models))

    assert outcomes(result)["models"] == ("unknown", "malformed")


def test_very_many_models_are_cut() -> None:
    models = {"models": [{"id": f"model-{number}"} for number in range(20_000)]}

    result = shake(FakeCopilot(auth=SIGNED_IN, models=models))

    assert result.models is not None
    assert len(result.models) == 500
    assert "20000" in step(result, "models").detail


@pytest.mark.parametrize("auth", [None, 5, {}, {"isAuthenticated": "yes"}, {"isAuthenticated": 1}])
def test_sign_in_of_another_shape_is_unknown(auth: object) -> None:
    result = shake(FakeCopilot(auth=auth))

    check_shape(result)
    assert outcomes(result)["authentication"] == ("unknown", "malformed")
    assert result.signed_in is None


def test_sign_in_that_takes_too_long_is_unknown() -> None:
    result = shake(FakeCopilot(ignore=("auth.getStatus",)), timeout_s=0.4)

    check_shape(result)
    assert outcomes(result)["protocol-version"] == ("pass", "ok")
    assert outcomes(result)["authentication"] == ("unknown", "timeout")
    assert outcomes(result)["models"] == ("skip", "blocked")


def test_sign_in_that_is_refused_is_unknown() -> None:
    result = shake(FakeCopilot(errors={"auth.getStatus": (-32603, BEL_AND_COLOUR)}))

    check_shape(result)
    assert outcomes(result)["authentication"] == ("unknown", "refused-by-server")


@pytest.mark.parametrize("has_connect", [True, False])
def test_server_that_shuts_down_during_the_conversation(has_connect: bool) -> None:
    ending: tuple[int, str | None] = (-32000, "SERVER_SHUTTING_DOWN")
    errors = dict.fromkeys(("ping", "status.get", "auth.getStatus"), ending)

    result = shake(FakeCopilot(errors=errors, has_connect=has_connect))

    check_shape(result)
    at = "protocol-version" if has_connect else "handshake"
    assert outcomes(result)[at] == ("fail", "shutting-down")
    assert result.peer == "copilot"


def test_peer_that_resets_while_the_connection_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise ConnectionResetError(104, "Connection reset by peer")

    monkeypatch.setattr(socket.socket, "connect", fails)

    result = shake_hands("127.0.0.1", 3000)

    check_shape(result)
    assert outcomes(result)["connect"] == ("pass", "ok")
    assert outcomes(result)["handshake"] == ("fail", "reset")
    assert result.peer == "reset"


def test_mute_server() -> None:
    result = shake(FakeCopilot(ignore=("ping", "status.get", "auth.getStatus")), timeout_s=0.4)

    assert outcomes(result)["protocol-version"] == ("fail", "mute")


def test_server_that_dies_after_connect() -> None:
    result = shake(dies_after_connect)

    check_shape(result)
    assert outcomes(result)["protocol-version"][0] == "fail"
    assert outcomes(result)["protocol-version"][1] in {"closed", "reset"}


def test_slow_server_is_waited_for() -> None:
    """Its answer comes while it is asked in other protocols, or later."""
    result = shake(FakeCopilot(delay_s={"connect": 0.8}), timeout_s=1.2)

    check_shape(result)
    assert outcomes(result)["handshake"] == ("warn", "slow")
    assert result.version == "1.0.102"


def test_copilot_that_hangs_is_recognised() -> None:
    def hung(talk: Talk) -> None:
        if talk.hear().startswith(b"HEAD "):
            words = "Message header must separate key and value using ':'"
            error = {"code": -32700, "message": words}
            body = msgspec.json.encode({"jsonrpc": "2.0", "id": None, "error": error})
            talk.say(framed(body))
        talk.stay()

    result = shake(hung, timeout_s=1)

    assert outcomes(result)["handshake"] == ("fail", "timeout")
    assert result.peer == "copilot"


def test_events_of_others_are_passed_over() -> None:
    """Servers up to 1.0.73 send every connection the events of every session."""
    event = frame({"jsonrpc": "2.0", "method": "session.event", "params": {"a": "b"}})

    result = shake(FakeCopilot(before=event * 20))

    assert outcomes(result)["handshake"] == ("pass", "ok")
    assert result.signed_in is False


# Everything else


def check_peer(name: str, port: int, *, busy: bool = False) -> None:
    peer = PEERS[name]
    timeout_s = peer.timeout_s * (4 if busy else 1)
    started = time.monotonic()

    result = shake_hands("127.0.0.1", port, timeout_s=timeout_s)

    elapsed_s = time.monotonic() - started
    check_shape(result)
    # What a client sees of a close depends on whether its own bytes had arrived.
    either = {"closed", "reset"} if name == "closes at once" else None
    assert step(result, "handshake").code in (either or {peer.code}), result
    assert result.peer in (either or {peer.peer}), result
    # Beyond its limit only what a busy machine takes.
    assert elapsed_s < timeout_s + 1.5


@pytest.mark.parametrize("name", PEERS)
def test_peer_is_taken_for_what_it_is(name: str) -> None:
    with serve(PEERS[name].behaviour) as served:
        check_peer(name, served.port)


def test_all_peers_at_once() -> None:
    failed: list[str] = []

    def run(name: str, port: int) -> None:
        try:
            check_peer(name, port, busy=True)
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is reported
            failed.append(f"{name}: {error!r}")

    with contextlib.ExitStack() as stack:
        threads = [
            threading.Thread(target=run, args=(name, stack.enter_context(serve(p.behaviour)).port))
            for name, p in PEERS.items()
        ]
        started = time.monotonic()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        elapsed_s = time.monotonic() - started

    assert failed == []
    assert elapsed_s < 30


@pytest.mark.parametrize(
    "name", ["a gigabyte", "large bodies", "nesting of 100,000", "endless line", "noise"]
)
def test_memory_is_bounded(name: str) -> None:
    """The peer runs in this process: what it makes counts as well."""
    with serve(PEERS[name].behaviour) as served:
        tracemalloc.start()
        try:
            shake_hands("127.0.0.1", served.port, timeout_s=20)
            _, peak_bytes = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

    assert peak_bytes < 10_000_000


def test_requests_of_a_peer_are_not_answered() -> None:
    with serve(PEERS["endless requests"].behaviour) as served:
        shake_hands("127.0.0.1", served.port, timeout_s=5)

    said = b"".join(served.heard)
    assert said.count(b"Content-Length") == 1
    assert b'"method":"connect"' in said
    assert b'"result"' not in said


def test_acp_server_is_recognised_on_the_first_connection() -> None:
    """It takes lines, so the line end behind the body makes it answer at once."""
    started = time.monotonic()
    with serve(PEERS["ACP"].behaviour) as served:
        result = shake_hands("127.0.0.1", served.port, timeout_s=20)

    assert result.peer == "acp"
    assert time.monotonic() - started < 5
    assert b"HEAD /" not in b"".join(served.heard)


def test_http_server_header_is_evidence() -> None:
    result = shake(PEERS["HTTP 400"].behaviour)

    assert result.peer_detail == "HTTP/1.1 400 Bad Request, server nginx/1.25.3"
    assert "nginx/1.25.3" in step(result, "handshake").detail


def test_http_server_header_that_comes_in_pieces_is_waited_for() -> None:
    def in_pieces(talk: Talk) -> None:
        talk.hear()
        talk.say(b"HTTP/1.1 400 Bad")
        talk.pause(0.03)
        talk.say(b" Request\r\nServer: nginx\r\n\r\n")
        talk.stay()

    assert shake(in_pieces).peer_detail == "HTTP/1.1 400 Bad Request, server nginx"


def test_first_words_of_an_unknown_peer_are_evidence() -> None:
    result = shake(PEERS["greeting in plain words"].behaviour)

    assert result.peer_detail == "hello there"


def test_version_of_a_megabyte_is_cut() -> None:
    result = shake(PEERS["version of 1 MB"].behaviour)

    assert result.version is not None
    assert len(result.version) == 64


# Nothing leaks, nothing escapes


def echoes(talk: Talk) -> None:
    """Send back what came, as the message of an error."""
    while True:
        request = talk.request()
        talk.refuse(request, -32603, f"bad request {request} {request['params'].get('token')}")


def echoes_everywhere(token: str) -> list[Behaviour]:
    auth = {**SIGNED_IN, "login": token, "statusMessage": f"token {token}", "host": token}
    return [
        echoes,
        FakeCopilot(token=token, version=token),
        FakeCopilot(token=token, auth=auth, models={"models": [{"id": token}]}),
        FakeCopilot(token=token, auth=SIGNED_IN, errors={"models.list": (-32603, f"no {token}")}),
        FakeCopilot(token=token, errors={"auth.getStatus": (-32603, token)}),
        FakeCopilot(token=token, errors={"connect": (-32002, f"AUTHENTICATION_FAILED {token}")}),
        always_refuses(-32601, f"no method {token}"),
        always(token),
        says(f"HTTP/1.1 400 {token}\r\nServer: {token}\r\n\r\n".encode(errors="replace")),
        says(f"SSH-2.0-{token}\r\n".encode(errors="replace")),
        says(f"{token}\n".encode(errors="replace")),
    ]


def check_no_leak(result: Handshake, token: str) -> None:
    for text in (repr(result), str(result), msgspec.json.encode(result).decode()):
        assert token not in text
    for text in texts(msgspec.to_builtins(result)):
        assert token not in text


def texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    inner = value.values() if isinstance(value, dict) else value
    return [t for v in inner for t in texts(v)] if isinstance(value, dict | list) else []


@pytest.mark.parametrize("number", range(len(echoes_everywhere(""))))
@pytest.mark.parametrize("token", [TOKEN, "hunter2-hunter2", "two words 12", 'a"b\\c/d"e'])
def test_token_that_is_sent_back_does_not_show(number: int, token: str) -> None:
    result = shake(echoes_everywhere(token)[number], token=token, timeout_s=5)

    check_shape(result)
    check_no_leak(result, token)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.text(min_size=8, max_size=40),
    st.sampled_from(range(len(echoes_everywhere("")))),
)
def test_no_token_shows(token: str, number: int) -> None:
    assume(len(" ".join(token.split())) >= 8)
    honest = repr(shake(FakeCopilot(auth=SIGNED_IN, models={"models": []})))
    assume(token not in honest)
    assume(token.lower() not in "[connection token]")

    result = shake(echoes_everywhere(token)[number], token=token, timeout_s=5)

    check_no_leak(result, token)


@pytest.mark.parametrize(
    "token", ["\udce9-undecodable-token", "line\nend-of-token", "\0-nul-token"]
)
def test_tokens_that_no_shell_gives_are_sent_and_hidden(token: str) -> None:
    result = shake(FakeCopilot(token="another-token"), token=token)

    assert result.token == "rejected"
    check_no_leak(result, token)


def test_token_goes_to_nobody_but_in_connect() -> None:
    """Peers that are asked in other protocols are not told the token."""
    with serve(silent) as served:
        shake_hands("127.0.0.1", served.port, token=Known("canary-canary"), timeout_s=0.4)

    said = b"".join(served.heard)
    assert said.count(b"canary-canary") == 1
    assert b"HEAD / HTTP/1.0" in said


def test_words_of_a_server_cannot_reach_the_terminal() -> None:
    auth = {**SIGNED_IN, "login": BEL_AND_COLOUR, "statusMessage": BEL_AND_COLOUR * 100}
    models = {"models": [{"id": BEL_AND_COLOUR}]}

    result = shake(FakeCopilot(version=BEL_AND_COLOUR, auth=auth, models=models))

    check_shape(result)
    for text in texts(msgspec.to_builtins(result)):
        assert text.replace("\ufffd", "?").isprintable()
    assert result.login == "red \ufffd back line end"


# Connecting


def unused_port(host: str = "127.0.0.1") -> int:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as unused:
        unused.bind((host, 0))
        port: int = unused.getsockname()[1]
        return port


def test_nothing_listens() -> None:
    result = shake_hands("127.0.0.1", unused_port(), token=Known())

    check_shape(result)
    assert outcomes(result)["connect"] == ("fail", "refused")
    assert {outcomes(result)[name] for name in STEPS[1:]} == {("skip", "blocked")}
    assert (result.peer, result.address, result.sent_token) == ("none", "127.0.0.1", False)


@pytest.mark.skipif(sys.platform != "linux", reason="a full backlog answers otherwise elsewhere")
def test_connection_that_is_not_accepted_in_time() -> None:
    with socket.socket() as listener, contextlib.ExitStack() as stack:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(3):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        started = time.monotonic()
        result = shake_hands("127.0.0.1", listener.getsockname()[1], timeout_s=0.3)

    assert outcomes(result)["connect"] == ("fail", "timeout")
    assert time.monotonic() - started < 1.5


def test_listener_that_never_accepts_is_silent() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(16)
        result = shake_hands("127.0.0.1", listener.getsockname()[1], timeout_s=0.3)

    assert outcomes(result)["handshake"] == ("fail", "peer-silent")


def test_addresses_are_tried_in_order() -> None:
    with serve(FakeCopilot()) as served:
        result = shake_hands("copilot", served.port, addresses=["127.0.0.2", "127.0.0.1"])

    assert (result.host, result.address) == ("copilot", "127.0.0.1")
    assert outcomes(result)["connect"] == ("pass", "ok")
    assert "127.0.0.2: nothing listens there" in step(result, "connect").detail


@pytest.mark.skipif(sys.platform != "linux", reason="a full backlog answers otherwise elsewhere")
def test_address_that_does_not_answer_leaves_time_for_the_next() -> None:
    with serve(FakeCopilot()) as served, socket.socket() as full, contextlib.ExitStack() as stack:
        full.bind(("127.0.0.2", served.port))
        full.listen(0)
        for _ in range(3):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        addresses = ["127.0.0.2", "127.0.0.1"]
        result = shake_hands("copilot", served.port, addresses=addresses, timeout_s=2)

    assert (result.peer, result.address) == ("copilot", "127.0.0.1")
    assert "127.0.0.2: the time was up" in step(result, "connect").detail


def test_addresses_may_be_socket_addresses() -> None:
    with serve(FakeCopilot()) as served:
        address = (socket.AF_INET, ("127.0.0.1", served.port))
        result = shake_hands("copilot", served.port, addresses=[address])

    assert result.peer == "copilot"


def test_name_without_addresses_is_unknown() -> None:
    for result in (
        shake_hands("copilot", 3000),
        shake_hands("copilot", 3000, addresses=[]),
        shake_hands("copilot", 3000, addresses=["no-address"]),
    ):
        check_shape(result)
        assert outcomes(result)["connect"] == ("unknown", "no-address")
        assert {outcomes(result)[name] for name in STEPS[1:]} == {("skip", "blocked")}
        assert result.address == ""


def test_localhost_and_ipv6_need_no_resolver() -> None:
    with serve(FakeCopilot()) as served:
        assert shake_hands("localhost", served.port).peer == "copilot"
    with contextlib.suppress(OSError), serve(FakeCopilot(), host="::1") as served:
        result = shake_hands("::1", served.port)
        assert (result.peer, result.address) == ("copilot", "::1")


@pytest.mark.parametrize("port", [0, -1, 65536])
def test_port_must_be_one(port: int) -> None:
    with pytest.raises(ValueError, match="not a TCP port"):
        shake_hands("127.0.0.1", port)


def test_fault_of_this_machine_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(socket.socket, "connect", fails)

    result = shake_hands("127.0.0.1", 3000)

    check_shape(result)
    assert outcomes(result)["connect"] == ("unknown", "local")


# The real CLI. Versions besides the oldest and the newest are those after which the answers change.

VERSIONS = ("0.0.400", "1.0.2", "1.0.32", "1.0.44", OLDEST, "1.0.64", "1.0.81", NEWEST)
REAL_TOKEN = "real-c0nnection-5ecret"


def says_after_connect(version: str) -> str:
    return "string" if version_tuple(version) >= (1, 0, 57) else "integer"


@pytest.mark.real
@pytest.mark.parametrize("version", VERSIONS)
def test_real_server_without_a_token(version: str) -> None:
    has_connect = version_tuple(version) >= (1, 0, 44)
    with start_server(version, how="native") as server:
        plain = shake_hands("127.0.0.1", server.port, timeout_s=20)
        sent = shake_hands("127.0.0.1", server.port, token=Known(REAL_TOKEN), timeout_s=20)

    for result in (plain, sent):
        check_shape(result)
        check_no_leak(result, REAL_TOKEN)
        assert (result.peer, result.version) == ("copilot", version)
        assert result.protocol_version == (2 if version == "0.0.400" else 3)
        assert result.has_connect is has_connect
        assert (result.signed_in, result.status_message) == (False, "Not authenticated")
        assert result.timestamp == says_after_connect(version)
    assert plain.token == "not-required"
    assert outcomes(plain)["connection-token"] == ("pass", "token-not-required")
    assert outcomes(plain)["authentication"] == ("warn", "not-signed-in")
    assert sent.token == ("not-configured" if has_connect else "ignored")
    assert sent.went_mute is (version in {"1.0.44", "1.0.63"})
    assert outcomes(sent)["connection-token"] == (
        ("fail", "token-not-configured") if has_connect else ("warn", "token-ignored")
    )


@pytest.mark.real
@pytest.mark.parametrize("version", VERSIONS)
def test_real_server_with_a_token(version: str) -> None:
    has_connect = version_tuple(version) >= (1, 0, 44)
    env = {"COPILOT_CONNECTION_TOKEN": REAL_TOKEN}
    with start_server(version, how="native", env=env) as server:
        results = [
            shake_hands("127.0.0.1", server.port, token=token, timeout_s=20)
            for token in (Known(REAL_TOKEN), Known("wrong-c0nnection"), None)
        ]

    for result in results:
        check_shape(result)
        check_no_leak(result, REAL_TOKEN)
    right, wrong, none = results
    assert right.version == version
    if has_connect:
        assert [r.token for r in results] == ["accepted", "rejected", "required"]
        assert (wrong.version, none.version) == (None, None)
        assert outcomes(wrong)["connection-token"] == ("fail", "token-rejected")
        assert outcomes(none)["connection-token"] == ("fail", "token-required")
    else:
        assert [r.token for r in results] == ["ignored", "ignored", "not-required"]
        assert (wrong.version, none.version) == (version, version)


@pytest.mark.real
@pytest.mark.parametrize("version", ["0.0.400", "1.0.32", OLDEST, NEWEST])
def test_real_acp_server(version: str) -> None:
    with start_server(version, how="native", mode="--acp") as server:
        result = shake_hands("127.0.0.1", server.port, timeout_s=20)

    check_shape(result)
    assert outcomes(result)["handshake"] == ("fail", "peer-acp")
    assert result.peer_detail == f"Copilot {version}, ACP version 1"


@pytest.mark.real
@pytest.mark.namespace
def test_real_server_that_is_signed_in(cli_version: str, needs_root_namespace: None) -> None:
    del needs_root_namespace
    with fake_github() as github:
        token = github.token("gho", login="mona")
        with github.start_server(
            cli_version, how="native", env={"COPILOT_GITHUB_TOKEN": token}
        ) as server:
            port = server.port
            result = github.namespace.call(lambda: shake_hands("127.0.0.1", port, timeout_s=20))

    check_shape(result)
    assert outcomes(result)["authentication"] == ("pass", "signed-in")
    assert (result.signed_in, result.auth_type, result.login) == (True, "env", "mona")
    assert outcomes(result)["models"] == ("pass", "ok")
    assert result.models is not None
    assert set(MODELS) <= set(result.models)
    assert result.status_message == "mona (via COPILOT_GITHUB_TOKEN)"
