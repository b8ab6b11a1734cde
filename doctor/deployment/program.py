"""Where in a command line the Copilot program stands, and which words are its arguments.

A command line as a process has it, or as a script, a compose file or a unit file writes it:
with ``npx``, ``node``, ``env``, ``tini``, ``sudo`` or a shell in front.
"""

import re
from collections.abc import Sequence
from typing import Final

_ASSIGNMENT: Final = re.compile(r"[A-Za-z_]\w*\+?=")
_PACKAGE: Final = re.compile(r"@github/copilot(?:@(?P<version>[\w.^~*-]+))?")
_SCRIPT: Final = re.compile(
    r"(?:^|[/\\])(?:@github[/\\]copilot(?:-[\w-]+)?[/\\](?:index|npm-loader|app)\.js"
    r"|copilot(?:\.js)?)$"
)
_PROGRAM: Final = re.compile(r"(?:^|[/\\])copilot(?:\.exe|\.cmd|\.ps1|\.bat)?$", re.IGNORECASE)

# What starts the program that follows, and which of its own flags take a word.
# `operands`: words of its own before the program.
_LAUNCHERS: Final[dict[str, tuple[frozenset[str], int]]] = {
    "env": (frozenset({"-u", "--unset", "-C", "--chdir"}), 0),
    "exec": (frozenset({"-a"}), 0),
    "command": (frozenset(), 0),
    "builtin": (frozenset(), 0),
    "nohup": (frozenset(), 0),
    "setsid": (frozenset(), 0),
    "time": (frozenset({"-f", "-o"}), 0),
    "nice": (frozenset({"-n", "--adjustment"}), 0),
    "ionice": (frozenset({"-c", "-n"}), 0),
    "chrt": (frozenset(), 1),
    "taskset": (frozenset(), 1),
    "timeout": (frozenset({"-k", "--kill-after", "-s", "--signal"}), 1),
    "stdbuf": (frozenset({"-i", "-o", "-e", "--input", "--output", "--error"}), 0),
    "unbuffer": (frozenset(), 0),
    "sudo": (
        frozenset({"-u", "--user", "-g", "--group", "-h", "-p", "-C", "-D", "-R", "-T", "-U"}),
        0,
    ),
    "doas": (frozenset({"-u", "-C"}), 0),
    "gosu": (frozenset(), 1),
    "su-exec": (frozenset(), 1),
    "setpriv": (frozenset({"--reuid", "--regid"}), 0),
    "chroot": (frozenset(), 1),
    "tini": (frozenset({"-p", "-e"}), 0),
    "docker-init": (frozenset({"-p", "-e"}), 0),
    "dumb-init": (frozenset({"-r", "--rewrite"}), 0),
    "catatonit": (frozenset(), 0),
    "strace": (frozenset({"-e", "-o", "-p", "-s"}), 0),
    "docker-entrypoint.sh": (frozenset(), 0),
}
_PACKAGE_RUNNERS: Final[dict[str, frozenset[str]]] = {
    "npx": frozenset(),
    "pnpx": frozenset(),
    "bunx": frozenset(),
    "npm": frozenset({"exec", "x"}),
    "pnpm": frozenset({"dlx", "exec"}),
    "yarn": frozenset({"dlx", "exec"}),
    "bun": frozenset({"x"}),
}
_RUNNER_VALUES: Final = frozenset(
    {"-p", "--package", "-c", "--call", "--prefix", "-w", "--workspace"}
)
_NODES: Final = frozenset({"node", "nodejs", "bun", "deno"})
_NODE_VALUES: Final = frozenset(
    {"-r", "--require", "--import", "--loader", "--experimental-loader", "-C", "--conditions"}
)
_SHELLS: Final = frozenset({"sh", "bash", "dash", "ash", "zsh", "ksh", "mksh", "fish"})
_WINDOWS_SHELLS: Final = frozenset({"cmd", "powershell", "pwsh"})
_DEEPEST: Final = 8
_LONGEST_LINE: Final = 65_536

_TOKEN: Final = re.compile(
    r"""
    (?P<space>[ \t\r]+|\\\n)
  | (?P<comment>\#[^\n]*)
  | (?P<redirection>\d*(?:<<<|<<-?|>>|>\||<>|[<>]&|[<>])|&>>?)
  | (?P<operator>&&|\|\||;;|\|&|[;&|()\n])
  | (?P<word>(?:
        '[^']*'                                    # quoted, as it is
      | "(?:\\.|[^"\\])*"                          # quoted, with substitutions
      | \\.                                        # one character
      | \$\((?:[^()]|\([^()]*\))*\)                # output of a command
      | `[^`]*`
      | \$\{[^}]*\}
      | [^\s'"\\;&|()<>`]
      | ['"`\\]                                    # a quote that is never closed
    )+)
    """,
    re.VERBOSE | re.DOTALL,
)
_PIECE: Final = re.compile(r"""'([^']*)'|"((?:\\.|[^"\\])*)"|\\(.)|(.)""", re.DOTALL)

Split = tuple[tuple[str, ...], tuple[str, ...]]
"""The words up to and with the program, and its arguments."""


def split_program(argv: Sequence[str]) -> Split | None:
    """Split a whole command line into the Copilot program and its arguments.

    What stands in front of the program stays with it (``env A=b``, ``exec``, ``tini --``).
    Of a shell line (``bash -c "…"``) only the command with the program is returned.

    Returns:
        None where the command line does not start Copilot.
    """
    return _split(list(argv), 0)


