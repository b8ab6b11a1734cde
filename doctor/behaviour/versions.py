"""CLI and SDK versions, and facts that hold for some of them.

Behaviour was observed on *tested* versions only.
Between two tested versions that differ, the change happened somewhere:
a fact about a version in such a gap is `unknown`, not guessed.
"""

from collections.abc import Iterable
from typing import Final, Generic, Literal, NamedTuple, TypeVar

import msgspec

T = TypeVar("T")

TESTED: Final = (
    "0.0.400",
    "0.0.420",
    "1.0.2",
    "1.0.11",
    "1.0.22",
    "1.0.32",
    "1.0.44",
    "1.0.57",
    "1.0.63",
    "1.0.64",
    "1.0.73",
    "1.0.81",
    "1.0.92",
    "1.0.102",
)
"""The CLI versions on which behaviour was observed, oldest first."""

NEWEST_TESTED: Final = TESTED[-1]


def key(version: str) -> tuple[int, ...] | None:
    """Return a sortable key of ``1.2.3``, or None for what is not a version.

    A pre-release such as ``1.0.81-2`` sorts before its release.
    """
    core, _, pre = version.strip().removeprefix("v").partition("-")
    parts = core.split(".")
    if len(parts) != 3 or not all(part.isdecimal() and len(part) <= 9 for part in parts):  # noqa: PLR2004
        return None
    return (*(int(part) for part in parts), 0 if pre else 1)


def at_most(version: str | None, bound: str) -> bool | None:
    """Whether a version is `bound` or older; None where the version is not known."""
    ours, theirs = key(version or ""), key(bound)
    return None if ours is None or theirs is None else ours <= theirs


def observed_range(first: str, last: str) -> tuple[str, ...]:
    """Return the tested versions from `first` to `last`, both included."""
    return TESTED[TESTED.index(first) : TESTED.index(last) + 1]


def span(versions: Iterable[str]) -> str:
    """Return tested versions as people read them: ``1.0.44 … 1.0.63, 1.0.102``."""
    known = [version for version in TESTED if version in set(versions)]
    others = [version for version in versions if version not in TESTED]
    runs: list[list[str]] = []
    for version in known:
        if runs and TESTED.index(runs[-1][-1]) + 1 == TESTED.index(version):
            runs[-1].append(version)
        else:
            runs.append([version])
    texts = [run[0] if len(run) == 1 else f"{run[0]} … {run[-1]}" for run in runs]
    return ", ".join([*texts, *others])


class Fact(NamedTuple, Generic[T]):
    """What is known of one version."""

    value: T | None
    certainty: Literal["observed", "between", "newer", "older", "unknown"]
    """``between`` two tested versions that agree, ``newer`` or ``older`` than every tested one:
    then `value` is the neighbour's. ``unknown``: no version given, or in a gap where it changed."""


class ByVersion(msgspec.Struct, Generic[T], frozen=True):
    """A fact that changed over the versions: rows of (first, last, value), oldest first.

    Example:
        >>> bind = ByVersion((("0.0.400", "1.0.22", "*"), ("1.0.32", "1.0.102", "127.0.0.1")))
        >>> bind.at("1.0.63")
        Fact(value='127.0.0.1', certainty='observed')
        >>> bind.at("1.0.25").value is None
        True
    """

    rows: tuple[tuple[str, str, T], ...]

    def at(self, version: str | None) -> Fact[T]:
        """Return the fact for a version."""
        ours = key(version or "")
        if ours is None:
            return Fact(None, "unknown")
        for first, last, value in self.rows:
            low, high = key(first), key(last)
            if low is not None and high is not None and low <= ours <= high:
                return Fact(value, "observed" if version in TESTED else "between")
        oldest, newest = key(self.rows[0][0]), key(self.rows[-1][1])
        if newest is not None and ours > newest:
            return Fact(self.rows[-1][2], "newer")
        if oldest is not None and ours < oldest:
            return Fact(self.rows[0][2], "older")
        return Fact(None, "unknown")

    def where(self, value: T) -> tuple[str, ...]:
        """Return the tested versions with this value."""
        return tuple(
            version
            for first, last, row_value in self.rows
            if row_value == value
            for version in observed_range(first, last)
        )
