"""Real SDKs that do not fit a real server: what they meet with, and both ways to move."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.harness.cli import NEWEST, OLDEST, base_env, own_copy, own_home, start_server
from tests.harness.doctor import evidence, findings, fix, paste, run_doctor, status, the_finding
from tests.harness.model import fake_model, touch
from tests.harness.sdk import (
    LAST_FOR_OLD_CLI,
    NEW,
    OLD,
    idle_client,
    run_session,
    run_start,
    sdk_python,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.harness.cli import RunningServer
    from tests.scenarios.conftest import Proven

pytestmark = pytest.mark.real

CHECK = "sdk-compatibility"
WRONG_WORD = "1.0.32"  # the last tested CLI that takes "approved" alone
INT_ERROR = r"ValueError: invalid literal for int\(\) with base 10: '\d{4}-\d\d-\d\dT"


def look(server: RunningServer, cwd: Path, subject: str = "") -> list[dict[str, Any]]:
    """What the check says of this server, its clients and the project in a folder."""
    report = run_doctor("--select", CHECK, server.url, env=server.env, cwd=cwd)
    return [item for item in findings(report, CHECK, subject) if is_about(item, server)]


def is_about(finding: dict[str, Any], server: RunningServer) -> bool:
    # Servers of others may run on this machine; only this one was asked for.
    return f"server version: {server.version}" in evidence(finding) or str(server.port) in str(
        finding["subject"]
    )


@pytest.fixture(scope="module")
def pip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an empty environment with pip, as a user has it."""
    folder = tmp_path_factory.mktemp("client") / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    return folder / "bin" / "python"


@pytest.fixture
def installed(pip: Path, tmp_path: Path) -> Callable[[str], Path]:
    """Install an SDK there, in the way that a user does."""

    def install(sdk: str) -> Path:
        subprocess.run(
            [str(pip), "-m", "pip", "install", "-q", f"github-copilot-sdk=={sdk}"],
            check=True,
            env=base_env(tmp_path),
        )
        return pip

    return install


def activated(python: Path, home: Path) -> dict[str, str]:
    """The environment of a shell in which that environment of Python is active."""
    env = base_env(home)
    return env | {"PATH": os.pathsep.join([str(python.parent), env["PATH"]])}


def test_a_client_that_would_wait_for_ever_gets_an_older_sdk(
    installed: Callable[[str], Path], tmp_path: Path, proven: Proven
) -> None:
    python = installed(NEW)
    with start_server(OLDEST) as server, fake_model() as model:
        met = run_session(python, server.url, model=model, limit_s=6)
        assert (met.started, met.session_error, met.send_error) == (True, None, "hung")
        assert model.requests, "the session itself works"
        with idle_client(python, server.url) as client:
            report = run_doctor("--select", CHECK, server.url, env=server.env, cwd=tmp_path)
            found = the_finding(report, CHECK, f"pid {client.pid}")
        assert (found["cause_id"], found["status"]) == ("never-returns", "fail")
        assert f"CLI {OLDEST}" in found["title"]
        assert f"github-copilot-sdk {NEW} (installed)" in evidence(found)
        assert f"server version: {OLDEST}" in evidence(found)
        assert str(python.parent.parent / "lib") in evidence(found)
        with pytest.raises(AssertionError, match="no fix"):
            fix(found, "move-pin")

        with paste(fix(found, "move-sdk"), env=activated(python, tmp_path), cwd=tmp_path):
            pass
        with idle_client(python, server.url) as client:
            assert look(server, tmp_path, f"pid {client.pid}") == []
            report = run_doctor("--select", CHECK, server.url, env=server.env, cwd=tmp_path)
            assert status(report, CHECK) == "pass"
        met = run_session(python, server.url, model=model)
        assert (met.returned, met.answer) == (True, "done")
        proven(CHECK, "move-sdk", OLDEST)


def test_or_the_server_moves_to_a_newer_cli(tmp_path: Path, proven: Proven) -> None:
    home, own = own_home(tmp_path, OLDEST, NEWEST), own_copy(OLDEST, tmp_path)
    with start_server(OLDEST, home=home, installed=own) as server, fake_model() as model:
        with idle_client(NEW, server.url) as client:
            (found,) = look(server, tmp_path, f"pid {client.pid}")
        chosen = fix(found, "move-cli")
        assert f"npm install --prefix {own.root} @github/copilot@{NEWEST}" in chosen["shell"]
        with paste(chosen, env=server.env, port=server.port, cwd=tmp_path):
            server.wait_gone()
            met = run_session(NEW, server.url, model=model)
            assert (met.returned, met.answer) == (True, "done")
            with idle_client(NEW, server.url):
                report = run_doctor("--select", CHECK, server.url, env=server.env, cwd=tmp_path)
                assert (findings(report, CHECK), status(report, CHECK)) == ([], "pass")
        proven(CHECK, "move-cli", OLDEST)


def test_the_newest_of_both_fit(tmp_path: Path) -> None:
    with start_server(NEWEST) as server, idle_client(NEW, server.url), fake_model() as model:
        report = run_doctor("--select", CHECK, server.url, env=server.env, cwd=tmp_path)
        assert (findings(report, CHECK), status(report, CHECK)) == ([], "pass")
        assert run_session(NEW, server.url, model=model).returned


