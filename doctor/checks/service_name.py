"""The name that clients are told to connect to.

Symptom in the user's words: "Name or service not known", "Temporary failure in name resolution",
"it works on my machine but not in the container", "localhost refuses inside Compose".
Measured: the target's spelling, every place that knows names (hosts file, each name server with
each search domain, the system), and whether this is a container.
Can be wrong where a client runs in another network place than the doctor:
names are looked up from here.
"""

from collections.abc import Iterator
from typing import Final

from doctor.behaviour.versions import at_most
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
from doctor.catalogue.pages import COMPOSE_NETWORKING, server_mode
from doctor.catalogue.pages import DOCKER_HOST_NAME as DOCKER_HOST_NAME_PAGE
from doctor.catalogue.steps import local_address, point_clients
from doctor.deployment import Deployment, Lookup, Resolution, Route, Sdk, Target
from doctor.deployment.targets import (
    DOCKER_HOST_NAME,
    container_network,
    host_port,
    sdk_objection,
)

_ENDS: Final = ("1.0.63", "1.0.102")
_ROW: Final = server_mode("Troubleshooting")
_DOCKER: Final = server_mode("Docker Compose")
_CONNECTING: Final = server_mode("Connecting from the SDK")
LAST_SDK_IPV4_ONLY: Final = "1.0.11"
"""The Python SDK up to here opens IPv4 sockets alone and knows no [ADDRESS]:PORT;
1.0.13 and later do both (source of 0.3.0, 1.0.0, 1.0.8, 1.0.9, 1.0.11, 1.0.13, 1.0.24, 1.0.27;
run with 0.3.0, 1.0.11, 1.0.24 and 1.0.27)."""

NOT_AN_ADDRESS = Cause(
    id="not-an-address",
    text=(
        "Clients are told to use something that is no address. It should be HOST:PORT, "
        "such as 127.0.0.1:3000 or copilot:3000, or a port of this machine."
    ),
    documented=_CONNECTING,
    observed=_ENDS,
)
SPELLING = Cause(
    id="sdk-refuses-spelling",
    text=(
        "It is clear which address is meant, but the Python SDK does not take this spelling and "
        "raises ValueError before it connects. It should be HOST:PORT and no more."
    ),
    documented=_CONNECTING,
    observed=_ENDS,
)
OUTSIDE_COMPOSE = Cause(
    id="service-name-outside",
    text=(
        "A name without dots, such as a Compose service's, is known only to the containers of its "
        "network. This is not one of them: from here the server is reached at 127.0.0.1, at the "
        "port that it listens on or that its container publishes."
    ),
    documented=_DOCKER,
    observed=_ENDS,
)
UNKNOWN_SERVICE = Cause(
    id="unknown-service",
    text=(
        "No container of this one's networks has that name: it is misspelt, the service does not "
        "run, or it is in another network. Both services must share a network."
    ),
    documented=COMPOSE_NETWORKING,
    observed=_ENDS,
)
UNKNOWN_NAME = Cause(
    id="unknown-name",
    text=(
        "The name is in no hosts file and no name server knows it. It is misspelt, gone, or known "
        "only in another network."
    ),
    observed=_ENDS,
)
HOST_OUTSIDE = Cause(
    id="docker-host-name-outside",
    text=(
        "host.docker.internal means the machine around a container, and only containers know it "
        "(with Docker Desktop also the machine itself). On the machine it is 127.0.0.1."
    ),
    documented=DOCKER_HOST_NAME_PAGE,
)
HOST_NOT_ADDED = Cause(
    id="docker-host-name-not-added",
    text=(
        "Docker Engine on Linux gives containers the name host.docker.internal only where it is "
        "asked to: extra_hosts, or --add-host, with host-gateway. The server on the machine must "
        "then listen beyond loopback, with --host and a connection token."
    ),
    documented=DOCKER_HOST_NAME_PAGE,
)
LOCALHOST_IN_CONTAINER = Cause(
    id="localhost-in-container",
    text=(
        "Inside a container localhost is that container alone, and no Copilot server listens in "
        "this one. Clients should use the name of the server's service; the server must be started "
        "with --host 0.0.0.0 and a connection token, as from 1.0.32 on it listens on its own "
        "loopback only."
    ),
    documented=_ROW,
    documented_says=(
        "use the service name (copilot:3000), not localhost, and ensure the port is published. "
        "Publishing is not needed between containers of one network, and the service name alone "
        "does not help while the server listens on loopback."
    ),
    observed=_ENDS,
)
TO_LOOPBACK = Cause(
    id="resolves-to-loopback",
    text=(
        "The name leads back to this machine itself: an entry in the hosts file (Debian gives the "
        "machine's own name 127.0.1.1) or a name server that answers with loopback. No Copilot "
        "server answers there. It should lead to the server's host."
    ),
    observed=_ENDS,
)
ELSEWHERE = Cause(
    id="resolves-elsewhere",
    text=(
        "The name leads to another host than meant: a search domain was added to it, or a name "
        "server (a captive portal, a wildcard) answers for any name. No Copilot server answers "
        "there."
    ),
    observed=_ENDS,
)
ONLY_IPV6 = Cause(
    id="only-ipv6",
    text=(
        f"There is only an IPv6 address, and the Python SDK up to {LAST_SDK_IPV4_ONLY} connects "
        "over IPv4 alone: it says that the name is not known, and refuses [ADDRESS]:PORT. "
        "From 1.0.13 on it uses both."
    ),
    observed=_ENDS,
)
SILENT_SERVERS = Cause(
    id="name-servers-silent",
    text=(
        "None of this machine's name servers gives a usable answer, so no name that is not in the "
        "hosts file can be found. They should answer within milliseconds."
    ),
    observed=_ENDS,
)
ONE_SILENT = Cause(
    id="name-server-silent",
    text=(
        "One of the name servers does not answer: where it is asked first, every connection waits "
        "5 s for it before the next one is asked (measured). It should be taken out or repaired."
    ),
    observed=_ENDS,
)

