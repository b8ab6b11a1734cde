"""From a Deployment to a Report: run the checks, fold their outcomes, attach consequences."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import msgspec

from doctor import __version__
from doctor.catalogue import Check, Finding, NotVisible, Outcome, Passed, Skipped
from doctor.deployment import WORST_FIRST, Deployment, Server, Status, Unseen, worst
from doctor.redaction import outside
from doctor.reports.report import (
    CheckResult,
    Related,
    Report,
    ReportedClient,
    ReportedFinding,
    ReportedHop,
    ReportedRoute,
    ReportedServer,
    ShownFix,
    Summary,
)


class Judged(msgspec.Struct, kw_only=True):
    """What one check said, before consequences are attached to their causes."""

    check: Check
    outcomes: list[Outcome]
    broke: str = ""


def judge(
    deployment: Deployment,
    checks: Sequence[Check],
    *,
    command: str,
    started_at: datetime,
    elapsed_ms: float,
    is_partial: bool = False,
) -> Report:
    """Let every check judge a Deployment.

    A check that raises ends in ``error``; the others go on.
    """
    judged = [_run(check, deployment) for check in checks]
    findings = _attach(judged)
    results = tuple(_result(item) for item in judged)
    counted = {status: sum(r.status == status for r in results) for status in WORST_FIRST}
    order = {status: place for place, status in enumerate(WORST_FIRST)}
    findings.sort(key=lambda finding: order[finding.status])
    return Report(
        doctor_version=__version__,
        command=command,
        started_at=started_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        elapsed_ms=round(elapsed_ms, 1),
        status=worst(result.status for result in results),
        summary=Summary(
            passed=counted["pass"],
            warn=counted["warn"],
            fail=counted["fail"],
            skip=counted["skip"],
            unknown=counted["unknown"],
            error=counted["error"],
        ),
        checks=results,
        findings=tuple(findings),
        routes=tuple(
            ReportedRoute(
                client=route.client,
                target=route.target.text,
                status=route.status,
                hops=tuple(ReportedHop(**msgspec.structs.asdict(hop)) for hop in route.hops),
                server=route.server,
            )
            for route in deployment.routes
        ),
        servers=tuple(_server(server, deployment) for server in deployment.servers),
        clients=tuple(
            ReportedClient(
                id=client.id,
                pid=client.process.pid if client.process else None,
                command=client.process.command if client.process else (),
                server=client.server,
                sdk=client.sdk,
            )
            for client in deployment.clients
        ),
        sdks=deployment.sdks,
        unseen=_unseen(deployment, judged),
        is_partial=is_partial,
        next_command=_next_command(findings, results),
    )


def _run(check: Check, deployment: Deployment) -> Judged:
    try:
        return Judged(check=check, outcomes=list(check.judge(deployment)))
    except Exception as error:  # noqa: BLE001 - a broken check must not stop the others
        # The message could quote a value: it is cleaned like any text from outside.
        trace = error.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        place = f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}" if trace else ""
        broke = f"{type(error).__name__} at {place}: {outside(str(error), 200)}"
        return Judged(check=check, outcomes=[], broke=broke)


def _result(item: Judged) -> CheckResult:
    if item.broke:
        status: Status = "error"
        reason = f"the check itself broke: {item.broke}"
    elif not item.outcomes:
        status, reason = "skip", "nothing to look at"
    else:
        status = worst(_status(outcome) for outcome in item.outcomes)
        reason = "; ".join(
            dict.fromkeys(_reason(o) for o in item.outcomes if _status(o) == status and _reason(o))
        )
    return CheckResult(id=item.check.id, title=item.check.title, status=status, reason=reason)


def _unseen(deployment: Deployment, judged: Sequence[Judged]) -> tuple[Unseen, ...]:
    """Gather what could not be seen, once each: by the sources, then by the checks."""
    from_checks = (
        Unseen(what=item.check.id, subject=o.subject, reason=o.reason, remedy=o.remedy)
        for item in judged
        for o in item.outcomes
        if isinstance(o, NotVisible)
    )
    return tuple(dict.fromkeys((*deployment.unseen, *from_checks)))


def _status(outcome: Outcome) -> Status:
    if isinstance(outcome, Finding):
        return outcome.status
    if isinstance(outcome, Passed):
        return "pass"
    return "skip" if isinstance(outcome, Skipped) else "unknown"


def _reason(outcome: Outcome) -> str:
    if isinstance(outcome, Finding):
        return outcome.title
    if isinstance(outcome, Passed):
        return outcome.detail
    if isinstance(outcome, Skipped):
        by = f" (blocked by {outcome.blocked_by})" if outcome.blocked_by else ""
        return outcome.reason + by
    remedy = f" ({outcome.remedy})" if outcome.remedy else ""
    return f"{outcome.subject}: {outcome.reason}{remedy}"


def _attach(judged: Sequence[Judged]) -> list[ReportedFinding]:
    """Attach each finding that follows from another one on the same subject."""
    found = [(item.check, o) for item in judged for o in item.outcomes if isinstance(o, Finding)]
    heads: list[tuple[Check, Finding, list[Related]]] = []
    followers: list[tuple[Check, Finding]] = []
    for check, finding in found:
        follows = any(
            other.id in finding.follows
            and cause.subject == finding.subject
            and check.id not in cause.follows
            for other, cause in found
        )
        if follows:
            followers.append((check, finding))
        else:
            heads.append((check, finding, []))
    for check, finding in followers:
        related = Related(check=check.id, status=finding.status, title=finding.title)
        for other, head, attached in heads:
            if other.id in finding.follows and head.subject == finding.subject:
                attached.append(related)
                break
        else:  # the cause is itself attached elsewhere: better shown twice than lost
            heads.append((check, finding, []))
    return [_reported(check, finding, related) for check, finding, related in heads]


def _reported(check: Check, finding: Finding, related: Sequence[Related]) -> ReportedFinding:
    cause = finding.cause
    return ReportedFinding(
        check=check.id,
        status=finding.status,
        title=finding.title,
        detail=finding.detail,
        symptom=finding.symptom,
        cause=cause.text,
        cause_id=cause.id,
        subject=finding.subject,
        origin=finding.origin,
        evidence=finding.evidence,
        fixes=tuple(
            ShownFix(
                **{name: getattr(fix, name) for name in fix.__struct_fields__},
                verified=verified_on(check.id, fix.id),
            )
            for fix in finding.fixes
        ),
        documented=cause.documented,
        documented_says=cause.documented_says,
        observed=cause.observed,
        reported=cause.reported,
        related=tuple(related),
    )


@cache
def _verified() -> dict[str, dict[str, list[str]]]:
    text = (
        Path(__file__).with_name("catalogue").joinpath("verified.json").read_text(encoding="utf-8")
    )
    loaded: dict[str, dict[str, list[str]]] = json.loads(text)["fixes"]
    return loaded


def verified_on(check_id: str, fix_id: str) -> tuple[str, ...]:
    """Return the CLI versions on which a scenario run has proven a fix.

    The file is written by the scenario tests, never by hand.
    """
    return tuple(_verified().get(check_id, {}).get(fix_id, ()))


def proven_fixes(check_id: str) -> dict[str, tuple[str, ...]]:
    """Return the fixes of a check that scenario runs have proven, with the CLI versions."""
    return {fix_id: tuple(versions) for fix_id, versions in _verified().get(check_id, {}).items()}


def _server(server: Server, deployment: Deployment) -> ReportedServer:
    shake = deployment.handshake(server)
    process = server.process
    return ReportedServer(
        id=server.id,
        label=server.label,
        mode=server.mode,
        version=server.version,
        pid=process.pid if process else None,
        wrapper_pid=server.wrapper.pid if server.wrapper else None,
        user=process.user if process else None,
        started_at=process.started_at if process else None,
        port=server.port,
        addresses=tuple(
            f"[{item.address}]:{item.port}"
            if ":" in item.address
            else f"{item.address}:{item.port}"
            for item in server.listeners
        ),
        command=(*server.command.program, *server.command.arguments) if server.command else None,
        environment=server.environment,
        protocol_version=shake.protocol_version if shake else None,
        connection_token=shake.token if shake else "unknown",
        signed_in=shake.signed_in if shake else None,
        status_message=shake.status_message if shake else None,
        models=shake.models if shake else None,
    )


def _next_command(findings: Sequence[ReportedFinding], results: Sequence[CheckResult]) -> str:
    """Return what to run next: the best fix where it is one line, else what comes after it."""
    for finding in findings:
        if finding.status == "unknown":
            break
        best = next((fix for fix in finding.fixes if fix.kind == "command"), None)
        if best is not None and "\n" not in best.shell:
            return best.shell
        return "copilot-doctor"
    if findings:
        return f"copilot-doctor explain {findings[0].check}"
    if not any(result.status in {"pass", "warn", "fail"} for result in results):
        return "copilot --server --port 3000"
    return ""
