"""A real server that stops in the middle of a conversation, as one that swaps or is paused does."""

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Iterator

import pytest

from tests.harness.cli import RunningServer, start_server
from tests.harness.doctor import fix, run_doctor, the_finding

pytestmark = pytest.mark.real


@contextlib.contextmanager
def stops_after_the_first_answer(server: RunningServer) -> Iterator[int]:
    """Pass bytes on to a server, and pause it as soon as it has answered once."""
    listener = socket.create_server(("127.0.0.1", 0))
    pid = server.listener_pid

    def pump(source: socket.socket, sink: socket.socket, *, pauses: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if pauses:
                    os.kill(pid, signal.SIGSTOP)
                sink.sendall(data)

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                there = socket.create_connection(("127.0.0.1", server.port))
                for source, sink, pauses in ((client, there, False), (there, client, True)):
                    threading.Thread(
                        target=pump, args=(source, sink), kwargs={"pauses": pauses}, daemon=True
                    ).start()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.close()
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def test_a_server_that_stops_answering_is_named_for_it(cli_version: str) -> None:
    with start_server(cli_version) as server, stops_after_the_first_answer(server) as port:
        report = run_doctor(f"127.0.0.1:{port}", "--timeout", "2")

    finding = the_finding(report, "server-handshake", f"127.0.0.1:{port}")
    assert finding["cause_id"] == "slow", finding
    assert fix(finding, finding["fixes"][0]["id"])
