"""What really listens where the client connects to.

Symptom in the user's words: "CLI process exited unexpectedly, but I started no process",
"start() hangs", "connection refused", "nc says that the port is open".
Measured: a TCP connection to the target and what the peer says to the protocol's first request;
for a port of this machine also whose it is.
Can be wrong about a peer that is a Copilot server behind a forwarder that hangs up:
then the forwarder is what is seen.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

from doctor.catalogue import (
    Cause,
    Check,
    Evidence,
    Finding,
    Fix,
    NotVisible,
    Outcome,
    Passed,
    Skipped,
    Symptom,
    about,
    advice,
    code,
    command,
)
from doctor.catalogue.check import GeneralFix
from doctor.catalogue.pages import CONNECT_ERRORS, SDK_BACKEND, server_mode
from doctor.catalogue.steps import (
    export,
    free_port,
    is_windows,
    local_address,
    point_clients,
    restart_fix,
    start,
)
from doctor.deployment import Deployment, Hop, Listener, Process, Route, Server
from doctor.deployment.targets import host_port

_ENDS: Final = ("1.0.63", "1.0.102")
_VERIFYING: Final = server_mode("Verifying the Server Is Listening")
_ACP_NOTE: Final = server_mode("Why this is not in copilot --help")
_CONTAINER_ROW: Final = server_mode("Troubleshooting")

EXITED: Final = "RuntimeError: CLI process exited unexpectedly"
"""What the Python SDK says of a peer that is no Copilot server
(observed with SDK 0.3.0, 1.0.0, 1.0.24 and 1.0.27)."""

HANGS: Final = "start() never returns: the SDK sets itself no time limit"
"""Observed with SDK 0.3.0, 1.0.0, 1.0.24 and 1.0.27; with 1.0.27 for more than 90 s."""

BROKEN_PIPE: Final = "BrokenPipeError: [Errno 32] Broken pipe"
"""What SDK 1.0.0 and earlier can say instead of `EXITED` of a peer that hangs up."""

NOTHING_LISTENS = Cause(
    id="nothing-listens",
    text=(
        "No program accepts connections on this address and port: the server has not been started, "
        "has ended, or listens on another port. A Copilot server should listen there."
    ),
    documented=_VERIFYING,
    observed=_ENDS,
)
WRONG_PORT = Cause(
    id="wrong-port",
    text=(
        "Clients are told to use a port that nothing listens on, while a Copilot server of this "
        "machine listens on another one. Both must name the same port; a server that is started "
        "without --port picks a random one."
    ),
    documented=server_mode("Starting the Server"),
    observed=_ENDS,
)
OTHER_ADDRESS = Cause(
    id="other-address",
    text=(
        "The Copilot server listens on this port, but not on this address: from 1.0.32 on it binds "
        "127.0.0.1 alone unless --host says otherwise, so ::1 and the machine's own address "
        "are refused. Clients of this machine should use the address that it listens on."
    ),
    documented=_VERIFYING,
    observed=_ENDS,
)
REFUSED_THERE = Cause(
    id="refused-there",
    text=(
        "The other host answers, but nothing accepts connections on its address and this port. "
        "Either no server runs there, or it listens on that host's loopback only, as it does by "
        "default from 1.0.32 on: --host 0.0.0.0 makes it reachable, with a connection token."
    ),
    documented=_CONTAINER_ROW,
    documented_says=(
        "use the service name and make sure that the port is published; that the server listens on "
        "loopback only is not mentioned. Publishing is not needed between containers of one "
        "network, and does not help while the server listens on loopback."
    ),
    observed=_ENDS,
    reported=("https://github.com/github/copilot-sdk/issues/1153",),
)
NO_ANSWER = Cause(
    id="no-answer",
    text=(
        "Packets to this address and port get no answer at all: a firewall drops them, nobody has "
        "the address, or the program there takes no more connections. They should be let through."
    ),
    observed=("1.0.102",),
)
NO_ROUTE = Cause(
    id="no-route",
    text=(
        "This machine has no way to the address, or a local rule forbids it: another network, "
        "a VPN that is down, a container network that this one is not a part of."
    ),
    documented=CONNECT_ERRORS,
)
OTHER_PROGRAM = Cause(
    id="other-program",
    text=(
        "Another program than a Copilot server has this port. The SDK then speaks of a CLI process "
        "that exited, although none was started. The clients need the port of the Copilot server."
    ),
    documented=_VERIFYING,
    documented_says=(
        "`lsof` and `nc -z` verify the server. They succeed with any program that listens: "
        "HTTP, SSH, ACP and token-protected servers alike."
    ),
    observed=_ENDS,
)
TLS = Cause(
    id="tls",
    text=(
        "The port expects TLS, and the protocol of Copilot servers is plain TCP: the SDK takes "
        "https:// in an address, and sends plain text nevertheless. "
        "The clients need the server's own port, or a tunnel that ends TLS on their side."
    ),
    observed=_ENDS,
)
ACP = Cause(
    id="acp",
    text=(
        "The server was started with --acp: it speaks the Agent Client Protocol, which is another "
        "one, and never answers an SDK client. SDK clients need --server."
    ),
    documented=_ACP_NOTE,
    observed=_ENDS,
)
SILENT = Cause(
    id="silent",
    text=(
        "The port accepts connections and then says nothing: a program that waits for something "
        "else, or a server that is stopped (Ctrl-Z, SIGSTOP) or hangs. "
        "A Copilot server answers within milliseconds."
    ),
    observed=_ENDS,
)
HANGS_UP = Cause(
    id="hangs-up",
    text=(
        "The connection is accepted and closed at once. A forwarder does that (a published "
        "container port, an SSH tunnel, a port-forward) when nothing listens behind it: in a "
        "container the Copilot server must be started with --host 0.0.0.0 and a connection token."
    ),
    documented=SDK_BACKEND,
    reported=("https://github.com/github/copilot-sdk/issues/1153",),
)
ENDING = Cause(
    id="shutting-down",
    text=(
        "The server is ending: it answers with -32000 SERVER_SHUTTING_DOWN, or no more. With open "
        "clients versions up to 1.0.64 take 10 s for it. It has to be started again."
    ),
    observed=("1.0.32", "1.0.63", "1.0.102"),
)
SLOW = Cause(
    id="slow",
    text=(
        "The Copilot server took long to answer, or stopped answering in the middle. It should "
        "answer within milliseconds: the machine is overloaded, or the server is stuck."
    ),
    observed=_ENDS,
)
NOT_ENCRYPTED = Cause(
    id="https-is-not-tls",
    text=(
        "The address says https://, but the SDK only cuts that off and speaks plain TCP: prompts, "
        "code and the connection token cross the network readable. "
        "Encryption needs a tunnel (SSH, VPN, a mesh's sidecar) around it."
    ),
    observed=_ENDS,
)

CAUSES = (
    NOTHING_LISTENS,
    WRONG_PORT,
    OTHER_ADDRESS,
    REFUSED_THERE,
    NO_ANSWER,
    NO_ROUTE,
    OTHER_PROGRAM,
    TLS,
    ACP,
    SILENT,
    HANGS_UP,
    ENDING,
    SLOW,
    NOT_ENCRYPTED,
)

_COMPOSE: Final = """
services:
  copilot:
    command: copilot --server --host 0.0.0.0 --port {port}
    environment:
      COPILOT_CONNECTION_TOKEN: ${{COPILOT_CONNECTION_TOKEN:?set it for both sides}}
