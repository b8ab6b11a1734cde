"""Values that may be secrets, as the Deployment holds them: name, kind, length, never the value."""

from typing import Final, Literal

import msgspec

from doctor.redaction import TokenKind, Vault, is_secret_name, scrub, token_kind

Quirk = Literal[
    "leading-space", "trailing-space", "newline", "carriage-return", "quoted", "non-ascii", "nul"
]
"""What is odd about a value, told without showing it."""

TOKEN_VARIABLES: Final = ("COPILOT_GITHUB_TOKEN", "GH_TOKEN", "GITHUB_TOKEN")
"""Read by the CLI for the GitHub sign-in, the first that is not empty wins.

Documented (docs.github.com, "Authenticate Copilot CLI"; ``copilot help environment``)
and observed on 1.0.2, 1.0.32, 1.0.63 and 1.0.102.
"""

CONNECTION_TOKEN: Final = "COPILOT_CONNECTION_TOKEN"

LOOK_ALIKES: Final = (
    "COPILOT_TOKEN",
    "COPILOT_CLI_TOKEN",
    "COPILOT_API_TOKEN",
    "COPILOT_AUTH_TOKEN",
    "COPILOT_ACCESS_TOKEN",
    "COPILOT_GH_TOKEN",
    "COPILOT_PAT",
    "GH_COPILOT_TOKEN",
    "GITHUB_COPILOT_TOKEN",
    "GITHUB_PAT",
    "GITHUB_ACCESS_TOKEN",
    "GITHUB_API_TOKEN",
    "GITHUB_AUTH_TOKEN",
    "GH_PAT",
)
"""Names that people set and no tested CLI version reads for its sign-in."""

SHOWN: Final = frozenset(
    {
        "COPILOT_ALLOW_ALL",
        "COPILOT_AUTO_UPDATE",
        "COPILOT_CACHE_HOME",
        "COPILOT_CLI_URL",
        "COPILOT_GH_HOST",
        "COPILOT_HOME",
        "COPILOT_MODEL",
        "COPILOT_OFFLINE",
        "COPILOT_PROVIDER_TYPE",
        "GH_HOST",
        "GITHUB_ACTIONS",
        "GITHUB_HOST",
        "CI",
        "CODESPACES",
        "HOME",
        "KUBERNETES_SERVICE_HOST",
        "NODE_EXTRA_CA_CERTS",
        "NO_PROXY",
        "SSL_CERT_FILE",
        "USER",
        "USERPROFILE",
        "XDG_CONFIG_HOME",
        "XDG_STATE_HOME",
        "container",
    }
)
"""Variables whose text is evidence and not a secret. Every other value stays outside."""

WATCHED_PREFIXES: Final = ("COPILOT_", "GH_", "GITHUB_COPILOT_")
"""Every variable with such a name is recorded, by kind and length unless it is in `SHOWN`."""

WATCHED: Final = SHOWN | {
    "GITHUB_TOKEN",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "no_proxy",
    *LOOK_ALIKES,
}

ValueKind = TokenKind | Literal["empty", "text", "hidden"]


