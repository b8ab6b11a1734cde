"""How a host's name becomes addresses: each place that knows names, asked one by one.

``literal → hosts file → name servers (search domain by search domain) → what the system gives``.
The system's answer is what a client gets; the others say why it is that one, or none.
The order is the one of glibc with its usual ``hosts: files dns`` (`man nsswitch.conf`).

A name that is an address, is in the hosts file or is ``localhost`` costs no DNS;
`dns` (130 ms to import on a slow machine) loads while the system is already looking.
"""

from __future__ import annotations

import os
import re
import selectors
import socket
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from doctor.deployment import Lookup, Resolution
from doctor.deployment.targets import container_network, problem_of_host
from doctor.redaction import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    import dns.message

MOST_NAME_SERVERS: Final = 3
"""As many as glibc asks (``MAXNS``, `man resolv.conf`)."""

MOST_SEARCH_DOMAINS: Final = 6
MOST_NEARBY: Final = 12
MOST_ADDRESSES: Final = 16

# A name server's answer takes milliseconds; a cold one on the Internet up to half a second.
_PATIENCE_S: Final = 1.0
_SHORT_PATIENCE_S: Final = 0.3
_MOST_HOSTS_FILE_BYTES: Final = 4_000_000
# Room for 250 addresses. Without EDNS an answer over UDP has no more than 512 bytes;
# to take 64 kB apart costs a second.
_LONGEST_MESSAGE: Final = 4_096
_HEADER: Final = 12
_TRUNCATED: Final = 0x02
_LIKENESS: Final = 0.75
_WORDS: Final = ("copilot", "copilot-cli", "copilot-server", "cli")


class Places(NamedTuple):
    """Where names are looked up; None: as this system has it.

    Attributes:
        hosts: The hosts file.
        resolv_conf: The settings of the resolver; the empty path: there are none.
        dns_port: Of the name servers.
        system: The operating system's resolver: addresses, or `OSError`.
    """

    hosts: Path | None = None
    resolv_conf: Path | None = None
    dns_port: int = 53
    system: Callable[[str], Iterable[str]] | None = None


class ResolvConf(NamedTuple):
    """Settings of the resolver, with the defaults of glibc."""

    name_servers: tuple[str, ...] = ()
    search: tuple[str, ...] = ()
    ndots: int = 1


def resolve(name: str, *, timeout_s: float = 3.0, places: Places = Places()) -> Resolution:  # noqa: B008 - immutable
    """Look a host's name up everywhere a client would, and say who knew what.

    Never raises for a name, a file or a name server.

    Args:
        name: A name or an address.
        timeout_s: Limit for all of it.
        places: For tests.

    Returns:
        What was asked and answered. The addresses are the system's, in its order;
        where the system took longer than the time limit, the name servers' instead
        (then the `Lookup` with source ``system`` says ``timeout``).
    """
    deadline = time.monotonic() + timeout_s
    literal = _literal(name)
    if literal:
        lookup = Lookup(source="literal", name=name, kind="any", answer="found", addresses=literal)
        return Resolution(name=name, addresses=literal, lookups=(lookup,))
    if problem_of_host(name):
        lookup = Lookup(
            source="literal",
            name=printable(name),
            kind="any",
            answer="error",
            detail=problem_of_host(name),
        )
        return Resolution(name=printable(name), lookups=(lookup,))
    return _Search(name, deadline, timeout_s, places).run()


