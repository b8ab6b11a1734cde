"""Small Deployments for the tests of checks.

Environments go through the real boundary (`describe_all`), so that a test's value becomes what a
source would make of it. All of them share one vault: equal values have equal groups.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from doctor.catalogue import Finding, NotVisible, Passed, Skipped
from doctor.deployment import (
    Client,
    Deployment,
    Environment,
    Handshake,
    Holder,
    Hop,
    Host,
    Listener,
    Origin,
    Process,
    Route,
    Sdk,
    Server,
    Target,
    WantedPort,
)
from doctor.deployment.launch import parse
from doctor.deployment.targets import parse_target
from doctor.deployment.values import describe_all
from doctor.redaction import Vault

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from doctor.catalogue import Check, Outcome

O = TypeVar("O", Finding, Passed, Skipped, NotVisible)  # noqa: E741 - an outcome

VAULT = Vault()
PORT = 3000
PID = 4123


def environment(values: Mapping[str, str] | None = None, also: tuple[str, ...] = ()) -> Environment:
    """An environment that could be read."""
    return describe_all(dict(values or {}), VAULT, also)


def hidden(reason: str = "it belongs to another user", remedy: str = "run as root") -> Environment:
    """An environment that could not be read."""
    return Environment(visible=False, reason=reason, remedy=remedy)


def process(pid: int = PID, **facts: Any) -> Process:
    return Process(
        pid=pid, **{"name": "MainThread", "command": ("copilot",), "user": "mona"} | facts
    )


def listener(address: str = "127.0.0.1", port: int = PORT, **facts: Any) -> Listener:
    family = "ipv6" if ":" in address else "ipv4"
    return Listener(address=address, port=port, **{"family": family, "owner": process()} | facts)


def server(
    version: str | None = "1.0.102",
    args: str | Sequence[str] | None = f"--server --port {PORT}",
    env: Mapping[str, str] | Environment | None = None,
    *,
    listeners: Sequence[Listener] | None = None,
    **facts: Any,
) -> Server:
    """A running server.

    Args:
        version: None: it could not be found out.
        args: Its arguments, as one text or as words; None: the command could not be read.
        env: Its environment, as values or as the noun.
        listeners: None: one on the port of its arguments, on loopback.
        **facts: Further attributes of the noun.
    """
    words = args.split() if isinstance(args, str) else args
    command = None if words is None else parse(list(words), version)
    named = command.value("--auth-token-env") if command else None
    if not isinstance(env, Environment):
        env = environment(env, (named,) if named else ())
    if listeners is None:
        listeners = (listener(port=(command.port if command else None) or PORT),)
    defaults: dict[str, Any] = {
        "id": "server-1",
        "origin": Origin(kind="process", pid=PID),
        "process": process(),
    }
    return Server(
        version=version,
        command=command,
        environment=env,
        listeners=tuple(listeners),
        **defaults | facts,
    )


def handshake(version: str | None = "1.0.102", **facts: Any) -> Handshake:
    """The answer of a Copilot server without a connection token, not signed in."""
    defaults: dict[str, Any] = {
        "peer": "copilot",
        "address": "127.0.0.1",
        "port": PORT,
        "protocol_version": 3,
        "has_connect": True,
        "token": "not-required",
        "signed_in": False,
        "status_message": "Not authenticated",
    }
    return Handshake(version=version, **defaults | facts)


def target(host: str = "127.0.0.1", port: int = PORT, kind: str = "process") -> Target:
    origin = Origin(kind=kind, pid=PID if kind == "process" else None)  # type: ignore[arg-type]
    return Target(text=f"{host}:{port}", host=host, port=port, origin=origin)


def route(
    shake: Handshake | None = None, server_id: str | None = "server-1", **facts: Any
) -> Route:
    """A walked route, to the server unless `server_id` is None."""
    defaults: dict[str, Any] = {"client": "copilot-doctor", "target": target(), "status": "pass"}
    return Route(server=server_id, handshake=shake, **defaults | facts)


def client(pid: int = 5000, sdk: str | None = None, **facts: Any) -> Client:
    """A process that is connected to the server, with a Python SDK of a version or none known."""
    defaults: dict[str, Any] = {
        "id": f"client-{pid}",
        "origin": Origin(kind="process", pid=pid),
        "process": process(pid, name="python", command=("python", "app.py")),
        "server": "server-1",
        "sdk": python_sdk(sdk) if sdk else None,
    }
    return Client(**defaults | facts)


def python_sdk(version: str | None, exactness: str = "installed", declared: str = "") -> Sdk:
    return Sdk(
        language="python",
        package="github-copilot-sdk",
        version=version,
        exactness=exactness,  # type: ignore[arg-type]
        declared=declared,
    )


def deployment(
    *servers: Server,
    shell: Mapping[str, str] | Environment | None = None,
    shake: Handshake | None = None,
    **facts: Any,
) -> Deployment:
    """A Deployment of these servers on a Linux machine.

    Args:
        *servers: What runs.
        shell: The doctor's own environment.
        shake: What the first server said; None: it was not asked.
        **facts: Further attributes of the noun.
    """
    if not isinstance(shell, Environment):
        shell = environment(shell)
    if shake is not None and "routes" not in facts:
        facts["routes"] = (route(shake, servers[0].id if servers else None),)
    defaults: dict[str, Any] = {
        "hosts": (Host(platform="linux", user="mona", ports_taken=(PORT,)),),
        "has_gh": False,
    }
    return Deployment(servers=servers, shell=shell, **defaults | facts)


def outcomes(check: Check, deployment: Deployment) -> list[Outcome]:
    return list(check.judge(deployment))


def only(kind: type[O], check: Check, deployment: Deployment) -> O:
    """The single outcome of a check, which must be of that kind."""
    found = outcomes(check, deployment)
    assert len(found) == 1, found
    assert isinstance(found[0], kind), found
    return found[0]


def findings(check: Check, deployment: Deployment) -> dict[str, Finding]:
    """The findings of a check, by the id of their cause."""
    found = [item for item in outcomes(check, deployment) if isinstance(item, Finding)]
    assert len({item.cause.id for item in found}) == len(found), found
    return {item.cause.id: item for item in found}


def evidence(finding: Finding) -> str:
    return "\n".join(f"{item.kind}: {item.text}" for item in finding.evidence)


def fix_shell(finding: Finding, fix_id: str) -> str:
    """The lines to paste of one fix."""
    return next(fix.shell for fix in finding.fixes if fix.id == fix_id)


def cli_url(text: str, name: str = "COPILOT_CLI_URL") -> Target:
    """What a client is told to use by a variable."""
    return parse_target(text, Origin(kind="environment", name=name))


def walked(to: Target, broken: str = "", code: str = "", detail: str = "", **facts: Any) -> Route:
    """A route to a target that broke at a hop, or reached a Copilot server.

    Args:
        to: Its target.
        broken: The first hop that failed; empty: none.
        code: Of that hop.
        detail: Of that hop.
        **facts: Further attributes of the noun.
    """
    names = ["resolve", "connect", "handshake", "connection-token", "protocol-version"]
    place = names.index(broken) if broken else len(names)
    hops = [Hop(name=name, status="pass", code="ok", detail="fine") for name in names[:place]]
    if broken:
        hops.append(Hop(name=broken, status="fail", code=code, detail=detail))
        hops += [Hop(name=n, status="skip", blocked_by=broken) for n in names[place + 1 :]]
    defaults: dict[str, Any] = {
        "client": "copilot-doctor",
        "target": to,
        "status": "fail" if broken else "pass",
        "hops": tuple(hops),
    }
    return Route(**defaults | facts)


def holder(address: str = "127.0.0.1", port: int = PORT, **facts: Any) -> Holder:
    """A socket that has a wanted port; it listens, unless `state` says otherwise."""
    return Holder(address=address, port=port, **{"state": "listen"} | facts)


def wanted(port: int = PORT, *holders: Holder, name: str = "--port", **facts: Any) -> WantedPort:
    """A port that a server is to be started on."""
    origin = Origin(kind="environment" if name.isupper() else "target", name=name)
    return WantedPort(port=port, holders=holders, **{"origin": origin} | facts)
