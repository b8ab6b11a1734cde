"""What the doctor says where it has no right to look: unknown, with the reason, never fine."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from tests.harness import MissingPartError
from tests.harness.cli import start_server
from tests.harness.doctor import findings, status

pytestmark = pytest.mark.real

NOBODY = 65534
# The doctor's files may lie where another user cannot read: a first run loads
# what is needed, then every right is given up for good.
SCRIPT = f"""
import os, sys
from doctor.cli.app import run
shown, sys.stdout = sys.stdout, open(os.devnull, "w")
run(["check", "--json", *sys.argv[1:]])
sys.stdout = shown
os.chdir("/")
os.setgroups([])
os.setresgid({NOBODY}, {NOBODY}, {NOBODY})
os.setresuid({NOBODY}, {NOBODY}, {NOBODY})
sys.exit(run(["check", "--json", *sys.argv[1:]]))
"""


def run_as_nobody(*args: str) -> dict[str, Any]:
    """Run the doctor as a user who may see nothing of root's."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        raise MissingPartError("running as another user needs root")
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT, *args],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.stdout, result.stderr
    report: dict[str, Any] = json.loads(result.stdout)
    return report


def test_another_users_server_is_unknown_not_fine(cli_version: str) -> None:
    with start_server(cli_version, env={"COPILOT_GITHUB_TOKEN": "gho_" + "A1b2C3d4" * 5}) as server:
        report = run_as_nobody(str(server.port))
        pid = server.listener_pid

    seen = [item for item in report["servers"] if item["pid"] == pid]
    assert len(seen) == 1
    assert seen[0]["environment"]["visible"] is False
    reasons = [item for item in report["unseen"] if str(pid) in item["subject"]]
    assert any("another user" in item["reason"] for item in reasons), report["unseen"]
    assert any("sudo" in item["remedy"] for item in reasons)
    for check in ("token-type", "token-precedence"):
        assert status(report, check) == "unknown", check


def test_a_port_held_by_another_users_process_is_still_found(cli_version: str) -> None:
    with start_server(cli_version, mode="--acp") as server:
        report = run_as_nobody("--port", str(server.port))

    assert findings(report, "port-in-use")
