from __future__ import annotations

import os
import select
import socket
import struct
import subprocess
import sys
import textwrap
import time
from typing import TYPE_CHECKING, Any, Self

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from doctor.sources import sockets
from doctor.sources.processes import NotVisible
from doctor.sources.sockets import Connection, Listener, listening
from tests.harness.cli import start_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="Linux tables")

# Listens as told on standard input's arguments, says which ports it got, and waits.
HOLDER = textwrap.dedent("""
    import socket, sys, time
    held = []
    for text in sys.argv[1:]:
        kind, _, address = text.partition("=")
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        one = socket.socket(family)
        if kind == "connect":
            host, _, port = address.rpartition(":")
            one.close()
            one = socket.create_connection((host, int(port)), 10)
        else:
            if family == socket.AF_INET6:
                one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, kind == "only6")
            one.bind((address, 0))
            one.listen()
        held.append(one)
    print(*(one.getsockname()[1] for one in held), flush=True)
    sys.stdin.read()
""")


@pytest.fixture
def holder() -> Iterator[Callable[..., tuple[int, list[int]]]]:
    """Start processes that hold sockets; returns pid and ports."""
    started: list[subprocess.Popen[str]] = []

    def start(*words: str, before: tuple[str, ...] = (), **options: Any) -> tuple[int, list[int]]:
        process = subprocess.Popen(
            [*before, sys.executable, "-c", HOLDER, *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            **options,
        )
        started.append(process)
        assert process.stdout
        assert select.select([process.stdout], [], [], 60)[0], "the child did not start"
        return process.pid, [int(word) for word in process.stdout.readline().split()]

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture(params=["netlink", "files", "psutil", "psutil by process"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Every way of reading the system: each must tell the same."""
    name: str = request.param
    if not name.startswith("psutil") and sys.platform != "linux":
        pytest.skip("Linux tables")
    monkeypatch.setattr(sockets, "_IS_LINUX", not name.startswith("psutil"))
    if name == "files":

        def refuse(family: int) -> Any:
            raise PermissionError(1, f"no netlink for {family}")

        monkeypatch.setattr(sockets, "_rows_by_netlink", refuse)
    if name == "psutil by process":
        import psutil

        def deny(kind: str) -> Any:
            raise psutil.AccessDenied(msg=kind)

        monkeypatch.setattr(psutil, "net_connections", deny)
    return name


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as one:
            one.bind(("::1", 0))
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="needs IPv6")


def test_the_listeners_of_a_process(way: str, holder: Callable[..., Any]) -> None:
    pid, (first, second) = holder("on=127.0.0.1", "on=0.0.0.0")
    table = listening([pid])
    assert {(one.address, one.port, one.family, one.pids) for one in table.listeners} == {
        ("127.0.0.1", first, "ipv4", (pid,)),
        ("0.0.0.0", second, "ipv4", (pid,)),
    }
    for one in table.listeners:
        assert one.is_dual_stack is False
        assert one.namespace == "own"
        if sys.platform == "linux" and not way.startswith("psutil"):
            assert one.uid == os.getuid()
    if way == "psutil by process":
        assert table.ports_taken is None
    else:
        assert table.ports_taken
        assert table.ports_taken >= {first, second}
    # Looking at each process alone, even root meets some that it may not look at.
    assert table.unseen == () or way == "psutil by process"
    assert table.unseen_pids == {}


@needs_ipv6
@linux_only
def test_only_netlink_knows_whether_a_wildcard_is_dual_stack(
    way: str, holder: Callable[..., Any]
) -> None:
    pid, (both, only, one_address) = holder("on=::", "only6=::", "on=::1")
    known = way == "netlink"
    found = {one.port: (one.address, one.is_dual_stack) for one in listening([pid]).listeners}
    assert found == {
        both: ("::", True if known else None),
        only: ("::", False if known else None),
        one_address: ("::1", False),
    }


@pytest.mark.usefixtures("way")
def test_the_owner_of_a_wanted_port_is_looked_for(holder: Callable[..., Any]) -> None:
    pid, (port,) = holder("on=127.0.0.1")
    table = listening(ports=[port], budget_s=30)
    assert [(one.port, one.pids) for one in table.listeners] == [(port, (pid,))]


@pytest.mark.usefixtures("way")
def test_both_ends_of_a_connection(holder: Callable[..., Any]) -> None:
    server, (port,) = holder("on=127.0.0.1")
    client, (local_port,) = holder(f"connect=127.0.0.1:{port}")
    table = listening([server], others=[client])
    (end,) = [one for one in table.connections if one.local_port == local_port]
    assert (end.remote_port, end.state, end.pids) == (port, "established", (client,))
    assert (end.local_address, end.remote_address) == ("127.0.0.1", "127.0.0.1")
    # The child never accepts: the server's end is in the kernel's queue and nobody's yet.
    assert {one.remote_port for one in table.connections if one.local_port == port} <= {local_port}


@pytest.mark.usefixtures("way")
def test_a_port_that_nobody_holds() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    table = listening(ports=[port, 0, -1, 65536 + port, 10**9])
    assert [one for one in table.listeners if one.port == port] == []


@linux_only
def test_a_connection_that_has_ended_keeps_the_port(holder: Callable[..., Any]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        client = socket.create_connection(("127.0.0.1", port))
        accepted, _ = server.accept()
        accepted.close()  # the side that closes first keeps TIME_WAIT
        client.recv(1)
        client.close()
    holder("on=127.0.0.1")
    (left,) = [one for one in listening(ports=[port]).connections if one.local_port == port]
    assert (left.state, left.pids) == ("time-wait", ())


@linux_only
def test_a_listener_that_two_processes_share() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        script = "import sys; print(1, flush=True); sys.stdin.read()"
        child = subprocess.Popen(
            [sys.executable, "-c", script],
            pass_fds=[server.fileno()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert child.stdout
        child.stdout.readline()
        (one,) = listening([os.getpid(), child.pid], ports=[server.getsockname()[1]]).listeners
        assert set(one.pids) == {os.getpid(), child.pid}
        child.communicate()


@pytest.mark.usefixtures("way")
def test_a_process_that_has_ended_is_named(holder: Callable[..., Any]) -> None:
    pid, _ = holder("on=127.0.0.1")
    gone = subprocess.Popen([sys.executable, "-c", "pass"])
    gone.wait()
    table = listening([pid, gone.pid])
    assert [one.pids for one in table.listeners] == [(pid,)]
    if sys.platform == "linux" and gone.pid in table.unseen_pids:
        assert table.unseen_pids[gone.pid].kind == "gone"


@linux_only
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_what_another_user_may_not_see(holder: Callable[..., Any]) -> None:
    pid, (port,) = holder("on=127.0.0.1")
    script = textwrap.dedent(f"""
        import os, psutil
        from doctor.sources import sockets
        os.setuid(65534)
        table = sockets.listening([{pid}])
        print(table.unseen_pids[{pid}].kind, len(table.listeners))
        table = sockets.listening(ports=[{port}], budget_s=30)
        print([(one.pids, one.uid) for one in table.listeners])
        (gap,) = table.unseen
        print(gap.kind, gap.reason)
        print(gap.remedy)
    """)
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    lines = done.stdout.splitlines()
    assert lines[0] == "permission 0"
    assert lines[1] == "[((), 0)]", "the kernel tells the user even where the process is hidden"
    assert lines[2].startswith(f"permission the owner of port {port} is not visible: ")
    assert lines[2].endswith("processes of other users could not be read")
    assert "sudo" in lines[3]


@linux_only
def test_an_owner_that_is_nowhere_is_not_called_absent(holder: Callable[..., Any]) -> None:
    _, (port,) = holder("on=127.0.0.1")
    table = listening(ports=[port], others=[os.getpid()])
    assert [one.pids for one in table.listeners] == [()]
    (gap,) = table.unseen
    assert gap.kind == "unsupported"
    assert f"port {port}" in gap.reason
    assert gap.remedy


@linux_only
def test_the_search_for_owners_ends_in_time(
    holder: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, (port,) = holder("on=127.0.0.1")
    asked: list[int] = []

    def slow(pid: int) -> frozenset[int]:
        asked.append(pid)
        time.sleep(0.05)
        return frozenset()

    monkeypatch.setattr(sockets, "socket_inodes", slow)
    table = listening(ports=[port], others=[os.getpid()] * 1000, budget_s=0.1)
    assert len(asked) < 10
    assert [gap.kind for gap in table.unseen] == ["limit"]
    assert "stopped after 0.1 s" in table.unseen[0].reason


@linux_only
def test_no_list_at_all_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(family: int) -> Any:
        raise PermissionError(1, f"no netlink for {family}")

    monkeypatch.setattr(sockets, "_rows_by_netlink", refuse)
    monkeypatch.setattr(sockets, "_rows_of", lambda _: NotVisible("permission", "it is hidden", ""))
    table = listening(ports=[3000])
    assert table.ports_taken is None
    (gap,) = table.unseen
    assert "it is hidden" in gap.reason


@pytest.mark.namespace
@linux_only
@pytest.mark.usefixtures("needs_root_namespace")
def test_another_network_namespace(holder: Callable[..., Any]) -> None:
    script = 'ip link set lo up && exec "$@"'
    pid, (inside,) = holder("on=0.0.0.0", before=("unshare", "-n", "sh", "-c", script, "sh"))
    mine, (here,) = holder("on=127.0.0.1")
    table = listening([pid, mine])
    assert {(one.port, one.pids, one.namespace, one.address) for one in table.listeners} == {
        (inside, (pid,), "other", "0.0.0.0"),
        (here, (mine,), "own", "127.0.0.1"),
    }
    assert table.ports_taken is not None
    assert here in table.ports_taken
    if inside not in table.ports_taken:  # another process here may hold the same number
        assert listening(ports=[inside]).listeners == ()


# --- the tables themselves ----------------------------------------------------------------------


def entry(family: int, attributes: bytes = b"", **facts: Any) -> bytes:
    local = socket.inet_pton(family, facts.get("local", "127.0.0.1")).ljust(16, b"\0")
    body = struct.pack(
        "=BBBB2s2s16s16sI8xIIIII",
        *(family, facts.get("state", 10), 0, 0),
        facts.get("port", 3000).to_bytes(2, "big"),
        (0).to_bytes(2, "big"),
        *(local, bytes(16), 0, 0, 0, 0),
        *(facts.get("uid", 1000), facts.get("inode", 42)),
    )
    data = body + attributes
    return struct.pack("=IHHII", 16 + len(data), 20, 2, sockets._SEQUENCE, 0) + data


def attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


@linux_only
def test_entries_of_one_and_of_many_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = [entry(socket.AF_INET, port=port, inode=port) for port in (1, 2, 3)]
    mixed = [
        entry(socket.AF_INET6, attribute(11, b"\1"), local="::", port=4, inode=4),
        entry(socket.AF_INET6, attribute(9, b"x" * 7) + attribute(11, b"\0"), local="::", port=5),
        entry(socket.AF_INET6, local="::", port=6, inode=6),
    ]
    monkeypatch.setattr(
        sockets, "_dump", lambda *_: iter([b"".join(plain), b"".join(mixed), b"", b"\1\0\0\0"])
    )
    rows = sockets._rows_by_netlink(socket.AF_INET6)
    assert [row.local_port for row in rows] == [1, 2, 3, 4, 5, 6]
    assert [sockets._is_dual_stack(row) for row in rows] == [False] * 4 + [True, None]


@linux_only
@settings(max_examples=200)
@given(st.binary(max_size=400))
def test_no_answer_of_the_kernel_breaks_it(data: bytes) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sockets, "_dump", lambda *_: iter([data, entry(socket.AF_INET) + data]))
        rows = sockets._rows_by_netlink(socket.AF_INET)
        assert all(len(row.local) == 16 for row in rows)
        sockets._attributes(data)


@linux_only
def test_the_end_of_an_answer_may_come_with_the_last_entries(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    done = struct.pack("=IHHIIi", 20, 3, 2, sockets._SEQUENCE, 0, 0)
    answers = [entry(socket.AF_INET), entry(socket.AF_INET, port=7) + done]

    class Kernel:
        def __init__(self, *_: Any) -> None:
            pass

        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def settimeout(self, seconds: float) -> None:
            assert seconds > 0

        def send(self, data: bytes) -> int:
            return len(data)

        def recv(self, _: int) -> bytes:
            return answers.pop(0)

    monkeypatch.setattr(sockets.socket, "socket", Kernel)
    assert [row.local_port for row in sockets._rows_by_netlink(socket.AF_INET)] == [3000, 7]
    refused = struct.pack("=IHHIIi", 36, 2, 0, sockets._SEQUENCE, 0, -13) + bytes(16)
    answers.append(refused)
    with pytest.raises(PermissionError):
        sockets._rows_by_netlink(socket.AF_INET)
    answers.append(b"")
    with pytest.raises(OSError, match="rotocol"):
        sockets._rows_by_netlink(socket.AF_INET)


@linux_only
def test_lines_of_proc_net(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    # As 1.0.22 (dual stack) and a client of 1.0.63 were seen on a little-endian machine.
    text = (
        "  sl  local_address                         remote_address                        st "
        "tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
        "   0: 00000000000000000000000000000000:0BB8 00000000000000000000000000000000:0000 0A "
        "00000000:00000000 00:00000000 00000000     0        0 444227 1 ffff888 100 0 0 10 0\n"
        "   1: 0000000000000000FFFF00000100007F:D2A0 0000000000000000FFFF00000100007F:0BB8 01 "
        "00000000:00000000 00:00000000 00000000  1000        0 444228 1 ffff888 20 4 30 10 -1\n"
        "garbage\n"
        "  12: 0100007F:0BB8 00000000:0000 0A\n"
    )
    if sys.byteorder != "little":
        pytest.skip("recorded on a little-endian machine")
    (tmp_path / "tcp").write_text("  sl  local_address\n")
    (tmp_path / "tcp6").write_text(text)
    real = open

    def opened(path: str, mode: str) -> Any:
        return real(tmp_path / path.rpartition("/")[2], mode)

    monkeypatch.setattr(sockets, "open", opened, raising=False)
    rows = sockets._rows_of(1)
    assert not isinstance(rows, NotVisible)
    listeners, connections = sockets._in_words(rows, {444227: (9,)}, "other")
    assert listeners == [
        Listener(
            family="ipv6",
            address="::",
            port=3000,
            is_dual_stack=None,
            pids=(9,),
            uid=0,
            namespace="other",
        )
    ]
    assert connections == [
        Connection(
            family="ipv6",
            local_address="127.0.0.1",
            local_port=53920,
            remote_address="127.0.0.1",
            remote_port=3000,
            state="established",
            uid=1000,
            namespace="other",
        )
    ]


# --- this machine -------------------------------------------------------------------------------


@linux_only
def test_port_ranges() -> None:
    low, high = sockets.ephemeral_ports() or (0, 0)
    assert 1 <= low <= high <= 65535
    assert 0 <= (sockets.first_unprivileged_port() or 0) <= 65535


def test_port_ranges_that_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "_first_line", lambda _: "")
    assert sockets.ephemeral_ports() is None
    assert sockets.first_unprivileged_port() is None
    monkeypatch.undo()
    assert sockets._first_line("/no/such/file") == ""


def test_addresses_are_the_same_both_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    found = sockets.interface_addresses()
    monkeypatch.setattr(sockets, "_IS_LINUX", False)
    assert sorted(found) == sorted(sockets.interface_addresses())
    assert "::1" not in found
    assert not any(text.startswith("127.") for text in found)


@pytest.mark.real
@linux_only
def test_a_real_server_and_its_address(cli_version: str) -> None:
    with start_server(cli_version, "--host", "0.0.0.0") as server:
        (one,) = listening(server.pids).listeners
        assert (one.address, one.port, one.pids) == ("0.0.0.0", server.port, (server.listener_pid,))


@pytest.mark.real
@linux_only
def test_an_old_server_listens_on_both_families() -> None:
    with start_server("1.0.22") as server:
        (one,) = listening(server.pids).listeners
        assert (one.address, one.is_dual_stack, one.port) == ("::", True, server.port)
        assert one.pids == (server.listener_pid,)
