"""The wire protocol: framing, limits, failures, and text that is fit to show."""

from __future__ import annotations

import contextlib
import errno
import html
import itertools
import json
import os
import socket
import sys
import time
import tracemalloc
import urllib.parse
from typing import TYPE_CHECKING

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from doctor.probes.wire import (
    MAX_BODY_BYTES,
    MAX_HEADER_BYTES,
    Cleaner,
    Connection,
    Deadline,
    Failure,
    FrameParser,
    Result,
    RpcError,
)
from tests.probes.hostile import FakeCopilot, Talk, frame, framed, serve, silent, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from doctor.probes.wire import Address


class Known:
    """A secret of the tests."""

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({cut % (len(data) + 1) for cut in cuts} | {0, len(data)})
    return [data[a:b] for a, b in itertools.pairwise(places)]


def parse(parts: list[bytes]) -> tuple[list[bytes], Failure | None]:
    parser = FrameParser()
    bodies: list[bytes] = []
    for part in parts:
        parser.feed(part)
        while (body := parser.next_body()) is not None:
            if isinstance(body, Failure):
                return bodies, body
            bodies.append(body)
    return bodies, None


HEADER = st.sampled_from(
    [
        "Content-Length: {}\r\n",
        "content-length:{}\r\n",
        "CONTENT-LENGTH: \t{} \r\n",
        "Content-Type: application/vscode-jsonrpc; charset=utf-8\r\nContent-Length: {}\r\n",
        "Content-Length: {}\r\nX-Anything: : : \r\n",
        "Content-Length: 00{}\r\n",
    ]
)
# A busy machine takes its time.
UNHURRIED = settings(deadline=None)

CUTS = st.lists(st.integers(0, 10_000), max_size=30)


@UNHURRIED
@given(st.lists(st.tuples(HEADER, st.binary(max_size=300)), max_size=6), CUTS)
def test_frames_arrive_in_any_pieces(messages: list[tuple[str, bytes]], cuts: list[int]) -> None:
    data = b"".join(header.format(len(body)).encode() + b"\r\n" + body for header, body in messages)

    assert parse(pieces(data, cuts)) == ([body for _, body in messages], None)


@UNHURRIED
@given(st.tuples(HEADER, st.binary(max_size=40)))
def test_frame_arrives_byte_by_byte(message: tuple[str, bytes]) -> None:
    header, body = message
    data = header.format(len(body)).encode() + b"\r\n" + body

    assert parse([bytes([byte]) for byte in data]) == ([body], None)


NEARLY = st.lists(
    st.sampled_from(
        [b"Content-Length:", b" 3", b"-1", b"\r\n", b"\r", b"\n", b"{}", b"abc", b"\0", b"A-b: c"]
    )
    | st.binary(max_size=5),
    max_size=15,
).map(b"".join)


@UNHURRIED
@given(NEARLY, CUTS)
@example(b"Content-Length: 3\r\n\r", [5])
def test_pieces_do_not_change_what_is_read(data: bytes, cuts: list[int]) -> None:
    bodies, failure = parse(pieces(data, cuts))
    whole_bodies, whole_failure = parse([data])

    assert bodies == whole_bodies
    assert (failure is None) == (whole_failure is None)


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"Content-Length: -1\r\n\r\n", "framing"),
        (b"Content-Length: +1\r\n\r\n", "framing"),
        (b"Content-Length: 1.0\r\n\r\n", "framing"),
        (b"Content-Length: 0x10\r\n\r\n", "framing"),
        (b"Content-Length: 1 2\r\n\r\n", "framing"),
        (b"Content-Length:\r\n\r\n", "framing"),
        (b"Content-Length: " + "\u0663".encode() + b"\r\n\r\n", "framing"),
        (b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n", "framing"),
        (b"Content-Type: text\r\n\r\n", "framing"),
        (b"\r\n", "framing"),
        (b": 5\r\n", "framing"),
        (b" Content-Length: 5\r\n", "framing"),
        (b"Content Length: 5\r\n", "framing"),
        (b"Content-Length: %d\r\n\r\n" % (MAX_BODY_BYTES + 1), "oversize"),
        (b"Content-Length: " + b"9" * 18 + b"\r\n\r\n", "oversize"),
        (b"Content-Length: " + b"9" * 19 + b"\r\n\r\n", "framing"),
    ],
)
def test_bad_headers_are_refused(data: bytes, kind: str) -> None:
    bodies, failure = parse([data])

    assert bodies == []
    assert failure is not None
    assert failure.kind == kind


