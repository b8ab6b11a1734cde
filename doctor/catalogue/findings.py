"""What a check says of a Deployment."""

from typing import Literal

import msgspec

from doctor.catalogue.check import Cause
from doctor.catalogue.fixes import Fix
from doctor.deployment import Client, Origin, Route, Server


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """One measured fact.

    Attributes:
        kind: ``process``, ``socket``, ``environment``, ``command``, ``wire``, ``file``, ``dns``,
            ``platform``, ``package``.
        text: The fact as a short sentence or as ``what: value``.
    """

    kind: str
    text: str


class Finding(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A problem, or something that decides about one and cannot be seen.

    Attributes:
        status: ``fail``: it does not work or is dangerous; ``warn``: it will not work for some,
            or not as the reader thinks; ``unknown``: what decides it cannot be seen from here.
        title: State what is, at most 90 columns, no full stop.
        cause: Why (one of the check's causes).
        subject: What it is about, as people name it.
        detail: What is measured here, for this subject, where the title does not say it all.
        symptom: What the user sees because of it: the exact words on this version if known.
        origin: Where it was seen.
        evidence: Measured facts, the most telling one first.
        fixes: Alternatives, best first.
        follows: Ids of checks: where one of them has a finding on the same subject,
            this one is only its consequence and is attached to it.
    """

    status: Literal["warn", "fail", "unknown"]
    title: str
    cause: Cause
    subject: str
    origin: Origin
    detail: str = ""
    symptom: str = ""
    evidence: tuple[Evidence, ...] = ()
    fixes: tuple[Fix, ...] = ()
    follows: tuple[str, ...] = ()


class Passed(msgspec.Struct, frozen=True, kw_only=True):
    """Something that was looked at and is right."""

    subject: str
    detail: str = ""


class Skipped(msgspec.Struct, frozen=True, kw_only=True):
    """The check does not apply, or a named hop or check blocked it."""

    reason: str
    blocked_by: str = ""


class NotVisible(msgspec.Struct, frozen=True, kw_only=True):
    """What the check needs could not be seen."""

    subject: str
    reason: str
    remedy: str = ""


Outcome = Finding | Passed | Skipped | NotVisible


def about(thing: Server | Client | Route) -> str:
    """Return the subject of a finding: the same text for the same thing in every check."""
    if isinstance(thing, Server):
        return thing.label
    if isinstance(thing, Client):
        who = f"pid {thing.process.pid}" if thing.process else str(thing.origin)
        return f"client {who}"
    return f"route to {thing.target.text}"