def test_a_pinned_sdk_that_cannot_connect(
    cli_version: str, installed: Callable[[str], Path], tmp_path: Path, proven: Proven
) -> None:
    python = installed(OLD)
    pins = tmp_path / "requirements.txt"
    pins.write_text(f"# of a test\ngithub-copilot-sdk=={OLD}  # do not touch\n")
    with start_server(cli_version) as server:
        error = run_start(python, server.url).start_error
        assert error
        assert re.match(INT_ERROR, error)
        (found,) = look(server, tmp_path, "of the project here")
        assert (found["cause_id"], found["status"]) == ("ping-timestamp", "warn")
        assert "invalid literal for int()" in found["symptom"]
        assert f"github-copilot-sdk {OLD} (locked)" in evidence(found)
        assert f"read from {pins}:2" in evidence(found)

        chosen = fix(found, "move-pin")
        with paste(chosen, env=activated(python, tmp_path), cwd=tmp_path):
            pass
        assert pins.read_text().endswith("  # do not touch\n")
        assert look(server, tmp_path) == []
        assert run_start(python, server.url).started
        proven(CHECK, "move-pin", cli_version)


def test_a_lock_file_beside_the_environment_that_counts(
    installed: Callable[[str], Path], tmp_path: Path, proven: Proven
) -> None:
    lock = tmp_path / "uv.lock"
    lock.write_text(f'version = 1\n\n[[package]]\nname = "github-copilot-sdk"\nversion = "{OLD}"\n')
    with start_server(NEWEST) as server:
        (found,) = look(server, tmp_path, "of the project here")
        assert found["cause_id"] == "ping-timestamp"
        assert fix(found, "move-pin")["kind"] == "advice"
        assert f"{lock}:" in fix(found, "move-pin")["summary"]

        # What is installed in the project counts more than what the lock file wants.
        python = installed(OLD)
        (tmp_path / ".venv").symlink_to(python.parent.parent, target_is_directory=True)
        (found,) = look(server, tmp_path, "of the project here")
        assert f"github-copilot-sdk {OLD} (installed)" in evidence(found)
        with paste(fix(found, "move-sdk"), env=activated(python, tmp_path), cwd=tmp_path):
            pass
        assert look(server, tmp_path) == []
        assert run_start(python, server.url).started
        proven(CHECK, "move-sdk", NEWEST)


def test_a_pinned_sdk_that_cannot_pass_the_token(
    cli_version: str, installed: Callable[[str], Path], tmp_path: Path
) -> None:
    token = "for-both-sides-of-this-test"
    python = sdk_python(OLD)
    (tmp_path / "requirements.txt").write_text(f"github-copilot-sdk=={OLD}\n")
    with start_server(cli_version, env={"COPILOT_CONNECTION_TOKEN": token}) as server:
        assert "-32001" in str(run_start(python, server.url).start_error)
        (found,) = look(server, tmp_path, "of the project here")
        assert found["cause_id"] == "no-connection-token"
        assert token not in str(found)
        python = installed(OLD)
        with paste(fix(found, "move-pin"), env=activated(python, tmp_path), cwd=tmp_path):
            pass
        assert look(server, tmp_path) == []
        assert run_start(python, server.url, token=token).started


def test_without_a_client_in_view_the_sdk_to_install_is_named(
    installed: Callable[[str], Path], tmp_path: Path, proven: Proven
) -> None:
    with start_server(OLDEST) as server, fake_model() as model:
        (found,) = look(server, tmp_path, f"port {server.port} ")
        assert (found["cause_id"], found["status"]) == ("not-known", "warn")
        assert f"Python SDK {NEW}" in found["title"]
        assert "from 1.0.25 on" in evidence(found)
        assert "up to 0.3.0" in evidence(found)

        python = installed(NEW)
        with paste(fix(found, "pin-sdk"), env=activated(python, tmp_path), cwd=tmp_path):
            pass
        with idle_client(python, server.url):
            assert look(server, tmp_path) == []
        assert run_session(python, server.url, model=model).returned
        proven(CHECK, "pin-sdk", OLDEST)


def test_without_a_client_in_view_the_newest_cli_passes(tmp_path: Path) -> None:
    with start_server(NEWEST) as server:
        report = run_doctor("--select", CHECK, server.url, env=server.env, cwd=tmp_path)
        assert (findings(report, CHECK), status(report, CHECK)) == ([], "pass")


def test_an_old_cli_that_does_not_know_the_word_of_approval(
    tmp_path: Path, proven: Proven
) -> None:
    mark = tmp_path / "mark"
    home, own = own_home(tmp_path, WRONG_WORD, NEWEST), own_copy(WRONG_WORD, tmp_path)
    with (
        start_server(WRONG_WORD, home=home, installed=own) as server,
        fake_model(touch(mark)) as model,
    ):
        run_session(LAST_FOR_OLD_CLI, server.url, model=model)
        assert "Unhandled permission result kind" in str(model.tool_results)
        assert not mark.exists()
        with idle_client(LAST_FOR_OLD_CLI, server.url) as client:
            (found,) = look(server, tmp_path, f"pid {client.pid}")
        assert (found["cause_id"], found["status"]) == ("new-approval-word", "fail")
        assert found["symptom"] in str(model.tool_results)
        with paste(fix(found, "move-cli"), env=server.env, port=server.port, cwd=tmp_path):
            server.wait_gone()
            assert run_session(LAST_FOR_OLD_CLI, server.url, model=model).returned
            assert mark.exists()
            with idle_client(LAST_FOR_OLD_CLI, server.url):
                assert look(server, tmp_path) == []
        proven(CHECK, "move-cli", WRONG_WORD)
