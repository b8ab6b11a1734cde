"""One client sees, and can answer, another client's requests.

Symptom in the user's words: "an approval that nobody here gave",
"events of a session that is not mine".
Measured: the server's version, whether it takes a connection token, how many clients are connected.
Can be wrong where all clients belong to one trusted program: then it is by design harmless.
"""

from collections.abc import Iterator

from doctor.behaviour.facts import FOREIGN_APPROVAL, ISOLATES_CLIENTS
from doctor.behaviour.versions import NEWEST_TESTED
from doctor.catalogue import (
    Cause,
    Check,
    Evidence,
    Finding,
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
from doctor.deployment import Deployment

SHARED_EVENTS = Cause(
    id="shared-events",
    text=(
        "On this version every connected client receives the session events of all the others, "
        "permission requests included, and can answer them."
    ),
    documented=SDK_MULTI_TENANCY,
    documented_says=(
        "several clients can share one server; that they see each other's events is not mentioned."
    ),
    observed=FOREIGN_APPROVAL.where(value=True),
)

CAUSES = (SHARED_EVENTS,)


def judge(deployment: Deployment) -> Iterator[Outcome]:
    """Judge every TCP server by its version and the number of its clients."""
    servers = deployment.tcp_servers
    if not servers:
        yield Skipped(reason="no Copilot server to judge")
    for server in servers:
        isolates = ISOLATES_CLIENTS.at(server.version)
        if isolates.value is None:
            yield NotVisible(
                subject=about(server),
                reason="the server's version could not be read",
                remedy="set COPILOT_CONNECTION_TOKEN for the doctor, so that it can ask the server",
            )
            continue
        if isolates.value:
            yield Passed(subject=about(server), detail="clients are kept apart on this version")
            continue
        clients = deployment.clients_of(server)
        if len(clients) <= 1:
            yield Passed(
                subject=about(server),
                detail="no more than one client is connected, so nothing is shared now",
            )
            continue
        yield Finding(
            status="warn",
            title=f"{len(clients)} clients share a server that shows each the others' requests",
            cause=SHARED_EVENTS,
            subject=about(server),
            origin=server.origin,
            symptom="a tool runs that this client's user has not approved",
            evidence=(
                Evidence(kind="wire", text=f"server version: {server.version}"),
                *(
                    Evidence(kind="process", text=f"connected: {about(client)}")
                    for client in clients
                ),
            ),
            fixes=(
                advice(
                    "upgrade",
                    f"move the server to CLI {NEWEST_TESTED} (clients are kept apart from 1.0.81 on)",
                ),
                advice("one-each", "give each client, or each user, a server of its own"),
            ),
        )


CHECK = Check(
    id="client-isolation",
    title="Are the clients of one server kept apart?",
    category="permissions",
    looks_at="the version of each server and the clients connected to it",
    symptoms=(
        Symptom(
            text="a client receives permission.requested events of sessions that are not its own",
            where="behaviour",
            versions=ISOLATES_CLIENTS.where(value=False),
        ),
    ),
    causes=CAUSES,
    judge=judge,
    fixes=(
        GeneralFix(
            cause="shared-events",
            summary="Move the server to CLI 1.0.81 or later, or give each client its own server",
        ),
    ),
)
