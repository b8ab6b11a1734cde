"""Launch commands: where the program stands, what its arguments become, what is hidden."""

from __future__ import annotations

import shlex
import time

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from doctor.behaviour.flags import flags_of, recorded_versions
from doctor.deployment.launch import (
    LaunchCommand,
    parse,
    parse_command_line,
    shell_line,
    split_program,
)
from doctor.deployment.program import commands_of_line

TOKEN = "gho_" + "a1B2" * 9
NODE_RANGE = (
    "Failed to start server: RangeError [ERR_SOCKET_BAD_PORT]: options.port should be "
    ">= 0 and < 65536. Received type number (99999)."
)

STDIO_AND_PORT = (
    "Cannot specify both --stdio and --port. Use --stdio for pipe communication or --port for TCP."
)
ACP_PORT_ZERO = (
    "Failed to start ACP server: Error: "
    "ACP mode takes either stdio or a TCP host and port, not both"
)
UI_AND_STDIO = "Cannot use --stdio with --ui-server. Use --server --stdio for headless stdio mode."
BARE_RESUME = (
    "--resume without a session ID is not supported in server mode. "
    "Specify a session ID: --resume=<session-id>"
)


def problems(command: LaunchCommand) -> dict[str, str]:
    return {option.name: option.problem for option in command.problems}


# --- the program ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "program"),
    [
        ("copilot --server", "copilot"),
        ("/app/node_modules/.bin/copilot --server", "/app/node_modules/.bin/copilot"),
        ("copilot.exe --server", "copilot.exe"),
        ("npx @github/copilot --server", "npx @github/copilot"),
        ("npx -y @github/copilot@1.0.63 --server", "npx -y @github/copilot@1.0.63"),
        (
            "npm exec --package=@github/copilot@1.0.63 -- copilot --server",
            "npm exec --package=@github/copilot@1.0.63 -- copilot",
        ),
        ("npm exec -- @github/copilot --server", "npm exec -- @github/copilot"),
        ("npm exec @github/copilot -- --server", "npm exec @github/copilot --"),
        ("pnpm dlx @github/copilot --server", "pnpm dlx @github/copilot"),
        (
            "node /usr/lib/node_modules/.bin/copilot --server",
            "node /usr/lib/node_modules/.bin/copilot",
        ),
        (
            "node --max-old-space-size=4096 -r x.js /x/@github/copilot/index.js --server",
            "node --max-old-space-size=4096 -r x.js /x/@github/copilot/index.js",
        ),
        ("node /x/@github/copilot/npm-loader.js --server", "node /x/@github/copilot/npm-loader.js"),
        (
            "/x/@github/copilot-linux-x64/copilot --server",
            "/x/@github/copilot-linux-x64/copilot",
        ),
        ("A=b C=d copilot --server", "A=b C=d copilot"),
        ("env -i -u X A=b copilot --server", "env -i -u X A=b copilot"),
        ("exec copilot --server", "exec copilot"),
        ("nohup copilot --server", "nohup copilot"),
        ("timeout 10 copilot --server", "timeout 10 copilot"),
        ("timeout -k 5 --foreground 1h copilot --server", "timeout -k 5 --foreground 1h copilot"),
        ("sudo -u svc -E copilot --server", "sudo -u svc -E copilot"),
        ("gosu svc copilot --server", "gosu svc copilot"),
        ("tini -- copilot --server", "tini -- copilot"),
        ("/sbin/tini -g -- copilot --server", "/sbin/tini -g -- copilot"),
        ("dumb-init copilot --server", "dumb-init copilot"),
        ("stdbuf -oL -e 0 copilot --server", "stdbuf -oL -e 0 copilot"),
        ("nice -n 5 setsid copilot --server", "nice -n 5 setsid copilot"),
        ("bash -c 'copilot --server'", "copilot"),
        ("bash -lc 'cd /srv && exec copilot --server >log 2>&1 &'", "exec copilot"),
        ("sh -ec 'export A=b; copilot --server | tee log'", "copilot"),
        ("tini -- sh -c 'A=b copilot --server || exit 1'", "A=b copilot"),
        ("su svc -c 'copilot --server'", "copilot"),
        ("cmd /c copilot.cmd --server", "cmd /c copilot.cmd"),
    ],
)
def test_finds_the_program(line: str, program: str) -> None:
    assert split_program(shlex.split(line)) == (tuple(program.split()), ("--server",))


