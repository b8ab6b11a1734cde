"""Folders that a server must write to and cannot: COPILOT_HOME, and the one for its logs.

Symptom in the user's words: "copilot --server ends at once and prints nothing", "there is no log".
Measured: owner, mode and kind of the folders, of running servers and of the next one that this
shell would start (a server that could not write its home is not there to be looked at).
Can be wrong about a full disk, quotas and mandatory access control, which no mode shows.
"""

import shlex
from collections.abc import Iterator
from typing import Final

from doctor.behaviour.facts import UNWRITABLE_HOME
from doctor.behaviour.versions import TESTED, observed_range
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
from doctor.catalogue.pages import cli_help
from doctor.catalogue.steps import export, is_windows, restart_fix
from doctor.deployment import Deployment, Directory, Origin, Server

SHELL: Final = "this shell"
# Write and search, for the owner: what it takes to make files in a folder.
_OWNER_MAY_WRITE: Final = 0o300
_SILENT: Final = "copilot --server ends with exit code 1 and prints nothing"

HOME_NOT_WRITABLE = Cause(
    id="home-not-writable",
    text=(
        "A server that cannot write its COPILOT_HOME (~/.copilot unless set) ends at once with "
        "exit code 1 and without a word. The folder should belong to the server's user, or not "
        "exist in a folder where that user may make it."
    ),
    documented=cli_help("environment"),
    documented_says="what COPILOT_HOME is for; not what happens when it cannot be written.",
    observed=UNWRITABLE_HOME.where("silent"),
)
LOGS_NOT_WRITABLE = Cause(
    id="logs-not-writable",
    text=(
        "A server that cannot write its log folder (--log-dir, else logs in COPILOT_HOME) runs "
        "without a log and does not say so. The folder should belong to the server's user; it is "
        "tried at the start alone."
    ),
    documented=cli_help("logging"),
    documented_says="where logs go; not what happens when they cannot be written.",
    observed=observed_range("0.0.400", "1.0.102"),
)

CAUSES = (HOME_NOT_WRITABLE, LOGS_NOT_WRITABLE)


def judge(deployment: Deployment) -> Iterator[Outcome]:
    """Judge the folders of every running server, then those of the next one from this shell."""
    running = [server for server in deployment.servers if server.is_running]
    if not running and not deployment.directories:
        yield Skipped(reason="no running Copilot server, and no folder to judge for the next one")
    for server in running:
        if not server.directories:
            yield NotVisible(
                subject=about(server),
                reason="which folders it writes to could not be seen",
                remedy="run copilot-doctor as the server's user or as root",
            )
        for folder in _worst_first(server.directories):
            yield _of_server(deployment, server, folder)
    for folder in _worst_first(deployment.directories):
        yield _of_shell(deployment, folder, has_servers=bool(running))


def _worst_first(folders: tuple[Directory, ...]) -> Iterator[Directory]:
    """Yield the folders to judge: in a home that cannot be written the logs are no news."""
    bad_home = any(folder.role == "home" and folder.is_writable is False for folder in folders)
    for folder in folders:
        is_below = any(
            home.role == "home" and folder.path.startswith((f"{home.path}/", f"{home.path}\\"))
            for home in folders
        )
        if folder.role == "home" or not (bad_home and is_below):
            yield folder


def _of_server(deployment: Deployment, server: Server, folder: Directory) -> Outcome:
    if folder.is_writable is None:
        return _not_visible(about(server), folder)
    if folder.is_writable:
        return Passed(subject=about(server), detail=f"it can write {folder.path}")
    user = server.process.user if server.process else None
    if folder.role == "home":
        return Finding(
            status="warn",
            title="The server can no longer write its COPILOT_HOME: its next start will fail",
            cause=HOME_NOT_WRITABLE,
            subject=about(server),
            origin=server.origin,
            symptom=_SILENT,
            evidence=_evidence(folder, user),
            fixes=tuple(_repairs(deployment, folder, user)),
        )
    return Finding(
        status="warn",
        title="The server cannot write its log folder and runs without a log",
        cause=LOGS_NOT_WRITABLE,
        subject=about(server),
        origin=server.origin,
        symptom="no log file, and no message about it",
        evidence=_evidence(folder, user),
        fixes=tuple(_log_fixes(deployment, server, folder, user)),
    )


def _of_shell(deployment: Deployment, folder: Directory, *, has_servers: bool) -> Outcome:
    if folder.is_writable is None:
        return _not_visible(SHELL, folder)
    if folder.is_writable:
        return Passed(subject=SHELL, detail=f"a server from here could write {folder.path}")
    user = deployment.here.user if deployment.here else None
    is_home = folder.role == "home"
    given = deployment.shell.get("COPILOT_HOME")
    text = "COPILOT_HOME is set" if given is not None and given.is_set else "COPILOT_HOME: not set"
    fixes = list(_repairs(deployment, folder, user))
    if is_home:
        fixes.append(_elsewhere(deployment))
    return Finding(
        # With a server running, this shell may be another user's than the one that starts them.
        status="fail" if is_home and not has_servers else "warn",
        title="A server started from this shell would end at once without a word"
        if is_home
        else "A server started from this shell would write no log",
        cause=HOME_NOT_WRITABLE if is_home else LOGS_NOT_WRITABLE,
        subject=SHELL,
        origin=Origin(kind="environment", name="COPILOT_HOME"),
        symptom=_SILENT if is_home else "no log file, and no message about it",
        evidence=(*_evidence(folder, user), Evidence(kind="environment", text=text)),
        fixes=tuple(fixes),
    )


