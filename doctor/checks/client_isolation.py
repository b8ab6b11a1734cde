"""One client sees, and can answer, another client's requests.

Symptom in the user's words: "an approval that nobody here gave",
"events of a session that is not mine".
Measured: the server's version, which clients are connected, and as which users they run.
Can be wrong where all clients belong to one trusted program: then it is by design harmless.
"""

from collections.abc import Iterator
from typing import Final

from doctor.behaviour.facts import FOREIGN_APPROVAL, ISOLATES_CLIENTS
from doctor.behaviour.versions import NEWEST_TESTED, TESTED
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
)
from doctor.catalogue.check import GeneralFix
from doctor.catalogue.pages import SDK_MULTI_TENANCY
from doctor.catalogue.steps import restart_fix, upgrade
from doctor.deployment import Client, Deployment, Server

SHARED_APPROVALS = Cause(
    id="shared-approvals",
    text=(
        "From 1.0.2 to 1.0.73 every connected client receives the session events of all the "
        "others, permission requests included, and can answer them: one client's approval runs "
        "another client's command."
    ),
    documented=SDK_MULTI_TENANCY,
    documented_says=(
        "several clients can share one server; that they see each other's events is not mentioned."
    ),
    observed=FOREIGN_APPROVAL.where(value=True),
)
SHARED_EVENTS = Cause(
    id="shared-events",
    text=(
        "On 0.0.4xx every connected client receives the session events of all the others. "
        "Permission requests go to their owner alone."
    ),
    documented=SDK_MULTI_TENANCY,
    documented_says=(
        "several clients can share one server; that they see each other's events is not mentioned."
    ),
    observed=("0.0.400", "0.0.420"),
)
SHARED_SESSIONS = Cause(
    id="shared-sessions",
    text=(
        "On every version a client that is let in can list the sessions of all the others and "
        "send prompts into them. Users who should not do that need a server each."
    ),
    documented=SDK_MULTI_TENANCY,
    documented_says="state is scoped to a session; who may use that session is left open.",
    observed=TESTED,
)

CAUSES = (SHARED_APPROVALS, SHARED_EVENTS, SHARED_SESSIONS)

_OWN_SERVER: Final = "give each user a server of their own: another port, another connection token"


def judge(deployment: Deployment) -> Iterator[Outcome]:
    """Judge every TCP server by its version, and by how many clients and users it has."""
    servers = deployment.tcp_servers
    if not servers:
        yield Skipped(reason="no Copilot server to judge")
    for server in servers:
        yield _judge_server(deployment, server)


def _judge_server(deployment: Deployment, server: Server) -> Outcome:
    clients = deployment.clients_of(server)
    users = sorted({user for client in clients if (user := _user(client))})
    isolates = ISOLATES_CLIENTS.at(server.version).value
    if len(clients) > 1 and isolates is False:
        answers = FOREIGN_APPROVAL.at(server.version).value
        return _finding(
            deployment,
            server,
            clients,
            users,
            SHARED_EVENTS if answers is False else SHARED_APPROVALS,
        )
    if isolates is None:
        return NotVisible(
            subject=about(server),
            reason=_unknown(server),
            remedy="set COPILOT_CONNECTION_TOKEN for copilot-doctor, so that it can ask the server",
        )
    if len(users) > 1:
        return _finding(deployment, server, clients, users, SHARED_SESSIONS)
    if isolates:
        return Passed(
            subject=about(server), detail="each client sees its own events alone on this version"
        )
    hidden = _why_clients_hidden(deployment, server)
    if hidden:
        return NotVisible(
            subject=about(server),
            reason=f"its clients see each other's events on this version; {hidden}",
            remedy="run copilot-doctor as root to see who is connected",
        )
    return Passed(
        subject=about(server),
        detail="clients see each other's events on this version; no two are connected now",
    )


