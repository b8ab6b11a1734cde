"""The real Copilot CLI, any version, as a server that a test owns.

```python
with start_server("1.0.63", "--host", "0.0.0.0") as server:
    server.port, server.listener_pid, server.stdout, server.log
```
"""

from __future__ import annotations

import contextlib
import os
import platform
import random
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import psutil

from tests.harness import MACHINE, MissingPartError, cache_dir, locked

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

OLDEST = "1.0.63"
NEWEST = "1.0.102"

How = Literal["npm", "native", "node", "bash", "sh", "bash-exec", "npx", "supervisord"]

_INSTALL_LIMIT_S = 600.0
_BANNER = re.compile(r"^CLI server listening on port (\d+)$", re.MULTILINE)
# Versions up to this one unpack into COPILOT_HOME (0.0.400: ~/.copilot), later ones into ~/.cache.
_LAST_TO_UNPACK_IN_HOME = (1, 0, 2)


class StartError(AssertionError):
    """The server was not listening in time, or ended first; the message holds all that it said."""


def version_tuple(version: str) -> tuple[int, ...]:
    """`"1.0.63"` as `(1, 0, 63)`, to compare versions."""
    return tuple(int(part) for part in version.split("."))


@dataclass(frozen=True)
class Cli:
    """One installed CLI version."""

    version: str
    root: Path

    @property
    def wrapper(self) -> Path:
        """The command that npm puts on the path (a script of Node)."""
        return self.root / "node_modules" / ".bin" / "copilot"

    @property
    def loader(self) -> Path:
        """The script behind the wrapper."""
        return self.wrapper.resolve()

    @property
    def native(self) -> Path:
        """The executable of this platform that the wrapper starts."""
        return self.root / "node_modules" / "@github" / f"copilot-{_platform()}" / _executable()

    @property
    def index_js(self) -> Path:
        """The bundle that runs on Node alone (up to 1.0.63; needs Node 24 in late versions)."""
        return self.root / "node_modules" / "@github" / "copilot" / "index.js"


def cli(version: str) -> Cli:
    """Return the CLI of that version, installing it from npm where the cache lacks it.

    Raises:
        MissingPartError: npm is missing, or could not install that version.
    """
    root = cache_dir() / "cli" / version
    if not root.is_dir():
        with locked(f"cli-{version}"):
            if not root.is_dir():
                _install(version, root)
    found = Cli(version, root)
    for path in (found.wrapper, found.native):
        if not path.exists():
            raise MissingPartError(f"CLI {version} in the cache lacks {path.relative_to(root)}")
    return found


def cli_path(version: str) -> Path:
    """The npm wrapper of that version (see `cli`)."""
    return cli(version).wrapper