def _not_visible(subject: str, folder: Directory) -> NotVisible:
    return NotVisible(
        subject=subject,
        reason=f"whether {folder.path} can be written is not known"
        + (f": {folder.reason}" if folder.reason else ""),
        remedy="run copilot-doctor as the server's user",
    )


def _evidence(folder: Directory, user: str | None) -> tuple[Evidence, ...]:
    what = {"home": "COPILOT_HOME", "logs": "log folder"}[folder.role]
    is_what = {
        "directory": "a folder",
        "file": "a file, not a folder",
        "missing": "missing, and cannot be made where it should be",
        "unknown": "of unknown kind",
    }[folder.state]
    facts = [f"{what} {folder.path}: {is_what}"]
    if folder.owner is not None:
        facts.append(f"owner {folder.owner}")
    if folder.mode is not None:
        facts.append(f"mode {folder.mode}")
    if folder.reason:
        facts.append(folder.reason)
    found = [Evidence(kind="file", text=", ".join(facts))]
    if user is not None:
        found.append(Evidence(kind="process", text=f"to be written by user {user}"))
    return tuple(found)


def _repairs(deployment: Deployment, folder: Directory, user: str | None) -> Iterator[Fix]:
    """Yield what makes the folder writable."""
    lines = _repair_lines(deployment, folder, user)
    if lines:
        yield command(
            f"repair-{folder.role}",
            {
                "file": f"put a folder in the place of the file, for user {user}",
                "missing": f"make the folder for user {user}",
            }.get(folder.state, f"give the folder to user {user}"),
            *lines,
        )
        return
    yield advice(
        f"repair-{folder.role}",
        f"make {folder.path} writable: {_why_not(folder)}"
        if folder.state == "directory"
        else f"let the server's user make and write {folder.path}",
    )


def _why_not(folder: Directory) -> str:
    if folder.reason:
        return f"{folder.reason}; mount it writable, or free space"
    return "its file system may be mounted read-only"


def _repair_lines(deployment: Deployment, folder: Directory, user: str | None) -> tuple[str, ...]:
    if is_windows(deployment) or user is None:
        return ()
    path, who = shlex.quote(folder.path), shlex.quote(user)
    # Only the owner of a folder, or root, can change it; root needs no sudo, and may have none.
    here = deployment.here
    sudo = "" if here is not None and here.user == "root" else "sudo "
    if folder.state == "missing":
        return (f"{sudo}install -d -o {who} -m 700 {path}",)
    if folder.state == "file":
        old = shlex.quote(f"{folder.path}.old")
        return (f"{sudo}mv {path} {old} && {sudo}install -d -o {who} -m 700 {path}",)
    if folder.state == "directory" and not folder.reason:
        if folder.owner != user:
            return (f"{sudo}chown -R {who} {path}",)
        if folder.mode is not None and int(folder.mode, 8) & _OWNER_MAY_WRITE != _OWNER_MAY_WRITE:
            return (f"chmod u+rwx {path}",)
    return ()


def _elsewhere(deployment: Deployment) -> Fix:
    fresh = (
        "$(New-Item -ItemType Directory (Join-Path $env:TEMP ([guid]::NewGuid())))"
        if is_windows(deployment)
        else '"$(mktemp -d)"'
    )
    return command(
        "home-elsewhere",
        "or go on at once with an empty folder (without the login and settings of the other one)",
        export(deployment, "COPILOT_HOME", fresh),
        safe=True,
    )


def _log_fixes(
    deployment: Deployment, server: Server, folder: Directory, user: str | None
) -> Iterator[Fix]:
    lines = _repair_lines(deployment, folder, user)
    if lines:
        yield restart_fix(
            "repair-logs",
            f"give the folder to user {user}, then start the server again: it tries only once",
            deployment,
            server,
            prepare=lines,
        )
    else:
        yield from _repairs(deployment, folder, user)
    if server.command is not None and server.command.log_dir is not None:
        yield restart_fix(
            "default-logs",
            "or start it without --log-dir: it then logs to logs in its COPILOT_HOME",
            deployment,
            server,
            drop=("--log-dir",),
        )


CHECK = Check(
    id="home-directory",
    title="Can the server write its home and its logs?",
    category="files",
    looks_at="COPILOT_HOME and log folder: owner, mode, kind; of servers and of this shell",
    symptoms=(
        Symptom(text=_SILENT, where="behaviour", versions=UNWRITABLE_HOME.where("silent")),
        Symptom(
            text="Error creating package directory: PATH",
            pattern=r"Error creating package directory",
            where="stderr",
            versions=("1.0.2",),
        ),
        Symptom(
            text="Failed to extract bundled package: Error: EACCES: permission denied, mkdir PATH",
            pattern=r"Failed to extract bundled package: Error: E(ACCES|ROFS|NOSPC)",
            where="stderr",
            versions=("1.0.63", "1.0.102"),
        ),
        Symptom(text="no log file, and no message about it", where="behaviour", versions=TESTED),
    ),
    causes=CAUSES,
    judge=judge,
    fixes=(
        GeneralFix(
            cause="home-not-writable",
            summary="Give the folder to the server's user",
            shell="sudo chown -R USER COPILOT_HOME_FOLDER",
        ),
        GeneralFix(
            cause="home-not-writable",
            summary="Or use another folder",
            shell='export COPILOT_HOME="$(mktemp -d)"',
        ),
        GeneralFix(
            cause="logs-not-writable",
            summary="Give the log folder to the server's user, then start the server again",
            shell="sudo chown -R USER LOG_FOLDER",
        ),
    ),
)
