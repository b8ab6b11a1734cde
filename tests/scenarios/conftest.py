"""Scenarios prove fixes; what they prove is recorded, and compared with the record."""

import json
import os
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness import locked
from tests.harness.cli import NEWEST, OLDEST

RECORD = Path(__file__).resolve().parents[2] / "doctor/catalogue/verified.json"
IS_RECORDING = bool(os.environ.get("COPILOT_DOCTOR_RECORD_VERIFIED"))
IS_THOROUGH = bool(os.environ.get("COPILOT_DOCTOR_THOROUGH"))

Proven = Callable[[str, str, str], None]


def _load() -> dict[str, dict[str, list[str]]]:
    loaded: dict[str, dict[str, list[str]]] = json.loads(RECORD.read_text())["fixes"]
    return loaded


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep one variant of each scenario, unless COPILOT_DOCTOR_THOROUGH is set.

    All of them start some 600 servers, half an hour on two cores. The variants kept are of
    the oldest and the newest version in turn, so that every check meets both.
    """
    if IS_THOROUGH:
        return
    here = Path(__file__).parent
    variants: dict[tuple[Path, str], list[pytest.Function]] = {}
    for item in items:
        if isinstance(item, pytest.Function) and item.path.parent == here:
            variants.setdefault((item.path, item.originalname), []).append(item)
    dropped: set[pytest.Item] = set()
    for (path, name), alike in variants.items():
        alike.sort(key=lambda item: item.name)
        # By name, so that a run of one file chooses as a run of all.
        wanted = (OLDEST, NEWEST)[zlib.crc32(f"{path.name}:{name}".encode()) % 2]
        kept = next((item for item in alike if wanted in item.name), alike[0])
        dropped |= {item for item in alike if item is not kept}
    config.hook.pytest_deselected(items=[item for item in items if item in dropped])
    items[:] = [item for item in items if item not in dropped]


@pytest.fixture
def proven() -> Proven:
    """Call it with check, fix and CLI version after a fix has cured a broken set-up.

    With COPILOT_DOCTOR_RECORD_VERIFIED set it writes the record that the doctor ships;
    else it asserts that the record says so: the record cannot promise less or more than is run.
    """

    def prove(check: str, fix: str, version: str) -> None:
        if IS_RECORDING:
            with locked("verified"):  # several processes may run scenarios side by side
                record(check, fix, version)
        else:
            versions = _load().get(check, {}).get(fix, [])
            assert version in versions, f"run `make verified`: {check}, {fix}, {version}"

    def record(check: str, fix: str, version: str) -> None:
        fixes = _load()
        versions = fixes.setdefault(check, {}).setdefault(fix, [])
        if version not in versions:
            versions.append(version)
            versions.sort(key=lambda text: [int(part) for part in text.split(".")])
        ordered = {name: dict(sorted(fixes[name].items())) for name in sorted(fixes)}
        # In one step: the doctor under test reads the record at the same time.
        new = RECORD.with_suffix(".new")
        new.write_text(json.dumps({"fixes": ordered}, indent=1) + "\n")
        new.replace(RECORD)

    return prove
