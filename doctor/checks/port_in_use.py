"""The port that a server is wanted on is held by somebody, or cannot be had at all.

Symptom in the user's words: "address already in use", "EADDRINUSE", "os error 98",
"I killed it and the port is still taken", "permission denied on port 80".
Measured: every socket that has the port as its own, whose it is, whether it is a Copilot server,
and this user's right to the port. Whether a socket is in the way was observed
on the real CLI 1.0.22, 1.0.63 and 1.0.102, for each kind of socket.
Can be wrong about a socket that was bound and never used: no list of sockets shows it;
about a program on ``::`` that takes IPv6 alone: it leaves 127.0.0.1 free;
and about a server that is to be started by another user, or in a container.
"""

import shlex
from collections.abc import Iterator
from typing import Final

from doctor.behaviour.facts import BAD_PORT, PORT_FORBIDDEN, PORT_IN_USE
from doctor.behaviour.versions import NEWEST_TESTED, observed_range
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
from doctor.catalogue.pages import server_mode
from doctor.catalogue.steps import (
    export,
    free_port,
    is_windows,
    local_address,
    point_clients,
    restart_fix,
    start,
    stop,
    stop_for_good,
)
from doctor.deployment import (
    CONNECTION_TOKEN,
    Deployment,
    Holder,
    Host,
    Process,
    Server,
    WantedPort,
)

_ALL: Final = observed_range("0.0.400", "1.0.102")
_SOCKETS: Final = ("1.0.22", "1.0.63", "1.0.102")
_ROW: Final = server_mode("Troubleshooting")
_STOPPING: Final = server_mode("Stopping the Server")
_NOT_SHOWN: Final = (
    "`lsof -nP -iTCP:PORT -sTCP:LISTEN` finds the process that holds the port. It finds nothing "
    "here, as nobody listens."
)

COPILOT_SERVER = Cause(
    id="copilot-server",
    text=(
        "A Copilot server listens on the port already. One server serves many clients: they should "
        "connect to it, or the second server needs a port of its own."
    ),
    documented=_ROW,
    observed=_ALL,
)
OLD_SERVER = Cause(
    id="old-copilot-server",
    text=(
        "A Copilot server that was left behind still listens on the port. A signal to the npm "
        "wrapper ends the wrapper alone: its native child lives on and keeps the port. "
        "The process that listens must be stopped."
    ),
    documented=_STOPPING,
    documented_says=(
        "`kill` the PID that `lsof` shows. That is right; that stopping the command that was "
        "started (the npm wrapper) does not stop the server is not mentioned."
    ),
    observed=(
        "0.0.400",
        "1.0.2",
        "1.0.11",
        "1.0.32",
        "1.0.44",
        *observed_range("1.0.63", "1.0.102"),
    ),
)
OTHER_PROGRAM = Cause(
    id="other-program",
    text=(
        "Another program listens on the port. It has to be stopped, or the Copilot server started "
        "on another port, which the clients then need to be told."
    ),
    documented=_ROW,
    observed=_ALL,
)
HIDDEN_OWNER = Cause(
    id="owner-hidden",
    text=(
        "Somebody listens on the port, and the process cannot be seen from here: it belongs to "
        "another user, or lives in a container. `lsof` shows other users' sockets to root alone."
    ),
    documented=_ROW,
    documented_says=(
        "stop the process that `lsof -nP -iTCP:PORT -sTCP:LISTEN` shows. Without root it shows "
        "nothing of another user, exactly as if the port were free."
    ),
    observed=("1.0.63", "1.0.102"),
)
CLIENT_END = Cause(
    id="client-end",
    text=(
        "The port lies in the range from which the system gives clients their own ports, and a "
        "client's connection has it now. A server's port should lie outside of that range."
    ),
    documented=_ROW,
    documented_says=_NOT_SHOWN,
    observed=_SOCKETS,
)
OPEN_CONNECTION = Cause(
    id="open-connection",
    text=(
        "Nobody listens on the port, but an open connection still has it as its own. It is in the "
        "way unless it was opened with SO_REUSEADDR; it should be closed, or its process ended."
    ),
    documented=_ROW,
    documented_says=_NOT_SHOWN,
    observed=_SOCKETS,
)
TIME_WAIT = Cause(
    id="time-wait",
    text=(
        "Closed connections stay on the port for about 60 s (TIME_WAIT). Those of a client, or of "
        "a program without SO_REUSEADDR, keep a server from starting; those that a Copilot server "
        "leaves behind do not. No process has to be stopped: they end by themselves."
    ),
    documented=_ROW,
    documented_says=_NOT_SHOWN,
    observed=_SOCKETS,
)
OTHER_ADDRESS = Cause(
    id="other-address",
    text=(
        "The port is taken on another address than the one that a server listens on by default "
        "(127.0.0.1 from 1.0.32 on). A start without --host succeeds; one with --host 0.0.0.0 or "
        "--host ::, and any start up to 1.0.22, can find it in use."
    ),
    documented=_ROW,
    documented_says="another process holds the port; that its address matters is not mentioned.",
    observed=_SOCKETS,
)
LOW_PORT = Cause(
    id="low-port",
    text=(
        "Ports below a limit (1024, unless the system says otherwise) need a privilege that this "
        "user lacks. A Copilot server needs none of them: it should use a higher port."
    ),
    observed=_ALL,
)
NO_SUCH_PORT = Cause(
    id="no-such-port",
    text="TCP ports are numbers from 0 to 65535. The server ends at once over any other number.",
    observed=_ALL,
)
SAME_PORT = Cause(
    id="same-port",
    text=(
        "Two Copilot servers have the same port on different addresses, which the system allows. "
        "Which of them a client gets depends on how it spells the address: localhost, 127.0.0.1 "
        "and [::1] can lead to different servers. Each should have a port of its own."
    ),
    documented=_ROW,
    documented_says="a port that is taken makes the start fail. On another address it does not.",
    observed=("1.0.63", "1.0.102"),
)
WAITS_FOR_PORT = Cause(
    id="start-fails",
    text=(
        "A Copilot server was started for a port that somebody else holds, so it does not listen "
        "and is about to end, or is started over and over. It needs a port of its own."
    ),
    documented=_ROW,
    observed=_ALL,
)

