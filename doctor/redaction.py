"""What comes from outside, made safe to keep and to show.

Two dangers come with every text that the doctor did not write itself:
it can contain a secret, and it can contain characters that a terminal obeys.
`scrub` takes the first away, `printable` the second;
`outside` does both and is what a source calls on everything it hands on.

Secrets are recognised in three ways, because each alone has holes:
by *value* (`Vault`: every secret that the doctor has read in this run),
by *name* (``token=…``, ``--api-key …``)
and by *shape* (known prefixes, UUIDs, long runs of mixed letters and digits).
"""

import re
from collections.abc import Iterable, Sequence
from typing import Final, Literal

TokenKind = Literal[
    "gho", "ghu", "ghs", "ghr", "ghp", "github_pat", "jwt", "hmac", "placeholder", "unrecognised"
]
"""A GitHub token's kind, told by its prefix and shape, never by its content."""

HIDDEN: Final = "[redacted, {} characters]"

_PREFIXES: Final[tuple[tuple[str, TokenKind], ...]] = (
    ("github_pat_", "github_pat"),
    ("gho_", "gho"),
    ("ghu_", "ghu"),
    ("ghs_", "ghs"),
    ("ghr_", "ghr"),
    ("ghp_", "ghp"),
    ("eyJ", "jwt"),
)

_PLACEHOLDER: Final = re.compile(
    r"(?:gh[pousr]_|github_pat_)?"
    r"(?:x{4,}|X{4,}|\*{3,}|\.{3,}|…|0{8,}|<[^>]*>|\$\{?\w+\}?|\[[^\]]*\]"
    r"|(?:your|my|the|some|insert|replace|change)(?:[-_ ]?\w+)*"
    r"|(?:token|secret|placeholder|todo|changeme))",
    re.IGNORECASE,
)

# By shape. Paths and versions must survive (they are evidence), random strings must not.
_SHAPES: Final = re.compile(
    r"""
    \b(?:gh[pousr]_|github_pat_)[A-Za-z0-9_]+         # GitHub
  | \b(?:sk|pk|rk)-[A-Za-z0-9_-]{8,}                  # model providers
  | \b(?:glpat-|xox[abprs]-|npm_|pypi-|AKIA|ASIA|AIza)[A-Za-z0-9_-]{8,}
  | \beyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]*)?   # JSON Web Token
  | \b[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}\b        # UUID: a common shared secret
  | (?<![A-Za-z0-9])(?=[A-Za-z]*[0-9])(?=[0-9]*[A-Za-z])[A-Za-z0-9]{16,}={0,2}
    """,
    re.VERBOSE,
)
_SECRET_WORD: Final = (
    r"(?:token|secret|passwd|password|passphrase|pwd"
    r"|api[-_]?key|apikey|access[-_]?key|private[-_]?key"
    r"|credential|authorization|cookie|session[-_]?key|signature)"
)
# By name: NAME=value, NAME: value, "name": "value" and --name value.
# What stands before the telling word is not matched: trying it at every place would be slow.
_NAMED: Final = re.compile(
    rf"""(?P<name>{_SECRET_WORD}(?![-_](?:env|type)\b)[\w.-]{{0,40}}["']?\s*[=:]\s*)"""
    r"""(?P<value>"[^"]*"|'[^']*'|(?:(?:bearer|basic|token)\s+)?[^\s"',;&}]+)""",
    re.IGNORECASE,
)
_OPTION: Final = re.compile(
    rf"(?P<name>(?<!\S)--?[\w-]{{0,80}}{_SECRET_WORD}[\w-]{{0,40}}\s+)(?P<value>[^\s-]\S*)",
    re.IGNORECASE,
)
_BEARER: Final = re.compile(
    r"(?P<name>\b(?:bearer|basic)\s+)(?P<value>[\w.~+/=-]{6,})", re.IGNORECASE
)
_USERINFO: Final = re.compile(
    r"(?P<name>\b[a-z][a-z0-9+.-]*://)(?P<value>[^\s/@]+)(?=@)", re.IGNORECASE
)
_SECRET_NAME: Final = re.compile(_SECRET_WORD, re.IGNORECASE)
# A flag that takes the *name* of a variable, and words that only look like a secret's name.
_NOT_SECRET: Final = frozenset({"--auth-token-env", "--secret-env-vars", "token_type", "tokentype"})

# C0, C1, DEL, and what reorders or hides text on a terminal (bidirectional controls, zero width,
# line and paragraph separators, tags, and lone surrogates from undecodable bytes).
_CONTROL: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)
_ESCAPE_SEQUENCE: Final = re.compile(
    "(?:\x1b\\[|\x9b)[0-?]*[ -/]*[@-~]|\x1b[\\]PX^_].*?(?:\x07|\x1b\\\\|\x9c|$)|\x1b.", re.DOTALL
)
_INVISIBLE: Final = re.compile("[\u00ad\u061c\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff]")
_SHORTEST_KNOWN: Final = 4
_SCAN_LIMIT: Final = 8_192