class _Search:
    """One name that has to be looked up."""

    def __init__(self, name: str, deadline: float, timeout_s: float, places: Places) -> None:
        self.name = name
        self.ascii = name if name.isascii() else name.encode("idna").decode()
        self.deadline = deadline
        self.patience_s = min(_PATIENCE_S, 0.4 * timeout_s)
        self.places = places
        self.lookups: list[Lookup] = []

    def run(self) -> Resolution:
        system = _System(self.ascii, self.places.system or _addresses)
        table = _Hosts.read(self.places.hosts or _hosts_path())
        self.lookups.append(table.lookup(self.name))
        conf = ResolvConf()
        path = self.places.resolv_conf or _resolv_conf_path()
        if path is not None and not _is_localhost(self.name):
            conf = read_resolv_conf(path)
            if self.lookups[0].answer != "found":
                self._ask_name_servers(conf, system)
        wait_until = self.deadline
        if any(lookup.answer == "timeout" for lookup in self.lookups):
            # The system waits 5 s for such a name server (glibc, observed): that says enough.
            wait_until = min(wait_until, time.monotonic() + _SHORT_PATIENCE_S)
        self.lookups.append(system.lookup(wait_until))
        return Resolution(
            name=self.name,
            addresses=self._addresses(),
            lookups=tuple(self.lookups),
            nearby=self._nearby(conf, table),
            name_servers=conf.name_servers,
            search=conf.search,
        )

    def _addresses(self) -> tuple[str, ...]:
        system = self.lookups[-1]
        if system.answer != "timeout":
            return system.addresses
        return tuple(dict.fromkeys(a for lookup in self.lookups for a in lookup.addresses))

    def _ask_name_servers(self, conf: ResolvConf, system: _System) -> None:
        """Ask for each full name that the name may stand for, until one is known."""
        silent: set[str] = set()
        for candidate in candidates(self.ascii, conf):
            servers = [server for server in conf.name_servers if server not in silent]
            patience_s = min(self.patience_s, self.deadline - time.monotonic())
            if system.found:  # whoever told it, it was not one that takes long
                patience_s = min(patience_s, _SHORT_PATIENCE_S)
            if not servers or patience_s <= 0:
                return
            questions = [(server, candidate, kind) for server in servers for kind in ("A", "AAAA")]
            answers = _ask(questions, self.places.dns_port, patience_s)
            self.lookups.extend(answers)
            if any(answer.answer == "found" for answer in answers):
                return
            silent |= {answer.source for answer in answers if answer.answer == "timeout"}

    def _nearby(self, conf: ResolvConf, table: _Hosts) -> tuple[str, ...]:
        """Names like this one that do resolve here.

        Name servers are asked for guesses only in a container network:
        elsewhere the guesses would leave the machine.
        """
        if self._addresses():
            return ()
        near = _near(self.name, table.names)
        settings = Resolution(name=self.name, name_servers=conf.name_servers, search=conf.search)
        alive = _alive(self.lookups)
        patience_s = min(_SHORT_PATIENCE_S, self.deadline - time.monotonic())
        if container_network(settings) and alive and patience_s > 0:
            first = conf.search[:1] if container_network(settings) == "kubernetes" else ()
            guesses = [guess for guess in variants(self.ascii) if guess not in near]
            full = {(f"{guess}.{first[0]}" if first else guess): guess for guess in guesses}
            questions = [(alive, name, "A") for name in list(full)[:MOST_NEARBY]]
            answers = _ask(questions, self.places.dns_port, patience_s)
            near += [full[answer.name] for answer in answers if answer.answer == "found"]
        return tuple(dict.fromkeys(near))[:MOST_NEARBY]


def _alive(lookups: Sequence[Lookup]) -> str:
    """Return the name server that answers, empty for none."""
    answered = {"found", "nxdomain", "no-data"}
    worse = {"servfail"}  # Docker's says so for a name that it does not know, where it is offline
    for accepted in (answered, worse):
        for lookup in lookups:
            if lookup.kind != "any" and lookup.answer in accepted:
                return lookup.source
    return ""


# The system


class _System:
    """The operating system's resolver, asked in a thread: it can hang for as long as it likes."""

    def __init__(self, name: str, ask: Callable[[str], Iterable[str]]) -> None:
        self._name = name
        self._started = time.monotonic()
        self._done = threading.Event()
        self._result: Lookup | None = None
        threading.Thread(target=self._run, args=(ask,), name="resolver", daemon=True).start()

    @property
    def found(self) -> bool:
        """Whether it has answered with an address by now."""
        return self._result is not None and self._result.answer == "found"

    def lookup(self, deadline: float) -> Lookup:
        """Return what it gave, or ``timeout``."""
        self._done.wait(max(0.0, deadline - time.monotonic()))
        if self._result is not None:
            return self._result
        waited_s = time.monotonic() - self._started
        return self._lookup("timeout", detail=f"no answer within {waited_s:.1f} s")

    def _run(self, ask: Callable[[str], Iterable[str]]) -> None:
        try:
            found = tuple(dict.fromkeys(ask(self._name)))[:MOST_ADDRESSES]
            self._result = self._lookup("found" if found else "no-data", found)
        except socket.gaierror as error:
            answer = {socket.EAI_NONAME: "nxdomain", getattr(socket, "EAI_NODATA", None): "no-data"}
            self._result = self._lookup(answer.get(error.errno, "error"), detail=str(error))
        except (OSError, ValueError) as error:
            self._result = self._lookup("error", detail=printable(str(error)))
        finally:
            self._done.set()

    def _lookup(self, answer: str, addresses: tuple[str, ...] = (), detail: str = "") -> Lookup:
        return Lookup(
            source="system",
            name=self._name,
            kind="any",
            answer=answer,
            addresses=addresses,
            elapsed_ms=_ms_since(self._started),
            detail=detail,
        )


