from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from doctor.sources import processes
from doctor.sources.processes import (
    CopilotProcess,
    Environment,
    Inspector,
    NotVisible,
    Process,
    ProcessTable,
    copilot_processes,
)
from tests.harness.cli import start_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FIXTURES = Path(__file__).parents[2] / "fixtures" / "processes"
NATIVE = "/home/dev/app/node_modules/@github/copilot-linux-x64/copilot"
WRAPPER = "/home/dev/app/node_modules/.bin/copilot"
PACKAGE = "/home/dev/app/node_modules/@github/copilot"
WINDOWS = "C:\\Users\\dev\\AppData"
SERVER = ("--server", "--port", "3000")
NO_RIGHT = NotVisible("permission", "process 1 belongs to another user or is protected", "sudo")

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


class Recorded(Inspector):
    """Answers from a recording."""

    def __init__(self, recording: dict[str, Any]) -> None:
        self._rows = {row["pid"]: row for row in recording["processes"]}
        self._links = recording.get("links", {})
        self._packages = recording.get("packages", {})
        self._entries = recording.get("entries", {})

    def _of(self, pid: int, name: str) -> Any:
        found = self._rows[pid].get(name)
        return NO_RIGHT if found is None else found

    def exe(self, pid: int) -> str | NotVisible:
        return self._of(pid, "exe")

    def cwd(self, pid: int) -> str | NotVisible:
        return self._of(pid, "cwd")

    def environ(self, pid: int) -> Environment | NotVisible:
        found = self._of(pid, "environ")
        return found if isinstance(found, NotVisible) else Environment(found)

    def maps(self, pid: int) -> bytes:
        loaded = self._rows[pid].get("loaded")
        return f"7f00-7f01 r-xp 00000000 fe:00 42 {loaded}\n".encode() if loaded else b""

    def namespace_pids(self, pid: int) -> tuple[int, ...]:
        return tuple(self._rows[pid].get("namespace_pids", (pid,)))

    def is_other_network(self, pid: int) -> bool | None:
        return self._rows[pid].get("other_network")

    def resolve(self, pid: int, path: str) -> str | None:  # noqa: ARG002
        return self._links.get(path)

    def package(self, pid: int, folder: str) -> tuple[str, str] | None:  # noqa: ARG002
        found = self._packages.get(folder)
        return None if found is None else (found[0], found[1])

    def entries(self, pid: int, folder: str) -> list[str]:  # noqa: ARG002
        return list(self._entries.get(folder, []))


def table_of(rows: list[dict[str, Any]]) -> ProcessTable:
    names = set(Process.__struct_fields__)
    made = [
        Process(**{k: tuple(v) if k == "argv" else v for k, v in row.items() if k in names})
        for row in rows
    ]
    return ProcessTable({process.pid: process for process in made})


def look(recording: dict[str, Any]) -> list[CopilotProcess]:
    return copilot_processes(table_of(recording["processes"]), Recorded(recording))


def recorded(case: str) -> list[CopilotProcess]:
    return look(msgspec.json.decode((FIXTURES / f"{case}.json").read_bytes()))


def one(case: str) -> CopilotProcess:
    found = recorded(case)
    assert len(found) == 1, f"{case}: wrapper and children are one"
    return found[0]


def row(pid: int, *argv: str, ppid: int = 3900, **facts: Any) -> dict[str, Any]:
    base = {"name": "x", "group": pid, "exe": None, "cwd": "/home/dev", "environ": {}}
    return {**base, "pid": pid, "ppid": ppid, "argv": list(argv), **facts}


SHELL = row(3900, "-bash", ppid=1)
INIT = row(1, "/sbin/init", ppid=0, name="systemd")


def made(*rows: dict[str, Any], **more: Any) -> list[CopilotProcess]:
    return look({"processes": [INIT, SHELL, *rows], **more})


# --- recorded starts ----------------------------------------------------------------------------

