"""The report as JSON: the contract for programs."""

import msgspec

from doctor.reports.report import Report


def render(report: Report) -> str:
    """Return the report as one indented JSON document, all of it ASCII-safe to pipe."""
    return msgspec.json.format(msgspec.json.encode(report), indent=2).decode() + "\n"
