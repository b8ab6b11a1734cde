"""The words in which a check is written: symptoms, causes, fixes, findings, and their sources."""

from doctor.catalogue.check import (
    CATEGORIES,
    Cause,
    Check,
    Documented,
    Symptom,
)
from doctor.catalogue.findings import (
    Evidence,
    Finding,
    NotVisible,
    Outcome,
    Passed,
    Skipped,
    about,
)
from doctor.catalogue.fixes import Edit, Fix, advice, code, command, edit

__all__ = [
    "CATEGORIES",
    "Cause",
    "Check",
    "Documented",
    "Edit",
    "Evidence",
    "Finding",
    "Fix",
    "NotVisible",
    "Outcome",
    "Passed",
    "Skipped",
    "Symptom",
    "about",
    "advice",
    "code",
    "command",
    "edit",
]