# case: number of processes, kind of leader, program, arguments, names of the ancestors,
# version on disk, version that runs
STARTS: dict[str, tuple[int, str, tuple[str, ...], tuple[str, ...], list[str], str, str | None]] = {
    "npm-1.0.2": (2, "loader", (WRAPPER,), SERVER, ["bash", "systemd"], "1.0.2", "1.0.2"),
    "npm-1.0.22": (3, "loader", (WRAPPER,), SERVER, ["bash", "systemd"], "1.0.22", "1.0.22"),
    "npm-1.0.63": (2, "loader", (WRAPPER,), SERVER, ["bash", "systemd"], "1.0.63", "1.0.63"),
    "npm-1.0.102": (2, "loader", (WRAPPER,), SERVER, ["bash", "systemd"], "1.0.102", "1.0.102"),
    "native-1.0.22": (2, "native", (NATIVE,), SERVER, ["bash", "systemd"], "1.0.22", "1.0.22"),
    "native-1.0.102": (1, "native", (NATIVE,), SERVER, ["bash", "systemd"], "1.0.102", "1.0.102"),
    "node-loader": (
        *(2, "loader", ("node", f"{PACKAGE}/npm-loader.js"), SERVER),
        *(["bash", "systemd"], "1.0.102", "1.0.102"),
    ),
    "node-relative": (
        *(2, "loader", ("node", "npm-loader.js"), ("--server", "--port=3000")),
        *(["bash", "systemd"], "1.0.102", "1.0.102"),
    ),
    "bash-wait": (
        *(2, "loader", (WRAPPER,), SERVER, ["bash", "bash", "systemd"]),
        *("1.0.102", "1.0.102"),
    ),
    "bash-exec": (2, "loader", (WRAPPER,), SERVER, ["bash", "systemd"], "1.0.102", "1.0.102"),
    "npx": (
        *(2, "loader", (WRAPPER,), SERVER, ["sh", "npm exec copilo", "bash", "systemd"]),
        *("1.0.102", "1.0.102"),
    ),
    "npm-exec": (
        *(2, "loader", (WRAPPER,), SERVER, ["sh", "npm exec copilo", "bash", "systemd"]),
        *("1.0.102", "1.0.102"),
    ),
    "headless-port-equals": (
        *(2, "loader", (WRAPPER,), ("--headless", "--port=3000"), ["bash", "systemd"]),
        *("1.0.102", "1.0.102"),
    ),
    "acp": (
        *(2, "loader", (WRAPPER,), ("--acp", "--port", "3000"), ["bash", "systemd"]),
        *("1.0.102", "1.0.102"),
    ),
    "stdio": (
        *(2, "loader", (WRAPPER,), ("--server", "--stdio"), ["bash", "systemd"]),
        *("1.0.102", "1.0.102"),
    ),
    # Recorded before the code from the package cache was mapped: the version is not yet known.
    "interactive-1.0.63": (
        *(3, "loader", (WRAPPER,), (), ["sh", "script", "bash", "systemd"], "1.0.63", None),
    ),
    "interactive-1.0.102": (
        *(2, "loader", (WRAPPER,), (), ["sh", "script", "bash", "systemd"], "1.0.102", None),
    ),
    "npm-setsid-nohup": (2, "loader", (WRAPPER,), SERVER, ["systemd"], "1.0.102", "1.0.102"),
    "npm-bash-background": (2, "loader", (WRAPPER,), SERVER, ["systemd"], "1.0.102", "1.0.102"),
    "npx-sigterm": (2, "loader", (WRAPPER,), SERVER, ["systemd"], "1.0.102", "1.0.102"),
    "node24-index-1.0.2": (
        *(1, "loader", ("/opt/node24/node/bin/node", f"{PACKAGE}/index.js"), SERVER),
        *(["bash", "systemd"], "1.0.2", None),
    ),
    "node24-index-1.0.22": (
        *(2, "loader", ("/opt/node24/node/bin/node", f"{PACKAGE}/index.js"), SERVER),
        *(["bash", "systemd"], "1.0.22", None),
    ),
    # Automatic update: the package says one version, the server runs (and reports) another.
    "updated-1.0.63": (2, "loader", (WRAPPER,), SERVER, ["bash", "systemd"], "1.0.63", "1.0.102"),
    "container-npm-pid1": (
        *(2, "loader", (WRAPPER,), SERVER, ["unshare", "bash", "systemd"], "1.0.102", "1.0.102"),
    ),
    "container-native-pid1": (
        *(1, "native", (NATIVE,), SERVER, ["unshare", "bash", "systemd"], "1.0.102", "1.0.102"),
    ),
    "sdk-python-stdio": (
        *(1, "native", (NATIVE,)),
        ("--headless", "--no-auto-update", "--log-level", "info", "--stdio"),
        *(["python", "bash", "systemd"], "1.0.102", None),
    ),
}


