"""The doctor as a user runs it, and its printed fixes as a user pastes them.

```python
report = run_doctor("--port", str(port), env=server.env)
finding = the_finding(report, "port-in-use")
with paste(fix(finding, "stop-and-start"), env=server.env, port=port):
    assert not findings(run_doctor("--port", str(port), env=server.env), "port-in-use")
```
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import jsonschema
import psutil

from doctor.reports.report import json_schema
from tests.harness.cli import listening

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

Report = dict[str, Any]
Finding = dict[str, Any]
Fix = dict[str, Any]

_SCHEMA = json_schema()


def run_doctor(
    *args: str,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    launcher: Sequence[str] = (),
    timeout_s: float = 60,
) -> Report:
    """Run ``copilot-doctor check --json`` and return its report, which obeys the schema.

    Args:
        args: Further arguments.
        env: The whole environment; None: this process's.
        cwd: Its working directory; an empty one matters for what a project declares.
        launcher: What to put in front, such as the words that enter a network namespace.
        timeout_s: Limit for the run.
    """
    environ = dict(os.environ if env is None else env)
    environ.setdefault("PYTHONPATH", os.getcwd())  # noqa: PTH109 - the doctor under test
    result = subprocess.run(
        [*launcher, sys.executable, "-m", "doctor", "check", "--json", *args],
        env=environ,
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    assert result.stdout, f"exit {result.returncode}: {result.stderr}"
    assert result.returncode in {0, 1, 3}, f"exit {result.returncode}: {result.stderr}"
    report: Report = json.loads(result.stdout)
    jsonschema.validate(report, _SCHEMA)
    return report


def findings(report: Report, check: str, subject: str = "") -> list[Finding]:
    """Return the findings of a check, also where they are attached to their cause."""
    found = [item for item in report["findings"] if item["check"] == check]
    if subject:
        found = [item for item in found if subject in item["subject"]]
    return found


def the_finding(report: Report, check: str, subject: str = "") -> Finding:
    """Return the one finding of a check."""
    found = findings(report, check, subject)
    assert len(found) == 1, f"{len(found)} findings of {check}: {json.dumps(report, indent=1)}"
    return found[0]


def status(report: Report, check: str) -> str:
    """Return how a check ended."""
    return next(str(item["status"]) for item in report["checks"] if item["id"] == check)


def evidence(finding: Finding) -> str:
    """Return all evidence of a finding as one text."""
    return "\n".join(item["text"] for item in finding["evidence"])


def fix(finding: Finding, fix_id: str) -> Fix:
    """Return one fix of a finding."""
    found = [item for item in finding["fixes"] if item["id"] == fix_id]
    assert found, f"no fix {fix_id!r} among {[item['id'] for item in finding['fixes']]}"
    return found[0]


@contextlib.contextmanager
def paste(
    chosen: Fix,
    *,
    env: Mapping[str, str],
    port: int | None = None,
    cwd: Path | None = None,
    launcher: Sequence[str] = (),
    answer: str | None = None,
    limit_s: float = 90,
) -> Iterator[subprocess.Popen[str]]:
    """Run the shell lines of a fix as they are printed, and end what they started.

    Args:
        chosen: The fix; its kind must be ``command``.
        env: The environment of the shell that it is pasted into.
        port: Wait until the shell or a child of it listens there;
            None: wait until the lines have ended.
        cwd: Where the shell is.
        launcher: What to put in front, such as the words that enter a network namespace.
        answer: What the user types when the lines ask for something.
        limit_s: The longest wait.
    """
    assert chosen["kind"] == "command", chosen
    shell = subprocess.Popen(
        [*launcher, "bash", "-c", chosen["shell"]],
        env=dict(env),
        cwd=cwd,
        stdin=subprocess.DEVNULL if answer is None else subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        if answer is not None and shell.stdin:
            shell.stdin.write(f"{answer}\n")
            shell.stdin.close()
        if port is None:
            output, _ = shell.communicate(timeout=limit_s)
            assert shell.returncode == 0, output
        else:
            _wait_listening(shell, port, limit_s)
        yield shell
    finally:
        _end(shell)


def _wait_listening(shell: subprocess.Popen[str], port: int, limit_s: float) -> None:
    until = time.monotonic() + limit_s
    while time.monotonic() < until:
        if any(_listens(process, port) for process in _family(shell)):
            return
        if shell.poll() is not None and not _family(shell):
            output = shell.stdout.read() if shell.stdout else ""
            msg = f"the pasted lines ended with {shell.returncode}: {output}"
            raise AssertionError(msg)
        time.sleep(0.1)
    msg = f"nothing pasted listens on {port} after {limit_s} s"
    raise AssertionError(msg)


def _listens(process: psutil.Process, port: int) -> bool:
    with contextlib.suppress(psutil.Error, OSError):
        return any(found == port for _, found in listening(process.pid))
    return False


def _family(shell: subprocess.Popen[str]) -> list[psutil.Process]:
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(shell.pid)
        return [process, *process.children(recursive=True)]
    return []


def _end(shell: subprocess.Popen[str]) -> None:
    for process in _family(shell):
        with contextlib.suppress(psutil.Error):
            process.kill()
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(shell.pid, signal.SIGKILL)
    shell.wait(timeout=10)
    if shell.stdout:
        shell.stdout.close()