CAUSES = (
    NOT_AN_ADDRESS,
    SPELLING,
    OUTSIDE_COMPOSE,
    UNKNOWN_SERVICE,
    UNKNOWN_NAME,
    HOST_OUTSIDE,
    HOST_NOT_ADDED,
    LOCALHOST_IN_CONTAINER,
    TO_LOOPBACK,
    ELSEWHERE,
    ONLY_IPV6,
    SILENT_SERVERS,
    ONE_SILENT,
)

_MOST_EVIDENCE: Final = 10
_MOST_NEARBY: Final = 3
_LONGEST_NAME: Final = 36
_ANSWERS: Final = {
    "found": "known",
    "nxdomain": "not known",
    "no-data": "known, but without such an address",
    "servfail": "SERVFAIL, the name server could not find out",
    "refused": "REFUSED, the name server does not want to say",
    "timeout": "no answer",
    "truncated": "an answer that is cut off",
    "error": "no usable answer",
}
_EXTRA_HOSTS: Final = """
services:
  api:
    extra_hosts:
      - "host.docker.internal:host-gateway"
"""
_SHARED_NETWORK: Final = """
services:
  {name}:
    command: copilot --server --host 0.0.0.0 --port {port}
    networks: [copilot]
  api:
    environment:
      COPILOT_CLI_URL: {name}:{port}
    networks: [copilot]
networks:
  copilot: {{}}
"""
_IN_COMPOSE: Final = """
services:
  copilot:
    command: copilot --server --host 0.0.0.0 --port {port}
    environment:
      COPILOT_CONNECTION_TOKEN: ${{COPILOT_CONNECTION_TOKEN:?set it for both sides}}
  api:
    environment:
      COPILOT_CLI_URL: copilot:{port}
      COPILOT_CONNECTION_TOKEN: ${{COPILOT_CONNECTION_TOKEN:?set it for both sides}}
"""


def judge(deployment: Deployment) -> Iterator[Outcome]:
    """Judge the spelling of every target, and how its name was resolved."""
    if not deployment.targets:
        yield Skipped(reason="no target is given, and COPILOT_CLI_URL is not set")
    for target in deployment.targets:
        yield from _target(deployment, target)


def _target(deployment: Deployment, target: Target) -> Iterator[Outcome]:
    route = next((item for item in deployment.routes if item.target == target), None)
    view = _View(deployment, target, route)
    if target.problem:
        yield _not_an_address(view)
        return
    objection = sdk_objection(target)
    if objection:
        yield _spelling(view, objection)
    if route is None or route.resolution is None:
        yield NotVisible(
            subject=view.subject,
            reason="the name was not looked up",
            remedy="run copilot-doctor check where the client runs",
        )
        return
    yield from _resolved(view, route, route.resolution)


