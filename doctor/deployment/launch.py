"""The launch command of a Copilot CLI, as data: its flags, and what the CLI makes of them.

`parse` reads the words after the program the way the parser of a version does;
`parse_command_line` also finds the program.
What could be a secret is hidden before it enters a `LaunchCommand`.
"""

import re
import shlex
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Final, Literal

import msgspec

from doctor.behaviour import facts
from doctor.behaviour.flags import (
    ALLOW_ALL,
    ALLOW_ALL_TOOLS,
    SERVER_FLAGS,
    Flag,
    distance,
    flags_of,
    nearest,
    tested,
)
from doctor.behaviour.parsers import Given, Reading, integer, read
from doctor.behaviour.versions import ByVersion
from doctor.deployment.program import package_version, split_program
from doctor.redaction import hidden, is_secret_name, outside

__all__ = [
    "LaunchCommand",
    "Mode",
    "Option",
    "parse",
    "parse_command_line",
    "shell_line",
    "split_program",
]

Mode = Literal[
    "server",
    "headless",
    "stdio",
    "acp",
    "acp-stdio",
    "ahp-host",
    "interactive",
    "prompt",
    "ui-server",
    "subcommand",
    "help",
    "unknown",
]
"""What a command line becomes: a TCP server for SDK clients (``server``, ``headless``), a server on
standard input and output (``stdio``), a server of another protocol (``acp``, ``acp-stdio``,
``ahp-host``), a session for a person (``interactive``, ``prompt``, ``ui-server``),
or something that ends by itself (``subcommand``, ``help``)."""

Clean = Callable[[str], str]
"""Takes secrets and control characters out of a text (`doctor.redaction.outside`)."""

Environment = Literal["posix", "powershell"]

_MOST_WORDS: Final = 1_000
_MOST_CHARACTERS: Final = 262_144
_SCANNED: Final = 8_192
_LONGEST_KEPT: Final = 1_000
_HIGHEST_PORT: Final = 65_535
_ASSIGNED: Final = re.compile(r"(?P<name>[A-Za-z_]\w*)=(?P<value>.+)", re.DOTALL)
_JSON_FLAGS: Final = frozenset({"--additional-mcp-config"})
_PLAIN_NUMBER: Final = re.compile(r"\s*\+?0*(?P<digits>[0-9]+)\s*")

_NODE_RANGE: Final = (
    "Failed to start server: RangeError [ERR_SOCKET_BAD_PORT]: options.port should be "
    ">= 0 and < 65536. Received type number (PORT)."
)
_RUST_RANGE: Final = "Failed to start server: Error: port must be between 0 and 65535"
_OUT_OF_RANGE: Final = ByVersion(
    (("0.0.400", "1.0.64", _NODE_RANGE), ("1.0.73", "1.0.102", _RUST_RANGE))
)
_STDIO_AND_PORT: Final = (
    "Cannot specify both --stdio and --port. Use --stdio for pipe communication or --port for TCP."
)
_ACP_STDIO_AND_PORT: Final = "Cannot specify both --stdio and --port for ACP mode."
_ACP_PORT_ZERO: Final = (
    "Failed to start ACP server: Error: ACP mode takes either stdio or a TCP host and port, "
    "not both"
)
_SERVER_AND_UI: Final = (
    "Cannot use --server/--headless with --ui-server. Use --server or --headless for headless "
    "mode, or --ui-server for TUI + server mode."
)
_UI_AND_STDIO: Final = (
    "Cannot use --stdio with --ui-server. Use --server --stdio for headless stdio mode."
)
_TWO_PROMPTS: Final = (
    "Cannot specify prompt both with --interactive and --prompt flags. Please use only one."
)
_BARE_RESUME: Final = (
    "--resume without a session ID is not supported in server mode. "
    "Specify a session ID: --resume=<session-id>"
)
_ATTACHMENT: Final = (
    "--attachment is only supported in non-interactive prompt mode (-p/--prompt or piped stdin). "
    "It is not honored by --server, --headless, --acp, or interactive mode."
)
_MANAGED_ALONE: Final = "--managed-server requires --server (or --headless)."
_REJECTS_BARE_RESUME: Final = ByVersion((("0.0.400", "1.0.11", False), ("1.0.63", "1.0.102", True)))
_EMPTY_HOST: Final = ByVersion((("1.0.32", "1.0.64", "::"), ("1.0.73", "1.0.102", "")))
"""The address that ``--host ""`` listens on: every interface, then none (the start ends)."""
_NO_SUCH_HOST: Final = ByVersion(
    (
        ("1.0.32", "1.0.64", "Failed to start server: Error: getaddrinfo ENOTFOUND {}"),
        (
            "1.0.73",
            "1.0.102",
            (
                "Failed to start server: Error: failed to lookup address information: "
                "Name or service not known"
            ),
        ),
    )
)
"""What a server prints about a ``--host`` that is no address (observed on Linux)."""
_REJECTS_ACP_PORT_ZERO: Final = ByVersion(
    (("0.0.400", "1.0.81", False), ("1.0.92", "1.0.102", True))
)