@pytest.mark.parametrize("case", STARTS)
def test_a_recorded_start_is_one_copilot_with_its_launch_command(case: str) -> None:
    count, leader, program, arguments, ancestors, on_disk, running = STARTS[case]
    found = one(case)
    assert (len(found.pids), found.started_by) == (count, leader)
    assert (found.pids[0], found.pids[-1]) == (found.leader.pid, found.worker.pid)
    assert found.program == program
    assert found.arguments == arguments
    assert [ancestor.name for ancestor in found.ancestors] == ancestors
    assert found.disk_version == on_disk
    assert found.running_version == running
    assert found.is_certain
    assert found.orphaned is False
    assert found.orphan_evidence


def test_the_worker_is_the_deepest_process_and_its_name_says_nothing() -> None:
    found = one("npm-1.0.22")
    assert found.leader.name == "node"
    assert found.worker.name == "MainThread"
    assert found.worker.ppid == found.pids[1]
    assert found.exe == NATIVE
    assert found.script == WRAPPER


@pytest.mark.parametrize(
    ("case", "orphaned", "evidence"),
    [
        ("orphan-sigkill-1.0.102", True, "its wrapper, is gone"),
        ("orphan-sigterm-1.0.63", True, "its wrapper, is gone"),
        ("orphan-sigterm-1.0.22", True, "its wrapper, is gone"),
        ("orphan-of-native-loader-1.0.22", True, "its loader, process 4000, is gone"),
        # Daemons: children of init as well, but nobody wrapped them.
        ("native-setsid", False, "leads its own process group"),
        ("native-bash-background", False, "a shell started it directly"),
        ("native-nohup", False, "too closely for a wrapper"),
        ("native-dash-background", False, "too closely for a wrapper"),
        # The loader lives; only what started it is gone.
        ("npx-sigterm", False, "its wrapper is running"),
        ("npm-setsid-nohup", False, "its wrapper is running"),
        ("container-native-pid1", False, "first process of its container"),
    ],
)
def test_an_orphan_is_told_from_a_daemon(case: str, orphaned: bool, evidence: str) -> None:
    found = one(case)
    assert found.orphaned is orphaned
    assert evidence in found.orphan_evidence


def test_an_orphan_whose_shell_named_the_wrapper_is_certain() -> None:
    recording = msgspec.json.decode((FIXTURES / "orphan-sigkill-1.0.102.json").read_bytes())
    recording["links"][WRAPPER] = f"{PACKAGE}/npm-loader.js"
    recording["processes"][-1]["environ"]["_"] = WRAPPER
    (found,) = look(recording)
    assert (found.orphaned, found.orphan_evidence) == (
        True,
        "it was started through the npm wrapper, which is gone",
    )


@pytest.mark.parametrize("environ", [None, {"_": "/usr/bin/supervise"}])
def test_an_orphan_that_could_as_well_be_a_daemon_is_unknown(
    environ: dict[str, str] | None,
) -> None:
    recording = msgspec.json.decode((FIXTURES / "orphan-sigkill-1.0.102.json").read_bytes())
    recording["processes"][-1]["environ"] = environ
    (found,) = look(recording)
    assert found.orphaned is None
    assert "may have been a wrapper or a shell" in found.orphan_evidence


def test_a_container_is_seen_from_outside() -> None:
    npm, native = one("container-npm-pid1"), one("container-native-pid1")
    assert npm.is_namespace_init
    assert native.is_namespace_init
    assert npm.is_other_network
    assert npm.is_other_pid_namespace is (True if sys.platform == "linux" else None)
    assert npm.namespace_pid not in {1, npm.worker.pid}
    assert native.namespace_pid == 1
    plain = one("npm-1.0.102")
    assert (plain.is_namespace_init, plain.is_other_network) == (False, False)