class _View:
    """One target, with what is around it."""

    def __init__(self, deployment: Deployment, target: Target, route: Route | None) -> None:
        self.deployment = deployment
        self.target = target
        self.route = route
        self.subject = about(route) if route else f"route to {target.text}"
        self.host = target.host
        shown = target.host or target.text
        self.name = shown if len(shown) <= _LONGEST_NAME else shown[: _LONGEST_NAME - 1] + "…"
        origin = target.origin
        self.source = origin.name if origin.kind == "environment" and origin.name else "the target"

    @property
    def is_in_container(self) -> bool | None:
        """Whether the doctor runs in a container; None: not known."""
        here = self.deployment.here
        return None if here is None else here.kind == "container"

    @property
    def is_reached(self) -> bool:
        """Whether a Copilot server answered at the end of the route."""
        shake = self.route.handshake if self.route else None
        return shake is not None and shake.peer == "copilot"

    @property
    def servers(self) -> list[tuple[str, str]]:
        """Label and address of the Copilot servers of this network place."""
        found = []
        for server in self.deployment.tcp_servers:
            address = local_address(server)
            if server.is_running and address and address != host_port(self.target):
                found.append((server.label, address))
        return found

    @property
    def resolution(self) -> Resolution:
        """How the name was looked up."""
        found = self.route.resolution if self.route else None
        return found or Resolution(name=self.host)


# The spelling


def _not_an_address(view: _View) -> Finding:
    target = view.target
    fixes = _use_server(view)
    if target.host and target.port is not None:
        meant = point_clients(
            "host-and-port", "Keep host and port alone", view.deployment, host_port(target)
        )
        fixes = (meant, *fixes)
    what = f"{view.source}: {target.problem}"
    return Finding(
        status="fail",
        title=what[:1].upper() + what[1:],
        cause=NOT_AN_ADDRESS,
        subject=view.subject,
        origin=target.origin,
        symptom=f"ValueError: Invalid cli_url format: {target.text} (or: Invalid port in cli_url)",
        evidence=(_of_target(view),),
        fixes=fixes or (advice("host-port", "Give it as HOST:PORT, such as 127.0.0.1:3000"),),
    )


def _spelling(view: _View, objection: str) -> Finding:
    return Finding(
        status="fail" if view.target.origin.kind == "environment" else "warn",
        title=f"The Python SDK does not take the address as {view.source} spells it"
        if view.source != "the target"
        else "The Python SDK does not take the address in this spelling",
        cause=SPELLING,
        subject=view.subject,
        origin=view.target.origin,
        detail=objection[:1].upper() + objection[1:] + ".",
        symptom=(
            f"ValueError: Invalid port in cli_url: {view.target.text}"
            if view.target.text.endswith("/")
            else f"ValueError: Invalid cli_url format: {view.target.text}"
        ),
        evidence=(_of_target(view),),
        fixes=(
            point_clients(
                "host-and-port",
                "Write host and port alone",
                view.deployment,
                host_port(view.target),
            ),
        ),
    )


# The name


def _resolved(view: _View, route: Route, resolution: Resolution) -> Iterator[Outcome]:
    connect = route.hop("connect")
    is_connected = connect is not None and connect.status == "pass"
    if not resolution.addresses:
        yield _not_found(view, resolution)
        return
    found: list[Outcome] = []
    # Where a server runs in this container, only the port is wrong: server-handshake tells.
    if (
        view.is_in_container
        and _is_this_machine(view.host)
        and not is_connected
        and not view.servers
    ):
        found.append(_localhost(view))
    elif not view.is_reached and not _is_literal(resolution):
        found.extend(_led_astray(view, resolution))
    found.extend(_only_ipv6(view, resolution))
    found.extend(_one_silent(view, resolution))
    yield from found or [Passed(subject=view.subject, detail=_how(view, resolution))]


