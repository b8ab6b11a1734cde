"""The way from a client to a server: which ways there are, and walking one, hop by hop.

``resolve → connect → handshake → connection token → protocol version → authentication → models``.
The first broken hop stops the walk; the later ones are ``skip``, blocked by it.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import msgspec

from doctor.deployment import (
    Deployment,
    Handshake,
    Hop,
    Listener,
    Resolution,
    Route,
    Server,
    Target,
    Unseen,
    worst,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from doctor.probes import handshake as probed
    from doctor.probes.handshake import Step
    from doctor.redaction import Secret, Vault

HOPS: Final = (
    "resolve",
    "connect",
    "handshake",
    "connection-token",
    "protocol-version",
    "authentication",
    "models",
)

_SHARE_OF_RESOLVE: Final = 0.7
"""What resolving may take of the time of a walk: the rest must do for a handshake."""

_LEAST_FOR_HANDSHAKE_S: Final = 0.05

_THIS_HOST: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared
"""Where an address that a server can be bound to leads a client."""

MOST_SERVERS: Final = 32
"""Local servers that are walked to; more than these are named as not visited."""


class Way(msgspec.Struct, frozen=True, kw_only=True):
    """A route that is still to be walked.

    Attributes:
        server: The `Server.id` at its end, where a listener of this machine tells.
        servers: All servers of this machine, to find the one at the end by its address.
        own: The names and addresses of this machine, beside those of loopback.
    """

    target: Target
    client: str = "copilot-doctor"
    server: str | None = None
    servers: tuple[Server, ...] = ()
    own: frozenset[str] = frozenset()


def plan(deployment: Deployment) -> tuple[Way, ...]:
    """Return the ways to walk: to each target, then to each server here that is not on one.

    Targets with a problem lead nowhere. For servers that are left out see `not_visited`.
    """
    here = deployment.here
    own = frozenset((*(here.addresses if here else ()), *(here.names if here else ())))
    ways: list[Way] = []
    reached: set[str] = set()
    for target in dict.fromkeys(deployment.targets):
        if target.problem or target.port is None:
            continue
        server = _at(target.host, target.port, deployment.servers, own)
        if server is not None:
            reached.add(server.id)
        ways.append(
            Way(
                target=target,
                server=server.id if server else None,
                servers=deployment.servers,
                own=own,
            )
        )
    doors = ((item, _door(item)) for item in deployment.servers if item.id not in reached)
    walkable = [(item, listener) for item, listener in doors if listener is not None]
    for server, listener in walkable[:MOST_SERVERS]:
        host = listener.reachable_address
        text = f"[{host}]:{listener.port}" if ":" in host else f"{host}:{listener.port}"
        target = Target(text=text, host=host, port=listener.port, origin=server.origin)
        ways.append(Way(target=target, server=server.id, servers=deployment.servers, own=own))
    return tuple(ways)


def not_visited(deployment: Deployment, ways: Sequence[Way]) -> tuple[Unseen, ...]:
    """Return the servers that could be reached from here and were too many to be."""
    visited = {way.server for way in ways}
    reason = f"it was not asked: the doctor visits at most {MOST_SERVERS} servers that it finds"
    return tuple(
        Unseen(
            what="handshake",
            subject=server.label,
            reason=reason,
            remedy=f"run copilot-doctor check {listener.port}",
            origin=server.origin,
        )
        for server in deployment.servers
        if server.id not in visited and (listener := _door(server))
    )


def walk(way: Way, *, token: Secret | None, vault: Vault, timeout_s: float) -> Route:
    """Walk one way and return what each hop measured. Never raises for what the peer does.

    Args:
        way: Which one.
        token: The connection token to send, if any.
        vault: Knows what must not be shown of the answers.
        timeout_s: Limit for all of it, in seconds.
    """
    done: list[Hop] = []
    started = time.monotonic()
    try:
        return _walk(way, done, token=token, vault=vault, timeout_s=timeout_s)
    except Exception as error:  # noqa: BLE001 - one way must not stop the others
        what = f"{type(error).__name__}: {vault.outside(str(error), 200)}"
        broken = Hop(
            name=HOPS[len(done)],
            status="error",
            code="probe-broke",
            detail=f"the probe itself broke: {what}",
            elapsed_ms=_ms_since(started),
        )
        return Route(
            client=way.client,
            target=way.target,
            status="error",
            hops=(*done, broken, *_blocked_after(broken)),
            server=way.server,
        )


def _walk(
    way: Way, done: list[Hop], *, token: Secret | None, vault: Vault, timeout_s: float
) -> Route:
    from doctor.probes.handshake import shake_hands
    from doctor.probes.resolve import resolve

    target = way.target
    started = time.monotonic()
    resolution = resolve(target.host, timeout_s=timeout_s * _SHARE_OF_RESOLVE)
    first = _resolve_hop(target, resolution, _ms_since(started))
    if first.status == "fail":
        return Route(
            client=way.client,
            target=target,
            status="fail",
            hops=(first, *_blocked_after(first)),
            server=way.server,
            resolution=resolution,
        )
    done.append(first)
    shake = shake_hands(
        target.host,
        target.port or 0,
        token=token,
        timeout_s=max(_LEAST_FOR_HANDSHAKE_S, started + timeout_s - time.monotonic()),
        addresses=resolution.addresses,
    )
    hops = (first, *(_hop(step, vault) for step in shake.steps))
    return Route(
        client=way.client,
        target=target,
        status=worst(hop.status for hop in hops),
        hops=_with_blocker(hops),
        server=way.server or _server_at(shake.address, target.port, way),
        handshake=_noun(shake, vault),
        resolution=resolution,
    )


def _hop(step: Step, vault: Vault) -> Hop:
    return Hop(
        name=step.name,
        status=step.status,
        code=step.code,
        detail=vault.outside(step.detail),
        expected=step.expected,
        elapsed_ms=round(step.elapsed_ms, 2),
    )


def _noun(shake: probed.Handshake, vault: Vault) -> Handshake:
    def clean(text: str | None) -> str | None:
        return None if text is None else vault.outside(text)

    return Handshake(
        peer=shake.peer,
        peer_detail=vault.outside(shake.peer_detail),
        address=shake.address,
        port=shake.port,
        version=clean(shake.version),
        protocol_version=shake.protocol_version,
        has_connect=shake.has_connect,
        sent_token=shake.sent_token,
        token=shake.token,
        went_mute=shake.went_mute,
        signed_in=shake.signed_in,
        auth_type=clean(shake.auth_type),
        login=clean(shake.login),
        auth_host=clean(shake.auth_host),
        status_message=clean(shake.status_message),
        models=None if shake.models is None else tuple(map(vault.outside, shake.models)),
        models_error=clean(shake.models_error),
    )


def _resolve_hop(target: Target, resolution: Resolution, elapsed_ms: float) -> Hop:
    expected = "the name resolves to an address"
    if resolution.addresses:
        shown = ", ".join(resolution.addresses[:4])
        literal = target.host in resolution.addresses
        detail = "an address, nothing to resolve" if literal else f"{target.host} is {shown}"
        return Hop(
            name="resolve",
            status="pass",
            code="ok",
            detail=detail,
            expected=expected,
            elapsed_ms=elapsed_ms,
        )
    return Hop(
        name="resolve",
        status="fail",
        code="not-resolved",
        detail=f"no address for {target.host}",
        expected=expected,
        elapsed_ms=elapsed_ms,
    )


def _blocked_after(broken: Hop) -> tuple[Hop, ...]:
    later = HOPS[HOPS.index(broken.name) + 1 :]
    return tuple(
        Hop(name=name, status="skip", code="blocked", blocked_by=broken.name) for name in later
    )


def _with_blocker(hops: tuple[Hop, ...]) -> tuple[Hop, ...]:
    broken = next((place for place, hop in enumerate(hops) if hop.status == "fail"), len(hops))
    return tuple(
        msgspec.structs.replace(hop, blocked_by=hops[broken].name)
        if hop.status == "skip" and place > broken
        else hop
        for place, hop in enumerate(hops)
    )


def _door(server: Server) -> Listener | None:
    """Return the listener of a server that can be reached from here."""
    return next((item for item in server.listeners if item.namespace == "own"), None)


def _at(host: str, port: int, servers: tuple[Server, ...], own: frozenset[str]) -> Server | None:
    """Return the server of this machine that a host and port mean, where that is certain."""
    host = _THIS_HOST.get(host, host)
    if host not in own and host not in {"localhost", "::1"} and not host.startswith("127."):
        return None
    inexact: Server | None = None
    for server in servers:
        for listener in server.listeners:
            if listener.port != port or listener.namespace != "own":
                continue
            if listener.address == host:
                return server
            if inexact is None and _leads_to(host, listener):
                inexact = server
    return inexact


def _leads_to(host: str, listener: Listener) -> bool:
    if ":" in host or host.replace(".", "").isdecimal():
        return listener.hears(host)
    # Which address a name stands for is known when it is resolved; these hold for any.
    return listener.scope == "every" or (host == "localhost" and listener.scope == "loopback")


def _server_at(address: str, port: int | None, way: Way) -> str | None:
    server = _at(address, port or 0, way.servers, way.own)
    return server.id if server else None


def _ms_since(started: float) -> float:
    return round((time.monotonic() - started) * 1000, 2)
