"""What listens on a port when it is not a Copilot server.

Recognised by what it says first, by what it answers to a `connect` frame, and, where it stays
silent or hangs up, by what it answers to the first words of other protocols.
"""

from __future__ import annotations

import re
import selectors
from typing import TYPE_CHECKING, Literal, TypeAlias

import msgspec

from doctor.probes.wire import Connection, Deadline, Failure, decode, whole_number

if TYPE_CHECKING:
    from doctor.probes.wire import Address, Cleaner

PeerName: TypeAlias = Literal[
    "copilot",
    "http",
    "tls",
    "ssh",
    "redis",
    "acp",
    "silent",
    "closed",
    "reset",
    "garbage",
    "unknown",
    "none",
]


class Peer(msgspec.Struct, frozen=True, kw_only=True):
    """Who is at the other end; `detail` is clean and short."""

    name: PeerName
    detail: str


_DETAIL_CHARACTERS = 120

# A server that greets first, or that complains in words of its own protocol.
_GREETINGS: tuple[tuple[bytes, PeerName, str], ...] = (
    (b"SSH-", "ssh", ""),
    (b"-ERR", "redis", ""),
    (b"-NOAUTH", "redis", ""),
    (b"-DENIED", "redis", ""),
    (b"-LOADING", "redis", ""),
    (b"-MISCONF", "redis", ""),
    (b"RFB ", "unknown", "VNC server"),
    (b"AMQP", "unknown", "AMQP broker"),
    (b"+OK", "unknown", "POP3 server"),
    (b"* OK", "unknown", "IMAP server"),
    (b"ERROR\r\n", "unknown", "Memcached server"),
)

_HTTP2_SETTINGS = re.compile(rb"\0\0[\0-\xff]\x04[\0\1]\0{4}", re.DOTALL)
_TLS_RECORD = re.compile(rb"[\x15\x16]\x03")  # alert or handshake, any version
_MYSQL_GREETING = re.compile(rb"[^\0][\0-\xff]\0\0[\x09\x0a\xff]([^\0]*)", re.DOTALL)

INITIALIZE = (
    b'{"jsonrpc":"2.0","id":0,"method":"initialize",'
    b'"params":{"protocolVersion":1,"clientCapabilities":{}}}\n'
)
"""First request of the Agent Client Protocol: one line of JSON. It opens no session."""


def _vector(size_bytes: int, content: bytes) -> bytes:
    return len(content).to_bytes(size_bytes, "big") + content


def _client_hello() -> bytes:
    """A TLS 1.2 greeting. Every TLS server answers it: with its own greeting or with an alert."""
    extensions = b"".join(
        kind + _vector(2, _vector(length_bytes, content))
        for kind, length_bytes, content in (
            (b"\x00\x0a", 2, b"\x00\x1d\x00\x17"),  # groups x25519, secp256r1
            (b"\x00\x0b", 1, b"\x00"),  # uncompressed points
            (b"\x00\x0d", 2, b"\x04\x03\x08\x04\x04\x01"),  # ECDSA and RSA with SHA-256
        )
    )
    ciphers = b"\xc0\x2f\xc0\x2b\xc0\x30\xc0\x2c\x00\x9c\x00\x2f"
    hello = (
        b"\x03\x03" + bytes(32) + _vector(1, b"") + _vector(2, ciphers) + b"\x01\x00"
    ) + _vector(2, extensions)
    return b"\x16\x03\x01" + _vector(2, b"\x01" + _vector(3, hello))


_FIRST_WORDS: tuple[tuple[str, bytes], ...] = (
    ("lines", INITIALIZE),
    # HEAD, not GET: it is all that is needed, and makes the other side do the least.
    ("http", b"HEAD / HTTP/1.0\r\n\r\n"),
    ("tls", _client_hello()),
    ("postgres", b"\x00\x00\x00\x08\x04\xd2\x16\x2f"),
)


def recognise(said: bytes, clean: Cleaner, *, asked: str = "connect") -> Peer | None:
    """Name the server that said these bytes.

    Args:
        said: The beginning of what it said; it may be cut anywhere.
        clean: Makes its text fit to show.
        asked: In which protocol it was spoken to: `connect` (a `connect` frame), `lines`, `http`,
            `tls` or `postgres`.

    Returns:
        None when nothing was said, or when it says nothing about who said it.
    """
    if not said:
        return None
    for prefix, name, words in _GREETINGS:
        if said.startswith(prefix):
            line = _first_line(said, clean)
            return Peer(
                name=name, detail=line if not words or "\ufffd" in line else f"{words}: {line}"
            )
    return (
        _http(said, clean)
        or _binary(said, clean)
        or _numbered_greeting(said, clean)
        or _json_lines(said, clean)
        or _framed(said)
        or (_postgres(said) if asked == "postgres" else None)
    )


def speaks_lines(said: bytes) -> bool:
    """Whether a peer answers in lines of JSON, as an ACP server does."""
    return said.lstrip().startswith(b"{")


def enough(said: bytes) -> bool:
    """Whether more bytes would tell no more about who says them."""
    if said.startswith(b"HTTP/"):
        return b"\r\n\r\n" in said
    binary = (_TLS_RECORD, _HTTP2_SETTINGS, _MYSQL_GREETING)
    return b"\n" in said or any(pattern.match(said) for pattern in binary)


