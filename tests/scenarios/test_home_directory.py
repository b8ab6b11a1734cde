"""Homes and log folders that a real server cannot write: found, and cured by what is printed."""

from __future__ import annotations

import json
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
from tests.harness.cli import start_server
from tests.harness.doctor import evidence, findings, fix, paste, run_doctor
from tests.scenarios.test_visibility import SCRIPT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from tests.harness.cli import RunningServer
    from tests.scenarios.conftest import Proven

pytestmark = pytest.mark.real

CHECK = "home-directory"
USER = "nobody"
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder of root's that every user may enter, with a home of nobody's in it."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0 or shutil.which("setpriv") is None:
        raise MissingPartError("servers of another user need root and setpriv")
    folder = Path(tempfile.mkdtemp(prefix="cd-place-"))
    folder.chmod(0o755)
    (folder / "home").mkdir()
    shutil.chown(folder / "home", USER)
    if shutil.which("sudo") is None:  # the tests are root already: the word alone is missing
        sudo = folder / "bin" / "sudo"
        sudo.parent.mkdir()
        sudo.write_text('#!/bin/sh\nexec "$@"\n')
        sudo.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def as_nobody(server: RunningServer, cwd: Path, **more: str) -> dict[str, Any]:
    """Run the doctor from a shell of that user, which has the CLI on its path."""
    path = os.pathsep.join([str(Path(server.argv[0]).parent), server.env["PATH"]])
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, "--select", CHECK],
        env={**server.env, "PATH": path, "PYTHONPATH": str(ROOT), **more},
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def of_shell(report: dict[str, Any]) -> list[dict[str, Any]]:
    return findings(report, CHECK, "this shell")


def has_log(server: RunningServer) -> None:
    until = time.monotonic() + 20
    while not server.log:
        assert time.monotonic() < until
        time.sleep(0.1)


def with_sudo(env: Mapping[str, str], place: Path) -> dict[str, str]:
    return {**env, "PATH": os.pathsep.join([str(place / "bin"), env["PATH"]])}


def _of_root(path: Path) -> None:
    path.mkdir()


def _file(path: Path) -> None:
    path.touch()


def _missing(path: Path) -> None:
    """Leave it out: that user may not make it either."""


def _closed(path: Path) -> None:
    path.mkdir()
    shutil.chown(path, USER)
    path.chmod(0o555)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (_of_root, "a folder, owner root, mode 755"),
        (_file, "a file, not a folder"),
        (_missing, "missing, and cannot be made where it should be"),
        (_closed, f"a folder, owner {USER}, mode 555"),
    ],
)
def test_a_server_that_ends_without_a_word(
    cli_version: str, spoil: Callable[[Path], None], words: str, place: Path, proven: Proven
) -> None:
    home = place / "copilot"
    spoil(home)
    options: dict[str, Any] = {"user": USER, "home": place / "home", "copilot_home": home}
    with start_server(cli_version, wait=False, **options) as server:
        assert server.wait_exit() == 1
        said = server.stdout + server.stderr
        report = as_nobody(server, place)
        (found,) = of_shell(report)
        assert said == ""
        assert found["cause_id"] == "home-not-writable"
        # Where a server runs, this shell may not be the one that starts them.
        assert found["status"] == ("warn" if report["servers"] else "fail")
        assert "exit code 1" in found["symptom"]
        assert f"COPILOT_HOME {home}: {words}" in evidence(found)
        assert f"to be written by user {USER}" in evidence(found)
        assert "COPILOT_HOME is set" in evidence(found)
        with paste(fix(found, "repair-home"), env=with_sudo(server.env, place), cwd=place):
            pass
        assert of_shell(as_nobody(server, place)) == []
    with start_server(cli_version, **options) as server:
        has_log(server)
    proven(CHECK, "repair-home", cli_version)


def test_another_home_at_once(cli_version: str, place: Path, proven: Proven) -> None:
    home = place / "copilot"
    home.mkdir()
    options: dict[str, Any] = {"user": USER, "home": place / "home"}
    with start_server(cli_version, wait=False, copilot_home=home, **options) as server:
        assert server.wait_exit() == 1
        (found,) = of_shell(as_nobody(server, place))
        lines = fix(found, "home-elsewhere")["shell"]
        user = ["setpriv", f"--reuid={USER}", "--regid=nogroup", "--clear-groups"]
        shown = subprocess.run(
            [*user, "bash", "-c", f'{lines}\nprintf %s "$COPILOT_HOME"'],
            env=server.env,
            capture_output=True,
            text=True,
            check=True,
        )
        fresh = Path(shown.stdout)
        assert of_shell(as_nobody(server, place, COPILOT_HOME=str(fresh))) == []
    try:
        with start_server(cli_version, copilot_home=fresh, **options) as server:
            has_log(server)
    finally:
        shutil.rmtree(fresh)
    proven(CHECK, "home-elsewhere", cli_version)


def test_the_home_of_a_running_server_is_taken_from_it(
    cli_version: str, place: Path, proven: Proven
) -> None:
    with start_server(cli_version, user=USER, home=place / "home") as server:
        shutil.chown(server.copilot_home, "root")
        found = of_server(server)["home-not-writable"]
        assert found["status"] == "warn"
        assert f"{server.copilot_home}: a folder, owner root" in evidence(found)
        with paste(fix(found, "repair-home"), env=server.env):
            pass
        assert of_server(server) == {}
    with start_server(cli_version, user=USER, home=place / "home") as server:
        has_log(server)
    proven(CHECK, "repair-home", cli_version)


def of_server(server: RunningServer) -> dict[str, dict[str, Any]]:
    """What the check says of a running server, by cause; the doctor is run by root."""
    report = run_doctor("--select", CHECK, env=server.env, cwd=server.cwd)
    found = findings(report, CHECK, f"port {server.port} ")
    assert len({item["cause_id"] for item in found}) == len(found)
    assert server.port in {item["port"] for item in report["servers"]}
    return {item["cause_id"]: item for item in found}


@pytest.mark.parametrize("chosen", ["repair-logs", "default-logs"])
def test_a_server_without_a_log(
    cli_version: str, chosen: str, place: Path, proven: Proven
) -> None:
    logs = place / "logs"
    logs.mkdir()
    home = place / "home"
    with start_server(cli_version, "--log-dir", str(logs), user=USER, home=home) as server:
        assert server.stderr == ""
        assert list(logs.iterdir()) == []
        found = of_server(server)["logs-not-writable"]
        assert found["status"] == "warn"
        assert f"log folder {logs}: a folder, owner root, mode 755" in evidence(found)
        assert f"to be written by user {USER}" in evidence(found)
        with paste(fix(found, chosen), env=server.env, port=server.port, cwd=place):
            assert of_server(server) == {}
            written = logs if chosen == "repair-logs" else server.copilot_home / "logs"
            assert list(written.glob("process-*.log"))
    proven(CHECK, chosen, cli_version)


def test_a_file_where_the_logs_should_be(cli_version: str, tmp_path: Path, proven: Proven) -> None:
    logs = tmp_path / "logs"
    logs.touch()
    with start_server(cli_version, "--log-dir", str(logs)) as server:
        assert server.stderr == ""
        found = of_server(server)["logs-not-writable"]
        assert f"log folder {logs}: a file, not a folder" in evidence(found)
        with paste(fix(found, "repair-logs"), env=server.env, port=server.port, cwd=tmp_path):
            assert of_server(server) == {}
            assert list(logs.glob("process-*.log"))
            assert (tmp_path / "logs.old").is_file()
    proven(CHECK, "repair-logs", cli_version)
