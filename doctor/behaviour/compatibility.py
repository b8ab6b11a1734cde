"""Combinations of SDK and CLI that do not work together, although both may say "protocol 3".

The version numbers of the SDKs are *per language*: Python 1.0.25 and npm 1.0.14 have little in
common. What was run is in the rows: the Python SDK 0.1.32 to 1.0.27 and the npm SDK 0.2.2 to
1.0.14, each against real CLIs (Linux x86_64). The SDKs for Go, .NET, Java and Rust were not run.
"""

from typing import Final, Literal

import msgspec

from doctor.behaviour.versions import NEWEST_TESTED, TESTED, at_most, key

Certainty = Literal["observed", "between", "other-language"]

NEWEST_SDK: Final = {"python": "1.0.27", "javascript": "1.0.14"}
"""The newest SDK that was run, by language."""


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One way in which a range of SDKs and a range of CLIs do not fit.

    The first bound of an open range is empty. Between `cli_last` and `cli_next` (or, for a range
    that begins somewhere, `cli_before` and `cli_first`) nothing was run: there it is not known.

    Attributes:
        language: The SDK's.
        sdk_first: Oldest SDK that has the problem; empty: all older ones too.
        sdk_last: Newest SDK that has it; empty: all newer ones too.
        cli_first: Oldest tested CLI that has it; empty: all older ones too.
        cli_last: Newest tested CLI that has it; empty: all newer ones too.
        cli_before: The tested CLI just before `cli_first`, which does not have it.
        cli_next: The tested CLI just after `cli_last`, which does not have it.
        severity: ``start``: no connection; ``hang``: an answer never comes; ``tools``: none runs.
        only_with_token: Only where the server demands a connection token.
        text: What happens and why, one or two sentences.
        symptom: The words that the user sees; empty where there are none.
        runs: What was run: pairs of SDK and CLI.
    """

    code: str
    language: str
    sdk_first: str = ""
    sdk_last: str = ""
    cli_first: str = ""
    cli_last: str = ""
    cli_before: str = ""
    cli_next: str = ""
    severity: Literal["start", "hang", "tools"]
    only_with_token: bool = False
    text: str
    symptom: str
    runs: tuple[tuple[str, str], ...]

    @property
    def observed(self) -> tuple[str, ...]:
        """The CLI versions on which it was reproduced, oldest first."""
        seen = {cli for _, cli in self.runs}
        return tuple(version for version in TESTED if version in seen)

    def covers_sdk(self, version: str) -> bool:
        """Whether an SDK version lies in the range."""
        return _within(version, self.sdk_first, self.sdk_last)

    def covers_cli(self, version: str) -> bool | None:
        """Whether a CLI version lies in the range; None between two that differ."""
        if _within(version, self.cli_first, self.cli_last):
            return True
        if self.cli_first and _within(version, self.cli_before, self.cli_first):
            return False if version == self.cli_before else None
        if self.cli_last and _within(version, self.cli_last, self.cli_next):
            return False if version == self.cli_next else None
        return False


class Skew(msgspec.Struct, frozen=True, kw_only=True):
    """A problem of one SDK with one CLI.

    Attributes:
        code: Of the `Row`.
        text: What happens and why.
        symptom: The words that the user sees.
        severity: Of the `Row`.
        sdk_fix: The SDK version to install instead, which works with this CLI; empty: none known.
        cli_fix: The CLI version to install instead, which works with this SDK; empty: none known.
        certainty: ``observed``: run with versions of these ranges; ``between``: the CLI lies
            between two tested ones that differ; ``other-language``: only seen with the SDK of
            another language.
        row: Where it comes from.
    """

    code: str
    text: str
    symptom: str
    severity: Literal["start", "hang", "tools"]
    sdk_fix: str
    cli_fix: str
    certainty: Certainty
    row: Row

    @property
    def observed(self) -> bool:
        """Whether this is known to happen, not only to be feared."""
        return self.certainty == "observed"


_PROTOCOL_WORDS: Final = (
    "SDK protocol version mismatch: SDK supports versions 3-3, but server reports version 2. "
    "Please update your SDK or server to ensure compatibility."
)
_OLD_WORD: Final = (
    'The SDK approves with the word "approved", the CLI from 1.0.44 on wants "approve-once": '
    "every tool that needs an approval fails, although the client approves it."
)
_NEW_WORD: Final = (
    'The SDK approves with the word "approve-once", the CLI up to 1.0.32 wants "approved": '
    "every tool that needs an approval fails, although the client approves it."
)
_OLD_WORD_SYMPTOM: Final = "unexpected user permission response"
_NEW_WORD_SYMPTOM: Final = "Unhandled permission result kind: [object Object]"
_NO_TOKEN: Final = (
    "This SDK cannot pass a connection token, and the server demands one. SDK 1.0.0 is the first "
    "that was seen to pass one."
)

ROWS: Final = (
    Row(
        code="ping-timestamp",
        language="python",
        sdk_last="0.3.0",
        cli_first="1.0.57",
        cli_before="1.0.44",
        severity="start",
        text=(
            "The SDK up to 0.3.0 reads the time in the answer to ping as a number; the CLI from "
            "1.0.57 on sends a text, so the client cannot even connect."
        ),
        symptom="ValueError: invalid literal for int() with base 10: '2026-…Z'",
        runs=(
            ("0.2.3", "1.0.57"),
            ("0.1.32", "1.0.63"),
            ("0.2.3", "1.0.63"),
            ("0.3.0", "1.0.63"),
            ("0.2.3", "1.0.73"),
            ("0.3.0", "1.0.81"),
            ("0.1.32", "1.0.102"),
            ("0.2.3", "1.0.102"),
            ("0.3.0", "1.0.102"),
        ),
    ),
    Row(
        code="never-returns",
        language="python",
        sdk_first="1.0.25",
        cli_last="1.0.81",
        cli_next="1.0.92",
        severity="hang",
        text=(
            "The SDK from 1.0.25 on waits for a user.message event with the message's id; the CLI "
            "up to 1.0.81 sends none. send_and_wait never returns, although the session works and "
            "its tools run."
        ),
        symptom="TimeoutError: Timeout after 60.0s waiting for session.idle",
        runs=(
            ("1.0.27", "1.0.2"),
            ("1.0.27", "1.0.32"),
            ("1.0.27", "1.0.44"),
            ("1.0.27", "1.0.57"),
            ("1.0.25", "1.0.63"),
            ("1.0.27", "1.0.63"),
            ("1.0.27", "1.0.73"),
            ("1.0.27", "1.0.81"),
        ),
    ),
    Row(
        code="old-approval-word",
        language="python",
        sdk_last="0.2.3",
        cli_first="1.0.44",
        cli_before="1.0.32",
        severity="tools",
        text=_OLD_WORD,
        symptom=_OLD_WORD_SYMPTOM,
        runs=(("0.2.3", "1.0.44"),),
    ),
    Row(
        code="new-approval-word",
        language="python",
        sdk_first="0.3.0",
        cli_last="1.0.32",
        cli_next="1.0.44",
        severity="tools",
        text=_NEW_WORD,
        symptom=_NEW_WORD_SYMPTOM,
        runs=(
            ("0.3.0", "0.0.400"),
            ("0.3.0", "1.0.2"),
            ("1.0.0", "1.0.2"),
            ("1.0.13", "1.0.2"),
            ("1.0.27", "1.0.2"),
            ("0.3.0", "1.0.32"),
            ("1.0.0", "1.0.32"),
            ("1.0.24", "1.0.32"),
            ("1.0.27", "1.0.32"),
        ),
    ),
    Row(
        code="protocol-2",
        language="python",
        sdk_first="1.0.0",
        cli_last="0.0.420",
        cli_next="1.0.2",
        severity="start",
        text="The SDK from 1.0.0 on speaks protocol 3 alone, the CLI 0.0.4xx speaks protocol 2.",
        symptom=_PROTOCOL_WORDS,
        runs=(("1.0.24", "0.0.400"),),
    ),
    Row(
        code="no-connection-token",
        language="python",
        sdk_last="0.3.0",
        cli_first="1.0.44",
        cli_before="1.0.32",
        severity="start",
        only_with_token=True,
        text=_NO_TOKEN,
        symptom="JSON-RPC Error -32001",
        runs=(
            ("0.1.32", "1.0.63"),
            ("0.2.3", "1.0.63"),
            ("0.3.0", "1.0.63"),
            ("0.3.0", "1.0.81"),
            ("0.3.0", "1.0.102"),
        ),
    ),
    Row(
        code="old-approval-word",
        language="javascript",
        sdk_last="0.2.2",
        cli_first="1.0.44",
        cli_before="1.0.32",
        severity="tools",
        text=_OLD_WORD,
        symptom=_OLD_WORD_SYMPTOM,
        runs=(("0.2.2", "1.0.44"), ("0.2.2", "1.0.63"), ("0.2.2", "1.0.102")),
    ),
    Row(
        code="new-approval-word",
        language="javascript",
        sdk_first="0.3.0",
        cli_last="1.0.32",
        cli_next="1.0.44",
        severity="tools",
        text=_NEW_WORD,
        symptom=_NEW_WORD_SYMPTOM,
        runs=(("0.3.0", "1.0.32"), ("1.0.14", "1.0.32")),
    ),
    Row(
        code="protocol-2",
        language="javascript",
        sdk_first="1.0.0",
        cli_last="0.0.420",
        cli_next="1.0.2",
        severity="start",
        text="The SDK from 1.0.0 on speaks protocol 3 alone, the CLI 0.0.4xx speaks protocol 2.",
        symptom=_PROTOCOL_WORDS,
        runs=(("1.0.14", "0.0.400"),),
    ),
    Row(
        code="no-connection-token",
        language="javascript",
        sdk_last="0.3.0",
        cli_first="1.0.44",
        cli_before="1.0.32",
        severity="start",
        only_with_token=True,
        text=_NO_TOKEN,
        symptom="an error without a message",
        runs=(("0.3.0", "1.0.63"),),
    ),
)
"""Every combination known not to work."""

LANGUAGES: Final = tuple(dict.fromkeys(row.language for row in ROWS))
"""The languages whose SDK was run."""

# Versions to move to, newest first: each was run with a CLI (or SDK) that the table leaves to it.
_SDK_CHOICES: Final = {
    "python": ("1.0.27", "1.0.24", "0.2.3"),
    "javascript": ("1.0.14", "0.2.2"),
}
_CLI_CHOICES: Final = (NEWEST_TESTED, "1.0.44", "1.0.32")


def problems(
    sdk_version: str | None,
    cli_version: str | None,
    language: str = "python",
    *,
    needs_token: bool = False,
) -> list[Skew]:
    """Return what does not work between an SDK and a CLI, what hits first ahead.

    Args:
        sdk_version: ``1.0.27``; what is no version gives no problem, so ask `is_known` first.
        cli_version: The same.
        language: The SDK's. For one that was not run, the Python table is used as a hint
            and every problem says so.
        needs_token: The server demands a connection token.
    """
    is_run = language in LANGUAGES
    table = language if is_run else "python"
    found = []
    for row, is_certain in _matches(sdk_version, cli_version, table, needs_token=needs_token):
        certainty: Certainty = "observed" if is_certain else "between"
        found.append(
            Skew(
                code=row.code,
                text=row.text,
                symptom=row.symptom,
                severity=row.severity,
                sdk_fix=sdk_for(cli_version or "", language),
                cli_fix=cli_for(sdk_version or "", language),
                certainty=certainty if is_run else "other-language",
                row=row,
            )
        )
    # A refused token comes before the ping, a client that cannot start calls no tool.
    order = {"no-connection-token": 0, "start": 1, "hang": 3, "tools": 2}
    found.sort(key=lambda skew: order.get(skew.code, order[skew.severity]))
    return found


def is_known(version: str | None) -> bool:
    """Whether this is a version that the table can be asked about."""
    return key(version or "") is not None


def sdk_for(cli_version: str, language: str) -> str:
    """Return the newest SDK known to work with a CLI; empty: none is.

    It can also pass a connection token wherever the CLI demands one.
    """
    return next(
        (
            version
            for version in _SDK_CHOICES.get(language, ())
            if not _matches(version, cli_version, language, needs_token=True)
        ),
        "",
    )


def cli_for(sdk_version: str, language: str) -> str:
    """Return the newest CLI known to work with an SDK; empty: none is."""
    if language not in LANGUAGES:
        return ""
    return next(
        (
            version
            for version in _CLI_CHOICES
            if not _matches(sdk_version, version, language, needs_token=False)
        ),
        "",
    )


def bad_sdks(cli_version: str, language: str, *, needs_token: bool = False) -> list[Row]:
    """Return the rows whose CLI range holds (or may hold) a version: the SDKs to avoid with it."""
    return [
        row
        for row in ROWS
        if row.language == language
        and (needs_token or not row.only_with_token)
        and is_known(cli_version)
        and row.covers_cli(cli_version) is not False
    ]


def sdk_range(row: Row) -> str:
    """Return a row's SDKs as people read them: ``up to 0.3.0``, ``from 1.0.25 on``."""
    if not row.sdk_first:
        return f"up to {row.sdk_last}"
    if not row.sdk_last:
        return f"from {row.sdk_first} on"
    return f"{row.sdk_first} to {row.sdk_last}"


def _matches(
    sdk_version: str | None, cli_version: str | None, language: str, *, needs_token: bool
) -> list[tuple[Row, bool]]:
    """Return the rows that hold (or, between two CLIs that differ, may hold) a combination."""
    if sdk_version is None or cli_version is None:
        return []
    if not is_known(sdk_version) or not is_known(cli_version):
        return []
    found = []
    for row in ROWS:
        covers = row.covers_cli(cli_version)
        is_asked = row.language == language and (needs_token or not row.only_with_token)
        if is_asked and covers is not False and row.covers_sdk(sdk_version):
            found.append((row, covers is True))
    return found


def _within(version: str, first: str, last: str) -> bool:
    is_after = not first or first == version or at_most(version, first) is False
    is_before = not last or at_most(version, last) is True
    return is_after and is_before
