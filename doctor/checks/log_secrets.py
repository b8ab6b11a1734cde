"""A log file with secrets or prompts in it, and who can read it.

Symptom in the user's words: none, until somebody finds a secret in a log.
Measured: the server's version, ``--log-level``, and the mode of its log file and of the folders
above it. Nothing of the file's content is ever read.
Can be wrong where the level comes from the CLI's own settings: only the command line is read.
"""

import shlex
from collections.abc import Iterator
from typing import Final

from doctor.behaviour.facts import LOG_MODE, LOGS_ENVIRONMENT, LOGS_PROMPTS
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
    command,
)
from doctor.catalogue.check import GeneralFix
from doctor.catalogue.pages import server_mode
from doctor.catalogue.steps import is_windows, restart_fix, upgrade
from doctor.deployment import Deployment, Server

_PAGE: Final = server_mode("Log Levels")
_VERBOSE: Final = frozenset({"debug", "all"})

ENVIRONMENT_IN_LOG = Cause(
    id="environment-in-log",
    text=(
        "CLI 1.0.81 at --log-level debug or all writes the server's whole environment into its log "
        "with the first session: connection token, passwords and keys in clear (only names like "
        "GITHUB_TOKEN are masked). The level should be info, and what was logged counts as known."
    ),
    documented=_PAGE,
    documented_says="--log-level all is convenient while learning; secrets are not mentioned.",
    observed=LOGS_ENVIRONMENT.where(value=True),
)
OTHERS_CAN_READ = Cause(
    id="others-can-read",
    text=(
        "At --log-level debug or all the log holds prompts and tool commands, and every user of "
        "this machine can read it. Its mode should be 600 or its folder closed to others; up to "
        "1.0.81 the CLI itself makes it 644."
    ),
    documented=_PAGE,
    documented_says="the level's meaning; the file's mode and content are not mentioned.",
    observed=("1.0.63", "1.0.102"),
)

CAUSES = (ENVIRONMENT_IN_LOG, OTHERS_CAN_READ)


def judge(deployment: Deployment) -> Iterator[Outcome]:
    """Judge the log of every Copilot server."""
    if not deployment.servers:
        yield Skipped(reason="no Copilot server to judge")
    for server in deployment.servers:
        yield _judge_server(deployment, server)


def _judge_server(deployment: Deployment, server: Server) -> Outcome:
    if server.command is None:
        return NotVisible(
            subject=about(server),
            reason="its log level could not be read: the launch command is hidden",
            remedy="run copilot-doctor as the server's user or as root",
        )
    level = server.command.log_level or "default"
    if level not in _VERBOSE:
        return Passed(
            subject=about(server),
            detail=f"at level {level} no secret and no prompt was seen in a log of any version",
        )
    writes = LOGS_ENVIRONMENT.at(server.version).value
    if writes or (writes is None and server.version is not None):
        return _environment(deployment, server, level, is_certain=bool(writes))
    if server.version is None:
        return NotVisible(
            subject=about(server),
            reason=(
                f"what --log-level {level} writes depends on the version, which could not be read: "
                "1.0.81 writes the whole environment"
            ),
            remedy="set COPILOT_CONNECTION_TOKEN for copilot-doctor, so that it can ask the server",
        )
    return _prompts(deployment, server, level)


def _environment(
    deployment: Deployment, server: Server, level: str, *, is_certain: bool
) -> Finding:
    log = server.log_file
    is_open = log is not None and log.others_can_read
    status = "unknown" if not is_certain else "fail" if is_open else "warn"
    where = ", which every user here can read" if is_open else ""
    return Finding(
        status="fail" if status == "fail" else "warn" if status == "warn" else "unknown",
        title=f"The log holds the server's environment{where}"
        if is_certain
        else f"At --log-level {level} this version may write its environment into the log",
        cause=ENVIRONMENT_IN_LOG,
        subject=about(server),
        origin=server.origin,
        detail=""
        if is_certain
        else f"1.0.81 does, 1.0.73 and 1.0.92 do not; {server.version} was not tried.",
        evidence=(*_evidence(server, level), *_secrets(server)),
        fixes=(
            _quiet(deployment, server),
            *_newer(deployment, server),
            advice(
                "rotate",
                "then replace every secret of that environment, and delete the old log and its "
                "copies once nobody needs them",
            ),
        ),
    )