@pytest.mark.parametrize(
    "data",
    [b"H", b"SSH-2.0-x\r\n", b"\x15", b"{", b"-E", b"220 ", b"<", b"HTTP/1", b"ERROR\r\n", b"a\n"],
)
def test_other_protocols_are_found_out_by_their_first_line(data: bytes) -> None:
    expected = None if data == b"H" else "framing"

    failure = parse([data])[1]

    assert (failure and failure.kind) == expected


@pytest.mark.parametrize("line", [b"a" * MAX_HEADER_BYTES + b"a", b"a: b\r\n" * 2000])
def test_header_has_a_limit(line: bytes) -> None:
    failure = parse([line])[1]

    assert failure is not None
    assert "longer than" in failure.detail


def test_failure_stays_and_costs_no_memory() -> None:
    parser = FrameParser()
    parser.feed(b"\0")
    first = parser.next_body()
    for _ in range(100):
        parser.feed(b"Content-Length: 2\r\n\r\n{}" * 1000)

    assert isinstance(first, Failure)
    assert parser.next_body() is first
    assert not parser.inside_message


def test_longest_body_is_read_within_its_memory() -> None:
    body = b" " * MAX_BODY_BYTES
    data = framed(body)
    chunks = [data[i : i + 65536] for i in range(0, len(data), 65536)]
    tracemalloc.start()
    try:
        bodies, failure = parse(chunks)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert (len(bodies[0]), failure) == (MAX_BODY_BYTES, None)
    assert peak < 3.5 * MAX_BODY_BYTES


# Text of a peer


def spellings(secret: str) -> list[str]:
    return [
        secret,
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        html.escape(secret),
        urllib.parse.quote(secret, safe=""),
        secret.upper(),
    ]


SECRETS = st.text(
    st.characters(exclude_categories=["Cs"], max_codepoint=0x2FFF), min_size=8, max_size=60
)


@UNHURRIED
@given(SECRETS, st.text(max_size=40), st.text(max_size=40), st.integers(0, 5), st.integers(8, 400))
@example("to ken-1234567", "invalid token: to  ken-1234567", "", 0, 300)
@example("abc\x1b[0mdefgh", "", "", 0, 300)
@example("abcdefgh", "abcd\u200befgh abcd\x1b[31mefgh", "", 0, 300)
def test_secret_never_shows(
    secret: str, before: str, after: str, spelling: int, limit: int
) -> None:
    shown = " ".join(secret.split())
    assume(len(shown) >= 8)
    assume(shown.lower() not in Cleaner.MARK.lower())
    text = before + spellings(secret)[spelling] + after

    cleaned = Cleaner(Known(secret))(text, limit)

    assert secret not in cleaned
    assert shown not in cleaned
    assert spellings(secret)[spelling] not in cleaned


@UNHURRIED
@given(SECRETS, st.integers(0, 120))
def test_cut_leaves_no_half_of_a_secret(secret: str, padding: int) -> None:
    assume(len(secret.strip()) >= 8)
    clean = Cleaner(Known(secret))
    text = "." * padding + secret + "." * 200_000

    cleaned = clean(text, 100)

    assert len(cleaned) <= 100
    assert set(cleaned) <= set("." + Cleaner.MARK + "…")


def test_cut_of_a_long_text_leaves_no_half_of_a_secret() -> None:
    secret = "5ecret-" + "0123456789" * 3
    for missing in range(1, len(secret)):
        text = " " * (Cleaner._LOOKED_AT - missing) + secret + "!"

        assert secret[:8] not in Cleaner(Known(secret))(text)


def test_short_secret_is_hidden_where_it_stands_alone() -> None:
    clean = Cleaner(Known("1"))

    assert clean("Copilot 1.0.63") == "Copilot 1.0.63"
    assert clean("bad token: 1") == "bad token: [connection token]"
    assert clean("bad token '1', sorry") == "bad token '[connection token]', sorry"


