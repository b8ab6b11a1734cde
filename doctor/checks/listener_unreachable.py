"""A server listens where its clients cannot reach it.

Symptom in the user's words: "connection refused from the other container", "it works inside the
container and not from outside", "localhost is refused", "the port is published and still closed".
Measured: the addresses that each server listens on, whether this is a container, and for each
target the addresses it leads to and what became of the connection.
Can be wrong about a container that shares the network of its host (``--network host``): it looks
like any other, and loopback is reached by everybody on that host. Of a server on another host only
the refusal is seen, not the address that it listens on.
"""

from collections.abc import Iterator
from typing import Final

from doctor.behaviour.facts import DEFAULT_BIND, ENFORCES_CONNECTION_TOKEN, HAS_HOST_OPTION
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
from doctor.catalogue.pages import SDK_BACKEND, server_mode
from doctor.catalogue.steps import ensure_token, local_address, point_clients, restart_fix
from doctor.deployment import Deployment, Listener, Route, Server
from doctor.deployment.targets import host_port

_ENDS: Final = ("1.0.63", "1.0.102")
_LOOPBACK_SINCE: Final = DEFAULT_BIND.where("127.0.0.1")
_ROW: Final = server_mode("Troubleshooting")
_ROW_SAYS: Final = (
    "use the service name (copilot:3000), not localhost, and ensure the port is published. "
    "Neither helps while the server listens on the loopback of its container."
)
_VERIFYING: Final = server_mode("Verifying the Server Is Listening")

CONTAINER_LOOPBACK = Cause(
    id="container-loopback",
    text=(
        "The server listens on the loopback of its container, which only processes of that "
        "container reach: no other container, and no published port. Where its clients are "
        "outside, it must be started with --host 0.0.0.0, and with a connection token."
    ),
    documented=_ROW,
    documented_says=_ROW_SAYS,
    observed=_ENDS,
    reported=(
        "https://github.com/github/copilot-sdk/issues/1153",
        "https://github.com/github/copilot-sdk/pull/1174",
    ),
)
LOOPBACK_ONLY = Cause(
    id="loopback-only",
    text=(
        "Clients are told an address of this machine that the server does not listen on: from "
        "1.0.32 on it binds 127.0.0.1 alone. Clients of this machine should use 127.0.0.1; for "
        "those of other hosts it must be started with --host 0.0.0.0 and a connection token."
    ),
    documented=SDK_BACKEND,
    observed=_LOOPBACK_SINCE,
)
ONE_ADDRESS = Cause(
    id="one-address",
    text=(
        "The server was bound to one address by --host, so it is refused everywhere else, "
        "localhost and health checks on 127.0.0.1 included. Clients must use that address, or the "
        "server be started with --host 0.0.0.0 and a connection token."
    ),
    documented=_VERIFYING,
    documented_says="probe 127.0.0.1; that --host can take that address away is not mentioned.",
    observed=_ENDS,
)
ONE_FAMILY = Cause(
    id="one-family",
    text=(
        "The server listens on IPv4 or on IPv6 alone, and clients are told an address of the other "
        "family. 127.0.0.1 is the default from 1.0.32 on; --host ::1, and --host localhost "
        "where localhost is ::1, make it IPv6 alone. Both sides should use the same one."
    ),
    documented=_VERIFYING,
    observed=_ENDS,
)
NOT_PUBLISHED = Cause(
    id="not-published",
    text=(
        "The server listens in a network namespace of its own (a container's), and the target is "
        "not in it: its port is not published here, or under another number."
    ),
    documented=_ROW,
    observed=_ENDS,
)
REFUSED_THERE = Cause(
    id="refused-there",
    text=(
        "The other host answers, and refuses this port. A server that was started without --host "
        "listens on that host's loopback alone (from 1.0.32 on), and so refuses everybody else; "
        "or none runs there. Only a look on that host tells the two apart."
    ),
    documented=_ROW,
    documented_says=_ROW_SAYS,
    observed=_ENDS,
    reported=("https://github.com/github/copilot-sdk/pull/1174",),
)
FORWARDED = Cause(
    id="forwarded-to-loopback",
    text=(
        "A forwarder (a published container port, a tunnel) takes the connection, finds nothing "
        "behind it and hangs up. A Copilot server without --host listens on the loopback of its "
        "container, where the forwarder cannot reach it."
    ),
    documented=_ROW,
    documented_says=_ROW_SAYS,
    reported=("https://github.com/github/copilot-sdk/issues/1153",),
)

