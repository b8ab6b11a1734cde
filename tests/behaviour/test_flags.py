"""The table of flags by version, and what somebody probably meant."""

from __future__ import annotations

import subprocess
import sys

import pytest

from doctor.behaviour.flags import (
    SERVER_EFFECTS,
    advice,
    commands_of,
    distance,
    flags_of,
    nearest,
    parser_of,
    recorded_versions,
)
from doctor.behaviour.flags import tested as version_of_the_table


@pytest.mark.parametrize(
    ("flag", "first", "last"),
    [
        ("--server", "0.0.400", "1.0.102"),
        ("--headless", "1.0.2", "1.0.102"),
        ("--host", "1.0.32", "1.0.102"),
        ("--session-idle-timeout", "1.0.32", "1.0.102"),
        ("--no-auto-login", "0.0.400", "1.0.102"),
        ("--auth-token-env", "0.0.400", "1.0.102"),
        ("--trust-folder", "1.0.102", "1.0.102"),
        ("--enable-websockets", "1.0.2", "1.0.2"),
    ],
)
def test_versions_that_have_a_flag(flag: str, first: str, last: str) -> None:
    versions = recorded_versions()
    having = [version for version in versions if flag in flags_of(version)]
    assert having == list(versions[versions.index(first) : versions.index(last) + 1])


def test_what_a_server_needs_is_hidden_from_the_help() -> None:
    for version in recorded_versions():
        flags = flags_of(version)
        hidden = ("--server", "--port", "--stdio", "--no-auto-login")
        assert all(flags[name].hidden for name in hidden)
        assert not flags["--allow-all-tools"].hidden


@pytest.mark.parametrize(
    ("flag", "arity"),
    [
        ("--server", "none"),
        ("--port", "value"),
        ("--resume", "optional"),
        ("--allow-tool", "variadic"),
    ],
)
def test_arity(flag: str, arity: str) -> None:
    assert {flags_of(version)[flag].arity for version in recorded_versions()} == {arity}


def test_choices_and_aliases() -> None:
    levels = flags_of("1.0.63")["--log-level"].choices
    assert levels == ("none", "error", "warning", "info", "debug", "all", "default")
    assert "claude-sonnet-4.5" in flags_of("0.0.400")["--model"].choices
    assert flags_of("1.0.11")["--model"].choices == ()
    assert flags_of("1.0.63")["-p"] is flags_of("1.0.63")["--prompt"]
    assert flags_of("1.0.102")["--effort"].name == "--reasoning-effort"


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("1.0.63", "1.0.63"),
        ("1.0.70", "1.0.64"),
        ("1.0.64-1", "1.0.63"),
        ("v1.0.102", "1.0.102"),
        ("2.0.0", "1.0.102"),
        ("0.0.1", "0.0.400"),
        ("latest", "1.0.102"),
        ("", "1.0.102"),
        (None, "1.0.102"),
    ],
)
def test_the_nearest_recorded_version_that_is_not_newer_counts(
    version: str | None, expected: str
) -> None:
    assert version_of_the_table(version) == expected
    assert flags_of(version) == flags_of(expected)


def test_the_parser_changed_between_two_recorded_versions() -> None:
    assert [parser_of(version) for version in ("1.0.81", "1.0.92")] == ["commander", "clap"]


def test_subcommands() -> None:
    assert {"help", "init", "login", "mcp", "plugin", "update", "version"} <= commands_of("1.0.63")
    assert "login" not in commands_of("0.0.400")
    assert "server" not in commands_of(None)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("--bind", "--host"),
        ("--hostname", "--host"),
        ("--address", "--host"),
        ("--listen", "--host"),
        ("--token", "--auth-token-env"),
        ("--no-autologin", "--no-auto-login"),
        ("--auto-login", "--no-auto-login"),
        ("--allow-all-tool", "--allow-all-tools"),
        ("--allow_all_tools", "--allow-all-tools"),
        ("--dangerously-skip-permissions", "--allow-all"),
        ("--serv", "--server"),
        ("--servr", "--server"),
        ("--Server", "--server"),
        ("--SERVER", "--server"),
        ("-server", "--server"),
        ("---server", "--server"),
        ("\u2013server", "--server"),
        ("\u2014server", "--server"),
        ("\u2013\u2013server=true", "--server"),
        ("--ser\u200bver", "--server"),
        ("--server\u00a0", "--server"),
        ("--prot", "--port"),
        ("--port=3000", "--port"),
        ("--headles", "--headless"),
        ("--log-levl", "--log-level"),
        ("--loglevel", "--log-level"),
        ("--no-such-flag", None),
        ("--x", None),
        ("--", None),
        ("", None),
        ("--" + "x" * 100_000, None),
    ],
)
def test_nearest(written: str, meant: str | None) -> None:
    assert nearest(written, "1.0.63") == meant


def test_nearest_names_only_what_the_version_has() -> None:
    assert nearest("--bind", "1.0.22") is None
    assert nearest("--headles", "0.0.400") is None
    assert nearest("--listen", "1.0.102") == "--listen"


def test_every_effect_belongs_to_a_flag() -> None:
    known = {name for version in recorded_versions() for name in flags_of(version)}
    assert set(SERVER_EFFECTS) <= known
    assert "COPILOT_GITHUB_TOKEN" in flags_of("1.0.63")["--no-auto-login"].effect


def test_advice_where_no_flag_is_the_answer() -> None:
    assert "COPILOT_CONNECTION_TOKEN" in advice("--connection-token")
    assert "never an argument" in advice("--token")
    assert not advice("--server")


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [("port", "prot", 1), ("server", "serve", 1), ("", "abc", 3), ("host", "host", 0)],
)
def test_distance_counts_a_swap_of_neighbours_once(first: str, second: str, expected: int) -> None:
    assert distance(first, second) == distance(second, first) == expected


def test_the_table_is_read_when_it_is_needed() -> None:
    code = (
        "import doctor.behaviour.flags as f; before = f._table.cache_info().currsize;"
        "f.flags_of(None); print(before, f._table.cache_info().currsize)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["0", "1"]
