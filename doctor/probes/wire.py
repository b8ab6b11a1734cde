"""JSON-RPC 2.0 in `Content-Length` frames over one TCP connection, read with suspicion.

The Copilot server speaks the base protocol of the Language Server Protocol: a header block that
ends with an empty line, then a JSON body. Whatever else listens on the port may say anything, for
ever, or nothing. So every wait has a deadline, every size has a limit, and what a peer does wrong
is a `Failure` value, never an exception.
"""

from __future__ import annotations

import contextlib
import errno
import re
import socket
import time
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias, TypeVar

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

T = TypeVar("T")

SockAddr: TypeAlias = "tuple[str, int] | tuple[str, int, int, int]"
Address: TypeAlias = "tuple[int, SockAddr]"
"""Address family and socket address, as `socket.getaddrinfo` gives them."""

MAX_HEADER_BYTES = 8 * 1024
"""Longest header block of one message; real ones have about 25 bytes."""

MAX_BODY_BYTES = 1024 * 1024
"""Longest body of one message; a list of models has about 100 kB."""

MAX_TOTAL_BYTES = 8 * 1024 * 1024
"""Most that is read from one connection."""

MAX_SKIPPED = 1000
"""Most messages that nobody asked for: servers up to 1.0.73 send everybody's session events."""

MAX_SAID_BYTES = 16 * 1024
"""How much of the beginning of what a peer says is kept to recognise it by."""

_CHUNK_BYTES = 64 * 1024
_LARGEST_NUMBER = 2**31 - 1
_SHORT_SECRET = 4


