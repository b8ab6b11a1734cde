"""The processes of this machine, and which of them are GitHub Copilot CLI.

The list of all processes is cheap to make.
What costs more or needs a right (environment, executable, working directory) is read
on request for chosen processes, and says why where it cannot be read.

Everything here is raw: command lines and environments can hold secrets.
No ``repr`` shows them, and only `doctor.sources.machine` may turn them into a Deployment.
"""

import contextlib
import os
import re
import stat
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath
from typing import Final, Literal, TypeVar

import msgspec

T = TypeVar("T")

_HAS_PROC: Final = sys.platform == "linux" and os.path.exists("/proc/self/stat")  # noqa: PTH110
_MOST_ARGV_BYTES: Final = 8 << 20
_FIRST_ARGV_BYTES: Final = 32 << 10
_MOST_ENVIRON_BYTES: Final = 8 << 20
_MOST_MAPS_BYTES: Final = 4 << 20
_MOST_PACKAGE_BYTES: Final = 1 << 20
_MOST_ANCESTORS: Final = 6
_MOST_LINKS: Final = 40
_START_TIME_FIELD: Final = 19
_SUDO: Final = "run the doctor as that user or as root (sudo)"


class NotVisible(msgspec.Struct, frozen=True):
    """Something that could not be seen: never the same as something that is not there.

    Attributes:
        kind: ``permission``, ``gone`` (the process ended meanwhile), ``unsupported`` (this
            platform does not tell), ``malformed`` (a file that makes no sense) or ``limit``
            (too large, or the time was up).
        reason: Why, as half a sentence.
        remedy: What would make it visible; empty where nothing would.
    """

    kind: Literal["permission", "gone", "unsupported", "malformed", "limit"]
    reason: str
    remedy: str = ""


class Environment(dict[str, str]):
    """The variables that a process was started with; its ``repr`` does not show them."""

    def __repr__(self) -> str:
        """Leave the values out."""
        return f"<environment of {len(self)} variables>"

    __str__ = __repr__


class Process(msgspec.Struct, frozen=True, kw_only=True):
    """One process; its ``repr`` does not show the command line, which may hold secrets.

    Attributes:
        ppid: Its parent; 0 where it has none in this pid namespace.
        name: The system's name for it. For the CLI this is ``MainThread`` or ``node`` (observed
            on 0.0.400 to 1.0.102).
        argv: Its arguments; bytes that are no UTF-8 are lone surrogates. Empty for kernel threads,
            for processes that have ended, and where `is_argv_visible` is False.
        is_argv_visible: False where the system would not show the arguments.
        is_argv_cut: There are more arguments than were read.
        uid: User id; None where there is none or it cannot be seen.
        group: Process group; None where that is not known.
        started_s: Seconds since the epoch, UTC; None where that is not known.
    """

    pid: int
    ppid: int
    name: str
    argv: tuple[str, ...] = ()
    is_argv_visible: bool = True
    is_argv_cut: bool = False
    uid: int | None = None
    group: int | None = None
    started_s: float | None = None

    def __repr__(self) -> str:
        """Leave the arguments out."""
        return f"Process(pid={self.pid}, ppid={self.ppid}, {len(self.argv)} arguments)"


class ProcessTable(msgspec.Struct, frozen=True):
    """The processes of one moment, by pid.

    Attributes:
        limits: What kept it from being complete.
    """

    processes: dict[int, Process]
    limits: tuple[NotVisible, ...] = ()

    def get(self, pid: int) -> Process | None:
        """Return a process, or None where it was not there."""
        return self.processes.get(pid)

    def ancestors(self, pid: int, most: int = _MOST_ANCESTORS) -> tuple[Process, ...]:
        """Return the chain upward from the parent, nearest first, at most `most` long."""
        found: list[Process] = []
        seen = {pid}
        process = self.processes.get(pid)
        while process is not None and len(found) < most:
            process = self.processes.get(process.ppid)
            if process is None or process.pid in seen:  # a reused pid can close a circle
                break
            seen.add(process.pid)
            found.append(process)
        return tuple(found)


