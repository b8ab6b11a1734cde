"""The npm wrapper and the real server below it, and which of them a signal reaches.

Symptom in the user's words: "I killed it and the port is still taken", "docker stop takes 10
seconds", "supervisorctl says stopped, and it still runs".
Measured: wrapper, native child, what is above them, whether the wrapper is PID 1 of a container.
Can be wrong where a supervisor was told to signal the whole group: its settings are not read.
"""

import json
import shlex
from collections.abc import Iterator
from typing import Final

from doctor.behaviour.facts import DRAINS_ON_SIGTERM
from doctor.behaviour.versions import NEWEST_TESTED
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
from doctor.catalogue.pages import server_mode
from doctor.catalogue.steps import is_windows, stop
from doctor.deployment import Deployment, Process, Server

_PAGE: Final = server_mode("Stopping the Server")
_SEEN: Final = (
    *("0.0.400", "1.0.2", "1.0.11", "1.0.32", "1.0.44", "1.0.63", "1.0.64", "1.0.73"),
    *("1.0.81", "1.0.92", "1.0.102"),
)
_BOTH: Final = ("1.0.63", "1.0.102")

ORPHAN = Cause(
    id="orphan",
    text=(
        "The npm wrapper was ended and did not pass the signal on: the real server runs on without "
        "it and keeps the port. Signals have to go to the process that listens, not to the wrapper."
    ),
    documented=_PAGE,
    documented_says="kill the PID that lsof shows. That is right; a shell's $! is the wrapper's.",
    observed=_SEEN,
)
DEAF_INIT = Cause(
    id="wrapper-is-init",
    text=(
        "The npm wrapper is the first process (PID 1) of its container and ignores SIGTERM there: "
        "docker stop waits its 10 seconds and then kills. PID 1 should be the native program, or a "
        "small init."
    ),
    documented=server_mode("Dedicated container"),
    documented_says='CMD ["bash", "-c", "copilot --server …"], which makes the wrapper PID 1.',
    observed=_BOTH,
)
SUPERVISED_WRAPPER = Cause(
    id="supervised-wrapper",
    text=(
        "The supervisor started the npm wrapper and signals the wrapper alone, unless it was told "
        "to signal the whole group: after a stop the real server runs on and keeps the port. It "
        "should run the native program, or signal the group."
    ),
    documented=server_mode("Docker Compose"),
    documented_says="supervisord manages both processes; how it stops them is not said.",
    observed=_BOTH,
)
SLOW_STOP = Cause(
    id="slow-stop",
    text=(
        "With a client connected, CLI up to 1.0.64 takes 10 seconds to stop, as long as docker "
        "stop and supervisord wait before they kill it. They should wait longer; from 1.0.73 on "
        "it takes 0.1 seconds."
    ),
    documented=_PAGE,
    documented_says="nothing about how long it takes.",
    observed=DRAINS_ON_SIGTERM.where(value=True),
)

CAUSES = (ORPHAN, DEAF_INIT, SUPERVISED_WRAPPER, SLOW_STOP)

# What signals the one process that it started. systemd signals the whole control group by default.
_SIGNAL_ONE: Final = ("supervisord", "runsv", "s6-supervise")
_SHELLS: Final = frozenset({"sh", "bash", "dash", "ash", "zsh"})


def judge(deployment: Deployment) -> Iterator[Outcome]:
    """Judge the processes of every running server."""
    running = [server for server in deployment.servers if server.is_running]
    if not running:
        yield Skipped(reason="no running Copilot server")
    for server in running:
        found = list(_findings(deployment, server))
        yield from found
        if not found:
            yield _fine(deployment, server)


def _findings(deployment: Deployment, server: Server) -> Iterator[Finding]:
    if server.is_orphan and server.process is not None:
        yield _orphan(deployment, server, server.process)
    elif server.wrapper is not None and _is_container_init(deployment, server):
        yield _deaf_init(server, server.wrapper)
    elif server.wrapper is not None and (supervisor := _supervisor(server)):
        yield _supervised(server, server.wrapper, *supervisor)
    is_slow = DRAINS_ON_SIGTERM.at(server.version).value and deployment.clients_of(server)
    if is_slow and _is_killed_after_10_s(deployment, server):
        yield _slow_stop(deployment, server)