class Revealable(Protocol):
    """A secret that only shows itself when asked."""

    def reveal(self) -> str:
        """Return the secret."""


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """What went wrong on a connection, as a value.

    `detail` is one sentence without any text of the peer.
    """

    kind: Literal[
        "refused",  # nothing listens
        "timeout",  # the deadline passed
        "unreachable",  # no way to that address
        "forbidden",  # this machine does not allow the connection
        "local",  # this machine cannot make one (no descriptors, no ports …)
        "reset",  # the peer broke the connection off
        "closed",  # the peer closed the connection
        "framing",  # not a `Content-Length` frame
        "json",  # a frame, but no JSON-RPC message in it
        "oversize",  # a message longer than is read here
        "flood",  # more bytes or messages than are read here
    ]
    detail: str


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a request, not decoded yet."""

    value: msgspec.Raw
    elapsed_ms: float


class RpcError(msgspec.Struct, frozen=True, kw_only=True):
    """The error that answers a request; `message` is clean already, and empty if there was none."""

    code: int | None
    message: str
    elapsed_ms: float


Reply: TypeAlias = "Result | RpcError"


class Deadline:
    """A point in time by which something must have ended."""

    __slots__ = ("_at",)

    def __init__(self, seconds: float) -> None:
        self._at = time.monotonic() + seconds

    @property
    def remaining_s(self) -> float:
        """Seconds until then, 0 when it has passed."""
        return max(0.0, self._at - time.monotonic())

    def within(self, seconds: float) -> Deadline:
        """Return a deadline that many seconds from now, or this one if that is earlier."""
        return Deadline(min(seconds, self.remaining_s))

    def part(self, share: float) -> Deadline:
        """Return a deadline after that share of the time that remains."""
        return Deadline(self.remaining_s * share)


class Cleaner:
    """Makes text of a peer fit to show: without the secret, on one line, printable, short.

    A peer may send back the connection token that it was given, as it is or escaped for JSON, HTML
    or a URL. Each of these becomes `[connection token]`. A token shorter than 4 characters is only
    taken out where it stands alone, since `1` occurs in every version number.
    """

    __slots__ = ("_forms", "_longest")

    MARK = "[connection token]"
    _LOOKED_AT = 8 * 1024

    def __init__(self, secret: Revealable | None = None) -> None:
        forms = [] if secret is None else _forms_of(secret.reveal())
        self._longest = max(map(len, forms), default=0)
        self._forms = _pattern(forms) if forms else None

    def __call__(self, text: str | bytes, limit: int = 300) -> str:
        """Return `text`, at most `limit` characters of it."""
        if isinstance(text, bytes):
            text = text.decode("utf-8", "replace")
        if len(text) > self._LOOKED_AT:
            # Without what could be the first half of a secret.
            text = self._redact(text[: self._LOOKED_AT])[: -self._longest or None]
        # Twice, since taking something out could put a secret together.
        text = self._redact(one_line(self._redact(text)))
        return text if len(text) <= limit else text[: limit - 1] + "…"

    def _redact(self, text: str) -> str:
        return text if self._forms is None else self._forms.sub(self.MARK, text)


# Terminal sequences, and characters that show nothing or change the direction of writing.
_UNSEEN = re.compile(
    "(?:\x1b\\[|\x9b)[0-?]*[ -/]*[@-~]|\x1b[\\]PX^_].*?(?:\x07|\x1b\\\\|\x9c|$)|\x1b."
    "|[\u00ad\u061c\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff]",
    re.DOTALL,
)


def one_line(text: str) -> str:
    """Return text on one line, without terminal sequences; other control characters replaced."""
    return " ".join("".join(map(_printable, _UNSEEN.sub("", text))).split())


def _printable(character: str) -> str:
    if character.isprintable():
        return character
    return " " if character.isspace() else "\ufffd"


def _forms_of(secret: str) -> list[str]:
    """The spellings in which a peer may send a secret back, longest first."""
    forms = {secret, secret.strip(), one_line(secret)}
    for form in tuple(forms):
        encoded = form.encode("utf-8", "replace")
        forms.add(encoded.decode())
        as_json = msgspec.json.encode(encoded.decode())[1:-1].decode()
        forms.add(as_json)
        forms.add("".join(c if " " <= c <= "~" else _json_escape(c) for c in as_json))
        forms.add("".join(chr(b) if _is_unreserved(b) else f"%{b:02X}" for b in encoded))
        escaped = form.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        forms.add(escaped)
        forms.add(escaped.replace('"', "&quot;").replace("'", "&#x27;"))
        forms.add(escaped.replace('"', "&#34;").replace("'", "&#39;"))
    return sorted(filter(None, forms), key=len, reverse=True)


def _pattern(forms: list[str]) -> re.Pattern[str]:
    patterns = []
    for form in forms:
        pattern = re.escape(form)
        if len(form) < _SHORT_SECRET:
            pattern = rf"(?<![^\s\"'=:(\[{{<,]){pattern}(?![^\s\"')\]}}>,;])"
        patterns.append(pattern)
    return re.compile("|".join(patterns), re.IGNORECASE)


def _json_escape(character: str) -> str:
    units = character.encode("utf-16-be").hex()
    return "".join(f"\\u{units[i : i + 4]}" for i in range(0, len(units), 4))


def _is_unreserved(byte: int) -> bool:
    return chr(byte).isascii() and (chr(byte).isalnum() or chr(byte) in "-._~")


class FrameParser:
    """Cuts a byte stream into message bodies, whatever pieces it arrives in.

    It gives up at the first byte that cannot belong to a header, so that a peer which speaks
    another protocol is found out by its first line and not by a deadline.
    """

    __slots__ = ("_body_bytes", "_buffer", "_failure", "_header_bytes", "_length")

    _NAME = re.compile(rb"[A-Za-z][A-Za-z-]*")
    _LENGTH = re.compile(rb"[ \t]*([0-9]{1,18})[ \t]*")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._header_bytes = 0
        self._length: int | None = None
        self._body_bytes: int | None = None
        self._failure: Failure | None = None

    @property
    def inside_message(self) -> bool:
        """Whether a message has begun and not ended."""
        return bool(self._buffer or self._header_bytes) or self._body_bytes is not None

    def feed(self, data: bytes) -> None:
        """Take in what has arrived."""
        if self._failure is None:
            self._buffer += data

    def next_body(self) -> bytes | Failure | None:
        """Return the next complete body, or None if more must arrive first.

        After a `Failure` there is no telling where a message begins: it stays.
        """
        if self._failure is None and self._body_bytes is None:
            self._failure = self._read_header()
        if self._failure is not None:
            self._buffer.clear()
            return self._failure
        if self._body_bytes is None or len(self._buffer) < self._body_bytes:
            return None
        with memoryview(self._buffer) as view:
            body = view[: self._body_bytes].tobytes()
        del self._buffer[: self._body_bytes]
        self._body_bytes = None
        return body

    def _read_header(self) -> Failure | None:
        while (end := self._buffer.find(b"\r\n")) >= 0:
            line = bytes(self._buffer[:end])
            del self._buffer[: end + 2]
            self._header_bytes += end + 2
            if self._header_bytes > MAX_HEADER_BYTES:
                break
            if not line:
                return self._end_header()
            if failure := self._read_line(line):
                return failure
        if self._header_bytes + len(self._buffer) > MAX_HEADER_BYTES:
            return _framing(f"the header of a message is longer than {MAX_HEADER_BYTES} bytes")
        name, colon, _ = self._buffer.partition(b":")
        name = name if colon else name.removesuffix(b"\r")
        if (name or colon) and not self._NAME.fullmatch(name):
            return _framing("the first bytes are no message header")
        return None

    def _read_line(self, line: bytes) -> Failure | None:
        name, colon, value = line.partition(b":")
        if not colon or not self._NAME.fullmatch(name):
            return _framing("a line is no message header")
        if name.lower() != b"content-length":
            return None
        if self._length is not None:
            return _framing("a message has two Content-Length headers")
        number = self._LENGTH.fullmatch(value)
        if number is None:
            return _framing("a Content-Length is not a number of bytes")
        self._length = int(number[1])
        return None

    def _end_header(self) -> Failure | None:
        if self._length is None:
            return _framing("a message has no Content-Length header")
        if self._length > MAX_BODY_BYTES:
            return Failure(
                kind="oversize",
                detail=f"announced a message of {self._length} bytes, "
                f"and at most {MAX_BODY_BYTES} are read",
            )
        self._body_bytes, self._length, self._header_bytes = self._length, None, 0
        return None


def _framing(detail: str) -> Failure:
    return Failure(kind="framing", detail=detail)


class _Envelope(msgspec.Struct, gc=False):
    """A JSON-RPC message; any type is let in, since a peer may send any."""

    id: msgspec.Raw = msgspec.Raw()
    method: msgspec.Raw = msgspec.Raw()
    result: msgspec.Raw = msgspec.Raw()
    error: msgspec.Raw = msgspec.Raw()


class _ErrorBody(msgspec.Struct, gc=False):
    code: msgspec.Raw = msgspec.Raw()
    message: msgspec.Raw = msgspec.Raw()


_NOTHING = (b"", b"null")


def decode(raw: msgspec.Raw | bytes, kind: type[T]) -> T | None:
    """Return a JSON value as that type, or None if it is of another type or no JSON at all."""
    try:
        return msgspec.json.decode(raw, type=kind)
    # Deep nesting ends in RecursionError, bytes that are no UTF-8 in UnicodeDecodeError.
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return None


def whole_number(raw: msgspec.Raw) -> int | None:
    """Return a JSON number that is whole, positive or zero, and below 2**31; else None."""
    number = decode(raw, int)
    return number if number is not None and 0 <= number <= _LARGEST_NUMBER else None


def _error_code(raw: msgspec.Raw) -> int | None:
    code = decode(raw, int)
    return code if code is not None and abs(code) <= _LARGEST_NUMBER else None


class Connection:
    """One TCP connection that asks and never answers.

    Notifications and requests of the peer are read and passed over: answering one could approve
    somebody's tool call (servers up to 1.0.73 send these to every connection).
    """

    __slots__ = (
        "_clean",
        "_failure",
        "_last_id",
        "_parser",
        "_read_bytes",
        "_replies",
        "_send_failure",
        "_sent_at",
        "_skipped",
        "_sock",
        "said",
    )

    def __init__(self, sock: socket.socket, clean: Cleaner) -> None:
        self._sock = sock
        self._clean = clean
        self._parser = FrameParser()
        self._last_id = 0
        self._sent_at: dict[int, float] = {}
        self._replies: dict[int, Reply] = {}
        self._read_bytes = 0
        self._skipped = 0
        self._failure: Failure | None = None
        self._send_failure: Failure | None = None
        self.said = bytearray()
        """The beginning of everything that the peer said."""

    @classmethod
    def open(cls, address: Address, deadline: Deadline, clean: Cleaner) -> Connection | Failure:
        """Connect to an address that is resolved already."""
        family, sockaddr = address
        try:
            sock = socket.socket(family, socket.SOCK_STREAM)
        except OSError as error:
            return _failure_of(error)
        try:
            # 0 would make the socket non-blocking.
            sock.settimeout(max(deadline.remaining_s, 0.001))
            sock.connect(sockaddr)
            met_itself = sock.getsockname()[:2] == sockaddr[:2]
        except OSError as error:
            sock.close()
            return _failure_of(error)
        if met_itself:
            # A connection to a free port of the ephemeral range can do that.
            sock.close()
            return Failure(kind="refused", detail="nothing listens there")
        with contextlib.suppress(OSError):  # where the peer has broken off already
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return cls(sock, clean)

    def close(self) -> None:
        """Close the connection."""
        self._sock.close()

    @property
    def sock(self) -> socket.socket:
        """The socket, to wait on with others."""
        return self._sock

    @property
    def inside_message(self) -> bool:
        """Whether the peer has begun a message and not ended it."""
        return self._parser.inside_message

    @property
    def skipped(self) -> int:
        """How many messages came that nobody asked for."""
        return self._skipped

    @property
    def failure(self) -> Failure | None:
        """What ended the conversation for good."""
        return self._failure

    def send(self, deadline: Deadline, *requests: tuple[str, Mapping[str, object]]) -> list[int]:
        """Send requests (method and parameters) in one piece, and return their ids.

        A peer that breaks off at this point may have said why: reading tells.
        """
        frames = bytearray()
        ids = []
        for method, params in requests:
            self._last_id += 1
            ids.append(self._last_id)
            message = {"jsonrpc": "2.0", "id": self._last_id, "method": method, "params": params}
            # The line end is white space to a JSON parser. To an ACP server, which takes lines, it
            # ends one, so that it answers instead of waiting for more (0.0.400 … 1.0.102).
            body = msgspec.json.encode(message) + b"\n"
            frames += b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
        now = time.perf_counter()
        self._sent_at.update(dict.fromkeys(ids, now))
        self.send_bytes(bytes(frames), deadline)
        return ids

    def send_bytes(self, data: bytes, deadline: Deadline) -> None:
        """Send bytes as they are."""
        try:
            self._sock.settimeout(max(deadline.remaining_s, 0.001))
            self._sock.sendall(data)
        except OSError as error:
            # The next read would only see the end: the system tells the reason once.
            self._send_failure = _failure_of(error)

    def wait(self, ids: Collection[int], deadline: Deadline) -> Failure | None:
        """Read until all these requests are answered.

        Returns:
            None when they are. A `timeout` can be waited out with another call, every other
            failure is final.
        """
        while True:
            self._take_messages()
            if all(i in self._replies for i in ids):
                return None
            if self._failure is not None:
                return self._failure
            data = self.receive(deadline)
            if isinstance(data, Failure):
                return data
            self._parser.feed(data)

    def reply(self, request_id: int) -> Reply | None:
        """Return the answer to a request, if it has come."""
        return self._replies.get(request_id)

    def receive(self, deadline: Deadline) -> bytes | Failure:
        """Read what has arrived, waiting for at least one byte."""
        remaining_s = deadline.remaining_s
        if not remaining_s:
            return Failure(kind="timeout", detail="the time was up")
        try:
            self._sock.settimeout(max(remaining_s, 0.001))
            if hasattr(socket, "TCP_QUICKACK"):
                # The server leaves Nagle's algorithm on and writes in small pieces; it holds each
                # piece back until the last one is acknowledged, which Linux delays by 40 ms (a
                # handshake with 1.0.63 takes 30 ms with this line and 110 ms without). The kernel
                # forgets the option, so it is set each time.
                self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
            data = self._sock.recv(_CHUNK_BYTES)
        except OSError as error:
            failure = _failure_of(error)
            return failure if failure.kind == "timeout" else self._end(failure)
        if not data:
            was_reset = self._send_failure is not None and self._send_failure.kind == "reset"
            return self._end(_RESET if was_reset else _CLOSED)
        self._read_bytes += len(data)
        self.said += data[: MAX_SAID_BYTES - len(self.said)]
        if self._read_bytes > MAX_TOTAL_BYTES:
            flood = f"sent more than {MAX_TOTAL_BYTES} bytes"
            return self._end(Failure(kind="flood", detail=flood))
        return data

    def listen(self, deadline: Deadline, enough: Callable[[bytes], bool]) -> bytes:
        """Read until `enough` of what was said, the end or the deadline, and return all of it."""
        while not enough(bytes(self.said)) and len(self.said) < MAX_SAID_BYTES:
            if isinstance(self.receive(deadline), Failure):
                break
        return bytes(self.said)

    def _end(self, failure: Failure) -> Failure:
        self._failure = self._failure or failure
        return failure

    def _take_messages(self) -> None:
        while self._failure is None and (body := self._parser.next_body()) is not None:
            if isinstance(body, Failure):
                self._end(body)
            elif not self._take_message(body):
                self._end(Failure(kind="json", detail="sent a message that is no JSON-RPC"))
            elif self._skipped > MAX_SKIPPED:
                flood = f"sent more than {MAX_SKIPPED} messages unasked"
                self._end(Failure(kind="flood", detail=flood))

    def _take_message(self, body: bytes) -> bool:
        message = decode(body, _Envelope)
        if message is None or not _is_utf8(body):
            return False
        request_id = self._answered_by(message)
        if request_id is None:
            self._skipped += 1
            return True
        elapsed_ms = (time.perf_counter() - self._sent_at[request_id]) * 1000
        if bytes(message.error) in _NOTHING:
            # A copy, as the original keeps the whole body alive.
            self._replies[request_id] = Result(
                value=msgspec.Raw(bytes(message.result)), elapsed_ms=elapsed_ms
            )
            return True
        error = decode(message.error, _ErrorBody) or _ErrorBody()
        self._replies[request_id] = RpcError(
            code=_error_code(error.code),
            message=self._clean(decode(error.message, str) or ""),
            elapsed_ms=elapsed_ms,
        )
        return True

    def _answered_by(self, message: _Envelope) -> int | None:
        """The request that a message answers, which must be open still."""
        if bytes(message.method):
            return None
        open_ids = [i for i in self._sent_at if i not in self._replies]
        if bytes(message.id) == b"null" and bytes(message.error) not in _NOTHING:
            # "If there was an error in detecting the id in the Request object, it MUST be Null."
            return open_ids[0] if open_ids else None
        request_id = decode(message.id, int)
        return request_id if request_id in open_ids else None


def _is_utf8(body: bytes) -> bool:
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True


_CLOSED = Failure(kind="closed", detail="closed the connection")
_RESET = Failure(kind="reset", detail="broke the connection off (TCP reset)")
_UNREACHABLE = {
    errno.EHOSTUNREACH,
    errno.ENETUNREACH,
    errno.ENETDOWN,
    errno.EADDRNOTAVAIL,
    errno.EAFNOSUPPORT,
    getattr(errno, "EHOSTDOWN", errno.EHOSTUNREACH),
}


def _failure_of(error: OSError) -> Failure:
    """Tell failures of the operating system apart."""
    if isinstance(error, TimeoutError):
        return Failure(kind="timeout", detail="the time was up")
    if isinstance(error, ConnectionRefusedError):
        return Failure(kind="refused", detail="nothing listens there")
    if isinstance(error, BrokenPipeError):
        # It closed first, and answered with a reset what came after that.
        return _CLOSED
    if isinstance(error, ConnectionError):
        return _RESET
    if error.errno in _UNREACHABLE:
        return Failure(kind="unreachable", detail=_words(error))
    if isinstance(error, PermissionError):
        return Failure(kind="forbidden", detail=_words(error))
    return Failure(kind="local", detail=_words(error))


def _words(error: OSError) -> str:
    name = errno.errorcode.get(error.errno or 0, "")
    return " ".join(filter(None, (error.strerror or type(error).__name__, name and f"({name})")))