@UNHURRIED
@given(st.text(max_size=500) | st.binary(max_size=500), st.integers(1, 300))
def test_text_is_printable_short_and_on_one_line(text: str | bytes, limit: int) -> None:
    cleaned = Cleaner()(text, limit)

    assert cleaned.replace("\ufffd", "?").isprintable()
    assert len(cleaned) <= limit


def test_terminal_sequences_and_control_characters_are_gone() -> None:
    text = "\x1b[31mred\x1b[0m \x07bell \x9b2J\x1b]0;title\x07 \u202eback line\r\nend \x00\x7f"

    assert Cleaner()(text) == "red \ufffdbell back line end \ufffd\ufffd"


def test_secret_of_undecodable_bytes_is_hidden() -> None:
    secret = b"caf\xe9-connection".decode("utf-8", "surrogateescape")

    assert Cleaner(Known(secret))("got caf?-connection") == "got [connection token]"


def test_terminal_sequence_takes_no_half_of_a_secret_with_it() -> None:
    cleaned = Cleaner(Known("[31msecret-half"))("\x1b[31msecret-half")

    assert "secret-half" not in cleaned


def test_cleaner_does_not_show_its_secret() -> None:
    assert "hunter22" not in repr(Cleaner(Known("hunter22")))


# Connections


def address(port: int, host: str = "127.0.0.1") -> Address:
    return (socket.AF_INET, (host, port))


@contextlib.contextmanager
def connection(port: int) -> Iterator[Connection]:
    opened = Connection.open(address(port), Deadline(5), Cleaner())
    assert isinstance(opened, Connection)
    with contextlib.closing(opened):
        yield opened


def test_requests_in_one_piece_get_their_own_answers() -> None:
    with serve(FakeCopilot()) as served, connection(served.port) as opened:
        ids = opened.send(Deadline(5), ("status.get", {}), ("nonsense", {}), ("ping", {}))

        assert opened.wait(ids, Deadline(5)) is None
        status, nonsense, ping = map(opened.reply, ids)

    assert isinstance(status, Result)
    assert json.loads(bytes(status.value))["version"] == "1.0.102"
    assert isinstance(nonsense, RpcError)
    assert (nonsense.code, nonsense.message) == (-32601, "Unhandled method nonsense")
    assert isinstance(ping, Result)
    assert 0 < ping.elapsed_ms < 5000


def test_only_the_first_answer_counts() -> None:
    def answers_in_any_order(talk: Talk) -> None:
        first, second = talk.request(), talk.request()
        talk.answer(second, "second")
        talk.answer(second, "late")
        talk.answer(first, "first")
        talk.stay()

    with serve(answers_in_any_order) as served, connection(served.port) as opened:
        ids = opened.send(Deadline(5), ("a", {}), ("b", {}))
        assert opened.wait(ids, Deadline(5)) is None
        replies = [opened.reply(i) for i in ids]

    assert [bytes(reply.value) for reply in replies if isinstance(reply, Result)] == [
        b'"first"',
        b'"second"',
    ]
    assert opened.skipped == 1


def test_waiting_can_go_on_after_a_timeout() -> None:
    slow = FakeCopilot(delay_s={"ping": 0.2})
    with serve(slow) as served, connection(served.port) as opened:
        ids = opened.send(Deadline(5), ("ping", {}))
        first = opened.wait(ids, Deadline(0.05))
        second = opened.wait(ids, Deadline(5))

    assert first is not None
    assert first.kind == "timeout"
    assert second is None


def test_requests_of_the_peer_are_never_answered() -> None:
    asks = frame({"jsonrpc": "2.0", "id": 1, "method": "permission.request", "params": {}})
    server = FakeCopilot(before=asks)
    with serve(server) as served, connection(served.port) as opened:
        ids = opened.send(Deadline(5), ("ping", {}), ("status.get", {}))
        assert opened.wait(ids, Deadline(5)) is None

        pong = opened.reply(ids[0])

    assert [request["method"] for request in server.heard] == ["ping", "status.get"]
    assert opened.skipped == 2
    # The request has the id of our own, and is no answer to it.
    assert isinstance(pong, Result)
    assert b"pong" in bytes(pong.value)