class CopilotProcess(msgspec.Struct, frozen=True, kw_only=True):
    """One running Copilot CLI: its wrapper and its native processes together.

    Attributes:
        leader: The topmost Copilot process: the npm loader, or the native process itself.
        worker: The deepest one: it owns the sockets, and a signal must go to it.
        pids: From leader to worker, whatever is between included.
        started_by: What the leader is: ``loader`` (a script of Node), ``native``.
        ancestors: Upward from the leader: shell, npm, supervisor, init; at most 6.
        program: What was typed: ``("/x/.bin/copilot",)`` or ``("node", "/x/index.js")``.
        arguments: What follows the program.
        exe: The worker's executable. For a bundle that runs on Node, Node itself.
        script: The bundle or loader, where Node runs one, as it is in the command line.
        is_certain: False: it is called ``copilot`` and nothing else says that it is GitHub's
            (AWS has a program of that name).
        evidence: How it was recognised.
        disk_version: Of the installed package that it was started from, as it is on disk now.
        disk_version_source: Where that was read.
        running_version: Of the code that it really loaded. It differs from `disk_version` where
            automatic update has put a newer version into the cache (observed: 1.0.22, 1.0.63 and
            1.0.92 run 1.0.102 from there and say so in ``status.get``).
        orphaned: Its wrapper is gone and init has adopted it; None: cannot be told.
        orphan_evidence: What that is based on.
        is_namespace_init: The leader is PID 1 of its pid namespace: of a container, mostly.
        is_other_pid_namespace: It lives in another one than the doctor. None: not known.
        is_other_network: The same for the network namespace.
        namespace_pid: The worker's pid as its own namespace counts.
    """

    leader: Process
    worker: Process
    pids: tuple[int, ...]
    started_by: Literal["loader", "native"]
    ancestors: tuple[Process, ...]
    program: tuple[str, ...]
    arguments: tuple[str, ...]
    exe: str | NotVisible
    script: str | None
    is_certain: bool
    evidence: str
    disk_version: str | None
    disk_version_source: str
    running_version: str | None
    orphaned: bool | None
    orphan_evidence: str
    is_namespace_init: bool
    is_other_pid_namespace: bool | None
    is_other_network: bool | None
    namespace_pid: int

    @property
    def version(self) -> str | None:
        """The best guess at what runs: never what was installed over it since."""
        is_replaced = isinstance(self.exe, str) and self.exe.endswith(" (deleted)")
        return self.running_version or (None if is_replaced else self.disk_version)

    def __repr__(self) -> str:
        """Leave the arguments out."""
        return f"CopilotProcess(pids={self.pids}, {self.evidence})"


# --- all processes ------------------------------------------------------------------------------


def running() -> ProcessTable:
    """Return the processes of this machine.

    On Linux ``/proc`` is read directly: 13 ms for 400 processes on a busy machine, where psutil
    needed 82 ms for 370 on an idle one (measured). Elsewhere psutil is asked.
    """
    return _running_by_proc() if _HAS_PROC else _running_by_psutil()


def _running_by_proc() -> ProcessTable:
    # CLOCK_BOOTTIME counts what /proc/<pid>/stat counts, also inside of a time namespace.
    boot_s = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    ticks_per_s = os.sysconf("SC_CLK_TCK")
    processes: dict[int, Process] = {}
    hidden = 0
    for entry in os.listdir("/proc"):  # noqa: PTH208 - a tenth of the time of a Path each
        if not entry.isdecimal():
            continue
        try:
            process = _by_proc(int(entry), boot_s, ticks_per_s)
        except PermissionError:
            hidden += 1
            continue
        except (OSError, ValueError, IndexError):  # it ended between two reads
            continue
        processes[process.pid] = process
    limits: tuple[NotVisible, ...] = ()
    if hidden or 1 not in processes:  # the mount options hidepid=1 and hidepid=2
        count = f"{hidden} processes" if hidden else "processes"
        reason = f"{count} of other users are hidden (/proc is mounted with hidepid)"
        limits = (NotVisible("permission", reason, "run the doctor as root (sudo)"),)
    return ProcessTable(processes, limits)


def _by_proc(pid: int, boot_s: float, ticks_per_s: int) -> Process:
    folder = f"/proc/{pid}"
    line = _read(f"{folder}/stat", 4096)
    # The name is in parentheses and can itself hold parentheses and spaces.
    start, end = line.index(b"("), line.rindex(b")")
    fields = line[end + 2 :].split(None, _START_TIME_FIELD + 1)
    raw = _read(f"{folder}/cmdline", _FIRST_ARGV_BYTES)
    is_cut = len(raw) >= _FIRST_ARGV_BYTES
    if is_cut and b"copilot" in raw:
        raw = _read(f"{folder}/cmdline", _MOST_ARGV_BYTES)
        is_cut = len(raw) >= _MOST_ARGV_BYTES
    return Process(
        pid=pid,
        ppid=int(fields[1]),
        name=_text(line[start + 1 : end]),
        argv=_arguments(raw),
        is_argv_cut=is_cut,
        uid=os.stat(folder).st_uid,  # noqa: PTH116 - one of hundreds
        group=int(fields[2]),
        started_s=boot_s + int(fields[_START_TIME_FIELD]) / ticks_per_s,
    )


