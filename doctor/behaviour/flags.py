"""The flags of the CLI by version, and what each does to a server.

The table in ``flags.json`` was recorded from the option tables of the real CLIs
(``scripts/record_flags.py``), hidden flags included:
``copilot --help`` lists none of the flags that a server needs.
"""

import functools
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final, Literal

import msgspec

from doctor.behaviour.versions import key

Arity = Literal["none", "value", "optional", "variadic"]
"""How many values a flag takes: none, one, one or none, any number."""

NumberRule = Literal["", "parse-int", "decimal", "checked", "strict"]
"""How a value becomes a number.

``parse-int``: by JavaScript's ``parseInt``, and the flag's earlier value is taken for the radix:
so ``--port 3000 --port 4000`` gives no number at all. ``decimal``: by ``parseInt`` with radix 10.
``checked``: digits alone; anything else ends the start.
``strict``: digits with an optional sign; anything else ends the start.
"""

ParserKind = Literal["commander", "clap"]
"""The command line parser that a version is built with."""

SERVER_FLAGS: Final = frozenset({"--server", "--headless"})
"""Each of them makes the CLI a server for SDK clients; both together are the same."""

ALLOW_ALL_TOOLS: Final = frozenset({"--allow-all-tools", "--allow-all", "--yolo"})
"""Each of them approves every tool call, of the CLI's own sessions."""

ALLOW_ALL: Final = frozenset({"--allow-all", "--yolo"})
"""Each of them stands for ``--allow-all-tools --allow-all-paths --allow-all-urls``."""