CAUSES = (
    CONTAINER_LOOPBACK,
    LOOPBACK_ONLY,
    ONE_ADDRESS,
    ONE_FAMILY,
    NOT_PUBLISHED,
    REFUSED_THERE,
    FORWARDED,
)

_LONGEST_NAME: Final = 32
_IPV4_WILDCARD: Final = "0.0.0.0"  # noqa: S104 - written into a command line, not bound
_COMPOSE: Final = """
services:
  copilot:
    command: copilot --server --host 0.0.0.0 --port {port}
    environment:
      COPILOT_CONNECTION_TOKEN: ${{COPILOT_CONNECTION_TOKEN:?set it for both sides}}
"""


def judge(deployment: Deployment) -> Iterator[Outcome]:
    """Judge where each server listens, then each address that clients are told."""
    outcomes: list[Outcome] = [_server(deployment, server) for server in _listening(deployment)]
    outcomes += [_route(deployment, route) for route in deployment.routes if _is_told(route)]
    yield from outcomes or [
        Skipped(reason="no Copilot server that clients connect to, and no target")
    ]


def _listening(deployment: Deployment) -> list[Server]:
    return [
        server
        for server in deployment.tcp_servers
        if server.listeners or (server.is_running and not server.listeners_visible)
    ]


def _is_told(route: Route) -> bool:
    """Whether somebody has named the target; the others are made from the servers found."""
    return route.target.origin.kind != "process"


# Where a server listens


def _server(deployment: Deployment, server: Server) -> Outcome:
    if not server.listeners:
        return NotVisible(
            subject=about(server),
            reason="the sockets of its process cannot be read",
            remedy="run copilot-doctor as the server's user, or as root (sudo)",
        )
    shown = ", ".join(map(_at, server.listeners))
    if any(item.scope == "every" for item in server.listeners):
        return Passed(subject=about(server), detail=f"it listens on every interface: {shown}")
    used = _used(deployment, server)
    if all(item.scope == "loopback" for item in server.listeners):
        # Wrong even for clients of the same container, so it comes before the question of those.
        if not any(item.address.startswith("127.") for item in server.listeners) and not used:
            return _ipv6_only(deployment, server)
        if _is_in_container(deployment, server):
            return _in_container(deployment, server, used)
        return Passed(
            subject=about(server),
            detail=f"it listens on {shown}, for clients of this machine"
            + (f" ({used})" if used else ""),
        )
    if any(item.scope == "loopback" for item in server.listeners) or used:
        note = f" ({used})" if used else ""
        return Passed(subject=about(server), detail=f"it listens on {shown}{note}")
    address = local_address(server) or shown
    return _finding_of_server(
        deployment,
        server,
        ONE_ADDRESS,
        f"The server on port {server.port} is refused on localhost",
        detail=f"It listens on {shown} alone.",
        symptom=_refused(f"127.0.0.1:{server.port}"),
        fixes=(_use(deployment, address), *_open_up(deployment, server)),
    )