@pytest.mark.parametrize(
    "line",
    [
        "",
        "grep copilot --server",
        "vim copilot",
        "docker exec web copilot --server",
        "node server.js --server",
        "node index.js",
        "npm run copilot",
        "npx other --server",
        "bash -c 'echo copilot'",
        "bash script.sh",
        "python -m copilot",
        "copilot-doctor check",
        "git-copilot --server",
        "env",
        "timeout 10",
        "bash -c",
    ],
)
def test_other_programs_are_no_copilot(line: str) -> None:
    assert split_program(shlex.split(line)) is None
    assert parse_command_line(shlex.split(line)) is None


def test_shell_lines() -> None:
    line = (
        "export A='b c'; cd \"/x y\" && exec copilot --server --model ${COPILOT_MODEL} "
        "--allow-tool='shell(git:*)' \"--deny-tool=shell(git push)\" 2>&1 >>log </dev/null & # hm\n"
        'echo "$(date)" | tee x'
    )
    assert commands_of_line(line) == (
        ("export", "A=b c"),
        ("cd", "/x y"),
        (
            *("exec", "copilot", "--server", "--model", "${COPILOT_MODEL}"),
            *("--allow-tool=shell(git:*)", "--deny-tool=shell(git push)"),
        ),
        ("echo", "$(date)"),
        ("tee", "x"),
    )
    command = parse_command_line(["bash", "-c", line], "1.0.63")
    assert command is not None
    assert command.value("--model") == "${COPILOT_MODEL}"
    assert command.values("--allow-tool") == ("shell(git:*)",)


def test_unquoted_parentheses_are_the_shells() -> None:
    commands = commands_of_line("copilot --server --allow-tool=shell(git:*)")
    assert commands[0] == ("copilot", "--server", "--allow-tool=shell")


def test_the_package_names_the_version() -> None:
    command = parse_command_line(["npx", "@github/copilot@1.0.63", "--server", "--port", "abc"])
    assert command is not None
    assert command.package_version == "1.0.63"
    assert command.version == "1.0.63"
    assert command.port_choice == "random"


# --- what it becomes -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "mode"),
    [
        ("--server --port 3000", "server"),
        ("--headless", "headless"),
        ("--server --headless", "server"),
        ("--server --acp --port 3000", "server"),
        ("--server -p hi", "server"),
        ("--server -i hi", "server"),
        ("--server --stdio", "stdio"),
        ("--server --stdio --port 0", "stdio"),
        ("--acp", "acp-stdio"),
        ("--acp --port 3000", "acp"),
        ("--acp --port 0", "acp-stdio"),
        ("--ui-server --port 3000", "ui-server"),
        ("-p hi --port 3000", "prompt"),
        ("--port 3000", "interactive"),
        ("", "interactive"),
        ("--server mcp list", "subcommand"),
        ("login", "subcommand"),
        ("--server --version", "help"),
        ("--server --help", "help"),
        ("--server --port 3000 --print-debug-info", "help"),
    ],
)
@pytest.mark.parametrize("version", ["1.0.63", "1.0.102"])
def test_mode_as_observed(line: str, mode: str, version: str) -> None:
    command = parse(line.split(), version)
    assert command.mode == mode
    assert command.is_tcp_server is (mode in {"server", "headless"})