CAUSES = (
    COPILOT_SERVER,
    OLD_SERVER,
    OTHER_PROGRAM,
    HIDDEN_OWNER,
    CLIENT_END,
    OPEN_CONNECTION,
    TIME_WAIT,
    OTHER_ADDRESS,
    LOW_PORT,
    NO_SUCH_PORT,
    SAME_PORT,
    WAITS_FOR_PORT,
)

_HIGHEST: Final = 65_535
_DEFAULT_PORT: Final = 3000
_LAST_ALWAYS_LOW: Final = 1023
_LONGEST_NAME: Final = 30
_LONGEST_COMMAND: Final = 120
_MOST_EVIDENCE: Final = 6
_CLOSED: Final = frozenset({"fin-wait-1", "fin-wait-2", "closing", "last-ack", "time-wait"})
# What publishes a container's port on this machine: stopping it is not the way.
_FORWARDERS: Final = ("docker-pr", "com.docker", "rootlessport", "rootlesskit", "wslrelay")


def judge(deployment: Deployment) -> Iterator[Outcome]:
    """Judge every wanted port, and the servers that are in each other's way."""
    outcomes: list[Outcome] = []
    for wanted in deployment.wanted_ports:
        outcomes.extend(_wanted(_View(deployment, wanted)))
    outcomes.extend(_same_port(deployment))
    outcomes.extend(_waiting(deployment))
    yield from outcomes or [
        Skipped(reason="no port is asked about: --port names the one that a server is wanted on")
    ]


class _View:
    """One wanted port, with what has it."""

    def __init__(self, deployment: Deployment, wanted: WantedPort) -> None:
        self.deployment = deployment
        self.wanted = wanted
        self.port = wanted.port
        self.subject = f"port {wanted.port}"

    @property
    def here(self) -> Host:
        return self.deployment.here or Host()

    @property
    def is_for_a_start(self) -> bool:
        """Whether a server is to be started on it, not only reached."""
        return self.wanted.origin.name == "--port"

    @property
    def is_only_a_guess(self) -> bool:
        """Whether nobody has named it: it is the port of the documented command."""
        origin = self.wanted.origin
        return origin.kind == "target" and origin.name == "documented default"

    @property
    def is_ephemeral(self) -> bool:
        """Whether the system may give it to any client."""
        low, high = self.here.ephemeral_ports or (_HIGHEST + 1, _HIGHEST + 1)
        return low <= self.port <= high

    def server_of(self, owner: Process | None) -> Server | None:
        """Return the Copilot CLI that a process belongs to."""
        return next((s for s in self.deployment.servers if owner and _is_of(owner, s)), None)