def _in_container(deployment: Deployment, server: Server, used: str) -> Outcome:
    shown = ", ".join(map(_at, server.listeners))
    if used:
        return Passed(
            subject=about(server),
            detail=f"it listens on {shown}, for clients of the same container ({used})",
        )
    here = deployment.here
    engine = here.engine if here and here.engine else "kind unknown"
    where = (
        Evidence(kind="platform", text="it is in another network namespace, such as a container's")
        if any(item.namespace == "other" for item in server.listeners)
        else Evidence(kind="platform", text=f"this is a container ({engine})")
    )
    return _finding_of_server(
        deployment,
        server,
        CONTAINER_LOOPBACK,
        f"The server on port {server.port} is out of reach from outside of its container",
        detail="That is right where its clients run in the same container, and wrong otherwise.",
        symptom=_refused(f"copilot:{server.port}"),
        evidence=(where,),
        fixes=(*_open_up(deployment, server), _compose(server.port)),
    )


def _ipv6_only(deployment: Deployment, server: Server) -> Finding:
    address = local_address(server) or f"[::1]:{server.port}"
    return _finding_of_server(
        deployment,
        server,
        ONE_FAMILY,
        f"The server on port {server.port} is refused on 127.0.0.1",
        detail="It listens on IPv6 alone. Python SDKs up to 1.0.11 use IPv4 alone.",
        symptom=_refused(f"127.0.0.1:{server.port}"),
        fixes=(
            restart_fix(
                "ipv4",
                "Restart it on 127.0.0.1, which every client on this machine reaches",
                deployment,
                server,
                drop=("--host",),
                add=("--host", "127.0.0.1"),
            ),
            _use(deployment, address),
            *(_open_up(deployment, server) if _is_in_container(deployment, server) else ()),
        ),
    )


def _finding_of_server(
    deployment: Deployment,
    server: Server,
    cause: Cause,
    title: str,
    *,
    detail: str,
    symptom: str,
    fixes: tuple[Fix, ...],
    evidence: tuple[Evidence, ...] = (),
) -> Finding:
    return Finding(
        status="warn",
        title=title,
        cause=cause,
        subject=about(server),
        origin=server.origin,
        detail=detail,
        symptom=symptom,
        evidence=(
            *_of_server(server),
            *evidence,
            Evidence(kind="process", text=_clients_seen(deployment, server)),
        ),
        fixes=fixes,
    )


def _used(deployment: Deployment, server: Server) -> str:
    """Tell who reaches the server where it listens; empty: nobody that can be seen."""
    clients = deployment.clients_of(server)
    if clients:
        return f"{len(clients)} connected: {', '.join(about(client) for client in clients[:3])}"
    told = next(
        (
            route
            for route in deployment.routes_to(server)
            if _is_told(route) and _is_connected(route)
        ),
        None,
    )
    return f"{_name(told)} reaches it" if told else ""


# Where clients are told to connect


def _route(deployment: Deployment, route: Route) -> Outcome:
    connect, handshake = route.hop("connect"), route.hop("handshake")
    if connect is None or connect.status == "skip":
        return Skipped(
            reason=f"{_name(route)} was not connected to",
            blocked_by=(connect.blocked_by if connect else None) or "resolve",
        )
    if connect.status in {"unknown", "error"}:
        return NotVisible(
            subject=about(route),
            reason=connect.detail or "the connection could not be tried",
            remedy="run copilot-doctor again",
        )
    if connect.status in {"pass", "warn"}:
        shake = route.handshake
        hung_up = shake is not None and shake.peer in {"closed", "reset"}
        if handshake is not None and handshake.status == "fail" and hung_up:
            return _hung_up(deployment, route)
        return Passed(subject=about(route), detail=connect.detail or "it accepts connections")
    if connect.code != "refused":
        return Skipped(
            reason=f"{_name(route)}: {connect.detail or connect.code}; a server that listens "
            "elsewhere would refuse at once",
            blocked_by="connect",
        )
    if not _is_local(deployment, route):
        return _refused_there(route)
    return _refused_here(deployment, route)


