"""The source "this machine": what its processes, sockets and environment show, as a Deployment.

This is the boundary that secrets do not cross:
raw command lines and environments come in, kinds and lengths go out.
"""

import os
import shutil
import socket
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from doctor.deployment import (
    Client,
    Deployment,
    Directory,
    Environment,
    Holder,
    Listener,
    LogFile,
    Origin,
    Process,
    Server,
    Target,
    Unseen,
    WantedPort,
)
from doctor.deployment.launch import LaunchCommand, parse
from doctor.deployment.targets import parse_target
from doctor.deployment.values import describe_all
from doctor.redaction import Vault
from doctor.sources import folders, place, processes, sockets
from doctor.sources.processes import CopilotProcess, NotVisible, ProcessTable
from doctor.sources.sdk import SdkReport, look_at_process, look_at_project

DOCUMENTED_PORT: Final = 3000
"""The port of the documented command; looked at where nothing else names one."""

_MOST_WORDS: Final = 64
_MOST_CLIENTS: Final = 200


def look(
    *,
    environ: Mapping[str, str],
    vault: Vault,
    targets: Sequence[Target] = (),
    port: int | None = None,
) -> Deployment:
    """Return what this machine shows.

    Args:
        environ: The doctor's own environment.
        vault: Learns every secret that is read.
        targets: What the user wants to reach; without any, what ``COPILOT_CLI_URL`` says.
        port: What the user wants to start or to reach a server on.
    """
    shell = describe_all(dict(environ), vault)
    table = processes.running()
    found = [item for item in processes.copilot_processes(table) if _is_ours(item)]
    ports = _ports(targets, port, shell)
    seen = sockets.listening([pid for item in found for pid in item.pids], ports)
    unseen = [_unseen(item, "this machine", "processes") for item in table.limits]
    unseen += [_unseen(item, "this machine", "sockets") for item in seen.unseen]
    view = _View(table, seen, vault)
    view.learn(found)
    servers = tuple(
        view.server(item, f"server-{number}")
        for number, item in enumerate(sorted(found, key=lambda item: item.worker.pid), 1)
    )
    project = look_at_project(Path.cwd()) if _has_cwd() else SdkReport()
    unseen += [_unseen(item, "the project here", "sdk") for item in project.unseen]
    if not targets:
        targets = tuple(_declared_targets(environ, shell, port, servers))
    elif port is not None:
        targets = (*targets, *_port_target(port, servers))
    return Deployment(
        hosts=(place.here(environ, seen.ports_taken),),
        servers=servers,
        clients=tuple(view.clients(servers)),
        targets=tuple(targets),
        wanted_ports=tuple(view.wanted(targets, port, servers)),
        shell=shell,
        directories=_directories_from_here(environ, has_servers=bool(servers)),
        sdks=project.sdks,
        unseen=(*unseen, *view.unseen),
        has_gh=shutil.which("gh", path=environ.get("PATH")) is not None,
    )