def _prompts(deployment: Deployment, server: Server, level: str) -> Outcome:
    writes, log = LOGS_PROMPTS.at(server.version).value, server.log_file
    if writes is False:
        return Passed(
            subject=about(server),
            detail=f"on this version not even level {level} writes secrets or prompts",
        )
    if log is None:
        return NotVisible(
            subject=about(server),
            reason=f"at level {level} the log holds prompts; its file could not be seen",
            remedy="run copilot-doctor as the server's user or as root",
        )
    if not log.others_can_read:
        return Passed(
            subject=about(server), detail=f"other users cannot read the log (mode {log.mode})"
        )
    if writes is None:
        return NotVisible(
            subject=about(server),
            reason=(
                f"every user here can read the log; whether this version writes prompts at level "
                f"{level} was not tried (not up to 1.0.32, but from 1.0.63 on)"
            ),
        )
    return Finding(
        status="warn",
        title="Every user here can read the log, which holds prompts and commands",
        cause=OTHERS_CAN_READ,
        subject=about(server),
        origin=server.origin,
        evidence=_evidence(server, level),
        fixes=(_close(deployment, server), _quiet(deployment, server)),
    )


def _evidence(server: Server, level: str) -> tuple[Evidence, ...]:
    found = [Evidence(kind="command", text=f"--log-level {level}")]
    log = server.log_file
    if log is None:
        found.append(Evidence(kind="file", text="log file: could not be seen"))
    else:
        readers = "every user can read it" if log.others_can_read else "closed to other users"
        text = f"{log.path}: mode {log.mode}, {log.size_bytes} bytes, {readers}"
        found.append(Evidence(kind="file", text=text))
    usual = LOG_MODE.at(server.version).value
    version = f"server version: {server.version}"
    found.append(
        Evidence(kind="wire", text=f"{version}, makes logs with mode {usual}" if usual else version)
    )
    return tuple(found)


def _secrets(server: Server) -> Iterator[Evidence]:
    """Name the variables that are known to be secrets and are not masked in such a log."""
    for variable in server.environment.variables:
        if variable.is_set and variable.text is None and "GITHUB_TOKEN" not in variable.name:
            yield Evidence(
                kind="environment",
                text=f"to replace: {variable.name} ({variable.length} characters)",
            )


def _close_line(deployment: Deployment, server: Server) -> str | None:
    log = server.log_file
    if log is None or is_windows(deployment):
        return None
    return f"chmod 600 {shlex.quote(log.path)}"


def _close(deployment: Deployment, server: Server) -> Fix:
    line = _close_line(deployment, server)
    summary = "close the log file to other users (the next start makes a new one)"
    return (
        advice("close-log", summary)
        if line is None
        else command("close-log", summary, line, safe=True)
    )


def _quiet(deployment: Deployment, server: Server) -> Fix:
    line = _close_line(deployment, server)
    return restart_fix(
        "quiet",
        "close the log to other users and start the server again at --log-level info",
        deployment,
        server,
        prepare=(line,) if line else (),
        drop=("--log-level",),
        add=("--log-level", "info"),
    )


def _newer(deployment: Deployment, server: Server) -> tuple[Fix, ...]:
    line = upgrade(server, NEWEST_TESTED)
    summary = f"or move the server to CLI {NEWEST_TESTED} (no environment in logs from 1.0.92 on)"
    if line is None:
        return (advice("upgrade", summary),)
    return (restart_fix("upgrade", summary, deployment, server, prepare=(line,)),)


CHECK = Check(
    id="log-secrets",
    title="Are logs free of secrets, or closed to others?",
    category="files",
    looks_at="version, --log-level, mode of the log file and of the folders above it",
    symptoms=(
        Symptom(
            text='Received session.create request: {… "startupEnvironment":{…}}',
            pattern=r"Received session\.create request:.{0,2000}startupEnvironment",
            where="log",
            versions=ENVIRONMENT_IN_LOG.observed,
        ),
        Symptom(
            text="a log file of mode 644 in a folder that every user may enter",
            where="behaviour",
            versions=observed_range("0.0.400", "1.0.81"),
        ),
    ),
    causes=CAUSES,
    judge=judge,
    fixes=(
        GeneralFix(
            cause="environment-in-log",
            summary="Close the log, start again at level info, replace every secret of the server",
            shell="chmod 600 LOG_FILE\ncopilot --server --port PORT --log-level info",
        ),
        GeneralFix(
            cause="environment-in-log",
            summary="Or move to a CLI that does not do it (1.0.92 or later)",
            shell=f"npm install -g @github/copilot@{NEWEST_TESTED}",
        ),
        GeneralFix(
            cause="others-can-read",
            summary="Close the log and its folder to other users",
            shell="chmod 700 LOG_DIR && chmod 600 LOG_DIR/*.log",
        ),
    ),
)