def _arguments(raw: bytes) -> tuple[str, ...]:
    if not raw:
        return ()
    argv = raw.removesuffix(b"\0").split(b"\0")
    # npm writes a title over its arguments; what is left of them is empty (observed with npx).
    if b" " in argv[0] and not any(argv[1:]):
        del argv[1:]
    return tuple(map(_text, argv))


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def _running_by_psutil() -> ProcessTable:
    import psutil

    processes: dict[int, Process] = {}
    hidden = 0
    names = ["pid", "ppid", "name", "cmdline", "create_time"]
    if sys.platform != "win32":
        names.append("uids")
    for one in psutil.process_iter(names, ad_value=None):
        info = one.info
        argv = info["cmdline"]
        hidden += argv is None
        group = None
        with contextlib.suppress(OSError, AttributeError):  # not on Windows; or it is gone
            group = os.getpgid(one.pid)
        processes[one.pid] = Process(
            pid=one.pid,
            ppid=info["ppid"] or 0,
            name=info["name"] or "",
            argv=tuple(argv or ()),
            is_argv_visible=argv is not None,
            uid=info["uids"].real if info.get("uids") else None,
            group=group,
            started_s=info["create_time"],
        )
    limits: tuple[NotVisible, ...] = ()
    if hidden:
        reason = f"the command lines of {hidden} processes of other users could not be read"
        limits = (NotVisible("permission", reason, _SUDO),)
    return ProcessTable(processes, limits)


# --- chosen processes ---------------------------------------------------------------------------


def environ(pid: int) -> Environment | NotVisible:
    """Return the variables that a process was started with; later changes of its own are not seen.

    The values can be secrets: hand them to `doctor.deployment.values` and nothing else.
    """
    if not _HAS_PROC:
        found = _by_psutil(pid, "environ", dict[str, str])
        return found if isinstance(found, NotVisible) else Environment(found)
    raw = _of_proc(pid, "environ", _MOST_ENVIRON_BYTES)
    if isinstance(raw, NotVisible):
        return raw
    pairs = (entry.partition("=") for entry in _text(raw).split("\0"))
    found = Environment()
    for name, equals, value in pairs:
        if equals:
            found.setdefault(name, value)  # getenv() takes the first of two
    return found


def exe(pid: int) -> str | NotVisible:
    """Return the path of a process's executable; `` (deleted)`` follows where it was replaced."""
    return _link(pid, "exe") if _HAS_PROC else _by_psutil(pid, "exe", str)


def cwd(pid: int) -> str | NotVisible:
    """Return the working directory of a process."""
    return _link(pid, "cwd") if _HAS_PROC else _by_psutil(pid, "cwd", str)


def user_name(uid: int | None) -> str | None:
    """Return the name of a user, the number as text where it has none, None for no user."""
    if uid is None:
        return None
    try:
        import pwd

        return pwd.getpwuid(uid).pw_name
    except (ImportError, KeyError, OverflowError):
        return str(uid)


def not_visible(error: OSError, subject: str) -> NotVisible:
    """Return why something about `subject` could not be read."""
    if isinstance(error, PermissionError):
        reason = f"{subject} belongs to another user or is protected"
        return NotVisible("permission", reason, _SUDO)
    if isinstance(error, FileNotFoundError | ProcessLookupError):
        return NotVisible("gone", f"{subject} has ended")
    # strerror alone: the exception's own text can name files.
    return NotVisible("unsupported", f"{subject}: {error.strerror or type(error).__name__}")


def _of_proc(pid: int, name: str, limit: int) -> bytes | NotVisible:
    try:
        return _read(f"/proc/{pid}/{name}", limit, is_table=True)
    except OSError as error:
        return not_visible(error, f"process {pid}")


def _link(pid: int, name: str) -> str | NotVisible:
    try:
        return os.readlink(f"/proc/{pid}/{name}")  # noqa: PTH115 - called for every process
    except OSError as error:
        return not_visible(error, f"process {pid}")


def _by_psutil(pid: int, name: str, kind: type[T]) -> T | NotVisible:
    import psutil

    subject = f"process {pid}"
    try:
        found = getattr(psutil.Process(pid), name)()
    except psutil.AccessDenied:
        return not_visible(PermissionError(), subject)
    except psutil.NoSuchProcess:
        return not_visible(ProcessLookupError(), subject)
    except (NotImplementedError, AttributeError):
        return NotVisible("unsupported", f"this platform does not tell the {name} of a process")
    except OSError as error:
        return not_visible(error, subject)
    if not found and kind is str:
        return not_visible(PermissionError(), subject)
    return kind(found)  # type: ignore[call-arg]


def _read(path: str, limit: int, *, is_table: bool = False) -> bytes:
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
    try:
        data = os.read(handle, limit)
        # Tables such as maps come in pieces of a page; single values come in one.
        while is_table and len(data) < limit and (more := os.read(handle, limit - len(data))):
            data += more
        return data
    finally:
        os.close(handle)


