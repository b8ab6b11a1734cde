"""The nouns of a set-up: hosts, servers, clients, listeners, routes, and where each was seen.

All are immutable, survive a JSON round trip without loss, and hold no secret:
what could be one is turned into its kind and length by `doctor.deployment.values`
before it gets here.
"""

from collections.abc import Iterable
from typing import Final, Literal

import msgspec

from doctor.deployment.launch import LaunchCommand
from doctor.deployment.values import Environment

Status = Literal["pass", "warn", "fail", "skip", "unknown", "error"]

WORST_FIRST: Final[tuple[Status, ...]] = ("error", "fail", "warn", "unknown", "pass", "skip")
"""Statuses by how much they matter: what could not be seen outweighs what is fine."""


def worst(statuses: Iterable[Status]) -> Status:
    """Return the status that matters most; ``skip`` where there is none."""
    return min(statuses, key=WORST_FIRST.index, default="skip")


class Origin(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where a fact was seen.

    Attributes:
        kind: What sort of place.
        pid: The process, where it is one.
        path: The file, where it is one; line and column count from 1.
        name: What people call the place: a variable, a container, an argument.
    """

    kind: Literal["process", "file", "container", "environment", "target"]
    pid: int | None = None
    path: str | None = None
    line: int | None = None
    column: int | None = None
    name: str | None = None

    def __str__(self) -> str:
        if self.kind == "process":
            return f"process {self.pid}"
        if self.kind == "file":
            place = ":".join(str(part) for part in (self.path, self.line, self.column) if part)
            return place or "file"
        return f"{self.kind} {self.name}" if self.name else self.kind


class Unseen(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Something that could not be seen: never the same as something that is not there.

    Attributes:
        what: The kind of fact: ``environment``, ``sockets``, ``socket-owner``, ``processes``,
            ``executable``, ``directory``, ``sdk``, ``source`` …
        subject: Whose, for a reader: ``process 4123``.
        reason: Why not.
        remedy: What would make it visible.
    """

    what: str
    subject: str
    reason: str
    remedy: str = ""
    origin: Origin | None = None


class Process(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A process, as far as a reader needs it to recognise it.

    Attributes:
        name: The system's name for it: for the CLI this is ``MainThread`` or ``node`` (observed).
        command: Its command line, cleaned and cut.
        user: Who runs it, where that can be seen.
        started_at: UTC, ISO 8601, whole seconds.
    """

    pid: int
    name: str = ""
    command: tuple[str, ...] = ()
    user: str | None = None
    started_at: str | None = None
    is_visible: bool = True


class Listener(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An open TCP socket that accepts connections.

    Attributes:
        address: As bound: ``127.0.0.1``, ``0.0.0.0``, ``::``, …
        is_dual_stack: Whether an IPv6 wildcard takes IPv4 connections too; None: not known.
        owner: The process that holds it, None where that cannot be seen.
        namespace: ``other``: in a network namespace (a container's) that is not the doctor's.
    """

    address: str
    port: int
    family: Literal["ipv4", "ipv6"] = "ipv4"
    is_dual_stack: bool | None = None
    owner: Process | None = None
    namespace: Literal["own", "other"] = "own"

    @property
    def scope(self) -> Literal["loopback", "every", "one"]:
        """Whom it can hear: this host, every interface, or one address."""
        if self.address in {"0.0.0.0", "::", "*", ""}:  # noqa: S104 - compared, not bound
            return "every"
        bare = self.address.removeprefix("::ffff:").split("%")[0]
        return "loopback" if bare == "::1" or bare.startswith("127.") else "one"

    @property
    def reachable_address(self) -> str:
        """An address of this host that it answers on: a wildcard is none."""
        if self.scope != "every":
            return self.address
        # Where it is not known whether a socket takes IPv4 too, its own family is the sure way.
        return "127.0.0.1" if self.family == "ipv4" or self.is_dual_stack else "::1"

    def hears(self, address: str) -> bool:
        """Whether it takes a connection to an address, where that is one of its own host."""
        if self.scope != "every":
            return address == self.address.removeprefix("::ffff:")
        if ":" in address:
            return self.family == "ipv6"
        return self.family == "ipv4" or self.is_dual_stack is not False


class Holder(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A socket that keeps a wanted port from being used.

    Attributes:
        state: ``listen``; ``established`` and others for a client's own end; ``time-wait``.
        remote: The other end, for a connection.
    """

    port: int
    address: str
    state: str
    remote: str | None = None
    owner: Process | None = None


class Directory(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A folder that a server writes to.

    Attributes:
        path: As the server sees it.
        role: ``home`` (``COPILOT_HOME``) or ``logs``.
        state: ``missing`` is harmless where the parent can be written: the CLI makes it.
        is_writable: By the server's user; None where that could not be told.
        mode: Permission bits, octal, as text.
    """

    path: str
    role: Literal["home", "logs"]
    state: Literal["directory", "file", "missing", "unknown"] = "unknown"
    is_writable: bool | None = None
    owner: str | None = None
    mode: str | None = None
    reason: str = ""


class LogFile(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A server's log file: its place and mode, never its content."""

    path: str
    mode: str
    size_bytes: int
    others_can_read: bool


class Sdk(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A Copilot SDK that a process or a project uses.

    Attributes:
        language: ``python``, ``javascript``, ``go``, ``dotnet``, ``rust``, ``java``.
        version: None where only a range is known.
        exactness: ``installed`` (the package's own metadata), ``locked`` (a lock file),
            ``declared`` (a range in a manifest).
    """

    language: str
    package: str
    version: str | None
    exactness: Literal["installed", "locked", "declared"]
    declared: str = ""
    origin: Origin | None = None


class Hop(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One step from a client to an answer.

    Attributes:
        code: A stable word for the outcome: ``ok``, ``refused``, ``token-required``, …
        detail: What was measured, in one sentence.
        expected: What should have been measured.
        blocked_by: The hop that kept this one from being tried.
    """

    name: str
    status: Status
    code: str = ""
    detail: str = ""
    expected: str = ""
    elapsed_ms: float = 0.0
    blocked_by: str | None = None


class Handshake(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a peer said of itself on the wire.

    Attributes:
        peer: ``copilot``, or what else is there: ``http``, ``tls``, ``ssh``, ``acp``, ``silent`` …
        has_connect: False: the server lacks the method ``connect`` (up to 1.0.32)
            and takes no token.
        token: What became of the connection token.
        went_mute: The connection answered nothing more after a token that was not wanted.
        models: None: not asked or refused, with `models_error`.
    """

    peer: str
    peer_detail: str = ""
    address: str = ""
    port: int = 0
    version: str | None = None
    protocol_version: int | None = None
    has_connect: bool | None = None
    sent_token: bool = False
    token: Literal[
        "unknown", "not-required", "accepted", "required", "rejected", "not-configured", "ignored"
    ] = "unknown"
    went_mute: bool = False
    signed_in: bool | None = None
    auth_type: str | None = None
    login: str | None = None
    auth_host: str | None = None
    status_message: str | None = None
    models: tuple[str, ...] | None = None
    models_error: str | None = None


class Target(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An address that a client is told to use.

    Attributes:
        text: As given.
        problem: Why it is no address, where it is none.
    """

    text: str
    host: str = ""
    port: int | None = None
    scheme: str = ""
    problem: str = ""
    origin: Origin


class Lookup(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One question to one place that knows names.

    Attributes:
        source: ``literal``, ``hosts file``, ``system``, or a name server's address.
        name: The full name that was asked for.
        kind: ``A``, ``AAAA`` or ``any``.
        answer: ``found``, ``nxdomain``, ``no-data``, ``servfail``, ``refused``, ``timeout``,
            ``truncated``, ``error``.
    """

    source: str
    name: str
    kind: str
    answer: str
    addresses: tuple[str, ...] = ()
    elapsed_ms: float = 0.0
    detail: str = ""


class Resolution(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How a host name became addresses, or did not.

    Attributes:
        addresses: What the operating system gives a client, in its order.
        lookups: Every question that was asked and its answer.
        nearby: Names like it that do resolve here.
    """

    name: str
    addresses: tuple[str, ...] = ()
    lookups: tuple[Lookup, ...] = ()
    nearby: tuple[str, ...] = ()
    name_servers: tuple[str, ...] = ()
    search: tuple[str, ...] = ()


class Route(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The way from a client to a server, hop by hop.

    Attributes:
        client: Who walks it: ``copilot-doctor`` or a `Client.id`.
        server: The `Server.id` at its end, where the doctor could tell which one it is.
    """

    client: str
    target: Target
    status: Status
    hops: tuple[Hop, ...] = ()
    server: str | None = None
    handshake: Handshake | None = None
    resolution: Resolution | None = None

    @property
    def broken_hop(self) -> Hop | None:
        """The first hop that failed."""
        return next((hop for hop in self.hops if hop.status == "fail"), None)

    def hop(self, name: str) -> Hop | None:
        """Return a hop by its name."""
        return next((hop for hop in self.hops if hop.name == name), None)


class Client(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Something that connects to a server.

    Attributes:
        server: The `Server.id` that it holds a connection to.
        sdk: The SDK it uses, where that could be read.
        passes_token: Whether it sends a connection token; None: not known.
    """

    id: str
    origin: Origin
    host: str = "this-machine"
    process: Process | None = None
    target: str = ""
    server: str | None = None
    sdk: Sdk | None = None
    environment: Environment = Environment(visible=False, reason="not read")
    passes_token: bool | None = None
    permission_handling: str | None = None


class Server(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One Copilot server, running or declared; wrapper and native child are one.

    Attributes:
        command: Its launch command; None where it could not be read.
        process: The process that listens; signals must go to this one.
        wrapper: The npm loader above it, None where it was started directly.
        ancestors: Upward from the topmost Copilot process: shell, supervisor, init.
        is_orphan: Its wrapper is gone and the system's init has adopted it; None: not known.
        is_container_init: It, or its wrapper, is PID 1 of a container.
        version: Of the running program: by handshake where one succeeded.
        disk_version: Of the package it was started from, as it is on disk now.
        environment: Its own, which may differ from the shell's.
        directories: Where it writes.
    """

    id: str
    origin: Origin
    host: str = "this-machine"
    command: LaunchCommand | None = None
    process: Process | None = None
    wrapper: Process | None = None
    ancestors: tuple[Process, ...] = ()
    is_orphan: bool | None = None
    is_container_init: bool = False
    executable: str | None = None
    version: str | None = None
    disk_version: str | None = None
    environment: Environment = Environment(visible=False, reason="not read")
    listeners: tuple[Listener, ...] = ()
    listeners_visible: bool = True
    directories: tuple[Directory, ...] = ()
    log_file: LogFile | None = None
    has_stored_login: bool | None = None

    @property
    def is_running(self) -> bool:
        """Whether it was seen as a process, not in a file."""
        return self.origin.kind in {"process", "container"}

    @property
    def port(self) -> int | None:
        """The port it listens on, else the one that its command asks for."""
        if self.listeners:
            return self.listeners[0].port
        return self.command.port if self.command else None

    @property
    def mode(self) -> str:
        """What it was started as (`LaunchCommand.mode`)."""
        return self.command.mode if self.command else "unknown"

    @property
    def label(self) -> str:
        """How a report names it."""
        sort = {
            "acp": "ACP server",
            "acp-stdio": "ACP server on stdio",
            "stdio": "server on stdio",
            "interactive": "interactive session",
            "prompt": "prompt run",
            "subcommand": "subcommand",
        }.get(self.mode, "server")
        what = f"Copilot {sort} {self.version or ''}".rstrip()
        where = f" on port {self.port}" if self.port else ""
        who = f" (pid {self.process.pid})" if self.process else f" ({self.origin})"
        return what + where + who


class Host(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A network place of its own.

    Attributes:
        kind: ``machine`` or ``container`` (also a pod's); files declare ``service`` and ``pod``.
        engine: Of the container: ``docker``, ``podman``, ``kubernetes``, ``containerd`` …
        is_here: The doctor runs in this place.
        addresses: Of its interfaces, loopback left out.
        ports_taken: Every TCP port somebody listens on; None where that could not be seen.
        ephemeral_ports: The range that clients get their own ports from.
        first_unprivileged_port: Below it a port needs a privilege.
        can_bind_low_ports: Whether the doctor's user may use such a port.
    """

    id: str = "this-machine"
    kind: Literal["machine", "container", "service", "pod"] = "machine"
    names: tuple[str, ...] = ()
    platform: str = ""
    engine: str | None = None
    is_here: bool = True
    addresses: tuple[str, ...] = ()
    ports_taken: tuple[int, ...] | None = None
    ephemeral_ports: tuple[int, int] | None = None
    first_unprivileged_port: int | None = None
    can_bind_low_ports: bool | None = None
    user: str | None = None


class WantedPort(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A port that somebody wants to start a server on.

    Attributes:
        port: As asked for; it may lie outside of 0 to 65535.
        holders: Who keeps it from being used.
        is_visible: False where the sockets of this machine could not be listed.
    """

    port: int
    origin: Origin
    holders: tuple[Holder, ...] = ()
    is_visible: bool = True
    reason: str = ""


class Deployment(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One picture of a set-up: what the checks judge.

    Attributes:
        shell: The environment that the doctor itself was started with.
        directories: Where a server started from that shell would write.
        sdks: What the project in the working directory uses.
        unseen: What could not be seen, and why.
    """

    hosts: tuple[Host, ...] = ()
    servers: tuple[Server, ...] = ()
    clients: tuple[Client, ...] = ()
    targets: tuple[Target, ...] = ()
    routes: tuple[Route, ...] = ()
    wanted_ports: tuple[WantedPort, ...] = ()
    shell: Environment = Environment(visible=False, reason="not read")
    directories: tuple[Directory, ...] = ()
    sdks: tuple[Sdk, ...] = ()
    unseen: tuple[Unseen, ...] = ()
    has_gh: bool | None = None

    @property
    def here(self) -> Host | None:
        """The place that the doctor runs in."""
        return next((host for host in self.hosts if host.is_here), None)

    @property
    def tcp_servers(self) -> tuple[Server, ...]:
        """The servers that SDK clients connect to over TCP."""
        return tuple(
            server
            for server in self.servers
            if server.command is None or server.command.is_tcp_server
        )

    def server(self, server_id: str | None) -> Server | None:
        """Return a server by its id."""
        return next((server for server in self.servers if server.id == server_id), None)

    def routes_to(self, server: Server) -> tuple[Route, ...]:
        """Return the routes that end at a server."""
        return tuple(route for route in self.routes if route.server == server.id)

    def clients_of(self, server: Server) -> tuple[Client, ...]:
        """Return the clients that are connected to a server."""
        return tuple(client for client in self.clients if client.server == server.id)

    def handshake(self, server: Server) -> Handshake | None:
        """Return what a server said of itself, the most telling route first."""
        found = [r.handshake for r in self.routes_to(server) if r.handshake is not None]
        return max(
            found,
            key=lambda shake: (shake.signed_in is not None, shake.peer == "copilot"),
            default=None,
        )
