"""Ctrl-C: the partial report and exit code 130, in every format."""

import contextlib
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest


@contextlib.contextmanager
def silent_server() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for another process")
@pytest.mark.parametrize("options", [(), ("--json",)], ids=["terminal", "json"])
def test_an_interrupted_check_still_reports(options: tuple[str, ...]) -> None:
    with silent_server() as port:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "doctor", "check", f"127.0.0.1:{port}"),
                *("--timeout", "60", *options),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        time.sleep(2)
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=20)

    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    if options:
        assert json.loads(output)["is_partial"] is True
    else:
        assert "interrupted" in output
