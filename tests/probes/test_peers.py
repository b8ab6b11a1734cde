"""Who is at the other end, by what it says."""

from __future__ import annotations

import socket
import ssl
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from doctor.probes import peers
from doctor.probes.peers import Peer, look_closer, recognise
from doctor.probes.wire import Cleaner, Deadline
from tests.probes.hostile import (
    HTTP2,
    MYSQL,
    Behaviour,
    FakeCopilot,
    Talk,
    acp_that_hates_headers,
    closes_at_once,
    endless_line,
    http_that_waits,
    noise,
    postgres,
    resets_at_once,
    serve,
    silent,
    tls_real,
    tls_that_waits,
)

ACP_OF_1_0_102 = (
    b'{"jsonrpc":"2.0","id":0,"result":{"protocolVersion":1,"agentCapabilities":{"auth":{"logout":'
    b'{}},"loadSession":true},"agentInfo":{"name":"Copilot","title":"Copilot","version":"1.0.102"},'
    b'"authMethods":[]}}\n'
)
METHOD_NOT_FOUND = b'{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"no connect"}}\n'
PARSE_ERROR_OF_1_0_102 = (
    b'Content-Length: 116\r\n\r\n{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":'
    b"\"Message header must separate key and value using ':'\"}}"
)


@pytest.mark.parametrize(
    ("said", "name", "detail"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "http", "HTTP/1.1 400 Bad Request"),
        (
            b"HTTP/1.1 400 Bad Request\r\nDate: x\r\nserver:  nginx/1.25\r\nServer: b\r\n\r\nx",
            "http",
            "HTTP/1.1 400 Bad Request, server nginx/1.25",
        ),
        (b"HTTP/1.0 200 OK\r\nServer: \x1b[2Jx\r\n\r\n", "http", "HTTP/1.0 200 OK, server x"),
        (b"HTTP/1.1 200 O", "http", "HTTP/1.1 200 O"),
        (b"\n<!DOCTYPE HTML>\n<html>", "http", "answered with a page in HTML"),
        (b"<html><body>no</body>", "http", "answered with a page in HTML"),
        (HTTP2, "http", "HTTP/2"),
        (b"\x15\x03\x01\x00\x02\x02\x46", "tls", "answered with a TLS record"),
        (b"\x16\x03\x03\x00\x31\x02", "tls", "answered with a TLS record"),
        (b"SSH-2.0-OpenSSH_9.2\r\nmore", "ssh", "SSH-2.0-OpenSSH_9.2"),
        (b"-ERR unknown command\r\n", "redis", "-ERR unknown command"),
        (b"-DENIED Redis is running in protected mode\r\n", "redis", "-DENIED Redis is running in"),
        (b"220 mail.example.com ESMTP Postfix\r\n", "unknown", "SMTP server: 220 mail.example.com"),
        (b"220 (vsFTPd 3.0.5)\r\n", "unknown", "FTP server: 220 (vsFTPd"),
        (b"+OK Dovecot ready.\r\n", "unknown", "POP3 server: +OK Dovecot"),
        (b"* OK IMAP4rev1\r\n", "unknown", "IMAP server: * OK"),
        (b"ERROR\r\n", "unknown", "Memcached server"),
        (b"RFB 003.008\n", "unknown", "VNC server"),
        (b"AMQP\x00\x00\x09\x01", "unknown", "AMQP"),
        (MYSQL, "unknown", "MySQL or MariaDB server 8.0.36"),
        (ACP_OF_1_0_102, "acp", "Copilot 1.0.102, ACP version 1"),
        (METHOD_NOT_FOUND, "unknown", "JSON-RPC in lines"),
        (METHOD_NOT_FOUND + ACP_OF_1_0_102, "acp", "Copilot 1.0.102, ACP version 1"),
        (
            b'{"jsonrpc":"2.0","id":0,"result":{"agentInfo":5,"protocolVersion":"x"}}\n',
            "acp",
            "an agent without a name",
        ),
        (
            b'{"jsonrpc":"2.0","id":0,"result":{"serverInfo":{"name":"files","version":"2"}}}',
            "unknown",
            "MCP server files 2",
        ),
        (PARSE_ERROR_OF_1_0_102, "copilot", ""),
        (b"Content-Length: 2\r\n\r\n{}", "unknown", "JSON-RPC in Content-Length frames"),
    ],
)
def test_servers_are_recognised_by_their_first_words(said: bytes, name: str, detail: str) -> None:
    peer = recognise(said, Cleaner())

    assert peer is not None
    assert peer.name == name
    assert peer.detail.startswith(detail)


