"""The handshake with what listens on a port: is it a Copilot server, does it let us in, as whom.

One connection asks `connect` (or, on servers that lack it, goes on without), then `ping`,
`status.get` and `auth.getStatus` in one piece, then `models.list`. All of them only read. Nothing
is sent behind `connect` before it is answered: servers from 1.0.64 on work on requests side by
side and refuse one that overtakes the token (-32001), and servers from 1.0.44 to 1.0.63 answer
nothing more after a token that they did not want (observed on 1.0.44, 1.0.63, 1.0.64, 1.0.102).
"""

from __future__ import annotations

import socket
import time
from contextlib import closing
from typing import TYPE_CHECKING, Literal, TypeAlias, cast

import msgspec

from doctor.probes.peers import (
    INITIALIZE,
    Peer,
    PeerName,
    enough,
    look_closer,
    recognise,
    speaks_lines,
)
from doctor.probes.wire import (
    Cleaner,
    Connection,
    Deadline,
    Failure,
    Reply,
    Result,
    RpcError,
    decode,
    whole_number,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from doctor.probes.wire import Address, Revealable, SockAddr

StepStatus: TypeAlias = Literal["pass", "warn", "fail", "skip", "unknown"]
TokenState: TypeAlias = Literal[
    "unknown", "not-required", "accepted", "required", "rejected", "not-configured", "ignored"
]

SUPPORTED_PROTOCOL = 3
"""Protocol version that SDKs from 1.0.0 on speak (their `get_sdk_protocol_version`)."""

MUTE_AFTER_S = 0.3
"""How long a connection may take to answer `ping` before it counts as mute."""

MOST_MODELS = 500

_METHOD_NOT_FOUND = -32601
_SHUTTING_DOWN = -32000
_AUTHENTICATION_REQUIRED = -32001
_AUTHENTICATION_FAILED = -32002
_AUTHENTICATION_NOT_CONFIGURED = -32003
_TOKEN_CODES = {
    _AUTHENTICATION_REQUIRED,
    _AUTHENTICATION_FAILED,
    _AUTHENTICATION_NOT_CONFIGURED,
}
_OUR_WORDS = ("AUTHENTICATION_", "SERVER_SHUTTING_DOWN")

_BANNER_S = 0.2
_DETAIL = 300

# What an answer may take of the time that is left before the server is asked in other protocols.
_PATIENCE = 0.5

_EXPECTED = {
    "connect": "the port accepts TCP connections",
    "handshake": "a Copilot server answers the JSON-RPC request connect or ping",
    "connection-token": "no token where the server has none, "
    "else the value of the server's COPILOT_CONNECTION_TOKEN",
    "protocol-version": f"protocol version {SUPPORTED_PROTOCOL}",
    "authentication": "the server is signed in to GitHub",
    "models": "the server offers at least one model",
}


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One step of the handshake.

    Attributes:
        name: `connect`, `handshake`, `connection-token`, `protocol-version`, `authentication` or
            `models`.
        status: `skip` is a step that an earlier one blocks, or that there is no reason to take.
        code: A stable word for the outcome, such as `ok`, `refused` or `token-rejected`.
        detail: One sentence of what was measured. What a server said in it is clean: without
            control characters and the token, at most 300 characters.
        expected: What should have been measured.
        elapsed_ms: How long it took; 0 for what took no request of its own.
    """

    name: str
    status: StepStatus
    code: str
    detail: str
    expected: str
    elapsed_ms: float


class Handshake(msgspec.Struct, frozen=True, kw_only=True):
    """What the handshake established.

    Attributes:
        address: The address that was connected to, or tried last; empty if there was none.
        steps: All six, in order; after the first `fail` the rest are `skip`.
        peer: Who answers; `none` if the connection failed. Everything but `copilot`, `http`,
            `tls`, `ssh`, `redis` and `acp` is the way in which it does not say who it is.
        peer_detail: What it says of itself: an HTTP server header, an SSH banner …
        version: As `connect` says, or `status.get` on a server without it. 1.0.81 says `0.0.1` to
            `status.get` and the truth to `connect`.
        has_connect: False: the server lacks the method `connect` (up to 1.0.32), so it ignores
            every token.
        went_mute: The connection answered nothing more after a token that was not wanted.
        timestamp: JSON type of the `timestamp` in the answer to `ping`: SDKs up to 0.3.0 fail on
            a string (1.0.57 and later send one).
        signed_in: What the server says; it may say so from a cache and without a network
            (observed on 1.0.102).
        models: Ids of the models; None: not asked, or not answered (`models_error`).
    """

    host: str
    port: int
    address: str
    steps: tuple[Step, ...]
    peer: PeerName
    peer_detail: str = ""
    version: str | None = None
    protocol_version: int | None = None
    has_connect: bool | None = None
    sent_token: bool = False
    token: TokenState = "unknown"
    went_mute: bool = False
    timestamp: Literal["integer", "string"] | None = None
    signed_in: bool | None = None
    auth_type: str | None = None
    login: str | None = None
    auth_host: str | None = None
    status_message: str | None = None
    models: tuple[str, ...] | None = None
    models_error: str | None = None


def shake_hands(
    host: str,
    port: int,
    *,
    token: Revealable | None = None,
    timeout_s: float = 3.0,
    addresses: Sequence[str | Address] | None = None,
) -> Handshake:
    """Connect to a server and find out who it is and how it takes us.

    Whatever the peer does, it becomes a result.

    Args:
        host: As the user gave it. It is resolved here only if it is an IP address or `localhost`.
        port: From 1 to 65535.
        token: Connection token to send; an empty one is not sent. It goes to nobody but the
            server, in its `connect` request.
        timeout_s: Limit for all of it.
        addresses: What `host` was resolved to, as texts or as `socket.getaddrinfo` gives them.
            Tried in this order until one accepts.

    Raises:
        ValueError: The port is not one.
    """
    if not 0 < port <= 65535:  # noqa: PLR2004 - the largest port
        raise ValueError(f"not a TCP port: {port}")
    if token is not None and not token.reveal():
        token = None
    probe = _Probe(token, Deadline(timeout_s))
    opened = probe.connect(_addresses(host, port, addresses))
    if opened is not None:
        connection, address = opened
        with closing(connection):
            probe.converse(connection, address)
    return Handshake(
        host=host,
        port=port,
        steps=probe.all_steps(),
        sent_token=token is not None and opened is not None,
        **msgspec.structs.asdict(probe.facts),
    )


def _addresses(host: str, port: int, given: Sequence[str | Address] | None) -> list[Address]:
    found: list[Address] = []
    for address in [host] if given is None else given:
        if not isinstance(address, str):
            found.append(address)
            continue
        # Only a name needs a resolver, and of names only this one never waits for a name server.
        flags = 0 if address == "localhost" else socket.AI_NUMERICHOST
        try:
            answers = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM, flags=flags)
        except (OSError, UnicodeError):
            continue
        found += [(answer[0], cast("SockAddr", answer[4])) for answer in answers]
    return found


class _Facts(msgspec.Struct):
    """What is known so far (see `Handshake`)."""

    address: str = ""
    peer: PeerName = "none"
    peer_detail: str = ""
    version: str | None = None
    protocol_version: int | None = None
    has_connect: bool | None = None
    token: TokenState = "unknown"
    went_mute: bool = False
    timestamp: Literal["integer", "string"] | None = None
    signed_in: bool | None = None
    auth_type: str | None = None
    login: str | None = None
    auth_host: str | None = None
    status_message: str | None = None
    models: tuple[str, ...] | None = None
    models_error: str | None = None


class _Hello(msgspec.Struct, gc=False, rename="camel"):
    """What `connect`, `ping` and `status.get` answer, as far as it is of use."""

    version: msgspec.Raw = msgspec.Raw()
    protocol_version: msgspec.Raw = msgspec.Raw()
    timestamp: msgspec.Raw = msgspec.Raw()


class _AuthStatus(msgspec.Struct, gc=False, rename="camel"):
    is_authenticated: msgspec.Raw = msgspec.Raw()
    auth_type: msgspec.Raw = msgspec.Raw()
    host: msgspec.Raw = msgspec.Raw()
    login: msgspec.Raw = msgspec.Raw()
    status_message: msgspec.Raw = msgspec.Raw()


class _Model(msgspec.Struct, gc=False):
    id: str


class _Models(msgspec.Struct, gc=False):
    models: list[_Model]


class _Answers(msgspec.Struct):
    """The answers to the questions that were sent in one piece; None for what did not come."""

    ping: Reply | None
    status: Reply | None
    auth: Reply | None
    failure: Failure | None


class _Probe:
    """One handshake: what is known so far, and the steps taken."""

    def __init__(self, token: Revealable | None, deadline: Deadline) -> None:
        self.facts = _Facts()
        self._token = token
        self._clean = Cleaner(token)
        self._deadline = deadline
        self._steps: list[Step] = []

    def all_steps(self) -> tuple[Step, ...]:
        """Return the steps taken, and after them those that the last one blocks."""
        last = self._steps[-1]
        detail = f"not tried, as {last.name} ended in {last.code}"
        for name in list(_EXPECTED)[len(self._steps) :]:
            self._add(name, "skip", "blocked", detail, 0.0)
        return tuple(self._steps)

    def _add(
        self, name: str, status: StepStatus, code: str, detail: str, elapsed_ms: float
    ) -> None:
        self._steps.append(
            Step(
                name=name,
                status=status,
                code=code,
                # What is of the peer in it is clean; our own words must not be searched for the
                # token, or a gap in them would tell it.
                detail=detail if len(detail) <= _DETAIL else detail[: _DETAIL - 1] + "…",
                expected=_EXPECTED[name],
                elapsed_ms=round(elapsed_ms, 3),
            )
        )

    def _add_token(
        self, status: StepStatus, state: TokenState, detail: str, elapsed_ms: float = 0.0
    ) -> None:
        self.facts.token = state
        self._add("connection-token", status, f"token-{state}", detail, elapsed_ms)

    # Connect

    def connect(self, addresses: list[Address]) -> tuple[Connection, Address] | None:
        """Connect to the first address that accepts."""
        started = time.perf_counter()
        failed: list[str] = []
        failure = Failure(kind="unreachable", detail="no address to connect to")
        for index, address in enumerate(addresses):
            self.facts.address = str(address[1][0])
            share = 1 / (len(addresses) - index)
            opened = Connection.open(address, self._deadline.part(share), self._clean)
            if isinstance(opened, Connection):
                before = f", after {'; '.join(failed)}" if failed else ""
                detail = f"{self.facts.address} accepted the connection{before}"
                self._add("connect", "pass", "ok", detail, _ms_since(started))
                return opened, address
            failure = opened
            failed.append(f"{self.facts.address}: {failure.detail}")
            if failure.kind == "reset":
                # Nobody listening would have refused: this one accepted and then broke off.
                self._add("connect", "pass", "ok", "; ".join(failed), _ms_since(started))
                peer = look_closer(address, self._deadline.part(_PATIENCE), self._clean)
                self._refuse_peer(None, failure, peer, _ms_since(started))
                return None
        elapsed_ms = _ms_since(started)
        if not addresses:
            detail = "no address is known for the host, so nothing was contacted"
            self._add("connect", "unknown", "no-address", detail, elapsed_ms)
        elif failure.kind == "local":
            # A fault of the doctor's own side says nothing about the server.
            self._add("connect", "unknown", "local", "; ".join(failed), elapsed_ms)
        else:
            self._add("connect", "fail", failure.kind, "; ".join(failed), elapsed_ms)
        return None

    # Handshake

    def converse(self, connection: Connection, address: Address) -> None:
        """Ask everything over a connection that is open."""
        started = time.perf_counter()
        [asked] = connection.send(self._deadline, ("connect", self._connect_params()))
        failure = connection.wait([asked], self._deadline.part(_PATIENCE))
        is_slow = failure is not None and failure.kind == "timeout"
        peer: Peer | None = None
        if is_slow:
            if not connection.said:
                peer = look_closer(address, self._deadline.part(_PATIENCE), self._clean)
            if peer is None or peer.name == "copilot":
                # It may only have been slow: the question is still open.
                failure = connection.wait([asked], self._deadline)
        if failure is not None:
            peer = peer or self._identify(connection, address, failure)
            self._refuse_peer(connection, failure, peer, _ms_since(started))
            return
        reply = connection.reply(asked)
        if isinstance(reply, RpcError) and reply.code != _METHOD_NOT_FOUND:
            self._refused(reply, connection, address)
            return
        answers = self._ask(connection)
        if self._recognise_copilot(reply, answers, is_slow=is_slow):
            self._judge(answers, connection)

    def _connect_params(self) -> dict[str, object]:
        if self._token is None:
            return {}
        # What a shell cannot decode comes as lone surrogates, which JSON cannot hold.
        return {"token": self._token.reveal().encode("utf-8", "replace").decode()}

    def _identify(self, connection: Connection, address: Address, failure: Failure) -> Peer | None:
        if failure.kind in {"closed", "reset"} and not connection.said:
            return look_closer(address, self._deadline.part(_PATIENCE), self._clean)
        said = bytes(connection.said)
        if said.lower().startswith(b"content-length:"):
            return None  # frames, but broken ones: the failure says in which way
        if failure.kind == "framing":
            said = connection.listen(self._deadline.within(_BANNER_S), enough)
        if speaks_lines(said):
            lines = said.count(b"\n")
            connection.send_bytes(INITIALIZE, self._deadline)
            said = connection.listen(
                self._deadline.part(_PATIENCE), lambda said: said.count(b"\n") > lines
            )
        return recognise(said, self._clean)

    def _refuse_peer(
        self,
        connection: Connection | None,
        failure: Failure,
        peer: Peer | None,
        elapsed_ms: float,
    ) -> None:
        seconds = f"{elapsed_ms / 1000:.1f} s"
        if peer is not None and peer.name == "copilot":
            self.facts.peer = "copilot"
            detail = f"a Copilot server, but it did not answer connect within {seconds}"
            self._add("handshake", "fail", "timeout", detail, elapsed_ms)
            return
        if peer is not None:
            self.facts.peer, self.facts.peer_detail = peer.name, peer.detail
            detail = f"{_WHAT[peer.name]} listens there, not a Copilot server: {peer.detail}"
            self._add("handshake", "fail", f"peer-{peer.name}", detail, elapsed_ms)
            return
        self.facts.peer, code, detail = _unrecognised(connection, failure, seconds)
        said = b"" if connection is None else bytes(connection.said)
        began = self._clean(said.partition(b"\n")[0], 60)
        if "\ufffd" not in began:
            self.facts.peer_detail = began
        self._add("handshake", "fail", code, detail, elapsed_ms)

    def _refused(self, reply: RpcError, connection: Connection, address: Address) -> None:
        """`connect` was answered with an error."""
        words = _words(reply)
        # A language server that is not initialised says -32002 as well, in other words; the codes
        # of Copilot come with these words or (1.0.44 … 1.0.63, -32001) with none.
        is_ours = not reply.message or reply.message.startswith(_OUR_WORDS)
        if reply.code == _SHUTTING_DOWN and is_ours:
            self.facts.peer = "copilot"
            detail = f"the server is shutting down: {words}"
            self._add("handshake", "fail", "shutting-down", detail, reply.elapsed_ms)
            return
        is_unasked = reply.code == _AUTHENTICATION_NOT_CONFIGURED and self._token is None
        if reply.code not in _TOKEN_CODES or not is_ours or is_unasked:
            self.facts.peer, self.facts.peer_detail = "unknown", "JSON-RPC server"
            detail = f"a JSON-RPC server refused connect: {words}"
            self._add("handshake", "fail", "refused-by-server", detail, reply.elapsed_ms)
            return
        # Without a connect method there are no tokens (up to 1.0.32, observed).
        self.facts.peer, self.facts.has_connect = "copilot", True
        detail = f"a Copilot server answered connect: {words}"
        self._add("handshake", "pass", "ok", detail, reply.elapsed_ms)
        if reply.code == _AUTHENTICATION_NOT_CONFIGURED:
            self._token_not_configured(words, connection, address)
            return
        if self._token is None:
            detail = f"the server requires a connection token and none was sent: {words}"
            self._add_token("fail", "required", detail)
        else:
            detail = f"the server requires another connection token than was sent: {words}"
            self._add_token("fail", "rejected", detail)

    def _token_not_configured(self, words: str, connection: Connection, address: Address) -> None:
        """A token was sent to a server that has none: learn the rest without it."""
        started = time.perf_counter()
        [ping] = connection.send(self._deadline, ("ping", {}))
        answered = False
        without = Connection.open(address, self._deadline, self._clean)
        if isinstance(without, Connection):
            with closing(without):
                [asked] = without.send(self._deadline, ("connect", {}))
                if without.wait([asked], self._deadline) is None:
                    self._learn(without.reply(asked), self._ask(without))
                    answered = self.facts.protocol_version is not None
        # The other connection is the proof that the server is not merely slow.
        wait_s = max(MUTE_AFTER_S - _ms_since(started) / 1000, MUTE_AFTER_S / 10)
        silence = connection.wait([ping], self._deadline.within(wait_s))
        self.facts.went_mute = answered and silence is not None and silence.kind == "timeout"
        if silence is None:
            after = "the connection goes on answering"
        elif self.facts.went_mute:
            after = "the connection answers nothing more"
        else:
            after = f"after that: {silence.detail}"
        detail = f"a token was sent to a server that has none: {words}; {after}"
        self._add_token("fail", "not-configured", detail, _ms_since(started))

    # Questions

    def _ask(self, connection: Connection) -> _Answers:
        ids = connection.send(
            self._deadline, ("ping", {}), ("status.get", {}), ("auth.getStatus", {})
        )
        failure = connection.wait(ids, self._deadline)
        ping, status, auth = map(connection.reply, ids)
        return _Answers(ping=ping, status=status, auth=auth, failure=failure)

    def _learn(self, connected: Reply | None, answers: _Answers) -> None:
        """Take the facts out of the answers."""
        hellos = [_hello(reply) for reply in (connected, answers.ping, answers.status)]
        self.facts.version = next(
            (text for hello in hellos if (text := self._text(hello.version, 64))), None
        )
        numbers = (whole_number(hello.protocol_version) for hello in hellos)
        self.facts.protocol_version = next((n for n in numbers if n is not None), None)
        stamp = hellos[1].timestamp
        if decode(stamp, str) is not None:
            self.facts.timestamp = "string"
        elif decode(stamp, float) is not None:
            self.facts.timestamp = "integer"
        if not isinstance(answers.auth, Result):
            return
        auth = decode(answers.auth.value, _AuthStatus) or _AuthStatus()
        self.facts.signed_in = decode(auth.is_authenticated, bool)
        self.facts.auth_type = self._text(auth.auth_type, 64)
        self.facts.auth_host = self._text(auth.host, 200)
        self.facts.login = self._text(auth.login, 100)
        self.facts.status_message = self._text(auth.status_message, 300)

    def _text(self, raw: msgspec.Raw, limit: int) -> str | None:
        return self._clean(decode(raw, str) or "", limit) or None

    # Judgement

    def _recognise_copilot(
        self, connected: Reply | None, answers: _Answers, *, is_slow: bool
    ) -> bool:
        self._learn(connected, answers)
        has_connect = isinstance(connected, Result)
        asked, first = ("connect", connected) if has_connect else ("ping", answers.ping)
        elapsed_ms = first.elapsed_ms if first else 0.0
        if self.facts.protocol_version is None:
            self.facts.peer, self.facts.peer_detail = "unknown", "JSON-RPC server"
            if (last := _shutting_down(answers)) is not None:
                self.facts.peer, self.facts.peer_detail = "copilot", ""
                code, detail = "shutting-down", f"the server is shutting down: {_words(last)}"
            elif answers.failure is not None:
                code = _code_of(answers.failure)
                detail = f"the server answered connect, and after that {answers.failure.detail}"
            else:
                code = "peer-unknown"
                detail = "a JSON-RPC server listens there, but its answers are not Copilot's"
            self._add("handshake", "fail", code, detail, elapsed_ms)
            return False
        self.facts.peer, self.facts.has_connect = "copilot", has_connect
        name = f"Copilot server {self.facts.version or 'of unknown version'}"
        detail = f"{name} answered {asked} after {elapsed_ms:.1f} ms"
        status: StepStatus = "warn" if is_slow else "pass"
        self._add("handshake", status, "slow" if is_slow else "ok", detail, elapsed_ms)
        self._judge_token()
        return True

    def _judge_token(self) -> None:
        sent = self._token is not None
        if self.facts.has_connect and sent:
            detail = "the server accepted the connection token"
            self._add_token("pass", "accepted", detail)
        elif self.facts.has_connect:
            detail = "the server lets in clients without a connection token"
            self._add_token("pass", "not-required", detail)
        elif sent:
            detail = "the server has no connect method, so it ignores every connection token"
            self._add_token("warn", "ignored", detail)
        else:
            detail = "the server has no connect method, so it lets in every client"
            self._add_token("pass", "not-required", detail)

    def _judge(self, answers: _Answers, connection: Connection) -> None:
        if not self._judge_protocol(answers):
            return
        if self._judge_auth(answers):
            self._models(connection)

    def _judge_protocol(self, answers: _Answers) -> bool:
        """Whether the conversation can go on."""
        elapsed_ms = answers.ping.elapsed_ms if answers.ping else 0.0
        name = "protocol-version"
        if (last := _shutting_down(answers)) is not None:
            detail = f"the server is shutting down: {_words(last)}"
            self._add(name, "fail", "shutting-down", detail, last.elapsed_ms)
            return False
        if answers.ping is None and answers.status is None and answers.failure is not None:
            is_mute = answers.failure.kind == "timeout"
            code = "mute" if is_mute else _code_of(answers.failure)
            words = "answered neither ping nor status.get" if is_mute else answers.failure.detail
            self._add(name, "fail", code, f"after connect the server {words}", elapsed_ms)
            return False
        number = self.facts.protocol_version
        detail = f"the server speaks protocol version {number}"
        if self.facts.timestamp is not None:
            detail += f"; the timestamp in its answer to ping is of type {self.facts.timestamp}"
        if number == SUPPORTED_PROTOCOL:
            self._add(name, "pass", "ok", detail, elapsed_ms)
        else:
            is_older = (number or 0) < SUPPORTED_PROTOCOL
            code = "protocol-older" if is_older else "protocol-newer"
            self._add(name, "warn", code, detail, elapsed_ms)
        return True

    def _judge_auth(self, answers: _Answers) -> bool:
        """Whether the server says that it is signed in."""
        name, reply = "authentication", answers.auth
        if isinstance(reply, Result) and self.facts.signed_in is not None:
            words = f": {self.facts.status_message}" if self.facts.status_message else ""
            if self.facts.signed_in:
                how = f" ({self.facts.auth_type})" if self.facts.auth_type else ""
                who = f" as {self.facts.login}" if self.facts.login else ""
                detail = f"the server says that it is signed in{who}{how}{words}"
                self._add(name, "pass", "signed-in", detail, reply.elapsed_ms)
                return True
            detail = f"the server says that it is not signed in{words}"
            self._add(name, "warn", "not-signed-in", detail, reply.elapsed_ms)
            why = "not asked, as the server is not signed in"
            self._add("models", "skip", "not-signed-in", why, 0.0)
            return False
        code, detail = _unanswered("auth.getStatus", reply, answers.failure)
        self._add(name, "unknown", code, detail, reply.elapsed_ms if reply else 0.0)
        why = "not asked, as it is not known whether the server is signed in"
        self._add("models", "skip", "blocked", why, 0.0)
        return False

    def _models(self, connection: Connection) -> None:
        started = time.perf_counter()
        [asked] = connection.send(self._deadline, ("models.list", {}))
        failure = connection.wait([asked], self._deadline)
        reply, elapsed_ms = connection.reply(asked), _ms_since(started)
        found = decode(reply.value, _Models) if isinstance(reply, Result) else None
        if found is not None:
            ids = tuple(self._clean(model.id, 100) for model in found.models[:MOST_MODELS])
            self.facts.models = ids
            status, code = ("pass", "ok") if ids else ("warn", "no-models")
            detail = f"the server offers {len(found.models)} models"
            self._add("models", cast("StepStatus", status), code, detail, elapsed_ms)
            return
        code, detail = _unanswered("models.list", reply, failure)
        self.facts.models_error = detail
        is_refused = code == "refused-by-server"
        self._add("models", "fail" if is_refused else "unknown", code, detail, elapsed_ms)


_WHAT: dict[str, str] = {
    "http": "an HTTP server",
    "tls": "a TLS server",
    "ssh": "an SSH server",
    "redis": "a Redis server",
    "acp": "an ACP server (Agent Client Protocol)",
    "unknown": "another server",
}


def _unrecognised(
    connection: Connection | None, failure: Failure, seconds: str
) -> tuple[PeerName, str, str]:
    """Peer, code and detail for a peer that does not say who it is."""
    said = skipped = 0
    middle = ""
    if connection is not None:
        said, skipped = len(connection.said), connection.skipped
        middle = " in the middle of a message" if connection.inside_message else ""
    if failure.kind in {"closed", "reset"}:
        name: PeerName = "closed" if failure.kind == "closed" else "reset"
        return name, failure.kind, f"the peer {failure.detail}{middle} instead of answering connect"
    if failure.kind in {"framing", "json", "oversize"}:
        detail = f"the peer does not speak the Copilot protocol: {failure.detail}"
        return "garbage", "peer-garbage", detail
    if failure.kind == "flood":
        return "unknown", "flood", f"the peer {failure.detail} and did not answer connect"
    if not said:
        return "silent", "peer-silent", f"the peer accepted and said nothing for {seconds}"
    if skipped:
        detail = f"the peer sent JSON-RPC ({skipped} in {seconds}), but no answer to connect"
        return "unknown", "peer-unknown", detail
    return "unknown", "timeout", f"the peer sent {said} bytes in {seconds} and no complete answer"


def _unanswered(method: str, reply: Reply | None, failure: Failure | None) -> tuple[str, str]:
    """Code and detail for a question that got no proper answer."""
    if isinstance(reply, RpcError):
        is_end = reply.code == _SHUTTING_DOWN
        return ("shutting-down" if is_end else "refused-by-server"), f"{method}: {_words(reply)}"
    if reply is not None:
        return "malformed", f"{method}: the answer has not the expected shape"
    if failure is None or failure.kind == "timeout":
        return "timeout", f"{method}: no answer within the time limit"
    return _code_of(failure), f"{method}: the server {failure.detail}"


def _words(error: RpcError) -> str:
    code = "no error code" if error.code is None else str(error.code)
    return f"{error.message} ({code})" if error.message else f"an error without words ({code})"


def _shutting_down(answers: _Answers) -> RpcError | None:
    """The answer that says so, of a server that ends in good order."""
    for reply in (answers.ping, answers.status):
        if (
            isinstance(reply, RpcError)
            and reply.code == _SHUTTING_DOWN
            and reply.message.startswith(_OUR_WORDS)
        ):
            return reply
    return None


def _code_of(failure: Failure) -> str:
    garbage = {"framing", "json", "oversize"}
    return "peer-garbage" if failure.kind in garbage else failure.kind


def _hello(reply: Reply | None) -> _Hello:
    found = decode(reply.value, _Hello) if isinstance(reply, Result) else None
    return found or _Hello()


def _ms_since(started: float) -> float:
    return (time.perf_counter() - started) * 1000
