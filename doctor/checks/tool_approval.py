"""Tools that hang or are refused, and the launch flags that do not decide about it.

Symptom in the user's words: "tools hang waiting for approval", "Permission denied and could not
request permission from user", "I did pass --allow-all-tools".
Measured: the launch flags, the server's version, the SDKs of connected clients. What decides, the
client's permission handler, is code of another process and cannot be seen: without a client in
view this check never says "fine".
Can be wrong about nothing but relevance: a client that answers every request has no problem.
"""

from collections.abc import Iterator
from typing import Final

from doctor.behaviour.compatibility import is_known, problems
from doctor.behaviour.facts import (
    APPROVAL_WORD,
    DENIED_WITHOUT_HANDLER,
    WITHOUT_HANDLER,
    WRONG_APPROVAL,
)
from doctor.behaviour.versions import NEWEST_TESTED, TESTED, span
from doctor.catalogue import (
    Cause,
    Check,
    Evidence,
    Finding,
    Fix,
    Outcome,
    Passed,
    Skipped,
    Symptom,
    about,
    advice,
    code,
)
from doctor.catalogue.check import GeneralFix
from doctor.catalogue.pages import server_mode
from doctor.deployment import Client, Deployment, LaunchCommand, Server

_PAGE: Final = server_mode("Troubleshooting")

CLIENT_DECIDES = Cause(
    id="client-decides",
    text=(
        "Each client decides about the tools of its own sessions, in its permission handler. The "
        "server's flags neither grant nor forbid there. A client needs a handler that answers; "
        "without one, or with one that never answers, no tool that asks runs."
    ),
    documented=_PAGE,
    documented_says=(
        "the server is missing --allow-all-tools or a matching --allow-tool rule. Starting it with "
        "these flags changed nothing for SDK clients on any tested version."
    ),
    observed=TESTED,
)
NO_GATE = Cause(
    id="no-gate",
    text=(
        "On 0.0.4xx a client without a permission handler is not asked: its tools run at once, "
        "whatever the server's flags say."
    ),
    documented=_PAGE,
    documented_says="tools wait for an approval unless the server has --allow-all-tools.",
    observed=WITHOUT_HANDLER.where("runs"),
)
WRONG_WORD = Cause(
    id="wrong-word",
    text=(
        'The client approves in words of another version: "approved" is understood up to CLI '
        '1.0.32, "approve-once" from 1.0.44 on. The answer is accepted and the tool fails. '
        "SDK and CLI have to fit; no handler cures it."
    ),
    documented=_PAGE,
    documented_says="nothing about it.",
    observed=("0.0.400", "1.0.2", "1.0.32", "1.0.44", "1.0.63", "1.0.64", "1.0.81", "1.0.102"),
)

CAUSES = (CLIENT_DECIDES, NO_GATE, WRONG_WORD)

_TIMEOUT: Final = "TimeoutError: Timeout after 60.0s waiting for session.idle"

# As each SDK's README spells it. `client` is the connected client; resuming a session takes the
# same option. The Python form was run with SDK 0.2.3, 1.0.24 and 1.0.27, the TypeScript form
# with 0.2.2 to 1.0.14.
APPROVE_ALL: Final = {
    "python": """
from copilot.session import PermissionHandler

session = await client.create_session(
    on_permission_request=PermissionHandler.approve_all,
)
""",
    "typescript": """
import { approveAll } from "@github/copilot-sdk";

const session = await client.createSession({
    onPermissionRequest: approveAll,
});
""",
    "go": """
session, err := client.CreateSession(ctx, &copilot.SessionConfig{
    OnPermissionRequest: copilot.PermissionHandler.ApproveAll,
})
""",
    "csharp": """
var session = await client.CreateSessionAsync(new SessionConfig
{
    OnPermissionRequest = PermissionHandler.ApproveAll,
});
""",
    "java": """
var session = client.createSession(
    new SessionConfig().setOnPermissionRequest(PermissionHandler.APPROVE_ALL)).get();
""",
    "rust": """
use std::sync::Arc;
use github_copilot_sdk::{SessionConfig, handler::ApproveAllHandler};

let session = client.create_session(
    SessionConfig::default().with_permission_handler(Arc::new(ApproveAllHandler)),
).await?;
""",
}
DECIDE: Final = """
from copilot.rpc import PermissionDecisionApproveOnce, PermissionDecisionReject
from copilot.session_events import PermissionRequestShell


def decide(request, invocation):
    if isinstance(request, PermissionRequestShell) and "git push" in request.full_command_text:
        return PermissionDecisionReject(feedback="git push is not allowed here")
    return PermissionDecisionApproveOnce()


session = await client.create_session(on_permission_request=decide)
"""
"""A handler that looks at each request (run with SDK 1.0.24 and 1.0.27)."""

