"""The folders that a server writes to, and its log file: state and mode, never content."""

import json
import os
import re
import stat
import sys
from collections.abc import Iterable
from typing import Final, Literal

from doctor.deployment import Directory, LogFile
from doctor.redaction import outside
from doctor.sources.processes import user_name

_LOG_NAME: Final = re.compile(r"process-\d+-(?P<pid>\d+)\.log")
_MOST_ENTRIES: Final = 20_000
_MOST_CONFIG_CHARACTERS: Final = 1_000_000


def copilot_home(environ: dict[str, str]) -> str | None:
    """Return where a CLI with this environment keeps its state: ``COPILOT_HOME``, ``~/.copilot``.

    Observed on 1.0.2 to 1.0.102; 0.0.400 ignores ``COPILOT_HOME``.
    """
    given = environ.get("COPILOT_HOME")
    home = environ.get("HOME") or environ.get("USERPROFILE")
    return given or (os.path.join(home, ".copilot") if home else None)  # noqa: PTH118 - maybe another root


def describe(
    path: str,
    role: Literal["home", "logs"],
    *,
    uid: int | None,
    groups: Iterable[int] = (),
    root: str = "",
) -> Directory:
    """Describe a folder as a user sees it.

    Args:
        path: As the server sees it.
        role: What the server keeps there.
        uid: The server's user; None: not known, then neither is whether it may write.
        groups: The server's groups.
        root: Where the server's file system begins for the doctor (``/proc/PID/root``).
    """
    shown = outside(path)
    try:
        info = os.stat(root + path)  # noqa: PTH116 - with a root in front
    except FileNotFoundError:
        return Directory(
            path=shown,
            role=role,
            state="missing",
            is_writable=_can_make(path, uid, groups, root),
        )
    except NotADirectoryError:
        return Directory(path=shown, role=role, state="missing", is_writable=False)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "not a path"
        return Directory(path=shown, role=role, reason=reason)
    is_directory = stat.S_ISDIR(info.st_mode)
    return Directory(
        path=shown,
        role=role,
        state="directory" if is_directory else "file",
        is_writable=_may_write(info, root + path, uid, groups) if is_directory else False,
        owner=user_name(info.st_uid) if sys.platform != "win32" else None,
        mode=f"{stat.S_IMODE(info.st_mode):o}",
    )


def log_file(folder: str, pids: Iterable[int], root: str = "") -> LogFile | None:
    """Return the newest log of one of these processes, None where there is none to be seen.

    Logs are named ``process-<epoch ms>-<pid>.log`` (observed on 0.0.400 to 1.0.102).
    """
    wanted = {str(pid) for pid in pids}
    names: list[str] = []
    try:
        with os.scandir(root + folder) as entries:
            for number, entry in enumerate(entries):
                match = _LOG_NAME.fullmatch(entry.name)
                if match and match.group("pid") in wanted:
                    names.append(entry.name)
                if number > _MOST_ENTRIES:
                    break
        if not names:
            return None
        path = os.path.join(folder, max(names))  # noqa: PTH118 - maybe another root
        info = os.stat(root + path)  # noqa: PTH116
    except (OSError, ValueError):
        return None
    return LogFile(
        path=outside(path),
        mode=f"{stat.S_IMODE(info.st_mode):o}",
        size_bytes=info.st_size,
        others_can_read=bool(info.st_mode & stat.S_IROTH) and _others_get_there(root + folder),
    )


def has_stored_login(home: str, root: str = "") -> bool | None:
    """Whether a login is kept in ``config.json``; None where that cannot be told.

    Only the presence of ``copilotTokens`` is looked at (observed on 1.0.63 and 1.0.102, where no
    keyring is at hand). A login in a keyring is not seen: then this says False or None
    although there is one, so only True means anything certain.
    """
    try:
        with open(f"{root}{home}/config.json", encoding="utf-8", errors="replace") as file:  # noqa: PTH123
            text = file.read(_MOST_CONFIG_CHARACTERS)
    except FileNotFoundError:
        return False
    except (OSError, ValueError):
        return None
    bare = "\n".join(line for line in text.split("\n") if not line.lstrip().startswith("//"))
    try:
        stored = json.loads(bare)
    except (ValueError, RecursionError):
        return None
    return bool(stored.get("copilotTokens")) if isinstance(stored, dict) else None


def _others_get_there(folder: str) -> bool:
    # A file that everybody may read is out of reach below a folder that nobody may enter.
    while True:
        try:
            if not os.stat(folder).st_mode & stat.S_IXOTH:  # noqa: PTH116
                return False
        except OSError:
            return False
        parent = os.path.dirname(folder)  # noqa: PTH120
        if parent == folder:
            return True
        folder = parent


def _can_make(path: str, uid: int | None, groups: Iterable[int], root: str) -> bool | None:
    """Whether a missing folder can be made: its nearest parent that exists can be written."""
    parent = os.path.dirname(path)  # noqa: PTH120
    while parent and parent != path:
        try:
            info = os.stat(root + parent)  # noqa: PTH116
        except FileNotFoundError:
            path, parent = parent, os.path.dirname(parent)  # noqa: PTH120
            continue
        except (OSError, ValueError):
            return None
        return stat.S_ISDIR(info.st_mode) and _may_write(info, root + parent, uid, groups)
    return None


def _may_write(
    info: os.stat_result, path: str, uid: int | None, groups: Iterable[int]
) -> bool | None:
    if _is_read_only(path):
        return False
    if uid is None or not hasattr(os, "geteuid"):
        return os.access(path, os.W_OK | os.X_OK) if uid is None else None
    if uid == os.geteuid():
        return os.access(path, os.W_OK | os.X_OK)
    if uid == 0:
        return True
    needed = stat.S_IWOTH | stat.S_IXOTH
    if info.st_uid == uid:
        needed = stat.S_IWUSR | stat.S_IXUSR
    elif info.st_gid in set(groups):
        needed = stat.S_IWGRP | stat.S_IXGRP
    return info.st_mode & needed == needed


def _is_read_only(path: str) -> bool:
    statvfs = getattr(os, "statvfs", None)
    if statvfs is None:
        return False
    try:
        return bool(statvfs(path).f_flag & os.ST_RDONLY)
    except OSError:
        return False
