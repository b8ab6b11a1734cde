"""Options that commands share, and where their results are written."""

import contextlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from doctor.cli.app import UsageProblem
from doctor.redaction import outside

F = TypeVar("F", bound=Callable[..., Any])

FORMATS: Final = ("terminal", "json")


def option(*names: str, **settings: Any) -> Callable[[F], F]:  # noqa: ANN401 - click's own types
    """Make an option that an environment variable COPILOT_DOCTOR_… can give as well."""
    long = next(name for name in names if name.startswith("--"))
    variable = "COPILOT_DOCTOR_" + long.removeprefix("--").replace("-", "_").upper()
    settings.setdefault("envvar", variable)
    settings.setdefault("show_envvar", False)
    return click.option(*names, **settings)


def report_options(function: F) -> F:
    """Add the options that every command with a report has."""
    for decorate in reversed(
        (
            option("--json", "as_json", is_flag=True, help="Short for --format json."),
            option(
                "--format",
                "report_format",
                type=click.Choice(FORMATS),
                default="terminal",
                help="What standard output gets.",
            ),
            option(
                "--output",
                "outputs",
                multiple=True,
                metavar="FORMAT=PATH",
                help="Also write the report to a file; can be repeated.",
            ),
            option(
                "--select", multiple=True, metavar="CHECK-ID", help="Only this check; repeatable."
            ),
            option(
                "--ignore", multiple=True, metavar="CHECK-ID", help="Not this check; repeatable."
            ),
            option(
                "--fail-on",
                type=click.Choice(("fail", "warn", "unknown")),
                default="fail",
                show_default=True,
                help="The least status that makes the exit code 1.",
            ),
            option(
                "--timeout",
                "timeout_s",
                type=click.FloatRange(min=0.1, max=600),
                default=5.0,
                show_default=True,
                metavar="SECONDS",
                help="The longest wait for any one answer.",
            ),
            option("--quiet", "-q", is_flag=True, help="Only the findings."),
            option("--verbose", "-v", is_flag=True, help="Every check, with its reason."),
        )
    ):
        function = decorate(function)
    return function


class Outputs:
    """Files that get a report: opened before the work, so that none fails after it.

    Raises:
        UsageProblem: A format is unknown or a path cannot be written.
    """

    def __init__(self, texts: tuple[str, ...]) -> None:
        self._files: list[tuple[str, Path, str]] = []
        try:
            for text in texts:
                self._open(text)
        except UsageProblem:
            self.discard()
            raise

    def _open(self, text: str) -> None:
        name, sign, place = text.partition("=")
        if not sign or not place:
            msg = f"--output takes FORMAT=PATH, not {outside(text, 80)!r}"
            raise UsageProblem(msg)
        if name not in FORMATS:
            msg = f"--output knows the formats {', '.join(FORMATS)}, not {outside(name, 40)!r}"
            raise UsageProblem(msg)
        path = Path(place)
        if path.is_dir():
            msg = f"--output cannot write {outside(place, 120)!r}: it is a directory"
            raise UsageProblem(msg)
        import tempfile

        try:
            # Written beside its place and renamed at the end: never a half report.
            handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
            os.close(handle)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not a path"
            msg = f"--output cannot write {outside(place, 120)!r}: {reason}"
            raise UsageProblem(msg) from None
        self._files.append((name, path, temporary))

    def write(self, render: Callable[[str], str]) -> None:
        """Write every file; `render` makes the text of a format."""
        for name, path, temporary in self._files:
            Path(temporary).write_text(render(name), encoding="utf-8")
            mask = os.umask(0)
            os.umask(mask)
            Path(temporary).chmod(0o666 & ~mask)
            Path(temporary).replace(path)
        self._files.clear()

    def discard(self) -> None:
        """Leave nothing behind."""
        for _, _, temporary in self._files:
            with contextlib.suppress(OSError):
                Path(temporary).unlink()
        self._files.clear()


def emit(text: str) -> None:
    """Write to standard output whatever its encoding can carry."""
    encoding = sys.stdout.encoding or "utf-8"
    data = text.encode(encoding, "replace")
    buffer = getattr(sys.stdout, "buffer", None)
    if buffer is None:
        sys.stdout.write(data.decode(encoding))
    else:
        sys.stdout.flush()
        buffer.write(data)
        buffer.flush()


def wants_color() -> bool:
    """Whether standard output shows colours (NO_COLOR, FORCE_COLOR, TERM, a pipe)."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return sys.stdout.isatty() and os.environ.get("TERM") not in {"dumb", "unknown"}


def columns() -> int:
    """Return the width to write for: the terminal's, 80 where there is none."""
    import shutil

    return min(shutil.get_terminal_size((80, 24)).columns, 120)
