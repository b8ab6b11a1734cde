"""The TCP sockets of this machine: who listens where, and who is connected.

On Linux the kernel is asked over netlink (``sock_diag``), as ``ss`` does: with 12,000 listeners
reading that took 7 ms where ``/proc/net/tcp`` took 28 ms and psutil 300 ms (measured), and only
there does it say whether an IPv6 socket takes IPv4 connections too. ``/proc/<pid>/net/tcp`` is
read where netlink is not allowed, and for other network namespaces. Elsewhere psutil is asked.
"""

import contextlib
import errno
import os
import re
import socket
import struct
import sys
import time
from collections.abc import Collection, Iterable, Iterator
from typing import Any, Final, Literal, NamedTuple, TypeAlias

import msgspec

from doctor.sources.processes import NotVisible, not_visible

_IS_LINUX: Final = sys.platform == "linux"
_SUDO: Final = "run the doctor as root (sudo)"
_LISTEN: Final = 10
_LAST_PORT: Final = 65535
_STATES: Final = (
    *("unknown", "established", "syn-sent", "syn-recv", "fin-wait-1", "fin-wait-2", "time-wait"),
    *("closed", "close-wait", "last-ack", "listen", "closing", "syn-recv"),
)
"""Names of the kernel's numbers for the states of a TCP socket (include/net/tcp_states.h)."""


class Listener(msgspec.Struct, frozen=True, kw_only=True):
    """A socket that accepts connections.

    Attributes:
        address: As bound, in the usual spelling: ``127.0.0.1``, ``0.0.0.0``, ``::``, …
        is_dual_stack: Whether an IPv6 socket takes IPv4 connections too; None: not known.
        pids: The processes that hold it, of those that were looked at; several after a fork.
        uid: The user who opened it; None where the system does not tell.
        namespace: ``other``: in a network namespace (a container's) that is not the doctor's.
    """

    family: Literal["ipv4", "ipv6"]
    address: str
    port: int
    is_dual_stack: bool | None = None
    pids: tuple[int, ...] = ()
    uid: int | None = None
    namespace: Literal["own", "other"] = "own"


class Connection(msgspec.Struct, frozen=True, kw_only=True):
    """A socket that is not a listener: one end of a connection, or what is left of one.

    Attributes:
        state: ``established``, ``time-wait``, ``close-wait``, …
        pids: The processes that hold it, of those that were looked at; none in ``time-wait``.
    """

    family: Literal["ipv4", "ipv6"]
    local_address: str
    local_port: int
    remote_address: str
    remote_port: int
    state: str
    pids: tuple[int, ...] = ()
    uid: int | None = None
    namespace: Literal["own", "other"] = "own"


class SocketTable(msgspec.Struct, frozen=True, kw_only=True):
    """What `listening` found.

    Attributes:
        listeners: Those that the given processes hold, and those on the given ports.
        connections: Those with such a port at either end.
        ports_taken: Every port of the doctor's own network namespace that somebody listens on;
            None where that could not be seen.
        unseen: What could not be seen, in words for a reader.
        unseen_pids: The given processes whose sockets could not be seen, and why.
    """

    listeners: tuple[Listener, ...] = ()
    connections: tuple[Connection, ...] = ()
    ports_taken: frozenset[int] | None = None
    unseen: tuple[NotVisible, ...] = ()
    unseen_pids: dict[int, NotVisible] = {}


class _Row(NamedTuple):
    """One socket as the kernel tells it: of thousands, few are ever put into words.

    Attributes:
        size: Of the whole entry, in bytes; 0 for a line of ``/proc``, whose addresses are text.
        local_port_be: In network byte order, as `remote_port_be`.
        attributes: What follows the fixed part.
    """

    size: int
    family: int
    state: int
    local_port_be: int
    remote_port_be: int
    local: bytes
    remote: bytes
    uid: int
    inode: int
    attributes: bytes

    @property
    def local_port(self) -> int:
        return socket.ntohs(self.local_port_be)

    @property
    def remote_port(self) -> int:
        return socket.ntohs(self.remote_port_be)

    def packed(self, address: bytes) -> bytes:
        """Return an address of this row as `socket.inet_ntop` takes it."""
        if not self.size:
            return _packed(address)
        return address[: 4 if self.family == socket.AF_INET else 16]


