"""What runs inside of an SDK's own environment: one client, steered by a line of JSON.

It knows every SDK generation that the tests use, and nothing of the harness: it is started as a
program (see `sdk.py`). First line of standard input: what to do. Standard output: what happened.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import json
import os
import sys
from typing import Any

Json = dict[str, Any]


def _client(job: Json) -> Any:
    # Any: the generations have different names, and one environment has only one of them.
    copilot: Any = importlib.import_module("copilot")
    if hasattr(copilot, "RuntimeConnection"):  # from 1.0.0 on
        uri = copilot.RuntimeConnection.for_uri(job["url"], connection_token=job["token"])
        return copilot.CopilotClient(connection=uri)
    # Up to 0.3.0, without connection tokens.
    return copilot.CopilotClient(copilot.client.ExternalServerConfig(url=job["url"]))


def _handler(name: str) -> Any:
    from copilot.session import PermissionHandler

    async def silent(*_request: Any) -> Any:
        await asyncio.Event().wait()

    return {"approve_all": PermissionHandler.approve_all, "silent": silent, "none": None}[name]


async def _limited(awaitable: Any, limit_s: float) -> tuple[Any, str | None]:
    """Wait, and tell a hang ("hung") from an error that the SDK raised itself."""
    task = asyncio.ensure_future(awaitable)
    done, _ = await asyncio.wait({task}, timeout=limit_s)
    if not done:
        task.cancel()
        return None, "hung"
    if error := task.exception():
        return None, f"{type(error).__name__}: {error}"
    return task.result(), None


async def _session(client: Any, job: Json, result: Json) -> None:
    settings: Json = {}
    if job["provider"]:
        settings["provider"] = {
            "type": "openai",
            "base_url": job["provider"]["baseUrl"],
            "api_key": job["provider"]["apiKey"],
        }
    if job["model"]:
        settings["model"] = job["model"]
    handler = _handler(job["handler"])
    session, result["session_error"] = await _limited(
        client.create_session(on_permission_request=handler, **settings), job["limit_s"]
    )
    if session is None:
        return
    answer, result["send_error"] = await _limited(
        session.send_and_wait("Do it.", timeout=job["sdk_timeout_s"]), job["limit_s"]
    )
    result["returned"] = result["send_error"] is None
    if answer is not None:
        result["answer"] = str(getattr(answer.data, "content", answer.data))


async def _main(job: Json) -> None:
    result: Json = {"started": False, "start_error": None, "returned": False}
    client = _client(job)
    _, result["start_error"] = await _limited(client.start(), job["limit_s"])
    result["started"] = result["start_error"] is None
    if result["started"] and job["act"] == "session":
        await _session(client, job, result)
    sys.stdout.write(json.dumps(result) + "\n")
    sys.stdout.flush()
    if job["act"] == "idle":
        await asyncio.to_thread(sys.stdin.read)
    if result["started"]:
        with contextlib.suppress(Exception):
            await asyncio.wait_for(client.stop(), 2)


if __name__ == "__main__":
    asyncio.run(_main(json.loads(sys.stdin.readline())), debug=False)
    os._exit(0)  # whatever the SDK left waiting