def _not_found(view: _View, resolution: Resolution) -> Finding:
    is_single = "." not in view.host.rstrip(".")
    if view.host.lower().rstrip(".") == DOCKER_HOST_NAME:
        if view.is_in_container:
            fixes = (*_add_host(view), *_use_server(view))
            return _unknown(view, HOST_NOT_ADDED, "is not known in this container", fixes)
        fixes = (*_use_server(view), *_use_published(view))
        return _unknown(view, HOST_OUTSIDE, "is not known outside of containers", fixes)
    if _is_dns_down(resolution, is_single=is_single):
        fixes = (advice("repair-dns", _dns_advice(resolution)), *_use_server(view))
        words = "cannot be looked up: no name server gives an answer"
        return _unknown(view, SILENT_SERVERS, words, fixes)
    nearby, here = _use_nearby(view, resolution), _use_server(view)
    if is_single and (container_network(resolution) or view.is_in_container):
        words = "is no name in this container's networks"
        return _unknown(view, UNKNOWN_SERVICE, words, (*nearby, *here, _share_network(view)))
    if is_single:
        fixes = (*here, *nearby, *_use_published(view))
        return _unknown(view, OUTSIDE_COMPOSE, "is not known on this machine", fixes)
    ask = advice("ask-for-name", f"Ask whoever runs the server for its name instead of {view.name}")
    return _unknown(view, UNKNOWN_NAME, "is not known to any name server", (*nearby, *here, ask))


def _is_dns_down(resolution: Resolution, *, is_single: bool) -> bool:
    """Whether nobody could say if the name exists."""
    useless = {"timeout", "error", "truncated"}
    asked = [item for item in resolution.lookups if _is_dns(item)]
    if not asked:
        return any(
            item.source == "system" and item.answer in useless for item in resolution.lookups
        )
    # Docker's name server gives SERVFAIL for a service that is not there, where it is offline.
    if not is_single:
        useless |= {"servfail", "refused"}
    return all(item.answer in useless for item in asked)


def _unknown(view: _View, cause: Cause, words: str, fixes: tuple[Fix, ...]) -> Finding:
    resolution = view.resolution
    system = next((item for item in resolution.lookups if item.source == "system"), None)
    said = "[Errno -3] Temporary failure in name resolution (after 10 s or more)"
    if system is not None and system.detail.startswith("["):
        said = system.detail
    nearby = ", ".join(resolution.nearby[:_MOST_NEARBY])
    return Finding(
        status="fail",
        title=f"{view.name} {words}",
        cause=cause,
        subject=view.subject,
        origin=view.target.origin,
        detail=f"Names like it that do resolve here: {nearby}." if nearby else "",
        symptom=f"{_failed(view)}: {said}",
        evidence=_evidence(view, resolution),
        fixes=fixes,
    )


def _localhost(view: _View) -> Finding:
    port = view.target.port or 0
    return Finding(
        status="fail",
        title=f"{view.name} is this container, where no Copilot server has port {port}",
        cause=LOCALHOST_IN_CONTAINER,
        subject=view.subject,
        origin=view.target.origin,
        symptom=f"{_failed(view)}: [Errno 111] Connection refused",
        evidence=(
            _of_place(view),
            *_evidence(view, view.resolution),
        ),
        fixes=(
            code(
                "service-name",
                "Use the name of the server's service (copilot in the documentation), "
                "and start the server there with --host 0.0.0.0",
                "yaml",
                _IN_COMPOSE.format(port=port),
            ),
            command(
                "start-here",
                "Or, where it should run in this same container, start it",
                ("copilot", "--server", "--port", str(port)),
            ),
        ),
    )


def _led_astray(view: _View, resolution: Resolution) -> Iterator[Finding]:
    """A name that has an address, at which no Copilot server answers."""
    if _is_this_machine(view.host):
        return
    loopback = [address for address in resolution.addresses if _is_loopback(address)]
    full = _full_name(view, resolution)
    is_public = all(_is_public(address) for address in resolution.addresses)
    is_single = "." not in view.host.rstrip(".")
    if loopback:
        yield _astray(
            view,
            TO_LOOPBACK,
            f"{view.name} leads back to this machine: {loopback[0]}",
            (*_use_server(view), *_look_up_again(view)),
        )
    elif full != view.host.lower().rstrip(".") or (is_single and is_public):
        yield _astray(
            view,
            ELSEWHERE,
            f"{view.name} leads to a host where no Copilot server answers",
            (*_use_server(view), *_use_published(view), *_look_up_again(view)),
            f"It was found as {full}." if full != view.host.lower().rstrip(".") else "",
        )


def _astray(
    view: _View, cause: Cause, title: str, fixes: tuple[Fix, ...], detail: str = ""
) -> Finding:
    broken = view.route.broken_hop if view.route else None
    measured = (
        (Evidence(kind="wire", text=f"{broken.name}: {broken.detail or broken.code}"),)
        if broken
        else ()
    )
    return Finding(
        status="fail",
        title=title,
        cause=cause,
        subject=view.subject,
        origin=view.target.origin,
        detail=detail,
        symptom="the client reaches nothing, or another program (see server-handshake)",
        evidence=(*_evidence(view, view.resolution), *measured),
        fixes=fixes,
    )