def _wanted(view: _View) -> Iterator[Outcome]:
    wanted = view.wanted
    if not 0 <= view.port <= _HIGHEST:
        yield _no_such_port(view)
        return
    if view.port == 0:
        yield Passed(
            subject=view.subject,
            detail="0 lets the system choose a free port; the server's first line names it",
        )
        return
    if not wanted.is_visible:
        yield NotVisible(
            subject=view.subject,
            reason=wanted.reason or "the sockets of this machine could not be listed",
            remedy="run copilot-doctor as root (sudo)",
        )
        return
    listening = [holder for holder in wanted.holders if holder.state == "listen"]
    in_the_way = [holder for holder in listening if _blocks_default(holder.address)]
    found: list[Outcome] = []
    if in_the_way:
        found.extend(_held(view, in_the_way))
    else:
        found.extend(_forbidden(view))
        if listening:
            found.append(_other_address(view, listening))
        else:
            found.extend(_left_over(view))
    yield from found or [_free(view)]


def _free(view: _View) -> Passed:
    detail = "nobody has it: a server can start on it"
    if view.is_ephemeral:
        low, high = view.here.ephemeral_ports or (0, 0)
        detail += f"; it lies in the range of clients' own ports ({low} to {high}), any may take it"
    return Passed(subject=view.subject, detail=detail)


# Somebody listens on it


def _held(view: _View, holders: list[Holder]) -> Iterator[Outcome]:
    groups: dict[int | None, list[Holder]] = {}
    for holder in holders:
        owner = holder.owner
        pid = owner.pid if owner is not None and owner.is_visible else None
        groups.setdefault(pid, []).append(holder)
    for pid, group in groups.items():
        owner = group[0].owner
        if pid is None or owner is None:
            yield _hidden(view, group)
            continue
        server = view.server_of(owner)
        if server is None:
            yield _other_program(view, group, owner)
        elif server in view.deployment.tcp_servers:
            yield _copilot(view, group, server)
        else:
            yield _other_mode(view, group, server)


def _copilot(view: _View, group: list[Holder], server: Server) -> Outcome:
    if not view.is_for_a_start:
        return Passed(subject=view.subject, detail=f"{server.label} has it, as clients expect")
    reasons = _why_old(view, server)
    listener = server.process
    if reasons and listener is not None:
        return _finding(
            view,
            OLD_SERVER,
            f"An old Copilot server (pid {listener.pid}) still holds port {view.port}",
            evidence=(*_of_holders(group), *reasons, *_of_clients(view, server)),
            fixes=(_stop_server(view, server), *_other_port(view)),
        )
    return _finding(
        view,
        COPILOT_SERVER,
        f"Port {view.port} is taken by a Copilot server that clients can share",
        status="warn",
        evidence=(*_of_holders(group), *_of_answer(view, server), *_of_clients(view, server)),
        fixes=(*_share(view, server), *_other_port(view), _stop_server(view, server)),
    )


def _why_old(view: _View, server: Server) -> tuple[Evidence, ...]:
    """Tell why a server is not one to be shared; empty: it is one."""
    found = []
    if server.is_orphan:
        text = "its npm wrapper is gone, and init has adopted it: nobody looks after it"
        found.append(Evidence(kind="process", text=text))
    if server.version and server.disk_version and server.version != server.disk_version:
        text = f"it runs {server.version}, and {server.disk_version} is installed where it started"
        found.append(Evidence(kind="package", text=text))
    shake = view.deployment.handshake(server)
    if shake is not None and shake.peer != "copilot":
        text = f"it does not answer as a Copilot server should: {shake.peer_detail or shake.peer}"
        found.append(Evidence(kind="wire", text=text))
    return tuple(found)


