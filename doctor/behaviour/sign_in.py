"""Where the CLI takes its GitHub sign-in from, and what becomes of a token because of its looks.

Observed on 1.0.63 and 1.0.102 with a fake GitHub: the CLI tries, one after the other,

1. the variable that ``--auth-token-env`` names,
2. the first of the token variables that is not empty, and only that one,
3. the stored login,
4. GitHub CLI (``gh auth token``; 1.0.102 also takes ``GH_TOKEN``, else ``GITHUB_TOKEN``, for it).

The next one is tried when the one before is missing, refused for its looks, or refused by GitHub.
``--no-auto-login`` leaves the first alone.
"""

from typing import Final, Literal

import msgspec

from doctor.behaviour.facts import TAKES_SERVER_TOKEN
from doctor.deployment import LaunchCommand
from doctor.deployment.values import Environment, Variable

Fate = Literal["sent", "unchecked", "classic", "unsupported", "placeholder", "line-end"]
"""What the CLI does with a token, told from its kind and quirks alone.

``sent``: to GitHub, which decides. ``unchecked``: used without asking GitHub first (``ghs_``).
``classic`` and ``unsupported``: refused on the spot, with a line in the log.
``placeholder``: one of these three, by its prefix; never a token.
``line-end``: cannot be sent in an HTTP header.
"""

REFUSED: Final[frozenset[Fate]] = frozenset({"classic", "unsupported"})


class Token(msgspec.Struct, frozen=True, kw_only=True):
    """A token that the CLI tries.

    Attributes:
        is_named: It is the one that ``--auth-token-env`` names: then its prefix is not looked at.
    """

    variable: Variable
    is_named: bool = False

    def fate(self, version: str | None = None) -> Fate:
        """Tell what becomes of it on a CLI version; None: on one from 1.0.11 on."""
        quirks, kind = self.variable.quirks, self.variable.kind
        if self.is_named:
            if {"newline", "carriage-return"} & set(quirks):
                return "line-end"
            if kind == "placeholder":
                return "placeholder"
            is_bare = not {"leading-space", "quoted"} & set(quirks)
            return "unchecked" if kind == "ghs" and is_bare else "sent"
        if {"leading-space", "quoted"} & set(quirks):
            return "unsupported"
        if kind in {"placeholder", "ghp"}:
            return "classic" if kind == "ghp" else "placeholder"
        if kind not in {"gho", "ghu", "ghs", "github_pat"}:
            return "unsupported"
        if kind == "ghs" and TAKES_SERVER_TOKEN.at(version).value is False:
            return "unsupported"
        if {"newline", "carriage-return"} & set(quirks):
            return "line-end"
        return "unchecked" if kind == "ghs" else "sent"


def named_token(environment: Environment, command: LaunchCommand | None) -> Token | None:
    """Return the token that ``--auth-token-env`` names, where it has a value."""
    name = command.auth_token_env if command else None
    variable = environment.get(name) if name else None
    if variable is None or not variable.is_set:
        return None
    return Token(variable=variable, is_named=True)


def tokens_tried(environment: Environment, command: LaunchCommand | None) -> tuple[Token, ...]:
    """Return the tokens of an environment that the CLI tries, in its order."""
    named = named_token(environment, command)
    found = [named] if named else []
    if not (command and command.has("--no-auto-login")):
        found += [Token(variable=v) for v in environment.tokens if v.is_set][:1]
    return tuple(found)
