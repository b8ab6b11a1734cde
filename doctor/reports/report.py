"""The report: one value that every renderer shows.

Its JSON form is the contract of ``--json``, ``schema_version`` "1":
keys are only added within a version.
"""

from typing import Final, Literal

import msgspec

from doctor.catalogue import Documented, Evidence, Fix
from doctor.deployment import Environment, Hop, Origin, Sdk, Status, Unseen

SCHEMA_VERSION: Final = "1"


class CheckResult(msgspec.Struct, frozen=True, kw_only=True):
    """How one check ended."""

    id: str
    title: str
    status: Status
    reason: str = ""


class Related(msgspec.Struct, frozen=True, kw_only=True):
    """A finding that only follows from another one."""

    check: str
    status: Status
    title: str


class ShownFix(Fix, frozen=True, kw_only=True, omit_defaults=True):
    """A fix, with the CLI versions on which a scenario has proven it."""

    safe: bool  # without a default it is always written
    verified: tuple[str, ...] = ()


class ReportedFinding(msgspec.Struct, frozen=True, kw_only=True):
    """One problem, ready to be shown.

    Attributes:
        documented_says: What the page gives instead, where it is not what was observed.
        observed: CLI versions on which the cause was reproduced.
        related: Findings that only follow from this one.
    """

    check: str
    status: Status
    title: str
    detail: str
    symptom: str
    cause: str
    cause_id: str
    subject: str
    origin: Origin
    evidence: tuple[Evidence, ...]
    fixes: tuple[ShownFix, ...]
    documented: Documented | None
    documented_says: str
    observed: tuple[str, ...]
    reported: tuple[str, ...] = ()
    related: tuple[Related, ...] = ()


class ReportedHop(Hop, frozen=True, kw_only=True, omit_defaults=True):
    """One hop of a route, with its detail and time also where there is none."""

    detail: str
    elapsed_ms: float


class ReportedRoute(msgspec.Struct, frozen=True, kw_only=True):
    """One route, hop by hop."""

    client: str
    target: str
    status: Status
    hops: tuple[ReportedHop, ...]
    server: str | None = None


class ReportedServer(msgspec.Struct, frozen=True, kw_only=True):
    """One server, as far as it is known."""

    id: str
    label: str
    mode: str
    version: str | None
    pid: int | None
    wrapper_pid: int | None
    user: str | None
    started_at: str | None
    port: int | None
    addresses: tuple[str, ...]
    command: tuple[str, ...] | None
    environment: Environment
    protocol_version: int | None
    connection_token: str
    signed_in: bool | None
    status_message: str | None
    models: tuple[str, ...] | None


class ReportedClient(msgspec.Struct, frozen=True, kw_only=True):
    """One connected client."""

    id: str
    pid: int | None
    command: tuple[str, ...]
    server: str | None
    sdk: Sdk | None


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """How many checks ended in each status."""

    passed: int = msgspec.field(name="pass", default=0)
    warn: int = 0
    fail: int = 0
    skip: int = 0
    unknown: int = 0
    error: int = 0


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """All that one run has to say.

    Attributes:
        started_at: UTC, ISO 8601.
        status: The worst of the checks; ``skip`` where nothing could be checked.
        is_partial: The run was interrupted.
        sdks: What the project in the working directory uses.
        next_command: What to run next, empty where nothing is left to do.
    """

    schema_version: Literal["1"] = "1"
    doctor_version: str
    command: str
    started_at: str
    elapsed_ms: float
    status: Status
    summary: Summary
    checks: tuple[CheckResult, ...]
    findings: tuple[ReportedFinding, ...]
    routes: tuple[ReportedRoute, ...]
    servers: tuple[ReportedServer, ...]
    clients: tuple[ReportedClient, ...] = ()
    sdks: tuple[Sdk, ...] = ()
    unseen: tuple[Unseen, ...] = ()
    is_partial: bool = False
    next_command: str = ""


FAIL_ON: Final[dict[str, frozenset[Status]]] = {
    "fail": frozenset({"fail"}),
    "warn": frozenset({"fail", "warn"}),
    "unknown": frozenset({"fail", "warn", "unknown"}),
}


def exit_code(report: Report, fail_on: str = "fail") -> int:
    """Return the exit code of a run, the same for every format.

    130 interrupted, 4 a check or a probe broke, 3 nothing could be checked, 1 findings, 0 none.
    """
    statuses = {check.status for check in report.checks}
    if report.is_partial:
        return 130
    if "error" in statuses or any(route.status == "error" for route in report.routes):
        return 4
    if statuses & FAIL_ON[fail_on]:
        return 1
    if not statuses & {"pass", "warn", "fail"}:
        return 3
    return 0


def json_schema() -> dict[str, object]:
    """Return the JSON Schema of a report."""
    schema = msgspec.json.schema(Report)
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = f"copilot-doctor report, schema_version {SCHEMA_VERSION}"
    return schema
