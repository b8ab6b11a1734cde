"""What the flags of a server come to, and the command line that was meant."""

from __future__ import annotations

import re
import shlex

import pytest

from doctor.catalogue import Finding, NotVisible, Passed, Skipped
from doctor.checks.launch_flags import CHECK
from doctor.deployment import Host, Origin, Process, Server
from doctor.deployment.launch import parse
from tests.checks.builders import (
    cli_url,
    client,
    deployment,
    environment,
    evidence,
    findings,
    fix_shell,
    handshake,
    listener,
    only,
    outcomes,
    process,
    server,
    walked,
)

HERE = Host(platform="linux", user="mona", ports_taken=(4001,), addresses=("192.168.1.5",))
SCRIPT = Origin(kind="file", path="start.sh", line=3, column=1)
ENDS = ("1.0.63", "1.0.102")


def written(version: str | None, args: str) -> Server:
    """A command that is written down, or whose process has ended."""
    return server(version, shlex.split(args), listeners=(), origin=SCRIPT, process=None)


def judged(version: str | None, args: str) -> dict[str, Finding]:
    return findings(CHECK, deployment(written(version, args), hosts=(HERE,)))


def corrected(version: str, args: str) -> str:
    """The last line of the fix; every finding of one command has the same."""
    given = deployment(written(version, args), hosts=(HERE,))
    found = [item for item in outcomes(CHECK, given) if isinstance(item, Finding)]
    lines = {fix_shell(item, "corrected").splitlines()[-1] for item in found}
    assert len(lines) == 1, lines
    return lines.pop()


def test_without_a_server_and_a_target_there_is_nothing_to_say() -> None:
    assert only(Skipped, CHECK, deployment(hosts=(HERE,)))


def test_a_command_that_cannot_be_read_is_not_taken_for_right() -> None:
    assert "sudo" in only(NotVisible, CHECK, deployment(server(args=None))).remedy


@pytest.mark.parametrize("version", ["0.0.400", "1.0.22", "1.0.32", "1.0.63", "1.0.102", "1.2.0"])
@pytest.mark.parametrize(
    "args",
    [
        "--server --port 3000",
        "--server --port=3000 --log-level all --allow-all-tools --allow-all-paths",
        "--port 3000 --server --no-auto-update --add-dir /tmp",
    ],
)
def test_right_commands_pass(version: str, args: str) -> None:
    assert only(Passed, CHECK, deployment(server(version, args), hosts=(HERE,)))


def test_a_server_on_standard_input_is_right_as_it_is() -> None:
    quiet = server(args="--headless --no-auto-update --stdio", listeners=())
    assert "standard input" in only(Passed, CHECK, deployment(quiet, hosts=(HERE,))).detail


def test_a_session_for_a_person_is_not_judged() -> None:
    person = server(args="--model gpt-5", listeners=())
    assert only(Skipped, CHECK, deployment(person, hosts=(HERE,)))


# Flags that do not exist


@pytest.mark.parametrize(
    ("version", "said"),
    [
        ("1.0.63", "error: unknown option '--bind'"),
        ("1.0.102", "error: unexpected argument '--bind' found"),
    ],
)
def test_bind_is_host(version: str, said: str) -> None:
    found = judged(version, "--server --bind 127.0.0.1 --port 3000")["bind"]
    assert found.status == "fail"
    assert found.title == f"--bind is no flag of CLI {version}"
    assert found.symptom == said
    assert "nearest right one: --host" in evidence(found)
    assert "--bind was never a flag" in found.detail
    assert found.origin == SCRIPT
    assert corrected(version, "--server --bind 127.0.0.1 --port 3000") == (
        "copilot --server --host 127.0.0.1 --port 3000"
    )


def test_a_corrected_command_that_listens_for_others_comes_with_a_token() -> None:
    found = judged("1.0.102", "--server --bind 0.0.0.0 --port 3000")["bind"]
    lines = fix_shell(found, "corrected").splitlines()
    assert lines[0].startswith("export COPILOT_CONNECTION_TOKEN=")
    assert lines[1] == "copilot --server --host 0.0.0.0 --port 3000"
    assert "connection token" in found.fixes[0].summary


