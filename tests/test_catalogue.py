"""What every check must be, whoever writes it."""

import ast
import json
import re
from pathlib import Path

import pytest

from doctor.behaviour.versions import TESTED
from doctor.catalogue import Check, Skipped
from doctor.catalogue.registry import UnknownCheckError, all_checks, check_by_id
from doctor.cli.explain import page
from doctor.deployment import Deployment

ROOT = Path(__file__).resolve().parent.parent
CHECKS = all_checks()
IDS = [check.id for check in CHECKS]
# Fixed by the contract: these always exist.
PROMISED = {
    "port-in-use",
    "listener-exposed",
    "listener-unreachable",
    "connection-token",
    "token-precedence",
    "token-type",
    "no-auto-login",
    "credentials",
    "tool-approval",
    "service-name",
    "launch-flags",
    "permission-rules",
    "model",
    "sdk-compatibility",
    "server-handshake",
    "client-isolation",
    "log-secrets",
    "process-tree",
    "home-directory",
}
# A judge is pure: whatever reads the machine, the clock or the environment stays outside.
IMPURE = {
    "os",
    "sys",
    "socket",
    "subprocess",
    "time",
    "datetime",
    "pathlib",
    "psutil",
    "threading",
    "random",
    "dns",
    "rich",
    "click",
    "copilot",
}

every_check = pytest.mark.parametrize("check", CHECKS, ids=IDS)


def test_the_promised_checks_exist() -> None:
    assert set(IDS) >= PROMISED


@every_check
def test_its_module_has_its_name_and_its_tests_exist(check: Check) -> None:
    module = check.id.replace("-", "_")

    assert (ROOT / f"doctor/checks/{module}.py").exists()
    assert (ROOT / f"tests/checks/test_{module}.py").exists()
    assert (ROOT / f"tests/scenarios/test_{module}.py").exists()


@every_check
def test_its_judge_is_pure(check: Check) -> None:
    tree = ast.parse((ROOT / f"doctor/checks/{check.id.replace('-', '_')}.py").read_text())
    imported = {
        name.split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in (
            [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else [alias.name for alias in node.names]
        )
    }

    assert not imported & IMPURE
    assert "doctor.checks" not in {
        node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)
    }


@every_check
def test_it_is_complete(check: Check) -> None:
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", check.id)
    assert check.title.endswith("?")
    assert len(check.title) <= 60
    assert check.symptoms
    assert check.causes
    assert all(cause.text.endswith((".", ".)")) for cause in check.causes)
    fixed = {fix.cause for fix in check.fixes}
    assert fixed <= {cause.id for cause in check.causes}
    assert {cause.id for cause in check.causes} <= fixed, "a cause without a fix"


@every_check
def test_every_statement_has_a_source(check: Check) -> None:
    for cause in check.causes:
        assert cause.observed or cause.documented or cause.reported, cause.id
        assert set(cause.observed) <= set(TESTED), cause.id
        if cause.documented_says:
            assert cause.documented, cause.id
        if cause.documented and cause.documented.url:
            assert re.match(
                r"https://(docs\.github\.com/en|github\.com/github|docs\.docker\.com|kubernetes\.io)",
                cause.documented.url,
            ), cause.documented.url


@every_check
def test_its_patterns_match_the_words_they_stand_for(check: Check) -> None:
    for symptom in check.symptoms:
        assert set(symptom.versions) <= set(TESTED)
        if symptom.pattern:
            example = re.sub(r"\b(PORT|N)\b", "3000", symptom.text)
            assert re.search(symptom.pattern, example, re.IGNORECASE), symptom.text


@every_check
def test_it_has_nothing_to_say_of_nothing(check: Check) -> None:
    outcomes = list(check.judge(Deployment()))

    assert outcomes
    assert all(isinstance(outcome, Skipped) for outcome in outcomes), outcomes


@every_check
def test_its_entry_can_be_shown(check: Check) -> None:
    text = page(check, 80)

    assert check.id in text
    assert all(cause.id in text for cause in check.causes)
    # Commands to paste and addresses are not broken.
    free = ("      ", "http")
    assert not [
        line for line in text.splitlines() if len(line) > 80 and not any(f in line for f in free)
    ]


def test_an_unknown_check_is_named_with_its_neighbour() -> None:
    with pytest.raises(UnknownCheckError, match="port-in-use"):
        check_by_id("port-in-usse")


def test_the_record_of_proven_fixes_names_checks_and_tested_versions() -> None:
    record = json.loads((ROOT / "doctor/catalogue/verified.json").read_text())["fixes"]

    assert set(record) <= set(IDS)
    assert record, "run `make verified`"
    for fixes in record.values():
        assert all(set(versions) <= set(TESTED) for versions in fixes.values())


def test_the_changelog_names_every_check() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text()

    assert all(f"`{check_id}`" in changelog for check_id in IDS)
