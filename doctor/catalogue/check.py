"""A check: everything about one kind of failure, in one value."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final, Literal

import msgspec

if TYPE_CHECKING:
    from doctor.catalogue.findings import Outcome
    from doctor.deployment import Deployment

CATEGORIES: Final = (
    "connect",
    "auth",
    "version",
    "entitlement",
    "process",
    "files",
    "permissions",
    "session",
    "network",
    "mcp",
    "provider",
    "platform",
)

Stream = Literal["stdout", "stderr", "log", "json-rpc", "session", "sdk", "behaviour"]


class Documented(msgspec.Struct, frozen=True, kw_only=True):
    """Where a statement is documented.

    Attributes:
        title: Page and section.
        url: Public address; empty for ``copilot help …`` texts.
    """

    title: str
    url: str = ""


class Symptom(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Words that a user sees.

    Attributes:
        text: As printed, with PORT, HOST, N and the like for what varies.
        pattern: Regular expression for `explain`, matched anywhere in a line, case-insensitive.
            Empty where nothing is printed: then `text` describes what happens.
        where: Who prints it.
        versions: CLI versions that print it (observed); empty: versions not established.
        sdk: SDK versions, where it is the SDK that prints it.
    """

    text: str
    pattern: str = ""
    where: Stream
    versions: tuple[str, ...] = ()
    sdk: str = ""


class Cause(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Why a symptom appears, and how that is known.

    Attributes:
        id: Unique within its check.
        text: What is going on, then what should be: one or two sentences.
        documented: The page that says so, or that says otherwise (then `documented_says`).
        documented_says: What the page gives as cause or cure, where that was *not* observed.
        observed: CLI versions on which it was reproduced.
        reported: Public threads of users who met it.
    """

    id: str
    text: str
    documented: Documented | None = None
    documented_says: str = ""
    observed: tuple[str, ...] = ()
    reported: tuple[str, ...] = ()


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of the catalogue.

    Attributes:
        id: Kebab case, never reused; the module has the same name with underscores.
        title: What is checked, as a question that "yes" answers well, at most 60 columns.
        category: One of `CATEGORIES`.
        looks_at: What it reads of the Deployment, for people.
        judge: A pure function of the Deployment: no I/O, no clock, no environment.
        fixes: What `explain` shows without a Deployment at hand: general forms of the fixes.
        since: The doctor's version that brought it.
    """

    id: str
    title: str
    category: str
    looks_at: str
    symptoms: tuple[Symptom, ...]
    causes: tuple[Cause, ...]
    judge: Callable[["Deployment"], Iterable["Outcome"]]
    fixes: tuple["GeneralFix", ...] = ()
    since: str = "0.1.0"

    def __post_init__(self) -> None:
        if self.category not in CATEGORIES:
            msg = f"{self.id}: {self.category!r} is not a category"
            raise ValueError(msg)
        ids = [cause.id for cause in self.causes]
        if len(set(ids)) != len(ids):
            msg = f"{self.id}: a cause id stands twice"
            raise ValueError(msg)

    def cause(self, cause_id: str) -> Cause:
        """Return a cause of this check.

        Raises:
            KeyError: There is no such cause.
        """
        for cause in self.causes:
            if cause.id == cause_id:
                return cause
        raise KeyError(cause_id)


class GeneralFix(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A fix in its general form, for the catalogue.

    Attributes:
        cause: The `Cause.id` that it cures.
        summary: One sentence, imperative.
        shell: A command line, with PLACEHOLDERS in capitals.
        code: A snippet, with its language in `language`.
    """

    cause: str
    summary: str
    shell: str = ""
    code: str = ""
    language: str = ""