@pytest.mark.parametrize("version", ENDS)
@pytest.mark.parametrize(
    ("args", "meant"),
    [
        ("--serve --prot 3000", "copilot --server --port 3000"),
        ("--Server --port 3000", "copilot --server --port 3000"),
        ("--server --allow-all-tool --port=3000", "copilot --server --allow-all-tools --port=3000"),
        (
            "--server --log_level=debug --port 3000",
            "copilot --server --log-level=debug --port 3000",
        ),
        ("--server --port 3000 --no-such-thing 5", "copilot --server --port 3000"),
    ],
)
def test_the_nearest_flags_are_put_in_their_place(version: str, args: str, meant: str) -> None:
    given = deployment(written(version, args), hosts=(HERE,))
    found = [item for item in outcomes(CHECK, given) if isinstance(item, Finding)]
    assert {item.cause.id for item in found} == {"unknown-flag"}
    assert corrected(version, args) == meant


@pytest.mark.parametrize("version", ["0.0.400", "1.0.22"])
def test_host_came_later(version: str) -> None:
    found = judged(version, "--server --host 0.0.0.0 --port 3000")["host-too-old"]
    lines = fix_shell(found, "upgrade").splitlines()
    assert lines[0].startswith("export COPILOT_CONNECTION_TOKEN=")
    assert lines[1] == "npm install --global @github/copilot@1.0.102"
    assert lines[2] == "copilot --server --host 0.0.0.0 --port 3000"


# Values


@pytest.mark.parametrize("version", ENDS)
@pytest.mark.parametrize(
    ("args", "said", "meant"),
    [
        (
            "--server --port 3000 --log-level verbose",
            "'--log-level <level>'",
            "copilot --server --port 3000 --log-level debug",
        ),
        ("--server --port 99999", "", "copilot --server --port 3000"),
        ("--server --port", "--port <port>", "copilot --server --port 3000"),
        ("--server=true --port 3000", "", "copilot --server --port 3000"),
        (
            "--server --port 3000 --host 127.0.0.1:3000",
            "",
            "copilot --server --port 3000 --host 127.0.0.1",
        ),
        (
            "--server --port 3000 --host http://127.0.0.1",
            "",
            "copilot --server --port 3000 --host 127.0.0.1",
        ),
    ],
)
def test_values_that_the_cli_does_not_take(version: str, args: str, said: str, meant: str) -> None:
    found = judged(version, args)["bad-value"]
    assert found.status == "fail"
    assert said in found.symptom
    assert found.symptom
    assert corrected(version, args) == meant


def test_a_number_with_something_behind_it_is_cut_off_by_older_versions() -> None:
    running = server("1.0.63", "--server --port 3000abc", listeners=(listener(),))
    found = findings(CHECK, deployment(running, hosts=(HERE,)))["bad-value"]
    assert found.status == "warn"
    assert "read as 3000" in found.title
    assert judged("1.0.102", "--server --port 3000abc")["bad-value"].status == "fail"


def test_a_flag_that_swallows_the_next_one() -> None:
    # commander takes the flag for the value, clap stops.
    found = judged("1.0.63", "--server --log-dir --port 3000")
    assert "takes --port for it" in found["bad-value"].title
    assert corrected("1.0.63", "--server --log-dir --port 3000") == "copilot --server --port 3000"
    assert judged("1.0.102", "--server --log-dir --port 3000")["bad-value"].symptom.startswith(
        "error: a value is required for '--log-dir"
    )


# The port


@pytest.mark.parametrize("version", ["1.0.22", "1.0.63"])
@pytest.mark.parametrize(
    ("args", "words"),
    [("--server --port abc", "no number"), ("--server --port 3000 --port 3000", "given twice")],
)
def test_a_random_port_out_of_a_bad_value(version: str, args: str, words: str) -> None:
    running = server(version, args, listeners=(listener(port=41234),))
    found = findings(CHECK, deployment(running, hosts=(HERE,)))["random-port"]
    assert found.status == "fail"
    assert words in found.title
    assert "41234" in found.title
    assert "it listens on port 41234" in evidence(found)
    assert f"given: --port {args.rsplit(maxsplit=1)[-1]}" in evidence(found)
    assert fix_shell(found, "corrected").splitlines() == [
        "kill 4123 && sleep 2",
        "copilot --server --port 3000",
    ]


@pytest.mark.parametrize("version", ["1.0.92", "1.0.102"])
def test_from_1_0_92_on_the_last_port_counts_and_a_bad_one_ends_the_start(version: str) -> None:
    twice = server(version, "--server --port 3000 --port 4000", listeners=(listener(port=4000),))
    assert only(Passed, CHECK, deployment(twice, hosts=(HERE,)))
    assert judged(version, "--server --port abc")["bad-value"].status == "fail"


