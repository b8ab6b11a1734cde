"""A server can be reached from other hosts, and takes everybody.

Symptom in the user's words: "No COPILOT_CONNECTION_TOKEN was set, so connections will be accepted
from any client", "a port scan found it", "somebody else's requests on my account".
Measured: the addresses that each Copilot process listens on, and what protects them: the answer of
the server to this doctor, else the connection token in its environment and its version.
Can be wrong about what is between the hosts: a firewall or a container network that lets nobody in
is not looked at. A listener that is protected today is not after a restart without the variable.
"""

from collections.abc import Iterator
from typing import Final, Literal, NamedTuple

from doctor.behaviour.facts import (
    DEFAULT_BIND,
    EMPTY_HOST_IS_EVERY,
    ENFORCES_CONNECTION_TOKEN,
    HAS_HOST_OPTION,
    MODES_WITHOUT_TOKEN,
)
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
from doctor.catalogue.pages import SDK_BACKEND, server_mode
from doctor.catalogue.steps import (
    ensure_token,
    restart_fix,
    start,
    stop_for_good,
    supervisor_of,
    upgrade,
)
from doctor.deployment import CONNECTION_TOKEN, Deployment, Listener, Server

_PAGE: Final = server_mode("Securing the Server")
_ENDS: Final = ("1.0.63", "1.0.102")

NO_TOKEN = Cause(
    id="no-token",
    text=(
        "The server listens beyond this host and has no connection token, so whoever reaches the "
        "port can run commands as its user: a connected client approves its own tool calls. "
        "It should listen on 127.0.0.1, or have COPILOT_CONNECTION_TOKEN set."
    ),
    documented=_PAGE,
    documented_says=(
        "combined with --allow-all-*, an exposed server is remote code execution as your user. "
        "On every tested version it is that without these flags too: they decide nothing for "
        "the sessions of SDK clients."
    ),
    observed=observed_range("1.0.44", "1.0.102"),
)
OLD_DEFAULT = Cause(
    id="old-default",
    text=(
        "Up to CLI 1.0.22 a server listens on every interface, without being asked to, has no "
        "--host, and ignores connection tokens: whoever reaches the port can run commands as its "
        "user. From 1.0.32 on it listens on 127.0.0.1."
    ),
    documented=SDK_BACKEND,
    documented_says="the server listens on loopback by default; no version is named.",
    observed=DEFAULT_BIND.where("*"),
)
TOKEN_IGNORED = Cause(
    id="token-ignored",
    text=(
        "The server listens beyond this host, and its COPILOT_CONNECTION_TOKEN protects nothing: "
        "versions up to 1.0.32 ignore it. Enforced from 1.0.44 on."
    ),
    documented=_PAGE,
    documented_says="setting the variable makes the server require it; no version is named.",
    observed=ENFORCES_CONNECTION_TOKEN.where(value=False),
)
NO_TOKEN_IN_MODE = Cause(
    id="mode-without-token",
    text=(
        "An interactive session with --ui-server and an ACP server listen as well, and both ignore "
        "COPILOT_CONNECTION_TOKEN: whoever reaches the port can use them. "
        "They should listen on 127.0.0.1."
    ),
    documented=_PAGE,
    documented_says="the token protects the server; these modes are not mentioned.",
    observed=_ENDS,
)
EMPTY_HOST = Cause(
    id="empty-host",
    text=(
        "--host was given without a value (a variable that is not set), which means every "
        "interface up to 1.0.64, and there is no connection token. "
        "From 1.0.73 on such a start fails."
    ),
    observed=("1.0.32", "1.0.44", "1.0.63", "1.0.64"),
)
NOT_KNOWN = Cause(
    id="protection-not-known",
    text=(
        "The server listens beyond this host, and whether a connection token protects it cannot be "
        "seen from here: its environment is not readable and it was not asked."
    ),
    documented=_PAGE,
    observed=_ENDS,
)

CAUSES = (NO_TOKEN, OLD_DEFAULT, TOKEN_IGNORED, NO_TOKEN_IN_MODE, EMPTY_HOST, NOT_KNOWN)

_ALLOW_FLAGS: Final = (
    "--allow-all",
    "--yolo",
    "--allow-all-tools",
    "--allow-all-paths",
    "--allow-all-urls",
)
_MOST_ADDRESSES: Final = 4
_OPEN: Final = frozenset({"not-required", "not-configured", "ignored"})
_CLOSED: Final = frozenset({"accepted", "required", "rejected"})
_CLIENT: Final = """
import os
from copilot import CopilotClient, RuntimeConnection

client = CopilotClient(
    connection=RuntimeConnection.for_uri(
        "HOST:{port}",
        connection_token=os.environ["COPILOT_CONNECTION_TOKEN"],
    )
)
"""