def _orphan(deployment: Deployment, server: Server, process: Process) -> Finding:
    return Finding(
        status="warn",
        title="The server has outlived its npm wrapper and keeps its port",
        cause=ORPHAN,
        subject=about(server),
        origin=server.origin,
        symptom="address already in use"
        if server.port
        else "the server still runs after it was stopped",
        evidence=(
            Evidence(kind="process", text=f"pid {process.pid} is the server; its parent is init"),
            *_sockets(server),
            *_tree(server),
        ),
        fixes=(
            command(
                "kill-orphan",
                "stop the server itself, if nobody uses it any more",
                stop(deployment, process),
            ),
        ),
    )


def _deaf_init(server: Server, wrapper: Process) -> Finding:
    return Finding(
        status="warn",
        title="The container's PID 1 is the npm wrapper, which ignores SIGTERM",
        cause=DEAF_INIT,
        subject=about(server),
        origin=server.origin,
        symptom="docker stop takes 10 seconds, then the container ends with exit code 137",
        evidence=(
            Evidence(kind="process", text=f"PID 1 of the container: {_called(server, wrapper)}"),
            *_tree(server),
        ),
        fixes=_container_fixes(server),
    )


def _container_fixes(server: Server) -> tuple[Fix, ...]:
    words = _native_words(server)
    return (
        code(
            "exec-native",
            "in the Dockerfile: start the native program, so that it is PID 1 and ends at once",
            "dockerfile",
            f"CMD {_json(words)}",
        ),
        code(
            "init",
            "or in the compose file (docker run: --init): a small init as PID 1 ends the container "
            "at once; the server itself is then killed, not asked",
            "yaml",
            "services:\n  SERVICE:\n    init: true",
        ),
    )


def _supervised(server: Server, wrapper: Process, supervisor: Process, name: str) -> Finding:
    native = _native_words(server)
    fixes: list[Fix] = []
    if name == "supervisord":
        fixes.append(
            code(
                "supervise-native",
                "in its section of supervisord.conf: run the native program, then supervisorctl "
                "update",
                "ini",
                f"command={' '.join(_ini(word) for word in native)}",
            )
        )
        fixes.append(
            code(
                "stop-group",
                "or signal wrapper and server together, then supervisorctl update",
                "ini",
                "stopasgroup=true\nkillasgroup=true",
            )
        )
    else:
        fixes.append(advice("supervise-native", f"let {name} exec the native program: {native[0]}"))
    return Finding(
        status="unknown",
        title=f"Whether a stop by {name} reaches the server cannot be seen here",
        cause=SUPERVISED_WRAPPER,
        subject=about(server),
        origin=server.origin,
        symptom="address already in use, after a restart",
        evidence=(
            Evidence(
                kind="process",
                text=f"{name} (pid {supervisor.pid}) started the npm wrapper "
                f"(pid {wrapper.pid}), not the server",
            ),
            *_tree(server),
        ),
        fixes=tuple(fixes),
    )


def _slow_stop(deployment: Deployment, server: Server) -> Finding:
    count = len(deployment.clients_of(server))
    return Finding(
        status="warn",
        title="Stopping this server takes 10 s, as long as its supervisor waits before it kills",
        cause=SLOW_STOP,
        subject=about(server),
        origin=server.origin,
        evidence=(
            Evidence(kind="wire", text=f"server version: {server.version}"),
            Evidence(kind="socket", text=f"clients connected: {count}"),
            *_tree(server),
        ),
        fixes=(
            code(
                "wait-longer",
                "give it longer, in the compose file (docker stop: --time 30)",
                "yaml",
                "services:\n  SERVICE:\n    stop_grace_period: 30s",
            )
            if _supervisor(server) is None
            else code(
                "wait-longer",
                "give it longer, in its section of supervisord.conf",
                "ini",
                "stopwaitsecs=30",
            ),
            advice("upgrade", f"or move to CLI {NEWEST_TESTED}, which stops in 0.1 s"),
        ),
    )


def _fine(deployment: Deployment, server: Server) -> Outcome:
    process, wrapper = server.process, server.wrapper
    if process is None or (server.is_orphan is None and wrapper is None):
        return NotVisible(
            subject=about(server),
            reason="what stands above the server could not be seen",
            remedy="run copilot-doctor as the server's user or as root",
        )
    if wrapper is None:
        return Passed(
            subject=about(server), detail=f"one process, started without a wrapper: {process.pid}"
        )
    kill = "Stop-Process -Id" if is_windows(deployment) else "kill"
    return Passed(
        subject=about(server),
        detail=(
            f"npm wrapper {wrapper.pid}, server {process.pid}: stop it with {kill} {process.pid}, "
            "a signal to the wrapper would leave the server running"
        ),
    )