def _install(version: str, root: Path) -> None:
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        raise MissingPartError(f"CLI {version} is not in the cache, and there is no npm to get it")
    root.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f".{version}-", dir=root.parent))
    try:
        fresh.chmod(0o755)
        package = f"@github/copilot@{version}"
        done = subprocess.run(
            [npm, "install", "--no-audit", "--no-fund", "--prefix", str(fresh), package],
            env=MACHINE,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_INSTALL_LIMIT_S,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        if done.returncode:
            raise MissingPartError(f"npm could not install {package}: {done.stderr.strip()[-500:]}")
        # Only a finished install ever bears the final name.
        with contextlib.suppress(FileExistsError):
            fresh.rename(root)
    except subprocess.TimeoutExpired as error:
        raise MissingPartError(f"npm did not install CLI {version} in time") from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _platform() -> str:
    machine = {"x86_64": "x64", "amd64": "x64", "aarch64": "arm64"}
    arch = machine.get(platform.machine().lower(), platform.machine().lower())
    if sys.platform == "linux":
        return f"{'linux' if platform.libc_ver()[0] == 'glibc' else 'linuxmusl'}-{arch}"
    return f"{sys.platform}-{arch}"


def _executable() -> str:
    return "copilot.exe" if sys.platform == "win32" else "copilot"


def _public(path: Path) -> bool:
    """Whether any user of this machine can get to that folder."""
    return all(folder.stat().st_mode & 0o005 == 0o005 for folder in (path, *path.parents))


def _public_copy(source: Path) -> Path:
    """Return `source`, or a copy (by hard links) where other users can reach it."""
    if _public(source):
        return source
    base = Path(tempfile.gettempdir()) / f"copilot-doctor-tests-{os.getuid()}"
    target = base / source.relative_to(cache_dir())
    with locked("public"):
        if not target.is_dir():
            target.parent.mkdir(parents=True, exist_ok=True)
            if base.stat().st_uid != os.getuid():
                raise MissingPartError(f"{base} belongs to another user")
            fresh = Path(tempfile.mkdtemp(prefix=".", dir=target.parent))
            shutil.copytree(source, fresh / "copy", symlinks=True, copy_function=_link_or_copy)
            (fresh / "copy").rename(target)
            fresh.rmdir()
    return target


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        shutil.copy2(source, target, follow_symlinks=False)


def unpacked(version: str) -> Path:
    """The folder with what the native binary of that version unpacks on its first start.

    A symbolic link to it in a fresh home saves about 200 MB of writing and 2 to 7 s per start
    (measured on 1.0.63 and 1.0.102, 2 cores).
    """
    target = cache_dir() / "pkg" / version
    if target.is_dir():
        return target
    with locked(f"pkg-{version}"):
        if target.is_dir():
            return target
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{version}-", dir=target.parent) as home:
            env = base_env(Path(home), Path(home) / ".copilot")
            subprocess.run(
                [str(cli(version).native), "--version"],
                env=env,
                check=True,
                capture_output=True,
                stdin=subprocess.DEVNULL,
                timeout=120,
            )
            for folder in (Path(home) / ".cache" / "copilot", Path(home) / ".copilot"):
                if (folder / "pkg").is_dir():
                    (folder / "pkg").rename(target)
                    break
            else:
                target.mkdir()
    return target


def base_env(home: Path, copilot_home: Path | None = None) -> dict[str, str]:
    """An environment made from nothing: no token, no proxy, no home of this machine is in it."""
    folders = ["/usr/local/bin", "/usr/bin", "/bin", "/usr/sbin", "/sbin"]
    node = shutil.which("node")
    if node and str(Path(node).parent) not in folders:
        folders.insert(0, str(Path(node).parent))
    env = {
        "PATH": os.pathsep.join(folders),
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "COPILOT_AUTO_UPDATE": "false",
    }
    if copilot_home is not None:
        env["COPILOT_HOME"] = str(copilot_home)
    if sys.platform == "win32":
        env |= {k: os.environ[k] for k in ("SYSTEMROOT", "TEMP", "PATH") if k in os.environ}
        env["USERPROFILE"] = str(home)
    return env


_handed_out: set[int] = set()


def free_port() -> int:
    """A TCP port below the ephemeral range that nothing on this machine holds at the moment.

    No outgoing connection can take it, and this process never hands out the same one twice.
    """
    while True:
        port = random.randint(20_000, 31_999)  # noqa: S311 - no secret
        if port in _handed_out:
            continue
        try:
            for family, host in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::1")):
                with socket.socket(family, socket.SOCK_STREAM) as probe:
                    probe.bind((host, port))
        except OSError:
            continue
        _handed_out.add(port)
        return port


def listening(pid: int) -> list[tuple[str, int]]:
    """The (address, port) pairs that one process listens on, in whatever namespace it lives."""
    if sys.platform != "linux":
        found = psutil.Process(pid).net_connections("tcp")
        return [(c.laddr.ip, c.laddr.port) for c in found if c.status == psutil.CONN_LISTEN]
    # psutil reads /proc/net, which is the namespace of the test process, not of the server.
    inodes = set()
    with contextlib.suppress(OSError):
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                inodes.add(str(descriptor.readlink()))
    result = []
    for name, family in (("tcp", socket.AF_INET), ("tcp6", socket.AF_INET6)):
        try:
            lines = Path(f"/proc/{pid}/net/{name}").read_text().splitlines()[1:]
        except OSError:
            continue
        for fields in map(str.split, lines):
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in inodes:
                raw, port = fields[1].split(":")
                packed = b"".join(
                    bytes.fromhex(raw[i : i + 8])[::-1] for i in range(0, len(raw), 8)
                )
                result.append((socket.inet_ntop(family, packed), int(port, 16)))
    return result


class RunningServer:
    """One server that a test started, with everything that it said and did."""

    def __init__(
        self,
        version: str,
        argv: list[str],
        env: dict[str, str],
        folder: Path,
        *,
        home: Path,
        copilot_home: Path,
        cwd: Path,
        port: int | None,
        user: str | None,
    ) -> None:
        self.version = version
        self.argv = argv
        self.env = env
        self.home = home
        self.copilot_home = copilot_home
        self.cwd = cwd
        self.user = user
        self._folder = folder
        self._port = port or None
        self._out = folder / "stdout"
        self._err = folder / "stderr"
        self._kept: dict[str, str] = {}
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.wrapper: subprocess.Popen[bytes] = subprocess.Popen(
                argv,
                env=env,
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
                user=user,
                group=_group(user),
                extra_groups=[] if user else None,
            )

    @property
    def stdout(self) -> str:
        """All that it printed so far, also after the end."""
        return self._kept["stdout"] if self._kept else self._out.read_text(errors="replace")

    @property
    def stderr(self) -> str:
        """All error output so far, also after the end."""
        return self._kept["stderr"] if self._kept else self._err.read_text(errors="replace")

    @property
    def port(self) -> int:
        """The port asked for, or else the one that the server's first line names."""
        if self._port is None:
            found = _BANNER.search(self.stdout)
            if not found:
                raise StartError(f"the server did not name its port\n{self._report()}")
            self._port = int(found[1])
        return self._port

    @property
    def url(self) -> str:
        """What an SDK client on this machine takes as `cli_url`."""
        return f"127.0.0.1:{self.port}"

    @property
    def log_dir(self) -> Path:
        for index, argument in enumerate(self.argv):
            if argument == "--log-dir" and index + 1 < len(self.argv):
                return Path(self.cwd, self.argv[index + 1])
            if argument.startswith("--log-dir="):
                return Path(self.cwd, argument.partition("=")[2])
        return self.copilot_home / "logs"

    @property
    def log(self) -> str:
        """The text of all log files of this server, also after the end."""
        if self._kept:
            return self._kept["log"]
        files = sorted(self.log_dir.glob("*.log")) if self.log_dir.is_dir() else []
        return "".join(path.read_text(errors="replace") for path in files)

    @property
    def returncode(self) -> int | None:
        """Exit code of the started command (not of an orphaned child)."""
        return self.wrapper.poll()

    @property
    def pids(self) -> list[int]:
        """All living processes of this server, the started one first, orphans too."""
        living = [process.pid for process in self._processes() if _alive(process)]
        return sorted(living, key=lambda pid: (pid != self.wrapper.pid, pid))

    @property
    def listener_pid(self) -> int:
        """The process that really listens: the one to signal."""
        for pid in self.pids:
            if any(port == self.port for _, port in listening(pid)):
                return pid
        raise StartError(f"no process listens on port {self.port}\n{self._report()}")

    @property
    def addresses(self) -> list[str]:
        """The addresses on which the port is open, such as `127.0.0.1`, `0.0.0.0` or `::`."""
        return sorted({a for pid in self.pids for a, port in listening(pid) if port == self.port})

    def wait_listening(self, timeout_s: float = 90.0) -> None:
        """Return when the server accepts connections.

        Raises:
            StartError: It ended first, or was not up in time.
        """
        deadline = time.monotonic() + timeout_s
        silent = "--acp" in self.argv  # an ACP server prints nothing
        while True:
            if not silent and _BANNER.search(self.stdout):
                break
            if silent and any(listening(pid) for pid in self.pids):
                break
            if self.returncode is not None and not self.pids:
                raise StartError(f"the server ended\n{self._report()}")
            if time.monotonic() > deadline:
                raise StartError(f"the server was not up after {timeout_s} s\n{self._report()}")
            time.sleep(0.02)

    def wait_exit(self, timeout_s: float = 60.0) -> int:
        """Return the exit code of the started command when it has ended.

        Raises:
            StartError: It was still running after the time.
        """
        try:
            return self.wrapper.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise StartError(f"still running after {timeout_s} s\n{self._report()}") from None

    def wait_gone(self, timeout_s: float = 30.0) -> None:
        """Return when no process of this server is left (after a signal that the test sent)."""
        deadline = time.monotonic() + timeout_s
        while self.pids:
            if time.monotonic() > deadline:
                raise StartError(f"still running after {timeout_s} s\n{self._report()}")
            time.sleep(0.02)

    def stop(self) -> None:
        """Kill the wrapper, the native child and everything that they started."""
        # Kept before the kill, of which the wrapper has something to say on standard error.
        self._kept = {"log": self.log, "stdout": self.stdout, "stderr": self.stderr}
        deadline = time.monotonic() + 10
        while pids := self.pids:
            # The wrapper goes last: it ends by itself after its child, and so leaves no zombie.
            children = [pid for pid in pids if pid != self.wrapper.pid]
            for pid in children or pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL if sys.platform != "win32" else signal.SIGTERM)
            if children:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self.wrapper.wait(1)
            self.wrapper.poll()
            if time.monotonic() > deadline:
                raise StartError(f"could not be killed\n{self._report()}")
            time.sleep(0.01)
        self.wrapper.wait()

    def _processes(self) -> list[psutil.Process]:
        """The started process, what descends from it, and what is left of its session."""
        found: dict[int, psutil.Process] = {}
        with contextlib.suppress(psutil.NoSuchProcess):
            first = psutil.Process(self.wrapper.pid)
            for process in (first, *first.children(recursive=True)):
                found[process.pid] = process
        if sys.platform != "win32":
            for pid in psutil.pids():
                with contextlib.suppress(OSError, psutil.NoSuchProcess):
                    if pid not in found and os.getsid(pid) == self.wrapper.pid:
                        process = psutil.Process(pid)
                        found[pid] = process
                        for child in process.children(recursive=True):
                            found[child.pid] = child
        return list(found.values())

    def _report(self) -> str:
        return (
            f"{shlex.join(self.argv)}\nexit code: {self.returncode}\n"
            f"stdout: {self.stdout}\nstderr: {self.stderr}\nlog: {self.log[-4000:]}"
        )


