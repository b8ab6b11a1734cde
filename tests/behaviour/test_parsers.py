"""The two parsers against what the real ones made of the same command lines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from doctor.behaviour import flags as table
from doctor.behaviour.parsers import integer, parse_int, read

OBSERVED = json.loads(
    (Path(__file__).parent.parent / "deployment" / "launch_observed.json").read_text()
)


def outcome(argv: list[str], version: str) -> dict[str, Any]:
    """Say what the parser made of a command line, in the words of the record."""
    reading = read(argv, version)
    if reading.error:
        return {"error": reading.error.splitlines()[0]}
    if reading.prints:
        return {"prints": reading.prints}
    if reading.command:
        return {"command": reading.command}
    options: dict[str, Any] = {}
    for item in reading.given:
        assert item.flag is not None
        same = [other for other in reading.given if other.name == item.name]
        values = [value for other in same for value in other.values]
        name, value = item.name, item.values[-1] if item.values else True
        if item.flag.arity == "variadic":
            keeps_all = table.parser_of(version) == "clap" or item.values
            value = (values or True) if keeps_all else True
        elif item.flag.number:
            number = integer(values, item.flag)
            value = "NaN" if number is None else number
        elif item.flag.choices == ("on", "off") and item.flag.arity == "optional":
            name, value = (f"--no-{name[2:]}", True) if value == "off" else (name, True)
        opposite = f"--no-{name[2:]}" if not name.startswith("--no-") else f"--{name[5:]}"
        options.pop(opposite, None)
        options[name] = value
    return {"options": options}


def comparable(options: dict[str, Any]) -> dict[str, list[Any]]:
    """Level what is not the parser's part: paths made absolute, texts made numbers later."""

    def level(part: Any) -> Any:
        if isinstance(part, bool):
            return part
        if isinstance(part, int) or (isinstance(part, str) and part.isdecimal()):
            return float(part)
        return part.rpartition("/")[2] if isinstance(part, str) else part

    return {
        name: [level(part) for part in (value if isinstance(value, list) else [value])]
        for name, value in options.items()
    }


@pytest.mark.parametrize("version", table.recorded_versions())
def test_reads_every_recorded_command_line_as_the_real_parser_did(version: str) -> None:
    compared = 0
    for entry in OBSERVED:
        for recorded in entry["outcomes"]:
            if version not in recorded["versions"]:
                continue
            compared += 1
            expected = {k: v for k, v in recorded.items() if k != "versions"}
            found = outcome(entry["argv"], version)
            if "options" in expected and "options" in found:
                ours, theirs = comparable(found["options"]), comparable(expected["options"])
                for name, values in theirs.items():
                    # A flag that the CLI itself collects into a list keeps all its values there.
                    if len(values) > 1 and len(ours.get(name, [])) == 1:
                        ours[name] = [
                            value.rpartition("/")[2]
                            for item in read(entry["argv"], version).given
                            if item.name == name
                            for value in item.values
                        ]
                assert ours == theirs, entry["argv"]
            elif "cannot be used with" in expected.get("error", ""):
                assert "cannot be used with" in found.get("error", ""), entry["argv"]
            else:
                assert found == expected, entry["argv"]
    assert compared == len(OBSERVED)


@pytest.mark.parametrize(
    ("text", "radix", "expected"),
    [
        ("3000", 0, 3000),
        ("3000abc", 0, 3000),
        ("3e3", 0, 3),
        ("0x50", 0, 80),
        ("0x50", 10, 0),
        (" \n3000", 0, 3000),
        ("-1", 0, -1),
        ("", 0, None),
        ("abc", 0, None),
        ("4000", 3000, None),
        ("12", 3, 5),
        ("10", 2**32 + 2, 2),
        ("\uff13", 0, None),
    ],
)
def test_parse_int_is_javascripts(text: str, radix: int, expected: int | None) -> None:
    assert parse_int(text, radix) == expected


def test_a_second_port_loses_the_first_where_commander_takes_it_for_a_radix() -> None:
    texts = ["3000", "4000"]
    assert integer(texts, table.flags_of("1.0.63")["--port"]) is None
    assert integer(texts, table.flags_of("1.0.102")["--port"]) == 4000
    assert integer(texts, table.flags_of("0.0.400")["--port"]) == 4000


def test_all_problems_are_noted_also_behind_the_one_that_ends_the_start() -> None:
    reading = read(["--bind", "x", "--log-level", "loud", "--server=1"], "1.0.102")
    assert [item.problem for item in reading.given] == ["unknown", "bad-choice", "unwanted-value"]
    assert reading.error == "error: unexpected argument '--bind' found"


def test_commander_lets_a_flag_swallow_the_next_one() -> None:
    swallowed = read(["--server", "--port", "--stdio"], "1.0.63").given
    assert [(item.name, item.values) for item in swallowed] == [
        ("--server", []),
        ("--port", ["--stdio"]),
    ]
    assert read(["--server", "--port", "--stdio"], "1.0.102").error.startswith("error: a value")


@given(
    st.lists(
        st.one_of(
            st.text(max_size=12),
            st.sampled_from(sorted(table.flags_of(None))),
            st.sampled_from(["--", "-", "-sp", "--port=", "-1", "mcp", "help", "--x=y"]),
        ),
        max_size=12,
    ),
    st.sampled_from([*table.recorded_versions(), "9.9.9", "nonsense", None]),
)
def test_never_raises_and_loses_no_word(argv: list[str], version: str | None) -> None:
    reading = read(argv, version)
    taken = [i for item in reading.given for i in range(item.index, item.index + item.words)]
    assert all(0 <= index < len(argv) for index in taken)
    if not reading.command:
        rest = [word for i, word in enumerate(argv) if i not in set(taken)]
        assert [w for w in rest if w != "--"] == [w for w in reading.operands if w != "--"]
