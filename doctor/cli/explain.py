"""``copilot-doctor explain``: one entry of the catalogue with its provenance."""

import json
import sys
import textwrap

import click
import msgspec

from doctor.behaviour.versions import span
from doctor.catalogue import Cause, Check
from doctor.catalogue.registry import UnknownCheckError, check_by_id
from doctor.cli.app import UsageProblem
from doctor.cli.options import columns, emit, option
from doctor.judging import proven_fixes


@click.command(
    epilog="""\b
Examples:
  copilot-doctor explain port-in-use
  copilot-doctor explain credentials --json
"""
)
@click.argument("check_id", metavar="CHECK-ID")
@option("--json", "as_json", is_flag=True, help="For programs.")
def explain(check_id: str, *, as_json: bool) -> None:
    """Explain one check: symptoms, causes, fixes, and how they are known."""
    try:
        check = check_by_id(check_id)
    except UnknownCheckError as error:
        raise UsageProblem(str(error)) from None
    if as_json:
        emit(json.dumps({"schema_version": "1", "matches": matches(check)}, indent=2) + "\n")
    else:
        emit(fitted(page(check, min(columns(), 100))))


def matches(check: Check) -> list[dict[str, object]]:
    """Return a check as the matches of ``explain --json``, a cause each."""
    return [
        {
            "check": check.id,
            "category": check.category,
            "cause": cause.text,
            "confidence": 1.0,
            "symptom": check.symptoms[0].text if check.symptoms else "",
            "fixes": [msgspec.to_builtins(fix) for fix in check.fixes if fix.cause == cause.id],
            "documented": msgspec.to_builtins(cause.documented),
            "documented_says": cause.documented_says,
            "observed": list(cause.observed),
            "proven_fixes": proven_fixes(check.id),
        }
        for cause in check.causes
    ]


def page(check: Check, width: int) -> str:
    """Return one entry of the catalogue as text."""
    lines = [f"{check.id}: {check.title}", *_wrapped(f"Looks at {check.looks_at}.", width, ""), ""]
    if check.symptoms:
        lines.append("Symptoms")
    for symptom in check.symptoms:
        who = f"SDK {symptom.sdk}" if symptom.sdk else ""
        versions = f"CLI {span(symptom.versions)}" if symptom.versions else ""
        seen = ", ".join(part for part in (symptom.where, versions, who) if part)
        lines += _wrapped(f"{symptom.text}  [{seen}]", width, "  ")
    for cause in check.causes:
        lines += ["", f"Cause: {cause.id}", *_wrapped(cause.text, width, "  ")]
        lines += _provenance(cause, width)
        for fix in check.fixes:
            if fix.cause == cause.id:
                lines += _wrapped(f"Fix: {fix.summary}", width, "  ")
                lines += [f"      {line}" for line in (fix.shell or fix.code).splitlines()]
    proven = proven_fixes(check.id)
    if proven:
        lines += ["", "Fixes proven on the real CLI (broken, found, fixed, found well)"]
        for fix_id, cli_versions in proven.items():
            lines += _wrapped(f"{fix_id}: CLI {span(cli_versions)}", width, "  ")
    return "\n".join(lines) + "\n"


def _provenance(cause: Cause, width: int) -> list[str]:
    lines: list[str] = []
    if cause.documented:
        where = f"{cause.documented.title} {cause.documented.url}".rstrip()
        if cause.documented_says:
            lines += _wrapped(f"Documented otherwise: {cause.documented_says}", width, "  ")
            lines += _wrapped(f"({where})", width, "    ")
        else:
            lines += _wrapped(f"Documented: {where}", width, "  ")
    if cause.observed:
        lines += _wrapped(f"Observed on CLI {span(cause.observed)}", width, "  ")
    else:
        lines.append("  Not reproduced on a real CLI: documented or reported only")
    for thread in cause.reported:
        lines += _wrapped(f"Reported: {thread}", width, "  ")
    return lines


def _wrapped(text: str, width: int, indent: str) -> list[str]:
    return textwrap.wrap(
        text,
        width,
        initial_indent=indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def fitted(text: str) -> str:
    """Return a text that standard output can carry."""
    encoding = sys.stdout.encoding or "utf-8"
    try:
        text.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        from doctor.reports.terminal import fit

        return fit(text, encoding)
    return text
