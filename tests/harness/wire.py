"""A plain client of the server's wire protocol (JSON-RPC 2.0 with Content-Length), for tests only.

It shares no line with the doctor's own client: so that one cannot hide the other's faults.
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.harness.model import FakeModel

Json = dict[str, Any]

# The word that grants one tool call: up to CLI 1.0.32, and from 1.0.44 on.
OLD_APPROVAL = "approved"
APPROVAL = "approve-once"


class WireError(Exception):
    """An error answer of the server."""

    def __init__(self, code: int, message: str | None) -> None:
        super().__init__(f"{code} {message}")
        self.code = code
        self.message = message


@dataclass(frozen=True)
class Event:
    """One event of a session."""

    session_id: str
    type: str
    data: Json


class Wire:
    """One connection to a server.

    Args:
        sock: The open connection.
        approve: The decision's word sent for each permission request; None leaves them unanswered.
    """

    def __init__(self, sock: socket.socket, approve: str | None = APPROVAL) -> None:
        self.events: list[Event] = []
        self.approve = approve
        self._sock = sock
        self._replies: dict[int, Json] = {}
        self._next = 0
        self._changed = threading.Condition()
        self._closed = False
        sock.settimeout(None)
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    @classmethod
    def open(cls, port: int, host: str = "127.0.0.1", *, approve: str | None = APPROVAL) -> Self:
        """Open a connection and say nothing yet."""
        return cls(socket.create_connection((host, port), 10), approve)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._sock.close()

    @property
    def closed(self) -> bool:
        """Whether the server has hung up."""
        return self._closed

    def exchange(self, method: str, params: Json | None = None, timeout_s: float = 20) -> Json:
        """Send a request and return the whole answer, `{"result": …}` or `{"error": …}`.

        Raises:
            TimeoutError: No answer in time.
            ConnectionError: The server hung up.
        """
        self._next += 1
        number = self._next
        self._write({"jsonrpc": "2.0", "id": number, "method": method, "params": params or {}})
        self._until(lambda: number in self._replies, timeout_s, method)
        return self._replies.pop(number)

    def request(self, method: str, params: Json | None = None, timeout_s: float = 20) -> Any:
        """Send a request and return its result.

        Raises:
            WireError: The server answered with an error.
            TimeoutError: No answer in time.
            ConnectionError: The server hung up.
        """
        reply = self.exchange(method, params, timeout_s)
        if "error" in reply:
            raise WireError(reply["error"].get("code"), reply["error"].get("message"))
        return reply.get("result")

    def connect(self, token: str | None = None) -> Json:
        """The handshake, with a connection token where the server wants one."""
        found: Json = self.request("connect", {} if token is None else {"token": token})
        return found

    def ping(self) -> Json:
        found: Json = self.request("ping", {"message": "hello"})
        return found

    def status(self) -> Json:
        found: Json = self.request("status.get")
        return found

    def auth_status(self) -> Json:
        found: Json = self.request("auth.getStatus")
        return found

    def models(self) -> list[Json]:
        found: list[Json] = self.request("models.list")["models"]
        return found

    def create_session(
        self,
        provider: Json | None = None,
        model: str | None = "fake-model",
        *,
        request_permission: bool = True,
        **more: Any,
    ) -> str:
        """Make a session and return its id.

        Args:
            provider: The session's own model provider (`FakeModel.provider`).
            model: The session's own model; None leaves it to the server.
            request_permission: False is what an SDK sends that has no permission handler.
            **more: Further keys of `session.create`.
        """
        params: Json = {"requestPermission": request_permission, **more}
        if model is not None:
            params["model"] = model
        if provider is not None:
            params["provider"] = provider
        return str(self.request("session.create", params, timeout_s=40)["sessionId"])

    def send(self, session_id: str, prompt: str = "Do it.") -> None:
        self.request("session.send", {"sessionId": session_id, "prompt": prompt}, timeout_s=40)

    def wait_event(self, *types: str, session_id: str | None = None, timeout_s: float) -> Event:
        """Return the first event, also a past one, of one of these types.

        Raises:
            TimeoutError: None came in time.
            ConnectionError: The server hung up.
        """

        def found() -> Event | None:
            for event in self.events:
                if event.type in types and session_id in (None, event.session_id):
                    return event
            return None

        self._until(lambda: found() is not None, timeout_s, " or ".join(types))
        event = found()
        assert event is not None
        return event

    def answer_permission(self, session_id: str, request_id: str, kind: str) -> Any:
        """Decide a permission request (also somebody else's)."""
        params = {"sessionId": session_id, "requestId": request_id, "result": {"kind": kind}}
        return self.request("session.permissions.handlePendingPermissionRequest", params)

    def _until(self, done: Callable[[], bool], timeout_s: float, what: str) -> None:
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while not done():
                if self._closed:
                    raise ConnectionError(f"the server hung up before {what}")
                if not self._changed.wait(deadline - time.monotonic()):
                    raise TimeoutError(f"no {what} within {timeout_s} s")

    def _write(self, message: Json) -> None:
        body = json.dumps(message).encode()
        self._sock.sendall(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))

    def _read(self) -> None:
        stream = self._sock.makefile("rb")
        with contextlib.suppress(OSError, ValueError), stream:
            while True:
                length = -1
                while line := stream.readline().strip():
                    name, _, value = line.partition(b":")
                    if name.lower() == b"content-length":
                        length = int(value)
                if length < 0:
                    break
                self._take(json.loads(stream.read(length)))
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _take(self, message: Json) -> None:
        if "method" not in message:
            with self._changed:
                self._replies[message["id"]] = message
                self._changed.notify_all()
            return
        params = message.get("params") or {}
        if message["method"] == "session.event":
            raw = params["event"]
            event = Event(str(params.get("sessionId")), raw["type"], raw.get("data") or {})
            with self._changed:
                self.events.append(event)
                self._changed.notify_all()
            if event.type == "permission.requested" and self.approve is not None:
                self._decide(event)
        elif "id" in message:
            self._answer(message)

    def _decide(self, event: Event) -> None:
        # Not through request(): this runs on the reading thread, which must not wait for itself.
        result = {"kind": self.approve}
        params = {"sessionId": event.session_id, "requestId": event.data["requestId"]}
        method = "session.permissions.handlePendingPermissionRequest"
        body = {"jsonrpc": "2.0", "id": f"p{event.data['requestId']}", "method": method}
        self._write(body | {"params": params | {"result": result}})

    def _answer(self, message: Json) -> None:
        """Answer what the server asks this client: protocol 2 asks for permission this way."""
        reply: Json = {"jsonrpc": "2.0", "id": message["id"]}
        if message["method"] == "permission.request":
            if self.approve is None:
                return
            reply["result"] = {"result": {"kind": self.approve}}
        else:
            reply["error"] = {"code": -32601, "message": f"no {message['method']} here"}
        self._write(reply)


@dataclass(frozen=True)
class ToolRun:
    """What became of one tool call in a real session."""

    ran: bool
    ended: str | None
    """Type of the event that ended the turn, None when nothing had come in time."""
    told_model: list[str]
    """What the CLI told the model about the call."""
    error: Json | None
    """Data of `session.error`."""


def run_tool(
    wire: Wire,
    model: FakeModel,
    mark: Path,
    *,
    timeout_s: float = 20,
    request_permission: bool = True,
    **more: Any,
) -> ToolRun:
    """Let a session of its own run the model's steps, which leave the file `mark` if they ran."""
    session = wire.create_session(model.provider, request_permission=request_permission, **more)
    wire.send(session)
    ended = None
    with contextlib.suppress(TimeoutError):
        event = wire.wait_event(
            "session.idle", "session.error", session_id=session, timeout_s=timeout_s
        )
        ended = event.type
    errors = [e.data for e in wire.events if e.session_id == session and e.type == "session.error"]
    return ToolRun(mark.exists(), ended, model.tool_results, errors[0] if errors else None)