_Owners: TypeAlias = dict[int, tuple[int, ...]]


def listening(
    pids: Collection[int] = (),
    ports: Collection[int] = (),
    *,
    others: Iterable[int] | None = None,
    budget_s: float = 0.5,
) -> SocketTable:
    """Return the sockets of processes and ports that matter, with their owners.

    Args:
        pids: Processes whose listeners are wanted, whatever their port.
        ports: Ports whose listeners and connections are wanted, whoever holds them.
        others: Where to look for owners that are not among `pids`; None: every process.
        budget_s: The most time that the search for such owners may take, in seconds.
    """
    if not _IS_LINUX:
        return _listening_by_psutil(pids, ports, others, budget_s)
    held: dict[int, frozenset[int]] = {}
    unseen_pids: dict[int, NotVisible] = {}
    elsewhere: dict[str, list[int]] = {}
    own_network = _network(os.getpid())
    for pid in pids:
        inodes = socket_inodes(pid)
        if isinstance(inodes, NotVisible):
            unseen_pids[pid] = inodes
            continue
        held[pid] = inodes
        network = _network(pid)
        if network != own_network and network is not None:
            elsewhere.setdefault(network, []).append(pid)
    try:
        rows = _rows_here()
    except OSError as error:
        rows, ports_taken = [], None
        unseen = [NotVisible("unsupported", f"the list of sockets: {error.strerror}")]
    else:
        taken_be = {row.local_port_be for row in rows if row.state == _LISTEN}
        ports_taken = frozenset(map(socket.ntohs, taken_be))
        unseen = []
    away = {pid for group in elsewhere.values() for pid in group}
    owners = _owners({pid: inodes for pid, inodes in held.items() if pid not in away})
    wanted, at = _pick(rows, owners, ports)
    missing = {row.inode: row for row in wanted if row.inode and row.inode not in owners}
    if missing:
        found, gaps = _search(missing, others, held.keys() | unseen_pids.keys(), budget_s)
        owners |= found
        unseen += gaps
    listeners, connections = _in_words(wanted, owners, "own")
    for group in elsewhere.values():
        there = _rows_of(group[0])
        if isinstance(there, NotVisible):
            unseen_pids |= dict.fromkeys(group, there)
            continue
        group_owners = _owners({pid: held[pid] for pid in group})
        chosen, _ = _pick(there, group_owners, at)
        # Whoever else lives in that namespace is another container's business.
        chosen = [row for row in chosen if row.inode in group_owners]
        more_listeners, more_connections = _in_words(chosen, group_owners, "other")
        listeners += more_listeners
        connections += more_connections
    return SocketTable(
        listeners=tuple(listeners),
        connections=tuple(connections),
        ports_taken=ports_taken,
        unseen=tuple(unseen),
        unseen_pids=unseen_pids,
    )


def socket_inodes(pid: int) -> frozenset[int] | NotVisible:
    """Return the inode numbers of the sockets that a process holds (Linux)."""
    folder = f"/proc/{pid}/fd"
    found: set[int] = set()
    try:
        for name in os.listdir(folder):  # noqa: PTH208 - thousands of them
            with contextlib.suppress(FileNotFoundError):  # closed meanwhile
                target = os.readlink(f"{folder}/{name}")  # noqa: PTH115
                if target.startswith("socket:["):
                    found.add(int(target[8:-1]))
    except OSError as error:
        return not_visible(error, f"process {pid}")
    return frozenset(found)


def ephemeral_ports() -> tuple[int, int] | None:
    """Return the range that clients get their own ports from, None where that is not known."""
    text = _first_line("/proc/sys/net/ipv4/ip_local_port_range").split()
    return (int(text[0]), int(text[1])) if len(text) == 2 else None  # noqa: PLR2004 - a range