_NAMES: Final = {
    "python": "Python",
    "typescript": "TypeScript",
    "go": "Go",
    "csharp": "C#",
    "java": "Java",
    "rust": "Rust",
}
_LANGUAGE_OF_SDK: Final = {"javascript": "typescript", "dotnet": "csharp"}


def judge(deployment: Deployment) -> Iterator[Outcome]:
    """Judge every TCP server, then every client whose SDK is known."""
    servers = deployment.tcp_servers
    if not servers:
        yield Skipped(reason="no Copilot server to judge")
    for server in servers:
        yield _judge_server(deployment, server)
        for client in deployment.clients_of(server):
            yield from _judge_client(server, client)


def _judge_server(deployment: Deployment, server: Server) -> Finding:
    clients = deployment.clients_of(server)
    without = WITHOUT_HANDLER.at(server.version).value
    if without == "runs":
        return Finding(
            status="warn",
            title="On this version tools run unasked for a client without a permission handler",
            cause=NO_GATE,
            subject=about(server),
            origin=server.origin,
            evidence=_evidence(server, clients),
            fixes=(
                advice(
                    "upgrade",
                    f"move the server to CLI {NEWEST_TESTED} and the clients to an SDK of its "
                    "time: from 1.0.44 on nothing runs without an answer",
                ),
                *_handlers(clients),
            ),
        )
    allows = _allowing(server.command)
    sure = bool(allows) or server.command is None
    title = (
        "Whether tools run is decided by each client; the server's flags do not"
        if sure
        else "No allow flag, and none would help: each client decides whether tools run"
    )
    return Finding(
        status="unknown" if sure else "warn",
        title=title,
        cause=CLIENT_DECIDES,
        subject=about(server),
        origin=server.origin,
        detail=_detail(server, allows),
        symptom=_symptom(server),
        evidence=_evidence(server, clients),
        fixes=_handlers(clients),
    )


def _judge_client(server: Server, client: Client) -> Iterator[Outcome]:
    sdk = client.sdk
    if sdk is None or sdk.version is None or not is_known(sdk.version):
        return
    found = [
        skew
        for skew in problems(sdk.version, server.version, sdk.language)
        if skew.code in {"old-approval-word", "new-approval-word"}
    ]
    if not found:
        if APPROVAL_WORD.at(server.version).value and sdk.language in {"python", "javascript"}:
            yield Passed(
                subject=about(client),
                detail=f"{sdk.package} {sdk.version} approves in the words of this server",
            )
        return
    skew = found[0]
    word = APPROVAL_WORD.at(server.version).value
    moves = []
    if skew.sdk_fix:
        moves.append(f"{sdk.package} {skew.sdk_fix}")
    if skew.cli_fix:
        moves.append(f"CLI {skew.cli_fix}")
    yield Finding(
        status="fail" if skew.observed else "unknown",
        title="The client approves in words that this server does not understand"
        if skew.observed
        else "The client may approve in words that this server does not understand",
        cause=WRONG_WORD,
        subject=about(client),
        origin=client.origin,
        detail="" if word is None else f'This server wants "{word}".',
        symptom=WRONG_APPROVAL.at(server.version).value or skew.symptom,
        evidence=(
            Evidence(kind="package", text=f"{sdk.package} {sdk.version} ({sdk.exactness})"),
            Evidence(kind="wire", text=f"server version: {server.version}"),
        ),
        fixes=(
            advice(
                "fitting-versions",
                f"move one side, to {' or to '.join(moves)}; the check sdk-compatibility has the "
                "command lines",
            ),
        )
        if moves
        else (),
        follows=("sdk-compatibility",),
    )


def _allowing(command: LaunchCommand | None) -> tuple[str, ...]:
    """Return the launch options that would approve tools in another mode."""
    if command is None:
        return ()
    names = ("--allow-all", "--yolo", "--allow-all-tools", "--allow-tool")
    return tuple(
        f"{option.name}={option.value}"
        if option.value and option.name == "--allow-tool"
        else option.name
        for option in command.options
        if option.name in names
    )


def _detail(server: Server, allows: tuple[str, ...]) -> str:
    word = WITHOUT_HANDLER.at(server.version).value
    without = {
        "hangs": "a client without a handler waits forever",
        "refused": "a client without a handler has its tools refused at once",
        None: "without a handler tools hang up to 1.0.32 and are refused from 1.0.44 on",
    }[word]
    flags = f"{' '.join(allows)} on the server changes nothing for SDK clients. " if allows else ""
    return f"{flags}On this version {without}; one whose handler never answers waits forever."


