"""The command line: the only part that prints, reads the environment for options, and exits."""

import sys


def main() -> None:
    """Run the command line and exit with its code."""
    # The version is asked for by scripts and bug reports: it must not wait for any import.
    if sys.argv[1:] in (["--version"], ["-V"]):
        from doctor import __version__

        sys.stdout.write(f"copilot-doctor {__version__}\n")
        sys.exit(0)
    from doctor.cli.app import run

    sys.exit(run(sys.argv[1:]))