class Secret:
    """A value that must not be shown.

    Nothing but `reveal` gives it back; ``repr``, ``str``, ``format`` and pickling do not.
    """

    __slots__ = ("__value", "name")

    def __init__(self, name: str, value: str) -> None:
        self.name = name
        self.__value = value

    def reveal(self) -> str:
        """Return the value itself: for the one place that must send it."""
        return self.__value

    def __repr__(self) -> str:
        return f"<secret {self.name}>"

    __str__ = __repr__

    def __format__(self, _spec: str, /) -> str:
        return repr(self)

    def __reduce__(self) -> tuple[type, tuple[str, str]]:
        msg = f"{self!r} cannot be copied out of this process"
        raise TypeError(msg)


class Vault:
    """The secrets read in one run, to compare and to recognise, never to keep.

    Values stay in this object and go with the process.
    The `Deployment` gets only what `group` says: which of them are equal.
    """

    def __init__(self) -> None:
        self._groups: dict[str, int] = {}
        self._names: dict[str, str] = {}

    def add(self, name: str, value: str) -> int:
        """Remember a secret and return the number of its group.

        Equal values have the same number, from 1 up in the order of first sight;
        an empty value has 0.
        The surrounding white space and quotes that the CLI or a shell may keep
        do not belong to the comparison text of `scrub`, but they do to the group.
        """
        if not value:
            return 0
        for spelling in {value, value.strip(), value.strip().strip("\"'")}:
            if len(spelling) >= _SHORTEST_KNOWN:
                self._names.setdefault(spelling, name)
        return self._groups.setdefault(value, len(self._groups) + 1)

    def scrub(self, text: str) -> str:
        """Replace every known secret in a text, then what looks like one."""
        for value in sorted(self._names, key=len, reverse=True):
            if value in text:
                text = text.replace(value, f"[{self._names[value]}]")
        return scrub(text)

    def outside(self, text: str, limit: int = 300) -> str:
        """Make a text from outside safe to keep and to show (`scrub`, then `printable`)."""
        return printable(self.scrub(_without_escapes(text[:_SCAN_LIMIT])), limit)

    def outside_all(self, texts: Iterable[str], limit: int = 300) -> tuple[str, ...]:
        """Make the words of a command line safe, also where a secret follows its option's name."""
        return tuple(
            printable(self.scrub(_without_escapes(word)), limit)
            for word in scrub_words([text[:_SCAN_LIMIT] for text in texts])
        )


def is_secret_name(name: str) -> bool:
    """Whether a variable or an option with this name may hold a secret."""
    lowered = name.lower()
    if lowered in _NOT_SECRET or lowered.endswith(("_file", "_path", "-file", "-path")):
        return False
    return bool(_SECRET_NAME.search(name)) or lowered.endswith(("_pat", "_key", "_auth", "_pass"))


def token_kind(value: str) -> TokenKind:
    """Tell the kind of a GitHub token from its prefix and shape.

    Prefixes as in GitHub's documentation "About authentication to GitHub, token formats".
    White space and quotes around the value are ignored here: they are a finding of their own.
    """
    bare = value.strip().strip("\"'").strip()
    if _PLACEHOLDER.fullmatch(bare):
        return "placeholder"
    for prefix, kind in _PREFIXES:
        if bare.startswith(prefix):
            rest = bare[len(prefix) :]
            return (
                "placeholder"
                if len(rest) >= _SHORTEST_KNOWN and len(set(rest.lower())) == 1
                else kind
            )
    return "unrecognised"


def scrub(text: str) -> str:
    """Replace what looks like a secret by its length."""
    if len(text) > _SCAN_LIMIT:
        text = text[:_SCAN_LIMIT]
    for pattern in (_USERINFO, _OPTION, _NAMED, _BEARER):
        text = pattern.sub(_hide_value, text)
    return _SHAPES.sub(lambda match: hidden(match.group()), text)


def scrub_words(words: Sequence[str]) -> list[str]:
    """Scrub the words of a command line; an option's value can be the next word."""
    safe: list[str] = []
    value_follows = False
    for word in words:
        if value_follows and not word.startswith("-"):
            safe.append(hidden(word))
            value_follows = False
            continue
        value_follows = word.startswith("-") and "=" not in word and is_secret_name(word)
        safe.append(scrub(word))
    return safe


def hidden(value: str) -> str:
    """Return what stands in the place of a secret: its length and nothing else."""
    return HIDDEN.format(len(value))


def printable(text: str, limit: int = 300) -> str:
    """Replace what a terminal would obey, fold line ends, and cut at `limit` characters."""
    cut = len(text) > limit
    text = _ESCAPE_SEQUENCE.sub("�", text[: limit * 4])
    text = re.sub(r"[ \t\r\n\v\f]+", " ", text).strip()
    text = _CONTROL.sub("�", text)
    if len(text) > limit or cut:
        text = text[: max(0, limit - 1)].rstrip() + "…"
    return text


def outside(text: str, limit: int = 300) -> str:
    """Make a text from outside safe where no `Vault` is at hand."""
    return printable(scrub(_without_escapes(text[:_SCAN_LIMIT])), limit)


def _without_escapes(text: str) -> str:
    # An invisible character in the middle of a token would hide the token from the patterns.
    return _INVISIBLE.sub("", _ESCAPE_SEQUENCE.sub("", text))


def _hide_value(match: re.Match[str]) -> str:
    name, value = match.group("name"), match.group("value")
    if name.strip().lower() in _NOT_SECRET:
        return match.group()
    return name + (value if value.startswith("[redacted") else hidden(value))