def _other_mode(view: _View, group: list[Holder], server: Server) -> Finding:
    process = server.process or group[0].owner
    pid = f" (pid {process.pid})" if process else ""
    what = {"acp": "an ACP server", "ui-server": "an interactive session"}.get(server.mode, "a CLI")
    return _finding(
        view,
        OTHER_PROGRAM,
        f"Port {view.port} is held by {what} of Copilot{pid}, not by a server for clients",
        evidence=_of_holders(group),
        fixes=(*_other_port(view), _stop_server(view, server)),
    )


def _other_program(view: _View, group: list[Holder], owner: Process) -> Finding:
    title = f"Port {view.port} is held by {_name(owner)} (pid {owner.pid})"
    if owner.name.startswith(_FORWARDERS):
        fixes: tuple[Fix, ...] = (
            *_other_port(view),
            advice(
                "stop-container",
                f"Or stop the container that publishes it (docker ps --filter publish={view.port} "
                "names it), or publish it on another port",
            ),
        )
    else:
        fixes = (
            *_other_port(view),
            command(
                "stop-program",
                f"Or stop {_name(owner)}, if it is not needed",
                stop(view.deployment, owner),
            ),
        )
    return _finding(view, OTHER_PROGRAM, title, evidence=_of_holders(group), fixes=fixes)


def _hidden(view: _View, group: list[Holder]) -> Finding:
    user = next((h.owner.user for h in group if h.owner and h.owner.user), None)
    whose = f"a process of user {user}" if user else "a process"
    ask = f"sudo lsof -nP -iTCP:{view.port} -sTCP:LISTEN"
    fixes = _other_port(view)
    if not is_windows(view.deployment):
        fixes = (
            *fixes,
            command("look-as-root", "Or look as root who holds it, then stop that", ask, safe=True),
        )
    return _finding(
        view,
        HIDDEN_OWNER,
        f"Port {view.port} is held by {whose} that cannot be seen from here",
        evidence=_of_holders(group),
        fixes=fixes,
    )


def _other_address(view: _View, group: list[Holder]) -> Finding:
    addresses = ", ".join(dict.fromkeys(_at(holder) for holder in group))
    return _finding(
        view,
        OTHER_ADDRESS,
        f"Port {view.port} is taken on another address than a server's default",
        status="warn",
        detail=f"Taken: {addresses}. Free: 127.0.0.1:{view.port}.",
        evidence=_of_holders(group),
        fixes=_other_port(view),
    )


# Nobody listens on it


def _left_over(view: _View) -> Iterator[Outcome]:
    left = [holder for holder in view.wanted.holders if holder.state != "listen"]
    waiting = [holder for holder in left if _is_closed(holder)]
    # What a Copilot server that is ending has accepted is not in the way (SO_REUSEADDR, observed).
    open_ones = [h for h in left if h not in waiting and view.server_of(h.owner) is None]
    if open_ones:
        yield _connections(view, open_ones)
    elif waiting:
        is_certain = view.is_ephemeral
        yield _finding(
            view,
            TIME_WAIT,
            f"Closed connections stay on port {view.port} for about a minute",
            status="warn" if is_certain else "unknown",
            detail=(
                "They are a client's: a start fails until they have ended."
                if is_certain
                else "Whose they were cannot be seen, so a start may fail until they have ended."
            ),
            evidence=_of_holders(waiting),
            fixes=(
                command("wait", "Wait until they have ended", _wait(view), safe=True),
                *_other_port(view),
            ),
        )
    elif left:
        owners = {h.owner.pid for h in left if h.owner}
        pids = ", ".join(map(str, sorted(owners)))
        yield Passed(
            subject=view.subject,
            detail=f"a Copilot server that is ending (pid {pids}) has connections on it, which "
            "are not in the way of a new one",
        )


def _connections(view: _View, group: list[Holder]) -> Finding:
    owner = next((h.owner for h in group if h.owner and h.owner.is_visible), None)
    who = f"{_name(owner)} (pid {owner.pid})" if owner else "a process that cannot be seen"
    fixes = _other_port(view)
    if owner is not None:
        line = stop(view.deployment, owner)
        fixes = (*fixes, command("stop-program", f"Or stop {_name(owner)}", line))
    if view.is_ephemeral:
        cause, title = CLIENT_END, f"Port {view.port} is a client's own port now, of {who}"
    else:
        cause, title = OPEN_CONNECTION, f"An open connection has port {view.port}, of {who}"
    return _finding(view, cause, title, evidence=_of_holders(group), fixes=fixes)


