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
    Status,
    Target,
)
from doctor.redaction import Secret, Vault, outside

if TYPE_CHECKING:
    from doctor.probes import handshake as probed
    from doctor.probes.handshake import Step

HOPS: Final = (
    "resolve",
    "connect",
    "handshake",
    "connection-token",
    "protocol-version",
    "authentication",
    "models",
)

MOST_SERVERS: Final = 32
"""Local servers that are walked to; more than these are named as not visited."""


class Way(msgspec.Struct, frozen=True, kw_only=True):
    """A route that is still to be walked.

    Attributes:
        server: The `Server.id` at its end, where a listener of this machine tells.
        servers: All servers of this machine, to find the one at the end by its address.
    """

    target: Target
    client: str = "copilot-doctor"
    server: str | None = None
    servers: tuple[Server, ...] = ()


def plan(deployment: Deployment) -> tuple[Way, ...]:
    """Return the ways to walk: to each target, then to each server here that is not on one."""
    here = deployment.here
    own = {"localhost", *(here.addresses if here else ()), *(here.names if here else ())}
    ways: list[Way] = []
    reached: set[str] = set()
    for target in deployment.targets:
        if target.problem or target.port is None:
            continue
        server = _at(target.host, target.port, deployment.servers, own)
        if server is not None:
            reached.add(server.id)
        ways.append(
            Way(
                target=target,
                client=str(target.origin.name or "copilot-doctor"),
                server=server.id if server else None,
                servers=deployment.servers,
            )
        )
    for server in deployment.servers[:MOST_SERVERS]:
        listener = next((item for item in server.listeners if item.namespace == "own"), None)
        if listener is None or server.id in reached:
            continue
        host = _reachable_address(listener)
        text = f"[{host}]:{listener.port}" if ":" in host else f"{host}:{listener.port}"
        target = Target(text=text, host=host, port=listener.port, origin=server.origin)
        ways.append(Way(target=target, server=server.id, servers=deployment.servers))
    return tuple(ways)


def walk(way: Way, *, token: Secret | None, vault: Vault, timeout_s: float) -> Route:
    """Walk one way and return what each hop measured. Never raises for what the peer does."""
    started = time.monotonic()
    try:
        return _walk(way, token=token, vault=vault, timeout_s=timeout_s)
    except Exception as error:  # noqa: BLE001 - one way must not stop the others
        hop = Hop(
            name="connect",
            status="error",
            code="probe-broke",
            detail=f"the probe itself broke: {type(error).__name__}: {outside(str(error), 200)}",
            elapsed_ms=_ms_since(started),
        )
        return Route(client=way.client, target=way.target, status="error", hops=(hop,))


def _walk(way: Way, *, token: Secret | None, vault: Vault, timeout_s: float) -> Route:
    from doctor.probes.handshake import shake_hands
    from doctor.probes.resolve import resolve

    target = way.target
    started = time.monotonic()
    resolution = resolve(target.host, timeout_s=timeout_s)
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
    shake = shake_hands(
        target.host,
        target.port or 0,
        token=token,
        timeout_s=timeout_s,
        addresses=resolution.addresses,
    )
    hops = (first, *(_hop(step, vault) for step in shake.steps))
    return Route(
        client=way.client,
        target=target,
        status=_worst(hops),
        hops=_with_blocker(hops),
        server=way.server or _server_at(shake.address, target.port, way.servers),
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
    broken = next((hop for hop in hops if hop.status == "fail"), None)
    if broken is None:
        return hops
    return tuple(
        msgspec.structs.replace(hop, blocked_by=broken.name)
        if hop.status == "skip" and hops.index(hop) > hops.index(broken)
        else hop
        for hop in hops
    )


def _worst(hops: tuple[Hop, ...]) -> Status:
    order: tuple[Status, ...] = ("error", "fail", "warn", "unknown", "pass", "skip")
    return min((hop.status for hop in hops), key=order.index, default="skip")


def _reachable_address(listener: Listener) -> str:
    if listener.scope == "every":
        return (
            "::1" if listener.family == "ipv6" and listener.is_dual_stack is False else "127.0.0.1"
        )
    return listener.address


def _at(host: str, port: int, servers: tuple[Server, ...], own: set[str]) -> Server | None:
    """Return the server of this machine that a host and port mean, where that is certain."""
    if host not in own and not host.startswith("127.") and host != "::1":
        return None
    for server in servers:
        for listener in server.listeners:
            if listener.port == port and listener.namespace == "own":
                same = listener.address == host
                if same or listener.scope == "every" or host == "localhost":
                    return server
    return None


def _server_at(address: str, port: int | None, servers: tuple[Server, ...]) -> str | None:
    own = {item.address for server in servers for item in server.listeners}
    server = _at(address, port or 0, servers, own)
    return server.id if server else None


def _ms_since(started: float) -> float:
    return round((time.monotonic() - started) * 1000, 2)
