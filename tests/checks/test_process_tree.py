"""Wrapper, native child, and what a signal reaches."""

from __future__ import annotations

from typing import Any

import pytest

from doctor.catalogue import Finding, NotVisible, Passed, Skipped
from doctor.checks.process_tree import CHECK
from doctor.deployment import Deployment, Host, Origin, Server
from tests.checks.builders import (
    client,
    deployment,
    evidence,
    fix_shell,
    only,
    outcomes,
    process,
    server,
)

WRAPPER = process(4100, name="node", command=("node", "/usr/local/bin/copilot"))
INIT = process(1, name="systemd")
SHELL = process(900, name="bash")
SUPERVISOR = process(800, name="supervisord")
NATIVE = "/usr/local/lib/node_modules/@github/copilot-linux-x64/copilot"
MACHINE = (Host(platform="linux", user="mona", ports_taken=(3000,)),)
CONTAINER = (Host(kind="container", engine="docker", platform="linux", ports_taken=(3000,)),)


def case(version: str = "1.0.102", *, hosts: Any = MACHINE, clients: Any = (), **facts: Any) -> Any:
    defaults: dict[str, Any] = {
        "wrapper": WRAPPER,
        "ancestors": (SHELL, INIT),
        "is_orphan": False,
        "executable": NATIVE,
    }
    return deployment(server(version, **defaults | facts), hosts=hosts, clients=clients)


def code_of(finding: Finding, fix_id: str) -> str:
    return next(fix.code for fix in finding.fixes if fix.id == fix_id)


def test_no_running_server_is_skipped() -> None:
    only(Skipped, CHECK, deployment())
    declared = server(origin=Origin(kind="file", path="compose.yaml"))
    only(Skipped, CHECK, deployment(declared))


def test_a_wrapper_in_a_shell_is_fine_and_the_right_process_is_named() -> None:
    found = only(Passed, CHECK, case())
    assert found.detail == (
        "npm wrapper 4100, server 4123: stop it with kill 4123, a signal to the wrapper would "
        "leave the server running"
    )


def test_without_a_wrapper_it_is_fine() -> None:
    only(Passed, CHECK, case(wrapper=None))
    only(Passed, CHECK, case(wrapper=None, is_container_init=True, hosts=CONTAINER))


@pytest.mark.parametrize("version", ["0.0.400", "1.0.63", "1.0.102"])
def test_an_orphan(version: str) -> None:
    found = only(Finding, CHECK, case(version, wrapper=None, ancestors=(INIT,), is_orphan=True))
    assert (found.status, found.cause.id) == ("warn", "orphan")
    assert version in found.cause.observed
    assert "pid 4123 is the server; its parent is init" in evidence(found)
    assert "it listens on 127.0.0.1:3000" in evidence(found)
    assert fix_shell(found, "kill-orphan") == "kill 4123 && sleep 2"
    assert not found.fixes[0].safe


def test_what_stands_above_may_be_hidden() -> None:
    only(NotVisible, CHECK, case(wrapper=None, ancestors=(), is_orphan=None))
    only(NotVisible, CHECK, case(process=None))


@pytest.mark.parametrize("version", ["1.0.63", "1.0.102"])
def test_the_wrapper_as_pid_1_of_a_container(version: str) -> None:
    found = only(
        Finding, CHECK, case(version, is_container_init=True, ancestors=(), hosts=CONTAINER)
    )
    assert (found.status, found.cause.id) == ("warn", "wrapper-is-init")
    assert version in found.cause.observed
    assert "PID 1 of the container: node /usr/local/bin/copilot" in evidence(found)
    assert code_of(found, "exec-native") == f'CMD ["{NATIVE}", "--server", "--port", "3000"]'
    assert code_of(found, "init").endswith("init: true")


def test_a_shell_as_pid_1_is_as_deaf() -> None:
    found = only(Finding, CHECK, case(ancestors=(process(1, name="bash"),), hosts=CONTAINER))
    assert found.cause.id == "wrapper-is-init"
    assert "PID 1 of the container: bash" in evidence(found)


def test_a_small_init_as_pid_1_is_fine() -> None:
    only(Passed, CHECK, case(ancestors=(process(1, name="tini"),), hosts=CONTAINER))
    only(Passed, CHECK, case(ancestors=(process(1, name="bash"),)))


