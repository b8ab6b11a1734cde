"""``copilot-doctor checks``: the catalogue as a list."""

import json

import click
import msgspec

from doctor.catalogue.registry import all_checks
from doctor.cli.options import emit, option


@click.command(
    epilog="""\b
Examples:
  copilot-doctor checks            a line each
  copilot-doctor checks --json     with symptoms, causes and sources
  copilot-doctor checks --schema   the JSON Schema of a report
"""
)
@option("--json", "as_json", is_flag=True, help="The whole catalogue as JSON.")
@click.option("--schema", is_flag=True, help="Print the JSON Schema of a report.")
def checks(*, as_json: bool, schema: bool) -> None:
    """List the checks."""
    if schema:
        from doctor.reports.report import json_schema

        emit(json.dumps(json_schema(), indent=2) + "\n")
        return
    if as_json:
        entries = [
            {
                "id": check.id,
                "title": check.title,
                "category": check.category,
                "looks_at": check.looks_at,
                "since": check.since,
                "symptoms": msgspec.to_builtins(check.symptoms),
                "causes": msgspec.to_builtins(check.causes),
                "fixes": msgspec.to_builtins(check.fixes),
            }
            for check in all_checks()
        ]
        emit(json.dumps({"schema_version": "1", "checks": entries}, indent=2) + "\n")
        return
    width = max(len(check.id) for check in all_checks()) + 2
    lines = [f"{check.id:<{width}}{check.title}" for check in all_checks()]
    from doctor.cli.explain import fitted

    emit(fitted("\n".join([*lines, "", "Next      copilot-doctor explain CHECK-ID"]) + "\n"))