def _alive(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _group(user: str | None) -> int | None:
    if user is None or sys.platform == "win32":
        return None
    import pwd

    return pwd.getpwnam(user).pw_gid


def _own(folder: Path, user: str) -> None:
    for path in (folder, *folder.rglob("*")):
        shutil.chown(path, user, _group(user))


def command(installed: Cli, how: How, arguments: Sequence[str], folder: Path) -> list[str]:
    """The command line that starts that CLI in one of the ways that people use.

    Args:
        installed: The CLI.
        how: The way.
        arguments: Arguments of the CLI.
        folder: Where a file can be written that the way needs.
    """
    wrapper = str(installed.wrapper)
    if how == "supervisord":
        return _supervisord([wrapper, *arguments], folder)
    line = shlex.join([wrapper, *arguments])
    return {
        "npm": [wrapper, *arguments],
        "native": [str(installed.native), *arguments],
        "node": [shutil.which("node") or "node", str(installed.loader), *arguments],
        # The second command keeps the shell from replacing itself with the first.
        "bash": ["bash", "-c", f"{line}; exit $?"],
        "sh": ["sh", "-c", f"{line}; exit $?"],
        "bash-exec": ["bash", "-c", f"exec {line}"],
        "npx": [
            *(shutil.which("npx") or "npx", "--no-install", "--prefix", str(installed.root)),
            *("copilot", *arguments),
        ],
    }[how]


def _supervisord(argv: Sequence[str], folder: Path) -> list[str]:
    from tests.harness.venv import venv_python

    line = shlex.join(argv).replace("%", "%%")
    configuration = folder / "supervisord.conf"
    configuration.write_text(
        f"[supervisord]\nnodaemon=true\nlogfile=/dev/null\nlogfile_maxbytes=0\n"
        f"pidfile={folder}/supervisord.pid\n"
        f"[program:copilot]\ncommand={line}\nautorestart=false\nstartretries=0\n"
        "stdout_logfile=/dev/fd/1\nstdout_logfile_maxbytes=0\n"
        "stderr_logfile=/dev/fd/2\nstderr_logfile_maxbytes=0\n"
    )
    python = venv_python("tools", "supervisor==4.3.0")
    return [str(python), "-m", "supervisor.supervisord", "-c", str(configuration)]


@contextlib.contextmanager
def start_server(
    version: str,
    *args: str,
    how: How = "npm",
    env: Mapping[str, str | None] | None = None,
    user: str | None = None,
    cwd: Path | None = None,
    port: int | Literal["absent"] | None = None,
    wait: bool = True,
    home: Path | None = None,
    copilot_home: Path | None = None,
    mode: str | None = "--server",
    launcher: Sequence[str] = (),
) -> Iterator[RunningServer]:
    """Run a real server, and end it with all that it started.

    Args:
        version: CLI version, such as `1.0.63`.
        *args: Further arguments, after the mode and the port.
        how: What is started: the npm wrapper, the native binary, …
        env: Added to an environment made from nothing; a value of None takes a name away.
        user: Run as this user (needs root); the CLI is then read from a copy open to all.
        cwd: Working directory; else the server's home.
        port: Given as `--port N`; None picks a free one, unless `args` name a port themselves;
            `"absent"` gives none.
        wait: Return only when it listens; else at once (`wait_listening`, `wait_exit`).
        home: HOME to use and leave alone afterwards; else a fresh one.
        copilot_home: COPILOT_HOME to use; else `.copilot` in the home.
        mode: What makes it a server; None for nothing.
        launcher: Words in front of the command, such as `ip netns exec NAME`.

    Raises:
        MissingPartError: That CLI is not to be had.
        StartError: It was waited for and did not listen.
    """
    installed, package = cli(version), unpacked(version)
    if user is not None:
        installed = Cli(version, _public_copy(installed.root))
        package = _public_copy(package)
    arguments = [mode] if mode else []
    named = any(a == "--port" or a.startswith("--port=") for a in args)
    if port is None and not named:
        port = free_port()
    if isinstance(port, int):
        arguments += ["--port", str(port)]
    arguments += args
    folder = Path(tempfile.mkdtemp(prefix="cd-"))
    try:
        home = home or folder / "home"
        copilot_home = copilot_home or home / ".copilot"
        home.mkdir(parents=True, exist_ok=True)
        place = home / ".cache" / "copilot" / "pkg"
        if version_tuple(version) <= _LAST_TO_UNPACK_IN_HOME:
            place = (copilot_home if version_tuple(version) >= (1,) else home / ".copilot") / "pkg"
        with contextlib.suppress(OSError):  # such as a COPILOT_HOME made unwritable by the test
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(package, target_is_directory=True)
        if user is not None:
            shutil.chown(folder, user)
            if home.is_relative_to(folder):
                _own(home, user)
        full = base_env(home, copilot_home)
        for name, value in (env or {}).items():
            full.pop(name, None)
            if value is not None:
                full[name] = value
        server = RunningServer(
            version,
            [*launcher, *command(installed, how, arguments, folder)],
            full,
            folder,
            home=home,
            copilot_home=copilot_home,
            cwd=cwd or home,
            port=port if isinstance(port, int) else _named_port(args),
            user=user,
        )
        try:
            if wait:
                server.wait_listening()
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _named_port(args: Sequence[str]) -> int | None:
    """The port in the arguments, where it is one (`--port abc` listens on a random one)."""
    for index, argument in enumerate(args):
        value = argument.partition("=")[2]
        if argument == "--port" and index + 1 < len(args):
            value = args[index + 1]
        if argument.startswith("--port") and value.isdecimal() and int(value):
            return int(value)
    return None
