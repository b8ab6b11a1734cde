"""The report for programs: its schema, its keys, and exit codes that no format changes."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from doctor.cli import check as command
from doctor.cli.app import run
from doctor.cli.options import FORMATS
from doctor.examination import Examination
from doctor.reports import json_report
from doctor.reports import report as report_module
from doctor.reports.report import FAIL_ON, Report, exit_code, json_schema
from tests.reports.sample import EVERY_STATUS, finding, full, report

# The contract: what a consumer may rely on within schema_version "1".
KEYS = {
    "": "schema_version doctor_version command started_at elapsed_ms status summary checks "
    "findings routes servers",
    "summary": "pass warn fail skip unknown error",
    "checks": "id title status reason",
    "findings": "check status title detail symptom cause subject origin evidence fixes "
    "documented observed",
    "findings.origin": "kind",
    "findings.evidence": "kind text",
    "findings.fixes": "kind summary safe",
    "findings.documented": "title url",
    "routes": "client target status hops",
    "routes.hops": "name status detail elapsed_ms",
}


def loaded(made: Report) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json_report.render(made))
    return found


def at(value: Any, path: str) -> list[Any]:
    """Return everything at a dotted path, through lists."""
    values = [value]
    for name in filter(None, path.split(".")):
        found = [one[name] for one in values]
        values = [one for many in found for one in (many if isinstance(many, list) else [many])]
    return values


@pytest.mark.parametrize("made", [full(), report(), report("pass", is_partial=True)])
def test_a_report_obeys_its_schema(made: Report) -> None:
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)

    jsonschema.validate(loaded(made), schema)


@pytest.mark.parametrize("path", KEYS)
def test_every_key_of_the_contract_is_always_there(path: str) -> None:
    found = at(loaded(full()), path)

    assert found
    assert all(set(KEYS[path].split()) <= one.keys() for one in found)


def test_origins_tell_where_a_finding_was_seen() -> None:
    assert at(loaded(full()), "findings.origin")[0] == {
        "kind": "process",
        "pid": 7,
        "path": "/p",
        "line": 1,
        "column": 2,
        "name": "n",
    }


def test_a_blocked_hop_names_what_blocks_it() -> None:
    hops = at(loaded(report("fail")), "routes.hops")

    assert [one.get("blocked_by") for one in hops] == [None, None, "connect", None]


@settings(deadline=None)
@given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=30))
def test_whatever_stands_in_it_it_is_ascii_and_survives_a_round_trip(text: str) -> None:
    made = full(text)
    shown = json_report.render(made)

    assert shown.isascii()
    assert msgspec.json.decode(shown, type=Report) == made


def test_it_is_one_indented_document_with_a_line_end() -> None:
    shown = json_report.render(full("🩺"))

    assert shown.startswith('{\n  "schema_version": "1",\n')
    assert shown.endswith("}\n")
    assert r"\ud83e\ude7a" in shown


CASES = {
    "fine": report("pass", "skip"),
    "warned": report("pass", "warn", findings=(finding("warn"),)),
    "failed": report("pass", "fail", "warn", findings=(finding(),)),
    "unknown beside fine": report("pass", "unknown"),
    "all unknown": report("unknown"),
    "all skipped": report("skip"),
    "nothing": report(),
    "broken": report("error", "fail"),
    "interrupted": report("fail", "error", is_partial=True),
}
CODES = {  # with --fail-on fail, warn, unknown
    "fine": (0, 0, 0),
    "warned": (0, 1, 1),
    "failed": (1, 1, 1),
    "unknown beside fine": (0, 0, 1),
    "all unknown": (3, 3, 1),
    "all skipped": (3, 3, 3),
    "nothing": (3, 3, 3),
    "broken": (4, 4, 4),
    "interrupted": (130, 130, 130),
}


@pytest.mark.parametrize("case", CASES)
def test_exit_codes(case: str) -> None:
    assert tuple(exit_code(CASES[case], level) for level in FAIL_ON) == CODES[case]


@pytest.mark.parametrize("case", CASES)
def test_every_format_ends_with_the_same_code(
    case: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsysbinary: pytest.CaptureFixture[bytes],
) -> None:
    monkeypatch.setattr(Examination, "run", lambda _: None)
    monkeypatch.setattr(command, "judge", lambda *_, **__: CASES[case])
    codes = {
        (name, level, *more): run(["check", "--format", name, "--fail-on", level, *more])
        for name in FORMATS
        for place, level in enumerate(FAIL_ON)
        for more in ((), ("--quiet",), ("--verbose",), ("--output", f"json={tmp_path / 'a'}"))
    }

    assert capsysbinary.readouterr().err == b""
    for (_, level, *_), code in codes.items():
        assert code == CODES[case][list(FAIL_ON).index(level)]


def test_every_status_is_in_the_summary() -> None:
    assert loaded(full())["summary"] == dict.fromkeys(EVERY_STATUS, 1)


def test_the_schema_in_the_package_is_the_report_s() -> None:
    # After a change to the report: copilot-doctor checks --schema > doctor/reports/schema.json
    shipped = Path(report_module.__file__).with_name("schema.json")

    assert json.loads(shipped.read_text()) == json.loads(json.dumps(json_schema()))
