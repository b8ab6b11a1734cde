"""Folders that a real server cannot write, before and after the printed repair."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.harness import MissingPartError
from tests.harness.cli import NEWEST, OLDEST, RunningServer, cli, start_server
from tests.harness.doctor import evidence, findings, fix, paste, run_doctor

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.scenarios.conftest import Proven

pytestmark = pytest.mark.real

CHECK = "home-directory"
BOTH = pytest.mark.parametrize("version", [OLDEST, NEWEST])


@pytest.fixture
def needs_root() -> None:
    if sys.platform != "linux" or os.geteuid() != 0:
        raise MissingPartError("another user's server needs Linux and root")


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder that every user can get to."""
    folder = Path(tempfile.mkdtemp(prefix="cd-home-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def look(env: Mapping[str, str], subject: str, cwd: Path) -> list[dict[str, Any]]:
    report = run_doctor("--select", CHECK, env=env, cwd=cwd)
    return findings(report, CHECK, subject)


def of(server: RunningServer) -> str:
    return f"on port {server.port} "


def exported(shell: str, env: Mapping[str, str], name: str) -> str:
    """The value that the pasted lines leave in a variable of the shell."""
    lines = f'{shell}\nprintf %s "${name}"'
    done = subprocess.run(
        ["bash", "-c", lines], env=dict(env), capture_output=True, text=True, check=True
    )
    return done.stdout


@BOTH
@pytest.mark.parametrize("fix_id", ["repair-home", "home-elsewhere"])
def test_a_file_in_the_place_of_the_home(
    version: str, fix_id: str, tmp_path: Path, proven: Proven
) -> None:
    place = tmp_path / "state"
    place.write_text("not a folder")
    with start_server(version, copilot_home=place, wait=False) as server:
        assert server.wait_exit() == 1
        assert server.stdout + server.stderr == ""  # the silence that makes this check worth it
        # A shell that could start a server: with the CLI on its path.
        path = os.pathsep.join([str(cli(version).wrapper.parent), server.env["PATH"]])
        env = {**server.env, "PATH": path}
        (found,) = look(env, "this shell", tmp_path)
        assert "a file, not a folder" in evidence(found)
    chosen = fix(found, fix_id)
    if fix_id == "repair-home":
        with paste(chosen, env=env):
            pass
    else:
        place = Path(exported(chosen["shell"], env, "COPILOT_HOME"))
        env["COPILOT_HOME"] = str(place)
    with start_server(version, copilot_home=place) as server:
        assert look(env, "this shell", tmp_path) == []
        assert look(server.env, of(server), tmp_path) == []
    proven(CHECK, fix_id, version)


@BOTH
@pytest.mark.usefixtures("needs_root")
def test_a_home_that_got_lost_to_another_user(version: str, shared: Path, proven: Proven) -> None:
    place = shared / "state"
    place.mkdir()
    shutil.chown(place, "nobody")
    with start_server(version, copilot_home=place, user="nobody") as server:
        assert look(server.env, of(server), shared) == []
        for path in (place, *place.rglob("*")):
            shutil.chown(path, "root", "root")
        (found,) = look(server.env, of(server), shared)
        assert found["status"] == "warn"
        assert "owner root" in evidence(found)
        assert "user nobody" in evidence(found)
    with start_server(version, copilot_home=place, user="nobody", wait=False) as server:
        assert server.wait_exit() == 1
        assert server.stdout + server.stderr == ""

    with paste(fix(found, "repair-home"), env=os.environ):
        pass
    with start_server(version, copilot_home=place, user="nobody") as server:
        assert look(server.env, of(server), shared) == []
    proven(CHECK, "repair-home", version)


@BOTH
@pytest.mark.parametrize("fix_id", ["repair-logs", "default-logs"])
def test_a_file_in_the_place_of_the_log_folder(
    version: str, fix_id: str, tmp_path: Path, proven: Proven
) -> None:
    place = tmp_path / "logs"
    place.write_text("not a folder")
    with start_server(version, "--log-dir", str(place)) as server:
        (found,) = look(server.env, of(server), tmp_path)
        assert found["status"] == "warn"
        assert f"log folder {place}: a file, not a folder" in evidence(found)
        chosen = fix(found, fix_id)
        with paste(chosen, env=server.env, port=server.port, cwd=server.home):
            assert look(server.env, of(server), tmp_path) == []
            folder = place if fix_id == "repair-logs" else server.copilot_home / "logs"
            until = time.monotonic() + 20  # 1.0.63 writes its first line a second later
            while not list(folder.glob("process-*.log")) and time.monotonic() < until:
                time.sleep(0.1)
            assert list(folder.glob("process-*.log"))
        proven(CHECK, fix_id, version)


@BOTH
@pytest.mark.usefixtures("needs_root")
def test_a_log_folder_of_another_user(version: str, shared: Path) -> None:
    place = shared / "logs"
    place.mkdir(mode=0o755)
    with start_server(version, "--log-dir", str(place), user="nobody") as server:
        (found,) = look(server.env, of(server), shared)
        assert "owner root, mode 755" in evidence(found)
        assert "chown -R nobody" in fix(found, "repair-logs")["shell"]
        time.sleep(2)
        assert list(place.iterdir()) == []