def test_deadline_that_has_passed_is_a_timeout() -> None:
    with serve(silent) as served, connection(served.port) as opened:
        failure = opened.wait(opened.send(Deadline(0), ("ping", {})), Deadline(0))

    assert failure is not None
    assert failure.kind == "timeout"


def test_peer_that_left_is_no_exception() -> None:
    def resets(talk: Talk) -> None:
        talk.hear()
        talk.reset()

    with serve(resets) as served, connection(served.port) as opened:
        for _ in range(3):
            ids = opened.send(Deadline(5), ("ping", {}))
            time.sleep(0.05)
        failure = opened.wait(ids, Deadline(5))

    assert failure is not None
    assert failure.kind in {"reset", "closed"}


def test_refused_connection() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        failure = Connection.open(address(unused.getsockname()[1]), Deadline(5), Cleaner())

    assert isinstance(failure, Failure)
    assert failure.kind == "refused"


@pytest.mark.skipif(sys.platform != "linux", reason="a full backlog answers otherwise elsewhere")
def test_connection_that_is_never_accepted_ends_at_the_deadline() -> None:
    with socket.socket() as listener, contextlib.ExitStack() as stack:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(3):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        started = time.monotonic()
        full = address(listener.getsockname()[1])
        failure = Connection.open(full, Deadline(0.2), Cleaner())
        elapsed_s = time.monotonic() - started

    assert isinstance(failure, Failure)
    assert failure.kind == "timeout"
    assert elapsed_s < 1.2


def test_connection_to_oneself_counts_as_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    connect = socket.socket.connect

    def from_the_same_port(self: socket.socket, to: tuple[str, int]) -> None:
        self.bind(to)
        connect(self, to)

    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    monkeypatch.setattr(socket.socket, "connect", from_the_same_port)

    failure = Connection.open(address(port), Deadline(5), Cleaner())

    assert isinstance(failure, Failure)
    assert failure.kind == "refused"


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ECONNREFUSED, "refused"),
        (errno.ETIMEDOUT, "timeout"),
        (errno.EHOSTUNREACH, "unreachable"),
        (errno.ENETUNREACH, "unreachable"),
        (errno.EADDRNOTAVAIL, "unreachable"),
        (errno.EPERM, "forbidden"),
        (errno.EACCES, "forbidden"),
        (errno.ECONNRESET, "reset"),
        (errno.EPIPE, "closed"),
        (errno.EMFILE, "local"),
    ],
)
def test_every_way_to_fail_has_its_name(
    number: int, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(socket.socket, "connect", fails)

    failure = Connection.open(address(1), Deadline(1), Cleaner())

    assert isinstance(failure, Failure)
    assert failure.kind == kind


def test_no_descriptor_is_a_fault_of_this_side(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(socket, "socket", fails)

    assert Connection.open(address(1), Deadline(1), Cleaner()) == Failure(
        kind="local", detail="Too many open files (EMFILE)"
    )


def test_closed_connection_is_let_go() -> None:
    with serve(silent) as served:
        with connection(served.port) as opened:
            opened.send(Deadline(1), ("ping", {}))
            wait_until(lambda: bool(served.heard))
        wait_until(lambda: served.heard[-1] == b"")


@pytest.mark.skipif(not hasattr(socket, "TCP_QUICKACK"), reason="Linux only")
def test_server_that_writes_in_small_pieces_is_not_waited_for() -> None:
    """With the delayed acknowledgement of Linux each answer would take 40 ms."""

    def in_two_writes(talk: Talk) -> None:
        talk.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 0)
        while True:
            request = talk.request()
            body = json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": 1}).encode()
            talk.say(b"Content-Length: %d\r\n\r\n" % len(body))
            talk.say(body)

    took_ms = []
    with serve(in_two_writes) as served, connection(served.port) as opened:
        for _ in range(20):
            [asked] = opened.send(Deadline(5), ("ping", {}))
            assert opened.wait([asked], Deadline(5)) is None
            reply = opened.reply(asked)
            assert reply is not None
            took_ms.append(reply.elapsed_ms)

    assert sorted(took_ms)[10] < 30