def first_unprivileged_port() -> int | None:
    """Return the first port that needs no privilege, None where that is not known."""
    text = _first_line("/proc/sys/net/ipv4/ip_unprivileged_port_start")
    return int(text) if text.isdecimal() else None


def interface_addresses() -> tuple[str, ...]:
    """Return the addresses of this machine's interfaces, loopback left out."""
    found: Iterable[str] = ()
    if _IS_LINUX:
        with contextlib.suppress(OSError):
            found = list(_addresses_by_netlink())
    if not found:
        import psutil

        families = {socket.AF_INET, socket.AF_INET6}
        every = (one for group in psutil.net_if_addrs().values() for one in group)
        found = [one.address.partition("%")[0] for one in every if one.family in families]
    return tuple(
        dict.fromkeys(text for text in found if text != "::1" and not text.startswith("127."))
    )


# --- Linux: the tables of the kernel ------------------------------------------------------------

_DIAG_REQUEST: Final = struct.Struct("=BBBxI48x")
_DIAG_SIZE: Final = 88
_SOCK_DIAG_BY_FAMILY: Final = 20
_DIAG_V6_ONLY: Final = 11
_GET_ADDRESS: Final = 22
_ADDRESS, _ADDRESS_LOCAL = 1, 2
_DUMP, _MULTI = 0x301, 2
_ERROR, _DONE, _DONE_SIZE = 2, 3, 20
_SEQUENCE: Final = 0x636F7069  # any, but nothing else looks like it
_NETLINK_ROUTE, _NETLINK_SOCK_DIAG = 0, 4
_ANSWER_LIMIT_S: Final = 2.0
_LINE: Final = re.compile(
    rb"^ *\d+: ([0-9A-F]+):([0-9A-F]{4}) ([0-9A-F]+):([0-9A-F]{4}) ([0-9A-F]{2})"
    rb" \S+ \S+ \S+ +(\d+) +\d+ (\d+)",
    re.MULTILINE,
)


def _rows_here() -> list[_Row]:
    """Return every TCP socket of the doctor's own network namespace.

    Raises:
        OSError: Neither netlink nor ``/proc`` tells.
    """
    try:
        return [*_rows_by_netlink(socket.AF_INET), *_rows_by_netlink(socket.AF_INET6)]
    except OSError:  # such as a container without the right, or gVisor
        rows = _rows_of(os.getpid())
        if isinstance(rows, NotVisible):
            raise OSError(0, rows.reason) from None
        return rows


def _rows_by_netlink(family: int) -> list[_Row]:
    rows: list[_Row] = []
    request = _DIAG_REQUEST.pack(family, socket.IPPROTO_TCP, 0, 0xFFFF)
    for data in _dump(_NETLINK_SOCK_DIAG, _SOCK_DIAG_BY_FAMILY, request):
        # Entries of one family mostly have one size: then they are taken apart in one go.
        size = int.from_bytes(data[:4], sys.byteorder)
        step = _padded(size)
        if step >= _DIAG_SIZE and len(data) % step == 0:
            batch = list(map(_Row._make, struct.iter_unpack(_diag_format(step), data)))
            if all(row.size == size for row in batch):
                rows += batch
                continue
        for start, end in _entries(data):
            if end - start >= _DIAG_SIZE:
                rows.append(_Row._make(struct.unpack(_diag_format(end - start), data[start:end])))
    return rows


def _diag_format(size: int) -> str:
    # sock_diag(7): nlmsghdr of 16 bytes, inet_diag_msg of 72, then attributes.
    return f"=I12xBB2xHH16s16s12x12xII{size - _DIAG_SIZE}s"


def _addresses_by_netlink() -> Iterator[str]:
    # rtnetlink(7): nlmsghdr of 16 bytes, ifaddrmsg of 8, then attributes.
    for data in _dump(_NETLINK_ROUTE, _GET_ADDRESS, bytes(8)):
        for start, end in _entries(data):
            family = data[start + 16]
            found = _attributes(data[start + 24 : end])
            # On a point-to-point link the first is the other end, and the second is this one.
            address = found.get(_ADDRESS_LOCAL) or found.get(_ADDRESS)
            if address and family in {socket.AF_INET, socket.AF_INET6}:
                yield socket.inet_ntop(family, address)