@pytest.mark.parametrize("version", ENDS)
def test_p_is_prompt(version: str) -> None:
    running = server(version, "--server -p 3005", listeners=(listener(port=41234),))
    found = findings(CHECK, deployment(running, hosts=(HERE,)))["random-port"]
    assert "-p is --prompt, not --port" in found.title
    assert fix_shell(found, "corrected").endswith("copilot --server --port 3005")


def test_without_a_port_nobody_knows_where_it_is() -> None:
    running = server(args="--server", listeners=(listener(port=41234),))
    found = findings(CHECK, deployment(running, hosts=(HERE,)))["random-port"]
    assert found.status == "warn"
    assert "(41234)" in found.title


def test_without_a_port_whoever_is_connected_knows_it() -> None:
    running = server(args="--server", listeners=(listener(port=41234),))
    given = deployment(running, hosts=(HERE,), clients=(client(),))
    assert "client pid 5000 knows its port" in only(Passed, CHECK, given).detail


def test_port_0_asks_for_a_random_one() -> None:
    running = server(args="--server --port 0", listeners=(listener(port=41234),))
    assert "any port" in only(Passed, CHECK, deployment(running, hosts=(HERE,))).detail


def test_the_port_that_is_named_in_a_fix_is_what_clients_are_told_or_free() -> None:
    running = server("1.0.63", "--server --port abc", listeners=(listener(port=41234),))
    told = deployment(running, hosts=(HERE,), targets=(cli_url("127.0.0.1:3456"),))
    found = findings(CHECK, told)
    assert fix_shell(found["random-port"], "corrected").endswith("--port 3456")
    full = Host(platform="linux", ports_taken=(3000, 3001))
    found = findings(CHECK, deployment(running, hosts=(full,)))
    assert fix_shell(found["random-port"], "corrected").endswith("--port 3002")


# The mode


@pytest.mark.parametrize("version", ENDS)
def test_without_server_it_is_a_session_for_a_person(version: str) -> None:
    person = server(version, "--port 3000 --log-level all", listeners=())
    found = findings(CHECK, deployment(person, hosts=(HERE,)))["no-server-flag"]
    assert found.status == "warn"
    assert "No prompt provided. Run in an interactive terminal" in found.symptom
    assert "it listens on no port" in evidence(found)
    assert fix_shell(found, "corrected").splitlines() == [
        "kill 4123 && sleep 2",
        "copilot --server --port 3000 --log-level all",
    ]


@pytest.mark.parametrize("version", ENDS)
def test_stdio_and_port_exclude_each_other(version: str) -> None:
    found = judged(version, "--server --stdio --port 3000")["contradiction"]
    assert found.symptom.startswith("Cannot specify both --stdio and --port.")
    assert corrected(version, "--server --stdio --port 3000") == "copilot --server --port 3000"


@pytest.mark.parametrize("version", ENDS)
def test_server_and_ui_server_exclude_each_other(version: str) -> None:
    found = judged(version, "--server --ui-server --port 3000")["contradiction"]
    assert found.symptom.startswith("Cannot use --server/--headless with --ui-server.")
    assert corrected(version, "--server --ui-server --port 3000") == "copilot --server --port 3000"


@pytest.mark.parametrize("version", ENDS)
@pytest.mark.parametrize("flag", ["--acp", "-p hello", "-i hello"])
def test_server_wins_over_other_modes(version: str, flag: str) -> None:
    running = server(version, f"--server {flag} --port 3000")
    found = findings(CHECK, deployment(running, hosts=(HERE,)))["ignored-flag"]
    assert found.status == "warn"
    assert "beside --server" in found.title
    assert fix_shell(found, "corrected").endswith("copilot --server --port 3000")


@pytest.mark.parametrize("version", ENDS)
@pytest.mark.parametrize(
    ("args", "meant"),
    [
        ("server --port 3000", "copilot --server --port 3000"),
        ("\u2013server \u2013port 3000", "copilot --server --port 3000"),
        ("--server --port 3000 foo", "copilot --server --port 3000"),
        ("--server 3000", "copilot --server --port 3000"),
    ],
)
def test_words_where_only_flags_may_stand(version: str, args: str, meant: str) -> None:
    found = judged(version, args)["stray-word"]
    assert found.status == "fail"
    assert "error:" in found.symptom
    assert corrected(version, args) == meant


