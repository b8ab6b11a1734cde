"""Folders and log files as the server's user sees them: modes, owners, links, never content."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from doctor.sources import folders
from tests.harness import MissingPartError

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="modes of POSIX")

SOMEBODY, GROUP = 64_999, 64_998


@pytest.fixture
def open_path(tmp_path: Path) -> Path:
    """A folder below folders that everybody may enter."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        raise MissingPartError("folders of other users need root")
    for folder in (tmp_path, *tmp_path.parents):
        if not folder.stat().st_mode & stat.S_IXOTH:
            folder.chmod(folder.stat().st_mode | stat.S_IXOTH | stat.S_IXGRP)
        if folder.parent == folder.parent.parent:
            break
    return tmp_path


def writable(
    path: Path, uid: int | None = SOMEBODY, groups: frozenset[int] | None = frozenset()
) -> bool | None:
    return folders.describe(str(path), "home", uid=uid, groups=groups).is_writable


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"COPILOT_HOME": "/c", "HOME": "/h"}, "/c"),
        ({"COPILOT_HOME": "", "HOME": "/h"}, "/h/.copilot"),
        ({"USERPROFILE": "/u"}, "/u/.copilot"),
        ({}, None),
    ],
)
def test_where_a_server_keeps_its_state(environ: dict[str, str], expected: str | None) -> None:
    assert folders.copilot_home(environ) == expected


@pytest.mark.parametrize(
    ("owner", "group", "mode", "groups", "expected"),
    [
        (SOMEBODY, 0, 0o700, frozenset(), True),
        (SOMEBODY, GROUP, 0o077, frozenset({GROUP}), False),  # its owner: the rest is not asked
        (SOMEBODY, 0, 0o600, frozenset(), False),  # without x no file is made
        (0, GROUP, 0o770, frozenset({GROUP}), True),
        (0, GROUP, 0o770, frozenset(), False),
        (0, GROUP, 0o770, None, None),  # groups that are not known decide
        (0, GROUP, 0o777, None, True),
        (0, GROUP, 0o755, None, False),
        (0, GROUP, 0o707, frozenset({GROUP}), False),
        (0, 0, 0o777, frozenset(), True),
        (0, 0, 0o755, frozenset(), False),
    ],
)
def test_whether_another_user_may_write(
    open_path: Path,
    owner: int,
    group: int,
    mode: int,
    groups: frozenset[int] | None,
    *,
    expected: bool | None,
) -> None:
    folder = open_path / "home"
    folder.mkdir()
    os.chown(folder, owner, group)
    folder.chmod(mode)

    assert writable(folder, groups=groups) is expected
    assert writable(folder / "not" / "there", groups=groups) is expected


def test_a_folder_that_is_out_of_reach_is_not_writable(open_path: Path) -> None:
    closed = open_path / "closed"
    (closed / "home").mkdir(parents=True)
    os.chown(closed / "home", SOMEBODY, SOMEBODY)
    closed.chmod(0o700)

    assert writable(closed / "home") is False
    closed.chmod(0o711)
    assert writable(closed / "home") is True


def test_root_may_write_and_an_unknown_user_is_unknown(open_path: Path) -> None:
    assert writable(open_path, uid=0) is True
    assert writable(open_path, uid=None) is None


def test_the_kernel_agrees(open_path: Path) -> None:
    """What is computed from modes is what happens to a process of that user."""
    for number, mode in enumerate((0o700, 0o755, 0o770, 0o777, 0o733, 0o776)):
        folder = open_path / str(number)
        folder.mkdir()
        os.chown(folder, 0, GROUP)
        folder.chmod(mode)
        made = subprocess.run(
            ["/bin/mkdir", str(folder / "x")],
            user=SOMEBODY,
            group=SOMEBODY,
            extra_groups=[GROUP],
            capture_output=True,
            check=False,
        )
        said = writable(folder, groups=frozenset({SOMEBODY, GROUP}))
        assert said is (made.returncode == 0), oct(mode)


def test_the_groups_of_a_process_are_its_own(open_path: Path) -> None:
    child = subprocess.Popen(
        ["/bin/sleep", "60"], user=SOMEBODY, group=SOMEBODY, extra_groups=[GROUP], cwd=open_path
    )
    try:
        assert folders.groups_of(child.pid) == {SOMEBODY, GROUP}
    finally:
        child.kill()
        child.wait()
    assert folders.groups_of(child.pid) is None


def test_a_missing_folder_can_be_made_where_its_nearest_parent_can_be_written(
    tmp_path: Path,
) -> None:
    found = folders.describe(str(tmp_path / "a" / "b"), "logs", uid=os.geteuid())

    assert (found.state, found.is_writable, found.mode) == ("missing", True, None)


def test_a_file_in_the_place_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    there = folders.describe(str(tmp_path / "file"), "home", uid=os.geteuid())
    below = folders.describe(str(tmp_path / "file" / "logs"), "logs", uid=os.geteuid())

    assert (there.state, there.is_writable) == ("file", False)
    assert (below.state, below.is_writable) == ("missing", False)


