"""Command lines that many fixes share: stop this server, start it again in another way."""

import shlex
from collections.abc import Mapping

from doctor.catalogue.fixes import Fix, advice, command
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
    user = deployment.here.user if deployment.here else None
    is_foreign = None not in {user, process.user} and user not in {"root", process.user}
    return f"{'sudo ' if is_foreign else ''}kill {process.pid} && sleep 2"


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
    lines = start(deployment, server, add=add, drop=drop, replace=replace, environment=environment)
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
    return next((p for p in candidates if p not in taken and not start_at <= p <= end_at), None)


def _powershell(value: str) -> str:
    if value == NEW_TOKEN["COPILOT_CONNECTION_TOKEN"]:
        return "[guid]::NewGuid().ToString('N')"
    return value


def value_of(deployment: Deployment, name: str) -> str:
    """Return the shell word that stands for the value of a variable of this shell."""
    return f'"$env:{name}"' if is_windows(deployment) else f'"${name}"'


def export(deployment: Deployment, name: str, value: str) -> str:
    """Return the line that sets a variable for what is started from this shell.

    Args:
        deployment: Tells the platform.
        name: The variable.
        value: A shell word, quoted by the caller.
    """
    return f"$env:{name} = {value}" if is_windows(deployment) else f"export {name}={value}"


def unset(deployment: Deployment, *names: str) -> str:
    """Return the line that takes variables out of this shell."""
    if is_windows(deployment):
        return "Remove-Item " + ", ".join(f"Env:{name}" for name in names)
    return "unset " + " ".join(names)


def cleaned(deployment: Deployment, name: str) -> str:
    """Return the line that takes white space, line ends and quotes out of a variable's value.

    Neither GitHub tokens nor sensible shared secrets contain any.
    """
    if is_windows(deployment):
        return f"$env:{name} = $env:{name} -replace '[\\s\"'']', ''"
    return f'export {name}="$(printf %s "${name}" | tr -d \'[:space:]"\\047\')"'


def restart_fix(
    fix_id: str,
    summary: str,
    deployment: Deployment,
    server: Server,
    *,
    prepare: tuple[str, ...] = (),
    ask_for: str | None = None,
    add: tuple[str, ...] = (),
    drop: tuple[str, ...] = (),
) -> Fix:
    """Return the fix that starts a server again, changed.

    What a supervisor would start again unchanged is only to be changed where the supervisor
    reads it, and what a container starts where the container is described:
    then the fix is an advice that says so.

    Args:
        fix_id: See `Fix`.
        summary: See `Fix`.
        deployment: Tells the platform.
        server: What to start again.
        prepare: Lines to run before the server is stopped.
        ask_for: A variable whose value the shell asks for first, without showing it.
        add: See `start`.
        drop: See `start`.
    """
    words = start(deployment, server, add=add, drop=drop)[-1]
    supervised = supervisor_of(server)
    if supervised is not None:
        process, how = supervised
        where = f"{process.name} (pid {process.pid})"
        # Observed with supervisord: it signals the wrapper alone, and the child keeps the port.
        listens = server.process.pid if server.process and server.wrapper else None
        orphan = f" (and kill {listens} in between)" if listens else ""
        return advice(
            fix_id,
            f"{summary}: {where} starts it, so change it there, then stop and start it with "
            f"{how.split()[0]}{orphan}; the command line becomes: {words}",
        )
    if server.is_container_init or any(item.namespace == "other" for item in server.listeners):
        return advice(
            fix_id,
            f"{summary}: its container starts it, so change it in the image or the Compose file "
            f"and start the container again; the command line becomes: {words}",
        )
    lines = [*prepare, *restart(deployment, server, add=add, drop=drop)]
    if ask_for is not None:
        # One block: a shell reads it to its end before the question can swallow the next line.
        if is_windows(deployment):
            lines = ["& {", f"$env:{ask_for} = Read-Host '{ask_for}'", *lines, "}"]
        else:
            ask = (
                f"printf '{ask_for}: '; stty -echo; read -r {ask_for}; stty echo; export {ask_for}"
            )
            lines = ["{", ask, *lines, "}"]
    missing = _missing_here(deployment, server, f"{' '.join(prepare)} {ask_for}")
    if missing:
        summary += f" (set {', '.join(missing)} here first, as the server has it)"
    return command(fix_id, summary, *lines)


def _missing_here(deployment: Deployment, server: Server, prepared: str) -> list[str]:
    """Return the variables that a server would lose by being started again from this shell."""
    named = server.command.auth_token_env if server.command else None
    return [
        variable.name
        for variable in server.environment.variables
        if variable.is_set
        and (
            variable.name.startswith(("COPILOT_", "GH_", "GITHUB_TOKEN")) or variable.name == named
        )
        and variable.name not in {"COPILOT_AUTO_UPDATE", "COPILOT_CLI_URL"}
        and deployment.shell.visible
        and not deployment.shell.is_set(variable.name)
        and variable.name not in prepared
    ]


