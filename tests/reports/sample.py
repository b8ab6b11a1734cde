"""Reports with something of everything, and with a text of the test's choice in every field."""

from __future__ import annotations

from typing import Any

from doctor.catalogue import Documented, Evidence
from doctor.catalogue.fixes import Edit
from doctor.deployment import Environment, Origin, Sdk, Unseen, worst
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

LONG = "The server listens beyond this host and has no connection token — so it is open… " * 3


def hop(name: str, status: str, detail: str = "", **facts: Any) -> ReportedHop:
    return ReportedHop(
        name=name,
        status=status,  # type: ignore[arg-type]
        detail=detail,
        **{"elapsed_ms": 0.0} | facts,
    )


def finding(status: str = "fail", text: str | None = None, **facts: Any) -> ReportedFinding:
    """A finding; `text` replaces every text of it."""

    def say(default: str) -> str:
        return default if text is None else text

    fields: dict[str, Any] = {
        "check": say("port-in-use"),
        "status": status,
        "title": say("Port 3000 is held by another program"),
        "detail": say(LONG),
        "symptom": say("Error: listen EADDRINUSE: address already in use 127.0.0.1:3000"),
        "cause": say(LONG),
        "cause_id": say("other-program"),
        "subject": say("port 3000"),
        "origin": Origin(kind="process", pid=7, path=say("/p"), line=1, column=2, name=say("n")),
        "evidence": (Evidence(kind=say("socket"), text=say("127.0.0.1:3000 listen, pid 7")),),
        "fixes": (
            ShownFix(
                id=say("stop"),
                kind="command",
                summary=say("Stop it"),
                shell=say("kill 7 && sleep 2\ncopilot --server --port 3000 " + "--flag " * 20),
                argv=("sh", "-c", say("kill 7")),
                safe=False,
                verified=("1.0.63", "1.0.102"),
            ),
            ShownFix(
                id="code",
                kind="code",
                summary=say("In the client"),
                language=say("python"),
                code=say("if True:\n    run('a  b')"),
                safe=True,
            ),
            ShownFix(
                id="code",
                kind="code",
                summary=say("In the client"),
                language=say("go"),
                code=say("if true {\n\trun()\n}"),
                safe=True,
            ),
            ShownFix(
                id="edit",
                kind="edit",
                summary=say("Change the file"),
                edits=(
                    Edit(
                        path=say("compose.yaml"),
                        line=1,
                        column=1,
                        end_line=1,
                        end_column=2,
                        new=say("new"),
                    ),
                ),
                safe=False,
            ),
        ),
        "documented": Documented(title=say("Standalone Server Mode"), url=say("https://x.example")),
        "documented_says": say("it says something else"),
        "observed": ("1.0.63", "1.0.102"),
        "related": (
            Related(check=say("credentials"), status="warn", title=say("It has no sign-in")),
        ),
    }
    return ReportedFinding(**fields | facts)


def report(
    *statuses: str,
    findings: tuple[ReportedFinding, ...] = (),
    text: str | None = None,
    **facts: Any,
) -> Report:
    """A report of checks with these statuses; `text` replaces every text of it."""

    def say(default: str) -> str:
        return default if text is None else text

    checks = tuple(
        CheckResult(id=say(f"{status}-check"), title=say("?"), status=status, reason=say("because"))  # type: ignore[arg-type]
        for status in statuses
    )
    count = {name: statuses.count(name) for name in Summary.__struct_encode_fields__}
    fields: dict[str, Any] = {
        "doctor_version": "0.1.0",
        "command": "check",
        "started_at": "2026-11-23T08:00:00Z",
        "elapsed_ms": 12.5,
        "status": worst(check.status for check in checks),
        "summary": Summary(
            passed=count["pass"],
            warn=count["warn"],
            fail=count["fail"],
            skip=count["skip"],
            unknown=count["unknown"],
            error=count["error"],
        ),
        "checks": checks,
        "findings": findings,
        "routes": (
            ReportedRoute(
                client=say("copilot-doctor"),
                target=say("127.0.0.1:3000"),
                status="fail",
                hops=(
                    hop("resolve", "pass", say("an address"), elapsed_ms=0.1),
                    hop(say("connect"), "fail", say("refused"), expected=say("accepts")),
                    hop("handshake", "skip", blocked_by=say("connect")),
                    hop("models", "error", say("broke")),
                ),
            ),
        ),
        "servers": (
            ReportedServer(
                id=say("server-1"),
                label=say("Copilot server 1.0.102 on port 3000 (pid 7)"),
                mode="server",
                version=say("1.0.102"),
                pid=7,
                wrapper_pid=None,
                user=say("mona"),
                started_at=None,
                port=3000,
                addresses=(say("127.0.0.1:3000"), say("[::1]:3000")),
                command=(say("copilot"),),
                environment=Environment(visible=False, reason=say("not read")),
                protocol_version=3,
                connection_token="unknown",
                signed_in=None,
                status_message=say("Not authenticated"),
                models=(say("gpt"),),
            ),
        ),
        "clients": (
            ReportedClient(
                id=say("client-1"), pid=8, command=(say("python"),), server="s", sdk=None
            ),
        ),
        "sdks": (
            Sdk(language="python", package=say("p"), version=say("1"), exactness="installed"),
        ),
        "unseen": (
            Unseen(
                what=say("environment"),
                subject=say("process 7"),
                reason=say("it belongs to another user"),
                remedy=say("run as root"),
                origin=Origin(kind="process", pid=7),
            ),
        ),
        "next_command": say("kill 7"),
    }
    return Report(**fields | facts)


EVERY_STATUS = ("fail", "warn", "unknown", "error", "skip", "pass")


def full(text: str | None = None) -> Report:
    """A report with every status, and findings of each sort."""
    return report(
        *EVERY_STATUS,
        findings=tuple(finding(status, text) for status in ("fail", "warn", "unknown")),
        text=text,
    )