def test_impostors_are_left_out() -> None:
    found = recorded("impostors")
    # Only the other program of that name stays, and is not called certain.
    assert [(item.leader.argv[0], item.is_certain) for item in found] == [
        ("/home/dev/app/aws/copilot", False)
    ]


# --- other installations, from their documentation and sources ----------------------------------


@pytest.mark.parametrize(
    ("exe", "version"),
    [
        ("/home/dev/.cache/copilot/pkg/linux-x64/1.0.81/copilot", "1.0.81"),
        ("/home/dev/.cache/github-copilot-sdk/cli/1.0.104/copilot", "1.0.104"),
        (
            "/home/dev/.cache/github-copilot-sdk/cli/1.0.104/prebuilds/linuxmusl-arm64/copilot",
            "1.0.104",
        ),
        ("/home/dev/.cache/copilot-sdk/1.0.64-1/linuxmusl/copilot", "1.0.64-1"),
        ("/app/runtimes/linux-musl-arm64/native/copilot", None),
        ("/opt/homebrew/Caskroom/copilot-cli/1.0.63/copilot", "1.0.63"),
        ("/usr/lib/node_modules/@github/copilot-darwin-arm64/copilot", None),
        (
            f"{WINDOWS}\\Roaming\\npm\\node_modules\\@github\\copilot-win32-x64\\copilot.exe",
            None,
        ),
        (
            f"{WINDOWS}\\Local\\Microsoft\\WinGet\\Packages\\GitHub.Copilot_x\\copilot.exe",
            None,
        ),
        ("/home/dev/.local/share/gh/copilot/copilot", None),
        ("/app/.venv/lib/python3.12/site-packages/copilot/bin/copilot", None),
    ],
)
def test_a_known_place_is_certain_without_any_argument(exe: str, version: str | None) -> None:
    (found,) = made(row(4000, exe, exe=exe))
    assert (found.started_by, found.is_certain, found.disk_version) == ("native", True, version)
    (hidden,) = made(row(4000, exe, "--server", exe=None))
    assert hidden.is_certain, "argv[0] has to do where the executable may not be read"
    assert isinstance(hidden.exe, NotVisible)


def test_a_windows_start_through_copilot_cmd() -> None:
    loader = (
        "C:\\Users\\dev\\AppData\\Roaming\\npm\\\\node_modules\\@github\\copilot\\npm-loader.js"
    )
    native = (
        "C:\\Users\\dev\\AppData\\Roaming\\npm\\node_modules\\@github\\copilot-win32-x64\\"
        "copilot.exe"
    )
    (found,) = made(
        row(4000, "C:\\WINDOWS\\system32\\cmd.exe", "/c", "copilot.cmd --server", name="cmd.exe"),
        row(4004, "C:\\Program Files\\nodejs\\node.exe", loader, "--server", ppid=4000),
        row(4008, native, "--server", ppid=4004, exe=native),
    )
    assert found.pids == (4004, 4008)
    assert found.program == ("C:\\Program Files\\nodejs\\node.exe", loader)
    assert found.arguments == ("--server",)
    assert found.ancestors[0].name == "cmd.exe"


@pytest.mark.parametrize(
    "argv",
    [
        ("node", "/usr/local/bin/copilot"),
        ("/usr/bin/node20", "--max-old-space-size=4096", "/usr/local/bin/copilot", "--server"),
        ("node", "--require", "/x/copilot.js", "/usr/local/bin/copilot", "--server"),
        ("bun", "run", "/usr/local/bin/copilot"),
    ],
)
def test_a_global_installation_is_found_behind_its_link(argv: tuple[str, ...]) -> None:
    target = "/usr/local/lib/node_modules/@github/copilot/npm-loader.js"
    (found,) = made(
        row(4000, *argv),
        links={"/usr/local/bin/copilot": target},
        packages={"/usr/local/lib/node_modules/@github/copilot": ["@github/copilot", "1.0.73"]},
    )
    assert found.is_certain
    assert found.program == ("/usr/local/bin/copilot",)
    assert found.disk_version == "1.0.73"
    assert found.disk_version_source == "package.json of @github/copilot"


