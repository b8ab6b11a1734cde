"""Two real clients on one real server: one answers the other, until the server is upgraded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.harness.cli import NEWEST, OLDEST, start_server
from tests.harness.doctor import evidence, findings, fix, paste, run_doctor
from tests.harness.installed import own_cli, with_registries
from tests.harness.sdk import LAST_FOR_OLD_CLI, idle_client

if TYPE_CHECKING:
    from pathlib import Path

    from tests.harness.cli import RunningServer
    from tests.scenarios.conftest import Proven

pytestmark = [pytest.mark.real, pytest.mark.timeout(420)]

CHECK = "client-isolation"


def look(server: RunningServer) -> list[dict[str, Any]]:
    report = run_doctor("--select", CHECK, env=server.env, cwd=server.home)
    return findings(report, CHECK, f"on port {server.port} ")


def test_clients_share_their_requests_until_the_upgrade(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, proven: Proven
) -> None:
    own_cli(OLDEST, tmp_path, monkeypatch)
    sdk = LAST_FOR_OLD_CLI
    with start_server(OLDEST) as server:
        with idle_client(sdk, server.url) as one, idle_client(sdk, server.url) as other:
            (found,) = look(server)
            assert found["status"] == "warn"
            for client in (one, other):
                assert f"client pid {client.pid}" in evidence(found)
            assert f"server version: {OLDEST}" in evidence(found)
        chosen, env = fix(found, "upgrade"), with_registries(server.env)
        with (
            paste(chosen, env=env, port=server.port, cwd=server.home, limit_s=240),
            idle_client(sdk, server.url),
            idle_client(sdk, server.url),
        ):
            assert look(server) == []
        proven(CHECK, "upgrade", OLDEST)


def test_the_newest_version_keeps_clients_apart() -> None:
    with (
        start_server(NEWEST) as server,
        idle_client(None, server.url),
        idle_client(None, server.url),
    ):
        assert look(server) == []