def _attributes(data: bytes) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    start = 0
    while start + 4 <= len(data):
        length, kind = struct.unpack_from("=HH", data, start)
        if length < 4:  # noqa: PLR2004 - its own header
            break
        found[kind] = data[start + 4 : start + length]
        start += _padded(length)
    return found


def _padded(length: int) -> int:
    return (length + 3) & ~3


def _entries(data: bytes) -> Iterator[tuple[int, int]]:
    """Return where each entry of an answer starts and ends."""
    start = 0
    while start + 16 <= len(data):
        length = int.from_bytes(data[start : start + 4], sys.byteorder)
        if length < 16 or start + length > len(data):  # noqa: PLR2004 - less than its header, or cut
            return
        yield start, start + length
        start += _padded(length)


def _dump(protocol: int, kind: int, request: bytes) -> Iterator[bytes]:
    """Ask the kernel for a table over netlink, and yield it in parts of whole entries.

    Raises:
        OSError: It would not tell.
    """
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol) as connection:
        connection.settimeout(_ANSWER_LIMIT_S)
        size = 16 + len(request)
        connection.send(struct.pack("=IHHII", size, kind, _DUMP, _SEQUENCE, 0) + request)
        done = struct.pack("=IHHI", _DONE_SIZE, _DONE, _MULTI, _SEQUENCE)
        while True:
            data = connection.recv(1 << 18)
            if len(data) < _DONE_SIZE:
                raise OSError(errno.EPROTO, os.strerror(errno.EPROTO))
            if int.from_bytes(data[4:6], sys.byteorder) == _ERROR:
                number = -int.from_bytes(data[16:20], sys.byteorder, signed=True)
                raise OSError(number, os.strerror(number))
            # The end comes alone or, from some kernels, behind the last entries.
            is_end = data[-_DONE_SIZE:].startswith(done)
            yield data[:-_DONE_SIZE] if is_end else data
            if is_end:
                return


def _rows_of(pid: int) -> list[_Row] | NotVisible:
    """Return every TCP socket of the network namespace that a process lives in."""
    rows: list[_Row] = []
    for name, family in (("tcp", socket.AF_INET), ("tcp6", socket.AF_INET6)):
        try:
            with open(f"/proc/{pid}/net/{name}", "rb") as file:  # noqa: PTH123 - no Path needed
                text = file.read()
        except FileNotFoundError:
            if name == "tcp":
                return NotVisible("gone", f"process {pid} has ended")
            continue  # a kernel without IPv6
        except OSError as error:
            return not_visible(error, f"process {pid}")
        for local, local_port, remote, remote_port, state, uid, inode in _LINE.findall(text):
            row = _Row(
                size=0,
                family=family,
                state=int(state, 16),
                local_port_be=socket.htons(int(local_port, 16)),
                remote_port_be=socket.htons(int(remote_port, 16)),
                local=local,
                remote=remote,
                uid=int(uid),
                inode=int(inode),
                attributes=b"",
            )
            rows.append(row)
    return rows


def _packed(text: bytes) -> bytes:
    """Return an address of /proc/net: words of four bytes in the machine's own byte order."""
    raw = bytes.fromhex(text.decode("ascii"))
    if sys.byteorder == "big":
        return raw
    return b"".join(raw[start : start + 4][::-1] for start in range(0, len(raw), 4))


def _network(pid: int) -> str | None:
    try:
        return os.readlink(f"/proc/{pid}/ns/net")  # noqa: PTH115
    except OSError:
        return None


def _first_line(path: str) -> str:
    try:
        with open(path, encoding="ascii") as file:  # noqa: PTH123
            return file.readline().strip()
    except (OSError, UnicodeDecodeError):
        return ""


# --- Linux: picking and owners ------------------------------------------------------------------


