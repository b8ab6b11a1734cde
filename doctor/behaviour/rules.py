"""Permission rules of the CLI (``--allow-tool``, ``--deny-tool``, ``--allow-url``, ``--deny-url``).

What they match was observed with real CLIs in ``-p`` mode, where they count: `OBSERVED`.
For the sessions of SDK clients none of them counts, on any tested version,
and a server does not even read them: a malformed rule stops every other mode, but not a server.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Final, Literal

import msgspec

from doctor.behaviour.versions import ByVersion, at_most

Flag = Literal["--allow-tool", "--deny-tool", "--allow-url", "--deny-url"]

_BOTH: Final = ("1.0.63", "1.0.102")

KINDS: Final = frozenset({"shell", "write", "read", "url", "memory"})
"""Kinds with a meaning of their own; every other one is taken for the name of an MCP server."""

TWO_WORDS: Final = frozenset(
    {
        *("bundle", "cabal", "cargo", "composer", "conda", "dotnet", "flutter", "gh", "git"),
        *("glab", "go", "gradle", "gradlew", "mix", "mvn", "npm", "npx", "pip", "pipenv"),
        *("pnpm", "poetry", "sbt", "stack", "swift", "yarn"),
    }
)
"""Programs of which the first two words are the command that a rule is compared with.

``shell(git)`` is then ``git`` without a subcommand, ``shell(git push)`` is every ``git push …``.
Of every other program the command is its first word alone (observed on 1.0.63 and 1.0.102:
these 25 so, ``docker``, ``kubectl``, ``python3``, ``make``, ``pip3`` and 16 more otherwise).
"""

# What people write for a kind, and the kind that they mean.
_TOOL_NAMES: Final = {
    "bash": "shell",
    "powershell": "shell",
    "terminal": "shell",
    "execute": "shell",
    "run": "shell",
    "run_in_terminal": "shell",
    "create": "write",
    "edit": "write",
    "str_replace_editor": "write",
    "apply_patch": "write",
    "write_file": "write",
    "view": "read",
    "read_file": "read",
    "glob": "read",
    "grep": "read",
    "web_fetch": "url",
    "fetch": "url",
    "webfetch": "url",
    "store_memory": "memory",
}
_BUILT_IN_TOOLS: Final = {"shell": "bash", "write": "create", "read": "view", "url": "web_fetch"}

_RULE: Final = re.compile(r"(?P<kind>[a-zA-Z0-9_./@-]+)(?:\((?P<argument>[^)]+)\))?")
_SCHEME: Final = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://")
_QUOTES: Final = "\"'`"
_MOST_RULES: Final = 1_000
_LONGEST_RULE: Final = 2_000

MALFORMED: Final = ByVersion(
    (
        ("0.0.400", "1.0.64", ""),
        ("1.0.73", "1.0.102", "Invalid FLAG value. Error: Invalid rule format: RULE"),
    )
)
"""What the CLI prints about a malformed rule before it ends with exit code 1, a server excepted.

Nothing at all up to 1.0.64 (observed on every version whose flags were recorded up to 1.0.73).
"""


class Rule(msgspec.Struct, frozen=True):
    """A permission rule, ``kind(argument)`` or ``kind``."""

    kind: str
    argument: str | None = None

    def __str__(self) -> str:
        """Write it as the CLI reads it."""
        return self.kind if self.argument is None else f"{self.kind}({self.argument})"


class RuleProblem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Something that a rule does not do as it reads.

    Attributes:
        rule: As written.
        flag: The flag that it was given with.
        code: ``malformed``, ``bare-command``, ``wildcard``, ``never-matches``, ``white-space``,
            ``quotes``, ``tool-name``, ``letter-case``, ``denied``, ``redundant``, ``https-only``,
            ``url-port``, ``bypass``, ``nothing`` (a flag without a rule), ``kind-for-tool``.
        message: What the rule really does, one sentence.
        better: What to write instead; None where that cannot be told.
        observed: The versions on which this was reproduced.
    """

    rule: str
    flag: str
    code: str
    message: str
    better: str | None = None
    observed: tuple[str, ...] = ()


class Observation(msgspec.Struct, frozen=True):
    """One run of the real CLI: rules, and the commands that ran or were refused with them."""

    flags: tuple[str, ...]
    ran: tuple[str, ...]
    refused: tuple[str, ...]
    versions: tuple[str, ...] = _BOTH


_PUSH: Final = ("git push", "git push origin main")

