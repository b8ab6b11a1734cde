import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from doctor import __version__
from doctor.cli.app import COMMANDS, with_default_command

HEAVY = ("copilot", "pydantic", "httpx", "dns", "asyncio")


def doctor(*args: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "doctor", *args],
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def complaint(result: subprocess.CompletedProcess[str]) -> str:
    """Return the one clear line of a run that ended with bad input."""
    assert result.returncode == 2, result.stderr
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("copilot-doctor: ")
    return lines[0]


@pytest.mark.parametrize("option", ["--version", "-V"])
def test_version(option: str) -> None:
    assert doctor(option).stdout == f"copilot-doctor {__version__}\n"


@pytest.mark.parametrize(
    "args", [("--help",), ("-h",), ("check", "--help"), ("checks", "-h"), ("explain", "-h")]
)
def test_help_has_examples(args: tuple[str, ...]) -> None:
    result = doctor(*args)

    assert result.returncode == 0
    assert "Examples:" in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 80


def test_the_group_help_lists_every_command() -> None:
    assert all(f"  {name} " in doctor("--help").stdout for name in COMMANDS)


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("check", "--select", "port-in-us"), ("port-in-us", "port-in-use")),
        (("check", "--ignore", "nonsense"), ("nonsense",)),
        (("explain", "credential"), ("credential", "credentials")),
        (("check", "not a target"), ("not a target",)),
        (("check", "localhost:99999"), ("99999",)),
        (("check", "localhost:"), ("localhost:",)),
        (("check", "--timeout", "soon"), ("--timeout",)),
        (("check", "--format", "yaml"), ("--format",)),
        (("check", "--no-such-option"), ("--no-such-option",)),
        (("chekc",), ("chekc", "check")),
        (("check", "--output", "json"), ("FORMAT=PATH",)),
        (("check", "--output", "yaml=x"), ("yaml",)),
        (("check", "--output", "json=/proc/no/such/place"), ("/proc/no/such/place",)),
        (("check", "--output", "json=/"), ("directory",)),
        (("check", "--select", "model", "--ignore", "model"), ("leave no check",)),
        (("check", "\x1b[31mred:\x07"), ("is not a target",)),
    ],
)
def test_bad_input_is_one_clear_line(args: tuple[str, ...], words: tuple[str, ...]) -> None:
    line = complaint(doctor(*args))

    assert all(word in line for word in words)
    assert "\x1b" not in line


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("COPILOT_DOCTOR_TIMEOUT", "soon"),
        ("COPILOT_DOCTOR_JSON", "perhaps"),
        ("COPILOT_DOCTOR_FAIL_ON", "never"),
        ("COPILOT_DOCTOR_PORT", "three"),
        ("COPILOT_DOCTOR_FORMAT", "yaml"),
        ("COPILOT_DOCTOR_SELECT", "nonsense"),
    ],
)
def test_a_malformed_environment_value_is_one_clear_line(name: str, value: str) -> None:
    assert value in complaint(doctor("check", **{name: value}))


def test_every_option_can_come_from_the_environment() -> None:
    result = doctor(
        "check", COPILOT_DOCTOR_JSON="1", COPILOT_DOCTOR_SELECT="port-in-use client-isolation"
    )

    assert [check["id"] for check in json.loads(result.stdout)["checks"]] == [
        "port-in-use",
        "client-isolation",
    ]


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ((), ["check"]),
        (("--json",), ["check", "--json"]),
        (("localhost:3000",), ["check", "localhost:3000"]),
        (("3000",), ["check", "3000"]),
        (("[::1]:3000",), ["check", "[::1]:3000"]),
        (("checks",), ["checks"]),
        (("--help",), ["--help"]),
        (("nonsense",), ["nonsense"]),
    ],
)
def test_check_is_the_default_command(args: tuple[str, ...], expected: list[str]) -> None:
    assert expected == with_default_command(args)


def test_output_files_are_written_whole_or_not_at_all(tmp_path: Path) -> None:
    good, bad = tmp_path / "report.json", tmp_path / "no" / "report.json"

    complaint(doctor("check", "--output", f"json={good}", "--output", f"json={bad}"))
    assert list(tmp_path.iterdir()) == []

    result = doctor(
        "check", "--output", f"json={good}", "--output", f"terminal={tmp_path / 'a.txt'}"
    )
    assert json.loads(good.read_text())["schema_version"] == "1"
    assert stat.S_IMODE(good.stat().st_mode) & 0o600 == 0o600
    assert (tmp_path / "a.txt").read_text()
    assert result.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.txt", "report.json"]


@pytest.mark.parametrize(
    "args", [("--version",), ("--help",), ("checks",), ("explain", "model"), ("check", "--json")]
)
def test_heavy_modules_are_not_imported_where_they_are_not_needed(args: tuple[str, ...]) -> None:
    script = (
        "import sys\n"
        f"sys.argv = ['copilot-doctor', *{args!r}]\n"
        "from doctor.cli import main\n"
        "try:\n    main()\n"
        "except SystemExit:\n    pass\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )

    assert result.stderr.splitlines()[-1] == "[]"


def test_a_closed_pipe_ends_without_a_traceback() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "doctor", "checks", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    with process.stderr:
        assert "Traceback" not in process.stderr.read()
    process.wait(timeout=30)


def test_an_ascii_locale_gets_ascii() -> None:
    result = doctor("check", PYTHONIOENCODING="ascii", LC_ALL="C", PYTHONUTF8="0")

    assert result.stdout.isascii()
    assert "Traceback" not in result.stderr


def test_colours_are_for_terminals_only() -> None:
    assert "\x1b" not in doctor("check").stdout
    assert "\x1b" in doctor("check", FORCE_COLOR="1").stdout
    assert "\x1b" not in doctor("check", FORCE_COLOR="1", NO_COLOR="1").stdout


def test_the_readme_opens_with_the_two_commands_that_ci_runs() -> None:
    root = Path(__file__).resolve().parent.parent
    readme = (root / "README.md").read_text()
    test_command = readme.split("```sh\n")[2].split("\n```")[0]

    assert "pytest" in test_command
    assert f"\n{test_command}\n" in (root / ".ci/run").read_text()


def test_the_ready_made_help_is_what_click_prints(monkeypatch: pytest.MonkeyPatch) -> None:
    from click.testing import CliRunner

    from doctor import cli
    from doctor.cli.app import doctor as group

    monkeypatch.setenv("COLUMNS", "80")
    printed = CliRunner().invoke(group, ["--help"], prog_name="copilot-doctor").output

    assert printed == Path(cli.__file__).with_name("help.txt").read_text()
