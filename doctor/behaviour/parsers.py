"""How the CLI's two command line parsers read the words after the program.

Up to 1.0.81 the CLI parses with commander (JavaScript), from 1.0.92 on with clap (Rust).
They differ where it hurts: commander lets a flag swallow the next word even if it is a flag,
clap stops. Both functions here were compared with the parsers themselves, on every tested version
(``tests/behaviour/test_parsers.py``).

Nothing here hides secrets: that is the caller's part (`doctor.deployment.launch`).
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Literal

from doctor.behaviour.flags import Flag, commands_of, flags_of, parser_of

Problem = Literal[
    "",
    "unknown",
    "missing-value",
    "unwanted-value",
    "bad-choice",
    "bad-number",
    "conflict",
    "missing-flag",
]
"""What is wrong with a flag, as its parser sees it.

``unwanted-value``: ``--server=true``. ``missing-flag``: it needs another one beside it.
"""

_NEGATIVE_NUMBER: Final = re.compile(r"-(?:\d+|\d*\.\d+)(?:e[+-]?\d+)?", re.ASCII)
_ATTACHED: Final = re.compile(r"--[^=]+=")
_STRICT_NUMBER: Final = re.compile(r"[+-]?[0-9]+")
_INT64: Final = 2**63
_MOST_DIGITS: Final = 400


class Given:
    """One flag, or one word that should have been one, with its values.

    Attributes:
        flag: Its table entry; None for a word that the version does not know.
        name: The flag's own name, else the word as written, up to ``=``.
        written: The spelling that was used.
        values: Its values; more than one for a variadic flag only.
        index: Where it starts among the words; flags of one cluster (``-sp hi``) share it.
        words: How many words belong to it.
        is_attached: Whether the value stands in the same word.
        problem: What the parser objects to.
        message: The first line of what the CLI prints about it.
        is_fatal: Whether it ends the start.
    """

    __slots__ = (
        "flag",
        "index",
        "is_attached",
        "is_fatal",
        "message",
        "name",
        "problem",
        "values",
        "words",
        "written",
    )

    def __init__(self, flag: Flag | None, written: str, index: int) -> None:
        self.flag = flag
        self.written = written
        self.name = flag.name if flag else written
        self.values: list[str] = []
        self.index = index
        self.words = 1
        self.is_attached = False
        self.problem: Problem = ""
        self.message = ""
        self.is_fatal = False

    def object(self, problem: Problem, message: str) -> None:
        """Note why the parser rejects it."""
        self.problem, self.message, self.is_fatal = problem, message, True

    def attach(self, value: str) -> None:
        """Note a value that stands in the same word."""
        self.values.append(value)
        self.is_attached = True


class Reading:
    """What a parser made of a command line.

    Attributes:
        given: Flags and rejected words in their order.
        operands: Words that belong to no flag, and all that follow a subcommand.
        places: Where the operands stand among the words.
        command: The subcommand, empty for none.
        prints: ``help`` or ``version``: what it prints instead of starting.
        error: The first sentence of the message with which it ends; empty: it goes on.
    """

    __slots__ = ("command", "error", "given", "operands", "places", "prints")

    def __init__(self) -> None:
        self.given: list[Given] = []
        self.operands: list[str] = []
        self.places: list[int] = []
        self.command = ""
        self.prints: Literal["", "help", "version"] = ""
        self.error = ""

    def add_operands(self, words: Sequence[str], start: int, end: int) -> None:
        """Note the words from `start` up to `end` as operands."""
        self.operands += words[start:end]
        self.places += range(start, end)

    def last(self, name: str) -> Given | None:
        """Return the last occurrence of a flag."""
        return next((item for item in reversed(self.given) if item.name == name), None)


def read(words: Sequence[str], version: str | None = None) -> Reading:
    """Read the words after the program as the parser of a version does.

    All problems are noted, also those behind the first one, which the CLI never gets to.
    """
    flags = flags_of(version)
    if parser_of(version) == "clap":
        return _Clap(words, flags, commands_of(version)).reading
    return _Commander(words, flags, commands_of(version)).reading


def integer(texts: Sequence[str], flag: Flag | None) -> int | None:
    """Return the number that a flag's values come to, None where the CLI gets none.

    Args:
        texts: The values of all occurrences of the flag, in order.
        flag: Tells the rule.
    """
    if not texts:
        return None
    if flag is not None and flag.number == "strict":
        if not _STRICT_NUMBER.fullmatch(texts[-1]):
            return None
        return _number(texts[-1], 10)
    if flag is not None and flag.number == "parse-int":
        number: int | None = None
        for index, text in enumerate(texts):
            number = parse_int(text, 0 if index == 0 or number is None else number)
        return number
    return parse_int(texts[-1], 10)


def parse_int(text: str, radix: int = 0) -> int | None:
    """Return what JavaScript's ``parseInt`` makes of a text, None for its NaN.

    Args:
        text: Leading digits count, the rest is ignored.
        radix: 0 for the default: 10, or 16 after ``0x``.
    """
    radix = (radix + 2**31) % 2**32 - 2**31
    digits = text.strip(" \t\n\v\f\r\u00a0\u2028\u2029\ufeff")
    sign = -1 if digits.startswith("-") else 1
    digits = digits[1:] if digits[:1] in {"+", "-"} else digits
    if radix and not 2 <= radix <= 36:  # noqa: PLR2004 - what parseInt takes
        return None
    if digits[:2].lower() == "0x" and radix in {0, 16}:
        digits, radix = digits[2:], 16
    allowed = "0123456789abcdefghijklmnopqrstuvwxyz"[: radix or 10]
    length = next((i for i, c in enumerate(digits) if c.lower() not in allowed), len(digits))
    return sign * _number(digits[:length], radix or 10) if length else None


def _number(digits: str, radix: int) -> int:
    """Convert digits; what has very many of them is out of range whatever it is."""
    return int(digits[:_MOST_DIGITS], radix)


class _Commander:
    """commander's ``parseOptions`` and ``_parseCommand``."""

    def __init__(
        self, words: Sequence[str], flags: Mapping[str, Flag], commands: frozenset[str]
    ) -> None:
        self.words, self.flags = words, flags
        self.reading = Reading()
        self.unknown: list[Given] = []
        self._read()
        self._conclude(commands)

    def _find(self, word: str) -> Flag | None:
        # --help is no option of its table; it is looked for among the unknown ones, last.
        flag = self.flags.get(word)
        return None if flag is None or flag.name == "--help" else flag

    def _read(self) -> None:  # noqa: C901, PLR0912 - commander's own order of questions
        words, at = self.words, 0
        rest: str | None = None  # of a cluster of short flags
        variadic: Given | None = None
        while at < len(words) or rest is not None:
            if rest is None:
                word, index = words[at], at
                at += 1
            else:
                word, index, rest = rest, at - 1, None
            if word == "--":
                self.reading.add_operands(words, at, len(words))
                return
            if variadic is not None and not _looks_like_flag(word):
                variadic.values.append(word)
                variadic.words = at - variadic.index
                continue
            variadic = None
            flag = self._find(word) if word.startswith("-") and len(word) > 1 else None
            if flag is not None:
                item = self._add(flag, word, index)
                has_next = at < len(words)
                if flag.arity == "value" or (
                    flag.takes_value and has_next and not _looks_like_flag(words[at])
                ):
                    if has_next:
                        item.values.append(words[at])
                        at += 1
                        item.words = at - index
                    else:
                        text = f"error: option '{_usage(flag)}' argument missing"
                        item.object("missing-value", text)
                variadic = item if flag.arity == "variadic" else None
                continue
            if len(word) > len("-x") and word[0] == "-" and word[1] != "-":
                flag = self._find(word[:2])
                if flag is not None:
                    item = self._add(flag, word[:2], index)
                    if flag.takes_value:
                        item.attach(word[2:])
                    else:
                        rest = "-" + word[2:]
                    continue
            if _ATTACHED.match(word):
                name, _, value = word.partition("=")
                flag = self._find(name)
                if flag is not None and flag.takes_value:
                    self._add(flag, name, index).attach(value)
                    continue
            if word.startswith("-") and len(word) > 1:
                self._reject(word, index)
            else:
                self.reading.add_operands(words, index, index + 1)

    def _add(self, flag: Flag, written: str, index: int) -> Given:
        item = Given(flag, written, index)
        self.reading.given.append(item)
        return item

    def _reject(self, word: str, index: int) -> None:
        flag = self.flags.get(word)
        if flag is None and "=" in word:
            name = word.partition("=")[0]
            known = self.flags.get(name)
            item = self._add(known, name, index) if known else Given(None, name, index)
            if known is None:
                self.reading.given.append(item)
            item.attach(word.partition("=")[2])
        elif flag is not None:
            item = self._add(flag, word, index)  # --help
        else:
            item = Given(None, word, index)
            self.reading.given.append(item)
        self.unknown.append(item)
        if flag is None:
            problem: Problem = "unwanted-value" if item.flag else "unknown"
            item.object(problem, f"error: unknown option '{word}'")

    def _conclude(self, commands: frozenset[str]) -> None:
        reading = self.reading
        for item in reading.given:
            if item.flag is not None:
                _check_value_commander(item, item.flag)
            if reading.prints or reading.error:
                continue  # it has ended already; the rest is noted all the same
            if item.name == "--version" and not item.problem:
                reading.prints = "version"
            if item.problem in {"missing-value", "bad-choice", "bad-number"}:
                reading.error = item.message
        _note_conflicts(reading, _conflict_commander)
        if not reading.prints and not reading.error:
            self._dispatch(commands)

    def _dispatch(self, commands: frozenset[str]) -> None:
        reading = self.reading
        # After an unknown flag every operand counts as unknown, too.
        limit = self.unknown[0].index if self.unknown else len(self.words)
        operands = [w for w, i in zip(reading.operands, reading.places, strict=True) if i < limit]
        conflict = next((i for i in reading.given if i.problem == "conflict"), None)
        if operands and operands[0] in commands:
            reading.command = operands[0]
            for item in self.unknown:  # it may be a flag of the subcommand
                item.problem, item.message, item.is_fatal = "", "", False
        elif any(item.name == "--help" for item in self.unknown):
            reading.prints = "help"
        elif conflict is not None:
            reading.error = conflict.message
        elif self.unknown:
            reading.error = self.unknown[0].message
        elif operands:
            count = len(operands)
            reading.error = f"error: too many arguments. Expected 0 arguments but got {count}."


