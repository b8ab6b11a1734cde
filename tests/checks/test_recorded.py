"""Deployments recorded from real servers, judged by every check: no process, no socket, no wait."""

import json
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from doctor.catalogue.registry import all_checks
from doctor.deployment import Deployment
from doctor.judging import judge
from doctor.reports import json_report, terminal

FOLDER = Path(__file__).resolve().parents[2] / "fixtures/deployments"
RECORDED = sorted(FOLDER.glob("*.json"))
NOW = datetime(2026, 11, 23, tzinfo=UTC)


def test_there_are_recordings() -> None:
    assert len(RECORDED) > 20


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_a_recorded_set_up_is_judged_as_it_was_meant(path: Path) -> None:
    stored = json.loads(path.read_text())
    deployment = msgspec.convert(stored["deployment"], Deployment)

    report = judge(deployment, all_checks(), command="check", started_at=NOW, elapsed_ms=1)

    statuses = {check.id: check.status for check in report.checks}
    assert "error" not in statuses.values(), [c.reason for c in report.checks]
    assert stored["expected"] == {name: statuses[name] for name in stored["expected"]}
    for width in (80, 120):
        assert terminal.render(report, width=width)
    assert json_report.render(report)


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_a_deployment_survives_the_round_trip(path: Path) -> None:
    stored = json.loads(path.read_text())["deployment"]
    deployment = msgspec.convert(stored, Deployment)

    assert msgspec.json.decode(msgspec.json.encode(deployment), type=Deployment) == deployment


def test_no_recording_names_the_machine_it_was_made_on() -> None:
    for path in RECORDED:
        text = path.read_text()
        for trace in ("/root/", "/work/", "/tmp/", "firecracker", "helper"):
            assert trace not in text, (path.name, trace)