def local_address(server: Server) -> str | None:
    """Return the ``HOST:PORT`` at which clients on this machine reach a server, None for none."""
    for listener in server.listeners:
        if listener.namespace != "own":
            continue
        if listener.scope == "every":
            only_ipv6 = listener.family == "ipv6" and listener.is_dual_stack is False
            return f"[::1]:{listener.port}" if only_ipv6 else f"127.0.0.1:{listener.port}"
        host = f"[{listener.address}]" if ":" in listener.address else listener.address
        return f"{host}:{listener.port}"
    return None


def point_clients(
    fix_id: str, summary: str, deployment: Deployment, address: str, *, safe: bool = True
) -> Fix:
    """Return the fix that tells the clients started from this shell to use an address."""
    word = f"'{address}'" if is_windows(deployment) else shlex.quote(address)
    return command(fix_id, summary, export(deployment, "COPILOT_CLI_URL", word), safe=safe)


FINE_GRAINED_PAGE = "https://github.com/settings/personal-access-tokens/new"
"""Where a fine-grained token is made; it needs the account permission "Copilot Requests"."""


def sign_in_fixes(
    deployment: Deployment,
    server: Server,
    *,
    drop: tuple[str, ...] = (),
    name: str = "COPILOT_GITHUB_TOKEN",
) -> tuple[Fix, ...]:
    """Return the ways to give a server a GitHub token that the CLI takes.

    Args:
        deployment: Tells the platform, and whether GitHub CLI is here.
        server: What to start again.
        drop: See `start`.
        name: The variable that the server reads.
    """
    fixes = [
        restart_fix(
            "new-token",
            "restart the server with a fine-grained token (account permission "
            f'"Copilot Requests") from {FINE_GRAINED_PAGE}',
            deployment,
            server,
            ask_for=name,
            drop=drop,
        )
    ]
    if deployment.has_gh:
        from_gh = export(deployment, name, '"$(gh auth token)"')
        fixes.append(
            restart_fix(
                "token-from-gh",
                "restart it with the token of GitHub CLI (gh auth login, where it has none)",
                deployment,
                server,
                prepare=(from_gh,),
                drop=drop,
            )
        )
    return tuple(fixes)


def ensure_token(deployment: Deployment) -> str:
    """Return the line that gives this shell a connection token, unless it has one.

    It needs no program that a slim container image lacks (openssl is missing in many):
    a command that fails would leave the token empty, which counts as none.
    """
    if is_windows(deployment):
        return (
            "if (-not $env:COPILOT_CONNECTION_TOKEN) "
            "{ $env:COPILOT_CONNECTION_TOKEN = [guid]::NewGuid().ToString('N') }"
        )
    random = "$(head -c 32 /dev/urandom | od -An -vtx1 | tr -d ' \\n')"
    return f'export COPILOT_CONNECTION_TOKEN="${{COPILOT_CONNECTION_TOKEN:-{random}}}"'


def stop_for_good(deployment: Deployment, server: Server) -> list[str]:
    """Return the lines that stop a server so that it stays stopped and its port gets free.

    The process that listens is named, not the npm wrapper: a signal to the wrapper orphans it.
    For the same reason ``supervisorctl stop`` alone leaves the port taken (observed on 1.0.102
    with supervisor 4.3), and a signal alone may only make supervisord start it again.
    """
    if server.process is None:
        return []
    line = stop(deployment, server.process)
    supervised = supervisor_of(server)
    if supervised is None:
        return [line]
    supervisor, how = supervised
    at = server.ancestors.index(supervisor)
    child = server.ancestors[at - 1] if at else server.wrapper or server.process
    kill = line.replace(" && ", " 2>/dev/null; ")
    if supervisor.name.startswith("supervisord"):
        name = f'"$(supervisorctl status | awk \'$4 == "{child.pid}," {{print $1}}\')"'
    elif supervisor.name.startswith("systemd"):
        name = f'"$(ps -o unit= -p {server.process.pid})"'
    else:
        return []
    return [f"{how} {name}", kill]


def upgrade(server: Server, version: str) -> str | None:
    """Return the line that installs another version of the CLI where a server was started from.

    Returns:
        None where it did not come from a folder of npm, or from one that npx will not use again.
    """
    root, found, _ = (server.executable or "").partition("/node_modules/@github/copilot")
    if not found or "/_npx/" in root:
        return None
    where = "--global" if root.endswith("/lib") else f"--prefix {shlex.quote(root)}"
    return f"npm install {where} @github/copilot@{version}"