class Flag(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One flag, as it is on a run of tested versions.

    Attributes:
        name: Its long spelling, or the only one (``-C``).
        aliases: Its other spellings.
        arity: How many values it takes.
        metavar: What the CLI calls its value.
        choices: The only values it takes; empty: any.
        number: How its value becomes a number; empty: it stays text.
        hidden: Whether ``copilot --help`` leaves it out.
        conflicts: Flags that end the start when given together with it.
        requires: Flags of which one must be given with it.
        since: The oldest tested version of the run.
        until: The newest tested version of the run.
    """

    name: str
    aliases: tuple[str, ...] = ()
    arity: Arity = "none"
    metavar: str = ""
    choices: tuple[str, ...] = ()
    number: NumberRule = ""
    hidden: bool = False
    conflicts: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()
    since: str
    until: str

    @property
    def takes_value(self) -> bool:
        """Whether a value can belong to it."""
        return self.arity != "none"

    @property
    def effect(self) -> str:
        """What it does to a server that serves SDK clients; empty: nothing known."""
        return SERVER_EFFECTS.get(self.name, "")


_NOT_FOR_SDK: Final = (
    "no effect on the sessions of SDK clients: the client's own permission handler decides "
    "(observed on every tested version)"
)
_NOT_HANDED_ON: Final = "accepted; a server makes no use of it (observed on 1.0.63 and 1.0.102)"

SERVER_EFFECTS: Final[Mapping[str, str]] = {
    "--server": "listens for SDK clients on TCP; wins over --acp, -p and -i",
    "--headless": "the same as --server",
    "--stdio": "speaks on standard input and output: nobody can connect over the network",
    "--acp": "speaks the Agent Client Protocol, which SDK clients do not understand; "
    "ignored next to --server or --headless",
    "--ui-server": "needs a terminal; excludes --server and --headless",
    "--managed-server": "an addition to --server for the CLI's own attach picker",
    "--host": "the address to listen on; 127.0.0.1 without it. An empty one is every interface on "
    "1.0.32 … 1.0.64 and ends the start on 1.0.73 … 1.0.102",
    "--port": "the port to listen on; a random one without it or with 0",
    "--listen": "for --ahp-host alone; a server ignores it (observed on 1.0.102)",
    "--no-auto-login": "the variables COPILOT_GITHUB_TOKEN, GH_TOKEN and GITHUB_TOKEN and the "
    "stored login are not read; --auth-token-env still is (observed on every tested version)",
    "--auth-token-env": "takes the GitHub token from the variable that it names, before all others",
    "--session-idle-timeout": "ends sessions that were idle so many seconds; 0 or none: never",
    "--allow-all-tools": _NOT_FOR_SDK,
    "--allow-all": _NOT_FOR_SDK,
    "--yolo": _NOT_FOR_SDK,
    "--allow-all-paths": _NOT_FOR_SDK,
    "--allow-all-urls": _NOT_FOR_SDK,
    "--allow-tool": _NOT_FOR_SDK,
    "--allow-url": _NOT_FOR_SDK,
    "--deny-tool": _NOT_FOR_SDK,
    "--deny-url": _NOT_FOR_SDK,
    "--available-tools": _NOT_FOR_SDK,
    "--excluded-tools": _NOT_FOR_SDK,
    "--model": "no effect on the sessions of SDK clients; COPILOT_MODEL has, and the session's own "
    "model wins (observed on 1.0.32, 1.0.63 and 1.0.102)",
    "--log-level": "debug and all of 1.0.81 write the whole environment, secrets included, "
    "into the log",
    "--log-dir": "where the log goes; a folder that cannot be written gives no log and no message",
    "--config-dir": "deprecated: COPILOT_HOME",
    "--no-auto-update": "the version in use stays the installed one",
    "--prompt": _NOT_HANDED_ON,
    "--interactive": _NOT_HANDED_ON,
    "--continue": _NOT_HANDED_ON,
    "--connect": _NOT_HANDED_ON,
    "--agent": _NOT_HANDED_ON,
    "--share": _NOT_HANDED_ON,
    "--silent": _NOT_HANDED_ON,
    "--output-format": _NOT_HANDED_ON,
    "--add-dir": _NOT_HANDED_ON,
    "--resume": "needs a session id: without one 1.0.63 … 1.0.102 do not start a server",
    "--attachment": "for prompts alone: the server does not start",
}
"""What flags do to a server for SDK clients, where that is known."""

# What people write, and the flag that they look for.
_SYNONYMS: Final[Mapping[str, str]] = {
    "addr": "--host",
    "address": "--host",
    "bind": "--host",
    "bind-addr": "--host",
    "bind-address": "--host",
    "bind-host": "--host",
    "hostname": "--host",
    "ip": "--host",
    "listen": "--host",
    "listen-address": "--host",
    "server-host": "--host",
    "listen-port": "--port",
    "server-port": "--port",
    "tcp-port": "--port",
    "daemon": "--server",
    "serve": "--server",
    "server-mode": "--server",
    "access-token": "--auth-token-env",
    "auth-token": "--auth-token-env",
    "gh-token": "--auth-token-env",
    "github-token": "--auth-token-env",
    "token": "--auth-token-env",
    "token-env": "--auth-token-env",
    "disable-auto-login": "--no-auto-login",
    "no-login": "--no-auto-login",
    "disable-auto-update": "--no-auto-update",
    "no-update": "--no-auto-update",
    "allow-everything": "--allow-all",
    "dangerously-skip-permissions": "--allow-all",
    "approve-all": "--allow-all-tools",
    "auto-approve": "--allow-all-tools",
    "skip-permissions": "--allow-all-tools",
    "trust-all-tools": "--allow-all-tools",
    "allowed-tools": "--allow-tool",
    "allow-tools": "--allow-tool",
    "denied-tools": "--deny-tool",
    "deny-tools": "--deny-tool",
    "disallowed-tools": "--deny-tool",
    "cwd": "-C",
    "dir": "-C",
    "workdir": "-C",
    "working-directory": "-C",
    "idle-timeout": "--session-idle-timeout",
    "timeout": "--session-idle-timeout",
    "log-file": "--log-dir",
    "logs": "--log-dir",
    "loglevel": "--log-level",
    "debug": "--log-level",
    "verbose": "--log-level",
    "mcp-config": "--additional-mcp-config",
}

_ADVICE: Final[Mapping[str, str]] = {
    "bind": "--bind was never a flag of the CLI: the address is --host (1.0.32 and later)",
    "connection-token": "the connection token is no flag: set COPILOT_CONNECTION_TOKEN in the "
    "environment of the server (1.0.44 and later)",
    "token": "a token is never an argument: name the variable that holds it with --auth-token-env",
    "github-token": "a token is never an argument: "
    "name the variable that holds it with --auth-token-env",
    "verbose": "write --log-level debug",
    "debug": "write --log-level debug",
    "daemon": "--server stays in the foreground: let a supervisor or the shell put it aside",
    "tls": "the server speaks no TLS: put a tunnel or a proxy in front",
    "cert": "the server speaks no TLS: put a tunnel or a proxy in front",
}

_DASHES: Final = "-\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\ufe63\uff0d"
_LONGEST: Final = 64
# Of two flags that are equally near, the one that a server is started with.
_LIKELY: Final = (
    "--server",
    "--port",
    "--host",
    "--headless",
    "--stdio",
    "--log-level",
    "--log-dir",
    "--allow-all-tools",
    "--no-auto-login",
)


class _Command(msgspec.Struct, frozen=True):
    name: str
    since: str
    until: str


class _Table(msgspec.Struct, frozen=True):
    versions: tuple[str, ...]
    clap_since: str
    commands: tuple[_Command, ...]
    flags: tuple[Flag, ...]


def flags_of(version: str | None = None) -> Mapping[str, Flag]:
    """Return the flags of a version by every spelling, aliases included.

    Args:
        version: The nearest tested version that is not newer counts;
            the oldest one for what is older still; None or no version: the newest.
    """
    return _flags(tested(version))


def commands_of(version: str | None = None) -> frozenset[str]:
    """Return the subcommands of a version (`flags_of` tells which version counts)."""
    return _commands(tested(version))


def parser_of(version: str | None = None) -> ParserKind:
    """Return the command line parser of a version (`flags_of` tells which version counts)."""
    return "clap" if _order(tested(version)) >= _order(_table().clap_since) else "commander"


def tested(version: str | None) -> str:
    """Return the version whose recorded flags stand for `version`."""
    versions = _table().versions
    ours = key(version or "")
    if ours is None:
        return versions[-1]
    older = [known for known in versions if _order(known) <= ours]
    return older[-1] if older else versions[0]


def recorded_versions() -> tuple[str, ...]:
    """Return the versions whose flags were recorded, oldest first."""
    return _table().versions


def nearest(name: str, version: str | None = None) -> str | None:
    """Return the flag that somebody probably means, None where none is near.

    Dashes of other kinds (editors turn two hyphens into a long dash), case, underscores
    and invisible characters count for nothing; then come known synonyms (``--bind``),
    abbreviations and typing errors.

    Args:
        name: What was written, up to ``=``.
        version: Only flags of this version are named.
    """
    flags = flags_of(version)
    stem = _stem(name)
    if not stem:
        return None
    names = {flag.name for flag in flags.values()}
    stems = {known.lstrip("-"): known for known in sorted(names) if known.startswith("--")}
    if stem in stems:
        return stems[stem]
    synonym = _SYNONYMS.get(stem)
    if synonym in names:
        return synonym
    if f"no-{stem}" in stems:
        return stems[f"no-{stem}"]
    if stem.startswith("no-") and stem.removeprefix("no-") in stems:
        return stems[stem.removeprefix("no-")]
    if len(stem) >= len("ser"):
        longer = [known for known in stems if known.startswith(stem)]
        if len(longer) == 1:
            return stems[longer[0]]
    squeezed = stem.replace("-", "")
    for known, flag_name in stems.items():
        if known.replace("-", "") == squeezed:
            return flag_name
    return _by_distance(stem, stems)


def advice(name: str) -> str:
    """Return what helps whoever writes a flag that does not exist; empty: nothing special."""
    return _ADVICE.get(_stem(name), "")


def distance(first: str, second: str) -> int:
    """Count the insertions, deletions, changes and swaps of neighbours between two words."""
    before: list[int] = []
    last = list(range(len(second) + 1))
    for i, ours in enumerate(first, 1):
        row = [i]
        for j, theirs in enumerate(second, 1):
            cost = min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (ours != theirs))
            if i > 1 and j > 1 and ours == second[j - 2] and first[i - 2] == theirs:
                cost = min(cost, before[j - 2] + 1)
            row.append(cost)
        before, last = last, row
    return last[-1]


def _stem(name: str) -> str:
    """Return what is left of a name when nothing counts that people do not see or mind."""
    if len(name) > _LONGEST:
        return ""
    plain = unicodedata.normalize("NFKC", name.partition("=")[0])
    visible = (c for c in plain if not unicodedata.category(c).startswith(("C", "Z")))
    word = "".join("-" if c in _DASHES else c for c in visible)
    return word.strip("-").lower().replace("_", "-")


def _by_distance(stem: str, stems: Mapping[str, str]) -> str | None:
    limit = min(3, max(1, len(stem) // 3))
    if len(stem) < len("ser"):
        return None
    best: tuple[int, int, str] | None = None
    for known, name in stems.items():
        if abs(len(known) - len(stem)) > limit:
            continue
        errors = distance(stem, known)
        likely = _LIKELY.index(name) if name in _LIKELY else len(_LIKELY)
        if errors <= limit and (best is None or (errors, likely, name) < best):
            best = (errors, likely, name)
    return best[2] if best else None


def _order(version: str) -> tuple[int, ...]:
    return key(version) or ()


@functools.cache
def _table() -> _Table:
    data = Path(__file__).with_name("flags.json").read_bytes()
    return msgspec.json.decode(data, type=_Table)


@functools.cache
def _flags(version: str) -> Mapping[str, Flag]:
    ours = _order(version)
    found: dict[str, Flag] = {}
    for flag in _table().flags:
        if _order(flag.since) <= ours <= _order(flag.until):
            found |= dict.fromkeys((flag.name, *flag.aliases), flag)
    return MappingProxyType(found)


@functools.cache
def _commands(version: str) -> frozenset[str]:
    ours = _order(version)
    return frozenset(
        command.name
        for command in _table().commands
        if _order(command.since) <= ours <= _order(command.until)
    )