def _addresses(name: str) -> list[str]:
    # Bytes spare the codec for international names, which takes 4 ms to import.
    # The same question as the SDK's (`socket.create_connection`).
    found = socket.getaddrinfo(name.encode(), 0, type=socket.SOCK_STREAM)
    return [str(sockaddr[0]) for *_, sockaddr in found]


def _literal(name: str) -> tuple[str, ...]:
    try:
        found = socket.getaddrinfo(
            name.encode("ascii", "replace"),
            0,
            type=socket.SOCK_STREAM,
            flags=socket.AI_NUMERICHOST,
        )
    except (OSError, ValueError):
        return ()
    return tuple(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))


def _is_localhost(name: str) -> bool:
    """Whether a name is this machine by definition (RFC 6761, 6.3)."""
    bare = name.lower().removesuffix(".")
    return bare == "localhost" or bare.endswith(".localhost")


# The hosts file


class _Hosts:
    """The names of a hosts file, in small letters, with their addresses."""

    def __init__(self, path: str, names: dict[str, list[str]], problem: str) -> None:
        self.path = path
        self.names = names
        self.problem = problem

    @classmethod
    def read(cls, path: Path) -> _Hosts:
        names: dict[str, list[str]] = {}
        problem = ""
        try:
            with path.open("rb") as file:
                text = file.read(_MOST_HOSTS_FILE_BYTES).decode("utf-8", "replace")
        except OSError as error:
            text, problem = "", f"{path}: {error.strerror}"
        for line in text.splitlines():
            address, *aliases = line.partition("#")[0].split() or [""]
            for alias in aliases:
                names.setdefault(alias.lower(), []).append(address)
        return cls(str(path), names, problem)

    def lookup(self, name: str) -> Lookup:
        found = tuple(dict.fromkeys(self.names.get(name.lower().removesuffix("."), ())))
        answer = "found" if found else "error" if self.problem else "nxdomain"
        return Lookup(
            source="hosts file",
            name=name,
            kind="any",
            answer=answer,
            addresses=tuple(printable(address, 64) for address in found[:MOST_ADDRESSES]),
            detail=self.problem or ("" if found else f"not in {self.path}"),
        )


def _hosts_path() -> Path:
    if sys.platform == "win32":
        root = os.environ.get("SYSTEMROOT", r"C:\Windows")
        return Path(root, "System32", "drivers", "etc", "hosts")
    return Path("/etc/hosts")


# The resolver's settings


def _resolv_conf_path() -> Path | None:
    # macOS has the file and does not use it (its own first line says so); Windows has none.
    return None if sys.platform in {"win32", "darwin"} else Path("/etc/resolv.conf")


def read_resolv_conf(path: Path) -> ResolvConf:
    """Read name servers, search domains and ``ndots`` as glibc does (`man resolv.conf`)."""
    servers: list[str] = []
    search: tuple[str, ...] = ()
    ndots = 1
    try:
        text = path.read_text("utf-8", "replace")
    except OSError:
        text = ""
    for line in text.splitlines():
        keyword, *values = re.sub(r"^[#;].*|\s[#;].*", "", line).split() or [""]
        if keyword == "nameserver" and values and _literal(values[0]):
            servers.append(values[0])
        elif keyword in {"search", "domain"} and values:
            # Of several such lines the last one counts.
            search = tuple(printable(value.strip("."), 253) for value in values)
        elif keyword == "options":
            for value in values:
                number = value.removeprefix("ndots:")
                if number != value and number.isdecimal():
                    ndots = min(int(number), 15)
    return ResolvConf(
        name_servers=tuple(servers[:MOST_NAME_SERVERS]) or ("127.0.0.1",),
        search=tuple(domain for domain in search if domain)[:MOST_SEARCH_DOMAINS],
        ndots=ndots,
    )


