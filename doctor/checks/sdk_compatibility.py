"""An SDK and a CLI that do not fit, although both may say "protocol 3".

Symptom in the user's words: "send_and_wait never returns", "ValueError: invalid literal for int()",
"SDK protocol version mismatch", "every tool fails although I approve it".
Measured: the server's version and the SDK of each connected process; of the project in the
working directory; else nothing, and then the versions to avoid with this server are named.
Can be wrong about a process that brings its SDK inside of a bundle, and about languages whose SDK
was not run (Go, .NET, Java, Rust): there it only warns. The doctor's own SDK is not the user's.
"""

import re
import shlex
from collections.abc import Iterator
from typing import Final

from doctor.behaviour.compatibility import (
    LANGUAGES,
    NEWEST_SDK,
    ROWS,
    Row,
    Skew,
    bad_sdks,
    is_known,
    problems,
    sdk_for,
    sdk_range,
)
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
    command,
)
from doctor.catalogue.check import GeneralFix
from doctor.catalogue.pages import SDK_COMPATIBILITY
from doctor.catalogue.steps import is_windows, restart_fix, upgrade
from doctor.deployment import CONNECTION_TOKEN, Client, Deployment, Origin, Sdk, Server

_SAID: Final = "the SDK negotiates protocol versions 2 through 3; no combination is left out."
_REMEDY: Final = "set COPILOT_CONNECTION_TOKEN for copilot-doctor, so that it can ask the server"


def _cause(code: str, text: str) -> Cause:
    seen = {version for row in ROWS if row.code == code for version in row.observed}
    return Cause(
        id=code,
        text=text,
        documented=SDK_COMPATIBILITY,
        documented_says=_SAID,
        observed=tuple(version for version in TESTED if version in seen),
    )


CAUSES = (
    _cause(
        "never-returns",
        "The Python SDK from 1.0.25 on waits for an event with the message's id, which the CLI up "
        "to 1.0.81 does not send: send_and_wait never returns, although the session works. CLI up "
        "to 1.0.81 needs Python SDK 1.0.24 or older; SDK 1.0.25 needs CLI 1.0.92 or later.",
    ),
    _cause(
        "ping-timestamp",
        "The Python SDK up to 0.3.0 reads the time in the answer to ping as a number, which is a "
        "text from CLI 1.0.57 on: the client cannot connect. These CLIs need SDK 1.0.0 or later.",
    ),
    _cause(
        "old-approval-word",
        'The SDK approves with the word "approved" (Python up to 0.2.3, npm up to 0.2.2); the CLI '
        'from 1.0.44 on wants "approve-once": every tool that needs an approval fails.',
    ),
    _cause(
        "new-approval-word",
        'The SDK approves with the word "approve-once" (from 0.3.0 on); the CLI up to 1.0.32 wants '
        '"approved": every tool that needs an approval fails.',
    ),
    _cause(
        "protocol-2",
        "The SDK from 1.0.0 on speaks protocol 3 alone and the CLI 0.0.4xx protocol 2: the client "
        "cannot connect.",
    ),
    _cause(
        "no-connection-token",
        "The SDK up to 0.3.0 cannot pass a connection token, and this server demands one.",
    ),
    Cause(
        id="not-known",
        text=(
            "Some SDK versions hang or fail with this server's version although both say protocol "
            "3. Which SDK its clients use could not be seen."
        ),
        documented=SDK_COMPATIBILITY,
        documented_says=_SAID,
        observed=TESTED,
    ),
)
_BY_ID: Final = {cause.id: cause for cause in CAUSES}

_TITLES: Final = {
    "never-returns": "send_and_wait never returns: {sdk} does not fit CLI {cli}",
    "ping-timestamp": "The client cannot connect: {sdk} does not fit CLI {cli}",
    "protocol-2": "The client cannot connect: {sdk} does not fit CLI {cli}",
    "old-approval-word": "Approved tools fail: {sdk} does not fit CLI {cli}",
    "new-approval-word": "Approved tools fail: {sdk} does not fit CLI {cli}",
    "no-connection-token": "{sdk} cannot pass the connection token that the server demands",
}
_UNSURE: Final = "{sdk} may not fit CLI {cli}"
_REQUIREMENTS: Final = re.compile(r"requirements[\w.-]*\.(txt|in)$")
_NAMES: Final = {"python": "Python", "javascript": "npm"}