def test_a_link_to_nothing_cannot_be_made_into_a_folder(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "gone")
    found = folders.describe(str(tmp_path / "link"), "home", uid=os.geteuid())
    below = folders.describe(str(tmp_path / "link" / "logs"), "logs", uid=os.geteuid())

    assert (found.state, found.is_writable) == ("missing", False)
    assert "link" in found.reason
    assert below.is_writable is False


def test_a_read_only_file_system() -> None:
    if not Path("/proc/mounts").exists():
        pytest.skip("Linux tells what is mounted")
    folder = next(
        (
            line.split()[1]
            for line in Path("/proc/mounts").read_text().splitlines()
            if "ro" in line.split()[3].split(",") and Path(line.split()[1]).is_dir()
        ),
        None,
    )
    if folder is None:
        pytest.skip("nothing is mounted read-only here")

    assert folders.describe(folder, "home", uid=0).is_writable is False


def test_mode_and_owner_are_told(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir(mode=0o750)
    found = folders.describe(str(tmp_path / "home"), "home", uid=os.geteuid())

    assert (found.state, found.mode, found.is_writable) == ("directory", "750", True)
    assert found.owner


def test_a_path_with_nul_is_no_path() -> None:
    found = folders.describe("/a\0b", "home", uid=0)

    assert (found.state, found.is_writable) == ("unknown", None)


def test_absolute_links_of_a_container_stay_inside(tmp_path: Path) -> None:
    """The root of a container is in front of its paths, also of those that links name."""
    (tmp_path / "data").mkdir(mode=0o700)
    (tmp_path / "home").symlink_to("/data")
    found = folders.describe("/home", "home", uid=os.geteuid(), root=str(tmp_path))

    assert (found.path, found.state, found.mode) == ("/home", "directory", "700")


# --- the log ------------------------------------------------------------------------------------


def test_the_newest_log_of_the_process_is_chosen(tmp_path: Path) -> None:
    for name in (
        "process-999-41.log",
        "process-1700000000000-41.log",
        "process-1700000000001-41.log",
        "process-1800000000000-42.log",
        "process-x-41.log",
        "process-1900000000000-41.log.gz",
    ):
        (tmp_path / name).write_text("text")
    found = folders.log_file(str(tmp_path), (41,))

    assert found is not None
    assert found.path.endswith("/process-1700000000001-41.log")
    assert found.size_bytes == 4
    assert folders.log_file(str(tmp_path), (7,)) is None
    assert folders.log_file(str(tmp_path / "gone"), (41,)) is None


@pytest.mark.parametrize(
    ("file_mode", "folder_mode", "parent_mode", "expected"),
    [
        (0o644, 0o755, 0o755, True),
        (0o644, 0o711, 0o711, True),  # its name can be guessed
        (0o644, 0o700, 0o755, False),
        (0o644, 0o755, 0o700, False),
        (0o640, 0o755, 0o755, False),
        (0o604, 0o755, 0o755, True),
    ],
)
def test_who_can_read_the_log(
    open_path: Path, file_mode: int, folder_mode: int, parent_mode: int, *, expected: bool
) -> None:
    folder = open_path / "parent" / "logs"
    folder.mkdir(parents=True)
    log = folder / "process-1-41.log"
    log.write_text("")
    log.chmod(file_mode)
    folder.chmod(folder_mode)
    folder.parent.chmod(parent_mode)
    (open_path / "link").symlink_to(folder)

    for place in (folder, open_path / "link"):
        found = folders.log_file(str(place), (41,))
        assert found is not None
        assert found.mode == f"{file_mode:o}"
        assert found.others_can_read is expected


# --- the stored login ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (json.dumps({"copilotTokens": {"https://github.com:mona": "gho_x"}}), True),
        ('// a comment\n  // another\n{"copilotTokens": {"a": "b"}}', True),
        ('\ufeff{"copilotTokens": {"a": "b"}}', True),
        (json.dumps({"copilotTokens": {}}), False),
        (json.dumps({"loggedInUsers": []}), False),
        ('{"copilotTokens": {"a": "b"', None),
        ("[]", None),
        ("", None),
        ("[" * 100_000, None),
        (json.dumps({"copilotTokens": {"a": "b"}, "filler": "x" * (1 << 21)}), None),
    ],
    ids=[
        "token",
        "comments",
        "bom",
        "none-in-it",
        "other-keys",
        "half",
        "list",
        "empty",
        "deep",
        "huge",
    ],
)
def test_a_stored_login(tmp_path: Path, text: str, *, expected: bool | None) -> None:
    (tmp_path / "config.json").write_text(text, encoding="utf-8")

    assert folders.has_stored_login(str(tmp_path)) is expected


def test_no_configuration_no_login(tmp_path: Path) -> None:
    assert folders.has_stored_login(str(tmp_path)) is False
    assert folders.has_stored_login(str(tmp_path / "gone")) is False


def test_a_configuration_that_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "config.json")

    assert folders.has_stored_login(str(tmp_path)) is None