def _only_ipv6(view: _View, resolution: Resolution) -> Iterator[Outcome]:
    if any(":" not in address for address in resolution.addresses):
        return
    if resolution.addresses == ("::1",) and not _is_literal(resolution):
        return  # glibc gives 127.0.0.1 to those who ask for IPv4 (observed)
    sdks = _python_sdks(view.deployment)
    old = [sdk for sdk in sdks if at_most(sdk.version, LAST_SDK_IPV4_ONLY)]
    if sdks and not old and all(sdk.version for sdk in sdks):
        return
    words = (
        f"ValueError: Invalid cli_url format: {view.target.text}"
        if _is_literal(resolution)
        else f"{_failed(view)}: [Errno -2] Name or service not known"
    )
    known = tuple(
        Evidence(kind="package", text=f"{sdk.package} {sdk.version} ({sdk.exactness})")
        for sdk in old
    )
    yield Finding(
        status="fail" if old else "warn",
        title=f"{view.name} has an IPv6 address only, which older SDKs cannot use",
        cause=ONLY_IPV6,
        subject=view.subject,
        origin=view.target.origin,
        symptom=f"{words} (Python SDK {LAST_SDK_IPV4_ONLY} and earlier)",
        evidence=(*known, *_evidence(view, resolution)),
        fixes=(
            advice("newer-sdk", "Use the Python SDK 1.0.13 or later: it connects over IPv6 too"),
            advice("ipv4", f"Or give {view.name} an IPv4 address (an A record) as well"),
        ),
    )


def _one_silent(view: _View, resolution: Resolution) -> Iterator[Outcome]:
    silent = tuple(
        dict.fromkeys(
            item.source for item in resolution.lookups if _is_dns(item) and item.answer == "timeout"
        )
    )
    if not silent:
        return
    yield Finding(
        status="warn",
        title=f"The name server {silent[0]} does not answer"
        if len(silent) == 1
        else f"{len(silent)} name servers do not answer",
        cause=ONE_SILENT,
        subject=view.subject,
        origin=view.target.origin,
        symptom="start() takes 5 s or more, and then works",
        evidence=_evidence(view, resolution),
        fixes=(advice("repair-dns", _dns_advice(resolution, silent)), *_use_address(view)),
    )


# Fixes


def _use_server(view: _View) -> tuple[Fix, ...]:
    """Use a Copilot server that runs in the same network place."""
    return tuple(
        point_clients(
            "use-the-server" if number == 1 else f"use-server-{number}",
            f"Use {label}, which runs here",
            view.deployment,
            address,
        )
        for number, (label, address) in enumerate(view.servers[:_MOST_NEARBY], 1)
    )


def _use_nearby(view: _View, resolution: Resolution) -> tuple[Fix, ...]:
    return tuple(
        point_clients(
            "use-nearby" if number == 1 else f"use-nearby-{number}",
            f"Use {name}, which resolves here",
            view.deployment,
            f"{name}:{view.target.port}",
            safe=False,
        )
        for number, name in enumerate(resolution.nearby[:_MOST_NEARBY], 1)
    )


def _use_published(view: _View) -> tuple[Fix, ...]:
    """Reach a container through the port that it publishes, where none is found here."""
    if view.servers:
        return ()
    return (
        point_clients(
            "use-published",
            "Where the container publishes the port, use this machine's address "
            "(`docker compose port SERVICE PORT` tells it)",
            view.deployment,
            f"127.0.0.1:{view.target.port}",
            safe=False,
        ),
    )


def _use_address(view: _View) -> tuple[Fix, ...]:
    address = view.resolution.addresses[0]
    host = f"[{address}]" if ":" in address else address
    return (
        point_clients(
            "use-address",
            "Until then, use the address itself",
            view.deployment,
            f"{host}:{view.target.port}",
        ),
    )


def _add_host(view: _View) -> tuple[Fix, ...]:
    name = "host.containers.internal" if container_network(view.resolution) == "podman" else ""
    podman = (
        (
            point_clients(
                "podman-name",
                "With Podman, use its own name for the machine",
                view.deployment,
                f"{name}:{view.target.port}",
                safe=False,
            ),
        )
        if name
        else ()
    )
    return (
        *podman,
        code(
            "extra-hosts",
            "Add the name to the client's service (docker run: "
            "--add-host host.docker.internal:host-gateway)",
            "yaml",
            _EXTRA_HOSTS,
        ),
    )


