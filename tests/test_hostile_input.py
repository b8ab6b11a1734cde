"""Names, arguments and messages from outside that try to steer the terminal or break the output."""

import contextlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator

import jsonschema
import pytest

from doctor.reports.report import json_schema

STEERING = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]")
ARGUMENTS = {
    "escapes": [b"\x1b]0;owned\x07\x1b[2J\x1b[31mred", b"\x9b31m", b"\x07\x08\r"],
    "markup": [b"[bold red]not bold[/]", b"[link=http://x]x[/link]", b"[/]"],
    "newlines": [b"one\ntwo\r\nthree", b"\xe2\x80\xa8four\xe2\x80\xaefive"],
    "invalid UTF-8": [b"\xff\xfe\x80\xed\xa0\x80", b"caf\xe9"],
    "a long one": [b"x" * 100_000],
    "many": [b"--flag"] * 20_000,
    "empty": [b"", b"", b""],
}

SCRIPT = b"""
import pathlib, socket, sys
pathlib.Path('/proc/self/comm').write_bytes(b'\\x1b[31m\\nname\\xff')
held = socket.create_server(('127.0.0.1', 0))
print(held.getsockname()[1], flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def holder(arguments: list[bytes]) -> Iterator[int]:
    """Hold a port by a process with a hostile name and hostile arguments."""
    process = subprocess.Popen(
        [os.fsencode(sys.executable), b"-c", SCRIPT, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline())
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


@pytest.mark.parametrize("arguments", ARGUMENTS.values(), ids=list(ARGUMENTS))
def test_the_holder_of_a_port_cannot_break_the_report(arguments: list[bytes]) -> None:
    with holder(arguments) as port:
        runs = {
            options: subprocess.run(
                [sys.executable, "-m", "doctor", "check", "--port", str(port), *options],
                capture_output=True,
                timeout=120,
                check=False,
            )
            for options in ((), ("--verbose",), ("--json",))
        }

    for options, result in runs.items():
        text = result.stdout.decode()
        assert result.returncode == 1, result.stderr
        assert result.stderr == b""
        assert not STEERING.search(text)
        assert "x" * 1000 not in text
        assert text.count("--flag") < 200
        if options == ("--json",):
            report = json.loads(text)
            jsonschema.validate(report, json_schema())
            assert "port-in-use" in {finding["check"] for finding in report["findings"]}
        else:
            assert str(port) in text