@pytest.mark.parametrize(
    ("words", "version", "port", "choice", "problem"),
    [
        (["--port=3000"], "1.0.63", 3000, "given", ""),
        (["--port", "03000"], "1.0.63", 3000, "given", ""),
        (["--port", "+3000"], "1.0.102", 3000, "given", ""),
        ([], "1.0.63", None, "random", ""),
        (["--port", "0"], "1.0.63", None, "random", ""),
        (["--port=-0"], "1.0.102", None, "random", "bad-number"),
        (["--port", "abc"], "1.0.63", None, "random", "bad-number"),
        (["--port", "abc"], "1.0.81", None, "random", "bad-number"),
        (["--port", "abc"], "1.0.92", None, "invalid", "bad-number"),
        (["--port", ""], "1.0.63", None, "random", "bad-number"),
        (["--port", ""], "1.0.102", None, "invalid", "bad-number"),
        (["--port", "0xC351"], "1.0.63", 50001, "given", "bad-number"),
        (["--port", "0x7531"], "0.0.400", None, "random", "bad-number"),
        (["--port", "3e4"], "1.0.63", 3, "given", "bad-number"),
        (["--port", " 3000"], "1.0.63", 3000, "given", ""),
        (["--port", " 3000"], "1.0.102", None, "invalid", "bad-number"),
        (["--port=-1"], "1.0.63", None, "invalid", "out-of-range"),
        (["--port", "-1"], "1.0.102", None, "invalid", "missing-value"),
        (["--port", "65536"], "1.0.102", None, "invalid", "out-of-range"),
        (["--port", "3000", "--port", "4000"], "1.0.63", None, "random", "repeated"),
        (["--port", "3000", "--port", "4000"], "1.0.102", 4000, "given", ""),
        (["--port", "--stdio"], "1.0.63", None, "random", "swallows-flag"),
        (["--port", "--stdio"], "1.0.102", None, "invalid", "missing-value"),
    ],
)
def test_port_as_observed(
    words: list[str], version: str, port: int | None, choice: str, problem: str
) -> None:
    command = parse(["--server", *words], version)
    assert (command.port, command.port_choice) == (port, choice)
    option = command.option("--port")
    assert (option.problem if option else "") == problem


@pytest.mark.parametrize(
    ("line", "version", "message"),
    [
        ("--server --port 3000", "1.0.63", ""),
        ("--server --bind 0.0.0.0", "1.0.63", "error: unknown option '--bind'"),
        ("--server --bind 0.0.0.0", "1.0.102", "error: unexpected argument '--bind' found"),
        ("--server --host 0.0.0.0", "1.0.22", "error: unknown option '--host'"),
        ("--headless", "0.0.400", "error: unknown option '--headless'"),
        (
            "--server --log-level verbose",
            "1.0.102",
            "error: invalid value 'verbose' for '--log-level <level>'",
        ),
        ("--server --port 99999", "1.0.63", NODE_RANGE),
        (
            "--server --port 99999",
            "1.0.102",
            "Failed to start server: Error: port must be between 0 and 65535",
        ),
        (
            "--server --stdio --port 3000",
            "1.0.63",
            STDIO_AND_PORT,
        ),
        ("--server --stdio --port abc", "1.0.63", ""),
        (
            "--acp --stdio --port 3000",
            "1.0.102",
            "Cannot specify both --stdio and --port for ACP mode.",
        ),
        (
            "--ui-server --stdio",
            "1.0.63",
            UI_AND_STDIO,
        ),
        ("--managed-server", "1.0.63", "--managed-server requires --server (or --headless)."),
        ("--server --resume", "1.0.44", ""),
        (
            "--server --resume",
            "1.0.63",
            BARE_RESUME,
        ),
        (
            "--server --session-id x",
            "1.0.63",
            "error: option '--session-id <id>' cannot be used with option '--server'",
        ),
        ("--acp --port 0", "1.0.81", ""),
        (
            "--acp --port 0",
            "1.0.92",
            ACP_PORT_ZERO,
        ),
        ("--server --allow-tool=shell(git", "1.0.102", ""),
    ],
)
def test_rejection_as_observed(line: str, version: str, message: str) -> None:
    command = parse(line.split(), version)
    assert command.rejection == message
    assert any(option.is_fatal for option in command.options) is bool(message)