def read_file(path: str, limit: int) -> bytes | NotVisible:
    """Return a regular file's content; never waits on a pipe or a device.

    Args:
        path: The file.
        limit: The most bytes that a file may have.
    """
    flags = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0)
    flags |= getattr(os, "O_BINARY", 0)
    try:
        handle = os.open(path, flags)
    except FileNotFoundError:
        return NotVisible("gone", "there is no such file")
    except PermissionError:
        return NotVisible("permission", "the file may not be read", _SUDO)
    except (OSError, ValueError):  # a NUL in the name, a loop of links …
        return NotVisible("malformed", "the file cannot be opened")
    try:
        facts = os.fstat(handle)
        if not stat.S_ISREG(facts.st_mode):
            return NotVisible("malformed", "it is no regular file")
        if facts.st_size > limit:
            return NotVisible("limit", f"the file is larger than {limit >> 20} MB")
        data = b""
        while len(data) <= limit and (more := os.read(handle, limit + 1 - len(data))):
            data += more
    except OSError:
        return NotVisible("malformed", "the file could not be read")
    finally:
        os.close(handle)
    return data[:limit]


# --- Copilot processes --------------------------------------------------------------------------

_PLATFORM: Final = r"(?:linux|linuxmusl|darwin|win32)-(?:x64|arm64)"
_PROGRAM: Final = r"copilot(?:-runtime)?(?:\.exe)?"
_VERSION: Final = r"(?P<version>\d+\.\d+\.\d+[^/]*)"

# Where the native program lies, by the way it was installed. Paths are compared in lower case
# with forward slashes. The places of the SDKs are those of github/copilot-sdk (resolve.rs,
# embeddedcli.go, Client.cs, _cli_download.py, NativeRuntimeLoader.java).
_NATIVE_PLACES: Final = tuple(
    (what, re.compile(pattern + r"$"))
    for what, pattern in (
        ("npm platform package", rf"/@github/copilot-{_PLATFORM}/copilot(?:\.exe)?"),
        ("package cache", rf"/pkg/(?:{_PLATFORM}|universal)/{_VERSION}/copilot(?:\.exe)?"),
        (
            "download of an SDK",
            rf"/github-copilot-sdk/cli/{_VERSION}/(?:prebuilds/{_PLATFORM}/)?{_PROGRAM}",
        ),
        ("bundle of the Go SDK", rf"/copilot-sdk/{_VERSION}/(?:linuxmusl/)?copilot(?:\.exe)?"),
        (
            "bundle of the .NET SDK",
            r"/runtimes/(?:linux|linux-musl|osx|win)-(?:x64|arm64)/native/copilot(?:\.exe)?",
        ),
        ("bundle of the Java SDK", r"/\.copilot/runtime-cache/.+/copilot(?:\.exe)?"),
        ("bundle of the Python SDK", r"/site-packages/copilot/bin/copilot(?:\.exe)?"),
        ("Homebrew cask", rf"/caskroom/copilot-cli(?:@[^/]+)?/{_VERSION}/copilot"),
        ("WinGet package", r"/winget/packages/github\.copilot[^/]*/(?:.+/)?copilot\.exe"),
        ("download of gh", r"/gh(?: cli)?/copilot/copilot(?:\.exe)?"),
    )
)
_SCRIPT_PLACES: Final = (
    re.compile(rf"/@github/copilot(?:-{_PLATFORM})?/(?P<file>npm-loader|index|app|cli-main)\.js$"),
    re.compile(rf"/pkg/(?:{_PLATFORM}|universal)/{_VERSION}/(?P<file>index|app|cli-main)\.js$"),
)
# In a mapped file's path: the version whose code the process has loaded.
_LOADED: Final = re.compile(rf"/(?:universal|{_PLATFORM})/{_VERSION}/prebuilds/".encode())
_AWS_PLACE: Final = re.compile(r"/cellar/copilot-cli/[^/]+/bin/copilot$")
_AWS_COMMANDS: Final = frozenset(
    {"env", "svc", "job", "task", "secret", "pipeline", "storage", "deploy", "docs", "run"}
)
_RUNTIME: Final = re.compile(r"(?:node(?:js)?[-.\d]*|bun|deno|electron|code)(?:\.exe)?$")
_SCRIPT_NAMES: Final = frozenset({"copilot", "npm-loader.js", "index.js", "app.js", "cli-main.js"})
_RUNTIME_OPTIONS_WITH_VALUE: Final = frozenset(
    {"-r", "--require", "--import", "--loader", "--experimental-loader", "-C", "--conditions"}
    | {"--env-file", "--title", "--max-old-space-size", "--stack-trace-limit", "--icu-data-dir"}
)
_OWN_OPTIONS: Final = frozenset(
    {"--server", "--headless", "--acp", "--stdio", "--ui-server", "--allow-all-tools", "--yolo"}
    | {"--allow-all", "--allow-tool", "--deny-tool", "--no-auto-update", "--no-auto-login"}
    | {"--auth-token-env", "--connection-token", "--prefer-version", "--no-custom-instructions"}
)
_INIT_NAMES: Final = frozenset(
    {"systemd", "init", "launchd", "tini", "tini-static", "dumb-init", "docker-init", "catatonit"}
    | {"conmon", "containerd-shim", "containerd-shim-runc-v2", "s6-svscan", "runit", "podman-init"}
)
# Node makes this many threads before a script of it can start a child (observed: 11 on Node 20).
_THREADS_OF_NODE: Final = 6
_HELPER_SCRIPT: Final = re.compile(r"\.[cm]?js$|(?:^|/)conpty_console_list_agent$")
_HELPER_VARIABLES: Final = ("COPILOT_VOICE_SERVER_MODE", "COPILOT_SHUTDOWN_FLUSH")