def _wait(view: _View) -> str:
    return "Start-Sleep 60" if is_windows(view.deployment) else "sleep 60"


# It cannot be had


def _no_such_port(view: _View) -> Finding:
    return _finding(
        view,
        NO_SUCH_PORT,
        f"{_short(str(view.port))} is no TCP port",
        symptom=(BAD_PORT.at(NEWEST_TESTED).value or "").replace("PORT", _short(str(view.port))),
        evidence=(Evidence(kind="command", text=f"port: {_short(str(view.port))}"),),
        fixes=_other_port(view, near=_DEFAULT_PORT - 1),
    )


def _forbidden(view: _View) -> Iterator[Outcome]:
    here = view.here
    limit = here.first_unprivileged_port
    if here.platform == "win32" or here.can_bind_low_ports:
        return
    if limit is None and view.port > _LAST_ALWAYS_LOW:
        return
    if limit is not None and view.port >= limit:
        return
    if limit is None or here.can_bind_low_ports is None:
        yield NotVisible(
            subject=view.subject,
            reason="whether this user may use a port that low could not be found out",
            remedy="use a port from 1024 on",
        )
        return
    user = f" user {here.user}" if here.user else " this user"
    yield _finding(
        view,
        LOW_PORT,
        f"Port {view.port} needs a right that{user} does not have"[:90],
        symptom=(PORT_FORBIDDEN.at(NEWEST_TESTED).value or "").replace("PORT", str(view.port)),
        evidence=(
            Evidence(kind="platform", text=f"ports from {limit} on need no privilege"),
            Evidence(kind="platform", text=f"{user.strip()} has no CAP_NET_BIND_SERVICE"),
        ),
        fixes=_other_port(view, near=max(_DEFAULT_PORT - 1, limit)),
    )


# Servers in each other's way


def _same_port(deployment: Deployment) -> Iterator[Finding]:
    """Find ports that several running servers have, on different addresses."""
    by_port: dict[int, list[Server]] = {}
    for server in deployment.tcp_servers:
        for port in {item.port for item in server.listeners if item.namespace == "own"}:
            by_port.setdefault(port, []).append(server)
    for port, servers in by_port.items():
        if len(servers) > 1:
            yield _finding_of(
                SAME_PORT,
                f"{len(servers)} Copilot servers have port {port}, each on its own address",
                subject=f"port {port}",
                server=servers[-1],
                status="warn",
                symptom="a client gets another server than the one that was meant",
                evidence=tuple(
                    Evidence(kind="socket", text=f"{_address_of(server, port)}: {server.label}")
                    for server in servers[:_MOST_EVIDENCE]
                ),
                fixes=tuple(_move_or_stop(deployment, servers, port)),
            )


def _move_or_stop(deployment: Deployment, servers: list[Server], port: int) -> Iterator[Fix]:
    # Those who went to the documented address stay where they are.
    last = max(servers, key=lambda s: (not _address_of(s, port).startswith("127."), s.id))
    other = free_port(deployment, port)
    if other is not None:
        yield restart_fix(
            "move-one",
            f"Give {last.label} a port of its own, {other}, which is free",
            deployment,
            last,
            drop=("--port",),
            add=("--port", str(other)),
        )
    yield _stop_fix(deployment, last, "stop-one", f"Or stop {last.label}")


