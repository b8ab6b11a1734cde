"""A model server of the tests: speaks OpenAI chat completions, answers what a test scripted.

With it as a session's own provider, a real CLI runs a real session without any account, and a test
can prove whether a tool ran.
"""

from __future__ import annotations

import contextlib
import json
import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.harness.http import Answer, Request, serve

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from tests.harness.netns import Namespace

MODEL = "fake-model"
API_KEY = "key-of-the-fake-model"


@dataclass(frozen=True)
class Text:
    """An answer of the model that ends its turn."""

    text: str = "done"


@dataclass(frozen=True)
class Bash:
    """An answer of the model that asks for a command to be run by the `bash` tool."""

    command: str


@dataclass
class FakeModel:
    """A running model server.

    The n-th answer after a user's message is the n-th step, then "done": so that any number of
    sessions can use it at once. A request that offers no `bash` tool (such as for a title) always
    gets the text.
    """

    steps: Sequence[Text | Bash]
    port: int = 0
    requests: list[dict[str, Any]] = field(default_factory=list)
    authorizations: list[str | None] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def provider(self) -> dict[str, str]:
        """The `provider` of a `session.create` on the wire."""
        return {"type": "openai", "baseUrl": self.url, "apiKey": API_KEY}

    @property
    def models(self) -> list[str]:
        """The model asked for in each request."""
        return [str(body.get("model")) for body in self.requests]

    @property
    def tool_results(self) -> list[str]:
        """What the CLI told the model about tools that ran, failed or were denied."""
        found: dict[str, str] = {}
        for body in self.requests:
            for message in body.get("messages", []):
                if message.get("role") == "tool":
                    found[message.get("tool_call_id")] = str(message.get("content"))
        return list(found.values())

    def answer(self, request: Request) -> Answer:
        if request.command == "GET":
            return _json({"object": "list", "data": [{"id": MODEL, "object": "model"}]})
        body = json.loads(request.body or b"{}")
        self.requests.append(body)
        self.authorizations.append(request.headers.get("Authorization"))
        step = self._step(body)
        return _stream(body, step) if body.get("stream") else _json(_completion(body, step))

    def _step(self, body: dict[str, Any]) -> Text | Bash:
        tools = [tool.get("function", {}).get("name") for tool in body.get("tools") or []]
        count = 0
        for message in body.get("messages", []):
            count = 0 if message.get("role") == "user" else count
            count += message.get("role") == "assistant"
        step = self.steps[count] if count < len(self.steps) else Text()
        return step if isinstance(step, Text) or "bash" in tools else Text()


@contextlib.contextmanager
def fake_model(*steps: Text | Bash, inside: Namespace | None = None) -> Iterator[FakeModel]:
    """Run a model server on loopback (of that network namespace) that gives these answers."""
    listener = inside.listen(0) if inside else socket.create_server(("127.0.0.1", 0), backlog=64)
    model = FakeModel(steps, listener.getsockname()[1])
    with serve(listener, model.answer):
        yield model


def touch(path: Path) -> Bash:
    """A command whose trace proves that it ran."""
    return Bash(f"touch '{path}'")


def _message(step: Text | Bash, number: int) -> dict[str, Any]:
    if isinstance(step, Text):
        return {"role": "assistant", "content": step.text}
    arguments = {"command": step.command, "description": "A step of a test"}
    call = {
        "index": 0,
        "id": f"call_{number}",
        "type": "function",
        "function": {"name": "bash", "arguments": json.dumps(arguments)},
    }
    return {"role": "assistant", "content": None, "tool_calls": [call]}


def _completion(body: dict[str, Any], step: Text | Bash) -> dict[str, Any]:
    number = len(body.get("messages", []))
    return {
        "id": f"chatcmpl-{number}",
        "object": "chat.completion",
        "created": 1,
        "model": body.get("model", MODEL),
        "choices": [
            {
                "index": 0,
                "message": _message(step, number),
                "finish_reason": "stop" if isinstance(step, Text) else "tool_calls",
            }
        ],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
    }


def _stream(body: dict[str, Any], step: Text | Bash) -> Answer:
    whole = _completion(body, step)
    choice = whole["choices"][0]
    base = whole | {"object": "chat.completion.chunk"}
    usage = base.pop("usage")
    first = {"index": 0, "delta": choice["message"], "finish_reason": None}
    last = {"index": 0, "delta": {}, "finish_reason": choice["finish_reason"]}
    chunks = [base | {"choices": [first]}, base | {"choices": [last], "usage": usage}]
    text = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + "data: [DONE]\n\n"
    return 200, {"Content-Type": "text/event-stream"}, text.encode()


def _json(value: object) -> Answer:
    return 200, {"Content-Type": "application/json"}, json.dumps(value).encode()
