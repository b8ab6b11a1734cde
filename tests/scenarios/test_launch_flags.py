"""Real servers whose flags do not say what was meant, and the command line that does."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

import pytest

from doctor.catalogue import Finding
from doctor.checks.launch_flags import CHECK as LAUNCH_FLAGS
from doctor.deployment import Deployment, Environment, Host, Origin, Server
from doctor.deployment.launch import parse
from tests.harness.cli import NEWEST, OLDEST, cli, free_port
from tests.harness.doctor import evidence, fix
from tests.harness.wire import Wire
from tests.scenarios.shell import Shell, shell_of, words_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.scenarios.conftest import Proven

pytestmark = [pytest.mark.real, pytest.mark.namespace]

CHECK = "launch-flags"
# A terminal: an interactive session does not start without one.
TERMINAL = (sys.executable, "-c", "import pty, sys; pty.spawn(sys.argv[1:])")


@pytest.fixture
def shell(cli_version: str, tmp_path: Path) -> Iterator[Shell]:
    with shell_of(cli(cli_version), tmp_path) as made:
        yield made


# What ends at once: the CLI's own words, and the command that is written down


def written(version: str, words: list[str]) -> list[Finding]:
    """What the check says of a command line in a script, for example."""
    server = Server(
        id="written",
        origin=Origin(kind="file", path="start.sh", line=1, column=1),
        command=parse(words, version),
        version=version,
        environment=Environment(),
    )
    here = Host(platform="linux", ports_taken=())
    given = Deployment(servers=(server,), hosts=(here,))
    return [item for item in LAUNCH_FLAGS.judge(given) if isinstance(item, Finding)]


@pytest.mark.parametrize(
    ("words", "cause"),
    [
        ("--server --bind 127.0.0.1 --port PORT", "bind"),
        ("--serve --prot PORT", "unknown-flag"),
        ("--Server --port PORT", "unknown-flag"),
        ("--server --port PORT --allow-all-tool", "unknown-flag"),
        ("--server --port PORT --no-such-thing 5", "unknown-flag"),
        ("--server --port PORT --log-level verbose", "bad-value"),
        ("--server=true --port PORT", "bad-value"),
        ("--server --port PORT --host 127.0.0.1:3000", "bad-value"),
        ("--server --port PORT --host http://127.0.0.1", "bad-value"),
        ("--server --port PORT --log-dir", "bad-value"),
        ("--server --stdio --port PORT", "contradiction"),
        ("--server --ui-server --port PORT", "contradiction"),
        ("--server --port PORT --resume", "contradiction"),
        ("server --port PORT", "stray-word"),
        ("\u2013server \u2013port PORT", "stray-word"),
        ("--server --port PORT foo", "stray-word"),
        ("--port PORT", "no-server-flag"),
    ],
)
def test_a_start_that_fails_says_the_symptom_and_succeeds_corrected(
    shell: Shell, words: str, cause: str, proven: Proven
) -> None:
    port = free_port()
    given = words.replace("PORT", str(port)).split()
    said = shell.refusal(*given, port="absent", mode=None)
    found = written(shell.version, given)
    assert cause in {item.cause.id for item in found}
    first = next(item for item in found if item.cause.id == cause)
    ours = first.symptom.partition(" (")[0]
    if cause != "stray-word":
        assert ours in said
    assert any(s.pattern and _matches(s.pattern, said) for s in LAUNCH_FLAGS.symptoms), said
    chosen = next(item for item in first.fixes if item.id == "corrected")
    paste = {"kind": "command", "shell": chosen.shell}
    with shell.pasted(paste, port):
        assert shell.answers(port)
    proven(CHECK, "corrected", shell.version)


def _matches(pattern: str, said: str) -> bool:
    import re

    return re.search(pattern, said, re.IGNORECASE) is not None


def test_up_to_1_0_22_there_is_no_host(tmp_path: Path) -> None:
    with shell_of(cli("1.0.22"), tmp_path) as shell:
        assert "unknown option '--host'" in shell.refusal("--host", "127.0.0.1")
        [found] = written("1.0.22", ["--server", "--host", "127.0.0.1", "--port", "3000"])
        assert found.cause.id == "host-too-old"


# What runs


@pytest.mark.parametrize("words", ["--port abc", "--port PORT --port PORT", "--port="])
def test_a_random_port_out_of_a_bad_value(words: str, tmp_path: Path, proven: Proven) -> None:
    with shell_of(cli(OLDEST), tmp_path) as shell:
        wanted = free_port()
        given = words.replace("PORT", str(wanted)).split()
        with shell.server(*given, port="absent") as server:
            # What it says, not what it was asked for.
            port = int(server.stdout.partition("listening on port ")[2].split()[0])
            assert port != wanted
            told = {"COPILOT_CLI_URL": f"127.0.0.1:{wanted}"}
            found = shell.sees(CHECK, f"port {port} ", **told)["random-port"]
            assert found["status"] == "fail"
            assert str(port) in found["title"]
            assert f"it listens on port {port}" in evidence(found)
            with shell.pasted(fix(found, "corrected"), wanted, **told):
                server.wait_gone()
                assert shell.answers(wanted)
                assert shell.sees(CHECK, f"port {wanted} ", **told) == {}
                assert shell.sees(CHECK, f"route to 127.0.0.1:{wanted}", **told) == {}
        proven(CHECK, "corrected", OLDEST)


@pytest.mark.parametrize("words", ["--port abc", "--port="])
def test_from_1_0_92_on_a_bad_port_ends_the_start(words: str, tmp_path: Path) -> None:
    with shell_of(cli(NEWEST), tmp_path) as shell:
        said = shell.refusal(*words.split(), port="absent")
        [found] = written(NEWEST, ["--server", *words.split()])
        assert found.cause.id == "bad-value"
        assert found.symptom in said


def test_p_is_not_port(shell: Shell, proven: Proven) -> None:
    wanted = free_port()
    with shell.server("-p", str(wanted), port="absent") as server:
        assert server.port != wanted
        found = shell.sees(CHECK, f"port {server.port} ")["random-port"]
        assert "-p is --prompt" in found["title"]
        with shell.pasted(fix(found, "corrected"), wanted):
            assert shell.answers(wanted)
            assert shell.sees(CHECK, f"port {wanted} ") == {}
    proven(CHECK, "corrected", shell.version)


def test_no_port_at_all(shell: Shell, proven: Proven) -> None:
    with shell.server(port="absent") as server:
        found = shell.sees(CHECK, f"port {server.port} ")["random-port"]
        assert found["status"] == "warn"
        port = int(words_of(fix(found, "corrected"))[-1])
        with Wire(shell.space.connect(server.port)) as wire:
            wire.connect()
        with shell.pasted(fix(found, "corrected"), port):
            assert shell.sees(CHECK, f"port {port} ") == {}
    proven(CHECK, "corrected", shell.version)


@pytest.mark.parametrize("flag", ["--acp", "-p hello", "-i hello"])
def test_server_wins(shell: Shell, flag: str, proven: Proven) -> None:
    with shell.server(*flag.split()) as server:
        assert shell.answers(server.port)
        found = shell.sees(CHECK, f"port {server.port} ")["ignored-flag"]
        assert found["status"] == "warn"
        with shell.pasted(fix(found, "corrected"), server.port):
            assert shell.sees(CHECK, f"port {server.port} ") == {}
    proven(CHECK, "corrected", shell.version)


def test_an_acp_server_where_clients_expect_another(shell: Shell, proven: Proven) -> None:
    with shell.server(mode="--acp") as agent:
        told = {"COPILOT_CLI_URL": agent.url}
        found = shell.sees(CHECK, f"port {agent.port} ", **told)["acp"]
        assert found["status"] == "fail"
        with shell.pasted(fix(found, "corrected"), agent.port, **told):
            assert shell.answers(agent.port)
            assert shell.sees(CHECK, f"port {agent.port} ", **told) == {}
    proven(CHECK, "corrected", shell.version)


def test_a_session_for_a_person_listens_nowhere(shell: Shell, proven: Proven) -> None:
    port = free_port()
    with shell.server(
        "--port",
        str(port),
        mode=None,
        how="native",
        env={"TERM": "xterm"},
        launcher=[*shell.space.launcher, *TERMINAL],
        wait=False,
    ) as person:
        found = _wait_for(shell, port)
        assert "--port has no effect without --server" in found["title"]
        assert "it listens on no port" in evidence(found)
        assert person.returncode is None
        with shell.pasted(fix(found, "corrected"), port):
            assert shell.answers(port)
            assert shell.sees(CHECK, f"port {port} ") == {}
    proven(CHECK, "corrected", shell.version)


def _wait_for(shell: Shell, port: int) -> dict[str, object]:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        found = shell.sees(CHECK, f"port {port} ")
        if "no-server-flag" in found:
            return found["no-server-flag"]
        time.sleep(0.5)
    raise AssertionError


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_clients_are_told_another_port(shell: Shell, host: str, proven: Proven) -> None:
    wanted = free_port()
    told = {"COPILOT_CLI_URL": f"{host}:{wanted}"}
    with shell.server() as server:
        found = shell.sees(CHECK, f"route to {host}:{wanted}", **told)["other-port"]
        assert found["status"] == "fail"
        assert f"COPILOT_CLI_URL names port {wanted}" in found["title"]
        changed = shell.after(fix(found, "use-the-server"), **told)
        assert changed == {"COPILOT_CLI_URL": server.url}
        assert shell.sees(CHECK, f"route to {server.url}", **changed) == {}
        proven(CHECK, "use-the-server", shell.version)
        with shell.pasted(fix(found, "move-the-server"), wanted, **told):
            assert shell.answers(wanted)
            assert shell.sees(CHECK, f"route to {host}:{wanted}", **told) == {}
    proven(CHECK, "move-the-server", shell.version)


def test_right_flags(shell: Shell) -> None:
    with shell.server("--log-level", "all", "--allow-all-tools", "--allow-all-paths") as server:
        assert shell.sees(CHECK, f"port {server.port} ") == {}