def judge(deployment: Deployment) -> Iterator[Outcome]:
    """Judge every TCP server against the SDKs that are seen to be used with it, or may be."""
    servers = deployment.tcp_servers
    if not servers:
        yield Skipped(reason="no Copilot server to judge an SDK against")
    for server in servers:
        if not is_known(server.version):
            yield NotVisible(
                subject=about(server),
                reason="which SDKs fit depends on the server's version, which could not be read",
                remedy=_REMEDY,
            )
            continue
        yield from _judge_server(deployment, server)


def _judge_server(deployment: Deployment, server: Server) -> Iterator[Outcome]:
    needs_token = _needs_token(deployment, server)
    clients = deployment.clients_of(server)
    known = [client for client in clients if _version(client.sdk)]
    for client in known:
        yield from _judge_client(deployment, server, client, needs_token=needs_token)
    for sdk in deployment.sdks:
        yield from _judge_project(deployment, server, sdk, needs_token=needs_token)
    for client in clients:
        if client not in known:
            yield NotVisible(
                subject=about(client),
                reason="which SDK this client uses could not be read",
                remedy="run copilot-doctor in the folder of its project, or as its user",
            )
    if not known and not any(_version(sdk) for sdk in deployment.sdks):
        yield _to_avoid(deployment, server, needs_token=needs_token)


def _judge_client(
    deployment: Deployment, server: Server, client: Client, *, needs_token: bool
) -> Iterator[Outcome]:
    sdk = client.sdk
    if sdk is None or server.version is None:
        return
    found = problems(_version(sdk), server.version, sdk.language, needs_token=needs_token)
    if not found:
        yield _fits(about(client), sdk, server)
    # What hits first hides the rest: a client that cannot start has no session that hangs.
    for skew in found[:1]:
        is_certain = skew.observed and sdk.exactness != "declared"
        yield _finding(
            deployment,
            server,
            sdk,
            skew,
            status="fail" if is_certain else "warn",
            subject=about(client),
            origin=client.origin,
        )


def _judge_project(
    deployment: Deployment, server: Server, sdk: Sdk, *, needs_token: bool
) -> Iterator[Outcome]:
    subject = f"{sdk.package} of the project here, with {about(server)}"
    if not _version(sdk):
        yield NotVisible(
            subject=subject,
            reason=f"only a range is declared ({sdk.declared or 'any version'}), nothing installed",
            remedy="install the project's packages or lock their versions",
        )
        return
    found = problems(_version(sdk), server.version, sdk.language, needs_token=needs_token)
    if not found:
        yield _fits(subject, sdk, server)
    for skew in found[:1]:
        yield _finding(
            deployment,
            server,
            sdk,
            skew,
            status="warn",
            subject=subject,
            origin=sdk.origin or server.origin,
        )


def _fits(subject: str, sdk: Sdk, server: Server) -> Outcome:
    if sdk.language not in LANGUAGES:
        return NotVisible(
            subject=subject,
            reason=(
                f"{sdk.package} {sdk.version} was not tried with any CLI; only the Python and the "
                "npm SDK were"
            ),
        )
    return Passed(
        subject=subject, detail=f"{sdk.package} {sdk.version} works with CLI {server.version}"
    )


def _finding(
    deployment: Deployment,
    server: Server,
    sdk: Sdk,
    skew: Skew,
    *,
    status: str,
    subject: str,
    origin: Origin,
) -> Finding:
    title = _TITLES[skew.code] if skew.observed else _UNSURE
    name = f"{_NAMES.get(sdk.language, sdk.language)} SDK {sdk.version}"
    detail = {
        "observed": "",
        "between": f"It happens up to one tested CLI and not from the next on; {server.version} "
        "lies between the two.",
        "other-language": f"This is what the Python SDK of that version does; the one for "
        f"{sdk.language} was not tried, and its versions count differently.",
    }[skew.certainty]
    return Finding(
        status="fail" if status == "fail" else "warn",
        title=title.format(sdk=name, cli=server.version),
        cause=_BY_ID[skew.code],
        subject=subject,
        origin=origin,
        detail=detail,
        symptom=skew.symptom,
        evidence=(
            Evidence(kind="package", text=f"{sdk.package} {sdk.version} ({sdk.exactness})"),
            Evidence(kind="wire", text=f"server version: {server.version}"),
            *(
                (Evidence(kind="file", text=f"read from {sdk.origin}"),)
                if sdk.origin is not None
                else ()
            ),
        ),
        fixes=_moves(deployment, server, sdk, skew),
        follows=("connection-token",) if skew.code == "no-connection-token" else (),
    )