OBSERVED: Final[tuple[Observation, ...]] = (
    Observation((), ("git", "git status"), ("git push", "gitea x", "touch f1", "npm run test")),
    Observation(
        ("--allow-tool=shell",), (*_PUSH, "gitea x", "touch f1"), ("git commit -m x > out.txt",)
    ),
    Observation(("--allow-tool=shell(git)",), ("git",), (*_PUSH, "git -C . log", "gitea x")),
    Observation(
        ("--allow-tool=shell(git:*)",),
        (*_PUSH, "git pushx", "git -C . log", "FOO=1 git fetch"),
        ("gitea x", "touch f2 && git commit -m x", 'bash -c "git fetch"', "env git fetch"),
    ),
    Observation(("--allow-tool=shell(git push)",), _PUSH, ("git pushx", "git -C . log")),
    Observation(("--allow-tool=shell(git push:*)",), _PUSH, ("git pushx", "git -C . log")),
    Observation(("--allow-tool=shell(git *)",), (), _PUSH),
    Observation(("--allow-tool=shell(git*)",), (), _PUSH),
    Observation(("--allow-tool=shell(*)",), (), (*_PUSH, "touch f1")),
    Observation(("--allow-tool=shell(:*)",), (), (*_PUSH, "touch f1")),
    Observation(("--allow-tool=bash",), (), (*_PUSH, "touch f1")),
    Observation(("--allow-tool=bash(git:*)",), (), _PUSH),
    Observation(("--allow-tool=Shell(git:*)",), (), _PUSH),
    Observation(("--allow-tool=shell(GIT:*)",), (), _PUSH),
    Observation(("--allow-tool=shell(touch)",), ("touch f1",), ("touch f2 && git commit -m x",)),
    Observation(("--allow-tool=shell(touch:*)",), ("touch f1",), ("git push",)),
    Observation(("--allow-tool=shell(touch f1)",), (), ("touch f1",)),
    Observation(("--allow-tool=shell(npm:*)",), ("npm run test", "npm run test:unit"), ()),
    Observation(("--allow-tool=shell(npm run test:*)",), (), ("npm run test", "npm run test:unit")),
    Observation(("--allow-tool=shell(npm run test)",), (), ("npm run test",)),
    Observation(("--allow-tool=shell(git: *)",), (), _PUSH),
    Observation(("--allow-tool=shell( git:*)",), (), _PUSH),
    Observation(("--allow-tool=shell(git :*)",), (), _PUSH),
    Observation(("--allow-tool=shell(git:*) ",), _PUSH, ("gitea x",)),
    Observation(('--allow-tool=shell("git:*")',), (), _PUSH),
    Observation(("--allow-tool=shell(git push origin main)",), (), _PUSH),
    Observation(("--allow-tool=write",), ("create new.txt",), ("touch f1",)),
    Observation(("--allow-tool=write(new.txt)",), ("create new.txt",), ("touch f1",)),
    Observation(("--allow-tool=write(other.txt)",), (), ("create new.txt",)),
    Observation(("--allow-tool=write(*)",), (), ("create new.txt",), ("1.0.63",)),
    Observation(("--allow-tool=write(*)",), ("create new.txt",), (), ("1.0.102",)),
    Observation(("--allow-tool=create",), (), ("create new.txt",)),
    Observation(("--allow-tool=read",), (), ("view /etc/hostname",)),
    Observation(
        ("--allow-tool=shell(git:*)", "--deny-tool=shell(git push)"),
        ("git pushx", "git -C . log"),
        _PUSH,
    ),
    Observation(
        ("--allow-all-tools", "--deny-tool=shell(git:*)"),
        ('bash -c "git fetch"', "env git fetch", "gitea x"),
        ("git status", *_PUSH, "git -C . log", "FOO=1 git fetch"),
    ),
    Observation(("--allow-all-tools", "--deny-tool=shell(git)"), _PUSH, ("git",)),
    Observation(("--allow-all-tools", "--deny-tool=bash"), _PUSH, ()),
    Observation(("--allow-all-tools", "--deny-tool=write"), ("git commit -m x > out.txt",), ()),
    Observation(("--allow-tool=shell(git push)", "--deny-tool=shell(git:*)"), (), _PUSH),
    Observation(("--allow-tool=shell(git:*),shell(touch:*)",), (*_PUSH, "touch f1"), ()),
    Observation(("--allow-tool",), (), _PUSH),
)
"""Runs of the real CLI in ``-p`` mode with a model that asked for each command.

``git`` and ``git status`` run without any rule: they only read.
"""