def test_a_link_that_cannot_be_followed_counts_by_what_is_around_it() -> None:
    assert made(row(4000, "node", "/x/node_modules/.bin/copilot"))[0].is_certain
    assert made(row(4000, "node", "/srv/bin/copilot", "--headless"))[0].is_certain
    assert not made(row(4000, "node", "/srv/bin/copilot"))[0].is_certain


def test_a_program_called_copilot_needs_more_than_its_name() -> None:
    exe = "/usr/local/bin/copilot"
    assert not made(row(4000, "copilot", exe=exe))[0].is_certain
    assert not made(row(4000, "copilot", "init", exe=exe))[0].is_certain
    assert made(row(4000, "copilot", "--server", "--port=3000", exe=exe))[0].is_certain
    assert made(row(4000, "copilot", exe=exe, loaded="/c/pkg/linux-x64/1.0.9/prebuilds/a"))[
        0
    ].is_certain
    beside = {"/usr/local/bin": ["@github/copilot-linux-x64", "1.0.9"]}
    assert made(row(4000, "copilot", exe=exe), packages=beside)[0].is_certain
    assert made(row(4000, "copilot", "svc", "deploy", exe=exe)) == []
    aws = "/opt/homebrew/Cellar/copilot-cli/1.34.1/bin/copilot"
    assert made(row(4000, "copilot", "--server", exe=aws)) == []


def test_a_renamed_start_is_found_by_its_executable() -> None:
    (found,) = made(row(4000, "agent", "--server", exe=NATIVE))
    assert found.program == ("agent",)
    assert found.is_certain


def test_what_was_installed_over_a_running_program_is_not_its_version() -> None:
    packages = {"/home/dev/app/node_modules/@github/copilot-linux-x64": ["@github/copilot-x", "2"]}
    (found,) = made(row(4000, NATIVE, exe=f"{NATIVE} (deleted)"), packages=packages)
    assert found.disk_version == "2"
    assert found.version is None
    assert "replaced" in found.disk_version_source


def test_the_mark_in_the_package_cache_tells_the_version() -> None:
    # 1.0.32 maps nothing from the cache (observed), but leaves inuse.<pid>.lock there.
    cache = "/home/dev/.cache/copilot/pkg"
    entries = {
        cache: ["linux-x64"],
        f"{cache}/linux-x64": ["1.0.31", "1.0.32"],
        f"{cache}/linux-x64/1.0.31": ["inuse.400.lock"],
        f"{cache}/linux-x64/1.0.32": ["inuse.4000.lock"],
    }
    facts = {"exe": NATIVE, "environ": {"HOME": "/home/dev"}}
    assert made(row(4000, NATIVE, **facts), entries=entries)[0].running_version == "1.0.32"
    facts["namespace_pids"] = [4000, 400]
    assert made(row(4000, NATIVE, **facts), entries=entries)[0].running_version == "1.0.31"
    facts["environ"] = None
    assert made(row(4000, NATIVE, **facts), entries=entries)[0].running_version is None


def test_a_server_that_a_session_started_is_one_of_its_own() -> None:
    found = made(
        row(4000, NATIVE, exe=NATIVE),
        row(4001, "bash", "-c", "copilot --server", ppid=4000, name="bash"),
        row(4002, NATIVE, "--server", ppid=4001, exe=NATIVE),
        row(4003, NATIVE, "--acp", "--port", "4", ppid=4000, exe=NATIVE),
    )
    assert [item.pids for item in found] == [(4000,), (4002,), (4003,)]
    assert found[1].ancestors[0].name == "bash"


def test_a_restarted_session_stays_one_with_its_loader() -> None:
    (found,) = made(
        row(4000, NATIVE, "--banner", exe=NATIVE),
        row(4001, NATIVE, "--banner", "--session-id", "42", ppid=4000, exe=NATIVE),
    )
    assert found.pids == (4000, 4001)
    assert found.arguments == ("--banner", "--session-id", "42")


def test_helpers_of_a_server_are_no_servers() -> None:
    helper = {"ppid": 4000, "exe": NATIVE}
    found = made(
        row(4000, NATIVE, *SERVER, exe=NATIVE),
        row(4001, NATIVE, "/home/dev/x/extension_bootstrap.mjs", **helper),
        row(4002, NATIVE, environ={"COPILOT_VOICE_SERVER_MODE": "1"}, **helper),
        row(4003, NATIVE, "conpty_console_list_agent", **helper),
    )
    assert [item.pids for item in found] == [(4000,)]