@pytest.mark.parametrize(
    ("host", "suggestion"),
    [
        ("", "127.0.0.1"),
        ("0.0.0.0:3000", "0.0.0.0"),
        ("[::1]", "::1"),
        ("[::1]:3000", "::1"),
        ("*", "0.0.0.0"),
        ("http://0.0.0.0", "0.0.0.0"),
        ("http://host:3000/x", "host"),
        (" 127.0.0.1", "127.0.0.1"),
    ],
)
def test_hosts_that_a_server_cannot_listen_on(host: str, suggestion: str) -> None:
    option = parse(["--server", f"--host={host}"], "1.0.63").option("--host")
    assert option is not None
    assert (option.problem, option.suggestion) == ("bad-host", suggestion)


@pytest.mark.parametrize(
    ("words", "version", "address"),
    [
        ([], "1.0.22", "*"),
        ([], "1.0.32", "127.0.0.1"),
        (["--host", "0.0.0.0"], "1.0.63", "0.0.0.0"),
        (["--host", "0"], "1.0.102", "0.0.0.0"),
        (["--host", "0.0.0.0"], "1.0.22", None),
        (["--host="], "1.0.32", "::"),
        (["--host", ""], "1.0.64", "::"),
        (["--host", ""], "1.0.73", None),
        (["--host", "[::1]"], "1.0.63", None),
        (["--stdio"], "1.0.63", None),
    ],
)
def test_bind_address_as_observed(words: list[str], version: str, address: str | None) -> None:
    assert parse(["--server", *words], version).bind_address == address


def test_a_host_that_is_no_address_ends_the_start() -> None:
    assert (
        parse(["--server", "--host", "[::1]"], "1.0.63").rejection
        == "Failed to start server: Error: getaddrinfo ENOTFOUND [::1]"
    )
    assert parse(["--server", "--host", ""], "1.0.63").rejection == ""
    assert parse(["--server", "--host", ""], "1.0.102").rejection.endswith("service not known")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "::1", "localhost", "0", "10.1.2.3", "api"])
def test_hosts_that_are_fine(host: str) -> None:
    command = parse(["--server", "--host", host], "1.0.63")
    assert command.host == host
    assert not command.problems


def test_of_two_hosts_the_last_counts() -> None:
    command = parse(["--server", "--host", "127.0.0.2", "--host=127.0.0.3"], "1.0.63")
    assert command.host == "127.0.0.3"


@pytest.mark.parametrize(
    ("word", "meant"),
    [("--bind", "--host"), ("\u2013server", "--server"), ("--Server", "--server"), ("--zzz", None)],
)
def test_unknown_flags_name_the_one_that_was_meant(word: str, meant: str | None) -> None:
    command = parse(["--server", word, "x"], "1.0.63")
    if word.startswith("--"):
        option = command.option(word)
        assert option is not None
        assert (option.known, option.problem, option.suggestion) == (False, "unknown", meant)
        assert not command.has(word)
    else:
        # No dash of the keyboard: for the CLI it is no flag at all.
        assert word in command.positionals


@pytest.mark.parametrize(
    ("level", "meant"),
    [("verbose", "debug"), ("DEBUG", "debug"), ("warn", "warning"), ("inof", "info"), ("zz", None)],
)
def test_bad_choices_name_the_one_that_was_meant(level: str, meant: str | None) -> None:
    option = parse(["--server", "--log-level", level], "1.0.63").option("--log-level")
    assert option is not None
    assert (option.problem, option.suggestion) == ("bad-choice", meant)


def test_flags_without_effect_beside_a_server() -> None:
    command = parse(["--server", "--acp", "-p", "hi"], "1.0.63")
    assert problems(command) == {"--acp": "ignored", "--prompt": "ignored"}
    assert not command.rejection
    forgotten = parse(["--port", "3000", "--host", "0.0.0.0"], "1.0.63")
    assert problems(forgotten) == {"--port": "ignored", "--host": "ignored"}
    assert {option.suggestion for option in forgotten.problems} == {"--server"}


def test_lookups() -> None:
    line = "-sp hi --allow-tool a b --allow-tool=c --log-level debug --log-dir /l -C /w"
    command = parse([*line.split(), "--auth-token-env", "MYTOK", "--no-auto-update"], "1.0.63")
    assert command.has("-s")
    assert command.has("--silent")
    assert command.value("-p") == command.value("--prompt") == "hi"
    assert command.values("--allow-tool") == ("a", "b", "c")
    assert (command.log_level, command.log_dir) == ("debug", "/l")
    assert (command.working_directory, command.auth_token_env) == ("/w", "MYTOK")
    assert not command.auto_update
    assert command.auto_login
    assert not command.has("--server")


