"""The place that the doctor runs in: machine or container, its names, addresses and rights."""

import os
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from doctor.deployment import Host
from doctor.sources import sockets

_CAP_NET_BIND_SERVICE: Final = 10


def here(environ: Mapping[str, str], ports_taken: frozenset[int] | None) -> Host:
    """Describe this place.

    Args:
        environ: The doctor's own environment.
        ports_taken: What somebody listens on; None where that could not be seen.
    """
    engine = container_engine(environ)
    return Host(
        kind="container" if engine else "machine",
        names=tuple(dict.fromkeys(("localhost", socket.gethostname()))),
        platform=sys.platform,
        engine=engine,
        addresses=sockets.interface_addresses(),
        ports_taken=None if ports_taken is None else tuple(sorted(ports_taken)),
        ephemeral_ports=sockets.ephemeral_ports(),
        first_unprivileged_port=sockets.first_unprivileged_port(),
        can_bind_low_ports=_can_bind_low_ports(),
        user=_user(),
    )


def container_engine(environ: Mapping[str, str], root: Path = Path("/")) -> str | None:
    """Return the engine of the container that this is, None on a machine of its own.

    Each engine leaves a mark: Docker ``/.dockerenv``, Podman ``/run/.containerenv``,
    Kubernetes its service variables; systemd-nspawn, LXC and Podman set ``container`` for PID 1.
    """
    if environ.get("KUBERNETES_SERVICE_HOST"):
        return "kubernetes"
    if (root / "run/.containerenv").exists():
        return "podman"
    if (root / ".dockerenv").exists():
        return "docker"
    named = environ.get("container", "")
    if named.isalnum() and len(named) <= 20:  # noqa: PLR2004 - longer than any engine's name
        return named
    try:
        groups = (root / "proc/1/cgroup").read_text(encoding="utf-8", errors="replace")[:65536]
    except OSError:
        return None
    marks = {
        "/docker/": "docker",
        "/docker-": "docker",
        "kubepods": "kubernetes",
        "libpod": "podman",
        "/lxc/": "lxc",
    }
    return next((engine for mark, engine in marks.items() if mark in groups), None)


def _can_bind_low_ports() -> bool | None:
    if sys.platform == "win32":
        return True
    if sys.platform != "linux":
        return os.geteuid() == 0
    try:
        for line in (
            Path("/proc/self/status").read_text(encoding="ascii", errors="replace").split("\n")
        ):
            if line.startswith("CapEff:"):
                return bool(int(line.split()[1], 16) >> _CAP_NET_BIND_SERVICE & 1)
    except (OSError, ValueError, IndexError):
        pass
    return None


def _user() -> str | None:
    from doctor.sources.processes import user_name

    return user_name(os.geteuid()) if hasattr(os, "geteuid") else os.environ.get("USERNAME")