class _Protection(NamedTuple):
    """Whether strangers are kept out, and how that is known."""

    state: Literal["open", "closed", "unknown"]
    evidence: Evidence


def judge(deployment: Deployment) -> Iterator[Outcome]:
    """Judge every Copilot process that listens."""
    judged = [server for server in deployment.servers if _may_listen(server)]
    if not judged:
        yield Skipped(reason="no Copilot server that listens on a port")
    for server in judged:
        yield _server(deployment, server)


def _may_listen(server: Server) -> bool:
    if server.listeners:
        return True
    # One that does not listen yet, or no more, exposes nothing: only the blind spot is told.
    return not server.listeners_visible and server.mode not in {"stdio", "acp-stdio", "prompt"}


def _server(deployment: Deployment, server: Server) -> Outcome:
    if not server.listeners:
        return NotVisible(
            subject=about(server),
            reason="the sockets of its process cannot be read",
            remedy="run copilot-doctor as the server's user, or as root (sudo)",
        )
    beyond = [item for item in server.listeners if item.scope != "loopback"]
    if not beyond:
        shown = ", ".join(map(_at, server.listeners))
        return Passed(subject=about(server), detail=f"it listens on loopback alone: {shown}")
    protection = _protection(deployment, server)
    if protection.state == "closed":
        return Passed(
            subject=about(server),
            detail=f"it listens on {', '.join(map(_at, beyond))}, and asks for a connection token "
            f"({protection.evidence.text}); the traffic is not encrypted",
        )
    evidence = (
        *(Evidence(kind="socket", text=f"it listens on {_at(item)}") for item in beyond),
        protection.evidence,
        *_of_reach(deployment, beyond),
        *_of_flags(server),
        *_of_identity(deployment, server),
    )
    if protection.state == "unknown":
        return Finding(
            status="unknown",
            title=f"{_who(server)} is open to other hosts, its protection not visible",
            cause=NOT_KNOWN,
            subject=about(server),
            origin=server.origin,
            detail="It takes everybody unless it was started with COPILOT_CONNECTION_TOKEN.",
            evidence=evidence,
            fixes=(
                advice(
                    "ask-it",
                    "Run copilot-doctor as root or as the server's user, or where it can connect "
                    "to the server",
                ),
                *_fixes(deployment, server),
            ),
        )
    return Finding(
        status="fail",
        title=f"{_who(server)} takes everybody, from every host that can reach it",
        cause=_cause(server),
        subject=about(server),
        origin=server.origin,
        detail=_risk(deployment, server),
        symptom=_symptom(server),
        evidence=evidence,
        fixes=_fixes(deployment, server),
    )


# What protects it


def _protection(deployment: Deployment, server: Server) -> _Protection:
    shake = deployment.handshake(server)
    if shake is not None and shake.token in _OPEN:
        words = {
            "not-required": "it let the doctor in without a connection token",
            "not-configured": "it says that it has no connection token (-32003)",
            "ignored": "it let the doctor in without looking at the connection token",
        }[shake.token]
        return _Protection("open", Evidence(kind="wire", text=words))
    if shake is not None and shake.token in _CLOSED:
        words = {
            "accepted": "it took this shell's connection token",
            "required": "it refused a client without a connection token",
            "rejected": "it refused a wrong connection token",
        }[shake.token]
        return _Protection("closed", Evidence(kind="wire", text=words))
    if server.mode in MODES_WITHOUT_TOKEN:
        words = f"{_mode(server)} asks for no connection token"
        return _Protection("open", Evidence(kind="command", text=words))
    environment = server.environment
    if not environment.visible:
        reason = environment.reason or "not readable"
        words = f"{CONNECTION_TOKEN} of the server: {reason}"
        return _Protection("unknown", Evidence(kind="environment", text=words))
    if not environment.is_set(CONNECTION_TOKEN):
        how = "is empty" if environment.get(CONNECTION_TOKEN) else "is not set"
        words = f"{CONNECTION_TOKEN} {how} in the server's environment"
        return _Protection("open", Evidence(kind="environment", text=words))
    enforces = ENFORCES_CONNECTION_TOKEN.at(server.version)
    if enforces.value is None:
        words = (
            f"{CONNECTION_TOKEN} is set; versions up to 1.0.32 ignore it, from 1.0.44 on it "
            f"counts, and this is {server.version or 'a version that could not be read'}"
        )
        return _Protection("unknown", Evidence(kind="environment", text=words))
    words = f"{CONNECTION_TOKEN} is set in the server's environment"
    if enforces.value:
        return _Protection("closed", Evidence(kind="environment", text=words))
    words += f", and {server.version} ignores it"
    return _Protection("open", Evidence(kind="environment", text=words))