class Inspector:
    """What recognition asks about single processes; a test answers from a recording."""

    def exe(self, pid: int) -> str | NotVisible:
        """Return the executable."""
        return exe(pid)

    def cwd(self, pid: int) -> str | NotVisible:
        """Return the working directory."""
        return cwd(pid)

    def environ(self, pid: int) -> Environment | NotVisible:
        """Return the environment."""
        return environ(pid)

    def maps(self, pid: int) -> bytes:
        """Return the list of mapped files, empty where it cannot be read."""
        found = _of_proc(pid, "maps", _MOST_MAPS_BYTES) if _HAS_PROC else b""
        return b"" if isinstance(found, NotVisible) else found

    def namespace_pids(self, pid: int) -> tuple[int, ...]:
        """Return the pid in each nested pid namespace, the doctor's own first."""
        found = _of_proc(pid, "status", 8192) if _HAS_PROC else b""
        if not isinstance(found, NotVisible):
            for line in found.splitlines():
                if line.startswith(b"NSpid:"):
                    return tuple(map(int, line.split()[1:]))
        return (pid,)

    def is_other_network(self, pid: int) -> bool | None:
        """Return whether it is in another network namespace; None: not known."""
        if not _HAS_PROC:
            return None
        here, there = _link(os.getpid(), "ns/net"), _link(pid, "ns/net")
        if isinstance(here, NotVisible) or isinstance(there, NotVisible):
            return None
        return here != there

    def resolve(self, pid: int, path: str) -> str | None:
        """Return where a path leads as the process sees it, None where nothing is there."""
        return resolve(path, root_of(pid))

    def package(self, pid: int, folder: str) -> tuple[str, str] | None:
        """Return name and version of the ``package.json`` in a folder as the process sees it."""
        return package(folder, root_of(pid))

    def entries(self, pid: int, folder: str) -> list[str]:
        """Return the names in a folder as the process sees it."""
        inside = resolve(folder, root := root_of(pid))
        if inside is None:
            return []
        try:
            return os.listdir(root + inside)  # noqa: PTH208 - names are all that is wanted
        except OSError:
            return []


class _Package(msgspec.Struct):
    name: str = ""
    version: str = ""


def root_of(pid: int) -> str:
    """Return what stands in front of a process's paths to reach its files: mostly nothing.

    A process in a container has its own file system; Linux shows it at ``/proc/<pid>/root``.
    """
    if not _HAS_PROC or pid == os.getpid():
        return ""
    here, there = _link(os.getpid(), "ns/mnt"), _link(pid, "ns/mnt")
    if isinstance(there, NotVisible) or (here == there and _link(pid, "root") == "/"):
        return ""
    return f"/proc/{pid}/root"


def resolve(path: str, root: str = "") -> str | None:
    """Return an existing path with all links followed, or None.

    With a root, links are followed inside of it: those of a container never lead out to the host.
    """
    if not root:
        try:
            return os.path.realpath(path, strict=True)
        except (OSError, ValueError):
            return None
    rest = [part for part in path.split("/") if part not in {"", "."}][::-1]
    done: list[str] = []
    links = 0
    try:
        while rest:
            part = rest.pop()
            if part == "..":
                del done[-1:]
                continue
            here = "/" + "/".join([*done, part])
            if not stat.S_ISLNK(os.lstat(root + here).st_mode):
                done.append(part)
                continue
            links += 1
            if links > _MOST_LINKS:
                return None
            target = os.readlink(root + here)  # noqa: PTH115 - as text
            if target.startswith("/"):
                done.clear()
            rest += [piece for piece in target.split("/") if piece not in {"", "."}][::-1]
    except (OSError, ValueError):
        return None
    return "/" + "/".join(done)


