"""The ways that are walked, and what walking them says."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from doctor.deployment import Deployment, Host, Listener, Origin, Process, Server, Target
from doctor.deployment.launch import parse
from doctor.deployment.targets import parse_target
from doctor.examination import Examination, Request, side_by_side
from doctor.probes import handshake, resolve, route
from doctor.redaction import Vault

HERE = Host(names=("localhost", "box"), addresses=("192.0.2.7", "2001:db8::7"))
ARGUMENT = Origin(kind="target", name="argument")


def listener(address: str = "127.0.0.1", port: int = 3000, **facts: Any) -> Listener:
    family = "ipv6" if ":" in address else "ipv4"
    return Listener(address=address, port=port, **{"family": family} | facts)


def server(number: int = 1, *listeners: Listener) -> Server:
    return Server(
        id=f"server-{number}",
        origin=Origin(kind="process", pid=number),
        process=Process(pid=number),
        command=parse(["--server"]),
        listeners=listeners,
    )


def target(text: str) -> Target:
    return parse_target(text, ARGUMENT)


def ways(servers: tuple[Server, ...] = (), *targets: str) -> list[tuple[str, str | None]]:
    planned = route.plan(
        Deployment(hosts=(HERE,), servers=servers, targets=tuple(map(target, targets)))
    )
    return [(way.target.text, way.server) for way in planned]


def walk(text: str, timeout_s: float = 2.0, **facts: Any) -> Any:
    way = route.Way(target=target(text), **facts)
    return route.walk(way, token=None, vault=Vault(), timeout_s=timeout_s)


@contextlib.contextmanager
def silent() -> Iterator[int]:
    """Accept connections (by the backlog) and never say a word."""
    with socket.create_server(("127.0.0.1", 0)) as held:
        yield held.getsockname()[1]


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as held:
        return int(held.getsockname()[1])


@pytest.mark.parametrize(
    "text",
    ["127.0.0.1:3000", "localhost:3000", "3000", "http://localhost:3000", "0.0.0.0:3000"],
)
def test_a_target_that_is_a_server_of_this_machine_is_walked_once(text: str) -> None:
    assert [end for _, end in ways((server(1, listener()),), text)] == ["server-1"]


def test_the_same_target_given_twice_is_walked_once() -> None:
    assert len(ways((), "example.org:3000", "example.org:3000")) == 1


@pytest.mark.parametrize(
    ("bound", "text", "is_reached"),
    [
        (listener("0.0.0.0"), "127.0.0.1:3000", True),
        (listener("0.0.0.0"), "box:3000", True),
        (listener("0.0.0.0"), "192.0.2.7:3000", True),
        (listener("0.0.0.0"), "[::1]:3000", False),
        (listener("0.0.0.0"), "192.0.2.99:3000", False),
        (listener("0.0.0.0"), "localhost:3001", False),
        (listener("::", is_dual_stack=True), "192.0.2.7:3000", True),
        (listener("::", is_dual_stack=False), "127.0.0.1:3000", False),
        (listener("::", is_dual_stack=False), "[2001:db8::7]:3000", True),
        (listener("::1"), "localhost:3000", True),
        (listener("::1"), "127.0.0.1:3000", False),
        (listener("192.0.2.7"), "localhost:3000", False),
        (listener("192.0.2.7"), "192.0.2.7:3000", True),
        (listener("127.0.0.1"), "box:3000", False),
        (listener("127.0.0.1", namespace="other"), "127.0.0.1:3000", False),
    ],
)
def test_which_server_a_target_means(bound: Listener, text: str, *, is_reached: bool) -> None:
    end = ways((server(1, bound),), text)[0][1]

    assert end == ("server-1" if is_reached else None)


def test_of_two_servers_on_one_port_the_one_at_the_address_is_meant() -> None:
    servers = (server(1, listener("0.0.0.0")), server(2, listener("192.0.2.7")))

    assert ways(servers, "192.0.2.7:3000")[0] == ("192.0.2.7:3000", "server-2")


@pytest.mark.parametrize(
    ("bound", "text"),
    [
        (listener("0.0.0.0"), "127.0.0.1:3000"),
        (listener("::", is_dual_stack=True), "127.0.0.1:3000"),
        (listener("::", is_dual_stack=False), "[::1]:3000"),
        (listener("::", is_dual_stack=None), "[::1]:3000"),
        (listener("::1"), "[::1]:3000"),
        (listener("192.0.2.7"), "192.0.2.7:3000"),
    ],
)
def test_a_server_is_walked_to_where_it_listens(bound: Listener, text: str) -> None:
    assert ways((server(1, bound),)) == [(text, "server-1")]


def test_a_server_that_cannot_be_reached_from_here_is_not_walked_to() -> None:
    servers = (server(1), server(2, listener(namespace="other")))

    assert ways(servers) == []
    assert route.not_visited(Deployment(servers=servers), ()) == ()


def test_a_target_with_a_problem_is_not_walked() -> None:
    assert ways((), "localhost:", "localhost:99999", "127.0.0.1:3000") == [("127.0.0.1:3000", None)]


def test_servers_beyond_the_limit_are_named() -> None:
    # Sessions that listen nowhere take nobody's place.
    idle = tuple(server(number) for number in range(900, 950))
    busy = tuple(
        server(number, listener(port=3000 + number)) for number in range(1, route.MOST_SERVERS + 4)
    )
    deployment = Deployment(hosts=(HERE,), servers=(*idle, *busy))
    planned = route.plan(deployment)
    left = route.not_visited(deployment, planned)

    assert [way.server for way in planned] == [item.id for item in busy[: route.MOST_SERVERS]]
    assert [item.subject for item in left] == [item.label for item in busy[route.MOST_SERVERS :]]
    assert all(str(route.MOST_SERVERS) in item.reason for item in left)
    assert left[0].remedy == f"run copilot-doctor check {3000 + route.MOST_SERVERS + 1}"


def test_a_target_beyond_the_limit_is_still_walked() -> None:
    busy = tuple(server(number, listener(port=3000 + number)) for number in range(1, 60))
    walked = ways(busy, "127.0.0.1:3059")

    assert walked[0] == ("127.0.0.1:3059", "server-59")
    assert len(walked) == route.MOST_SERVERS + 1


def test_a_refused_connection_blocks_the_later_hops() -> None:
    walked = walk(f"127.0.0.1:{closed_port()}")

    assert [hop.name for hop in walked.hops] == list(route.HOPS)
    assert [hop.status for hop in walked.hops] == ["pass", "fail", *["skip"] * 5]
    assert {hop.blocked_by for hop in walked.hops[2:]} == {"connect"}
    assert walked.status == "fail"
    assert walked.broken_hop.code == "refused"


def test_a_name_without_an_address_blocks_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        resolve, "resolve", lambda name, **_: route.Resolution(name=name, addresses=())
    )
    walked = walk("nowhere.invalid:3000")

    assert [hop.status for hop in walked.hops] == ["fail", *["skip"] * 6]
    assert {hop.blocked_by for hop in walked.hops[1:]} == {"resolve"}
    assert walked.resolution is not None


def test_the_server_at_the_end_is_found_by_its_address(monkeypatch: pytest.MonkeyPatch) -> None:
    here = server(1, listener("0.0.0.0", port := closed_port()))
    monkeypatch.setattr(
        resolve, "resolve", lambda name, **_: route.Resolution(name=name, addresses=("127.0.0.1",))
    )

    assert walk(f"alias.example:{port}", servers=(here,)).server == "server-1"


@pytest.mark.parametrize(
    ("module", "name", "hop"),
    [(resolve, "resolve", "resolve"), (handshake, "shake_hands", "connect")],
)
def test_a_probe_that_breaks_is_an_error_and_no_traceback(
    monkeypatch: pytest.MonkeyPatch, module: Any, name: str, hop: str
) -> None:
    def broken(*_: object, **__: object) -> None:
        msg = "\x1b[31mgho_16C7e42F292c6912E7710c838347Ae178B4a hunter-7"
        raise RuntimeError(msg)

    monkeypatch.setattr(module, name, broken)
    vault = Vault()
    vault.add("COPILOT_CONNECTION_TOKEN", "hunter-7")
    way = route.Way(target=target("127.0.0.1:3000"), server="server-1")
    walked = route.walk(way, token=None, vault=vault, timeout_s=1)

    assert walked.status == "error"
    assert walked.server == "server-1"
    assert next(item.name for item in walked.hops if item.status == "error") == hop
    assert [item.name for item in walked.hops] == list(route.HOPS)
    text = str(walked)
    assert "RuntimeError" in text
    assert not [bad for bad in ("hunter", "16C7e42F", "\\x1b", "Traceback") if bad in text]


def test_a_silent_peer_ends_at_the_deadline() -> None:
    with silent() as port:
        started = time.monotonic()
        walked = walk(f"127.0.0.1:{port}", timeout_s=1.0)
        taken_s = time.monotonic() - started

    assert walked.status in {"fail", "unknown"}
    assert taken_s < 3  # with room for a busy machine


def test_resolving_and_shaking_hands_share_one_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, float] = {}
    real = handshake.shake_hands

    def slow(name: str, *, timeout_s: float) -> route.Resolution:
        given["resolve"] = timeout_s
        time.sleep(timeout_s)
        return route.Resolution(name=name, addresses=("127.0.0.1",))

    def shake(*args: Any, **options: Any) -> Any:
        given["handshake"] = options["timeout_s"]
        return real(*args, **options)

    monkeypatch.setattr(resolve, "resolve", slow)
    monkeypatch.setattr(handshake, "shake_hands", shake)
    with silent() as port:
        walk(f"slow.example:{port}", timeout_s=1.0)

    assert given["resolve"] + given["handshake"] <= 1.0
    assert given["handshake"] >= 0.05


def test_many_ways_are_walked_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    count, most = 200, 0
    lock, inside = threading.Lock(), 0

    def slow(way: route.Way, **_: object) -> route.Route:
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
        time.sleep(0.01)
        with lock:
            inside -= 1
        return route.Route(client="copilot-doctor", target=way.target, status="pass")

    monkeypatch.setattr(route, "walk", slow)
    planned = route.plan(
        Deployment(targets=tuple(target(f"127.0.0.1:{port}") for port in range(1, count + 1)))
    )
    calls: list[Callable[[], route.Route]] = [
        lambda way=way: route.walk(way, token=None, vault=Vault(), timeout_s=1)  # type: ignore[misc]
        for way in planned
    ]
    walked = side_by_side(calls)

    assert [item.target.port for item in walked] == list(range(1, count + 1))
    assert 1 < most <= 64


def test_an_examination_keeps_targets_that_are_not_walked() -> None:
    port = closed_port()
    bad = Target(text="localhost:", host="localhost", problem="no port", origin=ARGUMENT)
    examination = Examination(Request(targets=(bad, target(f"127.0.0.1:{port}")), timeout_s=1))
    deployment = examination.run()

    assert bad in deployment.targets
    assert bad not in [item.target for item in deployment.routes]
    assert f"127.0.0.1:{port}" in [item.target.text for item in deployment.routes]


def test_one_walk_opens_few_connections() -> None:
    accepted: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as held:
        held.settimeout(0.2)
        over = threading.Event()

        def serve() -> None:
            while not over.is_set():
                with contextlib.suppress(OSError):
                    accepted.append(held.accept()[0])

        thread = threading.Thread(target=serve)
        thread.start()
        walk(f"127.0.0.1:{held.getsockname()[1]}", timeout_s=0.5)
        over.set()
        thread.join()
    for connection in accepted:
        connection.close()

    # One to talk, and those that find out what else a silent peer may be.
    assert 1 <= len(accepted) <= 6