class _Clap:
    """clap's ``Parser::get_matches_with``, as far as the CLI's definition uses it."""

    def __init__(
        self, words: Sequence[str], flags: Mapping[str, Flag], commands: frozenset[str]
    ) -> None:
        self.words, self.flags, self.commands = words, flags, commands
        self.reading = Reading()
        self.open: Given | None = None  # takes the next word as its value
        self.pending: Given | None = None  # clap judges its values when the next flag comes
        self._read()
        reading = self.reading
        _note_conflicts(reading, _conflict_clap)
        for item in reading.given:
            if item.flag and item.flag.requires and not item.problem:
                names = {other.name for other in reading.given}
                if not names & set(item.flag.requires):
                    text = "error: the following required arguments were not provided:"
                    item.object("missing-flag", text)
        if reading.error or reading.prints or reading.command:
            return
        for problem in ("conflict", "missing-flag"):
            first = next((i for i in reading.given if i.problem == problem), None)
            if first is not None:
                reading.error = first.message
                return
        if reading.last("--version") is not None:
            reading.prints = "version"

    def _read(self) -> None:
        reading, is_trailing = self.reading, False
        for index, word in enumerate(self.words):
            if is_trailing:
                self._operand(word, index)
            elif self.open is None and word in self.commands and not reading.prints:
                reading.command = word
                reading.add_operands(self.words, index, len(self.words))
                return
            elif word == "--":
                is_trailing = True  # a flag that still waits for its value is judged at the end
            elif word.startswith("--"):
                self._long(word, index)
            elif word.startswith("-") and len(word) > 1:
                self._cluster(word, index)
            elif self.open is not None:
                item = self.open
                item.values.append(word)
                item.words = index + 1 - item.index
                if item.flag is not None and item.flag.arity != "variadic":
                    self.open = None
            else:
                self._operand(word, index)
        self._close()

    def _long(self, word: str, index: int) -> None:
        name, has_value, value = word.partition("=")
        flag = self.flags.get(name)
        if flag is None:
            self._unknown(name, index, value if has_value else None)
            return
        item = Given(flag, name, index)
        if has_value and not flag.takes_value:
            item.attach(value)
            text = f"error: unexpected value '{value}' for '{name}' found; no more were expected"
            self._fail(item, "unwanted-value", text)
        self._close()
        self._add(item)
        if not flag.takes_value:
            self._show_help(flag)
        elif has_value:
            item.attach(value)
            self._check(item, flag)
        else:
            self.open = self.pending = item

    def _cluster(self, word: str, index: int) -> None:
        for at, letter in enumerate(word[1:], 1):
            flag = self.flags.get(f"-{letter}")
            if flag is None:
                self._unknown(f"-{letter}", index, None)
                return
            self._close()
            item = self._add(Given(flag, f"-{letter}", index))
            if not flag.takes_value:
                self._show_help(flag)
                continue
            rest = word[at + 1 :]
            if rest:
                item.attach(rest.removeprefix("="))
                self._check(item, flag)
            else:
                self.open = self.pending = item
            return

    def _unknown(self, name: str, index: int, value: str | None) -> None:
        item = self._add(Given(None, name, index))
        if value is not None:
            item.attach(value)
        self._fail(item, "unknown", f"error: unexpected argument '{name}' found")
        self._close()

    def _operand(self, word: str, index: int) -> None:
        self.reading.add_operands(self.words, index, index + 1)
        self._error(f"error: unrecognized subcommand '{word}'")

    def _add(self, item: Given) -> Given:
        self.reading.given.append(item)
        return item

    def _close(self) -> None:
        item, self.open, self.pending = self.pending, None, None
        if item is not None and item.flag is not None:
            self._check(item, item.flag)

    def _check(self, item: Given, flag: Flag) -> None:
        """Judge the values of a flag that gets no more of them."""
        usage = _usage_clap(flag)
        value = item.values[-1] if item.values else None
        if value is None:
            if flag.arity == "value":
                text = f"error: a value is required for '{usage}' but none was supplied"
                self._fail(item, "missing-value", text)
        elif flag.choices and value not in flag.choices:
            if flag.arity == "optional":
                reason = f'Invalid value for {flag.name}: "{value}". Use "on" or "off".'
                self._fail(
                    item, "bad-choice", f"error: invalid value '{value}' for '{usage}': {reason}"
                )
            elif value:
                self._fail(item, "bad-choice", f"error: invalid value '{value}' for '{usage}'")
            else:
                text = f"error: a value is required for '{usage}' but none was supplied"
                self._fail(item, "missing-value", text)
        elif flag.number == "strict" and (reason := _no_number(value)):
            text = f"error: invalid value '{value}' for '{usage}': {reason}"
            self._fail(item, "bad-number", text)

    def _fail(self, item: Given, problem: Problem, message: str) -> None:
        item.object(problem, message)
        self._error(message)

    def _error(self, message: str) -> None:
        if not self.reading.error and not self.reading.prints:
            self.reading.error = message

    def _show_help(self, flag: Flag) -> None:
        if flag.name == "--help" and not self.reading.error:
            self.reading.prints = "help"