def _cause(server: Server) -> Cause:
    has_token = server.environment.visible and server.environment.is_set(CONNECTION_TOKEN)
    host = server.command.host if server.command else None
    if server.mode in MODES_WITHOUT_TOKEN:
        return NO_TOKEN_IN_MODE
    if DEFAULT_BIND.at(server.version).value == "*":
        return OLD_DEFAULT
    if has_token and ENFORCES_CONNECTION_TOKEN.at(server.version).value is not True:
        return TOKEN_IGNORED
    if host is not None and not host.strip() and EMPTY_HOST_IS_EVERY.at(server.version).value:
        return EMPTY_HOST
    return NO_TOKEN


# What it means


def _risk(deployment: Deployment, server: Server) -> str:
    user = server.process.user if server.process else None
    who = f"user {user}" if user else "the server's user"
    shake = deployment.handshake(server)
    account = "and, where the server is signed in to GitHub, with its account"
    if shake is not None and shake.signed_in:
        named = f" ({shake.login})" if shake.login else ""
        account = f"and with its GitHub account{named}"
    text = (
        f"Whoever connects can read and write files and run commands on this host as {who}, "
        f"{account}: a client answers the permission requests of its own sessions."
    )
    flags = _allow_flags(server)
    if flags:
        text += (
            f" It was started with {' '.join(flags)}: sessions that the CLI itself holds are not "
            "even asked about. For SDK clients the flags change nothing, so leaving them out "
            "protects nothing."
        )
    return text


def _symptom(server: Server) -> str:
    if server.mode in MODES_WITHOUT_TOKEN or ENFORCES_CONNECTION_TOKEN.at(server.version).value in {
        None,
        False,
    }:
        return "nothing is printed: the server starts as if all were well"
    return (
        "Warning: No COPILOT_CONNECTION_TOKEN was set, so connections will be accepted from any "
        "client (also printed for a server on loopback, where it is fine)"
    )


def _of_reach(deployment: Deployment, beyond: list[Listener]) -> Iterator[Evidence]:
    here = deployment.here
    if here is None:
        return
    own = [item for item in beyond if item.namespace == "own" and item.scope == "every"]
    addresses = [item for item in here.addresses if not item.startswith("fe80:")]
    if own and addresses:
        shown = ", ".join(
            f"[{a}]:{own[0].port}" if ":" in a else f"{a}:{own[0].port}"
            for a in addresses[:_MOST_ADDRESSES]
        )
        yield Evidence(kind="platform", text=f"reachable at {shown}")
    if any(item.namespace == "other" for item in beyond):
        text = "it is in another network namespace (a container): its network reaches it, and "
        text += "other hosts where its port is published"
        yield Evidence(kind="platform", text=text)


def _of_flags(server: Server) -> Iterator[Evidence]:
    flags = _allow_flags(server)
    if flags:
        yield Evidence(kind="command", text=f"started with {' '.join(flags)}")
    host = server.command.host if server.command else None
    if host is not None:
        yield Evidence(kind="command", text=f"--host {host or '(empty)'}")
    elif server.version and DEFAULT_BIND.at(server.version).value == "*":
        text = f"{server.version} has no --host and listens on every interface"
        yield Evidence(kind="package", text=text)


def _of_identity(deployment: Deployment, server: Server) -> Iterator[Evidence]:
    shake = deployment.handshake(server)
    if shake is not None and shake.signed_in is not None:
        state = "signed in to GitHub" if shake.signed_in else "not signed in to GitHub"
        login = f" as {shake.login}" if shake.login else ""
        yield Evidence(kind="wire", text=f"the server is {state}{login}")


# Fixes


def _fixes(deployment: Deployment, server: Server) -> tuple[Fix, ...]:
    has_host = HAS_HOST_OPTION.at(server.version).value
    if has_host is False:
        return (_upgrade(deployment, server, "it then listens on 127.0.0.1"),)
    loopback = restart_fix(
        "loopback",
        "Restart it on loopback, where clients of this host alone reach it",
        deployment,
        server,
        drop=("--host",),
        add=("--host", "127.0.0.1"),
    )
    if server.mode in MODES_WITHOUT_TOKEN:
        return (loopback,)
    enforces = ENFORCES_CONNECTION_TOKEN.at(server.version).value
    if enforces is False:
        return (
            loopback,
            _upgrade(
                deployment, server, "with a connection token, which it then asks for", token=True
            ),
        )
    # An empty --host has to be spelt out: newer versions do not take it.
    host = server.command.host if server.command else None
    is_unnamed = host is not None and not host.strip()
    token = restart_fix(
        "token",
        "Restart it with a connection token, and give its clients the same "
        "COPILOT_CONNECTION_TOKEN" + ("" if enforces else " (needs CLI 1.0.44 or later)"),
        deployment,
        server,
        prepare=(ensure_token(deployment),),
        drop=("--host",) if is_unnamed else (),
        add=("--host", "0.0.0.0") if is_unnamed else (),  # noqa: S104 - what it means now
    )
    client = code(
        "client-token",
        "Clients pass the token with every connection",
        "python",
        _CLIENT.format(port=server.port or "PORT"),
    )
    # In a container loopback is out of everybody's reach: there the token comes first.
    is_in_container = (deployment.here is not None and deployment.here.kind == "container") or any(
        item.namespace == "other" for item in server.listeners
    )
    return (token, client, loopback) if is_in_container else (loopback, token, client)