class Option(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One flag of a command line, or one that does not exist.

    Attributes:
        name: The flag's own name (``--prompt`` for ``-p``); for an unknown one as it was written.
        text: As written, one or more words.
        value: Its value, for a variadic flag the last one; None where it has none.
        values: All its values.
        index: Where it starts among the arguments; flags of one cluster (``-sp hi``) share it.
        words: How many arguments belong to it.
        known: Whether the version has this flag.
        problem: What is wrong: ``unknown``, ``missing-value``, ``unwanted-value``, ``bad-choice``,
            ``bad-number`` (no number, or one with something behind it), ``out-of-range``,
            ``repeated`` (the parser loses the value), ``swallows-flag`` (its value is a flag),
            ``bad-host``, ``conflict`` and ``contradiction`` (with another flag),
            ``missing-flag`` (it needs another one), ``ignored`` (next to another flag).
        message: The first line that the CLI prints about it; empty: it says nothing.
        suggestion: What to write instead: a flag for an unknown one, else a value.
        is_fatal: Whether the CLI ends with exit code 1 over it.
    """

    name: str
    text: str
    value: str | None = None
    values: tuple[str, ...] = ()
    index: int
    words: int = 1
    known: bool = True
    problem: str = ""
    message: str = ""
    suggestion: str | None = None
    is_fatal: bool = False


class LaunchCommand(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A command line that starts Copilot.

    Attributes:
        program: The words up to and with the program.
        arguments: The words after it, secrets hidden.
        options: The flags in their order.
        positionals: Words that belong to no flag.
        mode: What it becomes; a server that ends over an error still counts as one.
        subcommand: ``mcp``, ``login``, …
        port: The port it will listen on; None for a random one or none at all.
        port_text: The value of ``--port`` as written; None where it is not given.
        port_choice: ``given``; ``random`` (no port, 0, or a value that gives no number);
            ``invalid``: the start ends over it.
        host: The value of ``--host``; None where it is not given.
        rejection: The first line of the message with which the CLI ends instead of starting,
            as far as the command line alone decides it; empty: it starts.
        version: The tested version whose rules were applied.
        omitted: How many further words there were (only the first ones are kept).
    """

    program: tuple[str, ...] = ("copilot",)
    arguments: tuple[str, ...] = ()
    options: tuple[Option, ...] = ()
    positionals: tuple[str, ...] = ()
    mode: Mode = "unknown"
    subcommand: str = ""
    port: int | None = None
    port_text: str | None = None
    port_choice: Literal["given", "random", "invalid"] = "random"
    host: str | None = None
    rejection: str = ""
    version: str = ""
    omitted: int = 0

    @property
    def is_tcp_server(self) -> bool:
        """Whether it is a server that SDK clients reach over TCP."""
        return self.mode in {"server", "headless"}

    @property
    def bind_address(self) -> str | None:
        """The address that a TCP server of `version` listens on: ``*`` or ``::`` for every one.

        None where it is no TCP server, where it does not start, or where it is not known.
        """
        if not self.is_tcp_server or self.rejection:
            return None
        if self.host is None:
            return facts.DEFAULT_BIND.at(self.version).value
        if not self.host:
            return _EMPTY_HOST.at(self.version).value or None
        return "0.0.0.0" if self.host == "0" else self.host  # noqa: S104 - reported, not bound

    @property
    def problems(self) -> tuple[Option, ...]:
        """The flags with which something is wrong."""
        return tuple(option for option in self.options if option.problem)

    @property
    def package_version(self) -> str | None:
        """The version that ``npx @github/copilot@1.0.63`` asks for."""
        return package_version(self.program)

    @property
    def allows_all_tools(self) -> bool:
        """Whether every tool call is approved, in the CLI's own sessions (not an SDK client's)."""
        return any(self.has(name) for name in ALLOW_ALL_TOOLS)

    @property
    def allows_all(self) -> bool:
        """Whether tools, paths and URLs are all approved, in the CLI's own sessions."""
        each = ("--allow-all-tools", "--allow-all-paths", "--allow-all-urls")
        return any(self.has(name) for name in ALLOW_ALL) or all(self.has(name) for name in each)

    @property
    def log_level(self) -> str | None:
        """The value of ``--log-level``."""
        return self.value("--log-level")

    @property
    def log_dir(self) -> str | None:
        """The value of ``--log-dir``."""
        return self.value("--log-dir")

    @property
    def auth_token_env(self) -> str | None:
        """The name of the variable that ``--auth-token-env`` takes the GitHub token from."""
        return self.value("--auth-token-env")

    @property
    def auto_login(self) -> bool:
        """Whether the token variables and the stored login are used."""
        return not self.has("--no-auto-login")

    @property
    def auto_update(self) -> bool:
        """Whether ``--no-auto-update`` is absent (the environment can switch it off, too)."""
        return not self.has("--no-auto-update")

    @property
    def working_directory(self) -> str | None:
        """The value of ``-C``."""
        return self.value("-C")

    def option(self, name: str) -> Option | None:
        """Return the last occurrence of a flag, by any of its spellings."""
        wanted = self._canonical(name)
        return next((o for o in reversed(self.options) if o.name == wanted), None)

    def has(self, name: str) -> bool:
        """Whether a flag is given, by any of its spellings, and the version knows it."""
        option = self.option(name)
        return option is not None and option.known

    def value(self, name: str) -> str | None:
        """Return the value of a flag: of its last occurrence, which is the one that counts."""
        option = self.option(name)
        return None if option is None else option.value

    def values(self, name: str) -> tuple[str, ...]:
        """Return all values of a flag, of all its occurrences."""
        wanted = self._canonical(name)
        return tuple(v for o in self.options if o.name == wanted for v in o.values)

    def rewritten(
        self,
        *,
        add: Sequence[str] = (),
        drop: Collection[str] = (),
        replace: Mapping[str, str] | None = None,
        rename: Mapping[str, str] | None = None,
    ) -> tuple[str, ...]:
        """Return the whole command line with changes, for printing.

        Args:
            add: Words to append; they go before a ``--``.
            drop: Flags to leave out, with their values.
            replace: Flags to give another value. Of several occurrences one stays;
                a flag that is not there is appended.
            rename: Flags to spell otherwise, their values stay: ``{"--bind": "--host"}``.
        """
        dropped = {self._canonical(name) for name in drop}
        values = {self._canonical(name): value for name, value in (replace or {}).items()}
        names = dict(rename or {})
        groups: dict[int, list[Option]] = {}
        for option in self.options:
            groups.setdefault(option.index, []).append(option)
        extra = list(add)
        words: list[str] = []
        done: set[str] = set()
        at = 0
        while at < len(self.arguments):
            group = groups.get(at)
            if group is None:
                if self.arguments[at] == "--":
                    break
                words.append(self.arguments[at])
                at += 1
                continue
            end = at + max(option.words for option in group)
            touched = dropped | values.keys() | names.keys()
            if any(option.name in touched for option in group):
                for option in group:
                    words += _changed(option, self.arguments[at], dropped, values, names, done=done)
            else:
                words += self.arguments[at:end]
            at = end
        for name, value in values.items():
            if name not in done:
                extra += [name, value]
        return (*self.program, *words, *extra, *self.arguments[at:])

    def _canonical(self, name: str) -> str:
        flag = flags_of(self.version).get(name)
        return flag.name if flag else name


def parse(
    argv: Sequence[str],
    version: str | None = None,
    *,
    program: Sequence[str] = ("copilot",),
    clean: Clean | None = None,
) -> LaunchCommand:
    """Read the words after the program as a version of the CLI does.

    Args:
        argv: The arguments; of very many or very long ones only the first are kept.
        version: Of the CLI; None: the newest tested one.
        program: The words in front of the arguments, for `LaunchCommand.rewritten`.
        clean: Takes out what must not be kept; a `doctor.redaction.Vault` knows more secrets
            than the default, which goes by shape and name.
    """
    cleaned = clean or partial(outside, limit=_LONGEST_KEPT)
    words = _bounded(argv)
    reading = read(words, version)
    options = [_Draft(item) for item in reading.given]
    _hide(options, words, cleaned)
    mode = _mode(reading)
    _judge_values(options, version)
    port, port_choice = _port(reading, options, mode, version)
    _judge_together(reading, options, mode, version)
    last_port, host = reading.last("--port"), reading.last("--host")
    drafts = {id(draft.item): draft for draft in options}
    arguments = _arguments(words, options, cleaned)
    positionals = tuple(arguments[place] for place in reading.places)
    return LaunchCommand(
        program=tuple(_clean_words(program, cleaned)),
        arguments=tuple(arguments),
        options=tuple(draft.finish() for draft in options),
        positionals=positionals,
        mode=mode,
        subcommand=reading.command,
        port=port,
        port_text=drafts[id(last_port)].value if last_port else None,
        port_choice=port_choice,
        host=drafts[id(host)].value if host else None,
        rejection=_rejection(reading, options, positionals, cleaned),
        version=tested(version),
        omitted=len(argv) - len(words),
    )


def parse_command_line(
    argv: Sequence[str], version: str | None = None, *, clean: Clean | None = None
) -> LaunchCommand | None:
    """Find the Copilot program in a command line and read its arguments (`parse`).

    Args:
        argv: The whole command line, one word each, as a process has it.
        version: Of the CLI; None: the one that ``npx @github/copilot@1.0.63`` names,
            else the newest tested one.
        clean: As for `parse`.

    Returns:
        None where the command line does not start Copilot.
    """
    found = split_program(argv[:_MOST_WORDS])
    if found is None:
        return None
    program, arguments = found
    rest = [*arguments, *argv[_MOST_WORDS:]]
    return parse(rest, version or package_version(program), program=program, clean=clean)


def shell_line(argv: Sequence[str], shell: Environment | None = None) -> str:
    """Quote the words of a command line for pasting.

    Args:
        argv: The words.
        shell: None: PowerShell on Windows, a POSIX shell elsewhere.
    """
    if (shell or ("powershell" if sys.platform == "win32" else "posix")) == "posix":
        return shlex.join(argv)
    quoted = [w if re.fullmatch(r"[\w./:\\=+-]+", w) else _powershell(w) for w in argv]
    return ("& " if quoted and quoted[0].startswith("'") else "") + " ".join(quoted)


class _Draft:
    """An option in the making."""

    __slots__ = ("item", "message", "problem", "suggestion", "text", "values")

    def __init__(self, item: Given) -> None:
        self.item = item
        self.problem: str = item.problem
        self.message = item.message
        self.suggestion: str | None = None
        self.values: list[str] = []
        self.text = ""

    @property
    def value(self) -> str | None:
        return self.values[-1] if self.values else None

    def note(self, problem: str, message: str = "", suggestion: str | None = None) -> None:
        """Note what is wrong, unless something worse is known already."""
        if not self.problem:
            self.problem, self.message = problem, message
            self.item.is_fatal = bool(message)
        if suggestion is not None:
            self.suggestion = suggestion

    def finish(self) -> Option:
        return Option(
            name=self.item.name if self.item.flag else self.text.partition("=")[0],
            text=self.text,
            value=self.value,
            values=tuple(self.values),
            index=self.item.index,
            words=self.item.words,
            known=self.item.flag is not None,
            problem=self.problem,
            message=self.message,
            suggestion=self.suggestion,
            is_fatal=self.item.is_fatal,
        )


def _bounded(argv: Sequence[str]) -> list[str]:
    words: list[str] = []
    characters = 0
    for word in argv[:_MOST_WORDS]:
        characters += min(len(word), _SCANNED)
        if characters > _MOST_CHARACTERS:
            break
        words.append(word)
    return words


# --- secrets -------------------------------------------------------------------------------------


def _hide(options: Sequence[_Draft], words: Sequence[str], clean: Clean) -> None:
    """Give every option its values and its text without secrets."""
    for draft in options:
        item = draft.item
        draft.values = [_clean_value(item.name, value, clean) for value in item.values]
        if item.is_attached:
            joint = "=" if item.written.startswith("--") else ""
            name = clean(item.written) if item.flag is None else item.written
            draft.text = name + joint + (draft.values[0] if draft.values else "")
        else:
            first = clean(words[item.index]) if item.flag is None else item.written
            draft.text = " ".join([first, *draft.values])
        if item.problem:
            draft.message = _clean_message(item, clean)


def _clean_value(name: str, value: str, clean: Clean) -> str:
    if not value:
        return ""
    if is_secret_name(name):
        return hidden(value)
    if name in _JSON_FLAGS and value.lstrip().startswith(("{", "[")):
        return hidden(value)
    assigned = _ASSIGNED.fullmatch(value)
    if assigned and is_secret_name(assigned["name"]):
        return f"{assigned['name']}={hidden(assigned['value'])}"
    return clean(value)


def _clean_message(item: Given, clean: Clean) -> str:
    """Repeat the parser's objection with the values hidden as everywhere else."""
    message = item.message
    for value in item.values:
        if value:
            message = message.replace(value, _clean_value(item.name, value, clean))
    return clean(message)


def _clean_words(words: Sequence[str], clean: Clean) -> list[str]:
    """Clean words of which the flags are not known: a secret may follow its flag's name."""
    safe: list[str] = []
    name = ""
    for word in words:
        if name and not word.startswith("-"):
            safe.append(hidden(word))
            name = ""
            continue
        flag, has_value, value = word.partition("=")
        name = flag if flag.startswith("-") and not has_value and is_secret_name(flag) else ""
        if has_value and flag.startswith("-"):
            safe.append(f"{clean(flag)}={_clean_value(flag, value, clean)}")
        else:
            safe.append(_clean_value("", word, clean))
    return safe


def _arguments(words: Sequence[str], options: Sequence[_Draft], clean: Clean) -> list[str]:
    """Return the words as they may be kept."""
    safe = _clean_words(words, clean)
    clusters: dict[int, list[_Draft]] = {}
    for draft in options:
        clusters.setdefault(draft.item.index, []).append(draft)
    for index, drafts in clusters.items():
        last = drafts[-1]
        if last.item.flag is None:
            continue
        if last.item.is_attached and last.values:
            letters = "".join(d.item.written[1:] for d in drafts)
            cluster = f"-{letters}{last.values[0]}"
            safe[index] = last.text if last.item.written.startswith("--") else cluster
        elif not last.item.is_attached:
            safe[index] = words[index]
            for offset, value in enumerate(last.values, 1):
                safe[index + offset] = value
    return safe


# --- what it becomes -----------------------------------------------------------------------------


def _mode(reading: Reading) -> Mode:
    given = {item.name for item in reading.given if item.flag is not None}
    if reading.command:
        return "subcommand"
    if reading.prints or "--print-debug-info" in given:
        return "help"
    if given & SERVER_FLAGS:
        if "--stdio" in given:
            return "stdio"
        return "server" if "--server" in given else "headless"
    if given & {"--ahp-host", "--environment-host"}:
        return "ahp-host"
    if "--acp" in given:
        return "acp" if _port_number(reading) else "acp-stdio"
    if "--ui-server" in given:
        return "ui-server"
    return "prompt" if "--prompt" in given else "interactive"


def _port_number(reading: Reading) -> int | None:
    ports = [item for item in reading.given if item.name == "--port" and item.flag is not None]
    texts = [value for item in ports for value in item.values]
    return integer(texts, ports[-1].flag) if ports else None


def _port(
    reading: Reading, options: Sequence[_Draft], mode: Mode, version: str | None
) -> tuple[int | None, Literal["given", "random", "invalid"]]:
    """Return the port that the server gets, and judge what is written of it."""
    ports = [draft for draft in options if draft.item.name == "--port" and draft.item.flag]
    if not ports:
        return None, "random"
    last = ports[-1]
    number = _port_number(reading)
    if any(draft.item.is_fatal for draft in ports):
        return None, "invalid"
    text = last.item.values[-1] if last.item.values else ""
    plain = _PLAIN_NUMBER.fullmatch(text)
    expected = int(plain["digits"][:20]) if plain else None
    if number is None:
        last.note("repeated" if expected is not None else "bad-number")
        return None, "random"
    if not 0 <= number <= _HIGHEST_PORT:
        message = ""
        if mode in {"server", "headless"}:
            known = _OUT_OF_RANGE.at(tested(version)).value or ""
            message = known.replace("(PORT)", f"({number})")
        last.note("out-of-range", message)
        return None, "invalid"
    if expected is None:
        last.note("bad-number", suggestion=str(number) if number else None)
    elif expected != number:
        last.note("repeated")
    return (number, "given") if number else (None, "random")


# --- what is wrong -------------------------------------------------------------------------------


def _judge_values(options: Sequence[_Draft], version: str | None) -> None:
    flags = flags_of(version)
    for draft in options:
        item = draft.item
        if item.flag is None:
            draft.suggestion = nearest(item.written, version)
            continue
        if item.problem == "bad-choice" and item.values:
            draft.suggestion = _nearest_choice(item.values[-1], item.flag)
        elif item.problem == "unwanted-value":
            draft.suggestion = item.name
        if item.flag.arity == "value" and not item.is_attached and item.values:
            swallowed = item.values[0].partition("=")[0]
            if swallowed.startswith("-") and swallowed in flags:
                draft.note("swallows-flag")
        if item.name == "--host" and not item.problem and item.values:
            _judge_host(draft, item.values[0], version)


def _judge_host(draft: _Draft, host: str, version: str | None) -> None:
    """Judge the forms that a server cannot listen on (observed on 1.0.63 and 1.0.102)."""
    bare = host.strip()
    suggestion: str | None = None
    if not bare:
        suggestion = "127.0.0.1"
    elif "://" in bare:
        suggestion = _without_port(bare.partition("://")[2].partition("/")[0])
    elif bare == "*":
        suggestion = "0.0.0.0"  # noqa: S104 - suggested, not bound
    elif bare.startswith("[") or (bare.count(":") == 1 and bare.rpartition(":")[2].isdecimal()):
        suggestion = _without_port(bare)
    elif bare != host:
        suggestion = bare
    if suggestion is None:
        return
    message = ""
    if host or _EMPTY_HOST.at(tested(version)).value == "":
        message = (_NO_SUCH_HOST.at(tested(version)).value or "").format(draft.value)
    draft.note("bad-host", message, suggestion)


def _judge_together(
    reading: Reading, options: Sequence[_Draft], mode: Mode, version: str | None
) -> None:
    """Note what the CLI says about flags that do not go together, after its parser is done."""
    if reading.command or reading.prints:
        return
    last = {draft.item.name: draft for draft in options if draft.item.flag is not None}
    number = _port_number(reading)
    is_server = mode in {"server", "headless", "stdio"}
    is_acp = mode in {"acp", "acp-stdio"}
    rejected = {
        "--interactive": ("--prompt" in last, _TWO_PROMPTS),
        "--ui-server": (is_server, _SERVER_AND_UI),
        "--managed-server": (not is_server, _MANAGED_ALONE),
        "--attachment": (is_server or is_acp, _ATTACHMENT),
        "--resume": (
            is_server
            and "--resume" in last
            and not last["--resume"].item.values
            and _REJECTS_BARE_RESUME.at(tested(version)).value is True,
            _BARE_RESUME,
        ),
        "--port": (
            mode == "acp-stdio"
            and number == 0
            and "--stdio" not in last
            and _REJECTS_ACP_PORT_ZERO.at(tested(version)).value is True,
            _ACP_PORT_ZERO,
        ),
    }
    for name, (applies, message) in rejected.items():
        if applies and name in last:
            last[name].note("contradiction", message)
    if "--stdio" in last:
        if is_server and number:
            last["--stdio"].note("contradiction", _STDIO_AND_PORT)
        elif is_acp and number:
            last["--stdio"].note("contradiction", _ACP_STDIO_AND_PORT)
        elif mode == "ui-server":
            last["--stdio"].note("contradiction", _UI_AND_STDIO)
    for name, suggestion in _ignored_flags(mode).items():
        if name in last:
            last[name].note("ignored", suggestion=suggestion)


def _ignored_flags(mode: Mode) -> dict[str, str | None]:
    """Return the flags that do nothing in a mode, and the one that would give them a meaning."""
    ignored: dict[str, str | None] = {} if mode == "ahp-host" else {"--listen": "--host"}
    if mode in {"server", "headless", "stdio"}:
        ignored |= {"--acp": None, "--prompt": None, "--interactive": None}
    if mode == "stdio":
        ignored |= {"--host": None}
    if mode in {"interactive", "prompt"}:
        ignored |= {"--port": "--server", "--host": "--server", "--stdio": "--server"}
    return ignored


def _rejection(
    reading: Reading, options: Sequence[_Draft], positionals: Sequence[str], clean: Clean
) -> str:
    """Return what the CLI prints when it ends: its parser speaks first."""
    if reading.prints or reading.command:
        return ""
    if reading.error:
        first = next((d for d in options if d.item.message == reading.error), None)
        if first is not None:
            return first.message
        message = reading.error
        for word, safe in zip(reading.operands, positionals, strict=True):
            if len(word) > len("x"):
                message = message.replace(word, safe)
        return clean(message)
    fatal = [draft for draft in options if draft.item.is_fatal and draft.message]
    late = [draft for draft in fatal if draft.problem == "out-of-range"]
    return next((draft.message for draft in fatal if draft not in late), "") or (
        late[0].message if late else ""
    )


def _nearest_choice(value: str, flag: Flag) -> str | None:
    lowered = value.lower()
    known = {"verbose": "debug", "trace": "debug", "warn": "warning", "off": "none", "true": "on"}
    for candidate in (lowered, known.get(lowered, "")):
        if candidate in flag.choices:
            return candidate
    begins = [choice for choice in flag.choices if lowered and choice.startswith(lowered)]
    if begins:
        return begins[0]
    ranked = sorted((distance(lowered[:40], choice), choice) for choice in flag.choices)
    return ranked[0][1] if ranked and ranked[0][0] <= max(1, len(lowered) // 3) else None


def _without_port(name: str) -> str:
    if name.startswith("["):
        return name[1:].partition("]")[0]
    return name.rpartition(":")[0] if name.count(":") == 1 else name


# --- writing -------------------------------------------------------------------------------------


def _changed(
    option: Option,
    first: str,
    dropped: Collection[str],
    values: Mapping[str, str],
    names: Mapping[str, str],
    *,
    done: set[str],
) -> list[str]:
    if option.name in dropped or option.name in done:
        return []
    is_long = first.startswith("--")
    written = first.partition("=")[0] if is_long else option.name
    written = names.get(option.name, written)
    is_attached = is_long and "=" in first
    if option.name in values:
        done.add(option.name)
        value = values[option.name]
        return [f"{written}={value}"] if is_attached else [written, value]
    if is_attached:
        return [f"{written}={option.value or ''}"]
    return [written, *option.values]


def _powershell(word: str) -> str:
    return "'" + word.replace("'", "''") + "'"