class _View:
    """Turns raw processes and sockets into nouns, and remembers what could not be seen."""

    def __init__(self, table: ProcessTable, seen: sockets.SocketTable, vault: Vault) -> None:
        self._table = table
        self._seen = seen
        self._vault = vault
        self._environs: dict[int, processes.Environment | NotVisible] = {}
        self.unseen: list[Unseen] = []

    def learn(self, found: Iterable[CopilotProcess]) -> None:
        """Read the environments first: a secret of one process can stand in another's arguments."""
        for item in found:
            raw = self._environ(item.worker.pid)
            if not isinstance(raw, NotVisible):
                describe_all(raw, self._vault, _also(item))

    def _environ(self, pid: int) -> processes.Environment | NotVisible:
        if pid not in self._environs:
            self._environs[pid] = processes.environ(pid)
        return self._environs[pid]

    def process(self, pid: int) -> Process:
        """Describe a process; one that cannot be seen has its number alone."""
        raw = self._table.get(pid)
        if raw is None:
            return Process(pid=pid, is_visible=False)
        return Process(
            pid=pid,
            name=self._vault.outside(raw.name, 60),
            command=self._vault.outside_all(raw.argv[:_MOST_WORDS], 200),
            user=processes.user_name(raw.uid),
            started_at=_utc(raw.started_s),
            is_visible=raw.is_argv_visible,
        )

    def server(self, item: CopilotProcess, server_id: str) -> Server:
        """Describe one running Copilot CLI, wrapper and native child together."""
        worker = item.worker
        subject = f"process {worker.pid}"
        origin = Origin(kind="process", pid=worker.pid)
        command, environment = self._started_with(item, subject, origin)
        listeners, are_visible = self._listeners(item, subject, origin)
        directories, log, has_login = self._folders(item)
        wrapper = item.leader if item.leader.pid != worker.pid else None
        exe = item.exe
        return Server(
            id=server_id,
            origin=origin,
            command=command,
            process=self.process(worker.pid),
            wrapper=self.process(wrapper.pid) if wrapper else None,
            ancestors=tuple(self.process(ancestor.pid) for ancestor in item.ancestors),
            is_orphan=item.orphaned,
            is_container_init=item.is_namespace_init,
            executable=self._vault.outside(exe) if isinstance(exe, str) else None,
            version=item.version,
            disk_version=item.disk_version,
            environment=environment,
            listeners=listeners,
            listeners_visible=are_visible,
            directories=directories,
            log_file=log,
            has_stored_login=has_login,
        )

    def _started_with(
        self, item: CopilotProcess, subject: str, origin: Origin
    ) -> tuple[LaunchCommand, Environment]:
        version = item.version
        raw = self._environ(item.worker.pid)
        if isinstance(raw, NotVisible):
            self.unseen.append(_unseen(raw, subject, "environment", origin))
            environment = Environment(visible=False, reason=raw.reason, remedy=raw.remedy)
        else:
            environment = describe_all(raw, self._vault, _also(item))
        # Only now does the vault know what must not stand in the arguments.
        command = parse(item.arguments, version, program=item.program, clean=self._vault.outside)
        return command, environment

    def _listeners(
        self, item: CopilotProcess, subject: str, origin: Origin
    ) -> tuple[tuple[Listener, ...], bool]:
        hidden = [self._seen.unseen_pids[pid] for pid in item.pids if pid in self._seen.unseen_pids]
        found = tuple(
            self._listener(raw) for raw in self._seen.listeners if set(raw.pids) & set(item.pids)
        )
        if hidden and not found:
            self.unseen.append(_unseen(hidden[-1], subject, "sockets", origin))
            return (), False
        return found, True

    def _listener(self, raw: sockets.Listener) -> Listener:
        return Listener(
            address=raw.address,
            port=raw.port,
            family=raw.family,
            is_dual_stack=raw.is_dual_stack,
            owner=self.process(raw.pids[-1]) if raw.pids else None,
            namespace=raw.namespace,
        )

    def _folders(
        self, item: CopilotProcess
    ) -> tuple[tuple[Directory, ...], LogFile | None, bool | None]:
        """Describe where a server writes, its log, and whether a login is stored there."""
        environ = self._environ(item.worker.pid)
        if isinstance(environ, NotVisible):
            return (), None, None
        pid = item.worker.pid
        root = processes.root_of(pid) if item.is_other_pid_namespace else ""
        base = processes.cwd(pid)
        # The paths as they are, not as they are shown: a hash in one would be taken out.
        given = parse(item.arguments, item.version, clean=str).log_dir
        home = _absolute(folders.copilot_home(environ), base)
        logs = _absolute(given, base) or (f"{home}/logs" if home else None)
        uid, groups = item.worker.uid, folders.groups_of(pid)
        described = []
        if home:
            described.append(folders.describe(home, "home", uid=uid, groups=groups, root=root))
        if logs:
            described.append(folders.describe(logs, "logs", uid=uid, groups=groups, root=root))
        log = folders.log_file(logs, (*item.pids, item.namespace_pid), root) if logs else None
        has_login = folders.has_stored_login(home, root) if home else None
        return tuple(described), log, has_login

    def clients(self, servers: Sequence[Server]) -> Iterable[Client]:
        """Find the processes that hold a connection to a server's port."""
        found: dict[tuple[int, str], tuple[Server, str]] = {}
        addresses = set(sockets.interface_addresses())
        for server in servers:
            # The server has ends of its own in them, and so does the doctor while it looks.
            own = {os.getpid(), *(p.pid for p in (server.process, server.wrapper) if p)}
            for connection in self._seen.connections:
                if connection.state != "established" or connection.namespace != "own":
                    continue
                if not any(_ends_at(item, connection, addresses) for item in server.listeners):
                    continue
                target = _host_port(connection.remote_address, connection.remote_port)
                for pid in connection.pids:
                    if pid not in own:
                        found.setdefault((pid, server.id), (server, target))
        if len(found) > _MOST_CLIENTS:
            reason = f"{len(found)} processes are connected; {_MOST_CLIENTS} of them were looked at"
            self.unseen.append(Unseen(what="clients", subject="this machine", reason=reason))
        chosen = list(found.items())[:_MOST_CLIENTS]
        for number, ((pid, _), (server, target)) in enumerate(chosen, 1):
            yield self._client(pid, server, target, f"client-{number}")

    def _client(self, pid: int, server: Server, target: str, client_id: str) -> Client:
        origin = Origin(kind="process", pid=pid)
        raw = self._environ(pid)
        if isinstance(raw, NotVisible):
            self.unseen.append(_unseen(raw, f"process {pid}", "environment", origin))
            environment = Environment(visible=False, reason=raw.reason, remedy=raw.remedy)
        else:
            environment = describe_all(raw, self._vault)
        process = self._table.get(pid)
        used = look_at_process(process) if process else SdkReport()
        self.unseen += [_unseen(item, f"client pid {pid}", "sdk", origin) for item in used.unseen]
        return Client(
            id=client_id,
            origin=origin,
            process=self.process(pid),
            target=target,
            server=server.id,
            sdk=used.sdks[0] if used.sdks else None,
            environment=environment,
        )

    def wanted(
        self, targets: Sequence[Target], port: int | None, servers: Sequence[Server]
    ) -> Iterable[WantedPort]:
        """Describe the ports that a server is wanted on, and who holds them."""
        wanted: dict[int, Origin] = {}
        if port is not None:
            wanted[port] = Origin(kind="target", name="--port")
        for target in targets:
            if target.port is not None and _is_local(target.host):
                wanted.setdefault(target.port, target.origin)
        if not wanted and not servers and not targets:
            wanted[DOCUMENTED_PORT] = Origin(kind="target", name="documented default")
        for number, origin in wanted.items():
            yield WantedPort(
                port=number,
                origin=origin,
                holders=tuple(self._holders(number)),
                is_visible=self._seen.ports_taken is not None,
                reason=self._seen.unseen[0].reason if self._seen.unseen else "",
            )

    def _holders(self, port: int) -> Iterable[Holder]:
        is_listening = False
        for listener in self._seen.listeners:
            if listener.port == port and listener.namespace == "own":
                is_listening = True
                owners = listener.pids[-1:] or (None,)
                for pid in owners:
                    yield Holder(
                        port=port,
                        address=listener.address,
                        state="listen",
                        owner=self.process(pid) if pid is not None else self._owner(listener.uid),
                    )
        if is_listening:
            return  # what it has accepted has its port too, and is not in the way
        for connection in self._seen.connections:
            if connection.local_port == port and connection.namespace == "own":
                pid = connection.pids[-1] if connection.pids else None
                yield Holder(
                    port=port,
                    address=connection.local_address,
                    state=connection.state,
                    remote=_host_port(connection.remote_address, connection.remote_port),
                    owner=self.process(pid) if pid is not None else None,
                )

    @staticmethod
    def _owner(uid: int | None) -> Process | None:
        # The kernel tells a socket's user even where its process cannot be seen.
        return (
            None if uid is None else Process(pid=0, user=processes.user_name(uid), is_visible=False)
        )


