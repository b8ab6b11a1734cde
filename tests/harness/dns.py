"""Name servers for the tests: dnsmasq with answers of their own, and a hostile one."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import threading
import time
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.rrset

from tests.harness import MissingPartError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

Manner = Literal[
    "silent",
    "refused",
    "servfail",
    "truncated",
    "truncated-only",
    "wrong-id",
    "wrong-question",
    "loop",
    "dangling",
    "huge",
    "huge-over-tcp",
    "garbage",
    "short",
    "lossy",
]

# Any address of 127.0.0.0/8 is this machine on Linux: so several servers can have the same port,
# and one of them can have the address that Docker's has.
_DOCKER = "127.0.0.11"


@dataclass
class NameServer:
    """A running name server."""

    address: str
    port: int
    questions: list[tuple[str, str]] = field(default_factory=list)


def free_port(address: str) -> int:
    """A port of that address that is free for UDP and for TCP."""
    while True:
        with (
            socket.socket(socket.AF_INET, socket.SOCK_STREAM) as tcp,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
        ):
            tcp.bind((address, 0))
            port: int = tcp.getsockname()[1]
            with contextlib.suppress(OSError):
                udp.bind((address, port))
                return port


def resolv_conf(
    folder: Path, *servers: NameServer | str, search: str = "", options: str = ""
) -> Path:
    """Write a resolv.conf that names these servers."""
    names = [server if isinstance(server, str) else server.address for server in servers]
    lines = [f"nameserver {name}" for name in names]
    if search:
        lines.append(f"search {search}")
    if options:
        lines.append(f"options {options}")
    path = folder / "resolv.conf"
    path.write_text("\n".join(lines) + "\n")
    return path


def hosts_file(folder: Path, names: Mapping[str, str] | None = None) -> Path:
    """Write a hosts file."""
    lines = ["127.0.0.1 localhost", "::1 localhost ip6-localhost ip6-loopback"]
    lines += [f"{address} {name}" for name, address in (names or {}).items()]
    path = folder / "hosts"
    path.write_text("\n".join(lines) + "\n")
    return path


@contextlib.contextmanager
def dnsmasq(
    records: Mapping[str, str | Sequence[str]],
    *,
    cnames: Mapping[str, str] | None = None,
    address: str = _DOCKER,
    port: int | None = None,
    launcher: Sequence[str] = (),
) -> Iterator[NameServer]:
    """Run dnsmasq with these answers and no others: every other name is NXDOMAIN.

    Args:
        records: Addresses of full names.
        cnames: Aliases of full names.
        address: Of this machine's loopback network.
        port: None picks a free one.
        launcher: Words in front of the command, such as a namespace's.

    Raises:
        MissingPartError: There is no dnsmasq here.
    """
    program = shutil.which("dnsmasq") or shutil.which("dnsmasq", path="/usr/sbin:/sbin")
    if program is None:
        raise MissingPartError("no dnsmasq (Debian and Ubuntu: apt-get install dnsmasq-base)")
    port = port or free_port(address)
    arguments = [
        *("--keep-in-foreground", "--conf-file=/dev/null", "--pid-file=", "--user=root"),
        *("--no-resolv", "--no-hosts", "--no-poll", "--local=/#/", "--bind-interfaces"),
        *(f"--listen-address={address}", f"--port={port}", "--log-facility=-"),
    ]
    for name, given in records.items():
        addresses = [given] if isinstance(given, str) else given
        arguments += [f"--host-record={name},{one}" for one in addresses]
    arguments += [f"--cname={alias},{name}" for alias, name in (cnames or {}).items()]
    server = NameServer(address, port)
    process = subprocess.Popen(
        [*launcher, program, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        if not launcher:
            _wait_for_answers(server, process)
        else:
            time.sleep(0.5)
        if process.poll() is not None:
            raise AssertionError(f"dnsmasq ended: {process.communicate()[1]}")
        yield server
    finally:
        process.kill()
        process.communicate()


def _wait_for_answers(server: NameServer, process: subprocess.Popen[str]) -> None:
    message = dns.message.make_query("ready.test", "A")
    until = time.monotonic() + 20
    while time.monotonic() < until and process.poll() is None:
        with contextlib.suppress(OSError, dns.exception.Timeout):
            dns.query.udp(message, server.address, 0.2, server.port)
            return
        time.sleep(0.02)


@contextlib.contextmanager
def misbehaving(
    manner: Manner, *, address: str = "127.0.0.12", port: int | None = None
) -> Iterator[NameServer]:
    """Run a name server that behaves like that to every question, over UDP and TCP.

    `truncated` gives the whole answer (10.0.0.9) over TCP, `truncated-only` gives none there;
    `lossy` answers (10.0.0.9) from the second packet on.
    """
    server = NameServer(address, port or free_port(address))
    stop = threading.Event()
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind((address, server.port))
    udp.settimeout(0.05)
    tcp = socket.create_server((address, server.port))
    tcp.settimeout(0.05)

    def over_udp() -> None:
        while not stop.is_set():
            with contextlib.suppress(TimeoutError):
                packet, sender = udp.recvfrom(4096)
                query = dns.message.from_wire(packet)
                question = query.question[0]
                text = question.name.to_text().rstrip(".")
                server.questions.append((text, dns.rdatatype.to_text(question.rdtype)))
                seen = server.questions.count(server.questions[-1])
                for answer in _ANSWERS[manner](query, seen):
                    udp.sendto(answer, sender)

    def over_tcp() -> None:
        while not stop.is_set():
            with contextlib.suppress(TimeoutError, ConnectionError):
                connection, _ = tcp.accept()
                with connection:
                    connection.settimeout(2)
                    size = int.from_bytes(connection.recv(2), "big")
                    query = dns.message.from_wire(connection.recv(size))
                    connection.sendall(_TCP_ANSWERS[manner](query))

    threads = [threading.Thread(target=target) for target in (over_udp, over_tcp)]
    for thread in threads:
        thread.start()
    try:
        yield server
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        udp.close()
        tcp.close()


def _reply(query: dns.message.Message, *addresses: str) -> dns.message.Message:
    reply = dns.message.make_response(query)
    question = query.question[0]
    kind = dns.rdatatype.to_text(question.rdtype)
    wanted = [address for address in addresses if (":" in address) == (kind == "AAAA")]
    if wanted:
        reply.answer.append(dns.rrset.from_text(question.name, 60, "IN", kind, *wanted))
    return reply


def _with_code(query: dns.message.Message, code: dns.rcode.Rcode) -> bytes:
    reply = dns.message.make_response(query)
    reply.set_rcode(code)
    return reply.to_wire()


def _with_aliases(query: dns.message.Message, *targets: str) -> bytes:
    reply = dns.message.make_response(query)
    alias = query.question[0].name.to_text()
    for target in targets:
        reply.answer.append(dns.rrset.from_text(alias, 60, "IN", "CNAME", target))
        alias = target
    return reply.to_wire()


def _cut(query: dns.message.Message) -> bytes:
    reply = dns.message.make_response(query)
    reply.flags |= dns.flags.TC
    return reply.to_wire()


def _with_wrong_id(query: dns.message.Message) -> bytes:
    reply = _reply(query, "10.6.6.6")
    reply.id = (query.id + 1) % 65_536
    return reply.to_wire()


def _to_wrong_question(query: dns.message.Message) -> bytes:
    other = dns.message.make_query("evil.test", query.question[0].rdtype)
    other.id = query.id
    return _reply(other, "10.6.6.6").to_wire()


def _with_hundreds(query: dns.message.Message) -> bytes:
    many = (f"10.1.{n // 250}.{n % 250 + 1}" for n in range(400))
    return _reply(query, *many).to_wire(max_size=65_535)


# What goes out for a query that comes for the n-th time.
_ANSWERS: dict[Manner, Callable[[dns.message.Message, int], list[bytes]]] = {
    "silent": lambda _query, _n: [],
    "lossy": lambda query, n: [_reply(query, "10.0.0.9").to_wire()] if n > 1 else [],
    "refused": lambda query, _n: [_with_code(query, dns.rcode.REFUSED)],
    "servfail": lambda query, _n: [_with_code(query, dns.rcode.SERVFAIL)],
    "truncated": lambda query, _n: [_cut(query)],
    "truncated-only": lambda query, _n: [_cut(query)],
    "huge-over-tcp": lambda query, _n: [_cut(query)],
    "wrong-id": lambda query, _n: [_with_wrong_id(query)],
    "wrong-question": lambda query, _n: [_to_wrong_question(query)],
    "loop": lambda query, _n: [
        _with_aliases(query, "a.test.", "b.test.", query.question[0].name.to_text())
    ],
    "dangling": lambda query, _n: [_with_aliases(query, "gone.test.")],
    "huge": lambda query, _n: [_with_hundreds(query)],
    "garbage": lambda query, _n: [
        b"HTTP/1.1 400 Bad Request\r\n\r\n" * 4,
        query.to_wire()[:2] + b"\x81\x80" + b"\xff" * 40,
    ],
    "short": lambda query, _n: [b"", b"x", query.to_wire()[:5]],
}


def _framed(wire: bytes) -> bytes:
    return len(wire).to_bytes(2, "big") + wire


_TCP_ANSWERS: defaultdict[Manner, Callable[[dns.message.Message], bytes]] = defaultdict(
    lambda: lambda _query: b"",
    {
        "truncated": lambda query: _framed(_reply(query, "10.0.0.9").to_wire()),
        "truncated-only": lambda _query: b"\xff\xff" + b"x" * 20,
        "huge-over-tcp": lambda query: _framed(query.to_wire().ljust(65_535, b"x")),
    },
)