def package(folder: str, root: str = "") -> tuple[str, str] | None:
    """Return name and version from a folder's ``package.json``, None where it has none of use."""
    inside = resolve(os.path.join(folder, "package.json"), root)  # noqa: PTH118
    data = None if inside is None else read_file(root + inside, _MOST_PACKAGE_BYTES)
    if not isinstance(data, bytes):
        return None
    try:
        found = msgspec.json.decode(data, type=_Package)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return found.name, found.version


class _Role(msgspec.Struct, frozen=True, kw_only=True):
    """What one process is, seen alone."""

    process: Process
    kind: Literal["loader", "native"]
    program: tuple[str, ...]
    arguments: tuple[str, ...]
    evidence: str
    is_certain: bool = True
    script: str | None = None
    place: str | None = None
    """Where the program or bundle lies, links followed."""


def copilot_processes(
    table: ProcessTable, inspector: Inspector | None = None
) -> list[CopilotProcess]:
    """Return the Copilot CLIs among the processes, oldest first, however they were started.

    A wrapper and the native processes below it are one. What only mentions Copilot is left out:
    shells and editors, the doctor, language servers.

    Args:
        table: All processes.
        inspector: Answers questions about single ones; else the running system does.
    """
    inspector = inspector or Inspector()
    roles: dict[int, _Role] = {}
    for process in table.processes.values():
        role = _role(process, inspector)
        if role is not None:
            roles[process.pid] = role
    above: dict[int, int] = {}
    helpers: set[int] = set()
    for pid, role in roles.items():
        parent = roles.get(role.process.ppid)
        if parent is None or role.process.ppid == pid:
            continue
        if _is_helper(role, parent, inspector):
            helpers.add(pid)
        elif _is_same_run(parent, role):
            above[pid] = role.process.ppid
    chains: dict[int, list[int]] = {}
    for pid in roles.keys() - helpers:
        chain = [pid]
        while chain[0] in above and above[chain[0]] not in chain:
            chain.insert(0, above[chain[0]])
        best = chains.get(chain[0])
        if chain[0] not in helpers and (best is None or (len(chain), pid) > (len(best), best[-1])):
            chains[chain[0]] = chain
    found = [
        _together([roles[pid] for pid in chain], table, inspector) for chain in chains.values()
    ]
    return sorted(found, key=lambda one: (one.worker.started_s or 0, one.worker.pid))


def _role(process: Process, inspector: Inspector) -> _Role | None:
    argv = process.argv
    if not argv or process.pid == os.getpid():
        return None
    name = _base(argv[0])
    if _RUNTIME.match(name):
        role = _script_role(process, inspector)
        if role is not None:
            return role
    path = inspector.exe(process.pid)
    if isinstance(path, NotVisible):
        path = argv[0]
    elif "copilot" not in path.lower() and "copilot" not in name:
        return None
    return _native_role(process, path.removesuffix(" (deleted)"), inspector)


def _native_role(process: Process, path: str, inspector: Inspector) -> _Role | None:
    place = _plain(path)
    known = next((what for what, pattern in _NATIVE_PLACES if pattern.search(place)), None)
    role = _Role(
        process=process,
        kind="native",
        program=process.argv[:1],
        arguments=process.argv[1:],
        evidence=f"executable in the place of a {known}",
        place=path,
    )
    if known:
        return role
    if _base(path) not in {"copilot", "copilot.exe"} or _AWS_PLACE.search(place):
        return None
    beside = inspector.package(process.pid, os.path.dirname(path))  # noqa: PTH120
    if beside and beside[0].startswith("@github/copilot"):
        return msgspec.structs.replace(role, evidence=f"package {beside[0]} beside the executable")
    if _has_own_option(role.arguments):
        return msgspec.structs.replace(role, evidence="called copilot, with options of Copilot CLI")
    if _LOADED.search(inspector.maps(process.pid)):
        return msgspec.structs.replace(role, evidence="called copilot, with its package loaded")
    if role.arguments[:1] and role.arguments[0] in _AWS_COMMANDS:
        return None
    return msgspec.structs.replace(role, evidence="called copilot", is_certain=False)