"""

_MOST_ALTERNATIVES: Final = 3
_LONGEST_NAME: Final = 40


class _Peer(NamedTuple):
    what: str
    cause: Cause
    symptom: str


_PEERS: Final = {
    "http": _Peer("An HTTP server", OTHER_PROGRAM, EXITED),
    "tls": _Peer("A TLS server", TLS, EXITED),
    "ssh": _Peer("An SSH server", OTHER_PROGRAM, EXITED),
    "redis": _Peer("A Redis server", OTHER_PROGRAM, EXITED),
    "acp": _Peer("An ACP server", ACP, HANGS),
    "unknown": _Peer("Another program", OTHER_PROGRAM, EXITED),
    # Bytes without a line end keep the SDK waiting; with one it gives up (observed).
    "garbage": _Peer("Another program", OTHER_PROGRAM, f"{EXITED}; or {HANGS}"),
}


def judge(deployment: Deployment) -> Iterator[Outcome]:
    """Judge every route that was walked by the hops connect and handshake."""
    if not deployment.routes:
        yield Skipped(reason="no route to walk: there is no target, and no server here")
    for route in deployment.routes:
        yield from _route(_View(deployment, route))


class _View:
    """One route, and what this machine shows of its end."""

    def __init__(self, deployment: Deployment, route: Route) -> None:
        self.deployment = deployment
        self.route = route
        self.target = route.target
        self.port = route.target.port or 0
        self.address = host_port(route.target)
        self.subject = about(route)
        text = route.target.text
        self.name = text if len(text) <= _LONGEST_NAME else text[: _LONGEST_NAME - 1] + "…"

    @property
    def is_local(self) -> bool:
        """Whether the route ends on this machine."""
        here = self.deployment.here
        own = {"localhost", *(here.addresses if here else ()), *(here.names if here else ())}
        resolution = self.route.resolution
        found = resolution.addresses if resolution else ()
        return self.target.host in own or any(
            address in own or address.startswith("127.") or address == "::1"
            for address in (self.target.host, *found)
        )

    @property
    def server(self) -> Server | None:
        """The Copilot process that has the port, of whatever mode."""
        if not self.is_local:
            return None
        known = self.deployment.server(self.route.server)
        return known or next((server for server, _ in self._holding()), None)

    @property
    def owner(self) -> Process | None:
        """The process that has the port, where that can be seen."""
        if not self.is_local:
            return None
        if self.server is not None:
            return self.server.process
        owners = [
            holder.owner
            for wanted in self.deployment.wanted_ports
            for holder in wanted.holders
            if holder.port == self.port and holder.state == "listen" and holder.owner
        ]
        return owners[0] if owners else None

    @property
    def elsewhere(self) -> list[tuple[Server, str]]:
        """The Copilot servers that clients of this machine can use instead, with addresses."""
        found = []
        for server in self.deployment.tcp_servers:
            address = local_address(server)
            if server.is_running and address and address != self.address:
                found.append((server, address))
        return found[:_MOST_ALTERNATIVES]

    @property
    def on_other_address(self) -> tuple[Server, str] | None:
        """A Copilot server on the same port at another address."""
        for server, _ in self._holding():
            address = local_address(server)
            if server in self.deployment.tcp_servers and address not in {None, self.address}:
                return server, address or ""
        return None

    def _holding(self) -> list[tuple[Server, Listener]]:
        return [
            (server, listener)
            for server in self.deployment.servers
            for listener in server.listeners
            if listener.port == self.port and listener.namespace == "own"
        ]


def _route(view: _View) -> Iterator[Outcome]:
    route = view.route
    resolve, connect, handshake = map(route.hop, ("resolve", "connect", "handshake"))
    if resolve is not None and resolve.status == "fail":
        yield Skipped(reason=f"{view.name} has no address to connect to", blocked_by="service-name")
    elif connect is None or connect.status in {"error", "unknown", "skip"}:
        yield NotVisible(
            subject=view.subject,
            reason=connect.detail if connect else "no connection was tried",
            remedy="run copilot-doctor again, with a longer --timeout",
        )
    elif connect.status == "fail":
        yield _not_connected(view, connect)
    elif handshake is None or handshake.status in {"error", "unknown", "skip"}:
        yield NotVisible(
            subject=view.subject,
            reason=handshake.detail if handshake else "the peer was not asked who it is",
            remedy="run copilot-doctor again, with a longer --timeout",
        )
    elif handshake.status == "fail":
        yield _no_handshake(view, handshake)
    else:
        yield from _copilot(view, handshake)


# The connection


def _not_connected(view: _View, hop: Hop) -> Finding:
    if hop.code == "refused":
        return _refused(view, hop)
    if hop.code in {"unreachable", "forbidden"}:
        return _finding(
            view,
            hop,
            NO_ROUTE,
            f"No way to {view.name} from here",
            f"RuntimeError: Failed to connect to CLI server at {view.target.text}: "
            "[Errno 101] Network is unreachable (or another reason of the system)",
            fixes=(_ask_there(view), *_use_instead(view)),
        )
    if hop.code in {"reset", "closed"}:
        return _finding(view, hop, HANGS_UP, f"{view.name} resets the connection", EXITED)
    return _finding(
        view,
        hop,
        NO_ANSWER,
        f"{view.name} does not answer",
        f"RuntimeError: Failed to connect to CLI server at {view.target.text}: timed out "
        "(after 10 s)",
        fixes=(_ask_there(view), *_use_instead(view)),
    )


def _refused(view: _View, hop: Hop) -> Finding:
    symptom = (
        f"RuntimeError: Failed to connect to CLI server at {view.target.text}: "
        "[Errno 111] Connection refused"
    )
    title = f"Nothing listens on {view.name}"
    if not view.is_local:
        return _finding(
            view,
            hop,
            REFUSED_THERE,
            f"{view.name} refuses connections",
            symptom,
            fixes=(
                code(
                    "host-option",
                    "Start the server there with --host 0.0.0.0 and a connection token",
                    "yaml",
                    _COMPOSE.format(port=view.port),
                ),
                _ask_there(view),
                *_use_instead(view),
            ),
        )
    other = view.on_other_address
    if other is not None:
        server, address = other
        return _finding(
            view,
            hop,
            OTHER_ADDRESS,
            title,
            symptom,
            detail=f"{server.label} listens on {_addresses(server)}.",
            fixes=(
                point_clients(
                    "use-its-address",
                    f"Use the address that it listens on, {address}",
                    view.deployment,
                    address,
                ),
            ),
            evidence=_of_servers([server]),
        )
    if view.elsewhere:
        servers = [server for server, _ in view.elsewhere]
        return _finding(
            view,
            hop,
            WRONG_PORT,
            title,
            symptom,
            detail="Running here: " + ", ".join(server.label for server in servers) + ".",
            fixes=_use_instead(view),
            evidence=_of_servers(servers),
        )
    return _finding(
        view,
        hop,
        NOTHING_LISTENS,
        title,
        symptom,
        fixes=(
            command(
                "start",
                "Start a Copilot server on this port",
                ("copilot", "--server", "--port", str(view.port)),
            ),
        ),
        evidence=(Evidence(kind="process", text=_servers_seen(view.deployment)),),
    )


# The peer


def _no_handshake(view: _View, hop: Hop) -> Finding:
    shake = view.route.handshake
    peer = shake.peer if shake else "unknown"
    if hop.code == "shutting-down":
        return _ending(view, hop)
    if peer == "copilot":
        return _finding(
            view,
            hop,
            SLOW,
            f"The Copilot server on {view.name} does not answer in time",
            HANGS,
            fixes=_wake(view),
        )
    if peer == "silent":
        who = "The Copilot server" if view.server else "Something"
        return _finding(
            view,
            hop,
            SILENT,
            f"{who} on {view.name} accepts connections and says nothing",
            HANGS,
            fixes=_wake(view) if view.server else _without_it(view),
        )
    if peer in {"closed", "reset"}:
        return _hangs_up(view, hop)
    what, cause, symptom = _PEERS.get(peer, _PEERS["unknown"])
    fixes = _instead_of_acp(view) if cause is ACP else _without_it(view)
    return _finding(
        view,
        hop,
        cause,
        f"{what}, not a Copilot server, listens on {view.name}",
        symptom,
        fixes=fixes,
        evidence=(Evidence(kind="wire", text=f"it says: {shake.peer_detail}"),)
        if shake and shake.peer_detail
        else (),
    )


def _hangs_up(view: _View, hop: Hop) -> Finding:
    owner = view.owner
    forwards = owner is not None and owner.name.startswith("docker-pr")
    return _finding(
        view,
        hop,
        HANGS_UP,
        f"{view.name} accepts connections and closes them at once",
        f"{EXITED} (SDK 1.0.0 and earlier also: {BROKEN_PIPE})",
        detail="Docker forwards this port, and nothing takes the connection behind it."
        if forwards
        else "",
        fixes=(
            code(
                "host-option",
                "Where it is forwarded into a container, start the server there with "
                "--host 0.0.0.0 and a connection token",
                "yaml",
                _COMPOSE.format(port=view.port),
            ),
            *_without_it(view),
        ),
    )


def _ending(view: _View, hop: Hop) -> Finding:
    server = view.server
    fixes: tuple[Fix, ...] = (_ask_there(view),)
    if server is not None and server.process is not None and not is_windows(view.deployment):
        pid = server.process.pid
        fixes = (
            command(
                "start-again",
                "Start it again as soon as it has ended",
                f"while kill -0 {pid} 2>/dev/null; do sleep 0.5; done",
                *start(view.deployment, server),
            ),
        )
    return _finding(
        view,
        hop,
        ENDING,
        f"The Copilot server on {view.name} is shutting down",
        "JSON-RPC Error -32000: SERVER_SHUTTING_DOWN",
        fixes=fixes,
    )


def _copilot(view: _View, hop: Hop) -> Iterator[Outcome]:
    protocol = view.route.hop("protocol-version")
    if protocol is not None and protocol.status == "fail":
        if protocol.code == "shutting-down":
            yield _ending(view, protocol)
            return
        yield _finding(
            view,
            protocol,
            SLOW,
            f"The Copilot server on {view.name} stopped answering",
            HANGS,
            fixes=_wake(view),
            follows=("connection-token",),
        )
        return
    if view.target.scheme == "https" and not view.is_local:
        yield _not_encrypted(view, hop)
    if hop.status == "warn":
        yield _finding(
            view,
            hop,
            SLOW,
            f"The Copilot server on {view.name} took long to answer",
            "every start() and every request is slow",
            status="warn",
            fixes=_wake(view),
        )
    else:
        yield Passed(subject=view.subject, detail=hop.detail)


def _not_encrypted(view: _View, hop: Hop) -> Finding:
    return _finding(
        view,
        hop,
        NOT_ENCRYPTED,
        f"The connection to {view.name} is not encrypted",
        "nothing: it works, readable for everybody on the way",
        status="warn",
        fixes=(
            command(
                "tunnel",
                "Go through an SSH tunnel",
                f"ssh -f -N -L 127.0.0.1:{view.port}:127.0.0.1:{view.port} {view.target.host}",
                export(view.deployment, "COPILOT_CLI_URL", f"127.0.0.1:{view.port}"),
            ),
            point_clients(
                "say-so",
                "Or leave it as it is, on a network that is trusted, and write it without https://",
                view.deployment,
                view.address,
            ),
        ),
    )


# Fixes


def _use_instead(view: _View) -> tuple[Fix, ...]:
    """Point the clients at a Copilot server that runs here."""
    if view.target.origin.kind == "process":
        return ()
    return tuple(
        point_clients(
            "use-the-server" if number == 1 else f"use-server-{number}",
            f"Use {server.label}",
            view.deployment,
            address,
        )
        for number, (server, address) in enumerate(view.elsewhere, 1)
    )


def _without_it(view: _View) -> tuple[Fix, ...]:
    """Leave the port to the program that has it."""
    if not view.is_local:
        return (_ask_there(view),)
    instead = _use_instead(view)
    if instead:
        return instead
    port = free_port(view.deployment, view.port)
    if port is None:
        return (advice("start-elsewhere", "Start the Copilot server on a port of its own"),)
    return (
        command(
            "start-elsewhere",
            f"Leave that program its port: start a Copilot server on {port}, which is free, "
            "and tell the clients",
            export(view.deployment, "COPILOT_CLI_URL", f"127.0.0.1:{port}"),
            ("copilot", "--server", "--port", str(port)),
        ),
    )


def _instead_of_acp(view: _View) -> tuple[Fix, ...]:
    server = view.server
    if server is None:
        return (
            advice("server-not-acp", "Start it with --server instead of --acp"),
            *_use_instead(view),
        )
    return (
        *_use_instead(view),
        restart_fix(
            "server-not-acp",
            "Start it with --server instead of --acp (ACP clients then need one of their own)",
            view.deployment,
            server,
            add=("--server",),
            drop=("--acp",),
        ),
    )


def _wake(view: _View) -> tuple[Fix, ...]:
    """Bring a server that does not answer back to work."""
    server = view.server
    if server is None or server.process is None:
        return (_ask_there(view),)
    pid = server.process.pid
    if is_windows(view.deployment):
        return (restart_fix("restart", "Start it again", view.deployment, server),)
    return (
        command(
            "continue",
            "If it is stopped (state T), let it go on",
            f"ps -o pid,stat,etime,pcpu,args -p {pid}",
            f"kill -CONT {pid}",
            safe=True,
        ),
        restart_fix(
            "restart",
            "Or start it again",
            view.deployment,
            server,
            prepare=(f"kill -CONT {pid}",),
        ),
    )


def _ask_there(view: _View) -> Fix:
    if view.is_local:
        return advice("look-again", "Run copilot-doctor again in a moment")
    return advice(
        "ask-there",
        f"Run copilot-doctor on {view.target.host}: it names the port and the address that the "
        "Copilot server there listens on",
    )


# Evidence


def _finding(
    view: _View,
    hop: Hop,
    cause: Cause,
    title: str,
    symptom: str,
    *,
    status: str = "fail",
    detail: str = "",
    fixes: tuple[Fix, ...] = (),
    evidence: tuple[Evidence, ...] = (),
    follows: tuple[str, ...] = ("service-name",),
) -> Finding:
    return Finding(
        status="warn" if status == "warn" else "fail",
        title=title,
        cause=cause,
        subject=view.subject,
        origin=view.target.origin,
        detail=detail,
        symptom=symptom,
        evidence=(
            Evidence(kind="wire", text=f"{hop.name}: {hop.detail or hop.code}"),
            *_of_owner(view, hop),
            *evidence,
            *_of_target(view),
        ),
        fixes=fixes,
        follows=follows,
    )


def _of_target(view: _View) -> Iterator[Evidence]:
    origin = view.target.origin
    if origin.kind == "environment":
        yield Evidence(kind="environment", text=f"{origin.name}={view.target.text}")
    resolution = view.route.resolution
    if resolution is not None and resolution.addresses not in {(), (view.target.host,)}:
        found = ", ".join(resolution.addresses)
        yield Evidence(kind="dns", text=f"{view.target.host} is {found}")


def _of_owner(view: _View, hop: Hop) -> Iterator[Evidence]:
    if hop.name == "connect":
        return
    owner = view.owner
    if owner is None:
        if view.is_local:
            yield Evidence(kind="socket", text=f"whose port {view.port} is could not be seen")
        return
    if not owner.is_visible:
        whose = f"a process of user {owner.user}" if owner.user else "a process"
        yield Evidence(kind="socket", text=f"port {view.port}: {whose} that this user cannot see")
        return
    words = " ".join(owner.command) or owner.name
    since = f", since {owner.started_at}" if owner.started_at else ""
    user = f", user {owner.user}" if owner.user else ""
    yield Evidence(kind="socket", text=f"port {view.port}: pid {owner.pid}{user}{since}: {words}")


def _of_servers(servers: list[Server]) -> tuple[Evidence, ...]:
    return tuple(
        Evidence(kind="socket", text=f"{server.label} listens on {_addresses(server)}")
        for server in servers
    )


def _addresses(server: Server) -> str:
    shown = [
        f"[{item.address}]:{item.port}" if ":" in item.address else f"{item.address}:{item.port}"
        for item in server.listeners
    ]
    return ", ".join(shown) or "no port"


def _servers_seen(deployment: Deployment) -> str:
    others = [server for server in deployment.servers if server not in deployment.tcp_servers]
    if others:
        modes = ", ".join(
            f"{server.mode} (pid {server.process.pid})" for server in others if server.process
        )
        return f"no Copilot server on TCP was found here; other Copilot processes: {modes}"
    return "no Copilot server was found on this machine"


CHECK = Check(
    id="server-handshake",
    title="Does a Copilot server answer where clients connect?",
    category="connect",
    looks_at="the hops connect and handshake of each route, and who has the port",
    symptoms=(
        Symptom(
            text=EXITED,
            pattern=r"CLI process exited unexpectedly",
            where="sdk",
            sdk="0.3.0, 1.0.0, 1.0.24, 1.0.27",
        ),
        Symptom(
            text=BROKEN_PIPE,
            pattern=r"BrokenPipeError|\[Errno 32\] Broken pipe",
            where="sdk",
            sdk="0.3.0, 1.0.0",
        ),
        Symptom(
            text=(
                "RuntimeError: Failed to connect to CLI server at HOST:PORT: "
                "[Errno 111] Connection refused"
            ),
            pattern=r"Failed to connect to CLI server at .*(?:Connection refused|WinError 10061)",
            where="sdk",
            sdk="0.3.0, 1.0.11, 1.0.24, 1.0.27",
        ),
        Symptom(
            text="RuntimeError: Failed to connect to CLI server at HOST:PORT: timed out",
            pattern=r"Failed to connect to CLI server at .*timed out",
            where="sdk",
            sdk="1.0.0, 1.0.24, 1.0.27",
        ),
        Symptom(
            text=(
                "RuntimeError: Failed to connect to CLI server at HOST:PORT: "
                "[Errno 101] Network is unreachable"
            ),
            pattern=(
                r"Failed to connect to CLI server at .*(?:unreachable|No route to host"
                r"|Operation not permitted)"
            ),
            where="sdk",
            sdk="1.0.24, 1.0.27",
        ),
        Symptom(text=HANGS, where="behaviour", sdk="0.3.0, 1.0.0, 1.0.24, 1.0.27"),
        Symptom(
            text="JSON-RPC Error -32000: SERVER_SHUTTING_DOWN",
            pattern=r"SERVER_SHUTTING_DOWN",
            where="json-rpc",
            versions=("1.0.63", "1.0.102"),
        ),
    ),
    causes=CAUSES,
    judge=judge,
    fixes=(
        GeneralFix(
            cause="nothing-listens",
            summary="Start a Copilot server on the port that the clients use",
            shell="copilot --server --port PORT",
        ),
        GeneralFix(
            cause="wrong-port",
            summary="Tell the clients the port that the server's first line names",
            shell="export COPILOT_CLI_URL=127.0.0.1:PORT",
        ),
        GeneralFix(
            cause="other-address",
            summary="Use the address that the server listens on",
            shell="export COPILOT_CLI_URL=127.0.0.1:PORT",
        ),
        GeneralFix(
            cause="refused-there",
            summary="Start the server there for other hosts, with a connection token",
            shell=(
                'export COPILOT_CONNECTION_TOKEN="$(openssl rand -hex 32)"\n'
                "copilot --server --host 0.0.0.0 --port PORT"
            ),
        ),
        GeneralFix(
            cause="no-answer", summary="Let the port through the firewalls between the two hosts"
        ),
        GeneralFix(cause="no-route", summary="Join the network (VPN, container network) of HOST"),
        GeneralFix(
            cause="other-program",
            summary="Leave that program its port and start the server on another one",
            shell="copilot --server --port PORT\nexport COPILOT_CLI_URL=127.0.0.1:PORT",
        ),
        GeneralFix(
            cause="tls",
            summary="Connect to the server's own port, through a tunnel where needed",
            shell="ssh -f -N -L 127.0.0.1:PORT:127.0.0.1:PORT HOST",
        ),
        GeneralFix(
            cause="acp",
            summary="Start it with --server instead of --acp",
            shell="copilot --server --port PORT",
        ),
        GeneralFix(
            cause="silent",
            summary="Let a stopped server go on",
            shell="kill -CONT PID",
        ),
        GeneralFix(
            cause="hangs-up",
            summary="Start the server in the container with --host 0.0.0.0 and a connection token",
            code=_COMPOSE.format(port="PORT").strip("\n"),
            language="yaml",
        ),
        GeneralFix(cause="shutting-down", summary="Start the server again when it has ended"),
        GeneralFix(cause="slow", summary="Find out what keeps the machine or the server busy"),
        GeneralFix(
            cause="https-is-not-tls",
            summary="Go through an SSH tunnel",
            shell="ssh -f -N -L 127.0.0.1:PORT:127.0.0.1:PORT HOST",
        ),
    ),
)