def candidates(name: str, conf: ResolvConf) -> list[str]:
    """Return the full names that a name may stand for, in the order in which they are tried.

    A name with fewer dots than ``ndots`` is tried with the search domains first,
    another one as it is first; a dot at the end means as it is and no more.
    """
    if name.endswith("."):
        return [name.rstrip(".")]
    searched = [f"{name}.{domain}" for domain in conf.search]
    return [name, *searched] if name.count(".") >= conf.ndots else [*searched, name]


# Nearby names


def variants(name: str) -> list[str]:
    """Return names that may have been meant, best first, at most `MOST_NEARBY`."""
    name = name.lower().rstrip(".")
    first = name.split(".")[0]
    found = [first] if first != name else []
    found += [first.replace("_", "-"), first.replace("-", "_")]
    found.append(first[:-1] if first.endswith("s") else f"{first}s")
    # Compose names containers PROJECT-SERVICE-NUMBER (v1: with underscores).
    parts = re.split(r"[-_]", first)
    if len(parts) > 1 and parts[-1].isdecimal():
        parts = parts[:-1]
        found.append("-".join(parts))
    if len(parts) > 1:
        found += ["-".join(parts[1:]), parts[0]]
    found += _WORDS
    return [guess for guess in dict.fromkeys(found) if guess and guess != name][:MOST_NEARBY]


def _near(name: str, names: Iterable[str]) -> list[str]:
    """Return the names that differ from one by a slip of the hand."""
    from difflib import get_close_matches

    def plain(text: str) -> str:
        return re.sub(r"[-_.]", "", text.lower())

    by_plain: dict[str, str] = {}
    for other in names:
        by_plain.setdefault(plain(other), other)
    close = get_close_matches(plain(name), by_plain, n=MOST_NEARBY, cutoff=_LIKENESS)
    return [by_plain[found] for found in close]


# DNS

Question = tuple[str, str, str]
"""Name server, full name, ``A`` or ``AAAA``."""

_Address = tuple[socket.AddressFamily, Any]


def _ask(questions: Sequence[Question], port: int, patience_s: float) -> list[Lookup]:
    """Ask all questions at once; one lookup each, in their order."""
    import dns.message  # noqa: F401 - its time is not the name servers'

    deadline = time.monotonic() + patience_s
    asked = [_Question(question, port, deadline) for question in questions]
    try:
        with selectors.DefaultSelector() as selector:
            for question in asked:
                question.send()
                if question.sock is not None and question.result is None:
                    selector.register(question.sock, selectors.EVENT_READ, question)
            _collect(asked, selector, deadline)
    finally:
        for question in asked:
            question.close()
    return [question.outcome() for question in asked]


def _collect(asked: Sequence[_Question], selector: selectors.BaseSelector, deadline: float) -> None:
    halftime: float | None = (time.monotonic() + deadline) / 2
    while any(question.result is None for question in asked):
        now = time.monotonic()
        if now >= deadline:
            return
        if halftime is not None and now >= halftime:
            # A packet can get lost; glibc would ask again only after 5 s.
            halftime = None
            for question in asked:
                question.send()
        for key, _ in selector.select((halftime or deadline) - now):
            question = key.data
            question.receive()
            if question.result is not None:
                selector.unregister(key.fileobj)