def _script_role(process: Process, inspector: Inspector) -> _Role | None:
    argv = process.argv
    index = script_index(argv)
    if index is None:
        return None
    script = argv[index]
    if _base(script) not in _SCRIPT_NAMES:
        return None
    place = script
    if not (os.path.isabs(script) or re.match(r"[A-Za-z]:[\\/]|\\\\", script)):  # noqa: PTH117
        folder = inspector.cwd(process.pid)
        if not isinstance(folder, NotVisible):
            place = os.path.join(folder, script)  # noqa: PTH118
    target = inspector.resolve(process.pid, place)
    arguments = argv[index + 1 :]
    for path in (target, os.path.normpath(place)):
        plain = _plain(path or "")
        match = next((m for pattern in _SCRIPT_PLACES if (m := pattern.search(plain))), None)
        if match:
            is_link = _base(script) == "copilot"
            return _Role(
                process=process,
                kind="loader",
                # The kernel turns a script into `node SCRIPT`: what was typed is the script.
                program=(script,) if is_link else (argv[0], script),
                arguments=arguments,
                evidence=f"Node runs {match['file']}.js of @github/copilot",
                script=script,
                place=path,
            )
    if _base(script) != "copilot" or target is not None:
        return None
    is_certain = _plain(place).endswith("/.bin/copilot") or _has_own_option(arguments)
    return _Role(
        process=process,
        kind="loader",
        program=(script,),
        arguments=arguments,
        evidence="Node runs a script called copilot",
        is_certain=is_certain,
        script=script,
        place=place,
    )


def script_index(argv: Sequence[str]) -> int | None:
    """Return where the script is among the arguments of Node, None where it runs none."""
    index = 1
    while index < len(argv):
        argument = argv[index]
        if argument in _RUNTIME_OPTIONS_WITH_VALUE:
            index += 2
        elif argument in {"-e", "--eval", "-p", "--print", "-c", "--check", "-i", "--interactive"}:
            return None
        elif argument == "--":
            return index + 1 if index + 1 < len(argv) else None
        elif argument.startswith("-") or (index == 1 and argument in {"run", "x"}):
            index += 1
        else:
            return index
    return None


def _has_own_option(arguments: Sequence[str]) -> bool:
    return any(argument.partition("=")[0] in _OWN_OPTIONS for argument in arguments)


def _is_same_run(parent: _Role, child: _Role) -> bool:
    """Whether a Copilot process is the child that a wrapper hands its own arguments to."""
    if child.kind == "loader" and parent.kind == "native":
        return False
    count = len(parent.arguments)
    if child.arguments[:count] != parent.arguments:
        return False
    # A restarted session gets its id after the arguments of the first start (loaders of 1.0.22
    # and 1.0.63).
    return len(child.arguments) == count or child.arguments[count] in {"--resume", "--session-id"}


def _is_helper(child: _Role, parent: _Role, inspector: Inspector) -> bool:
    """Whether a native process is a tool of its parent: voice server, extension host."""
    if child.kind != "native" or parent.kind != "native":
        return False
    if child.arguments and (
        _HELPER_SCRIPT.search(child.arguments[0]) or child.arguments == ("--binary-version",)
    ):
        return True
    if child.arguments and child.arguments == parent.arguments:
        return False
    variables = inspector.environ(child.process.pid)
    return not isinstance(variables, NotVisible) and any(
        name in variables for name in _HELPER_VARIABLES
    )


def _together(chain: list[_Role], table: ProcessTable, inspector: Inspector) -> CopilotProcess:
    first, last = chain[0], chain[-1]
    pid = last.process.pid
    ancestors = table.ancestors(first.process.pid)
    pids = inspector.namespace_pids(pid)
    leader_pids = inspector.namespace_pids(first.process.pid)
    running_version = _running_version(last, pids[-1], inspector)
    disk_version, source = _disk_version(chain, inspector)
    orphaned, why = _orphaned(chain, table, inspector)
    return CopilotProcess(
        leader=first.process,
        worker=last.process,
        pids=tuple(role.process.pid for role in chain),
        started_by=first.kind,
        ancestors=ancestors,
        program=first.program,
        arguments=last.arguments,
        exe=inspector.exe(pid),
        script=next((role.script for role in chain if role.script), None),
        is_certain=any(role.is_certain for role in chain),
        evidence=next((role.evidence for role in chain if role.is_certain), first.evidence),
        disk_version=disk_version,
        disk_version_source=source,
        running_version=running_version,
        orphaned=orphaned,
        orphan_evidence=why,
        is_namespace_init=leader_pids[-1] == 1,
        is_other_pid_namespace=len(pids) > 1 if _HAS_PROC else None,
        is_other_network=inspector.is_other_network(pid),
        namespace_pid=pids[-1],
    )