def test_an_acp_server_on_the_port_that_clients_are_told() -> None:
    acp = server(args="--acp --port 3000")
    given = deployment(acp, hosts=(HERE,), targets=(cli_url("127.0.0.1:3000"),))
    found = findings(CHECK, given)["acp"]
    assert found.status == "fail"
    assert found.symptom == "start() of the SDK never returns"
    assert "COPILOT_CLI_URL=127.0.0.1:3000" in evidence(found)
    assert fix_shell(found, "corrected").splitlines() == [
        "kill 4123 && sleep 2",
        "copilot --port 3000 --server",
    ]


def test_an_acp_server_that_nobody_takes_for_another_is_right() -> None:
    acp = server(args="--acp --port 3000")
    assert only(Skipped, CHECK, deployment(acp, hosts=(HERE,)))


# What runs has been accepted


def test_a_flag_that_a_running_server_has_is_one_that_its_version_knows() -> None:
    # Judged like the tested version before it, which lacks the flag.
    running = server("1.0.50", "--server --port 3000 --flag-of-another-day")
    assert only(Passed, CHECK, deployment(running, hosts=(HERE,)))


# The port that clients are told


@pytest.mark.parametrize(
    ("told", "route"),
    [
        ("127.0.0.1:3001", None),
        ("localhost:3001", None),
        ("192.168.1.5:3001", None),
        ("3001", "connect"),
    ],
)
def test_clients_are_told_another_port(told: str, route: str | None) -> None:
    url = cli_url(told)
    routes = (walked(url, route, "refused", "nothing listens"),) if route else ()
    found = findings(CHECK, deployment(server(), hosts=(HERE,), targets=(url,), routes=routes))
    other = found["other-port"]
    assert other.status == "fail"
    assert other.title == "COPILOT_CLI_URL names port 3001, and the server listens on 3000"
    assert other.subject == f"route to {told}"
    assert f"COPILOT_CLI_URL={told}" in evidence(other)
    assert "listens on 127.0.0.1:3000" in evidence(other)
    assert fix_shell(other, "use-the-server") == "export COPILOT_CLI_URL=127.0.0.1:3000"
    assert fix_shell(other, "move-the-server").splitlines() == [
        "kill 4123 && sleep 2",
        "copilot --server --port 3001",
    ]


def test_a_port_that_is_taken_is_not_where_the_server_should_move() -> None:
    given = deployment(server(), hosts=(HERE,), targets=(cli_url("127.0.0.1:4001"),))
    found = findings(CHECK, given)["other-port"]
    assert [fix.id for fix in found.fixes] == ["use-the-server"]


def test_the_shell_is_told_as_well_where_a_target_was_given_by_hand() -> None:
    given = deployment(
        server(), hosts=(HERE,), shell={"COPILOT_CLI_URL": "127.0.0.1:3001"}, targets=()
    )
    assert "other-port" in findings(CHECK, given)


def test_the_right_port_passes() -> None:
    given = deployment(server(), hosts=(HERE,), targets=(cli_url("127.0.0.1:3000"),))
    assert [type(item) for item in outcomes(CHECK, given)] == [Passed, Passed]


def test_a_copilot_server_that_answers_there_is_right_whatever_is_seen_of_it() -> None:
    url = cli_url("127.0.0.1:3001")
    answered = walked(url, handshake=handshake())
    given = deployment(server(), hosts=(HERE,), targets=(url,), routes=(answered,))
    assert [type(item) for item in outcomes(CHECK, given)] == [Passed, Passed]


def test_targets_on_other_hosts_are_not_compared() -> None:
    given = deployment(server(), hosts=(HERE,), targets=(cli_url("copilot:3001"),))
    assert only(Passed, CHECK, given)


def test_which_port_a_hidden_server_has_is_not_known() -> None:
    blind = server(listeners=(), listeners_visible=False)
    given = deployment(blind, hosts=(HERE,), targets=(cli_url("127.0.0.1:3001"),))
    assert NotVisible in {type(item) for item in outcomes(CHECK, given)}


def test_a_client_that_is_told_another_port_than_it_is_connected_to() -> None:
    told = client(environment=environment({"COPILOT_CLI_URL": "127.0.0.1:3001"}))
    found = findings(CHECK, deployment(server(), hosts=(HERE,), clients=(told,)))["other-port"]
    assert found.status == "warn"
    assert found.subject == "client pid 5000"
    assert fix_shell(found, "use-the-server") == "export COPILOT_CLI_URL=127.0.0.1:3000"