@pytest.mark.parametrize(
    ("line", "tools", "everything"),
    [
        ("--server", False, False),
        ("--allow-all-tools", True, False),
        ("--allow-all", True, True),
        ("--yolo", True, True),
        ("--allow-all-tools --allow-all-paths --allow-all-urls", True, True),
        ("--allow-tool=shell", False, False),
    ],
)
def test_what_is_allowed(line: str, *, tools: bool, everything: bool) -> None:
    command = parse(line.split(), "1.0.63")
    assert (command.allows_all_tools, command.allows_all) == (tools, everything)


# --- writing -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "changes", "expected"),
    [
        ("--server --port 3000", {"replace": {"--port": "3001"}}, "--server --port 3001"),
        ("--server --port=3000", {"replace": {"--port": "3001"}}, "--server --port=3001"),
        ("--server --port 1 --port 2", {"replace": {"--port": "3"}}, "--server --port 3"),
        ("--server", {"replace": {"--port": "3"}}, "--server --port 3"),
        ("--server --stdio --port 1", {"drop": ["--stdio"]}, "--server --port 1"),
        ("--server --port 1 -s", {"drop": ["--port"]}, "--server -s"),
        ("--server --allow-tool a b -s", {"drop": ["--allow-tool"]}, "--server -s"),
        ("-sp hi --server", {"drop": ["-s"]}, "--prompt hi --server"),
        ("--server", {"add": ["--host", "0.0.0.0"]}, "--server --host 0.0.0.0"),
        ("--server -- x", {"add": ["--host", "h"]}, "--server --host h -- x"),
        ("--server --bind 0.0.0.0", {"rename": {"--bind": "--host"}}, "--server --host 0.0.0.0"),
        ("--server --bind=::", {"rename": {"--bind": "--host"}}, "--server --host=::"),
        ("--server --bind h", {"drop": ["--bind"]}, "--server h"),
    ],
)
def test_rewritten(line: str, changes: dict[str, object], expected: str) -> None:
    command = parse(line.split(), "1.0.63", program=("env", "A=b", "copilot"))
    assert command.rewritten(**changes) == ("env", "A=b", "copilot", *expected.split())  # type: ignore[arg-type]


def test_shell_line_quotes() -> None:
    words = ("copilot", "--allow-tool=shell(git:*)", "it's", "")
    assert shlex.split(shell_line(words, "posix")) == list(words)
    assert shell_line(words, "powershell") == "copilot '--allow-tool=shell(git:*)' 'it''s' ''"
    assert shell_line(("C:\\my app\\copilot.exe", "-s"), "powershell").startswith("& 'C:")


# --- secrets and hostile input -------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        ["--server", "--token", "s3cret-canary"],
        ["--server", "--api-key=s3cret-canary"],
        ["--server", "--github-token", "s3cret-canary"],
        ["--ahp-host", "--ahp-host-token", "s3cret-canary"],
        ["--ahp-host", "--ahp-host-token=s3cret-canary"],
        ["--server", "--additional-mcp-config", '{"x":{"env":{"K":"s3cret-canary"}}}'],
        ["--server", '--additional-mcp-config={"x":{"url":"s3cret-canary"}}'],
        ["--server", "GH_TOKEN=s3cret-canary"],
        ["--server", "--", "MY_PAT=s3cret-canary"],
        ["--log-dir", "https://user:s3cret-canary@host/"],
        ["--log-level", "MY_SECRET=s3cret-canary"],
    ],
)
@pytest.mark.parametrize("version", ["1.0.63", "1.0.102"])
def test_secrets_are_hidden_everywhere(words: list[str], version: str) -> None:
    command = parse(words, version, program=("env", "A_TOKEN=s3cret-canary", "copilot"))
    assert b"s3cret-canary" not in msgspec.json.encode(command)
    assert "[redacted, 13 characters]" in " ".join(command.program)
    assert "s3cret-canary" not in shell_line(command.rewritten(drop=["--server"]))