BYPASSES: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    ("git -C . push", ("1.0.63",)),
    ("git -c a=b push", ("1.0.63",)),
    ("command git push", _BOTH),
    ('bash -c "git push"', _BOTH),
    ('eval "git push"', _BOTH),
    ("nohup git push", _BOTH),
    ('"git" push', _BOTH),
)
"""What ran under ``--allow-all-tools --deny-tool=shell(git push)``, and on which versions."""


def split_values(values: Iterable[str], version: str | None = None) -> list[str]:
    """Return the rules in the values of a flag.

    Commas outside of parentheses separate (observed on 1.0.11 … 1.0.102);
    0.0.400 and 1.0.2 take each value for one rule.
    """
    if at_most(version, "1.0.2"):
        return [value for value in values if value][:_MOST_RULES]
    rules: list[str] = []
    for value in values:
        depth, piece = 0, ""
        for character in value[: _LONGEST_RULE * 10]:
            depth += {"(": 1, ")": -1}.get(character, 0)
            if character == "," and depth == 0:
                rules.append(piece.strip())
                piece = ""
            else:
                piece += character
        rules.append(piece.strip())
    return [rule for rule in rules if rule][:_MOST_RULES]


def parse_rule(text: str) -> Rule | None:
    """Read a rule as the CLI does; None where it rejects it (the same from 1.0.2 to 1.0.102)."""
    match = _RULE.fullmatch(text)
    return Rule(match["kind"], match["argument"]) if match else None


def command_of(words: Sequence[str]) -> str:
    """Return what a ``shell`` rule is compared with, of a command's words: one or two of them.

    As up to 1.0.63: ``git -C . push`` is ``git -C`` there and ``git push`` on 1.0.102 (observed).
    """
    if not words:
        return ""
    if words[0] not in TWO_WORDS:
        return words[0]
    rest = [word for word in words[1:] if word != "--no-pager"]
    return " ".join([words[0], *rest[:1]])


def matches_command(rule: Rule, command: str) -> bool:
    """Whether a rule matches a command (`command_of`)."""
    if rule.kind != "shell":
        return False
    if rule.argument is None:
        return True
    if rule.argument.endswith(":*"):
        stem = rule.argument.removesuffix(":*")
        return command == stem or command.startswith(f"{stem} ")
    return command == rule.argument


def covers(wide: Rule, narrow: Rule) -> bool:
    """Whether everything that `narrow` matches is matched by `wide`, too."""
    if wide.kind != narrow.kind:
        return False
    if wide.argument is None or wide.argument == narrow.argument:
        return True
    if narrow.argument is None or wide.kind != "shell" or not wide.argument.endswith(":*"):
        return False
    return matches_command(wide, narrow.argument.removesuffix(":*"))


def review(
    allow: Sequence[str] = (),
    deny: Sequence[str] = (),
    *,
    allow_url: Sequence[str] = (),
    deny_url: Sequence[str] = (),
    available: Sequence[str] = (),
    excluded: Sequence[str] = (),
    allows_all_tools: bool = False,
    version: str | None = None,
) -> list[RuleProblem]:
    """Find rules that match nothing, less than they read, or nothing more than others.

    Args:
        allow: The values of ``--allow-tool``, as given (several rules in one are split).
        deny: The values of ``--deny-tool``.
        allow_url: The values of ``--allow-url``.
        deny_url: The values of ``--deny-url``.
        available: The values of ``--available-tools``.
        excluded: The values of ``--excluded-tools``.
        allows_all_tools: Whether a flag approves every tool.
        version: Of the CLI.
    """
    allowed, denied = split_values(allow, version), split_values(deny, version)
    problems: list[RuleProblem] = []
    for flag, rules in (("--allow-tool", allowed), ("--deny-tool", denied)):
        for text in rules:
            problem = _judge(text, flag, version)
            if problem is not None:
                problems.append(problem)
    problems += _judge_together(allowed, denied, allows_all_tools=allows_all_tools, version=version)
    for flag, values in (("--allow-url", allow_url), ("--deny-url", deny_url)):
        for text in split_values(values, version):
            problem = _judge_url(text, text, flag)
            if problem is not None:
                problems.append(problem)
    for flag, values in (("--available-tools", available), ("--excluded-tools", excluded)):
        problems += _judge_visible(split_values(values, version), flag)
    return problems