def test_a_client_that_is_told_the_right_port_passes() -> None:
    told = client(environment=environment({"COPILOT_CLI_URL": "127.0.0.1:3000"}))
    given = deployment(server(), hosts=(HERE,), clients=(told,))
    assert [type(item) for item in outcomes(CHECK, given)] == [Passed, Passed]


# Who starts it


def test_a_supervised_server_is_changed_where_it_is_started() -> None:
    supervised = server(
        "1.0.63",
        "--server --port abc",
        listeners=(listener(port=41234),),
        ancestors=(Process(pid=80, name="supervisord"),),
    )
    found = findings(CHECK, deployment(supervised, hosts=(HERE,)))["random-port"]
    assert found.fixes[0].kind == "advice"
    assert "copilot --server --port 3000" in found.fixes[0].summary


def test_a_container_is_changed_where_it_is_described() -> None:
    inside = server(
        "1.0.63", "--server --port abc", listeners=(listener(port=41234, namespace="other"),)
    )
    found = findings(CHECK, deployment(inside, hosts=(HERE,)))["random-port"]
    assert "Compose file" in found.fixes[0].summary


def test_on_windows_the_lines_are_for_powershell() -> None:
    here = Host(platform="win32", ports_taken=())
    spaced = server("1.0.63", ["--server", "--port", "abc", "--log-dir", "C:\\My Logs"])
    found = findings(CHECK, deployment(spaced, hosts=(here,)))["random-port"]
    assert fix_shell(found, "corrected").splitlines() == [
        "Stop-Process -Id 4123; Start-Sleep 2",
        "copilot --server --port 3000 --log-dir 'C:\\My Logs'",
    ]


# The catalogue


@pytest.mark.parametrize(
    ("said", "version"),
    [
        ("error: unknown option '--prot'", "1.0.63"),
        ("error: unexpected argument '--prot' found", "1.0.102"),
        ("error: unexpected value 'true' for '--server' found; no more were expected", "1.0.102"),
        ("error: option '--port <port>' argument missing", "1.0.63"),
        ("error: a value is required for '--port <port>' but none was supplied", "1.0.102"),
        ("error: invalid value 'verbose' for '--log-level <level>'", "1.0.102"),
        ("Cannot specify both --stdio and --port. Use --stdio for pipe communication", "1.0.63"),
        ("No prompt provided. Run in an interactive terminal or provide a prompt", "1.0.102"),
        ("error: Invalid command format.", "1.0.63"),
        ("error: too many arguments. Expected 0 arguments but got 1.", "1.0.63"),
        ("error: unrecognized subcommand 'foo'", "1.0.102"),
        ("Failed to start server: Error: getaddrinfo ENOTFOUND [::1]", "1.0.63"),
        ("Failed to start server: Error: failed to lookup address information: Name", "1.0.102"),
    ],
)
def test_every_objection_of_the_cli_is_a_symptom(said: str, version: str) -> None:
    matching = [s for s in CHECK.symptoms if s.pattern and re.search(s.pattern, said)]
    assert [version in symptom.versions for symptom in matching] == [True]


def test_every_corrected_command_is_read_as_right_by_the_same_parser() -> None:
    for version in ("1.0.22", "1.0.63", "1.0.102"):
        for args in ("--serve --prot 3000", "--server --stdio --port 3000", "--port 3000"):
            words = corrected(version, args).split()[1:]
            read = parse(words, version)
            assert not read.rejection
            assert not read.problems
            assert read.port == 3000


def test_secrets_in_the_arguments_do_not_come_out() -> None:
    args = "--server --port abc --additional-mcp-config {'token':'canary-5f3a9c1b7d2e8f60'}"
    running = server("1.0.63", args.split(), listeners=(listener(port=41234),))
    assert "canary-5f3a9c1b7d2e8f60" not in repr(outcomes(CHECK, deployment(running)))


def test_titles_are_short_enough() -> None:
    port = 65535
    name = "--" + "x" * 60
    for version in ENDS:
        for args in (f"--server {name} --port {port}", f"--server -p {port}", "--server --port"):
            running = server(version, args.split(), listeners=(), origin=SCRIPT, process=process())
            for item in outcomes(CHECK, deployment(running, hosts=(HERE,))):
                assert len(getattr(item, "title", "")) <= 90
