"""The flow of a live command: sources, then probes, give one Deployment.

Sources run side by side; probes walk the routes side by side; every wait has a deadline.
What is known so far stands in `Examination.deployment` at any moment,
so that an interrupted run still has a report.
"""

import os
import threading
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from doctor.deployment import Deployment, Route, Server, Target
from doctor.redaction import Secret, Vault

MOST_ROUTES_AT_ONCE: Final = 64


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What a user asked for.

    Attributes:
        targets: Given as arguments; without any, `COPILOT_CLI_URL` and the servers found here.
        port: The port to start or to reach a server on.
        timeout_s: The longest wait for any one answer, in seconds.
    """

    targets: tuple[Target, ...] = ()
    port: int | None = None
    timeout_s: float = 5.0


class Examination:
    """One look at this machine and at the ways to its targets."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.vault = Vault()
        self.deployment = Deployment()

    def run(self) -> Deployment:
        """Look, and return what was seen."""
        from doctor.sources import machine

        self.deployment = machine.look(
            environ=dict(os.environ),
            vault=self.vault,
            targets=self.request.targets,
            port=self.request.port,
        )
        self._walk()
        return self.deployment

    def _walk(self) -> None:
        from doctor.probes import route

        token = self._connection_token()
        deployment = self.deployment
        ways = route.plan(deployment)
        walks: list[Callable[[], Route]] = [
            lambda way=way: route.walk(  # type: ignore[misc]
                way, token=token, vault=self.vault, timeout_s=self.request.timeout_s
            )
            for way in ways
        ]
        routes = side_by_side(walks)
        servers = tuple(_informed(server, routes) for server in deployment.servers)
        self.deployment = msgspec.structs.replace(
            deployment,
            routes=tuple(routes),
            servers=servers,
            unseen=(*deployment.unseen, *route.not_visited(deployment, ways)),
        )

    def _connection_token(self) -> Secret | None:
        value = os.environ.get("COPILOT_CONNECTION_TOKEN", "")
        return Secret("COPILOT_CONNECTION_TOKEN", value) if value else None


def side_by_side(calls: Sequence[Callable[[], Route]]) -> list[Route]:
    """Run calls in threads, bounded in number, and return their results in order."""
    if len(calls) == 1:
        return [calls[0]()]
    results: list[Route | None] = [None] * len(calls)
    numbers = iter(range(len(calls)))
    lock = threading.Lock()

    def work() -> None:
        while True:
            with lock:
                number = next(numbers, None)
            if number is None:
                return
            results[number] = calls[number]()

    threads = [
        threading.Thread(target=work, name=f"route-{number}", daemon=True)
        for number in range(min(len(calls), MOST_ROUTES_AT_ONCE))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [result for result in results if result is not None]


def _informed(server: Server, routes: Sequence[Route]) -> Server:
    """Return a server with the version that it said of itself, the best source there is."""
    for route in routes:
        if route.server == server.id and route.handshake and route.handshake.version:
            return msgspec.structs.replace(server, version=route.handshake.version)
    return server