# --- hostile ------------------------------------------------------------------------------------


def test_parents_in_a_circle() -> None:
    found = made(
        row(4000, NATIVE, ppid=4001, exe=NATIVE),
        row(4001, NATIVE, ppid=4000, exe=NATIVE),
        row(4002, NATIVE, ppid=4002, exe=NATIVE),
    )
    assert {pid for item in found for pid in item.pids} == {4000, 4001, 4002}
    table = table_of([row(5, "a", ppid=6), row(6, "b", ppid=5)])
    assert [process.pid for process in table.ancestors(5)] == [6]


def test_a_long_line_of_parents_is_cut() -> None:
    table = table_of([row(pid, "sh", ppid=pid - 1) for pid in range(1, 50)])
    assert [process.pid for process in table.ancestors(40)] == [39, 38, 37, 36, 35, 34]


def test_arguments_without_end() -> None:
    huge = row(4000, NATIVE, *["--x"] * 100_000, "y" * 1_000_000, exe=NATIVE)
    started = time.perf_counter()
    (found,) = made(huge, row(4001, NATIVE, *huge["argv"][1:], ppid=4000, exe=NATIVE))
    assert len(found.arguments) == 100_001
    assert time.perf_counter() - started < 5


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 6),
            st.lists(
                st.one_of(
                    st.sampled_from(
                        ["node", "copilot", WRAPPER, NATIVE, "--server", "--", "-e", "", "run"]
                    ),
                    st.text(max_size=6),
                ),
                max_size=5,
            ),
            st.one_of(st.none(), st.sampled_from([NATIVE, "/usr/bin/node"]), st.text(max_size=6)),
        ),
        max_size=6,
    )
)
def test_no_process_list_breaks_recognition(
    rows: list[tuple[int, list[str], str | None]],
) -> None:
    all_rows = [
        row(pid, *argv, ppid=ppid, exe=exe) for pid, (ppid, argv, exe) in enumerate(rows, 1)
    ]
    found = look({"processes": all_rows})
    pids = [pid for item in found for pid in item.pids]
    assert set(pids) <= {one_row["pid"] for one_row in all_rows}
    for item in found:
        assert item.worker.pid == item.pids[-1]


@pytest.mark.parametrize(
    ("raw", "argv"),
    [
        (b"", ()),
        (b"\0", ("",)),
        (b"a\0\0b\0", ("a", "", "b")),
        (b"a b\0\0\0", ("a b",)),
        (b"copilot\0\0", ("copilot", "")),
        (b"\xff\x1b[2J\n\0x\0", ("\udcff\x1b[2J\n", "x")),
        (b"no end", ("no end",)),
    ],
)
def test_arguments_are_taken_as_they_are(raw: bytes, argv: tuple[str, ...]) -> None:
    assert processes._arguments(raw) == argv


def test_no_repr_shows_what_can_be_a_secret() -> None:
    canary = "gho_canary0123456789"
    process = Process(pid=1, ppid=0, name="x", argv=("copilot", canary))
    (found,) = made(row(4000, NATIVE, "--auth", canary, exe=NATIVE))
    table = ProcessTable({1: process})
    for thing in (process, found, table, Environment({"A": canary}), [Environment(A=canary)]):
        assert canary not in repr(thing)
        assert canary not in f"{thing}"


# --- files of others ----------------------------------------------------------------------------


def test_links_of_a_container_never_lead_out_of_it(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "usr/bin").mkdir(parents=True)
    (root / "opt/app").mkdir(parents=True)
    (root / "opt/app/package.json").write_text('{"name": "inside", "version": "1.0.0"}')
    (tmp_path / "package.json").write_text('{"name": "outside", "version": "6.6.6"}')
    (root / "usr/bin/absolute").symlink_to("/opt/app/package.json")
    (root / "usr/bin/relative").symlink_to("../../opt/./app/package.json")
    (root / "usr/bin/up").symlink_to("../../../../package.json")
    (root / "usr/bin/loop").symlink_to("loop")
    for name in ("absolute", "relative"):
        assert processes.resolve(f"/usr/bin/{name}", str(root)) == "/opt/app/package.json"
    assert processes.resolve("/usr/bin/up", str(root)) is None
    assert processes.resolve("/usr/bin/loop", str(root)) is None
    assert processes.resolve("/nothing", str(root)) is None
    assert processes.package("/opt/app", str(root)) == ("inside", "1.0.0")


