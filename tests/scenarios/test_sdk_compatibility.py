"""Real SDKs with real servers that they do not fit, before and after the printed move."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from tests.harness import sdk as sdk_harness
from tests.harness.cli import NEWEST, OLDEST, start_server
from tests.harness.doctor import evidence, findings, fix, paste, run_doctor
from tests.harness.installed import own_cli, own_sdk, with_registries
from tests.harness.model import fake_model
from tests.harness.sdk import LAST_FOR_OLD_CLI, NEW, OLD, idle_client, run_session, run_start

if TYPE_CHECKING:
    from pathlib import Path

    from tests.harness.cli import RunningServer
    from tests.scenarios.conftest import Proven

pytestmark = [pytest.mark.real, pytest.mark.timeout(420)]

CHECK = "sdk-compatibility"


def look(server: RunningServer, subject: str, cwd: Path | None = None) -> list[dict[str, Any]]:
    report = run_doctor("--select", CHECK, env=server.env, cwd=cwd or server.home)
    return findings(report, CHECK, subject)


def test_an_sdk_that_waits_for_ever_is_moved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, proven: Proven
) -> None:
    python = own_sdk(NEW, tmp_path / "venv")
    monkeypatch.setattr(sdk_harness, "sdk_python", lambda _version: python)
    with fake_model() as model, start_server(OLDEST) as server:
        with idle_client(NEW, server.url) as client:
            (found,) = look(server, f"client pid {client.pid}")
        assert found["status"] == "fail"
        assert f"github-copilot-sdk {NEW} (installed)" in evidence(found)
        assert f"server version: {OLDEST}" in evidence(found)
        waited = run_session(NEW, server.url, model=model, limit_s=8, sdk_timeout_s=4)
        # The words of the finding, with this run's own timeout in them.
        assert waited.send_error == found["symptom"].replace("60.0s", "4.0s").replace("4.0s", "4s")

        path = os.pathsep.join([str(python.parent), server.env["PATH"]])
        with paste(fix(found, "move-sdk"), env=with_registries({**server.env, "PATH": path})):
            pass
        assert run_session(NEW, server.url, model=model).returned
        with idle_client(NEW, server.url) as client:
            assert look(server, f"client pid {client.pid}") == []
        proven(CHECK, "move-sdk", OLDEST)


def test_a_server_that_does_not_fit_is_moved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, proven: Proven
) -> None:
    own_cli(OLDEST, tmp_path, monkeypatch)
    with fake_model() as model, start_server(OLDEST) as server:
        with idle_client(None, server.url) as client:
            (found,) = look(server, f"client pid {client.pid}")
        chosen, env = fix(found, "move-cli"), with_registries(server.env)
        with paste(chosen, env=env, port=server.port, cwd=server.home, limit_s=240):
            with idle_client(None, server.url) as client:
                assert look(server, f"client pid {client.pid}") == []
            assert run_session(None, server.url, model=model).returned
        proven(CHECK, "move-cli", OLDEST)


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_the_sdk_of_the_project_cannot_connect(
    version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, proven: Proven
) -> None:
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "app"\nversion = "1"\n')
    python = own_sdk(OLD, tmp_path / ".venv")
    monkeypatch.setattr(sdk_harness, "sdk_python", lambda _version: python)
    with start_server(version) as server:
        subject = f"with Copilot server {version} on port {server.port} "
        (found,) = look(server, subject, tmp_path)
        assert found["status"] == "warn"
        assert f"github-copilot-sdk {OLD} (installed)" in evidence(found)
        error = run_start(OLD, server.url).start_error
        assert error is not None
        assert error.startswith(found["symptom"].partition("'")[0])

        path = os.pathsep.join([str(python.parent), server.env["PATH"]])
        with paste(fix(found, "move-sdk"), env=with_registries({**server.env, "PATH": path})):
            pass
        assert run_start(OLD, server.url).started
        assert look(server, subject, tmp_path) == []
        proven(CHECK, "move-sdk", version)


def test_without_a_client_the_newest_sdk_is_warned_of() -> None:
    with start_server(OLDEST) as server:
        found = [
            item
            for item in look(server, f"on port {server.port} ")
            if "no client is in view" in item["title"]
        ]
        assert [item["status"] for item in found] in (["warn"], [])
        if found:  # unless another test's client was just connected to it
            assert f"=={LAST_FOR_OLD_CLI}'" in fix(found[0], "pin-sdk")["shell"]
    with start_server(NEWEST) as server:
        assert look(server, f"on port {server.port} ") == []
