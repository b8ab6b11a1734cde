"""Small servers that do what a Copilot server does not, and one that does what it does.

Each is a function that gets one accepted connection. `serve` runs it on a port of its own, every
connection in a thread; `PEERS` says what each one is to be taken for.
"""

from __future__ import annotations

import contextlib
import http.server
import json
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

Behaviour = Callable[["Talk"], None]


class Talk:
    """The server's end of one connection."""

    def __init__(self, sock: socket.socket, stopped: threading.Event, heard: list[bytes]) -> None:
        self.sock = sock
        self.stopped = stopped
        self._heard = heard
        self._buffer = b""

    def say(self, data: bytes) -> None:
        self.sock.sendall(data)

    def hear(self) -> bytes:
        """What has arrived, or nothing at the end."""
        data = self.sock.recv(65536)
        self._heard.append(data)
        return data

    def pause(self, seconds: float) -> None:
        """Wait, at most until the end of the test."""
        if self.stopped.wait(seconds):
            raise ConnectionError("the test is over")

    def stay(self) -> None:
        """Say nothing more."""
        while self.hear():
            pass

    def forever(self, data: bytes) -> None:
        while not self.stopped.is_set():
            self.say(data)

    def request(self) -> dict[str, Any]:
        """The next framed request."""
        while b"\r\n\r\n" not in self._buffer:
            data = self.hear()
            if not data:
                raise ConnectionError("the client left")
            self._buffer += data
        head, _, rest = self._buffer.partition(b"\r\n\r\n")
        length = int(head.partition(b":")[2])
        while len(rest) < length:
            data = self.hear()
            if not data:
                raise ConnectionError("the client left")
            rest += data
        self._buffer = rest[length:]
        request: dict[str, Any] = json.loads(rest[:length])
        return request

    def answer(self, request: dict[str, Any], result: object) -> None:
        self.say(frame({"jsonrpc": "2.0", "id": request["id"], "result": result}))

    def refuse(self, request: dict[str, Any], code: object, message: object = None) -> None:
        error = {"code": code} if message is None else {"code": code, "message": message}
        self.say(frame({"jsonrpc": "2.0", "id": request["id"], "error": error}))

    def reset(self) -> None:
        """Break the connection off."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


def frame(message: object) -> bytes:
    return framed(json.dumps(message).encode())


def framed(body: bytes) -> bytes:
    return b"Content-Length: %d\r\n\r\n%b" % (len(body), body)


@dataclass
class Served:
    port: int
    heard: list[bytes] = field(default_factory=list)
    """Everything that clients sent."""


@contextlib.contextmanager
def serve(behaviour: Behaviour, *, host: str = "127.0.0.1") -> Iterator[Served]:
    """Listen on a free port and give every connection to `behaviour`."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as listener:
        listener.bind((host, 0))
        listener.listen(64)
        served = Served(listener.getsockname()[1])
        stopped = threading.Event()
        open_ones: list[socket.socket] = []

        def handle(sock: socket.socket) -> None:
            # A client that leaves, or says something else than expected, is no fault of the test.
            with sock, contextlib.suppress(OSError, ValueError):
                behaviour(Talk(sock, stopped, served.heard))

        def accept() -> None:
            while True:
                sock, _ = listener.accept()
                if stopped.is_set():
                    sock.close()
                    return
                sock.settimeout(60)
                open_ones.append(sock)
                workers.append(threading.Thread(target=handle, args=(sock,), daemon=True))
                workers[-1].start()

        workers: list[threading.Thread] = []
        acceptor = threading.Thread(target=accept, daemon=True)
        acceptor.start()
        try:
            yield served
        finally:
            stopped.set()
            socket.create_connection((host, served.port)).close()  # wakes the acceptor
            acceptor.join(10)
            for sock in open_ones:
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
            for worker in workers:
                worker.join(10)


# Servers that answer as Copilot does