def _upgrade(deployment: Deployment, server: Server, purpose: str, *, token: bool = False) -> Fix:
    install = upgrade(server, NEWEST_TESTED)
    summary = f"Upgrade the CLI to {NEWEST_TESTED} and start the server again: {purpose}"
    if install is None or supervisor_of(server) is not None:
        return advice("upgrade", f"{summary} (npm install --global @github/copilot@VERSION)")
    lines = [*stop_for_good(deployment, server), install]
    if token:
        lines.insert(0, ensure_token(deployment))
    return command("upgrade", summary, *lines, *start(deployment, server))


# Facts


def _allow_flags(server: Server) -> list[str]:
    command_line = server.command
    return [flag for flag in _ALLOW_FLAGS if command_line and command_line.has(flag)]


def _mode(server: Server) -> str:
    return {"acp": "an ACP server", "ui-server": "an interactive session with --ui-server"}.get(
        server.mode, "a server"
    )


def _who(server: Server) -> str:
    what = {"acp": "The ACP server", "ui-server": "The interactive session"}.get(
        server.mode, "The server"
    )
    return f"{what} on port {server.port}"


def _at(item: Listener) -> str:
    host = f"[{item.address}]" if ":" in item.address else item.address or "*"
    words = {"every": ", every interface", "one": "", "loopback": ""}[item.scope]
    if item.scope == "every" and item.family == "ipv6":
        both = {True: ", IPv4 too", False: ", IPv6 alone", None: ""}[item.is_dual_stack]
        words += both
    return f"{host}:{item.port}{f' ({words[2:]})' if words else ''}"


CHECK = Check(
    id="listener-exposed",
    title="Is the server closed to strangers?",
    category="network",
    looks_at="the addresses that each server listens on, and what it asks of whoever connects",
    symptoms=(
        Symptom(
            text=(
                "Warning: No COPILOT_CONNECTION_TOKEN was set, so connections will be accepted "
                "from any client"
            ),
            pattern=r"No COPILOT_CONNECTION_TOKEN was set",
            where="stdout",
            versions=ENFORCES_CONNECTION_TOKEN.where(value=True),
        ),
        Symptom(
            text="a server that listens on every interface prints no warning at all",
            where="behaviour",
            versions=ENFORCES_CONNECTION_TOKEN.where(value=False),
        ),
    ),
    causes=CAUSES,
    judge=judge,
    fixes=(
        GeneralFix(
            cause="no-token",
            summary="Listen on loopback alone",
            shell="copilot --server --host 127.0.0.1 --port PORT",
        ),
        GeneralFix(
            cause="no-token",
            summary="Or ask for a connection token, and give it to the clients",
            shell=(
                "export COPILOT_CONNECTION_TOKEN="
                "\"$(head -c 32 /dev/urandom | od -An -vtx1 | tr -d ' \\n')\"\n"
                "copilot --server --host 0.0.0.0 --port PORT"
            ),
        ),
        GeneralFix(
            cause="old-default",
            summary="Upgrade: versions from 1.0.32 on listen on loopback",
            shell=f"npm install --global @github/copilot@{NEWEST_TESTED}",
        ),
        GeneralFix(
            cause="token-ignored",
            summary="Upgrade: versions from 1.0.44 on enforce the token",
            shell=f"npm install --global @github/copilot@{NEWEST_TESTED}",
        ),
        GeneralFix(
            cause="mode-without-token",
            summary="Listen on loopback alone",
            shell="copilot --ui-server --host 127.0.0.1 --port PORT",
        ),
        GeneralFix(
            cause="empty-host",
            summary="Name the address",
            shell="copilot --server --host 127.0.0.1 --port PORT",
        ),
        GeneralFix(
            cause="protection-not-known",
            summary="Let the doctor see the server's environment",
            shell="sudo copilot-doctor",
        ),
    ),
)