def _waiting(deployment: Deployment) -> Iterator[Finding]:
    """Find servers that do not listen because somebody else has their port."""
    for server in deployment.tcp_servers:
        port = server.command.port if server.command else None
        if server.listeners or not server.listeners_visible or not port or not server.is_running:
            continue
        holders = [
            holder
            for wanted in deployment.wanted_ports
            for holder in wanted.holders
            if holder.port == port and holder.state == "listen"
        ]
        owners = [holder.owner for holder in holders if holder.owner is not None]
        owners += [
            other.process
            for other in deployment.tcp_servers
            if other.process
            and any(item.port == port and item.namespace == "own" for item in other.listeners)
        ]
        held_by = next((o for o in owners if not _is_of(o, server)), None)
        # A server that is ending has closed its port already, and its successor has it by right.
        if held_by is None or not _is_younger(server, held_by):
            continue
        words = PORT_IN_USE.at(server.version).value or PORT_IN_USE.at(NEWEST_TESTED).value or ""
        other_port = free_port(deployment, port)
        lines = start(deployment, server, replace={"--port": str(other_port)})
        yield _finding_of(
            WAITS_FOR_PORT,
            f"A Copilot server was started for port {port}, which pid {held_by.pid} holds",
            subject=about(server),
            server=server,
            symptom=words.replace("PORT", str(port)),
            evidence=(
                Evidence(kind="socket", text=f"port {port}: {_who(held_by)}"),
                Evidence(kind="process", text=f"pid {_pid(server)} asks for it and has no port"),
            ),
            fixes=(
                command("other-port", f"Start it on {other_port}, which is free", *lines),
                command(
                    "stop-holder", f"Or stop pid {held_by.pid}", _stop_line(deployment, held_by)
                ),
            )
            if other_port is not None
            else (_no_port_known(),),
        )


def _is_younger(server: Server, other: Process) -> bool:
    ours = server.process.started_at if server.process else None
    return ours is not None and other.started_at is not None and ours >= other.started_at


# Fixes


def _share(view: _View, server: Server) -> tuple[Fix, ...]:
    address = local_address(server)
    if address is None:
        return ()
    environment = server.environment
    has_token = environment.visible and environment.is_set(CONNECTION_TOKEN)
    shake = view.deployment.handshake(server)
    needs_token = has_token or (
        shake is not None and shake.token in {"accepted", "required", "rejected"}
    )
    note = ", with its COPILOT_CONNECTION_TOKEN" if needs_token else ""
    token = ', connection_token=os.environ["COPILOT_CONNECTION_TOKEN"]' if needs_token else ""
    lines = [
        *(["import os"] if needs_token else []),
        "from copilot import CopilotClient, RuntimeConnection",
        "",
        "client = CopilotClient(",
        f'    connection=RuntimeConnection.for_uri("{address}"{token})',
        ")",
    ]
    return (
        point_clients(
            "share",
            f"Connect to the server that runs{note}, instead of starting another",
            view.deployment,
            address,
        ),
        code("share-in-code", "The same in the client's code", "python", "\n".join(lines)),
    )


def _other_port(view: _View, near: int | None = None) -> tuple[Fix, ...]:
    """Start a server on a port that is free, and tell the clients."""
    port = free_port(view.deployment, view.port if near is None else near)
    if port is None:
        return (_no_port_known(),)
    address = f"127.0.0.1:{port}"
    word = f"'{address}'" if is_windows(view.deployment) else address
    return (
        command(
            "other-port",
            f"Start the server on {port}, which is free (with your other flags), and tell the "
            "clients",
            export(view.deployment, "COPILOT_CLI_URL", word),
            ("copilot", "--server", "--port", str(port)),
        ),
    )


def _no_port_known() -> Fix:
    return advice(
        "any-port", "Start the server with --port 0, and read the port from its first line"
    )


def _stop_server(view: _View, server: Server) -> Fix:
    pid = _pid(server)
    return _stop_fix(
        view.deployment,
        server,
        "stop-server",
        f"Stop the process that listens, pid {pid} (not its npm wrapper), then start yours",
    )


def _stop_fix(deployment: Deployment, server: Server, fix_id: str, summary: str) -> Fix:
    lines = stop_for_good(deployment, server)
    if lines:
        return command(fix_id, summary, *lines)
    return advice(fix_id, f"{summary}; its supervisor has to be told, or it is started again")


def _stop_line(deployment: Deployment, process: Process) -> str:
    server = next((s for s in deployment.servers if _is_of(process, s)), None)
    lines = stop_for_good(deployment, server) if server else []
    return "\n".join(lines) or stop(deployment, process)


# Evidence


def _of_holders(group: list[Holder]) -> tuple[Evidence, ...]:
    shown = [Evidence(kind="socket", text=_told(holder)) for holder in group[:_MOST_EVIDENCE]]
    left = len(group) - len(shown)
    if left > 0:
        shown.append(Evidence(kind="socket", text=f"and {left} more"))
    return tuple(shown)