@dataclass(kw_only=True)
class FakeCopilot:
    """What a Copilot server answers; the defaults are those of 1.0.102 without a login."""

    version: str = "1.0.102"
    status_version: str | None = None
    protocol: object = 3
    token: str | None = None
    has_connect: bool = True
    mute_after_refusal: bool = False
    timestamp: object = "2026-11-23T00:56:06.607082954Z"
    auth: object = field(
        default_factory=lambda: {"isAuthenticated": False, "statusMessage": "Not authenticated"}
    )
    models: object = None
    ignore: tuple[str, ...] = ()
    """Methods that are never answered."""
    errors: dict[str, tuple[int, str | None]] = field(default_factory=dict)
    delay_s: dict[str, float] = field(default_factory=dict)
    before: bytes = b""
    """Said before every answer."""
    heard: list[dict[str, Any]] = field(default_factory=list)

    def __call__(self, talk: Talk) -> None:
        is_in = self.token is None
        while True:
            request = talk.request()
            self.heard.append(request)
            method = request.get("method")
            talk.pause(self.delay_s.get(str(method), 0))
            if self.before:
                talk.say(self.before)
            if method in self.ignore:
                continue
            if method in self.errors:
                talk.refuse(request, *self.errors[method])
            elif method == "connect" and self.has_connect:
                sent = request["params"].get("token")
                if self.token is None and sent is not None:
                    talk.refuse(request, -32003, "AUTHENTICATION_NOT_CONFIGURED")
                    if self.mute_after_refusal:
                        talk.stay()
                        return
                elif sent != self.token:
                    talk.refuse(request, -32002, "AUTHENTICATION_FAILED")
                else:
                    is_in = True
                    result = {"ok": True, "protocolVersion": self.protocol, "version": self.version}
                    talk.answer(request, result)
            elif not is_in and self.has_connect:
                talk.refuse(request, -32001)
            else:
                self._answer(talk, request)

    def _answer(self, talk: Talk, request: dict[str, Any]) -> None:
        hello = {"protocolVersion": self.protocol}
        match request["method"]:
            case "ping":
                talk.answer(request, {"message": "pong", "timestamp": self.timestamp, **hello})
            case "status.get":
                talk.answer(request, {"version": self.status_version or self.version, **hello})
            case "auth.getStatus":
                talk.answer(request, self.auth)
            case "models.list" if self.models is not None:
                talk.answer(request, self.models)
            case "models.list":
                talk.refuse(request, -32603, "Request models.list failed with message: no network")
            case method:
                talk.refuse(request, -32601, f"Unhandled method {method}")


# Peers that say nothing of use


def silent(talk: Talk) -> None:
    talk.stay()


def drips(talk: Talk) -> None:
    talk.request()
    for byte in frame({"jsonrpc": "2.0", "id": 1, "result": {"protocolVersion": 3}}):
        talk.say(bytes([byte]))
        talk.pause(0.05)


def closes_at_once(talk: Talk) -> None:
    del talk


def closes_after_request(talk: Talk) -> None:
    talk.request()


def resets_at_once(talk: Talk) -> None:
    talk.reset()


def closes_inside_frame(talk: Talk) -> None:
    talk.request()
    talk.say(b'Content-Length: 80\r\n\r\n{"jsonrpc"')


def resets_inside_frame(talk: Talk) -> None:
    closes_inside_frame(talk)
    talk.pause(0.05)
    talk.reset()


# Peers with broken frames


def says(data: bytes) -> Behaviour:
    """Answer a request with these bytes and stay."""

    def behaviour(talk: Talk) -> None:
        talk.hear()
        talk.say(data)
        talk.stay()

    return behaviour


def answers(body: bytes) -> Behaviour:
    return says(framed(body))


def endless_header(talk: Talk) -> None:
    talk.hear()
    talk.forever(b"X-Filler: %b\r\n" % (b"a" * 1000))


def endless_line(talk: Talk) -> None:
    talk.hear()
    talk.forever(b"a" * 1000)


def noise(talk: Talk) -> None:
    talk.hear()
    talk.forever(bytes(range(128, 256)) * 8)


def streams_a_gigabyte(talk: Talk) -> None:
    talk.hear()
    talk.say(b"Content-Length: 1000000000\r\n\r\n")
    for _ in range(1000):
        talk.say(b"[" * 1_000_000)


_LARGE = framed(b'{"jsonrpc":"2.0","method":"%b"}' % (b"a" * 1_000_000))


def large_bodies(talk: Talk) -> None:
    """Bodies that are just short enough to be read, without an end."""
    talk.hear()
    talk.forever(_LARGE)


def _nested(depth: int) -> bytes:
    return b'{"jsonrpc":"2.0","id":1,"result":%b%b}' % (b"[" * depth, b"]" * depth)


# Peers that speak JSON-RPC, but not with us


def wrong_id(talk: Talk) -> None:
    while True:
        request = talk.request()
        request["id"] += 1000
        talk.answer(request, {"protocolVersion": 3, "version": "1.0.102"})


def text_id(talk: Talk) -> None:
    while True:
        request = talk.request()
        request["id"] = str(request["id"])
        talk.answer(request, {"protocolVersion": 3, "version": "1.0.102"})