@pytest.mark.parametrize("text", ["", "[]", '{"name": 1}', "{", '{"version": {}}', "\xff"])
def test_a_package_that_makes_no_sense_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "package.json").write_text(text, encoding="latin-1")
    assert processes.package(str(tmp_path)) is None


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="POSIX")
def test_a_file_is_read_only_if_it_is_one(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    started = time.perf_counter()
    found = processes.read_file(str(tmp_path / "pipe"), 10)
    assert time.perf_counter() - started < 1, "a pipe without a writer is not waited for"
    assert isinstance(found, NotVisible)
    assert found.kind == "malformed"
    for path, kind in (
        (tmp_path, "malformed"),
        (tmp_path / "none", "gone"),
        (Path("/dev/zero"), "malformed"),
        (tmp_path / "a\0b", "malformed"),
    ):
        found = processes.read_file(str(path), 10)
        assert isinstance(found, NotVisible)
        assert found.kind == kind
    (tmp_path / "large").write_bytes(b"x" * (2 << 20))
    found = processes.read_file(str(tmp_path / "large"), 1 << 20)
    assert found == NotVisible("limit", "the file is larger than 1 MB")
    (tmp_path / "small").write_bytes(b"x" * 10)
    assert processes.read_file(str(tmp_path / "small"), 10) == b"x" * 10


# --- the running system -------------------------------------------------------------------------


@pytest.fixture
def child() -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    started: list[subprocess.Popen[bytes]] = []

    def start(*argv: str | bytes, **options: Any) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(argv, stdout=subprocess.PIPE, **options)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        if process.stdout:
            process.stdout.close()


@pytest.fixture(params=["proc", "psutil"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways of reading the system: each must tell the same."""
    if request.param == "proc" and sys.platform != "linux":
        pytest.skip("reads /proc")
    monkeypatch.setattr(processes, "_HAS_PROC", request.param == "proc")
    name: str = request.param
    return name


SLEEP = "import time; print('up', flush=True); time.sleep(60)"


@pytest.mark.usefixtures("way")
def test_a_child_is_seen_as_it_was_started(
    child: Callable[..., subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    before = time.time()
    argv = [sys.executable, "-c", SLEEP, "a b", "", "é\n\x1b[31m"]
    env = {**os.environ, "CANARY": "x=y", "EMPTY": ""}
    process = child(*argv, cwd=tmp_path, env=env)
    assert process.stdout
    process.stdout.readline()
    seen = processes.running().get(process.pid)
    assert seen is not None
    assert seen.argv == tuple(argv)
    assert seen.ppid == os.getpid()
    assert seen.name.startswith("python")
    assert seen.started_s == pytest.approx(before, abs=5)
    if hasattr(os, "getuid"):
        assert seen.uid == os.getuid()
        assert seen.group == os.getpgid(process.pid)
    found = processes.environ(process.pid)
    assert isinstance(found, Environment)
    assert (found["CANARY"], found["EMPTY"]) == ("x=y", "")
    assert processes.cwd(process.pid) == str(tmp_path.resolve())
    assert processes.exe(process.pid) == os.path.realpath(sys.executable)


@pytest.mark.usefixtures("way")
def test_a_process_that_has_ended_is_gone(child: Callable[..., subprocess.Popen[bytes]]) -> None:
    process = child(sys.executable, "-c", "pass")
    process.wait()
    assert processes.running().get(process.pid) is None
    for read in (processes.environ, processes.exe, processes.cwd):
        found = read(process.pid)
        assert isinstance(found, NotVisible)
        assert found.kind == "gone"


@linux_only
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_what_another_user_may_not_see(way: str) -> None:
    # A child of its own user looks at this process, which is root's.
    script = textwrap.dedent(f"""
        import os, psutil
        from doctor.sources import processes
        processes._HAS_PROC = {way == "proc"}
        os.setuid(65534)
        for read in (processes.environ, processes.exe, processes.cwd):
            found = read({os.getpid()})
            print(found.kind, "sudo" in found.remedy)
        print(processes.running().get({os.getpid()}) is not None)
    """)
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.stdout.splitlines() == ["permission True"] * 3 + ["True"]


@linux_only
def test_a_copilot_argument_list_of_a_megabyte_is_read_whole(
    child: Callable[..., subprocess.Popen[bytes]],
) -> None:
    filler = ["x" * 100_000] * 10
    process = child(sys.executable, "-c", SLEEP, "copilot", *filler, "--last", b"\xff\xfe")
    other = child(sys.executable, "-c", SLEEP, *filler, "--last")
    for started in (process, other):
        assert started.stdout
        started.stdout.readline()
    table = processes.running()
    seen, unwanted = table.get(process.pid), table.get(other.pid)
    assert seen is not None
    assert unwanted is not None
    assert seen.argv[-2:] == ("--last", "\udcff\udcfe")
    assert not seen.is_argv_cut
    assert unwanted.is_argv_cut, "of what cannot be Copilot the first part is enough"
    assert sum(map(len, unwanted.argv)) < 100_000


@linux_only
def test_hidden_processes_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    real = processes._by_proc

    def by_proc(pid: int, boot_s: float, ticks_per_s: int) -> Process:
        if pid != os.getpid():
            raise PermissionError
        return real(pid, boot_s, ticks_per_s)

    monkeypatch.setattr(processes, "_by_proc", by_proc)
    table = processes.running()
    assert list(table.processes) == [os.getpid()]
    (limit,) = table.limits
    assert limit.kind == "permission"
    assert "hidepid" in limit.reason
    assert "sudo" in limit.remedy


def test_command_lines_that_psutil_may_not_read_are_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import psutil

    class Hidden:
        pid = 4000
        info: ClassVar[dict[str, Any]] = {
            "ppid": 1,
            "name": "x",
            "cmdline": None,
            "create_time": None,
            "uids": None,
        }

    monkeypatch.setattr(processes, "_HAS_PROC", False)
    monkeypatch.setattr(psutil, "process_iter", lambda *_, **__: [Hidden()])
    table = processes.running()
    assert table.processes[4000].is_argv_visible is False
    assert [limit.kind for limit in table.limits] == ["permission"]


def test_user_names() -> None:
    assert processes.user_name(None) is None
    if sys.platform != "win32":
        assert processes.user_name(0) == "root"
    assert processes.user_name(4_000_000_000) == "4000000000"


def test_the_doctor_does_not_find_itself() -> None:
    assert all(os.getpid() not in found.pids for found in copilot_processes(processes.running()))


# --- the real CLI -------------------------------------------------------------------------------


def find(pid: int) -> CopilotProcess:
    found = [item for item in copilot_processes(processes.running()) if pid in item.pids]
    assert len(found) == 1
    return found[0]


@pytest.mark.real
@linux_only
@pytest.mark.parametrize("how", ["npm", "native", "bash", "node"])
def test_a_real_server_is_found(cli_version: str, how: Any) -> None:
    with start_server(cli_version, how=how) as server:
        found = find(server.listener_pid)
        assert found.worker.pid == server.listener_pid
        assert found.arguments[:3] == ("--server", "--port", str(server.port))
        assert found.started_by == ("native" if how == "native" else "loader")
        assert (found.disk_version, found.running_version) == (cli_version, cli_version)
        assert found.orphaned is False
        environ = processes.environ(found.worker.pid)
        assert isinstance(environ, Environment)
        assert environ["COPILOT_AUTO_UPDATE"] == "false"


@pytest.mark.real
@linux_only
def test_a_real_orphan_is_found(cli_version: str) -> None:
    with start_server(cli_version) as server:
        before = find(server.listener_pid)
        os.kill(server.wrapper.pid, signal.SIGTERM)
        server.wait_exit()
        after = find(server.listener_pid)
        assert (before.orphaned, after.orphaned) == (False, True)
        assert after.pids == (before.worker.pid,)
