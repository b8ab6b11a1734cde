"""Tools of SDK clients on a real server: flags do nothing, the client's handler does."""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.harness.cli import NEWEST, OLDEST, base_env, start_server
from tests.harness.doctor import evidence, findings, fix, run_doctor
from tests.harness.model import API_KEY, MODEL, FakeModel, fake_model, touch
from tests.harness.sdk import LAST_FOR_OLD_CLI, run_session, sdk_python

if TYPE_CHECKING:
    from tests.harness.cli import RunningServer
    from tests.scenarios.conftest import Proven

pytestmark = pytest.mark.real

CHECK = "tool-approval"
RULES = "permission-rules"
# The SDK that gets along with each CLI; None is the newest, that the tests are installed with.
FITTING = [(OLDEST, LAST_FOR_OLD_CLI), (NEWEST, None)]
BOTH = pytest.mark.parametrize(("version", "sdk"), FITTING)
ALLOW_ALL = ("--allow-all-tools", "--allow-all-paths", "--allow-all-urls")

# Runs a printed snippet as it is. Only the model's address is added to what it creates.
_RUN = """
import ast, asyncio, copilot, inspect, json, os, sys
job = json.load(sys.stdin)
create = copilot.CopilotClient.create_session
async def with_model(self, **settings):
    return await create(self, provider=job["provider"], model=job["model"], **settings)
copilot.CopilotClient.create_session = with_model
async def main():
    uri = copilot.RuntimeConnection.for_uri(job["url"])
    names = {"client": copilot.CopilotClient(connection=uri)}
    await names["client"].start()
    code = compile(job["code"], "printed", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    await eval(code, names)
    answer = await names["session"].send_and_wait("Do it.")
    print("answered", answer is not None, flush=True)
    os._exit(0)
asyncio.run(asyncio.wait_for(main(), 60))
"""


def run_snippet(sdk: str | None, server: RunningServer, model: FakeModel, code: str) -> None:
    job: dict[str, Any] = {
        "url": server.url,
        "provider": {"type": "openai", "base_url": model.url, "api_key": API_KEY},
        "model": MODEL,
        "code": code,
    }
    with tempfile.TemporaryDirectory() as home:
        done = subprocess.run(
            [str(sdk_python(sdk)), "-c", _RUN],
            env=base_env(Path(home)),
            input=json.dumps(job),
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
    assert done.stdout.strip() == "answered True", done.stderr


def look(server: RunningServer, check: str = CHECK) -> dict[str, dict[str, Any]]:
    report = run_doctor("--select", check, env=server.env, cwd=server.home)
    found = findings(report, check, f"(pid {server.listener_pid})")
    return {item["title"]: item for item in found}


@BOTH
def test_the_handler_decides_and_the_flags_do_not(
    version: str, sdk: str | None, tmp_path: Path, proven: Proven
) -> None:
    mark = tmp_path / "mark"
    with fake_model(touch(mark)) as model, start_server(version) as server:
        (found,) = look(server).values()
        assert found["status"] == "warn"
        assert "launch flags that allow: none" in evidence(found)
        assert f"server version: {version}" in evidence(found)
        # The broken case: no handler.
        result = run_session(sdk, server.url, model=model, handler="none")
        assert result.returned
        assert not mark.exists()
        assert found["symptom"] in model.tool_results

        for name in ("handler-python", "decide-python"):
            run_snippet(sdk, server, model, fix(found, name)["code"])
            assert mark.exists()
            mark.unlink()
            proven(CHECK, name, version)


@BOTH
def test_the_documented_cure_does_not_cure(version: str, sdk: str | None, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    with fake_model(touch(mark)) as model, start_server(version, *ALLOW_ALL) as server:
        (found,) = look(server).values()
        assert found["status"] == "unknown"
        assert "--allow-all-tools" in evidence(found)
        result = run_session(sdk, server.url, model=model, handler="none")
        assert result.returned
        assert not mark.exists()
        result = run_session(sdk, server.url, model=model, handler="silent", limit_s=6)
        assert result.send_error == "hung"
        assert not mark.exists()


@BOTH
def test_a_denied_tool_runs_until_the_client_refuses_it(
    version: str, sdk: str | None, tmp_path: Path, proven: Proven
) -> None:
    mark = tmp_path / "mark"
    with (
        fake_model(touch(mark)) as model,
        start_server(version, "--allow-all-tools", "--deny-tool=shell") as server,
    ):
        found = look(server, RULES)["The server's deny and tool lists restrict no SDK client"]
        assert found["status"] == "warn"
        assert "--deny-tool=shell" in evidence(found)
        assert run_session(sdk, server.url, model=model).returned
        assert mark.exists(), "the denied tool did not run"

        mark.unlink()
        run_snippet(sdk, server, model, fix(found, "refuse-in-client")["code"])
        assert not mark.exists()
        proven(RULES, "refuse-in-client", version)