def _told(holder: Holder) -> str:
    what = f"{_at(holder)} {holder.state}"
    if holder.remote:
        what += f", connected to {holder.remote}"
    if _is_closed(holder):
        return what
    return f"{what}: {_who(holder.owner)}"


def _who(owner: Process | None) -> str:
    if owner is None:
        return "the process could not be seen"
    user = f", user {owner.user}" if owner.user else ""
    if not owner.is_visible:
        return f"the process could not be seen{user}"
    since = f", since {owner.started_at}" if owner.started_at else ""
    words = shlex.join(owner.command) or owner.name
    if len(words) > _LONGEST_COMMAND:
        words = words[: _LONGEST_COMMAND - 1] + "…"
    return f"pid {owner.pid}{user}{since}: {words}"


def _of_answer(view: _View, server: Server) -> Iterator[Evidence]:
    shake = view.deployment.handshake(server)
    if shake is None:
        yield Evidence(kind="wire", text="it was not asked how it is")
    else:
        version = f" {shake.version}" if shake.version else ""
        yield Evidence(kind="wire", text=f"it answers as Copilot server{version}")


def _of_clients(view: _View, server: Server) -> Iterator[Evidence]:
    clients = view.deployment.clients_of(server)
    if clients:
        names = ", ".join(about(client) for client in clients[:_MOST_EVIDENCE])
        yield Evidence(kind="process", text=f"connected now: {len(clients)} ({names})")


def _finding(
    view: _View,
    cause: Cause,
    title: str,
    *,
    status: str = "fail",
    detail: str = "",
    symptom: str = "",
    evidence: tuple[Evidence, ...] = (),
    fixes: tuple[Fix, ...] = (),
) -> Finding:
    # Of a port that nobody has named it is not known that anybody wants it.
    told = "warn" if view.is_only_a_guess and status == "fail" else status
    origin = view.wanted.origin
    source = "" if view.is_only_a_guess else f" (from {origin.name or origin.kind})"
    if view.is_only_a_guess:
        source = " (of the documented command)"
    wanted = Evidence(kind="command", text=f"wanted: port {_short(str(view.port))}{source}")
    return Finding(
        status="fail" if told == "fail" else "warn" if told == "warn" else "unknown",
        title=title,
        cause=cause,
        subject=view.subject,
        origin=origin,
        detail=detail,
        symptom=symptom or _words(view.port),
        evidence=(*evidence, wanted),
        fixes=fixes,
    )


def _finding_of(
    cause: Cause,
    title: str,
    *,
    subject: str,
    server: Server,
    status: str = "fail",
    symptom: str,
    evidence: tuple[Evidence, ...],
    fixes: tuple[Fix, ...],
) -> Finding:
    return Finding(
        status="warn" if status == "warn" else "fail",
        title=title,
        cause=cause,
        subject=subject,
        origin=server.origin,
        symptom=symptom,
        evidence=evidence,
        fixes=fixes,
    )


def _words(port: int) -> str:
    """Return what a start prints: which version it will be is not known."""
    newest = PORT_IN_USE.at(NEWEST_TESTED).value or ""
    older = (PORT_IN_USE.at("1.0.64").value or "").replace("PORT", str(port))
    return f"{newest} (up to 1.0.64: {older.partition('Error: ')[2]})"


# Facts


def _blocks_default(address: str) -> bool:
    """Whether a listener there keeps 127.0.0.1 from being used (observed)."""
    bare = address.removeprefix("::ffff:")
    return bare in {"127.0.0.1", "0.0.0.0", "::", "*", ""}  # noqa: S104 - compared, not bound


def _is_closed(holder: Holder) -> bool:
    """Whether a connection is over on this side, and no process holds it any more."""
    return holder.state == "time-wait" or (holder.owner is None and holder.state in _CLOSED)


def _is_of(process: Process, server: Server) -> bool:
    return process.pid in {p.pid for p in (server.process, server.wrapper) if p is not None}


def _pid(server: Server) -> str:
    return str(server.process.pid) if server.process else "unknown"


def _at(holder: Holder) -> str:
    host = f"[{holder.address}]" if ":" in holder.address else holder.address
    return f"{host}:{holder.port}"