def commands_of_line(line: str) -> tuple[tuple[str, ...], ...]:
    """Return the simple commands of a POSIX shell line, as words.

    Quotes are taken off, redirections and comments are left out;
    substitutions (``${COPILOT_MODEL}``, ``$(…)``) stay as they are written.
    Lines longer than 64 KiB are cut.
    """
    commands: list[tuple[str, ...]] = []
    words: list[str] = []
    skips_next = False
    for match in _TOKEN.finditer(line[:_LONGEST_LINE]):
        kind = match.lastgroup
        if kind == "operator":
            if words:
                commands.append(tuple(words))
            words, skips_next = [], False
        elif kind == "redirection":
            skips_next = True
        elif kind == "word":
            if not skips_next:
                words.append(_unquoted(match.group()))
            skips_next = False
    if words:
        commands.append(tuple(words))
    return tuple(commands)


def package_version(program: Sequence[str]) -> str | None:
    """Return the version that ``npx @github/copilot@1.0.63`` asks for, None where it names none."""
    for word in program:
        match = _PACKAGE.search(word)
        if match and match["version"]:
            return match["version"]
    return None


def _split(argv: list[str], depth: int) -> Split | None:  # noqa: C901 - one case per launcher
    """Walk over what stands in front of the program."""
    at = 0
    while at < len(argv) and depth <= _DEEPEST:
        word = argv[at]
        if _ASSIGNMENT.match(word):
            at += 1
            continue
        if _PROGRAM.search(word):
            return tuple(argv[: at + 1]), tuple(argv[at + 1 :])
        name = re.split(r"[/\\]", word)[-1].lower().removesuffix(".exe").removesuffix(".cmd")
        if name in _SHELLS:
            return _split_shell(argv, at, depth)
        if name in _WINDOWS_SHELLS:
            at = _after_windows_shell(argv, at)
        elif name in _PACKAGE_RUNNERS:
            found = _after_package_runner(argv, at, name, depth)
            if found is not None or name not in _NODES:
                return found
            at = _skip_flags(argv, at + 1, _NODE_VALUES)
        elif name in _NODES:
            at = _skip_flags(argv, at + 1, _NODE_VALUES)
            if at < len(argv) and _SCRIPT.search(argv[at]):
                return tuple(argv[: at + 1]), tuple(argv[at + 1 :])
            return None
        elif name == "su":
            line = _value_after(argv, at, ("-c", "--command"))
            return None if line is None else _split_line(line, depth)
        elif name in _LAUNCHERS:
            takes_value, operands = _LAUNCHERS[name]
            at = _skip_flags(argv, at + 1, takes_value) + operands
        else:
            return None
    return None


def _split_shell(argv: list[str], at: int, depth: int) -> Split | None:
    for index in range(at + 1, len(argv)):
        word = argv[index]
        if not word.startswith("-") or word.startswith("--"):
            if word.startswith("--"):
                continue
            # A script: `sh ./copilot …` runs the npm link.
            return _split(argv[index:], depth + 1) if _PROGRAM.search(word) else None
        if "c" in word[1:]:
            return _split_line(argv[index + 1], depth) if index + 1 < len(argv) else None
    return None


def _split_line(line: str, depth: int) -> Split | None:
    for command in commands_of_line(line):
        found = _split(list(command), depth + 1)
        if found is not None:
            return found
    return None


def _after_windows_shell(argv: list[str], at: int) -> int:
    at += 1
    while at < len(argv) and argv[at][:1] in {"/", "-"} and not _PROGRAM.search(argv[at]):
        at += 1
    return at


def _after_package_runner(argv: list[str], at: int, name: str, depth: int) -> Split | None:
    verbs = _PACKAGE_RUNNERS[name]
    at += 1
    if verbs:
        while at < len(argv) and argv[at].startswith("-"):
            at += 1
        if at >= len(argv) or argv[at] not in verbs:
            return None
        at += 1
    line = _value_after(argv[:], at - 1, ("-c", "--call"))
    end = _skip_flags(argv, at, _RUNNER_VALUES)
    if end < len(argv) and (_PACKAGE.fullmatch(argv[end]) or _PROGRAM.search(argv[end])):
        # npm takes the first `--` for itself.
        skip = 1 if verbs and name == "npm" and argv[end + 1 : end + 2] == ["--"] else 0
        return tuple(argv[: end + 1 + skip]), tuple(argv[end + 1 + skip :])
    if line is not None:
        return _split_line(line, depth)
    return None


def _skip_flags(argv: list[str], at: int, takes_value: frozenset[str]) -> int:
    """Return the place of the first word that is no flag, flag's value, or assignment."""
    while at < len(argv):
        word = argv[at]
        if word == "--":
            return at + 1
        if word in takes_value:
            at += 2
        elif (word.startswith("-") and len(word) > 1) or _ASSIGNMENT.match(word):
            at += 1
        else:
            return at
    return at


def _value_after(argv: list[str], at: int, names: tuple[str, ...]) -> str | None:
    for index in range(at + 1, len(argv)):
        if argv[index] in names:
            return argv[index + 1] if index + 1 < len(argv) else None
        for name in names:
            if name.startswith("--") and argv[index].startswith(f"{name}="):
                return argv[index].partition("=")[2]
    return None


def _unquoted(word: str) -> str:
    def plain(match: re.Match[str]) -> str:
        single, double, escaped, other = match.groups()
        if single is not None:
            return single
        if double is not None:
            return re.sub(r'\\([\\"$`\n])', r"\1", double)
        return escaped if escaped is not None else other

    return _PIECE.sub(plain, word)