def _is_container_init(deployment: Deployment, server: Server) -> bool:
    """Whether SIGTERM to the container reaches the wrapper, or a shell above it, as PID 1.

    A shell that waits for its command ignores SIGTERM as PID 1 just as well (observed).
    """
    if server.is_container_init:
        return True
    here, top = deployment.here, server.ancestors[-1] if server.ancestors else None
    is_inside = here is not None and here.kind == "container"
    return is_inside and top is not None and top.pid == 1 and top.name in _SHELLS


def _supervisor(server: Server) -> tuple[Process, str] | None:
    """Return the process that stops this server by a signal to its child, and what it is called.

    One that an interpreter runs (``python -m supervisor.supervisord``) has the name of that one.
    """
    for ancestor in server.ancestors:
        words = (ancestor.name, *ancestor.command[:3])
        for name in _SIGNAL_ONE:
            if any(word.endswith((f"/{name}", f".{name}")) or word == name for word in words):
                return ancestor, name
    return None


def _is_killed_after_10_s(deployment: Deployment, server: Server) -> bool:
    supervisor = _supervisor(server)
    if supervisor is not None:
        return supervisor[1] == "supervisord"
    here = deployment.here
    is_docker = (
        here is not None and here.kind == "container" and here.engine in {"docker", "podman"}
    )
    return server.is_container_init or is_docker


def _native_words(server: Server) -> tuple[str, ...]:
    program = server.executable or "PATH_OF_THE_NATIVE_PROGRAM"
    arguments = server.command.arguments if server.command else ("--server", "--port", "PORT")
    return (program, *arguments)


def _json(words: tuple[str, ...]) -> str:
    return json.dumps(list(words), ensure_ascii=False)


def _ini(word: str) -> str:
    # supervisord splits as a shell does and expands %(…)s.
    return shlex.quote(word).replace("%", "%%")


def _called(server: Server, wrapper: Process) -> str:
    if server.is_container_init or not server.ancestors:
        return " ".join(wrapper.command[:2]) or wrapper.name
    return server.ancestors[-1].name


def _sockets(server: Server) -> Iterator[Evidence]:
    for listener in server.listeners[:2]:
        yield Evidence(kind="socket", text=f"it listens on {listener.address}:{listener.port}")


def _tree(server: Server) -> Iterator[Evidence]:
    chain = [*reversed(server.ancestors)]
    chain += [process for process in (server.wrapper, server.process) if process is not None]
    text = " → ".join(f"{process.name or 'process'} {process.pid}" for process in chain)
    yield Evidence(kind="process", text=f"process tree: {text}")


CHECK = Check(
    id="process-tree",
    title="Does a stop signal reach the real server?",
    category="process",
    looks_at="npm wrapper, native child, the processes above them, PID 1",
    symptoms=(
        Symptom(
            text="the port is still taken after the server was killed",
            where="behaviour",
            versions=_SEEN,
        ),
        Symptom(
            text="docker stop takes 10 seconds; the container exited with code 137",
            pattern=r"exited with code 137",
            where="behaviour",
        ),
        Symptom(
            text="-32000 SERVER_SHUTTING_DOWN",
            pattern=r"SERVER_SHUTTING_DOWN",
            where="json-rpc",
            versions=("1.0.32", "1.0.63", "1.0.102"),
        ),
    ),
    causes=CAUSES,
    judge=judge,
    fixes=(
        GeneralFix(
            cause="orphan",
            summary="Stop the process that listens, not the npm wrapper",
            shell='kill "$(lsof -t -nP -iTCP:PORT -sTCP:LISTEN)"',
        ),
        GeneralFix(
            cause="wrapper-is-init",
            summary="Start the native program as PID 1, or a small init (init: true)",
            code=(
                'CMD ["bash", "-c", "exec $(npm root -g)/@github/copilot/node_modules/@github/'
                'copilot-linux-x64/copilot --server --port PORT"]'
            ),
            language="dockerfile",
        ),
        GeneralFix(
            cause="supervised-wrapper",
            summary="Let supervisord signal wrapper and server together",
            code="stopasgroup=true\nkillasgroup=true",
            language="ini",
        ),
        GeneralFix(
            cause="slow-stop",
            summary="Let the supervisor wait 30 seconds (supervisord: stopwaitsecs=30)",
            code="stop_grace_period: 30s",
            language="yaml",
        ),
    ),
)
