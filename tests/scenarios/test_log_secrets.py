"""Logs of a real server: what they hold, who can read them, and the printed cure."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.harness.cli import NEWEST, OLDEST, start_server
from tests.harness.doctor import evidence, findings, fix, paste, run_doctor
from tests.harness.model import fake_model
from tests.harness.sdk import LAST_FOR_OLD_CLI, run_session

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.harness.cli import RunningServer
    from tests.scenarios.conftest import Proven

pytestmark = pytest.mark.real

CHECK = "log-secrets"
LEAKS = "1.0.81"
CANARY = "canary-of-the-log-scenario"


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user may enter, as ``/var/log`` is."""
    folder = Path(tempfile.mkdtemp(prefix="cd-log-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def look(server: RunningServer) -> list[dict[str, Any]]:
    report = run_doctor("--select", CHECK, env=server.env, cwd=server.home)
    assert CANARY not in str(report)
    return findings(report, CHECK, f"on port {server.port} ")


def logs(folder: Path) -> list[Path]:
    return sorted(folder.glob("process-*.log"))


def test_the_environment_gets_into_the_log_until_the_level_is_info(
    open_folder: Path, proven: Proven
) -> None:
    args = ("--log-level", "all", "--log-dir", str(open_folder))
    with (
        fake_model() as model,
        start_server(LEAKS, *args, env={"MY_DB_PASSWORD": CANARY}) as server,
    ):
        run_session(LAST_FOR_OLD_CLI, server.url, model=model)
        (old,) = logs(open_folder)
        assert CANARY in old.read_text(errors="replace")
        (found,) = look(server)
        assert found["status"] == "fail"
        assert f"{old}: mode 644" in evidence(found)
        assert f"server version: {LEAKS}" in evidence(found)

        with paste(fix(found, "quiet"), env=server.env, port=server.port, cwd=server.home):
            assert look(server) == []
            assert old.stat().st_mode & 0o777 == 0o600
            run_session(LAST_FOR_OLD_CLI, server.url, model=model)
            (new,) = set(logs(open_folder)) - {old}
            assert CANARY not in new.read_text(errors="replace")
        proven(CHECK, "quiet", LEAKS)


@pytest.mark.parametrize(("version", "sdk"), [(OLDEST, LAST_FOR_OLD_CLI), (NEWEST, None)])
def test_prompts_in_an_open_log(
    version: str, sdk: str | None, open_folder: Path, proven: Proven
) -> None:
    args = ("--log-level", "all", "--log-dir", str(open_folder))
    with fake_model() as model, start_server(version, *args) as server:
        run_session(sdk, server.url, model=model)
        (log,) = logs(open_folder)
        if version == NEWEST:
            assert look(server) == []  # this version closes it by itself
            log.chmod(0o644)
        (found,) = look(server)
        assert found["status"] == "warn"
        assert f"{log}: mode 644" in evidence(found)

        with paste(fix(found, "close-log"), env=server.env):
            assert look(server) == []
        proven(CHECK, "close-log", version)
        log.chmod(0o644)
        with paste(fix(found, "quiet"), env=server.env, port=server.port, cwd=server.home):
            assert look(server) == []
        proven(CHECK, "quiet", version)


def test_the_default_home_is_closed_to_others() -> None:
    with start_server(OLDEST, "--log-level", "all") as server, fake_model() as model:
        server.home.parent.chmod(0o755)
        run_session(LAST_FOR_OLD_CLI, server.url, model=model)
        (log,) = logs(server.log_dir)
        assert log.stat().st_mode & 0o777 == 0o644
        assert look(server) == []
