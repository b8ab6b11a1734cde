"""Time the doctor against what a person would do by hand, and print ratios.

Run as ``make bench``. Three comparisons, each the median of several runs of whole processes:

1. a full ``check`` of a machine with one real server, handshake included, against the documented
   manual procedure: ``lsof``, ``nc``, and a script that starts the SDK's client, asks for status
   and sign-in, and stops;
2. the same on a machine where 300 processes hold 12,000 listeners, against ``lsof`` and ``ss``;
3. ``--version`` and ``--help`` against an interpreter that does nothing.
"""

import os
import shutil
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.harness.cli import base_env, start_server

RUNS = 7
PROCESSES, LISTENERS_EACH = 300, 40

SDK_SCRIPT = """
import asyncio, sys
from copilot import CopilotClient, RuntimeConnection
async def main():
    client = CopilotClient(connection=RuntimeConnection.for_uri(sys.argv[1]))
    await client.start()
    await client.get_status()
    await client.get_auth_status()
    await client.stop()
asyncio.run(main())
"""

HOLD_SCRIPT = f"""
import os, socket, sys, time
for number in range({PROCESSES}):
    if os.fork() == 0:
        held = []
        for index in range({LISTENERS_EACH}):
            listener = socket.socket()
            listener.bind((f"127.1.{{number % 250}}.{{1 + index}}", 0))
            listener.listen(1)
            held.append(listener)
        sys.stdin.read()
        os._exit(0)
print("ready", flush=True)
sys.stdin.read()
"""


def median_s(*commands: Sequence[str], env: dict[str, str] | None = None) -> float:
    """Return the median seconds that running the commands one after another takes."""
    times = []
    for _ in range(RUNS + 1):
        started = time.perf_counter()
        for command in commands:
            subprocess.run(command, env=env, capture_output=True, check=False, timeout=120)
        times.append(time.perf_counter() - started)
    return statistics.median(times[1:])  # the first run only warms the caches


def row(what: str, ours: float, theirs: float, bound: str) -> None:
    """Print one comparison."""
    print(f"{what:<58}{ours * 1000:8.0f} ms {theirs * 1000:8.0f} ms {ours / theirs:7.2f}  {bound}")


def main() -> None:
    """Run every comparison."""
    doctor = [str(Path(sys.executable).with_name("copilot-doctor"))]
    if not Path(doctor[0]).exists():
        doctor = [sys.executable, "-m", "doctor"]
    print(f"{'':<58}{'doctor':>11} {'other':>11} {'ratio':>7}  wanted")
    version = [sys.executable, "-c", "pass"]
    for option in ("--version", "--help"):
        row(
            f"{option} / python -c pass",
            median_s([*doctor, option]),
            median_s(version),
            "at most 3",
        )
    with ExitStack() as stack:
        server = stack.enter_context(start_server("1.0.102"))
        env = base_env(server.home)
        port = str(server.port)
        ours = median_s([*doctor, "check", "--json"], env=env)
        manual = median_s(
            ["lsof", "-nP", f"-iTCP:{port}", "-sTCP:LISTEN"],
            ["nc", "-z", "-v", "127.0.0.1", port]
            if shutil.which("nc")
            else [
                sys.executable,
                "-c",
                f"import socket;socket.create_connection(('127.0.0.1',{port}))",
            ],
            [sys.executable, "-c", SDK_SCRIPT, f"127.0.0.1:{port}"],
            env=env,
        )
        row("full check, one server / lsof + nc + SDK client", ours, manual, "at most 0.25")
        holder = stack.enter_context(
            subprocess.Popen(
                [sys.executable, "-c", HOLD_SCRIPT],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        )
        if holder.stdout is None or holder.stdout.readline() != "ready\n":
            raise RuntimeError("the listeners could not be made")
        time.sleep(5)
        ours = median_s([*doctor, "check", "--json"], env=env)
        row(
            f"full check, {PROCESSES * LISTENERS_EACH:,} listeners / lsof",
            ours,
            median_s(["lsof", "-nP", "-iTCP", "-sTCP:LISTEN"]),
            "below 1",
        )
        row(
            f"full check, {PROCESSES * LISTENERS_EACH:,} listeners / ss",
            ours,
            median_s(["ss", "-ltnp"]),
            "at most 1.5",
        )
        holder.kill()


if __name__ == "__main__":
    os.environ.pop("CI", None)
    socket.setdefaulttimeout(10)
    main()
