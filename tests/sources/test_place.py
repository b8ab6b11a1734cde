"""The place that the doctor runs in, told by marks in a file system made by the test."""

import os
import sys
from pathlib import Path

import pytest

from doctor.sources import place

DOCKER_V1 = "12:pids:/docker/0123abcd\n11:cpu:/docker/0123abcd\n"
POD_V1 = "11:memory:/kubepods/besteffort/pod12/0123\n"


def engine(root: Path, files: dict[str, str], **environ: str) -> str | None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return place.container_engine(environ, root)


@pytest.mark.parametrize(
    ("files", "environ", "expected"),
    [
        ({}, {}, None),
        ({"proc/1/cgroup": "0::/init.scope\n"}, {}, None),
        ({"proc/1/cgroup": "0::/\n"}, {}, None),  # cgroup v2 with a namespace says nothing
        ({".dockerenv": "", "proc/1/cgroup": "0::/\n"}, {}, "docker"),
        ({"run/.containerenv": ""}, {}, "podman"),
        ({"run/.containerenv": "", ".dockerenv": ""}, {}, "podman"),
        ({}, {"container": "podman"}, "podman"),
        ({}, {"container": "lxc"}, "lxc"),
        ({}, {"container": ""}, None),
        ({}, {"container": "\x1b[31m"}, None),
        ({}, {"container": "x" * 100}, None),
        ({".dockerenv": ""}, {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, "kubernetes"),
        ({}, {"KUBERNETES_SERVICE_HOST": ""}, None),
        ({"proc/1/cgroup": DOCKER_V1}, {}, "docker"),
        ({"proc/1/cgroup": POD_V1}, {}, "kubernetes"),
        (
            {"proc/1/cgroup": "0::/kubepods.slice/pod1.slice/cri-containerd-1.scope"},
            {},
            "kubernetes",
        ),
        ({"proc/1/cgroup": "0::/machine.slice/libpod-12.scope"}, {}, "podman"),
        ({"proc/1/cgroup": "0::/system.slice/docker-0123.scope"}, {}, "docker"),
        ({"proc/1/cgroup": "4:pids:/lxc/box"}, {}, "lxc"),
    ],
)
def test_the_engine_is_told_by_its_marks(
    tmp_path: Path, files: dict[str, str], environ: dict[str, str], expected: str | None
) -> None:
    assert engine(tmp_path, files, **environ) == expected


def test_a_cgroup_file_of_bytes_is_read(tmp_path: Path) -> None:
    (tmp_path / "proc/1").mkdir(parents=True)
    (tmp_path / "proc/1/cgroup").write_bytes(b"\xff\xfe/docker/\x00")

    assert place.container_engine({}, tmp_path) == "docker"


@pytest.mark.parametrize(("found", "kind"), [("docker", "container"), (None, "machine")])
def test_the_place_itself(monkeypatch: pytest.MonkeyPatch, found: str | None, kind: str) -> None:
    monkeypatch.setattr(place, "container_engine", lambda _: found)
    here = place.here({}, frozenset({3001, 80}))

    assert (here.kind, here.engine) == (kind, found)
    assert here.ports_taken == (80, 3001)
    assert here.names[0] == "localhost"
    assert here.is_here
    assert not [address for address in here.addresses if address.startswith("127.")]
    assert place.here({}, None).ports_taken is None


@pytest.mark.skipif(sys.platform != "linux", reason="capabilities of Linux")
def test_low_ports_are_for_those_with_the_right() -> None:
    is_root = os.geteuid() == 0

    assert place.here({}, None).can_bind_low_ports in ({True} if is_root else {True, False})
