"""Command lines that many fixes share: stop this server, start it again in another way."""

import shlex
from collections.abc import Mapping

from doctor.deployment import Deployment, Process, Server

# Supervisors that start a stopped server again: a `kill` alone does not free its port.
_SUPERVISORS = {
    "supervisord": "supervisorctl stop",
    "systemd": "systemctl stop",
    "pm2": "pm2 stop",
    "runsv": "sv stop",
    "s6-supervise": "s6-svc -d",
}

NEW_TOKEN = {"COPILOT_CONNECTION_TOKEN": '"$(openssl rand -hex 32)"'}
"""For `start`: makes a connection token that nobody has typed."""


def is_windows(deployment: Deployment) -> bool:
    """Whether command lines are for PowerShell."""
    return deployment.here is not None and deployment.here.platform == "win32"


def stop(deployment: Deployment, process: Process) -> str:
    """Return the line that stops a process and leaves it the time to free its port.

    The port is closed within a second of the signal on every version measured
    (1.0.32, 1.0.63, 1.0.102), also where the process itself stays up to 10 s.
    """
    if is_windows(deployment):
        return f"Stop-Process -Id {process.pid}; Start-Sleep 2"
    return f"kill {process.pid} && sleep 2"


def start(
    deployment: Deployment,
    server: Server,
    *,
    add: tuple[str, ...] = (),
    drop: tuple[str, ...] = (),
    replace: Mapping[str, str] | None = None,
    environment: Mapping[str, str] | None = None,
) -> list[str]:
    """Return the lines that start a server again with a changed command line.

    Args:
        deployment: Tells the platform.
        server: Its launch command is the base; without one, the canonical command is.
        add: Words to append.
        drop: Options to leave out, with their values.
        replace: Options to give another value.
        environment: Variables to export first; the values are shell words, quoted by the caller.
    """
    if server.command is None:
        words: tuple[str, ...] = ("copilot", "--server", "--port", str(server.port or 3000), *add)
    else:
        words = server.command.rewritten(add=add, drop=drop, replace=dict(replace or {}))
    lines = []
    for name, value in (environment or {}).items():
        if is_windows(deployment):
            lines.append(f"$env:{name} = {_powershell(value)}")
        else:
            lines.append(f"export {name}={value}")
    return [*lines, shlex.join(words)]


def restart(
    deployment: Deployment,
    server: Server,
    *,
    add: tuple[str, ...] = (),
    drop: tuple[str, ...] = (),
    replace: Mapping[str, str] | None = None,
    environment: Mapping[str, str] | None = None,
) -> list[str]:
    """Return the lines that stop a running server and start it again (`start`)."""
    lines = start(
        deployment, server, add=add, drop=drop, replace=replace, environment=environment
    )
    if server.is_running and server.process is not None:
        lines.insert(0, stop(deployment, server.process))
    return lines


def supervisor_of(server: Server) -> tuple[Process, str] | None:
    """Return the process that will start this server again, and how to ask it not to."""
    for ancestor in server.ancestors:
        for name, how in _SUPERVISORS.items():
            if ancestor.name.startswith(name) and not (name == "systemd" and ancestor.pid == 1):
                return ancestor, how
    return None


def free_port(deployment: Deployment, near: int) -> int | None:
    """Return a port near one that nobody listens on, None where the sockets cannot be seen.

    Ports below the first unprivileged one and in the range of clients' own ports are left out:
    the first need a privilege, the second can be taken at any moment.
    """
    here = deployment.here
    if here is None or here.ports_taken is None:
        return None
    taken = set(here.ports_taken)
    low = max(here.first_unprivileged_port or 1024, 1024)
    start_at, end_at = here.ephemeral_ports or (49152, 65535)
    candidates = [*range(max(near + 1, low), 65536), *range(low, 65536)]
    return next(
        (p for p in candidates if p not in taken and not start_at <= p <= end_at), None
    )


def _powershell(value: str) -> str:
    if value == NEW_TOKEN["COPILOT_CONNECTION_TOKEN"]:
        return "[guid]::NewGuid().ToString('N')"
    return value