def _symptom(server: Server) -> str:
    word = WITHOUT_HANDLER.at(server.version).value
    if word == "hangs":
        return _TIMEOUT
    if word == "refused":
        return (
            DENIED_WITHOUT_HANDLER.at(server.version).value
            or "Permission denied and could not request permission from user"
        )
    return ""


def _evidence(server: Server, clients: tuple[Client, ...]) -> tuple[Evidence, ...]:
    allows = _allowing(server.command)
    if server.command is None:
        flags = "launch command: could not be read"
    else:
        flags = f"launch flags that allow: {' '.join(allows) or 'none'}"
    found = [
        Evidence(kind="command", text=flags),
        Evidence(kind="wire", text=f"server version: {server.version or 'not known'}"),
    ]
    variable = server.environment.get("COPILOT_ALLOW_ALL")
    if variable is not None and variable.is_set:
        found.append(
            Evidence(
                kind="environment",
                text="COPILOT_ALLOW_ALL is set on the server: no effect on SDK clients either",
            )
        )
    for client in clients:
        sdk = client.sdk
        with_sdk = f"{sdk.package} {sdk.version or sdk.declared}" if sdk else "SDK not known"
        handler = client.permission_handling or "its permission handler cannot be seen"
        text = f"{about(client)}: {with_sdk}; {handler}"
        found.append(Evidence(kind="process", text=text))
    return tuple(found)


def _handlers(clients: tuple[Client, ...]) -> tuple[Fix, ...]:
    """Return the client-side fix, in the languages of the clients where these are known."""
    known = {
        _LANGUAGE_OF_SDK.get(client.sdk.language, client.sdk.language)
        for client in clients
        if client.sdk is not None
    } & set(APPROVE_ALL)
    fixes = []
    for language, text in APPROVE_ALL.items():
        if known and language not in known:
            continue
        fixes.append(
            code(
                f"handler-{language}",
                f"in the client ({_NAMES[language]}): answer every request; this lets its "
                "sessions run everything",
                language,
                text,
            )
        )
        if language == "python" and not _has_old_python(clients):
            fixes.append(
                code(
                    "decide-python",
                    "or look at each request (Python): a handler that approves and rejects",
                    "python",
                    DECIDE,
                )
            )
    return tuple(fixes)


def _has_old_python(clients: tuple[Client, ...]) -> bool:
    return any(
        client.sdk is not None
        and client.sdk.language == "python"
        and client.sdk.version is not None
        and client.sdk.version.startswith("0.")
        for client in clients
    )


CHECK = Check(
    id="tool-approval",
    title="Will tools run for the clients of this server?",
    category="permissions",
    looks_at="allow flags, the server's version, the SDKs of connected clients",
    symptoms=(
        Symptom(
            text="Permission denied and could not request permission from user",
            pattern=r"Permission denied and could not request permission from user",
            where="session",
            versions=WITHOUT_HANDLER.where("refused"),
        ),
        Symptom(
            text=_TIMEOUT,
            pattern=r"Timeout after \d+(\.\d+)?s waiting for session\.idle",
            where="sdk",
            versions=TESTED,
            sdk="Python",
        ),
        Symptom(
            text="tools hang waiting for approval; nothing is printed",
            where="behaviour",
            versions=TESTED,
        ),
        Symptom(
            text="unexpected user permission response",
            pattern=r"unexpected user permission response",
            where="session",
            versions=("1.0.44", "1.0.63", "1.0.64", "1.0.81", "1.0.102"),
        ),
        Symptom(
            text="Unhandled permission result kind: [object Object]",
            pattern=r"Unhandled permission result kind",
            where="session",
            versions=("0.0.400", "1.0.2", "1.0.32"),
        ),
    ),
    causes=CAUSES,
    judge=judge,
    fixes=(
        *(
            GeneralFix(
                cause="client-decides",
                summary=f"Give each session a permission handler that answers ({_NAMES[language]})",
                code=text.strip("\n"),
                language=language,
            )
            for language, text in APPROVE_ALL.items()
        ),
        GeneralFix(
            cause="no-gate",
            summary="Move the server to CLI 1.0.44 or later, where nothing runs without an answer",
            shell=f"npm install -g @github/copilot@{NEWEST_TESTED}",
        ),
        GeneralFix(
            cause="wrong-word",
            summary=(
                "Use SDK versions that fit: Python 0.2.3 up to CLI 1.0.32, Python 1.0.24 with CLI "
                f"{span(('1.0.44', '1.0.57', '1.0.63', '1.0.64', '1.0.73', '1.0.81'))}, the newest "
                "of both otherwise"
            ),
        ),
    ),
)
