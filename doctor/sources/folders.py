"""The folders that a server writes to, and its log file: state and mode, never content."""

import json
import os
import re
import stat
import sys
from collections.abc import Collection, Iterable
from typing import Final, Literal

from doctor.deployment import Directory, LogFile
from doctor.redaction import outside
from doctor.sources.processes import NotVisible, read_file, resolve, user_name

_LOG_NAME: Final = re.compile(r"process-\d+-(?P<pid>\d+)\.log")
_MOST_ENTRIES: Final = 20_000
_MOST_CONFIG_BYTES: Final = 1 << 20


def copilot_home(environ: dict[str, str]) -> str | None:
    """Return where a CLI with this environment keeps its state: ``COPILOT_HOME``, ``~/.copilot``.

    Observed on 1.0.2 to 1.0.102; 0.0.400 ignores ``COPILOT_HOME``.
    """
    given = environ.get("COPILOT_HOME")
    home = environ.get("HOME") or environ.get("USERPROFILE")
    return given or (os.path.join(home, ".copilot") if home else None)  # noqa: PTH118 - maybe another root


def groups_of(pid: int) -> frozenset[int] | None:
    """Return the groups that decide what a process may write; None where that is not told (Linux).

    They can be fewer than those of its user: they are what they were when it was started.
    """
    try:
        with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:  # noqa: PTH123
            fields = dict(line.partition(":")[::2] for line in file)
        _, effective, *_ = fields["Gid"].split()
        return frozenset(map(int, (effective, *fields["Groups"].split())))
    except (OSError, ValueError, KeyError):
        return None


def describe(
    path: str,
    role: Literal["home", "logs"],
    *,
    uid: int | None,
    groups: Collection[int] | None = None,
    root: str = "",
) -> Directory:
    """Describe a folder as a user sees it.

    Args:
        path: As the server sees it.
        role: What the server keeps there.
        uid: The server's user; None: not known, then neither is whether it may write.
        groups: The server's groups; None: not known.
        root: Where the server's file system begins for the doctor (``/proc/PID/root``).
    """
    shown = outside(path)
    user = _User(uid, groups, root)
    try:
        real = _followed(path, root)
        info = os.stat(root + real)  # noqa: PTH116 - with a root in front
    except FileNotFoundError:
        if os.path.islink(root + path):  # noqa: PTH114
            # The CLI cannot make it: mkdir of Node ends in ENOENT here.
            gone = "it is a link to something that is not there"
            return Directory(path=shown, role=role, state="missing", is_writable=False, reason=gone)
        return Directory(path=shown, role=role, state="missing", is_writable=_can_make(path, user))
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
        is_writable=user.may_write(info, real) if is_directory else False,
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
        place = _followed(folder, root)
        with os.scandir(root + place) as entries:
            for number, entry in enumerate(entries):
                match = _LOG_NAME.fullmatch(entry.name)
                if match and match.group("pid") in wanted:
                    names.append(entry.name)
                if number > _MOST_ENTRIES:
                    break
        if not names:
            return None
        # The time in the name counts as a number: it need not have the same length everywhere.
        name = max(names, key=lambda text: (int(text.split("-")[1]), text))
        info = os.stat(f"{root}{place}/{name}")  # noqa: PTH116 - maybe another root
    except (OSError, ValueError):
        return None
    return LogFile(
        path=outside(os.path.join(folder, name)),  # noqa: PTH118
        mode=f"{stat.S_IMODE(info.st_mode):o}",
        size_bytes=info.st_size,
        others_can_read=bool(info.st_mode & stat.S_IROTH) and _others_get_there(place, root),
    )


def has_stored_login(home: str, root: str = "") -> bool | None:
    """Whether a login is kept in ``config.json``; None where that cannot be told.

    Only the presence of ``copilotTokens`` is looked at (observed on 1.0.63 and 1.0.102, where no
    keyring is at hand). A login in a keyring is not seen: then this says False or None
    although there is one, so only True means anything certain.
    """
    data = read_file(f"{root}{_followed(home, root)}/config.json", _MOST_CONFIG_BYTES)
    if isinstance(data, NotVisible):
        return False if data.kind == "gone" else None
    text = data.decode("utf-8-sig", errors="replace")
    bare = "\n".join(line for line in text.split("\n") if not line.lstrip().startswith("//"))
    try:
        stored = json.loads(bare)
    except (ValueError, RecursionError):
        return None
    return bool(stored.get("copilotTokens")) if isinstance(stored, dict) else None


def _followed(path: str, root: str) -> str:
    """Return a path with its links followed, or itself where it cannot be.

    An absolute link of a container means a place in the container, not one of this machine.
    """
    return resolve(path, root) or path


def _above(path: str) -> Iterable[str]:
    """Return the folders above a path, the nearest first."""
    parent = os.path.dirname(path)  # noqa: PTH120
    while parent != path:
        yield parent
        path, parent = parent, os.path.dirname(parent)  # noqa: PTH120


def _others_get_there(folder: str, root: str) -> bool:
    # A file that everybody may read is out of reach below a folder that nobody may enter.
    try:
        return all(
            os.stat(root + place).st_mode & stat.S_IXOTH  # noqa: PTH116
            for place in (folder, *_above(folder))
        )
    except OSError:
        return False


def _can_make(path: str, user: "_User") -> bool | None:
    """Whether a missing folder can be made: its nearest parent that exists can be written."""
    for parent in _above(path):
        try:
            real = _followed(parent, user.root)
            info = os.stat(user.root + real)  # noqa: PTH116
        except FileNotFoundError:
            if os.path.islink(user.root + parent):  # noqa: PTH114 - to something that is gone
                return False
            continue
        except (OSError, ValueError):
            return None
        return stat.S_ISDIR(info.st_mode) and user.may_write(info, real)
    return None


class _User:
    """What a user may do, told by the modes of files."""

    def __init__(self, uid: int | None, groups: Collection[int] | None, root: str) -> None:
        self.root = root
        self._uid = uid
        self._groups = groups

    def may_write(self, info: os.stat_result, path: str) -> bool | None:
        """Whether new files can be made in a folder; None where that cannot be told."""
        place = self.root + path
        if _is_read_only(place):
            return False
        if self._uid is None or not hasattr(os, "geteuid"):
            return None
        if self._uid == os.geteuid():
            return os.access(place, os.W_OK | os.X_OK)
        if self._uid == 0:
            return True
        answers = [self._has(info, 0o3)]
        try:
            answers += [
                self._has(os.stat(self.root + parent), 0o1)  # noqa: PTH116
                for parent in _above(path)
            ]
        except OSError:
            answers.append(None)
        return False if False in answers else None if None in answers else True

    def _has(self, info: os.stat_result, wanted: int) -> bool | None:
        of_owner, of_group, of_others = (
            info.st_mode >> shift & wanted == wanted for shift in (6, 3, 0)
        )
        if info.st_uid == self._uid:
            return of_owner
        if self._groups is None:
            return of_group if of_group == of_others else None
        return of_group if info.st_gid in self._groups else of_others


def _is_read_only(path: str) -> bool:
    statvfs = getattr(os, "statvfs", None)
    if statvfs is None:
        return False
    try:
        return bool(statvfs(path).f_flag & os.ST_RDONLY)
    except OSError:
        return False