def _is_ours(item: CopilotProcess) -> bool:
    """Leave out a program that is only called ``copilot`` (AWS has one), unless it serves."""
    if item.is_certain:
        return True
    return bool({"--server", "--headless", "--acp", "--stdio"} & set(item.arguments))


def _ports(targets: Sequence[Target], port: int | None, shell: Environment) -> set[int]:
    found = {target.port for target in targets if target.port is not None}
    declared = shell.text("COPILOT_CLI_URL")
    if declared:
        target = parse_target(declared, Origin(kind="environment", name="COPILOT_CLI_URL"))
        if target.port is not None:
            found.add(target.port)
    if port is not None:
        found.add(port)
    return found or {DOCUMENTED_PORT}


def _declared_targets(
    environ: Mapping[str, str], shell: Environment, port: int | None, servers: Sequence[Server]
) -> Iterable[Target]:
    if shell.is_set("COPILOT_CLI_URL"):
        yield parse_target(
            environ["COPILOT_CLI_URL"], Origin(kind="environment", name="COPILOT_CLI_URL")
        )
    yield from _port_target(port, servers)


def _port_target(port: int | None, servers: Sequence[Server]) -> Iterable[Target]:
    """Reach the server on ``--port``, where one of this machine listens there."""
    for server in servers:
        for item in server.listeners:
            if port is not None and item.port == port and item.namespace == "own":
                text = _host_port(item.reachable_address, port)
                yield parse_target(text, Origin(kind="target", name="--port"))
                return


