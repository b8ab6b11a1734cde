"""Network namespaces made by the tests: a machine of one's own, with its own names and ports.

Linux with root only. Needs the `ip` program (iproute2).
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import itertools
import os
import shutil
import socket
import subprocess
import threading
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from tests.harness import MissingPartError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

_PREFIX = "cdt"
_NETNS_ETC = Path("/etc/netns")
_CLONE_NEWNET = 0x40000000
_counter = itertools.count()

T = TypeVar("T")


@functools.cache
def check() -> None:
    """Raise where namespaces cannot be made.

    Raises:
        MissingPartError: Not root, no `ip` program, or the kernel refuses.
    """
    if os.geteuid() != 0:
        raise MissingPartError("network namespaces need root")
    if shutil.which("ip") is None:
        raise MissingPartError("network namespaces need the ip program (iproute2)")
    _forget_stale()
    try:
        with namespace():
            pass
    except subprocess.CalledProcessError as error:
        raise MissingPartError(f"no network namespace: {error.stderr.strip()}") from error


class Namespace:
    """One network namespace; its loopback interface is up."""

    def __init__(self, name: str) -> None:
        self.name = name

    @property
    def launcher(self) -> list[str]:
        """Words in front of a command that runs it here (the process id stays the same)."""
        return ["ip", "netns", "exec", self.name]

    def run(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: Path | None = None,
        timeout_s: float = 60.0,
        stdin: str | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end inside, with that environment and no more."""
        return subprocess.run(
            [*self.launcher, *argv],
            env={"PATH": os.defpath, **env},
            cwd=cwd,
            input=stdin if stdin is not None else "",
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
        )

    def call(self, function: Callable[[], T]) -> T:
        """Call a function of this process inside: sockets that it makes stay here for good."""
        result: list[T] = []
        failure: list[BaseException] = []

        def inside() -> None:
            # setns() moves the calling thread alone; this one ends right after.
            try:
                _enter(Path(f"/run/netns/{self.name}"))
                result.append(function())
            except BaseException as error:  # noqa: BLE001 - raised again by the caller's thread
                failure.append(error)

        thread = threading.Thread(target=inside)
        thread.start()
        thread.join()
        if failure:
            raise failure[0]
        return result[0]

    def connect(self, port: int, host: str = "127.0.0.1", timeout_s: float = 10) -> socket.socket:
        """Open a TCP connection from inside (an address; names are those of the test process)."""
        return self.call(lambda: socket.create_connection((host, port), timeout_s))

    def listen(self, port: int, host: str = "127.0.0.1") -> socket.socket:
        """Open a listening TCP socket inside."""

        def make() -> socket.socket:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            return socket.create_server((host, port), family=family, backlog=64)

        return self.call(make)

    def hosts(
        self, names: Mapping[str, str], localhost: Sequence[str] = ("127.0.0.1", "::1")
    ) -> None:
        """Set what names resolve to inside: `{"api.github.com": "203.0.113.10"}`.

        Commands started after that see it as their /etc/hosts. What `localhost` stands for there
        decides where `--host localhost` listens.
        """
        lines = [f"{address} localhost" for address in localhost]
        lines += [f"{address} {name}" for name, address in names.items()]
        (_NETNS_ETC / self.name / "hosts").write_text("\n".join(lines) + "\n")

    def resolv_conf(self, text: str) -> None:
        """Set the text that commands started after that see as their /etc/resolv.conf."""
        (_NETNS_ETC / self.name / "resolv.conf").write_text(text)

    def address(self, address: str) -> None:
        """Give the loopback interface one more address."""
        _ip("-n", self.name, "addr", "add", address, "dev", "lo")

    def link(self, other: Namespace, here: str, there: str) -> None:
        """Join two namespaces by a cable: addresses with prefix length, `198.51.100.1/24`."""
        number = next(_counter)
        ends = (f"v{os.getpid() % 100000}a{number}", f"v{os.getpid() % 100000}b{number}")
        _ip(
            *("link", "add", ends[0], "netns", self.name),
            *("type", "veth", "peer", "name", ends[1], "netns", other.name),
        )
        for space, end, address in ((self, ends[0], here), (other, ends[1], there)):
            _ip("-n", space.name, "addr", "add", address, "dev", end)
            _ip("-n", space.name, "link", "set", end, "up")


@contextlib.contextmanager
def namespace(hosts: Mapping[str, str] | None = None) -> Iterator[Namespace]:
    """Make a network namespace without any way out, and take it away again.

    Its /etc/hosts holds `localhost` and the names given; its /etc/resolv.conf names a server that
    refuses at once.
    """
    name = f"{_PREFIX}-{os.getpid()}-{next(_counter)}"
    etc = _NETNS_ETC / name
    etc.mkdir(parents=True)
    try:
        space = Namespace(name)
        space.hosts(hosts or {})
        space.resolv_conf("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
        _ip("netns", "add", name)
        _ip("-n", name, "link", "set", "lo", "up")
        yield space
    finally:
        _forget(name)


def _enter(path: Path) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    with path.open("rb") as handle:
        if libc.setns(handle.fileno(), _CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), f"setns {path}")


def _forget(name: str) -> None:
    if Path(f"/run/netns/{name}").exists():
        _ip("netns", "del", name)
    shutil.rmtree(_NETNS_ETC / name, ignore_errors=True)
    with contextlib.suppress(OSError):
        _NETNS_ETC.rmdir()


def _forget_stale() -> None:
    """Take away what a killed test run left."""
    for folder in (Path("/run/netns"), _NETNS_ETC):
        for path in folder.glob(f"{_PREFIX}-*-*") if folder.is_dir() else ():
            if not Path("/proc", path.name.split("-")[1]).exists():
                _forget(path.name)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)