def _share_network(view: _View) -> Fix:
    return code(
        "share-network",
        "Put both services into one network, and use the server's service name",
        "yaml",
        _SHARED_NETWORK.format(name=view.host, port=view.target.port),
    )


def _look_up_again(view: _View) -> tuple[Fix, ...]:
    listed = next((item for item in view.resolution.lookups if item.source == "hosts file"), None)
    if listed is not None and listed.answer == "found":
        return (advice("hosts-entry", f"Correct the line for {view.name} in the hosts file"),)
    return (advice("full-name", "Use the full name of the server's host, with a dot at its end"),)


def _dns_advice(resolution: Resolution, silent: tuple[str, ...] = ()) -> str:
    if silent:
        return f"Take {', '.join(silent)} out of /etc/resolv.conf, or repair it"
    servers = ", ".join(resolution.name_servers) or "the system's"
    return f"Repair the name servers of this machine ({servers}; see /etc/resolv.conf)"


# Evidence


def _failed(view: _View) -> str:
    return f"RuntimeError: Failed to connect to CLI server at {host_port(view.target)}"


def _evidence(view: _View, resolution: Resolution) -> tuple[Evidence, ...]:
    lookups = [item for item in resolution.lookups if item.source != "literal"]
    shown = [Evidence(kind="dns", text=_told(item)) for item in lookups[:_MOST_EVIDENCE]]
    left = len(lookups) - len(shown)
    if left > 0:
        shown.append(Evidence(kind="dns", text=f"and {left} more questions"))
    network = container_network(resolution)
    if network:
        text = f"resolver settings of a {network.capitalize()} network"
        shown.append(Evidence(kind="platform", text=text))
    return (_of_target(view), *shown)


def _told(lookup: Lookup) -> str:
    kind = "" if lookup.kind == "any" else f" {lookup.kind}"
    answer = ", ".join(lookup.addresses) or _ANSWERS.get(lookup.answer, lookup.answer)
    if lookup.answer == "timeout":
        answer += f" after {lookup.elapsed_ms / 1000:.1f} s"
    detail = f" ({lookup.detail})" if lookup.detail and lookup.detail not in answer else ""
    return f"{lookup.source}: {lookup.name}{kind}: {answer}{detail}"


def _of_target(view: _View) -> Evidence:
    origin = view.target.origin
    if origin.kind == "environment":
        return Evidence(kind="environment", text=f"{origin.name}={view.target.text}")
    return Evidence(kind="command", text=f"target: {view.target.text}")


def _of_place(view: _View) -> Evidence:
    here = view.deployment.here
    engine = here.engine if here and here.engine else "kind unknown"
    return Evidence(kind="platform", text=f"this is a container ({engine})")


def _how(view: _View, resolution: Resolution) -> str:
    addresses = ", ".join(resolution.addresses)
    if _is_literal(resolution):
        return f"{view.name} is an address"
    found = [item for item in resolution.lookups if item.answer == "found"]
    source = next((item.source for item in found if item.source != "system"), "system")
    by = "the system" if source == "system" else f"the {source}" if " " in source else source
    full = _full_name(view, resolution)
    named = f", as {full}" if full != view.host.lower().rstrip(".") else ""
    return f"{view.name} is {addresses} (from {by}{named})"


# Facts


def _is_dns(lookup: Lookup) -> bool:
    return lookup.kind in {"A", "AAAA"}


def _is_literal(resolution: Resolution) -> bool:
    return any(item.source == "literal" for item in resolution.lookups)


def _full_name(view: _View, resolution: Resolution) -> str:
    """Return the full name that a name server knew."""
    plain = view.host.lower().rstrip(".")
    found = next(
        (item.name for item in resolution.lookups if _is_dns(item) and item.answer == "found"), ""
    )
    return found.lower().rstrip(".") or plain


def _is_this_machine(host: str) -> bool:
    bare = host.lower().rstrip(".")
    return bare == "localhost" or bare.endswith(".localhost") or _is_loopback(bare)


def _is_loopback(address: str) -> bool:
    bare = address.removeprefix("::ffff:")
    return bare == "::1" or (bare.startswith("127.") and bare.replace(".", "").isdigit())


