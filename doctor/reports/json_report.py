"""The report as JSON: the contract for programs."""

import re
from typing import Final

import msgspec

from doctor.reports.report import Report

_NOT_ASCII: Final = re.compile(r"[^\x00-\x7f]")


def render(report: Report) -> str:
    """Return the report as one indented JSON document.

    All of it is ASCII, so that no code page between the doctor and its reader can harm it.
    """
    text = msgspec.json.format(msgspec.json.encode(report), indent=2).decode()
    # Other characters stand in strings alone, where their escape means the same.
    return _NOT_ASCII.sub(_escaped, text) + "\n"


def _escaped(match: re.Match[str]) -> str:
    units = match.group().encode("utf-16-be").hex()
    return "".join(f"\\u{units[start : start + 4]}" for start in range(0, len(units), 4))