def malformed_message(text: str, flag: str, version: str | None) -> str:
    """Return what the CLI prints about a malformed rule; empty: nothing, or not known."""
    template = MALFORMED.at(version).value or ""
    return template.replace("FLAG", flag).replace("RULE", text)


def _judge(text: str, flag: str, version: str | None) -> RuleProblem | None:
    rule = parse_rule(text[:_LONGEST_RULE])
    if rule is None:
        return _judge_malformed(text[:_LONGEST_RULE], flag)
    by_case = rule.kind.lower()
    if rule.kind not in KINDS and by_case in KINDS:
        better = str(Rule(by_case, rule.argument))
        return _problem(text, flag, "letter-case", _NO_KIND.format(rule.kind), better)
    if rule.kind.lower() in _TOOL_NAMES:
        better = str(Rule(_TOOL_NAMES[by_case], rule.argument))
        return _problem(text, flag, "tool-name", _NO_KIND.format(rule.kind), better)
    if rule.argument is None:
        return None
    if rule.kind == "shell":
        return _judge_shell(text, rule.argument, flag)
    if rule.kind == "url":
        return _judge_url(text, rule.argument, flag)
    if rule.kind == "write" and "*" in rule.argument and at_most(version, "1.0.63"):
        wide = "write" if rule.argument in {"*", "**", "**/*"} else None
        message = "wildcards in write(…) match nothing on this version"
        return _problem(text, flag, "wildcard", message, wide, observed=("1.0.63",))
    return None


_NO_KIND: Final = "'{}' is no kind of permission: it is taken for the name of an MCP server"
_MATCHES_NOTHING: Final = "it matches no command at all"


def _judge_malformed(text: str, flag: str) -> RuleProblem:
    better: str | None = None
    bare = text.strip(_QUOTES)
    spaced = re.sub(r"\s+\(", "(", text)
    if "(" in text and ")" not in text:
        message = "the closing parenthesis is missing (was the rule quoted for the shell?)"
        better = f"{text})"
    elif bare != text and parse_rule(bare):
        message, better = "the quotes became part of the rule", bare
    elif spaced != text and parse_rule(spaced):
        message, better = "a space stands before the parenthesis", spaced
    elif text.endswith("()"):
        message, better = "the parentheses are empty", text[:-2]
    elif re.search(r"\)\s+\w", text):
        message = "rules are separated by commas, or by repeating the flag"
        better = re.sub(r"\)\s+", "),", text)
    elif re.fullmatch(r"[\w./-]+(?: [\w./-]+)*:\*|[\w./-]+(?: [\w./-]+)+", text):
        message, better = "a command is written as shell(command)", f"shell({text})"
    elif text in {"*", "**"}:
        message, better = "there is no rule for everything; a flag does that", "--allow-all-tools"
    else:
        message = "it is not of the form kind(argument)"
    if better and not better.startswith("--"):
        better = _best(better, flag)
    message = f"{message}: the CLI rejects it and ends; a server ignores it"
    return _problem(text, flag, "malformed", message, better)


def _best(text: str, flag: str) -> str | None:
    """Return rules that are well formed and with nothing left to improve; None where none are."""
    better: list[str] = []
    for rule in split_values([text]):
        if parse_rule(rule) is None:
            return None
        problem = _judge(rule, flag, None)
        better.append(problem.better if problem and problem.better else rule)
    return ",".join(better) or None


def _judge_shell(text: str, argument: str, flag: str) -> RuleProblem | None:
    is_prefix = argument.endswith(":*")
    stem = argument.removesuffix(":*")
    bare = stem.strip().strip(_QUOTES).strip()
    if bare != stem or argument.endswith(": *"):
        better = (
            f"shell({bare.removesuffix(': *')}{':*' if is_prefix or ': *' in argument else ''})"
        )
        code = "quotes" if stem.strip()[:1] in _QUOTES else "white-space"
        return _problem(text, flag, code, _MATCHES_NOTHING, better)
    if "*" in stem:
        words = stem.replace("*", " ").replace(":", " ").split()
        better = f"shell({' '.join(words[:2])}:*)" if words else "shell"
        message = f"the only wildcard is :* at the end: {_MATCHES_NOTHING}"
        return _problem(text, flag, "wildcard", message, better)
    words = stem.split()
    if not words:
        return _problem(text, flag, "never-matches", _MATCHES_NOTHING, "shell")
    program, has_colon, subcommand = stem.partition(":")
    if has_colon and program in TWO_WORDS and subcommand and not is_prefix:
        better = f"shell({program} {subcommand})"
        return _problem(text, flag, "never-matches", _MATCHES_NOTHING, better)
    command = command_of(words)
    if len(words) > len(command.split()):
        better = f"shell({command})"
        what = "the first two words" if words[0] in TWO_WORDS else "the program's name"
        does = "forbids" if flag.startswith("--deny") else "allows"
        message = (
            f"a rule is compared with {what} ('{command}'), so it never matches; "
            f"{better} does and {does} every such command"
        )
        return _problem(text, flag, "never-matches", message, better)
    if not is_prefix and words == [words[0]] and words[0] in TWO_WORDS:
        message = f"it matches '{words[0]}' without a subcommand alone"
        return _problem(text, flag, "bare-command", message, f"shell({words[0]}:*)")
    return None


