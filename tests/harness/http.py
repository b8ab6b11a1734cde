"""A small HTTP server in a thread, on a socket that may live in another network namespace."""

from __future__ import annotations

import contextlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Callable, Iterator

Answer = tuple[int, dict[str, str], bytes]


class Request(BaseHTTPRequestHandler):
    """One request, with its body read."""

    protocol_version = "HTTP/1.1"
    answer: Callable[[Request], Answer]
    body: bytes = b""

    def _serve(self) -> None:
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        status, headers, body = type(self).answer(self)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    # The base class looks these up by the method's name.
    do_GET = _serve  # noqa: N815
    do_HEAD = _serve  # noqa: N815
    do_POST = _serve  # noqa: N815
    do_PUT = _serve  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is given
        """Say nothing: the tests record what they need."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of clients that hang up or were killed."""


@contextlib.contextmanager
def serve(
    listener: socket.socket,
    answer: Callable[[Request], Answer],
    tls: ssl.SSLContext | None = None,
) -> Iterator[None]:
    """Answer requests on that listening socket until the end of the block; then close it."""
    handler = type("Handler", (Request,), {"answer": staticmethod(answer)})
    address = listener.getsockname()[:2]
    server = _Server(address, handler, bind_and_activate=False)
    server.socket.close()
    # The handshake runs in the thread of its connection: a client that stalls blocks no other.
    server.socket = (
        tls.wrap_socket(listener, server_side=True, do_handshake_on_connect=False)
        if tls
        else listener
    )
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