def endless_notifications(talk: Talk) -> None:
    talk.request()
    talk.forever(frame({"jsonrpc": "2.0", "method": "session.event", "params": {}}) * 10)


def endless_requests(talk: Talk) -> None:
    talk.request()
    talk.forever(frame({"jsonrpc": "2.0", "id": 1, "method": "permission.request"}) * 10)


def endless_answers(talk: Talk) -> None:
    talk.request()
    talk.forever(frame({"jsonrpc": "2.0", "id": 77, "result": {}}) * 10)


def always(result: object) -> Behaviour:
    def behaviour(talk: Talk) -> None:
        while True:
            talk.answer(talk.request(), result)

    return behaviour


def always_refuses(code: object, message: object = None) -> Behaviour:
    def behaviour(talk: Talk) -> None:
        while True:
            talk.refuse(talk.request(), code, message)

    return behaviour


def error_is(error: object) -> Behaviour:
    def behaviour(talk: Talk) -> None:
        while True:
            talk.say(frame({"jsonrpc": "2.0", "id": talk.request()["id"], "error": error}))

    return behaviour


def answers_twice(talk: Talk) -> None:
    inner = FakeCopilot()
    say = talk.say
    talk.say = lambda data: (say(data), say(data))[0]  # type: ignore[method-assign]
    inner(talk)


def dies_after_connect(talk: Talk) -> None:
    talk.answer(talk.request(), {"ok": True, "protocolVersion": 3, "version": "1.0.102"})


def acp(talk: Talk) -> None:
    """`copilot --acp`: takes lines, passes over what is no JSON (as 0.0.400 … 1.0.102 do)."""
    _lines(talk, {"agentCapabilities": {}, "agentInfo": {"name": "Copilot", "version": "1.0.102"}})


def mcp(talk: Talk) -> None:
    _lines(talk, {"capabilities": {}, "serverInfo": {"name": "files", "version": "2"}})


def acp_that_hates_headers(talk: Talk) -> None:
    """An ACP server that answers nothing after a line which is no JSON."""
    if talk.hear().startswith(b"{"):
        initialized = {"protocolVersion": 1, "agentInfo": {"name": "other", "version": "7"}}
        talk.say(json.dumps({"jsonrpc": "2.0", "id": 0, "result": initialized}).encode() + b"\n")
    talk.stay()


def _lines(talk: Talk, initialized: dict[str, object]) -> None:
    buffer = b""
    while data := talk.hear():
        *lines, buffer = (buffer + data).split(b"\n")
        for line in lines:
            with contextlib.suppress(ValueError):
                request = json.loads(line)
                reply: dict[str, object] = {"jsonrpc": "2.0", "id": request["id"]}
                if request["method"] == "initialize":
                    reply["result"] = {"protocolVersion": 1, **initialized}
                else:
                    words = f'"Method not found": {request["method"]}'
                    reply["error"] = {"code": -32601, "message": words}
                talk.say(json.dumps(reply).encode() + b"\n")


# Servers of other protocols


def greets(banner: bytes) -> Behaviour:
    """Speak first, as SSH and mail servers do."""

    def behaviour(talk: Talk) -> None:
        talk.say(banner)
        talk.stay()

    return behaviour


def http_400(talk: Talk) -> None:
    talk.hear()
    talk.say(b"HTTP/1.1 400 Bad Request\r\nServer: nginx/1.25.3\r\nContent-Length: 4\r\n\r\noops")


def http_that_waits(talk: Talk) -> None:
    """An HTTP server that stays silent on what is no request, and answers one."""
    while data := talk.hear():
        if data.startswith((b"GET ", b"HEAD ")):
            talk.say(b"HTTP/1.0 200 OK\r\nServer: patient\r\n\r\n")
            return


def http_that_closes(talk: Talk) -> None:
    if talk.hear().startswith((b"GET ", b"HEAD ")):
        talk.say(b"HTTP/1.0 404 Not Found\r\n\r\n")