@given(
    name=st.sampled_from([*sorted(flags_of("1.0.102")), "--x", "--bind", "-z", "", "x", "--"]),
    form=st.sampled_from(["{0} {1}", "{0}={1}", "{0}{1}", "{1} {0}", "-s{1}", "{0} a {1}"]),
    version=st.sampled_from(["0.0.400", "1.0.63", "1.0.102"]),
)
def test_a_token_never_gets_in(name: str, form: str, version: str) -> None:
    command = parse(form.format(name, TOKEN).split(), version)
    assert TOKEN.encode() not in msgspec.json.encode(command)


def test_an_own_cleaner_hides_what_it_knows() -> None:
    command = parse(
        ["--server", "--model", "plain-looking"],
        clean=lambda text: text.replace("plain-looking", "[hidden]"),
    )
    assert command.value("--model") == "[hidden]"
    assert b"plain-looking" not in msgspec.json.encode(command)


def test_names_of_variables_are_no_secrets() -> None:
    command = parse(["--server", "--auth-token-env", "MYTOK", "--secret-env-vars=A,B"], "1.0.63")
    assert command.auth_token_env == "MYTOK"
    assert command.value("--secret-env-vars") == "A,B"


def test_terminal_escapes_do_not_survive() -> None:
    command = parse(["--server", "--model", "\x1b[31mred\x07\u202e", "\x1b]0;x\x07"], "1.0.63")
    text = msgspec.json.encode(command).decode()
    assert not any(c in text for c in ("\x1b", "\x07", "\u202e", "\\u001b", "\\u0007"))


def test_very_much_input_is_cut_quickly() -> None:
    started = time.perf_counter()
    many = parse(["--server", *["--allow-tool=x"] * 100_000])
    long = parse(["--server", *["x" * 1_000_000] * 20, "--port=" + "9" * 1_000_000])
    assert parse_command_line(["copilot", "--server", *["y"] * 100_000]) is not None
    assert commands_of_line("'" * 1_000_000)
    assert many.omitted == 100_001 - len(many.arguments) > 90_000
    assert max(map(len, long.arguments)) < 1_100
    assert time.perf_counter() - started < 5


# --- properties ----------------------------------------------------------------------------------

WORDS = st.lists(
    st.one_of(
        st.text(max_size=10),
        st.sampled_from(sorted(flags_of(None))),
        st.sampled_from(
            ["--", "-sp", "--port=1", "3000", "mcp", "hi", "\u2013server", "--x=y", "--x"]
        ),
    ),
    max_size=10,
)
VERSIONS = st.sampled_from([*recorded_versions(), "nonsense", None])


@given(WORDS, VERSIONS)
def test_any_words_parse_and_survive_a_round_trip(argv: list[str], version: str | None) -> None:
    command = parse(argv, version)
    again = msgspec.json.decode(msgspec.json.encode(command), type=LaunchCommand)
    assert again == command
    assert len(command.arguments) == len(argv)
    assert command.rewritten() == (*command.program, *command.arguments)


@given(
    st.lists(
        st.sampled_from(["--server", "--port", "3000", "--allow-tool", "a", "-sp", "--log-dir=x"]),
        max_size=8,
    ),
    VERSIONS,
)
def test_writing_and_reading_again_gives_the_same(argv: list[str], version: str | None) -> None:
    command = parse(argv, version)
    assert parse(command.rewritten()[1:], version) == command


@given(st.lists(st.text(max_size=20), max_size=6), st.text(max_size=200))
def test_any_command_line_can_be_looked_at(argv: list[str], line: str) -> None:
    split_program(argv)
    parse_command_line(["sh", "-c", line])
    commands_of_line(line)


@given(st.lists(st.text(min_size=1, max_size=12), min_size=1, max_size=6))
def test_quoted_words_come_back_from_a_shell_line(words: list[str]) -> None:
    clean = [word.replace("\x00", "x") for word in words]
    assert commands_of_line(shlex.join(clean)) == (tuple(clean),)
