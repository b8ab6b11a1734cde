"""The connection token on real servers and in real shells: who is refused, and the cure."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.harness.cli import NEWEST, OLDEST, base_env, cli, start_server
from tests.harness.doctor import evidence, findings, fix, paste, run_doctor, status
from tests.harness.sdk import OLD, run_start
from tests.harness.wire import Wire
from tests.scenarios.place import environment_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.harness.cli import RunningServer
    from tests.scenarios.conftest import Proven

pytestmark = [pytest.mark.real]

CHECK = "connection-token"
NAME = "COPILOT_CONNECTION_TOKEN"
ONE, TWO = "secret-of-the-server", "secret-of-this-shell"
BOTH = pytest.mark.parametrize("version", [OLDEST, NEWEST])


def look(server: RunningServer, folder: Path, **shell: str) -> dict[str, dict[str, Any]]:
    """What the doctor says of a server, started from a shell with these variables."""
    env = base_env(folder) | shell
    report = run_doctor("--select", CHECK, server.url, env=env, cwd=folder)
    found = findings(report, CHECK, f"port {server.port} ")
    if not found:
        assert status(report, CHECK) in {"pass", "unknown", "warn", "fail"}
    return {item["cause_id"]: item for item in found}


def passes(server: RunningServer, folder: Path, **shell: str) -> bool:
    env = base_env(folder) | shell
    report = run_doctor("--select", CHECK, server.url, env=env, cwd=folder)
    return not findings(report, CHECK, f"port {server.port} ")


def after(lines: str, shell: Mapping[str, str]) -> dict[str, str]:
    """The connection token of a shell into which lines were pasted."""
    done = subprocess.run(
        ["bash", "-c", f"{lines}\nenv -0"], env=dict(shell), capture_output=True, check=True
    )
    pairs = (os.fsdecode(item).partition("=") for item in done.stdout.split(b"\0") if item)
    return {name: value for name, _, value in pairs if name == NAME}


# On one side only


@BOTH
def test_a_token_on_the_server_alone_is_taken_over(
    version: str, tmp_path: Path, proven: Proven
) -> None:
    with start_server(version, env={NAME: ONE}) as server:
        found = look(server, tmp_path)["server-only"]
        assert found["status"] == "fail"
        assert "connect without a token: -32002 AUTHENTICATION_FAILED" in evidence(found)
        assert f"{NAME} of the server: set, {len(ONE)} characters" in evidence(found)
        refused = run_start(None, server.url).start_error or ""
        assert "-32002: AUTHENTICATION_FAILED" in refused
        assert refused.partition(": ")[2] in found["symptom"]

        shell = after(fix(found, "take-over")["shell"], base_env(tmp_path))
        assert shell == {NAME: ONE}
        assert look(server, tmp_path, **shell) == {}
        assert run_start(None, server.url, token=shell[NAME]).started
    proven(CHECK, "take-over", version)


@BOTH
def test_the_words_of_an_sdk_that_has_no_tokens(version: str, tmp_path: Path) -> None:
    with start_server(version, env={NAME: ONE}) as server:
        said = (run_start(OLD, server.url).start_error or "").partition(": ")[2]
        assert said.startswith("JSON-RPC Error -32001")
        assert said in look(server, tmp_path)["server-only"]["symptom"]
        (tmp_path / "requirements.txt").write_text(f"github-copilot-sdk=={OLD}\n")
        found = look(server, tmp_path, **{NAME: ONE})["sdk-too-old"]
        assert found["status"] == "fail"
        assert found["symptom"] == said
        assert f"github-copilot-sdk {OLD} (locked)" in evidence(found)


@BOTH
def test_a_token_in_the_shell_alone_is_refused_until_the_server_has_it(
    version: str, tmp_path: Path, proven: Proven
) -> None:
    with start_server(version) as server:
        found = look(server, tmp_path, **{NAME: TWO})["client-only"]
        assert found["status"] == "fail"
        assert "-32003 AUTHENTICATION_NOT_CONFIGURED" in evidence(found)
        assert ("answered nothing more" in evidence(found)) is (version == OLDEST)
        refused = run_start(None, server.url, token=TWO).start_error or ""
        assert refused.partition(": ")[2] == found["symptom"]

        assert after(fix(found, "unset-here")["shell"], {**base_env(tmp_path), NAME: TWO}) == {}
        assert look(server, tmp_path) == {}
        proven(CHECK, "unset-here", version)
        shell = server.env | {NAME: TWO}
        with paste(fix(found, "restart-with-token"), env=shell, port=server.port):
            assert look(server, tmp_path, **{NAME: TWO}) == {}
            assert run_start(None, server.url, token=TWO).started
    proven(CHECK, "restart-with-token", version)


# Both sides


@BOTH
def test_either_side_can_take_the_others_token(
    version: str, tmp_path: Path, proven: Proven
) -> None:
    with start_server(version, env={NAME: ONE}) as server:
        found = look(server, tmp_path, **{NAME: TWO})["different"]
        assert found["status"] == "fail"
        assert "connect with this shell's token: -32002" in evidence(found)
        assert ONE not in str(found)
        assert TWO not in str(found)

        lines = fix(found, "take-over")["shell"]
        shell = after(lines, {**base_env(tmp_path), NAME: TWO})
        assert look(server, tmp_path, **shell) == {}
        proven(CHECK, "take-over", version)
        env = server.env | {NAME: TWO}
        with paste(fix(found, "restart-with-token"), env=env, port=server.port):
            assert look(server, tmp_path, **{NAME: TWO}) == {}
    proven(CHECK, "restart-with-token", version)


@BOTH
@pytest.mark.parametrize("value", [f"{ONE}\n", f"{ONE}\r\n", f" {ONE}", f"{ONE} ", f'"{ONE}"'])
def test_what_surrounds_the_token_belongs_to_it_until_it_is_taken_away(
    version: str, value: str, tmp_path: Path, proven: Proven
) -> None:
    with start_server(version, env={NAME: value}) as server:
        with Wire.open(server.port) as wire:
            assert wire.exchange("connect", {"token": ONE})["error"]["code"] == -32002
        with Wire.open(server.port) as wire:
            assert "result" in wire.exchange("connect", {"token": value})
        found = look(server, tmp_path, **{NAME: ONE})
        assert set(found) == {"white-space", "different"}
        with paste(fix(found["white-space"], "clean"), env=server.env, port=server.port):
            assert look(server, tmp_path, **{NAME: ONE}) == {}
    proven(CHECK, "clean", version)


# None


@BOTH
def test_an_empty_token_protects_nothing_until_it_is_filled(
    version: str, tmp_path: Path, proven: Proven
) -> None:
    with start_server(version, env={NAME: ""}) as server:
        assert "No COPILOT_CONNECTION_TOKEN was set" in server.stdout
        found = look(server, tmp_path)["empty"]
        assert found["symptom"] in server.stdout
        with paste(fix(found, "new-token"), env=server.env, port=server.port) as shell:
            token = environment_of(shell.pid, server.port)[NAME]
            assert len(token) == 64
            assert look(server, tmp_path, **{NAME: token}) == {}
            with Wire.open(server.port) as wire:
                assert "error" in wire.exchange("connect", {})
    proven(CHECK, "new-token", version)


@BOTH
def test_no_token_is_fine_on_loopback_and_nowhere_else(version: str, tmp_path: Path) -> None:
    with start_server(version) as server:
        assert passes(server, tmp_path)
    with start_server(version, "--host", "0.0.0.0") as server:
        found = look(server, tmp_path)["not-set"]
        assert "listens on 0.0.0.0" in evidence(found)
        with paste(fix(found, "new-token"), env=server.env, port=server.port) as shell:
            token = environment_of(shell.pid, server.port)[NAME]
            assert look(server, tmp_path, **{NAME: token}) == {}


# Versions that take none


@pytest.mark.parametrize("version", ["1.0.22", "1.0.32"])
def test_old_servers_ignore_their_token(version: str, tmp_path: Path) -> None:
    with start_server(version, env={NAME: ONE}) as server:
        assert run_start(None, server.url, token=TWO).started
        for shell in ({}, {NAME: ONE}, {NAME: TWO}):
            found = look(server, tmp_path, **shell)
            assert set(found) == {"ignored"}
            assert found["ignored"]["status"] == "fail"
        lines = fix(found["ignored"], "upgrade")["shell"]
        root = cli(version).root.resolve()
        assert f"--prefix {root} @github/copilot@{NEWEST}" in lines