def _moves(deployment: Deployment, server: Server, sdk: Sdk, skew: Skew) -> tuple[Fix, ...]:
    fixes: list[Fix] = []
    if skew.sdk_fix and _is_pinned(sdk):
        fixes.append(_move_pin(deployment, server, sdk, skew.sdk_fix))
    elif skew.sdk_fix:
        fixes.append(
            command(
                "move-sdk",
                f"in the client's environment: install SDK {skew.sdk_fix}, which works with CLI "
                f"{server.version}, then start the client again",
                _install(sdk.language, skew.sdk_fix),
            )
        )
    if skew.cli_fix:
        summary = f"or move the server to CLI {skew.cli_fix}, which works with SDK {sdk.version}"
        line = upgrade(server, skew.cli_fix)
        fixes.append(
            advice("move-cli", summary)
            if line is None
            else restart_fix("move-cli", summary, deployment, server, prepare=(line,))
        )
    if not fixes:
        fixes.append(
            advice(
                "newest-of-both",
                f"move both sides to their newest versions: CLI {NEWEST_TESTED} and the newest "
                f"{sdk.package}",
            )
        )
    return tuple(fixes)


def _is_pinned(sdk: Sdk) -> bool:
    """Whether a Python project's file names the version: pip alone would leave it as it is."""
    is_file = sdk.origin is not None and sdk.origin.path is not None
    return sdk.language == "python" and sdk.exactness != "installed" and is_file


def _move_pin(deployment: Deployment, server: Server, sdk: Sdk, version: str) -> Fix:
    origin = sdk.origin or server.origin
    path, line = origin.path or "", origin.line
    summary = f"pin SDK {version}, which works with CLI {server.version}, in {origin}"
    if _REQUIREMENTS.search(path) and line and sdk.version and not is_windows(deployment):
        file = shlex.quote(path)
        # With a suffix -i is understood by the sed of GNU and of macOS.
        edit = f"sed -i.old '{line}s/{re.escape(sdk.version)}/{version}/' {file}"
        return command(
            "move-pin",
            f"{summary}, install it and start the client again",
            f"{edit} && python -m pip install -r {file}",
        )
    return advice("move-pin", f"{summary}, lock and install again, then start the client again")


def _install(language: str, version: str) -> str:
    if language == "python":
        return f"python -m pip install 'github-copilot-sdk=={version}'"
    return f"npm install @github/copilot-sdk@{version}"


def _to_avoid(deployment: Deployment, server: Server, *, needs_token: bool) -> Outcome:
    """Name the SDKs that would not work with a server, where no SDK is in view.

    Only where the newest SDK is among them is that a problem: it is what people install.
    """
    version = server.version or ""
    rows = [row for lang in LANGUAGES for row in bad_sdks(version, lang, needs_token=needs_token)]
    avoid = [f"{_NAMES[row.language]} SDK {sdk_range(row)}" for row in rows]
    newest = [
        (language, found[0])
        for language, sdk in NEWEST_SDK.items()
        if (found := problems(sdk, version, language, needs_token=needs_token))
    ]
    if not newest:
        return Passed(
            subject=about(server),
            detail=f"the newest SDKs work with it; do not: {', '.join(dict.fromkeys(avoid))}",
        )
    language, skew = newest[0]
    name = f"{_NAMES[language]} SDK {NEWEST_SDK[language]}"
    does_not = "does not work" if skew.observed else "may not work"
    fitting = sdk_for(version, language)
    fixes: list[Fix] = []
    if fitting:
        summary = f"install {_NAMES[language]} SDK {fitting} for the clients of this server"
        fixes.append(command("pin-sdk", summary, _install(language, fitting)))
    line = upgrade(server, NEWEST_TESTED)
    summary = f"or move the server to CLI {NEWEST_TESTED}, which works with the newest SDKs"
    fixes.append(
        advice("move-cli", summary)
        if line is None
        else restart_fix("move-cli", summary, deployment, server, prepare=(line,))
    )
    return Finding(
        status="warn",
        title=f"{name} {does_not} with CLI {version}, and no client is in view",
        cause=_BY_ID["not-known"],
        subject=about(server),
        origin=server.origin,
        detail=skew.text,
        symptom=skew.symptom,
        evidence=(
            Evidence(kind="wire", text=f"server version: {version}"),
            *(
                Evidence(kind="package", text=_does_not_work(version, row, range_))
                for row, range_ in zip(rows, avoid, strict=True)
            ),
        ),
        fixes=tuple(fixes),
    )