def _disk_version(chain: Iterable[_Role], inspector: Inspector) -> tuple[str | None, str]:
    """Return the version of the installed package, the worker's before the wrapper's."""
    for role in reversed(list(chain)):
        path = role.place or ""
        replaced = inspector.exe(role.process.pid) if role.kind == "native" else ""
        is_replaced = isinstance(replaced, str) and replaced.endswith(" (deleted)")
        plain = path.removesuffix(" (deleted)").replace("\\", "/")
        found = inspector.package(role.process.pid, str(PurePosixPath(plain).parent))
        if found and found[0].startswith("@github/copilot") and found[1]:
            since = ", replaced while it ran" if is_replaced else ""
            return found[1], f"package.json of {found[0]}{since}"
        if is_replaced:
            return None, "its program file was replaced while it ran"
        for pattern in (*(pattern for _, pattern in _NATIVE_PLACES), *_SCRIPT_PLACES):
            match = pattern.search(_plain(path))
            if match and match.groupdict().get("version"):
                return match["version"], "name of its folder"
    return None, ""


def _running_version(role: _Role, namespace_pid: int, inspector: Inspector) -> str | None:
    """Return the version of the code that a native process has loaded from the package cache."""
    if role.kind != "native":
        return None
    match = _LOADED.search(inspector.maps(role.process.pid))
    if match:
        return match["version"].decode(errors="replace")
    # 1.0.32 maps nothing, but marks the version that it uses (observed on 1.0.2 … 1.0.102).
    return _marked_version(role.process.pid, namespace_pid, inspector)


def _marked_version(pid: int, namespace_pid: int, inspector: Inspector) -> str | None:
    variables = inspector.environ(pid)
    if isinstance(variables, NotVisible):
        return None
    home = variables.get("HOME") or variables.get("USERPROFILE") or ""
    places = [
        (variables.get("COPILOT_CACHE_HOME"), "pkg"),
        (variables.get("XDG_CACHE_HOME") or (home and f"{home}/.cache"), "copilot/pkg"),
        (home and f"{home}/Library/Caches", "copilot/pkg"),
        (variables.get("LOCALAPPDATA"), "copilot/pkg"),
        (variables.get("COPILOT_HOME") or (home and f"{home}/.copilot"), "pkg"),
    ]
    mark = f"inuse.{namespace_pid}.lock"
    for base, below in places:
        folder = f"{base}/{below}"
        for platform in inspector.entries(pid, folder) if base else ():
            for version in inspector.entries(pid, f"{folder}/{platform}"):
                if mark in inspector.entries(pid, f"{folder}/{platform}/{version}"):
                    return version
    return None


def _orphaned(  # noqa: C901 - a list of evidence, the strongest first
    chain: Sequence[_Role], table: ProcessTable, inspector: Inspector
) -> tuple[bool | None, str]:
    """Return whether a wrapper that started this is gone, and how that can be told.

    A native process that nobody wrapped looks alike when the shell that started it has ended:
    both are children of init. What tells them apart, in this order, was observed on 1.0.22 and
    1.0.102 with npm, bash, dash, nohup and setsid.
    """
    role = chain[0]
    process = role.process
    parent = table.get(process.ppid)
    if role.kind == "loader":
        return False, "its wrapper is running"
    if process.pid == 1 or inspector.namespace_pids(process.pid)[-1] == 1:
        return False, "it is the first process of its container"
    if parent is not None and parent.pid != 1 and parent.name not in _INIT_NAMES:
        return False, f"its parent, process {parent.pid}, is running"
    variables = inspector.environ(process.pid)
    if not isinstance(variables, NotVisible) and variables.get("COPILOT_RUN_APP") == "1":
        loader = variables.get("COPILOT_LOADER_PID", "")
        if loader.isdecimal() and int(loader) not in table.processes:
            return True, f"its loader, process {loader}, is gone"
    if process.group == process.pid:
        return False, "it leads its own process group, which a wrapper's child never does"
    if "npm platform package" not in role.evidence:
        return False, "this kind of installation has no wrapper"
    started = None if isinstance(variables, NotVisible) else variables.get("_")
    target = inspector.resolve(process.pid, started) if started else None
    if target and _base(target) == "npm-loader.js":
        return True, "it was started through the npm wrapper, which is gone"
    if target and role.place and target == role.place:
        return False, "a shell started it directly"
    unknown = "the process that started it is gone, and may have been a wrapper or a shell"
    if process.group is None or process.group in table.processes:
        return None, unknown
    if 0 < process.pid - process.group < _THREADS_OF_NODE:
        return False, "its pid follows that of the shell that started it too closely for a wrapper"
    if isinstance(variables, NotVisible) or started:
        return None, unknown
    return True, f"process {process.group}, which started it and was probably its wrapper, is gone"


def _plain(path: str) -> str:
    """Return a path in lower case, with single forward slashes, to compare."""
    return re.sub(r"[\\/]+", "/", path).lower()


def _base(path: str) -> str:
    return path.replace("\\", "/").rpartition("/")[2].lower()