class _Question:
    """One question to one name server, over UDP, and over TCP where the answer is too long."""

    def __init__(self, question: Question, port: int, deadline: float) -> None:
        self.server, self.name, self.kind = question
        self.deadline = deadline
        self.started = time.monotonic()
        self.result: Lookup | None = None
        self.sock: socket.socket | None = None
        self._address: _Address | None = None
        self._strange = ""
        self._message: dns.message.Message | None = None
        self._open(port)

    def _open(self, port: int) -> None:
        import dns.exception
        import dns.message

        try:
            self._message = dns.message.make_query(self.name, self.kind)
            family, _, _, _, address = socket.getaddrinfo(
                self.server, port, type=socket.SOCK_DGRAM, flags=socket.AI_NUMERICHOST
            )[0]
            self._address = (family, address)
            self.sock = socket.socket(family, socket.SOCK_DGRAM)
            self.sock.setblocking(False)
            # Connected, it takes nobody else's packets, and hears when nothing listens there.
            self.sock.connect(address)
        except OSError as error:
            self._settle("error", detail=_words(error))
        except dns.exception.DNSException as error:
            self._settle("error", detail=f"no name for DNS: {type(error).__name__}")

    def send(self) -> None:
        """Ask, or ask again."""
        if self.result is not None or self.sock is None or self._message is None:
            return
        try:
            self.sock.send(self._message.to_wire())
        except BlockingIOError:
            return
        except OSError as error:
            self._settle("error", detail=_words(error))

    def receive(self) -> None:
        """Take one packet; what is no answer to this question is left aside."""
        if self.sock is None:
            return
        try:
            packet = self.sock.recv(_LONGEST_MESSAGE + 1)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._settle("error", detail=_words(error))
            return
        self._read(packet)

    def outcome(self) -> Lookup:
        """Return what became of it."""
        if self.result is None:
            self._settle("timeout", detail=self._strange or "no answer")
        return self.result  # type: ignore[return-value]

    def close(self) -> None:
        if self.sock is not None:
            self.sock.close()

    def _read(self, packet: bytes) -> None:
        if len(packet) < _HEADER or self._message is None:
            self._strange = "what it sends is no DNS"
            return
        if int.from_bytes(packet[:2], "big") != self._message.id:
            self._strange = "its answer belongs to another question"
            return
        if packet[2] & _TRUNCATED:
            longer = self._ask_over_tcp()
            if longer is None:
                self._settle("truncated", detail="the answer is too long for UDP, TCP gave none")
                return
            packet = longer
        if len(packet) > _LONGEST_MESSAGE:
            self._settle("error", detail=f"its answer has more than {_LONGEST_MESSAGE} bytes")
            return
        self._judge(packet)

    def _judge(self, packet: bytes) -> None:
        import dns.exception
        import dns.message
        import dns.rcode

        try:
            reply = dns.message.from_wire(packet, ignore_trailing=True)
            if self._message is None or not self._message.is_response(reply):
                self._strange = "its answer belongs to another question"
                return
            code = reply.rcode()
            if code != dns.rcode.NOERROR:
                text = dns.rcode.to_text(code)
                known = text.lower() if text in {"NXDOMAIN", "SERVFAIL", "REFUSED"} else "error"
                self._settle(known, detail="" if known != "error" else text)
                return
            chain = reply.resolve_chaining()  # type: ignore[attr-defined]
        except Exception as error:  # noqa: BLE001 - any byte can come from there
            self._strange = f"its answer is malformed: {type(error).__name__}"
            if isinstance(error, dns.message.ChainTooLong):
                self._settle("error", detail="its aliases (CNAME) go in a circle")
            return
        addresses = [item.address for item in chain.answer] if chain.answer else []
        name = str(chain.canonical_name).rstrip(".")
        alias = f"alias of {name}" if name.lower() != self.name.lower().rstrip(".") else ""
        self._settle("found" if addresses else "no-data", addresses, alias)

    def _ask_over_tcp(self) -> bytes | None:
        """Return the whole answer; half of the time that is left must do."""
        if self._address is None or self._message is None:
            return None
        family, address = self._address
        until = (time.monotonic() + self.deadline) / 2
        try:
            with socket.socket(family, socket.SOCK_STREAM) as sock:
                sock.settimeout(max(0.001, until - time.monotonic()))
                sock.connect(address)
                wire = self._message.to_wire()
                sock.sendall(len(wire).to_bytes(2, "big") + wire)
                size = int.from_bytes(_exactly(sock, 2, until), "big")
                return _exactly(sock, min(size, _LONGEST_MESSAGE + 1), until)
        except OSError:
            return None

    def _settle(self, answer: str, addresses: Sequence[str] = (), detail: str = "") -> None:
        self.result = Lookup(
            source=self.server,
            name=self.name,
            kind=self.kind,
            answer=answer,
            addresses=tuple(addresses)[:MOST_ADDRESSES],
            elapsed_ms=_ms_since(self.started),
            detail=printable(detail, 200),
        )


def _exactly(sock: socket.socket, size: int, until: float) -> bytes:
    data = b""
    while len(data) < size:
        sock.settimeout(max(0.001, until - time.monotonic()))
        more = sock.recv(size - len(data))
        if not more or time.monotonic() > until:
            msg = "the answer ended early"
            raise TimeoutError(msg)
        data += more
    return data


def _words(error: OSError) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "no name server listens there"
    return error.strerror or type(error).__name__


def _ms_since(started: float) -> float:
    return round((time.monotonic() - started) * 1000, 2)