def _is_public(address: str) -> bool:
    import ipaddress

    try:
        return ipaddress.ip_address(address.partition("%")[0]).is_global
    except ValueError:
        return False


def _python_sdks(deployment: Deployment) -> list[Sdk]:
    known = [client.sdk for client in deployment.clients if client.sdk is not None]
    return [sdk for sdk in (*known, *deployment.sdks) if sdk.language == "python"]


CHECK = Check(
    id="service-name",
    title="Does the name that clients use lead to the server?",
    category="network",
    looks_at="COPILOT_CLI_URL and each target: its spelling, and who knows its name",
    symptoms=(
        Symptom(
            text=(
                "RuntimeError: Failed to connect to CLI server at HOST:PORT: "
                "[Errno -2] Name or service not known"
            ),
            pattern=(
                r"(?:Name or service not known|nodename nor servname provided"
                r"|No address associated with hostname|getaddrinfo failed)"
            ),
            where="sdk",
            sdk="0.3.0, 1.0.0, 1.0.11, 1.0.24, 1.0.27",
        ),
        Symptom(
            text=(
                "RuntimeError: Failed to connect to CLI server at HOST:PORT: "
                "[Errno -3] Temporary failure in name resolution"
            ),
            pattern=r"Temporary failure in name resolution",
            where="sdk",
            sdk="0.3.0, 1.0.11, 1.0.24, 1.0.27",
        ),
        Symptom(
            text="ValueError: Invalid cli_url format: TEXT",
            pattern=r"Invalid cli_url format",
            where="sdk",
            sdk="0.3.0, 1.0.11, 1.0.27",
        ),
        Symptom(
            text="ValueError: Invalid port in cli_url: TEXT",
            pattern=r"Invalid port in cli_url",
            where="sdk",
            sdk="1.0.27",
        ),
        Symptom(
            text="start() takes 5 s or more, and then works",
            where="behaviour",
            sdk="1.0.24, 1.0.27",
        ),
    ),
    causes=CAUSES,
    judge=judge,
    fixes=(
        GeneralFix(
            cause="not-an-address",
            summary="Give HOST:PORT",
            shell="export COPILOT_CLI_URL=HOST:PORT",
        ),
        GeneralFix(
            cause="sdk-refuses-spelling",
            summary="Write host and port alone",
            shell="export COPILOT_CLI_URL=HOST:PORT",
        ),
        GeneralFix(
            cause="service-name-outside",
            summary="Outside of the container network, use the published port",
            shell="export COPILOT_CLI_URL=127.0.0.1:PORT",
        ),
        GeneralFix(
            cause="unknown-service",
            summary="Use the service name as Compose has it, and put both into one network",
            shell="export COPILOT_CLI_URL=SERVICE:PORT",
        ),
        GeneralFix(
            cause="unknown-name",
            summary="Use a name that resolves",
            shell="getent ahosts HOST",
        ),
        GeneralFix(
            cause="docker-host-name-outside",
            summary="On the machine itself, use loopback",
            shell="export COPILOT_CLI_URL=127.0.0.1:PORT",
        ),
        GeneralFix(
            cause="docker-host-name-not-added",
            summary="Add the name to the client's service",
            code=_EXTRA_HOSTS.strip("\n"),
            language="yaml",
        ),
        GeneralFix(
            cause="localhost-in-container",
            summary="Use the service name, and start the server with --host 0.0.0.0 and a token",
            code=_IN_COMPOSE.format(port="PORT").strip("\n"),
            language="yaml",
        ),
        GeneralFix(
            cause="resolves-to-loopback",
            summary="See who says so, and correct the entry",
            shell="getent ahosts HOST; grep -n HOST /etc/hosts",
        ),
        GeneralFix(
            cause="resolves-elsewhere",
            summary="Use the full name with a dot at its end, so that no search domain is added",
            shell="export COPILOT_CLI_URL=FULL.NAME.:PORT",
        ),
        GeneralFix(cause="only-ipv6", summary="Use the Python SDK 1.0.13 or later"),
        GeneralFix(
            cause="name-servers-silent",
            summary="Repair the name servers in /etc/resolv.conf, or use the address",
            shell="export COPILOT_CLI_URL=ADDRESS:PORT",
        ),
        GeneralFix(
            cause="name-server-silent",
            summary="Take the silent name server out of /etc/resolv.conf",
        ),
    ),
)