def _looks_like_flag(word: str) -> bool:
    return len(word) > 1 and word[0] == "-" and not _NEGATIVE_NUMBER.fullmatch(word)


def _usage(flag: Flag) -> str:
    """Return a flag as commander's messages write it: ``-p, --prompt <text>``."""
    value = {
        "none": "",
        "value": f" <{flag.metavar}>",
        "optional": f" [{flag.metavar}]",
        "variadic": f" [{flag.metavar}...]",
    }[flag.arity]
    return ", ".join([*flag.aliases, flag.name]) + value


def _usage_clap(flag: Flag) -> str:
    """Return a flag as clap's messages write it: ``--prompt <text>``."""
    value = {
        "none": "",
        "value": f" <{flag.metavar}>",
        "optional": f" [<{flag.metavar}>]",
        "variadic": f" [<{flag.metavar}>...]",
    }[flag.arity]
    return flag.name + value


def _check_value_commander(item: Given, flag: Flag) -> None:
    value = item.values[-1] if item.values else None
    if item.problem or value is None:
        return
    problem: Problem = "bad-choice"
    if flag.number == "checked" and not value.isdecimal():
        problem = "bad-number"
        reason = f'Invalid value for {flag.name}: "{value}". Use a non-negative integer.'
    elif not flag.choices or value in flag.choices:
        return
    elif flag.arity == "optional":
        reason = f'Invalid value for {flag.name}: "{value}". Use "on" or "off".'
    else:
        reason = f"Allowed choices are {', '.join(flag.choices)}."
    item.object(problem, f"error: option '{_usage(flag)}' argument '{value}' is invalid. {reason}")