def _pick(
    rows: list[_Row], owners: _Owners, ports: Collection[int]
) -> tuple[list[_Row], frozenset[int]]:
    """Return the rows that matter, and the ports that make them matter."""
    # A port that no socket can have matches none, whatever it is modulo 65536.
    at_be = {socket.htons(port) for port in ports if 0 <= port <= _LAST_PORT}
    at_be |= {row.local_port_be for row in rows if row.inode in owners and row.state == _LISTEN}
    chosen = [
        row
        for row in rows
        if row.local_port_be in at_be or (row.remote_port_be in at_be and row.state != _LISTEN)
    ]
    return chosen, frozenset(map(socket.ntohs, at_be))


def _owners(held: dict[int, frozenset[int]]) -> _Owners:
    owners: dict[int, tuple[int, ...]] = {}
    for pid, inodes in held.items():
        for inode in inodes:
            owners[inode] = (*owners.get(inode, ()), pid)
    return owners


def _search(
    missing: dict[int, _Row], others: Iterable[int] | None, known: Collection[int], budget_s: float
) -> tuple[_Owners, list[NotVisible]]:
    """Look through other processes for the owners of sockets, as long as the time lasts."""
    deadline = time.monotonic() + budget_s
    left = set(missing)
    uids = {row.uid for row in missing.values()}
    owners: _Owners = {}
    denied = 0
    is_late = False
    for pid in _likely_first(others, uids):
        if pid in known:
            continue
        if not left:
            break
        if time.monotonic() > deadline:
            is_late = True
            break
        inodes = socket_inodes(pid)
        if isinstance(inodes, NotVisible):
            denied += inodes.kind == "permission"
            continue
        for inode in inodes & missing.keys():
            owners[inode] = (*owners.get(inode, ()), pid)
        left -= inodes
    ports = sorted({missing[inode].local_port for inode in left})
    if not ports:
        return owners, []
    shown = ", ".join(map(str, ports[:5])) + (" …" if len(ports) > 5 else "")  # noqa: PLR2004
    what = f"the owner of port {shown} is not visible"
    if is_late:
        reason = f"{what}: the search was stopped after {budget_s:g} s"
        return owners, [NotVisible("limit", reason)]
    if denied:
        reason = f"{what}: {denied} processes of other users could not be read"
        return owners, [NotVisible("permission", reason, _SUDO)]
    reason = f"{what}: no process of this pid namespace holds it, so it may be a container's"
    return owners, [NotVisible("unsupported", reason, "run the doctor on the host itself")]


def _likely_first(others: Iterable[int] | None, uids: set[int]) -> list[int]:
    """Return pids, those of the users who opened the sockets first, then by age."""
    if others is None:
        others = [int(name) for name in os.listdir("/proc") if name.isdecimal()]  # noqa: PTH208
    ranked: list[tuple[bool, int]] = []
    for pid in others:
        with contextlib.suppress(OSError):
            ranked.append((os.stat(f"/proc/{pid}").st_uid not in uids, -pid))  # noqa: PTH116
    return [-pid for _, pid in sorted(ranked)]


def _in_words(
    rows: list[_Row], owners: _Owners, namespace: Literal["own", "other"]
) -> tuple[list[Listener], list[Connection]]:
    listeners: list[Listener] = []
    connections: list[Connection] = []
    for row in rows:
        family: Literal["ipv4", "ipv6"] = "ipv4" if row.family == socket.AF_INET else "ipv6"
        local = socket.inet_ntop(row.family, row.packed(row.local))
        pids = owners.get(row.inode, ()) if row.inode else ()
        if row.state == _LISTEN:
            listener = Listener(
                family=family,
                address=local,
                port=row.local_port,
                is_dual_stack=_is_dual_stack(row),
                pids=pids,
                uid=row.uid,
                namespace=namespace,
            )
            listeners.append(listener)
            continue
        connection = Connection(
            family=family,
            local_address=local.removeprefix("::ffff:"),
            local_port=row.local_port,
            remote_address=socket.inet_ntop(row.family, row.packed(row.remote)).removeprefix(
                "::ffff:"
            ),
            remote_port=row.remote_port,
            state=_STATES[row.state] if row.state < len(_STATES) else _STATES[0],
            pids=pids,
            uid=row.uid,
            namespace=namespace,
        )
        connections.append(connection)
    return listeners, connections


