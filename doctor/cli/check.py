"""``copilot-doctor check``: diagnose this machine and the way to each target."""

import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime

import click

from doctor.catalogue import Check
from doctor.catalogue.registry import UnknownCheckError, all_checks, check_by_id
from doctor.cli.app import UsageProblem
from doctor.cli.options import Outputs, columns, emit, option, report_options, wants_color
from doctor.cli.progress import waiting
from doctor.deployment import Origin, Target
from doctor.deployment.targets import parse_target
from doctor.examination import Examination, Request
from doctor.judging import judge
from doctor.reports.report import Report, exit_code


@click.command(
    epilog="""\b
Examples:
  copilot-doctor check                  this machine and COPILOT_CLI_URL
  copilot-doctor check localhost:3000   the way to one server
  copilot-doctor check --port 3000      can a server start on this port?
  copilot-doctor check --json           for programs
  copilot-doctor check --select port-in-use --select credentials
  copilot-doctor check --output json=report.json

The connection token is taken from COPILOT_CONNECTION_TOKEN, never from an argument.
"""
)
@click.argument("targets", nargs=-1, metavar="[TARGET]...")
@option(
    "--port",
    type=int,
    metavar="N",
    help="The port to start or to reach a server on.",
)
@report_options
@click.pass_context
def check(
    ctx: click.Context,
    targets: tuple[str, ...],
    *,
    port: int | None,
    as_json: bool,
    report_format: str,
    outputs: tuple[str, ...],
    select: tuple[str, ...],
    ignore: tuple[str, ...],
    fail_on: str,
    timeout_s: float,
    quiet: bool,
    verbose: bool,
) -> None:
    """Diagnose this machine, and the way to each TARGET (HOST:PORT, a port, or a URL).

    Without a TARGET: COPILOT_CLI_URL where it is set, and the servers found here.
    """
    chosen = choose(select, ignore)
    request = Request(
        targets=tuple(_target(text) for text in targets), port=port, timeout_s=timeout_s
    )
    files = Outputs(outputs)
    started_at, started = datetime.now(UTC), time.monotonic()
    examination = Examination(request)
    is_partial = False
    try:
        with waiting("Looking at this machine", quiet=quiet):
            examination.run()
    except KeyboardInterrupt:
        is_partial = True
    report = judge(
        examination.deployment,
        chosen,
        command="check",
        started_at=started_at,
        elapsed_ms=(time.monotonic() - started) * 1000,
        is_partial=is_partial,
    )

    def render(name: str, *, to_screen: bool = False) -> str:
        return _render(report, name, to_screen=to_screen, verbose=verbose, quiet=quiet)

    files.write(render)
    emit(render("json" if as_json else report_format, to_screen=True))
    ctx.exit(exit_code(report, fail_on))


def choose(select: Sequence[str], ignore: Sequence[str]) -> list[Check]:
    """Return the checks that ``--select`` and ``--ignore`` leave.

    Raises:
        UsageProblem: An id is not a check's, or nothing is left.
    """
    try:
        named = {check_id: check_by_id(check_id) for check_id in (*select, *ignore)}
    except UnknownCheckError as error:
        raise UsageProblem(str(error)) from None
    wanted = [named[check_id] for check_id in dict.fromkeys(select)] or list(all_checks())
    chosen = [check for check in wanted if check.id not in ignore]
    if not chosen:
        raise UsageProblem("--select and --ignore leave no check")
    return chosen


def _target(text: str) -> Target:
    target = parse_target(text, Origin(kind="target", name="argument"))
    if target.problem:
        msg = f"{target.text!r} is not a target: {target.problem}"
        raise UsageProblem(msg)
    return target


def _render(report: Report, name: str, *, to_screen: bool, verbose: bool, quiet: bool) -> str:
    if name == "json":
        from doctor.reports import json_report

        return json_report.render(report)
    from doctor.reports import terminal

    return terminal.render(
        report,
        width=columns() if to_screen else 100,
        color=to_screen and wants_color(),
        encoding=(sys.stdout.encoding or "utf-8") if to_screen else "utf-8",
        verbose=verbose,
        quiet=quiet,
    )