def _refused_here(deployment: Deployment, route: Route) -> Outcome:
    port = route.target.port
    holding = [
        (server, item)
        for server in deployment.tcp_servers
        for item in server.listeners
        if item.port == port
    ]
    if not holding:
        hidden = [
            server
            for server in deployment.tcp_servers
            if not server.listeners and not server.listeners_visible
        ]
        if hidden:
            return NotVisible(
                subject=about(route),
                reason=f"nothing listens at {_name(route)}, and where {about(hidden[0])} listens "
                "cannot be seen",
                remedy="run copilot-doctor as root (sudo)",
            )
        return Skipped(reason=f"no Copilot server of this machine listens on port {port}")
    near = [(server, item) for server, item in holding if item.namespace == "own"]
    if not near:
        return _in_other_namespace(deployment, route, *holding[0])
    server, item = near[0]
    address = local_address(server) or _at(item)
    cause = _why_refused(route, item)
    fixes: tuple[Fix, ...] = (_use(deployment, address), *_open_up(deployment, server))
    return Finding(
        status="fail",
        title=f"The server on port {port} does not listen on {_name(route)}",
        cause=cause,
        subject=about(route),
        origin=route.target.origin,
        detail=f"It listens on {', '.join(map(_at, server.listeners))}.",
        symptom=_refused(route.target.text),
        evidence=(*_of_route(route), *_of_server(server)),
        fixes=fixes,
    )


def _why_refused(route: Route, item: Listener) -> Cause:
    wanted = _addresses(route)
    families = {":" in address.removeprefix("::ffff:") for address in wanted}
    loopback = all(_is_loopback(address) for address in wanted)
    is_ipv6 = ":" in item.address
    if loopback and item.scope == "loopback" and families == {not is_ipv6}:
        return ONE_FAMILY
    if item.scope == "every":
        return ONE_FAMILY
    return LOOPBACK_ONLY if item.scope == "loopback" else ONE_ADDRESS


def _in_other_namespace(
    deployment: Deployment, route: Route, server: Server, item: Listener
) -> Finding:
    is_loopback = item.scope == "loopback"
    where = f"{_at(item)}, in another network namespace (a container's)"
    publish = advice(
        "publish",
        f"Publish the port of its container on this machine (-p {item.port}:{item.port}, or "
        "ports: in compose.yaml)",
    )
    return Finding(
        status="fail",
        title=f"The server on port {item.port} is in a container, not at {_name(route)}",
        cause=CONTAINER_LOOPBACK if is_loopback else NOT_PUBLISHED,
        subject=about(route),
        origin=route.target.origin,
        detail=f"It listens on {where}.",
        symptom=_refused(route.target.text),
        evidence=(*_of_route(route), *_of_server(server)),
        fixes=(*_open_up(deployment, server), publish) if is_loopback else (publish,),
    )


def _refused_there(route: Route) -> Finding:
    host, port = route.target.host, route.target.port
    return Finding(
        status="unknown",
        title=f"{_name(route)} refuses: a server there may listen on loopback alone",
        cause=REFUSED_THERE,
        subject=about(route),
        origin=route.target.origin,
        symptom=_refused(route.target.text),
        evidence=_of_route(route),
        fixes=(
            advice(
                "look-there", f"Run copilot-doctor on {host}: it tells where the server listens"
            ),
            command(
                "start-there",
                f"Start the server there, on {host}, with --host and a connection token, and give "
                "clients the same COPILOT_CONNECTION_TOKEN",
                ensure_token(Deployment()),
                ("copilot", "--server", "--host", _IPV4_WILDCARD, "--port", str(port)),
            ),
            _compose(port),
        ),
    )