class Variable(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One environment variable.

    Attributes:
        name: As spelt in the environment.
        kind: ``empty``, ``text`` (shown in `text`), ``hidden`` (no secret's shape is known for it),
            or the kind of GitHub token.
        length: Characters of the value.
        text: The value where it is no secret (`SHOWN`), cleaned of what looks like one.
        quirks: What is odd about the value.
        group: Equal numbers mean equal values within one Deployment; 0: no secret.
    """

    name: str
    kind: ValueKind
    length: int
    text: str | None = None
    quirks: tuple[Quirk, ...] = ()
    group: int = 0

    def __post_init__(self) -> None:
        if self.text is not None and self.name not in SHOWN:
            msg = f"the value of {self.name!r} must not enter a Deployment"
            raise ValueError(msg)

    @property
    def is_set(self) -> bool:
        """Whether the CLI would use it: an empty value counts as not set (observed)."""
        return self.length > 0


class Environment(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The variables of one process that matter here.

    Attributes:
        variables: Those that are recorded, in the order of their names.
        visible: False where the environment could not be read: then nothing is known,
            and a name that is missing does not mean that the variable is not set.
        reason: Why it could not be read.
        remedy: What would make it visible.
    """

    variables: tuple[Variable, ...] = ()
    visible: bool = True
    reason: str = ""
    remedy: str = ""

    def get(self, name: str) -> Variable | None:
        """Return a variable, set or empty, or None."""
        return next((variable for variable in self.variables if variable.name == name), None)

    def is_set(self, name: str) -> bool:
        """Whether a variable has a value that is not empty."""
        variable = self.get(name)
        return variable is not None and variable.is_set

    def text(self, name: str) -> str | None:
        """Return the text of a variable that may be shown, or None."""
        variable = self.get(name)
        return None if variable is None else variable.text

    @property
    def tokens(self) -> tuple[Variable, ...]:
        """The GitHub token variables that are present, the one that the CLI tries first ahead."""
        found = (self.get(name) for name in TOKEN_VARIABLES)
        return tuple(variable for variable in found if variable is not None)


def describe(name: str, value: str, vault: Vault) -> Variable:
    """Turn a variable's value into what a Deployment may hold of it."""
    quirks = _quirks(value)
    for part in _userinfo(value):
        vault.add(name, part)
    if not value:
        return Variable(name=name, kind="empty", length=0, text="" if name in SHOWN else None)
    if name in SHOWN:
        text = vault.outside(value)
        return Variable(name=name, kind="text", length=len(value), text=text, quirks=quirks)
    kind: ValueKind = "hidden"
    if name in TOKEN_VARIABLES or name in LOOK_ALIKES or token_kind(value) != "unrecognised":
        kind = token_kind(value)
    # A plain word such as a version is not shown either, but it may stand in other texts.
    may_be_secret = kind != "hidden" or is_secret_name(name) or scrub(value) != value
    group = vault.add(name, value) if may_be_secret else 0
    return Variable(name=name, kind=kind, length=len(value), quirks=quirks, group=group)


def describe_all(environ: dict[str, str], vault: Vault, also: tuple[str, ...] = ()) -> Environment:
    """Turn a process's environment into what a Deployment may hold of it.

    Values of secret-looking variables that are not recorded still go to the vault:
    so they are recognised when they turn up in an argument or a message.

    Args:
        environ: The variables as the process has them.
        vault: Takes the values.
        also: More names to record, such as the one that ``--auth-token-env`` names.
    """
    variables: list[Variable] = []
    for name in sorted(environ):
        if name in WATCHED or name in also or name.startswith(WATCHED_PREFIXES):
            variables.append(describe(name, environ[name], vault))
        elif is_secret_name(name):
            vault.add(name, environ[name])
    return Environment(variables=tuple(variables))


def _userinfo(value: str) -> list[str]:
    """Return what is secret in a URL: its user and password, such as a proxy's."""
    before, at, _ = value.partition("@")
    if not at or "://" not in before:
        return []
    return [part for part in before.split("://", 1)[1].split(":", 1) if part]


def _quirks(value: str) -> tuple[Quirk, ...]:
    found: list[Quirk] = []
    if value[:1].isspace():
        found.append("leading-space")
    if value.rstrip("\r\n")[-1:].isspace():
        found.append("trailing-space")
    if "\n" in value:
        found.append("newline")
    if "\r" in value:
        found.append("carriage-return")
    bare = value.strip()
    if len(bare) > 1 and bare[0] in "\"'`" and bare[-1] == bare[0]:
        found.append("quoted")
    if not value.isascii():
        found.append("non-ascii")
    if "\0" in value:
        found.append("nul")
    return tuple(found)