def _is_dual_stack(row: _Row) -> bool | None:
    if row.family == socket.AF_INET or any(
        row.packed(row.local)
    ):  # bound to one address, of one family
        return False
    is_v6_only = _attributes(row.attributes).get(_DIAG_V6_ONLY)
    return None if is_v6_only is None else is_v6_only[:1] == b"\0"


# --- everywhere else ----------------------------------------------------------------------------


def _listening_by_psutil(
    pids: Collection[int], ports: Collection[int], others: Iterable[int] | None, budget_s: float
) -> SocketTable:
    import psutil

    unseen: list[NotVisible] = []
    unseen_pids: dict[int, NotVisible] = {}
    pairs: list[tuple[int | None, Any]]
    ports_taken: frozenset[int] | None
    try:
        pairs = [(one.pid, one) for one in psutil.net_connections("tcp")]
    except psutil.AccessDenied:  # macOS, where only root may list the sockets of all
        ports_taken = None
        pairs, denied = _by_process(pids, others, budget_s, unseen_pids)
        if denied:
            reason = f"the sockets of {denied} processes of other users could not be read"
            unseen.append(NotVisible("permission", reason, _SUDO))
    else:
        ports_taken = frozenset(one.laddr.port for _, one in pairs if one.status == "LISTEN")
    at = set(ports)
    at |= {one.laddr.port for pid, one in pairs if pid in pids and one.status == "LISTEN"}
    listeners: list[Listener] = []
    connections: list[Connection] = []
    for pid, one in pairs:
        family: Literal["ipv4", "ipv6"] = "ipv4" if one.family == socket.AF_INET else "ipv6"
        owner = () if pid is None else (pid,)
        if one.status == "LISTEN" and one.laddr.port in at:
            is_wild = one.laddr.ip in {"::", "*"}
            listener = Listener(
                family=family,
                address=one.laddr.ip,
                port=one.laddr.port,
                is_dual_stack=None if family == "ipv6" and is_wild else False,
                pids=owner,
            )
            listeners.append(listener)
        elif one.raddr and {one.laddr.port, one.raddr.port} & at:
            connection = Connection(
                family=family,
                local_address=one.laddr.ip.removeprefix("::ffff:"),
                local_port=one.laddr.port,
                remote_address=one.raddr.ip.removeprefix("::ffff:"),
                remote_port=one.raddr.port,
                state=one.status.lower().replace("_", "-").replace("wait1", "wait-1"),
                pids=owner,
            )
            connections.append(connection)
    return SocketTable(
        listeners=tuple(listeners),
        connections=tuple(connections),
        ports_taken=ports_taken,
        unseen=tuple(unseen),
        unseen_pids=unseen_pids,
    )


def _by_process(
    pids: Collection[int],
    others: Iterable[int] | None,
    budget_s: float,
    unseen_pids: dict[int, NotVisible],
) -> tuple[list[tuple[int | None, Any]], int]:
    """Return the sockets of each process that may be looked into, and how many may not."""
    import psutil

    deadline = time.monotonic() + budget_s
    pairs: list[tuple[int | None, Any]] = []
    denied = 0
    for pid in dict.fromkeys([*pids, *(psutil.pids() if others is None else others)]):
        if pid not in pids and time.monotonic() > deadline:
            break
        try:
            pairs += [(pid, one) for one in psutil.Process(pid).net_connections("tcp")]
        except psutil.AccessDenied:
            denied += 1
            if pid in pids:
                unseen_pids[pid] = not_visible(PermissionError(), f"process {pid}")
        except psutil.Error:
            if pid in pids:
                unseen_pids[pid] = not_visible(ProcessLookupError(), f"process {pid}")
    return pairs, denied