def _also(item: CopilotProcess) -> tuple[str, ...]:
    """Return the variables that a server reads because its arguments name them."""
    version = item.version
    named = parse(item.arguments, version).auth_token_env
    return (named,) if named else ()


def _ends_at(
    listener: Listener, connection: sockets.Connection, addresses: Collection[str]
) -> bool:
    """Whether a connection of this machine ends at a listener: the port alone does not tell."""
    if listener.namespace != "own" or listener.port != connection.remote_port:
        return False
    there = connection.remote_address
    is_here = there == "::1" or there.startswith("127.") or there in addresses
    return is_here and listener.hears(there)


def _host_port(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _is_local(host: str) -> bool:
    if host in {"localhost", "::1", "0.0.0.0", "::"} or host.startswith("127."):  # noqa: S104
        return True
    return host == socket.gethostname() or host in sockets.interface_addresses()


def _directories_from_here(
    environ: Mapping[str, str], *, has_servers: bool
) -> tuple[Directory, ...]:
    """Describe where a server started from this shell would write.

    Where there is neither a CLI nor a server, as beside a client alone, none is started.
    """
    has_cli = has_servers or shutil.which("copilot", path=environ.get("PATH")) is not None
    if not has_cli or not hasattr(os, "geteuid"):
        return ()
    base = str(Path.cwd()) if _has_cwd() else None
    home = _absolute(folders.copilot_home(dict(environ)), base)
    if home is None:
        return ()
    groups = frozenset((os.getegid(), *os.getgroups()))
    return (
        folders.describe(home, "home", uid=os.geteuid(), groups=groups),
        folders.describe(f"{home}/logs", "logs", uid=os.geteuid(), groups=groups),
    )


def _absolute(path: str | None, base: str | NotVisible | None) -> str | None:
    """Return a path of a server as it is meant from its working directory."""
    if not path or Path(path).is_absolute():
        return path or None
    return str(Path(base) / path) if isinstance(base, str) else None


def _unseen(found: NotVisible, subject: str, what: str, origin: Origin | None = None) -> Unseen:
    return Unseen(
        what=what, subject=subject, reason=found.reason, remedy=found.remedy, origin=origin
    )


def _utc(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _has_cwd() -> bool:
    try:
        Path.cwd()
    except OSError:  # the folder that the doctor was started in is gone
        return False
    return True