@pytest.mark.parametrize("version", ["1.0.63", "1.0.102"])
def test_supervisord_may_signal_the_wrapper_alone(version: str) -> None:
    found = only(Finding, CHECK, case(version, ancestors=(SUPERVISOR, INIT)))
    assert (found.status, found.cause.id) == ("unknown", "supervised-wrapper")
    assert "supervisord (pid 800) started the npm wrapper (pid 4100)" in evidence(found)
    assert code_of(found, "supervise-native") == f"command={NATIVE} --server --port 3000"
    assert code_of(found, "stop-group") == "stopasgroup=true\nkillasgroup=true"


@pytest.mark.parametrize(
    "words",
    [
        ("python3", "-m", "supervisor.supervisord", "-n"),
        ("/usr/bin/python3", "/usr/bin/supervisord", "-n"),
    ],
)
def test_supervisord_may_bear_the_name_of_its_interpreter(words: tuple[str, ...]) -> None:
    above = process(800, name="python3", command=words)
    found = only(Finding, CHECK, case(ancestors=(above, INIT)))
    assert "supervisord (pid 800)" in evidence(found)


def test_an_argument_that_is_called_so_is_no_supervisor() -> None:
    above = process(800, name="bash", command=("bash", "-c", "run supervisord later"))
    only(Passed, CHECK, case(ancestors=(above, INIT)))


def test_a_percent_sign_is_doubled_for_supervisord() -> None:
    args = ["--server", "--port", "3000", "--log-dir", "/var/log/100%"]
    supervised = server("1.0.63", args, wrapper=WRAPPER, ancestors=(SUPERVISOR,), executable=NATIVE)
    found = only(Finding, CHECK, deployment(supervised))
    assert "/var/log/100%%" in code_of(found, "supervise-native")


def test_the_native_program_under_supervisord_is_fine() -> None:
    only(Passed, CHECK, case(wrapper=None, ancestors=(SUPERVISOR, INIT)))


def test_systemd_signals_the_whole_group() -> None:
    only(Passed, CHECK, case(ancestors=(INIT,)))


@pytest.mark.parametrize("version", ["1.0.32", "1.0.63", "1.0.64"])
def test_a_slow_stop_in_a_container(version: str) -> None:
    slow = case(version, wrapper=None, hosts=CONTAINER, clients=(client(5000),))
    found = only(Finding, CHECK, slow)
    assert (found.status, found.cause.id) == ("warn", "slow-stop")
    assert version in found.cause.observed
    assert "clients connected: 1" in evidence(found)
    assert code_of(found, "wait-longer").endswith("stop_grace_period: 30s")


def test_a_slow_stop_under_supervisord() -> None:
    slow = case("1.0.63", wrapper=None, ancestors=(SUPERVISOR,), clients=(client(5000),))
    found = only(Finding, CHECK, slow)
    assert code_of(found, "wait-longer") == "stopwaitsecs=30"


@pytest.mark.parametrize(
    "quick",
    [
        case("1.0.73", wrapper=None, hosts=CONTAINER, clients=(client(5000),)),
        case("1.0.63", wrapper=None, hosts=CONTAINER),
        case("1.0.63", wrapper=None, clients=(client(5000),)),
        case(
            "1.0.63",
            wrapper=None,
            hosts=(Host(kind="container", engine="kubernetes"),),
            clients=(client(5000),),
        ),
    ],
    ids=["newer", "no client", "no supervisor", "30 s by default"],
)
def test_a_stop_that_is_waited_for(quick: Deployment) -> None:
    only(Passed, CHECK, quick)


def test_two_causes_are_two_findings() -> None:
    both = case("1.0.63", is_container_init=True, hosts=CONTAINER, clients=(client(5000),))
    found = [item for item in outcomes(CHECK, both) if isinstance(item, Finding)]
    assert [item.cause.id for item in found] == ["wrapper-is-init", "slow-stop"]


def test_on_windows_the_line_is_for_powershell() -> None:
    windows = (Host(platform="win32", ports_taken=(3000,)),)
    found = only(Passed, CHECK, case(hosts=windows))
    assert "Stop-Process -Id 4123" in found.detail


def test_a_server_without_a_listener_is_judged_as_well() -> None:
    silent: Server = server(
        args="--acp", listeners=(), wrapper=None, ancestors=(INIT,), is_orphan=True
    )
    found = only(Finding, CHECK, deployment(silent))
    assert found.cause.id == "orphan"