def _hung_up(deployment: Deployment, route: Route) -> Finding:
    # Which container a forwarder leads to cannot be seen: only the same port number is a hint
    # that is strong enough.
    behind = next(
        (
            server
            for server in deployment.tcp_servers
            for item in server.listeners
            if item.namespace == "other"
            and item.scope == "loopback"
            and item.port == route.target.port
        ),
        None,
    )
    fixes: tuple[Fix, ...] = (_compose(route.target.port),)
    if behind is not None:
        fixes = (*_open_up(deployment, behind), *fixes)
    else:
        fixes = (
            *fixes,
            advice(
                "look-inside",
                "Run copilot-doctor inside of the container that the port is forwarded to: it "
                "tells where the server listens",
            ),
        )
    return Finding(
        status="unknown" if behind is None else "fail",
        title=f"What is behind {_name(route)} may listen on its loopback alone"
        if behind is None
        else f"The server behind {_name(route)} listens on its container's loopback",
        cause=FORWARDED,
        subject=about(route),
        origin=route.target.origin,
        symptom="RuntimeError: CLI process exited unexpectedly (Python); The JSON-RPC connection "
        "with the remote party was lost (.NET)",
        evidence=(*_of_route(route), *(_of_server(behind) if behind else ())),
        fixes=fixes,
    )


# Fixes


def _use(deployment: Deployment, address: str) -> Fix:
    return point_clients(
        "use-its-address",
        f"Tell clients of this machine the address that it listens on, {address}",
        deployment,
        address,
    )


def _open_up(deployment: Deployment, server: Server) -> tuple[Fix, ...]:
    """Let other hosts in: never without a connection token."""
    if HAS_HOST_OPTION.at(server.version).value is False:
        return ()
    if ENFORCES_CONNECTION_TOKEN.at(server.version).value is False:
        return (
            advice(
                "upgrade",
                f"Upgrade the CLI first: {server.version} would listen for other hosts (--host) "
                "and ignore a connection token; 1.0.44 and later enforce it",
            ),
        )
    return (
        restart_fix(
            "host-and-token",
            "For clients of other hosts or containers, restart it with --host 0.0.0.0 and a "
            "connection token, and give them the same COPILOT_CONNECTION_TOKEN",
            deployment,
            server,
            prepare=(ensure_token(deployment),),
            drop=("--host",),
            add=("--host", _IPV4_WILDCARD),
        ),
    )


def _compose(port: int | None) -> Fix:
    return code(
        "compose",
        "In a Compose file: --host and the token together",
        "yaml",
        _COMPOSE.format(port=port or "PORT"),
    )


# Evidence


def _of_server(server: Server) -> tuple[Evidence, ...]:
    found = [
        Evidence(kind="socket", text=f"{server.label} listens on {_at(item)}")
        for item in server.listeners
    ]
    host = server.command.host if server.command else None
    if host is not None:
        found.append(Evidence(kind="command", text=f"started with --host {host or '(empty)'}"))
    elif DEFAULT_BIND.at(server.version).value == "127.0.0.1":
        text = f"started without --host: {server.version} then listens on 127.0.0.1"
        found.append(Evidence(kind="command", text=text))
    return tuple(found)


def _of_route(route: Route) -> tuple[Evidence, ...]:
    found = []
    broken = route.broken_hop
    if broken is not None:
        text = f"{broken.name}: {broken.detail or broken.code}"
        found.append(Evidence(kind="wire", text=text))
    resolution = route.resolution
    if resolution is not None and resolution.addresses not in {(), (route.target.host,)}:
        text = f"{route.target.host} is {', '.join(resolution.addresses)}"
        found.append(Evidence(kind="dns", text=text))
    origin = route.target.origin
    if origin.kind == "environment":
        found.append(Evidence(kind="environment", text=f"{origin.name}={route.target.text}"))
    else:
        found.append(Evidence(kind="command", text=f"target: {route.target.text}"))
    return tuple(found)


def _clients_seen(deployment: Deployment, server: Server) -> str:
    count = len(deployment.clients_of(server))
    return f"{count} clients are connected" if count else "no client is connected now"


# Facts


def _is_in_container(deployment: Deployment, server: Server) -> bool:
    if any(item.namespace == "other" for item in server.listeners):
        return True
    return deployment.here is not None and deployment.here.kind == "container"


def _is_connected(route: Route) -> bool:
    connect = route.hop("connect")
    return connect is not None and connect.status in {"pass", "warn"}