class _Quiet(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


def http_of_python(talk: Talk) -> None:
    """The real `http.server`, which answers a frame with a page and without a status line."""
    _Quiet(talk.sock, ("127.0.0.1", 0), None)  # type: ignore[arg-type]


def tls_real(talk: Talk) -> None:
    """A TLS server of OpenSSL (with an anonymous cipher, so that it needs no certificate)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers("ADH:@SECLEVEL=0")
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with context.wrap_socket(talk.sock, server_side=True) as tls:
        tls.recv(1)


def tls_that_closes(talk: Talk) -> None:
    """A TLS server that hangs up on what is no TLS, without an alert."""
    if talk.hear().startswith(b"\x16\x03"):
        talk.say(b"\x16\x03\x03\x00\x31\x02\x00\x00\x2d")
        talk.stay()


def tls_that_waits(talk: Talk) -> None:
    while data := talk.hear():
        if data.startswith(b"\x16\x03"):
            talk.say(b"\x15\x03\x03\x00\x02\x02\x28")


def redis(talk: Talk) -> None:
    while data := talk.hear():
        word = data.split()[0]
        talk.say(b"-ERR unknown command '%b', with args beginning with: '66'\r\n" % word)


def postgres(talk: Talk) -> None:
    """PostgreSQL closes without a word on what is no start-up packet."""
    if talk.hear() == b"\x00\x00\x00\x08\x04\xd2\x16\x2f":
        talk.say(b"N")
        talk.stay()


MYSQL = b"J\0\0\0\x0a8.0.36\0\x08\0\0\0abcdefgh\0" + bytes(40)
HTTP2 = b"\0\0\x06\x04\0\0\0\0\0\0\x05\0\0\x40\0"
BEL_AND_COLOUR = "\x1b[31mred\x1b[0m \x07 \x9b2J \u202eback\u2066 line\r\nend \x1b]0;title\x07"


@dataclass(frozen=True)
class Peer:
    """A server, and what it is to be taken for."""

    behaviour: Behaviour
    code: str
    """Code of the step `handshake`."""
    peer: str
    timeout_s: float = 0.4


PEERS: dict[str, Peer] = {
    "silent": Peer(silent, "peer-silent", "silent"),
    "drips": Peer(drips, "timeout", "unknown"),
    "closes at once": Peer(closes_at_once, "closed", "closed"),
    "closes after request": Peer(closes_after_request, "closed", "closed"),
    "resets at once": Peer(resets_at_once, "reset", "reset"),
    "closes inside frame": Peer(closes_inside_frame, "closed", "closed"),
    "resets inside frame": Peer(resets_inside_frame, "reset", "reset", 5),
    "endless header": Peer(endless_header, "peer-garbage", "garbage", 5),
    "endless line": Peer(endless_line, "peer-garbage", "garbage", 5),
    "noise": Peer(noise, "peer-garbage", "garbage", 5),
    "huge length": Peer(
        says(b"Content-Length: 99999999999999999\r\n\r\n"), "peer-garbage", "garbage", 5
    ),
    "length of 4000 digits": Peer(
        says(b"Content-Length: " + b"9" * 4000 + b"\r\n\r\n"), "peer-garbage", "garbage", 5
    ),
    "negative length": Peer(says(b"Content-Length: -5\r\n\r\n{}"), "peer-garbage", "garbage", 5),
    "no length": Peer(says(b"Content-Type: text\r\n\r\n{}"), "peer-garbage", "garbage", 5),
    "two lengths": Peer(
        says(b"Content-Length: 2\r\ncontent-length: 2\r\n\r\n{}"), "peer-garbage", "garbage", 5
    ),
    "length in words": Peer(says(b"Content-Length: two\r\n\r\n{}"), "peer-garbage", "garbage", 5),
    "length 0": Peer(says(b"Content-Length: 0\r\n\r\n"), "peer-garbage", "garbage", 5),
    "invalid JSON": Peer(answers(b"{jsonrpc: 2.0}"), "peer-garbage", "garbage", 5),
    "invalid UTF-8": Peer(
        answers(b'{"jsonrpc":"2.0","id":1,"result":{"version":"\xff\xfe","protocolVersion":3}}'),
        "peer-garbage",
        "garbage",
        5,
    ),
    "nesting of 100,000": Peer(answers(_nested(100_000)), "peer-garbage", "garbage", 5),
    "open nesting of 100,000": Peer(answers(b"[" * 100_000), "peer-garbage", "garbage", 5),
    "batch": Peer(
        answers(b'[{"jsonrpc":"2.0","id":1,"result":{"protocolVersion":3}}]'),
        "peer-garbage",
        "garbage",
        5,
    ),
    "a gigabyte": Peer(streams_a_gigabyte, "peer-garbage", "garbage", 5),
    "large bodies": Peer(large_bodies, "flood", "unknown", 5),
    "wrong id": Peer(wrong_id, "peer-unknown", "unknown"),
    "id as text": Peer(text_id, "peer-unknown", "unknown"),
    "endless notifications": Peer(endless_notifications, "flood", "unknown", 5),
    "endless requests": Peer(endless_requests, "flood", "unknown", 5),
    "endless answers": Peer(endless_answers, "flood", "unknown", 5),
    "empty results": Peer(always({}), "peer-unknown", "unknown", 5),
    "results that are numbers": Peer(always(5), "peer-unknown", "unknown", 5),
    "results of wrong types": Peer(
        always({"protocolVersion": "3", "version": 7, "timestamp": [], "isAuthenticated": "yes"}),
        "peer-unknown",
        "unknown",
        5,
    ),
    "no methods at all": Peer(
        always_refuses(-32601, "Method not found"), "peer-unknown", "unknown", 5
    ),
    "language server": Peer(
        always_refuses(-32002, "Server not initialized"), "refused-by-server", "unknown", 5
    ),
    "error with terminal sequences": Peer(
        always_refuses(-32603, BEL_AND_COLOUR), "refused-by-server", "unknown", 5
    ),
    "error with 900 kB of text": Peer(
        always_refuses(-32603, "é" * 150_000), "refused-by-server", "unknown", 5
    ),
    "error without id": Peer(
        says(frame({"jsonrpc": "2.0", "id": None, "error": {"code": -32700, "message": "no"}})),
        "refused-by-server",
        "unknown",
        5,
    ),
    "error that is a text": Peer(error_is("no"), "refused-by-server", "unknown", 5),
    "error of wrong types": Peer(
        error_is({"code": "x", "message": {"a": 1}}), "refused-by-server", "unknown", 5
    ),
    "error with a huge code": Peer(
        error_is({"code": 10**40, "message": ""}), "refused-by-server", "unknown", 5
    ),
    "not configured without a token": Peer(
        always_refuses(-32003, "AUTHENTICATION_NOT_CONFIGURED"), "refused-by-server", "unknown", 5
    ),
    "shutting down": Peer(
        always_refuses(-32000, "SERVER_SHUTTING_DOWN"), "shutting-down", "copilot", 5
    ),
    "answers twice": Peer(answers_twice, "ok", "copilot", 5),
    "version of 1 MB": Peer(FakeCopilot(version="1" * 1_000_000), "ok", "copilot", 5),
    "dies after connect": Peer(dies_after_connect, "ok", "copilot", 5),
    "mute after connect": Peer(
        FakeCopilot(ignore=("ping", "status.get", "auth.getStatus")), "ok", "copilot"
    ),
    "ACP": Peer(acp, "peer-acp", "acp", 5),
    "ACP that hates headers": Peer(acp_that_hates_headers, "peer-acp", "acp", 1.5),
    "MCP": Peer(mcp, "peer-unknown", "unknown", 5),
    "HTTP 400": Peer(http_400, "peer-http", "http", 5),
    "HTTP that waits": Peer(http_that_waits, "peer-http", "http", 1.5),
    "HTTP that closes": Peer(http_that_closes, "peer-http", "http", 5),
    "HTTP of Python": Peer(http_of_python, "peer-http", "http", 5),
    "HTTP/2": Peer(greets(HTTP2), "peer-http", "http", 5),
    "TLS of OpenSSL": Peer(tls_real, "peer-tls", "tls", 5),
    "TLS that closes": Peer(tls_that_closes, "peer-tls", "tls", 5),
    "TLS that waits": Peer(tls_that_waits, "peer-tls", "tls", 1.5),
    "SSH": Peer(greets(b"SSH-2.0-OpenSSH_9.2p1 \x1b[31mDebian\r\n"), "peer-ssh", "ssh", 5),
    "Redis": Peer(redis, "peer-redis", "redis", 5),
    "SMTP": Peer(greets(b"220 mail.example.com ESMTP\r\n"), "peer-unknown", "unknown", 5),
    "FTP": Peer(greets(b"220-Welcome\r\n220 FTP ready\r\n"), "peer-unknown", "unknown", 5),
    "MySQL": Peer(greets(MYSQL), "peer-unknown", "unknown", 5),
    "PostgreSQL": Peer(postgres, "peer-unknown", "unknown", 5),
    "AMQP": Peer(says(b"AMQP\0\0\x09\x01"), "peer-unknown", "unknown", 5),
    "VNC": Peer(greets(b"RFB 003.008\n"), "peer-unknown", "unknown", 5),
    "greeting in plain words": Peer(greets(b"hello there\n"), "peer-garbage", "garbage", 5),
}


def wait_until(condition: Callable[[], bool], timeout_s: float = 10) -> None:
    """Return when something has become true."""
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "it did not become true"
        time.sleep(0.005)
