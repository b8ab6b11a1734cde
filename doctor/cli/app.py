"""The command group: which command a command line means, and how it ends."""

import contextlib
import importlib
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import click

from doctor import __version__

if TYPE_CHECKING:
    from types import TracebackType

# Name → (module:attribute, one line for --help). A command is imported when it is called.
COMMANDS: Final = {
    "check": (
        "doctor.cli.check:check",
        "Diagnose this machine and the way to a server (the default).",
    ),
    "checks": ("doctor.cli.checks:checks", "List the checks."),
    "explain": (
        "doctor.cli.explain:explain",
        "Explain one check: causes, fixes, and how they are known.",
    ),
}

_SETTINGS: Final[dict[str, Any]] = {
    "help_option_names": ["-h", "--help"],
    "max_content_width": 100,
}


class UsageProblem(click.ClickException):
    """Bad input: one clear line, exit code 2."""

    exit_code = 2


class _Group(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        # Without importing the commands: `--help` must be instant.
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not _is_target(args[0]):
            import difflib

            near = difflib.get_close_matches(args[0], COMMANDS, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ", nor an address (HOST:PORT)"
            msg = f"{_short(args[0])!r} is not a command{hint}"
            raise UsageProblem(msg)
        return super().resolve_command(ctx, args)


@click.group(
    cls=_Group,
    context_settings=_SETTINGS,
    epilog="""\b
Examples:
  copilot-doctor                        what is wrong on this machine
  copilot-doctor check localhost:3000   the way to one server, hop by hop
  copilot-doctor --port 3000            can a server start on this port?
  copilot-doctor --json                 for programs and pipelines
  copilot-doctor explain port-in-use    one check: causes, fixes, sources

Without a command, `check` is meant: `copilot-doctor check --help` lists its options.
Shell completion: eval "$(_COPILOT_DOCTOR_COMPLETE=bash_source copilot-doctor)"
(zsh_source and fish_source likewise).

\b
Exit codes: 0 no problem, 1 problems, 2 bad input, 3 nothing could be checked,
            4 the doctor itself failed, 130 interrupted.
""",
)
@click.version_option(__version__, "-V", "--version", message="copilot-doctor %(version)s")
def doctor() -> None:
    """Say what is wrong with a GitHub Copilot CLI server or its client, and how to fix it."""


def run(args: Sequence[str]) -> int:
    """Run a command line and return its exit code."""
    try:
        result = doctor.main(
            args=with_default_command(args), prog_name="copilot-doctor", standalone_mode=False
        )
    except click.exceptions.Abort:
        return 130
    except click.exceptions.Exit as finished:
        return finished.exit_code
    except click.ClickException as problem:
        _complain(problem.format_message())
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader of a pipe went away (`| head`): nothing more to say, and no traceback.
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:  # noqa: BLE001 - the last line of defence: no value may escape
        _complain(_crash(error))
        return 4
    return result if isinstance(result, int) else 0


def with_default_command(args: Sequence[str]) -> list[str]:
    """Put ``check`` in front where no command is given."""
    if not args:
        return ["check"]
    first = args[0]
    if first in {"-h", "--help", "-V", "--version"} or first in COMMANDS:
        return list(args)
    return ["check", *args] if first.startswith("-") or _is_target(first) else list(args)


def _is_target(text: str) -> bool:
    return any(sign in text for sign in ":.[") or text.isdecimal() or text == "localhost"


def _crash(error: BaseException) -> str:
    """Describe a defect of the doctor itself without quoting any value that it held."""
    from doctor.redaction import outside

    trace: TracebackType | None = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    name = os.path.basename(trace.tb_frame.f_code.co_filename) if trace else "?"  # noqa: PTH119
    line = trace.tb_lineno if trace else 0
    text = outside(str(error), 200)
    return f"the doctor itself failed: {type(error).__name__} at {name}:{line}: {text}"


def _complain(message: str) -> None:
    from doctor.redaction import printable

    sys.stderr.write(f"copilot-doctor: {printable(message, 500)}\n")


def _short(text: str) -> str:
    from doctor.redaction import outside

    return outside(text, 60)