def _no_number(value: str) -> str:
    """Return why a text is no 64-bit number, in the parser's words; empty: it is one."""
    if not value:
        return "cannot parse integer from empty string"
    if not _STRICT_NUMBER.fullmatch(value):
        return "invalid digit found in string"
    digits = value.lstrip("+-").lstrip("0")
    # Longer texts are too large without a conversion, which Python refuses for very long ones.
    number = int(digits[:30] or "0")
    if value.startswith("-"):
        return "number too small to fit in target type" if number > _INT64 else ""
    return "number too large to fit in target type" if number >= _INT64 else ""


def _note_conflicts(reading: Reading, message: Callable[[Flag, Flag], str]) -> None:
    """Mark the later one of two flags that exclude each other."""
    seen: dict[str, Given] = {}
    for item in reading.given:
        if item.flag is None or item.problem:
            continue
        for other in seen.values():
            if other.flag is None or other.name == item.name:
                continue
            if other.name in item.flag.conflicts or item.name in other.flag.conflicts:
                item.object("conflict", message(item.flag, other.flag))
                break
        seen.setdefault(item.name, item)


def _conflict_commander(flag: Flag, other: Flag) -> str:
    # commander looks from the side that declares the conflict.
    if other.name not in flag.conflicts:
        flag, other = other, flag
    return f"error: option '{_usage(flag)}' cannot be used with option '{_usage(other)}'"


def _conflict_clap(flag: Flag, other: Flag) -> str:
    return f"error: the argument '{_usage_clap(flag)}' cannot be used with '{_usage_clap(other)}'"