def _address_of(server: Server, port: int) -> str:
    addresses = [item.address for item in server.listeners if item.port == port]
    return ", ".join(f"[{a}]:{port}" if ":" in a else f"{a}:{port}" for a in addresses)


def _name(owner: Process) -> str:
    first = owner.command[0].replace("\\", "/").rpartition("/")[2] if owner.command else ""
    return _short(owner.name or first or "a process")


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST_NAME else text[: _LONGEST_NAME - 1] + "…"


CHECK = Check(
    id="port-in-use",
    title="Is the wanted port free, or the right server's?",
    category="process",
    looks_at="who has the port that a server is wanted on, and this user's right to it",
    symptoms=(
        Symptom(
            text=PORT_IN_USE.at("1.0.22").value or "",
            pattern=r"listen EADDRINUSE: address already in use :::\d+",
            where="stderr",
            versions=observed_range("0.0.400", "1.0.22"),
        ),
        Symptom(
            text=PORT_IN_USE.at("1.0.64").value or "",
            pattern=r"EADDRINUSE|address already in use [\d.]+:\d+",
            where="stderr",
            versions=observed_range("1.0.32", "1.0.64"),
        ),
        Symptom(
            text=PORT_IN_USE.at("1.0.102").value or "",
            pattern=r"Address already in use \(os error \d+\)|\(os error 10048\)",
            where="stderr",
            versions=observed_range("1.0.73", "1.0.102"),
        ),
        Symptom(
            text=PORT_FORBIDDEN.at("1.0.64").value or "",
            pattern=r"listen EACCES: permission denied",
            where="stderr",
            versions=observed_range("0.0.400", "1.0.64"),
        ),
        Symptom(
            text=PORT_FORBIDDEN.at("1.0.102").value or "",
            pattern=r"Failed to start server: Error: Permission denied \(os error 13\)",
            where="stderr",
            versions=observed_range("1.0.73", "1.0.102"),
        ),
        Symptom(
            text=BAD_PORT.at("1.0.64").value or "",
            pattern=r"ERR_SOCKET_BAD_PORT",
            where="stderr",
            versions=observed_range("0.0.400", "1.0.64"),
        ),
        Symptom(
            text=BAD_PORT.at("1.0.102").value or "",
            pattern=r"port must be between 0 and 65535",
            where="stderr",
            versions=observed_range("1.0.73", "1.0.102"),
        ),
    ),
    causes=CAUSES,
    judge=judge,
    fixes=(
        GeneralFix(
            cause="copilot-server",
            summary="Connect to the server that runs",
            shell="export COPILOT_CLI_URL=127.0.0.1:PORT",
        ),
        GeneralFix(
            cause="old-copilot-server",
            summary="Stop the process that listens, not its npm wrapper",
            shell='kill "$(lsof -t -nP -iTCP:PORT -sTCP:LISTEN)"',
        ),
        GeneralFix(
            cause="other-program",
            summary="Start the server on another port",
            shell="copilot --server --port OTHER_PORT",
        ),
        GeneralFix(
            cause="owner-hidden",
            summary="Look as root who holds the port",
            shell="sudo lsof -nP -iTCP:PORT -sTCP:LISTEN",
        ),
        GeneralFix(
            cause="client-end",
            summary="Use a port outside of the range of clients' own ports",
            shell="cat /proc/sys/net/ipv4/ip_local_port_range",
        ),
        GeneralFix(
            cause="open-connection",
            summary="See who has the port, and end that",
            shell="ss -tanp 'sport = :PORT'",
        ),
        GeneralFix(cause="time-wait", summary="Wait a minute", shell="sleep 60"),
        GeneralFix(
            cause="other-address",
            summary="Start without --host, or on another port",
            shell="copilot --server --port PORT",
        ),
        GeneralFix(
            cause="low-port",
            summary="Use a port from 1024 on",
            shell="copilot --server --port 3000",
        ),
        GeneralFix(
            cause="no-such-port",
            summary="Use a port from 1024 to 65535",
            shell="copilot --server --port 3000",
        ),
        GeneralFix(
            cause="same-port",
            summary="Give each server a port of its own",
            shell="copilot --server --port OTHER_PORT",
        ),
        GeneralFix(
            cause="start-fails",
            summary="Start the server on a port that is free",
            shell="copilot --server --port OTHER_PORT",
        ),
    ),
)