@pytest.mark.parametrize(
    "said", [b"", b"hello\n", b"\x00\x01\x02", b"{not json}\n", b"{}\n", b"S", b"N", b"220", b"HTT"]
)
def test_what_says_nothing_is_not_guessed(said: bytes) -> None:
    assert recognise(said, Cleaner()) is None


def test_one_letter_is_postgres_only_where_postgres_was_asked() -> None:
    assert recognise(b"N", Cleaner(), asked="postgres") == Peer(
        name="unknown", detail="PostgreSQL server"
    )


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_safe(said: bytes) -> None:
    for prefix in (b"", b"HTTP/1.1 ", b"SSH-", b'{"jsonrpc":"2.0","result":', b"Content-Length:"):
        peer = recognise(prefix + said, Cleaner())
        assert peer is None or peer.detail.replace("\ufffd", "?").isprintable()


def test_tls_greeting_is_well_formed() -> None:
    """OpenSSL reads it to its end: all that it misses is a cipher that it shares."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers("ADH:@SECLEVEL=0")
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    arrived, answer = ssl.MemoryBIO(), ssl.MemoryBIO()
    arrived.write(peers._client_hello())
    server = context.wrap_bio(arrived, answer, server_side=True)

    with pytest.raises(ssl.SSLError) as caught:
        server.do_handshake()

    assert caught.value.reason == "NO_SHARED_CIPHER"
    assert recognise(answer.read(), Cleaner()) == Peer(
        name="tls", detail="answered with a TLS record"
    )


def closer(behaviour: Behaviour, timeout_s: float) -> Peer | None:
    with serve(behaviour) as served:
        address = (socket.AF_INET, ("127.0.0.1", served.port))
        return look_closer(address, Deadline(timeout_s), Cleaner())


@pytest.mark.parametrize(
    ("behaviour", "name", "detail"),
    [
        (http_that_waits, "http", "HTTP/1.0 200 OK, server patient"),
        (tls_that_waits, "tls", "answered with a TLS record"),
        (tls_real, "tls", "answered with a TLS record"),
        (postgres, "unknown", "PostgreSQL server"),
        (acp_that_hates_headers, "acp", "other 7, ACP version 1"),
    ],
)
def test_server_that_only_answers_its_own_protocol(
    behaviour: Behaviour, name: str, detail: str
) -> None:
    assert closer(behaviour, 5) == Peer(name=name, detail=detail)  # type: ignore[arg-type]


@pytest.mark.parametrize("behaviour", [silent, FakeCopilot(), noise, endless_line])
def test_nothing_is_learnt_within_the_time(behaviour: Behaviour) -> None:
    started = time.monotonic()

    assert closer(behaviour, 0.2) is None
    assert time.monotonic() - started < 2


@pytest.mark.parametrize("behaviour", [closes_at_once, resets_at_once])
def test_peer_that_always_leaves_is_not_waited_for(behaviour: Behaviour) -> None:
    started = time.monotonic()

    assert closer(behaviour, 20) is None
    assert time.monotonic() - started < 10


def test_nothing_listens_any_more() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = (socket.AF_INET, unused.getsockname())

        assert look_closer(address, Deadline(5), Cleaner()) is None


def test_header_that_comes_in_pieces_is_waited_for() -> None:
    def in_pieces(talk: Talk) -> None:
        if talk.hear().startswith(b"HEAD "):
            talk.say(b"HTTP/1.0 200 OK\r\nDate: today\r\n")
            talk.pause(0.1)
            talk.say(b"Server: patient\r\n\r\n")
        talk.stay()

    assert closer(in_pieces, 5) == Peer(name="http", detail="HTTP/1.0 200 OK, server patient")


def test_copilot_is_recognised_by_its_parse_error() -> None:
    def hung(talk: Talk) -> None:
        if talk.hear().startswith(b"HEAD "):
            talk.say(PARSE_ERROR_OF_1_0_102)
        talk.stay()

    peer = closer(hung, 5)

    assert peer is not None
    assert peer.name == "copilot"