def _finding(
    deployment: Deployment,
    server: Server,
    clients: tuple[Client, ...],
    users: list[str],
    cause: Cause,
) -> Finding:
    title = {
        SHARED_APPROVALS.id: f"{len(clients)} clients can answer each other's permission requests",
        SHARED_EVENTS.id: f"{len(clients)} clients receive each other's session events",
        SHARED_SESSIONS.id: f"{len(users)} users share a server, and so each other's sessions",
    }[cause.id]
    is_dangerous = cause is SHARED_APPROVALS and len(users) > 1
    detail = f"The clients run as different users: {', '.join(users)}." if len(users) > 1 else ""
    own = advice("one-each", _OWN_SERVER)
    fixes = (own,) if cause is SHARED_SESSIONS else (_upgrade(deployment, server), own)
    return Finding(
        status="fail" if is_dangerous else "warn",
        title=title,
        cause=cause,
        subject=about(server),
        origin=server.origin,
        detail=detail,
        symptom="" if cause is not SHARED_APPROVALS else "a tool runs that this client refused",
        evidence=(
            Evidence(kind="wire", text=f"server version: {server.version or 'not known'}"),
            *(Evidence(kind="process", text=_connected(client)) for client in clients),
        ),
        fixes=fixes,
    )


def _upgrade(deployment: Deployment, server: Server) -> Fix:
    line = upgrade(server, NEWEST_TESTED)
    summary = f"move the server to CLI {NEWEST_TESTED} (events are kept apart from 1.0.81 on)"
    if line is None:
        return advice("upgrade", summary)
    return restart_fix("upgrade", summary, deployment, server, prepare=(line,))


def _unknown(server: Server) -> str:
    if server.version is None:
        return "whether its clients are kept apart depends on its version, which could not be read"
    return (
        f"clients are kept apart from 1.0.81 on, not up to 1.0.73; "
        f"version {server.version} was not tried"
    )


def _why_clients_hidden(deployment: Deployment, server: Server) -> str:
    if not server.listeners_visible:
        return "its connections could not be seen"
    hidden = next((i for i in deployment.unseen if i.what in {"sockets", "socket-owner"}), None)
    return f"not all connections could be seen: {hidden.reason}" if hidden else ""


def _user(client: Client) -> str | None:
    return client.process.user if client.process else None


def _connected(client: Client) -> str:
    user, sdk = _user(client), client.sdk
    parts = [f"connected: {about(client)}"]
    if client.process and client.process.name:
        parts.append(client.process.name)
    if user:
        parts.append(f"user {user}")
    if sdk:
        parts.append(f"{sdk.package} {sdk.version or sdk.declared}".rstrip())
    return ", ".join(parts)


CHECK = Check(
    id="client-isolation",
    title="Are the clients of one server kept apart?",
    category="permissions",
    looks_at="the version of each server, the clients connected to it and their users",
    symptoms=(
        Symptom(
            text="a client receives permission.requested events of sessions that are not its own",
            where="behaviour",
            versions=ISOLATES_CLIENTS.where(value=False),
        ),
        Symptom(
            text="a tool runs that this client refused, because another client approved it",
            where="behaviour",
            versions=FOREIGN_APPROVAL.where(value=True),
        ),
        Symptom(
            text="session.list shows sessions of other clients",
            where="behaviour",
            versions=TESTED,
        ),
    ),
    causes=CAUSES,
    judge=judge,
    fixes=(
        GeneralFix(
            cause="shared-approvals",
            summary="Move the server to CLI 1.0.81 or later, then start it again",
            shell=f"npm install -g @github/copilot@{NEWEST_TESTED}",
        ),
        GeneralFix(
            cause="shared-events",
            summary="Move the server to CLI 1.0.81 or later, then start it again",
            shell=f"npm install -g @github/copilot@{NEWEST_TESTED}",
        ),
        GeneralFix(cause="shared-sessions", summary=_OWN_SERVER[0].upper() + _OWN_SERVER[1:]),
    ),
)
