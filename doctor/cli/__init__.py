"""The command line: the only part that prints, reads the environment for options, and exits."""

import os
import sys

HELP_COLUMNS = 80
_HELP = os.path.join(os.path.dirname(__file__), "help.txt")  # noqa: PTH118, PTH120 - the same


def main() -> None:
    """Run the command line and exit with its code."""
    # These two are asked for by scripts and bug reports: they must not wait for click, whose import
    # takes longer than the interpreter's start. A test compares help.txt with what click prints.
    if sys.argv[1:] in (["--version"], ["-V"]):
        from doctor import __version__

        sys.stdout.write(f"copilot-doctor {__version__}\n")
        sys.exit(0)
    if sys.argv[1:] in (["--help"], ["-h"]) and _columns() >= HELP_COLUMNS:
        with open(_HELP, encoding="utf-8") as text:  # noqa: PTH123 - pathlib is slow to import
            sys.stdout.write(text.read())
        sys.exit(0)
    from doctor.cli.app import run

    sys.exit(run(sys.argv[1:]))


def _columns() -> int:
    try:
        return os.get_terminal_size().columns
    except (OSError, ValueError, AttributeError):  # not a terminal
        return HELP_COLUMNS
