from collections.abc import Iterator
from datetime import UTC, datetime

import jsonschema
import msgspec
import pytest

from doctor.catalogue import Cause, Check, Finding, NotVisible, Outcome, Passed, Skipped
from doctor.deployment import Deployment, Origin
from doctor.judging import judge
from doctor.reports.report import Report, exit_code, json_schema

NOW = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
CAUSE = Cause(id="cause", text="It is so.", observed=("1.0.63",))
ORIGIN = Origin(kind="process", pid=7)


def finding(
    status: str = "fail", subject: str = "server", follows: tuple[str, ...] = ()
) -> Finding:
    return Finding(
        status=status,  # type: ignore[arg-type]
        title=f"a {status}",
        cause=CAUSE,
        subject=subject,
        origin=ORIGIN,
        follows=follows,
    )


def check(check_id: str, *outcomes: Outcome) -> Check:
    def judge_it(_: Deployment) -> Iterator[Outcome]:
        yield from outcomes

    return Check(
        id=check_id,
        title=check_id,
        category="connect",
        looks_at="nothing",
        symptoms=(),
        causes=(CAUSE,),
        judge=judge_it,
    )


def broken(check_id: str) -> Check:
    def judge_it(_: Deployment) -> Iterator[Outcome]:
        msg = "gho_16C7e42F292c6912E7710c838347Ae178B4a is wrong"
        raise RuntimeError(msg)
        yield

    return msgspec.structs.replace(check(check_id), judge=judge_it)


def report(*checks: Check, is_partial: bool = False) -> Report:
    return judge(
        Deployment(),
        checks,
        command="check",
        started_at=NOW,
        elapsed_ms=1.25,
        is_partial=is_partial,
    )


@pytest.mark.parametrize(
    ("outcomes", "status"),
    [
        ((finding("fail"), Passed(subject="b")), "fail"),
        ((finding("warn"), finding("unknown")), "warn"),
        ((Passed(subject="a"), NotVisible(subject="b", reason="no right")), "unknown"),
        ((Passed(subject="a"), Skipped(reason="no server")), "pass"),
        ((Skipped(reason="no server"),), "skip"),
        ((), "skip"),
    ],
)
def test_the_worst_outcome_is_the_status_of_a_check(
    outcomes: tuple[Outcome, ...], status: str
) -> None:
    assert report(check("a", *outcomes)).checks[0].status == status


def test_a_check_that_breaks_does_not_stop_the_others_and_quotes_no_secret() -> None:
    made = report(broken("a"), check("b", Passed(subject="s")))

    assert [item.status for item in made.checks] == ["error", "pass"]
    assert "RuntimeError" in made.checks[0].reason
    assert "16C7e42F" not in msgspec.json.encode(made).decode()


def test_a_consequence_is_attached_to_its_cause() -> None:
    made = report(
        check("cause-check", finding()), check("effect", finding("warn", follows=("cause-check",)))
    )

    assert [item.check for item in made.findings] == ["cause-check"]
    assert [item.check for item in made.findings[0].related] == ["effect"]


def test_a_consequence_without_its_cause_stands_alone() -> None:
    other_subject = report(
        check("cause-check", finding(subject="one")),
        check("effect", finding(subject="two", follows=("cause-check",))),
    )

    assert {item.check for item in other_subject.findings} == {"cause-check", "effect"}


def test_checks_that_follow_from_each_other_are_not_lost() -> None:
    made = report(
        check("a", finding(follows=("b",))),
        check("b", finding(follows=("a",))),
    )

    assert {item.check for item in made.findings} == {"a", "b"}


def test_what_could_not_be_seen_is_listed_also_beside_a_failure() -> None:
    made = report(check("a", finding(), NotVisible(subject="x", reason="no right", remedy="sudo")))

    assert [(item.subject, item.remedy) for item in made.unseen] == [("x", "sudo")]


@pytest.mark.parametrize(
    ("checks", "fail_on", "code"),
    [
        ((check("a", Passed(subject="s")),), "fail", 0),
        ((check("a", finding("warn")),), "fail", 0),
        ((check("a", finding("warn")),), "warn", 1),
        ((check("a", finding("fail")),), "fail", 1),
        ((check("a", finding("unknown")), check("b", Passed(subject="s"))), "fail", 0),
        ((check("a", finding("unknown")), check("b", Passed(subject="s"))), "unknown", 1),
        ((check("a", Skipped(reason="none")),), "fail", 3),
        ((check("a", NotVisible(subject="s", reason="r")),), "fail", 3),
        ((broken("a"), check("b", finding("fail"))), "fail", 4),
    ],
)
def test_exit_codes(checks: tuple[Check, ...], fail_on: str, code: int) -> None:
    assert exit_code(report(*checks), fail_on) == code


def test_an_interrupted_run_says_so() -> None:
    assert exit_code(report(check("a", Passed(subject="s")), is_partial=True)) == 130


def test_a_report_obeys_its_schema_and_survives_a_round_trip() -> None:
    made = report(check("a", finding(), NotVisible(subject="x", reason="r")), broken("b"))
    text = msgspec.json.encode(made)

    jsonschema.validate(msgspec.json.decode(text), json_schema())
    assert msgspec.json.decode(text, type=Report) == made