def _addresses(route: Route) -> tuple[str, ...]:
    found = route.resolution.addresses if route.resolution else ()
    return found or (route.target.host,)


def _is_local(deployment: Deployment, route: Route) -> bool:
    here = deployment.here
    own = {"localhost", *(here.addresses if here else ())}
    return any(address in own or _is_loopback(address) for address in _addresses(route))


def _is_loopback(address: str) -> bool:
    bare = address.removeprefix("::ffff:")
    return bare in {"::1", "localhost"} or bare.startswith("127.")


def _name(route: Route) -> str:
    text = host_port(route.target) if route.target.port else route.target.text
    return text if len(text) <= _LONGEST_NAME else text[: _LONGEST_NAME - 1] + "…"


def _at(item: Listener) -> str:
    host = f"[{item.address}]" if ":" in item.address else item.address or "*"
    return f"{host}:{item.port}"


def _refused(address: str) -> str:
    return (
        f"RuntimeError: Failed to connect to CLI server at {address}: "
        "[Errno 111] Connection refused"
    )


CHECK = Check(
    id="listener-unreachable",
    title="Does the server listen where its clients connect?",
    category="network",
    looks_at="the addresses of each server, the place it runs in, and the targets that are refused",
    symptoms=(
        Symptom(
            text=(
                "RuntimeError: Failed to connect to CLI server at copilot:PORT: "
                "[Errno 111] Connection refused"
            ),
            pattern=r"Failed to connect to CLI server at .*(?:Connection refused|WinError 10061)",
            where="sdk",
            versions=_ENDS,
            sdk="1.0.24, 1.0.27",
        ),
        Symptom(
            text=(
                "Communication error with Copilot CLI: The JSON-RPC connection with the remote "
                "party was lost before the request could complete"
            ),
            pattern=r"JSON-RPC connection with the remote party was lost",
            where="sdk",
            sdk=".NET 0.3.0",
        ),
        Symptom(
            text="the health check inside the container succeeds, and other containers are refused",
            where="behaviour",
            versions=_ENDS,
        ),
    ),
    causes=CAUSES,
    judge=judge,
    fixes=(
        GeneralFix(
            cause="container-loopback",
            summary="In the container, listen on every interface, with a connection token",
            code=_COMPOSE.format(port="PORT").strip("\n"),
            language="yaml",
        ),
        GeneralFix(
            cause="loopback-only",
            summary="On the same machine, use loopback",
            shell="export COPILOT_CLI_URL=127.0.0.1:PORT",
        ),
        GeneralFix(
            cause="loopback-only",
            summary="For other hosts, listen on every interface, with a connection token",
            shell=(
                "export COPILOT_CONNECTION_TOKEN="
                "\"$(head -c 32 /dev/urandom | od -An -vtx1 | tr -d ' \\n')\"\n"
                "copilot --server --host 0.0.0.0 --port PORT"
            ),
        ),
        GeneralFix(
            cause="one-address",
            summary="Use the address that --host names",
            shell="export COPILOT_CLI_URL=ADDRESS:PORT",
        ),
        GeneralFix(
            cause="one-family",
            summary="Use the family that the server listens on",
            shell="export COPILOT_CLI_URL=127.0.0.1:PORT",
        ),
        GeneralFix(
            cause="not-published",
            summary="Publish the port of the container",
            shell="docker run --publish PORT:PORT IMAGE",
        ),
        GeneralFix(
            cause="refused-there",
            summary="Start the server there for other hosts, with a connection token",
            shell=(
                "export COPILOT_CONNECTION_TOKEN="
                "\"$(head -c 32 /dev/urandom | od -An -vtx1 | tr -d ' \\n')\"\n"
                "copilot --server --host 0.0.0.0 --port PORT"
            ),
        ),
        GeneralFix(
            cause="forwarded-to-loopback",
            summary="Behind the forwarder, listen on every interface, with a connection token",
            code=_COMPOSE.format(port="PORT").strip("\n"),
            language="yaml",
        ),
    ),
)