def _judge_url(text: str, pattern: str, flag: str) -> RuleProblem | None:
    bare = pattern.strip()
    wrap = "url({})" if text != pattern else "{}"
    if bare in {"*", "http://*", "https://*"}:
        better = "--allow-all-urls" if flag == "--allow-url" else "url"
        return _problem(text, flag, "wildcard", "it matches no address", better)
    if not bare or bare.startswith((":", "/")) or " " in bare:
        return _problem(text, flag, "malformed", "it is no address: the CLI rejects it and ends")
    if not _SCHEME.match(bare):
        left = "http:// stays forbidden" if flag.startswith("--allow") else "http:// stays open"
        message = f"without a protocol it means https:// alone: {left}"
        return _problem(text, flag, "https-only", message, wrap.format(f"http://{bare}"))
    host = bare.partition("://")[2].partition("/")[0]
    if flag.startswith("--deny") and ":" not in host:
        message = "it matches the protocol's own port alone: the same host on another port is open"
        return _problem(text, flag, "url-port", message)
    return None


def _judge_together(
    allowed: Sequence[str],
    denied: Sequence[str],
    *,
    allows_all_tools: bool,
    version: str | None,
) -> list[RuleProblem]:
    problems: list[RuleProblem] = []
    allow = [(text, rule) for text in allowed if (rule := parse_rule(text))]
    deny = [(text, rule) for text in denied if (rule := parse_rule(text))]
    for index, (text, rule) in enumerate(allow):
        stop = next((d for d, denying in deny if covers(denying, rule)), None)
        if stop is not None:
            message = f"--deny-tool={stop} wins over it"
            problems.append(_problem(text, "--allow-tool", "denied", message))
            continue
        wider = next(
            (
                other
                for place, (other, against) in enumerate(allow)
                if place != index
                and covers(against, rule)
                and (place < index or not covers(rule, against))
            ),
            None,
        )
        if allows_all_tools:
            message = "every tool is approved already"
            problems.append(_problem(text, "--allow-tool", "redundant", message))
        elif wider is not None:
            message = f"{wider} allows it already"
            problems.append(_problem(text, "--allow-tool", "redundant", message))
    shell_is_open = allows_all_tools or any(rule == Rule("shell") for _, rule in allow)
    for text, rule in deny:
        is_narrow = rule.kind == "shell" and rule.argument is not None
        if is_narrow and shell_is_open and not any(covers(r, Rule("shell")) for _, r in deny):
            message = (
                "it looks at the start of a command alone: "
                "through bash -c, eval, env, command or nohup the same command runs"
            )
            if at_most(version, "1.0.63") and rule.argument and rule.argument[:4] == "git ":
                message += ", and with a flag before the subcommand (git -C . …)"
            problems.append(_problem(text, "--deny-tool", "bypass", message))
    return problems


def _judge_visible(names: Sequence[str], flag: str) -> list[RuleProblem]:
    return [
        _problem(
            text,
            flag,
            "kind-for-tool",
            f"'{text}' is a kind of permission, not a tool's name: {flag} takes tools",
            _BUILT_IN_TOOLS[rule.kind],
        )
        for text in names
        if (rule := parse_rule(text)) and rule.kind in _BUILT_IN_TOOLS
    ]


def _problem(
    rule: str,
    flag: str,
    code: str,
    message: str,
    better: str | None = None,
    *,
    observed: tuple[str, ...] = _BOTH,
) -> RuleProblem:
    return RuleProblem(
        rule=rule[:_LONGEST_RULE],
        flag=flag,
        code=code,
        message=message,
        better=better,
        observed=observed,
    )