def look_closer(address: Address, deadline: Deadline, clean: Cleaner) -> Peer | None:
    """Speak to a server in other protocols, all at once, each on a connection of its own.

    For a server that answered nothing that tells who it is. No secret is sent.
    """
    open_ones: dict[Connection, str] = {}
    with selectors.DefaultSelector() as selector:
        try:
            for asked, words in _FIRST_WORDS:
                connection = Connection.open(address, deadline, clean)
                if isinstance(connection, Failure):
                    continue
                open_ones[connection] = asked
                connection.send_bytes(words, deadline)
                selector.register(connection.sock, selectors.EVENT_READ, connection)
            return _first_recognised(open_ones, selector, deadline, clean)
        finally:
            for connection in open_ones:
                connection.close()


def _first_recognised(
    asked: dict[Connection, str],
    selector: selectors.BaseSelector,
    deadline: Deadline,
    clean: Cleaner,
) -> Peer | None:
    waiting = len(asked)
    while waiting and deadline.remaining_s:
        for key, _ in selector.select(deadline.remaining_s):
            connection: Connection = key.data
            ended = isinstance(connection.receive(deadline), Failure)
            said = bytes(connection.said)
            if ended or enough(said):
                selector.unregister(connection.sock)
                waiting -= 1
            peer = recognise(said, clean, asked=asked[connection])
            if peer is not None and (ended or enough(said) or peer.name not in {"http", "ssh"}):
                return peer
    return None


def _first_line(said: bytes, clean: Cleaner) -> str:
    return clean(said.lstrip().partition(b"\n")[0], _DETAIL_CHARACTERS)


def _http(said: bytes, clean: Cleaner) -> Peer | None:
    if said.startswith(b"HTTP/"):
        head = said.partition(b"\r\n\r\n")[0].split(b"\r\n")
        detail = clean(head[0], _DETAIL_CHARACTERS)
        for line in head[1:]:
            name, _, value = line.partition(b":")
            if name.strip().lower() == b"server":
                detail += f", server {clean(value, _DETAIL_CHARACTERS)}"
                break
        return Peer(name="http", detail=detail)
    # `python -m http.server` takes a frame for a request of HTTP 0.9, whose answer has no header.
    if said.lstrip()[:14].lower().startswith((b"<!doctype html", b"<html", b"<?xml")):
        return Peer(name="http", detail="answered with a page in HTML")
    # Length, type, flags and stream 0 of the first frame of HTTP/2.
    if _HTTP2_SETTINGS.match(said):
        return Peer(name="http", detail="HTTP/2")
    return None


def _binary(said: bytes, clean: Cleaner) -> Peer | None:
    if _TLS_RECORD.match(said):
        return Peer(name="tls", detail="answered with a TLS record")
    if mysql := _MYSQL_GREETING.match(said):
        return Peer(name="unknown", detail=f"MySQL or MariaDB server {clean(mysql[1], 40)}".strip())
    return None


def _numbered_greeting(said: bytes, clean: Cleaner) -> Peer | None:
    if not said.startswith((b"220 ", b"220-")):
        return None
    line = _first_line(said, clean)
    kind = "FTP" if b"ftp" in said.lower() else "SMTP"
    return Peer(name="unknown", detail=f"{kind} server: {line}")


class _Line(msgspec.Struct, gc=False):
    jsonrpc: msgspec.Raw = msgspec.Raw()
    result: msgspec.Raw = msgspec.Raw()
    error: msgspec.Raw = msgspec.Raw()


class _Info(msgspec.Struct, gc=False):
    name: msgspec.Raw = msgspec.Raw()
    version: msgspec.Raw = msgspec.Raw()


class _Initialized(msgspec.Struct, gc=False, rename="camel"):
    protocol_version: msgspec.Raw = msgspec.Raw()
    agent_capabilities: msgspec.Raw = msgspec.Raw()
    agent_info: msgspec.Raw = msgspec.Raw()
    server_info: msgspec.Raw = msgspec.Raw()


def _json_lines(said: bytes, clean: Cleaner) -> Peer | None:
    if not speaks_lines(said):
        return None
    some = False
    for text in said.split(b"\n"):
        line = decode(text, _Line)
        if line is None or not bytes(line.jsonrpc):
            continue
        some = True
        answer = decode(line.result, _Initialized)
        if answer is None:
            continue
        if bytes(answer.agent_capabilities) or bytes(answer.agent_info):
            number = whole_number(answer.protocol_version)
            detail = _name_of(answer.agent_info, clean) or "an agent without a name"
            return Peer(name="acp", detail=f"{detail}, ACP version {number}")
        if bytes(answer.server_info):
            named = _name_of(answer.server_info, clean)
            return Peer(name="unknown", detail=f"MCP server {named}".rstrip())
    return Peer(name="unknown", detail="JSON-RPC in lines") if some else None


def _name_of(info: msgspec.Raw, clean: Cleaner) -> str:
    found = decode(info, _Info) or _Info()
    parts = (decode(found.name, str), decode(found.version, str))
    return " ".join(clean(part, 40) for part in parts if part)


def _framed(said: bytes) -> Peer | None:
    """A peer that knows `Content-Length` frames, but not what Copilot says in them."""
    if not said.lower().startswith(b"content-length:"):
        return None
    # Copilot from 1.0.64 on answers anything that is no frame with a parse error; up to 1.0.63 it
    # stays silent (observed on 1.0.63, 1.0.102).
    if b'"code":-32700' in said and b"Message header must separate" in said:
        return Peer(name="copilot", detail="")
    return Peer(name="unknown", detail="JSON-RPC in Content-Length frames")


def _postgres(said: bytes) -> Peer | None:
    if said in {b"S", b"N"}:
        return Peer(name="unknown", detail="PostgreSQL server")
    return None