def _does_not_work(version: str, row: Row, range_: str) -> str:
    sure = "does not work" if row.covers_cli(version) else "may not work"
    return f"{sure} with CLI {version}: {range_} ({row.symptom})"


def _needs_token(deployment: Deployment, server: Server) -> bool:
    shake = deployment.handshake(server)
    if shake is not None and shake.token != "unknown":
        return shake.token in {"accepted", "required", "rejected"}
    return server.environment.visible and server.environment.is_set(CONNECTION_TOKEN)


def _version(sdk: Sdk | None) -> str | None:
    return sdk.version if sdk is not None and is_known(sdk.version) else None


CHECK = Check(
    id="sdk-compatibility",
    title="Do the clients' SDKs work with this server's version?",
    category="version",
    looks_at="the server's version, the SDK of each client and of the project here",
    symptoms=(
        Symptom(
            text="TimeoutError: Timeout after 60.0s waiting for session.idle",
            pattern=r"Timeout after \d+(\.\d+)?s waiting for session\.idle",
            where="sdk",
            versions=_BY_ID["never-returns"].observed,
            sdk="Python 1.0.25 and later",
        ),
        Symptom(
            text="ValueError: invalid literal for int() with base 10: '2026-…Z'",
            pattern=r"invalid literal for int\(\) with base 10: '\d{4}-",
            where="sdk",
            versions=_BY_ID["ping-timestamp"].observed,
            sdk="Python up to 0.3.0",
        ),
        Symptom(
            text=(
                "SDK protocol version mismatch: SDK supports versions 3-3, but server reports "
                "version 2"
            ),
            pattern=r"SDK protocol version mismatch",
            where="sdk",
            versions=_BY_ID["protocol-2"].observed,
            sdk="Python and npm from 1.0.0 on",
        ),
        Symptom(
            text="unexpected user permission response",
            pattern=r"unexpected user permission response",
            where="session",
            versions=_BY_ID["old-approval-word"].observed,
            sdk="Python up to 0.2.3, npm up to 0.2.2",
        ),
        Symptom(
            text="Unhandled permission result kind: [object Object]",
            pattern=r"Unhandled permission result kind",
            where="session",
            versions=_BY_ID["new-approval-word"].observed,
            sdk="Python and npm from 0.3.0 on",
        ),
    ),
    causes=CAUSES,
    judge=judge,
    fixes=(
        GeneralFix(
            cause="never-returns",
            summary="Stay on Python SDK 1.0.24 with a CLI up to 1.0.81",
            shell=_install("python", "1.0.24"),
        ),
        GeneralFix(
            cause="never-returns",
            summary="Or move the server to a CLI that sends the message's id",
            shell=f"npm install -g @github/copilot@{NEWEST_TESTED}",
        ),
        GeneralFix(
            cause="ping-timestamp",
            summary="Move the client to an SDK that works with the server: 1.0.24 up to CLI 1.0.81",
            shell=_install("python", "1.0.24"),
        ),
        GeneralFix(
            cause="old-approval-word",
            summary="Move the client to a newer SDK",
            shell=_install("python", "1.0.24"),
        ),
        GeneralFix(
            cause="new-approval-word",
            summary="Move the server to a newer CLI",
            shell=f"npm install -g @github/copilot@{NEWEST_TESTED}",
        ),
        GeneralFix(
            cause="protocol-2",
            summary="Move the server to a newer CLI",
            shell=f"npm install -g @github/copilot@{NEWEST_TESTED}",
        ),
        GeneralFix(
            cause="no-connection-token",
            summary="Move the client to an SDK that can pass a token",
            shell=_install("python", "1.0.24"),
        ),
        GeneralFix(
            cause="not-known",
            summary=(
                f"Use the newest of both (CLI {NEWEST_TESTED}, Python SDK {NEWEST_SDK['python']}, "
                f"npm SDK {NEWEST_SDK['javascript']}), or Python SDK 1.0.24 with an older CLI"
            ),
        ),
    ),
)
