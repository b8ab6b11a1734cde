"""The flags that a server was started with, or that its start fails over.

Symptom in the user's words: "unknown option", "unexpected argument found", "No prompt provided",
"it listens on another port every time", "Cannot specify both --stdio and --port".
Measured: the launch command as the command line parser of that version reads it, the port that the
process really listens on, and the ports that clients are told.
Can be wrong about a version between two tested ones: flags are judged like those of the older one.
A process whose flags are rejected ends at once, so of those only what is still running, or written
down somewhere, can be judged.
"""

from collections.abc import Iterator
from typing import Final

from doctor.behaviour.facts import HAS_HOST_OPTION
from doctor.behaviour.flags import advice as flag_advice
from doctor.behaviour.flags import flags_of, nearest
from doctor.behaviour.versions import NEWEST_TESTED, observed_range
from doctor.catalogue import (
    Cause,
    Check,
    Evidence,
    Finding,
    Fix,
    NotVisible,
    Outcome,
    Passed,
    Skipped,
    Symptom,
    about,
    advice,
    command,
)
from doctor.catalogue.check import GeneralFix
from doctor.catalogue.pages import SDK_BACKEND, server_mode
from doctor.catalogue.steps import (
    ensure_token,
    free_port,
    is_windows,
    local_address,
    point_clients,
    stop_for_good,
    supervisor_of,
    upgrade,
)
from doctor.deployment import (
    Client,
    Deployment,
    LaunchCommand,
    Option,
    Origin,
    Route,
    Server,
    Target,
)
from doctor.deployment.launch import parse, shell_line
from doctor.deployment.targets import host_port, parse_target

_ALL: Final = observed_range("0.0.400", "1.0.102")
_ENDS: Final = ("1.0.63", "1.0.102")
_ANATOMY: Final = server_mode("Anatomy of the Command")
_NOT_IN_HELP: Final = server_mode("Why this is not in copilot --help")

UNKNOWN_FLAG = Cause(
    id="unknown-flag",
    text=(
        "A flag is misspelt, or belongs to another version or program. The CLI ends over it. "
        "`copilot --help` does not list the flags that a server needs, so it does not help here."
    ),
    documented=_NOT_IN_HELP,
    observed=_ALL,
)
BIND = Cause(
    id="bind",
    text=(
        "--bind was never a flag of the CLI, though some samples had it. "
        "The address is given with --host, from 1.0.32 on."
    ),
    documented=SDK_BACKEND,
    observed=_ALL,
    reported=("https://github.com/github/copilot-sdk/pull/1174",),
)
NO_HOST_OPTION = Cause(
    id="host-too-old",
    text=(
        "Up to CLI 1.0.22 there is no --host, and the start ends over it. These versions listen on "
        "every interface anyway, and ignore connection tokens: upgrade rather than leave it out."
    ),
    documented=SDK_BACKEND,
    documented_says="start the server with --host for other hosts; no version is named.",
    observed=HAS_HOST_OPTION.where(value=False),
)
BAD_VALUE = Cause(
    id="bad-value",
    text="A flag has a value that the CLI does not take, or none where it needs one.",
    documented=_ANATOMY,
    observed=_ALL,
)
RANDOM_PORT = Cause(
    id="random-port",
    text=(
        "The server listens on a random port: --port is missing, 0, no number (up to 1.0.81), or "
        "given twice (up to 1.0.81), or it was written as -p, which is --prompt. "
        "Only the first line on standard output names the port, and it changes with every start."
    ),
    documented=_ANATOMY,
    documented_says="--port is the port the server listens on; what happens without is not said.",
    observed=("1.0.22", "1.0.32", "1.0.44", "1.0.63", "1.0.81", "1.0.92", "1.0.102"),
)
NO_SERVER_FLAG = Cause(
    id="no-server-flag",
    text=(
        "Without --server (or --headless) the CLI is an interactive session: it listens on no "
        "port, whatever --port and --host say. Without a terminal it ends."
    ),
    documented=_NOT_IN_HELP,
    observed=("1.0.22", "1.0.32", "1.0.44", "1.0.63", "1.0.81", "1.0.92", "1.0.102"),
)
CONTRADICTION = Cause(
    id="contradiction",
    text="Two flags exclude each other, or one is missing that another needs: the CLI ends.",
    documented=_ANATOMY,
    documented_says="which flags there are; which of them exclude each other is not said.",
    observed=_ENDS,
)
IGNORED = Cause(
    id="ignored-flag",
    text=(
        "A flag does nothing beside another one: next to --server the CLI ignores --acp, "
        "-p (--prompt) and -i (--interactive). It should be left out, or meant something else."
    ),
    documented=_NOT_IN_HELP,
    documented_says="--acp starts another kind of server; not that --server wins over it.",
    observed=("1.0.22", "1.0.32", "1.0.44", "1.0.63", "1.0.81", "1.0.92", "1.0.102"),
)
STRAY_WORD = Cause(
    id="stray-word",
    text=(
        "A word stands where only flags may: a flag without its dashes, with dashes that an editor "
        "made long, or a value without its flag. The CLI ends over it."
    ),
    documented=_ANATOMY,
    observed=_ENDS,
)
ACP = Cause(
    id="acp",
    text=(
        "It was started with --acp and speaks the Agent Client Protocol. SDK clients, which speak "
        "another one, get no answer and hang. For them it needs --server."
    ),
    documented=_NOT_IN_HELP,
    observed=_ENDS,
)
OTHER_PORT = Cause(
    id="other-port",
    text=(
        "Clients are told a port that no Copilot server listens on, while one listens on another. "
        "Both sides must name the same port."
    ),
    documented=server_mode("Connecting from the SDK"),
    observed=_ENDS,
)

CAUSES = (
    UNKNOWN_FLAG,
    BIND,
    NO_HOST_OPTION,
    BAD_VALUE,
    RANDOM_PORT,
    NO_SERVER_FLAG,
    CONTRADICTION,
    IGNORED,
    STRAY_WORD,
    ACP,
    OTHER_PORT,
)

NO_PROMPT: Final = (
    "No prompt provided. Run in an interactive terminal or provide a prompt with -p or via "
    "standard in."
)
"""What a start without ``--server`` says where there is no terminal (observed on every version)."""

_HIGHEST: Final = 65_535
_DOCUMENTED_PORT: Final = 3000
_LONGEST: Final = 30
_LONGEST_TEXT: Final = 120
_MOST_ROUNDS: Final = 4
_RANDOM: Final = "Only the banner names it: CLI server listening on port N"
_LOCAL: Final = frozenset({"localhost", "::1", "0.0.0.0", "::"})  # noqa: S104 - compared


def judge(deployment: Deployment) -> Iterator[Outcome]:
    """Judge each launch command, then each port that clients are told."""
    outcomes: list[Outcome] = []
    for server in deployment.servers:
        outcomes.extend(_server(deployment, server))
    for target in _told(deployment):
        outcomes.extend(_target(deployment, target))
    for client in deployment.clients:
        outcomes.extend(_client(deployment, client))
    yield from outcomes or [Skipped(reason="no Copilot server, and no port that clients are told")]


# The launch command


def _server(deployment: Deployment, server: Server) -> Iterator[Outcome]:
    words = server.command
    if words is None:
        yield NotVisible(
            subject=about(server),
            reason="its launch command cannot be read",
            remedy="run copilot-doctor as the server's user, or as root (sudo)",
        )
        return
    found: list[Outcome] = [
        *_of_options(deployment, server, words),
        *_of_words(deployment, server, words),
    ]
    if words.mode == "acp":
        found.extend(_acp(deployment, server, words))
    if not found and words.is_tcp_server:
        found.extend(_unnamed_port(deployment, server, words))
    if found:
        yield from found
    elif words.is_tcp_server or words.mode in {"stdio", "ui-server", "ahp-host", "acp-stdio"}:
        yield Passed(subject=about(server), detail=_as_read(server, words))


def _as_read(server: Server, words: LaunchCommand) -> str:
    if words.mode == "stdio":
        return "it speaks on its standard input and output, for the program that started it"
    if words.mode == "ui-server":
        return "an interactive session that clients can connect to while it runs"
    if not words.is_tcp_server:
        return f"its flags are right for what it is ({words.mode})"
    return f"a server on port {server.port}; every flag is one of CLI {words.version}"


def _of_options(deployment: Deployment, server: Server, words: LaunchCommand) -> Iterator[Finding]:
    """Judge the flags with which something is wrong."""
    for option in words.problems:
        if option.is_fatal and server.listeners:
            # It runs, so its version takes what the tested version nearest to it does not.
            continue
        if _lacks_server(option) and _means_server(words):
            continue  # --server is there, misspelt: told by its own finding
        cause, title, status, detail = _verdict(server, words, option)
        yield _finding(
            deployment,
            server,
            words,
            cause,
            title,
            status="fail" if option.is_fatal else status,
            detail=detail,
            symptom=option.message or _silent_symptom(words, cause),
            evidence=_of_option(option),
        )


_Verdict = tuple[Cause, str, str, str]
"""Cause, title, status and detail."""


def _means_server(words: LaunchCommand) -> bool:
    """Whether ``--server`` was meant by something that is no flag."""
    flags = (option.suggestion for option in words.problems if not option.known)
    stray = (nearest(w, words.version) for w in words.positionals if _is_meant_as_flag(w))
    return bool({"--server", "--headless"} & {*flags, *stray})


def _verdict(server: Server, words: LaunchCommand, option: Option) -> _Verdict:
    name = _short(option.name)
    if not option.known:
        return _of_unknown(words, option)
    random = _of_random_port(server, words, option)
    if random is not None:
        return random
    if option.problem == "ignored":
        return _of_ignored(words, option)
    if option.problem in {"conflict", "contradiction", "missing-flag"}:
        return CONTRADICTION, f"{name} does not go with the other flags", "fail", ""
    if option.problem == "swallows-flag":
        taken = _short(option.value or "")
        return BAD_VALUE, f"{name} has no value and takes {taken} for it", "fail", ""
    if option.problem == "bad-number" and words.port:
        return (
            BAD_VALUE,
            f"{name} is read as {words.port}: what does not belong to the number is cut off",
            "warn",
            "From 1.0.92 on such a value ends the start.",
        )
    meant = f"Probably meant: {option.suggestion}." if option.suggestion else ""
    return BAD_VALUE, f"{name} does not take the value that it is given", "warn", meant


def _of_unknown(words: LaunchCommand, option: Option) -> _Verdict:
    if option.name == "--host":
        return NO_HOST_OPTION, f"CLI {words.version} has no --host", "fail", ""
    hint = flag_advice(option.name)
    meant = f"Probably meant: {option.suggestion}." if option.suggestion else ""
    detail = " ".join(filter(None, (meant, f"{hint[:1].upper()}{hint[1:]}." if hint else "")))
    cause = BIND if option.name.startswith("--bind") else UNKNOWN_FLAG
    return cause, f"{_short(option.name)} is no flag of CLI {words.version}", "fail", detail


def _of_random_port(server: Server, words: LaunchCommand, option: Option) -> _Verdict | None:
    if not words.is_tcp_server or words.port_choice != "random" or option.is_fatal:
        return None
    port = f"random port {server.port}" if server.port else "random port"
    if option.name == "--prompt" and _is_port(option.value) and words.port_text is None:
        title = f"-p is --prompt, not --port: the server listens on {port}"
        return RANDOM_PORT, title, "fail", _RANDOM
    if option.name == "--port":
        what = "--port is given twice" if option.problem == "repeated" else "--port has no number"
        return RANDOM_PORT, f"{what}: the server listens on {port}", "fail", _RANDOM
    return None


def _of_ignored(words: LaunchCommand, option: Option) -> _Verdict:
    name = _short(option.name)
    if option.suggestion == "--server":
        return NO_SERVER_FLAG, f"{name} has no effect without --server", "warn", ""
    if option.suggestion:
        return IGNORED, f"{name} has no effect here: {option.suggestion} is meant", "warn", ""
    return IGNORED, f"{name} has no effect beside {_stronger(words)}", "warn", ""


def _stronger(words: LaunchCommand) -> str:
    return next((o.name for o in words.options if o.name in {"--server", "--headless"}), words.mode)


def _of_words(deployment: Deployment, server: Server, words: LaunchCommand) -> Iterator[Finding]:
    """Judge words that belong to no flag."""
    if server.listeners or words.mode in {"subcommand", "help"} or not words.positionals:
        return
    if any(not option.known for option in words.problems):
        return  # the value of a flag that does not exist: told already
    if not words.rejection:
        return
    word = words.positionals[0]
    meant = nearest(word, words.version) if _is_meant_as_flag(word) else None
    yield _finding(
        deployment,
        server,
        words,
        STRAY_WORD,
        f"The word {_short(word)!r} stands where only flags may",
        detail=f"Probably meant: {meant}." if meant else "",
        symptom=f"{words.rejection} (or: error: Invalid command format.)",
        evidence=(Evidence(kind="command", text=f"no flag's: {' '.join(words.positionals)}"),),
    )


def _silent_symptom(words: LaunchCommand, cause: Cause) -> str:
    if cause is NO_SERVER_FLAG:
        return f"{NO_PROMPT} (without a terminal; with one, a session for a person)"
    if cause is RANDOM_PORT:
        return "Connection refused on the port that was meant; nothing is said"
    return words.rejection or "nothing is said"


def _unnamed_port(
    deployment: Deployment, server: Server, words: LaunchCommand
) -> Iterator[Outcome]:
    """Judge a server that was started without ``--port``."""
    if words.port_choice != "random":
        return
    port = f" ({server.port})" if server.port else ""
    if words.port_text is not None:
        yield Passed(subject=about(server), detail=f"--port 0 asks for any port{port}")
        return
    clients = deployment.clients_of(server)
    if clients:
        yield Passed(
            subject=about(server),
            detail=f"started without --port, and {about(clients[0])} knows its port{port}",
        )
        return
    yield _finding(
        deployment,
        server,
        words,
        RANDOM_PORT,
        f"Started without --port, the server listens on a random port{port}",
        status="warn",
        detail=_RANDOM,
        symptom=_silent_symptom(words, RANDOM_PORT),
        evidence=(),
    )


def _acp(deployment: Deployment, server: Server, words: LaunchCommand) -> Iterator[Finding]:
    named = [target for target in _told(deployment) if _names(deployment, target, server)]
    if not named and server.is_running:
        # An ACP server for ACP clients is right as it is.
        return
    yield _finding(
        deployment,
        server,
        words,
        ACP,
        f"An ACP server, not one for SDK clients, has port {server.port}",
        status="fail" if named else "warn",
        symptom="start() of the SDK never returns",
        evidence=tuple(_of_target(target) for target in named[:1]),
    )


# The port that clients are told


def _told(deployment: Deployment) -> list[Target]:
    """Return the addresses that clients are told, those made from the servers left out."""
    told = [target for target in deployment.targets if target.origin.kind != "process"]
    text = deployment.shell.text("COPILOT_CLI_URL")
    if text and not any(target.text == text for target in told):
        origin = Origin(kind="environment", name="COPILOT_CLI_URL")
        told.append(parse_target(text, origin))
    return [target for target in told if not target.problem and target.port is not None]


def _target(deployment: Deployment, target: Target) -> Iterator[Outcome]:
    route = next((item for item in deployment.routes if item.target == target), None)
    if not _is_here(deployment, target, route):
        return
    servers = [server for server in deployment.tcp_servers if server.is_running]
    if not servers:
        return
    subject = about(route) if route else f"route to {target.text}"
    hidden = [server for server in servers if not server.listeners and not server.listeners_visible]
    if _is_copilot(route) or any(_has_port(server, target.port) for server in servers):
        yield Passed(subject=subject, detail=f"a Copilot server listens on port {target.port}")
        return
    elsewhere = [server for server in servers if local_address(server)]
    if hidden or not elsewhere:
        if hidden:
            yield NotVisible(
                subject=subject,
                reason=f"which port {about(hidden[0])} listens on cannot be seen",
                remedy="run copilot-doctor as root (sudo)",
            )
        return
    source = target.origin.name if target.origin.kind == "environment" else "the target"
    server = elsewhere[0]
    yield Finding(
        status="fail",
        title=f"{source} names port {target.port}, and the server listens on {server.port}"[:90],
        cause=OTHER_PORT,
        subject=subject,
        origin=target.origin,
        detail="" if len(elsewhere) == 1 else f"{len(elsewhere)} servers run here.",
        symptom=f"RuntimeError: Failed to connect to CLI server at {host_port(target)}: "
        "[Errno 111] Connection refused (unless something else listens there)",
        evidence=(
            _of_target(target),
            *(
                Evidence(kind="socket", text=f"{item.label} listens on {local_address(item)}")
                for item in elsewhere[:3]
            ),
            *_of_command(server.command),
        ),
        fixes=_same_port(deployment, target, elsewhere),
    )


def _client(deployment: Deployment, client: Client) -> Iterator[Outcome]:
    """Compare what a connected client is told with where it is connected."""
    text = client.environment.text("COPILOT_CLI_URL")
    server = deployment.server(client.server)
    if not text or server is None or not server.listeners:
        return
    target = parse_target(text, Origin(kind="environment", name="COPILOT_CLI_URL"))
    if target.problem or not _is_here(deployment, target, None):
        return
    if any(_has_port(item, target.port) for item in deployment.tcp_servers):
        yield Passed(subject=about(client), detail=f"it is told port {target.port}")
        return
    address = local_address(server)
    fixes = (
        (
            point_clients(
                "use-the-server", f"Tell it the server's address, {address}", deployment, address
            ),
        )
        if address
        else ()
    )
    yield Finding(
        status="warn",
        title=f"A client is told port {target.port}, and is connected to port {server.port}",
        cause=OTHER_PORT,
        subject=about(client),
        origin=client.origin,
        detail="It will be refused when it next takes the address from its environment.",
        symptom=f"RuntimeError: Failed to connect to CLI server at {host_port(target)}: "
        "[Errno 111] Connection refused",
        evidence=(
            Evidence(kind="environment", text=f"COPILOT_CLI_URL of {about(client)}: {target.text}"),
            Evidence(kind="socket", text=f"{about(client)} is connected to {about(server)}"),
        ),
        fixes=fixes,
    )


def _same_port(deployment: Deployment, target: Target, servers: list[Server]) -> tuple[Fix, ...]:
    fixes = [
        point_clients(
            "use-the-server" if number == 1 else f"use-server-{number}",
            f"Tell clients the address of {server.label}",
            deployment,
            local_address(server) or "",
        )
        for number, server in enumerate(servers[:3], 1)
    ]
    server = servers[0]
    here = deployment.here
    taken = here.ports_taken if here and here.ports_taken is not None else None
    if taken is not None and target.port not in taken and len(servers) == 1 and server.command:
        words = server.command.rewritten(replace={"--port": str(target.port)})
        fixes.append(
            _again(
                deployment,
                server,
                "move-the-server",
                f"Or restart the server on port {target.port}, which is free",
                words,
            )
        )
    return tuple(fixes)


# Fixes


def _corrected(words: LaunchCommand, port: int | None) -> tuple[str, ...] | None:
    """Return the command line with every problem put right, None where that is not certain.

    The result is read again by the parser of the same version: it must find nothing to object to.
    """
    current, arguments = words, list(words.arguments)
    for _ in range(_MOST_ROUNDS):
        edits = _edits(current, port)
        if not edits:
            break
        for index, (count, new) in sorted(edits.items(), reverse=True):
            arguments[index : index + count] = new
        current = parse(arguments, words.version, program=words.program)
    is_right = not current.rejection and not current.problems and current.is_tcp_server
    return (*words.program, *arguments) if is_right else None


def _edits(words: LaunchCommand, port: int | None) -> dict[int, tuple[int, list[str]]]:
    """Return what to write instead: by place, how many words go and which ones come."""
    edits: dict[int, tuple[int, list[str]]] = {}
    for option in words.problems:
        if option.index in edits or _lacks_server(option):
            continue
        if option.name == "--port" and option.problem == "repeated":
            # The last one is what was meant, and what counts from 1.0.92 on.
            others = (o for o in words.options if o.name == "--port" and o.index != option.index)
            edits |= {other.index: (other.words, []) for other in others}
            continue
        edits[option.index] = (option.words, _instead(words, option, port))
    if not edits:
        edits = _stray(words)
    if not edits and not words.is_tcp_server:
        edits[0] = (0, ["--server"])
    elif not edits and words.port_text is None and port is not None:
        edits[len(words.arguments)] = (0, ["--port", str(port)])
    return edits


def _instead(words: LaunchCommand, option: Option, port: int | None) -> list[str]:
    """Return the words that should stand in the place of a flag."""
    value = option.value
    if not option.known:
        if option.suggestion is None:
            return []
        joint = "=" in option.text
        return [f"{option.suggestion}={value}"] if joint and value else [option.suggestion]
    if option.name == "--prompt" and _is_port(value) and words.port_text is None:
        return ["--port", str(value)]
    if option.problem == "ignored":
        return [option.suggestion, *option.values] if option.suggestion else []
    if option.name == "--port":
        return _instead_of_port(option, port)
    if option.problem == "swallows-flag":
        return list(option.values)
    if option.problem == "unwanted-value":
        return [option.name]
    if option.problem in {"bad-choice", "bad-host", "bad-number"} and option.suggestion:
        return [option.name, option.suggestion]
    return []


def _lacks_server(option: Option) -> bool:
    """Whether a flag is right, and ``--server`` is what is missing."""
    return option.problem == "ignored" and option.suggestion == "--server"


def _instead_of_port(option: Option, port: int | None) -> list[str]:
    if option.problem == "swallows-flag":
        return [*(["--port", str(port)] if port else []), *option.values]
    if option.suggestion:
        return ["--port", option.suggestion]
    return ["--port", str(port)] if port else []


def _stray(words: LaunchCommand) -> dict[int, tuple[int, list[str]]]:
    """Return what to write instead of the words that belong to no flag."""
    if not words.positionals or words.mode in {"subcommand", "help"}:
        return {}
    taken = {i for o in words.options for i in range(o.index, o.index + o.words)}
    edits: dict[int, tuple[int, list[str]]] = {}
    for index, word in enumerate(words.arguments):
        if index in taken or word == "--":
            continue
        meant = nearest(word, words.version) if _is_meant_as_flag(word) else None
        if meant is not None:
            edits[index] = (1, [meant])
    if edits:
        return edits
    return {
        index: (1, [])
        for index, word in enumerate(words.arguments)
        if index not in taken and word != "--"
    }


def _is_meant_as_flag(word: str) -> bool:
    """Whether a word is a flag without its dashes, or with dashes of another kind."""
    bare = word.lstrip("-\u2010\u2011\u2012\u2013\u2014\u2015\u2212")
    return bare != word or f"--{word}" in flags_of() or word == "serve"


def _again(
    deployment: Deployment,
    server: Server,
    fix_id: str,
    summary: str,
    words: tuple[str, ...],
) -> Fix:
    """Return the fix that starts a server with another command line."""
    line = shell_line(words, "powershell" if is_windows(deployment) else "posix")
    # As the newest version reads it: older ones have no --host.
    host = parse(words[len(server.command.program) if server.command else 1 :]).host
    prepare: list[str] = []
    if host is not None and not _is_loopback(host):
        # Nothing is opened to other hosts without protection.
        prepare.append(ensure_token(deployment))
        summary += ", and with a connection token, as it listens for other hosts"
    supervised = supervisor_of(server)
    if supervised is not None:
        process, _ = supervised
        return advice(
            fix_id,
            f"{summary}: {process.name} (pid {process.pid}) starts it, so change it there; the "
            f"command line becomes: {line}",
        )
    if server.is_container_init or any(item.namespace == "other" for item in server.listeners):
        return advice(
            fix_id,
            f"{summary}: its container starts it, so change it in the image or the Compose file; "
            f"the command line becomes: {line}",
        )
    stops = stop_for_good(deployment, server) if server.is_running and server.process else []
    return command(fix_id, summary, *prepare, *stops, line)


def _fixes(deployment: Deployment, server: Server, words: LaunchCommand) -> tuple[Fix, ...]:
    """Return the command line that is right in everything, where that is certain."""
    port = _port_for(deployment, server, words)
    plain = _without_acp(words)
    corrected = _corrected(plain, port)
    if corrected is None:
        return (
            advice(
                "write-it-anew",
                f"Start from the plain command: copilot --server --port {port or _DOCUMENTED_PORT}",
            ),
        )
    verb = "Restart it" if server.is_running else "Start it"
    return (_again(deployment, server, "corrected", f"{verb} with the flags put right", corrected),)


def _without_acp(words: LaunchCommand) -> LaunchCommand:
    if words.mode != "acp":
        return words
    changed = words.rewritten(drop=("--acp",), add=("--server",))
    return parse(changed[len(words.program) :], words.version, program=words.program)


def _port_for(deployment: Deployment, server: Server, words: LaunchCommand) -> int | None:
    """Return the port that a server should have: what it asks for, what clients are told, free."""
    if words.port:
        return words.port
    here = deployment.here
    taken = set(here.ports_taken or ()) if here else set()
    taken -= {item.port for item in server.listeners}
    text = words.port_text or ""
    asked = int(text) if _is_port(text) else None
    told = [t.port for t in _told(deployment) if _is_here(deployment, t, None)]
    for port in (asked, *told, _DOCUMENTED_PORT):
        if port is not None and port not in taken:
            return port
    return free_port(deployment, _DOCUMENTED_PORT)


# Evidence


def _finding(  # the parts of a finding
    deployment: Deployment,
    server: Server,
    words: LaunchCommand,
    cause: Cause,
    title: str,
    *,
    status: str = "fail",
    detail: str = "",
    symptom: str,
    evidence: tuple[Evidence, ...],
) -> Finding:
    return Finding(
        status="warn" if status == "warn" else "fail",
        title=title,
        cause=cause,
        subject=about(server),
        origin=server.origin,
        detail=detail,
        symptom=symptom,
        evidence=(*evidence, *_of_command(words), *_of_listeners(server), _of_version(server)),
        fixes=_upgrade(deployment, server, words)
        if cause is NO_HOST_OPTION
        else _fixes(deployment, server, words),
    )


def _upgrade(deployment: Deployment, server: Server, words: LaunchCommand) -> tuple[Fix, ...]:
    install = upgrade(server, NEWEST_TESTED)
    line = install or f"npm install --global @github/copilot@{NEWEST_TESTED}"
    newest = parse(words.arguments, NEWEST_TESTED, program=words.program)
    corrected = _corrected(newest, _port_for(deployment, server, newest)) or words.rewritten()
    again = _again(deployment, server, "upgrade", f"Upgrade the CLI to {NEWEST_TESTED}", corrected)
    if again.kind != "command":
        return (again,)
    *before, last = again.shell.split("\n")
    return (command("upgrade", again.summary, *before, line, last),)


def _of_option(option: Option) -> tuple[Evidence, ...]:
    found = [Evidence(kind="command", text=f"given: {_cut(option.text)}")]
    if option.suggestion:
        found.append(Evidence(kind="command", text=f"nearest right one: {option.suggestion}"))
    return tuple(found)


def _of_command(words: LaunchCommand | None) -> tuple[Evidence, ...]:
    if words is None:
        return ()
    text = _cut(" ".join(words.rewritten()))
    return (Evidence(kind="command", text=f"launch command: {text}"),)


def _of_listeners(server: Server) -> tuple[Evidence, ...]:
    if server.listeners:
        ports = ", ".join(dict.fromkeys(str(item.port) for item in server.listeners))
        return (Evidence(kind="socket", text=f"it listens on port {ports}"),)
    if server.is_running and server.listeners_visible:
        return (Evidence(kind="socket", text="it listens on no port"),)
    return ()


def _of_version(server: Server) -> Evidence:
    version = server.version or f"not known, judged like {NEWEST_TESTED}"
    return Evidence(kind="package", text=f"CLI version: {version}")


def _of_target(target: Target) -> Evidence:
    if target.origin.kind == "environment":
        return Evidence(kind="environment", text=f"{target.origin.name}={target.text}")
    return Evidence(kind="command", text=f"target: {target.text}")


# Facts


def _is_here(deployment: Deployment, target: Target, route: Route | None) -> bool:
    """Whether a target leads to this machine."""
    here = deployment.here
    own = _LOCAL | {*(here.addresses if here else ()), *(here.names if here else ())}
    resolution = route.resolution if route else None
    found = resolution.addresses if resolution else ()
    return any(item in own or item.startswith("127.") for item in (target.host, *found))


def _is_loopback(host: str) -> bool:
    return host in {"localhost", "::1"} or host.startswith("127.")


def _is_copilot(route: Route | None) -> bool:
    return route is not None and route.handshake is not None and route.handshake.peer == "copilot"


def _has_port(server: Server, port: int | None) -> bool:
    return any(item.port == port for item in server.listeners)


def _names(deployment: Deployment, target: Target, server: Server) -> bool:
    return _is_here(deployment, target, None) and _has_port(server, target.port)


def _is_port(text: str | None) -> bool:
    return (
        bool(text)
        and str(text).isascii()
        and str(text).isdecimal()
        and 0 < int(text or 0) <= _HIGHEST
    )


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_TEXT else text[: _LONGEST_TEXT - 1] + "…"


CHECK = Check(
    id="launch-flags",
    title="Do the flags say what was meant?",
    category="process",
    looks_at="the launch command of each server, its port, and the ports that clients are told",
    symptoms=(
        Symptom(
            text="error: unknown option '--bind'",
            pattern=r"error: unknown option '",
            where="stderr",
            versions=observed_range("0.0.400", "1.0.81"),
        ),
        Symptom(
            text="error: unexpected argument '--bind' found",
            pattern=r"error: unexpected (?:argument|value) '",
            where="stderr",
            versions=observed_range("1.0.92", "1.0.102"),
        ),
        Symptom(
            text=(
                "error: option '--log-level <level>' argument 'verbose' is invalid. Allowed "
                "choices are none, error, warning, info, debug, all, default."
            ),
            pattern=r"error: option '[^']*' argument (?:'[^']*' is invalid|missing)",
            where="stderr",
            versions=observed_range("0.0.400", "1.0.81"),
        ),
        Symptom(
            text="error: invalid value 'abc' for '--port <port>': invalid digit found in string",
            pattern=r"error: (?:invalid value '[^']*' for '--|a value is required for '--)",
            where="stderr",
            versions=observed_range("1.0.92", "1.0.102"),
        ),
        Symptom(
            text=(
                "Cannot specify both --stdio and --port. Use --stdio for pipe communication or "
                "--port for TCP."
            ),
            pattern=r"Cannot specify both --stdio and --port",
            where="stderr",
            versions=_ALL,
        ),
        Symptom(
            text="Cannot use --server/--headless with --ui-server.",
            pattern=r"Cannot use (?:--server/--headless|--stdio) with --ui-server",
            where="stderr",
            versions=_ENDS,
        ),
        Symptom(
            text=(
                "--resume without a session ID is not supported in server mode. Specify a session "
                "ID: --resume=<session-id>"
            ),
            pattern=r"--resume without a session ID",
            where="stderr",
            versions=_ENDS,
        ),
        Symptom(
            text=NO_PROMPT, pattern=r"No prompt provided\. Run in", where="stderr", versions=_ALL
        ),
        Symptom(
            text='error: Invalid command format. Did you mean: copilot -i "server --port PORT"?',
            pattern=r"error: Invalid command format",
            where="stderr",
            versions=_ENDS,
        ),
        Symptom(
            text="error: too many arguments. Expected 0 arguments but got 1.",
            pattern=r"error: too many arguments\. Expected 0",
            where="stderr",
            versions=observed_range("0.0.400", "1.0.81"),
        ),
        Symptom(
            text="error: unrecognized subcommand 'WORD'",
            pattern=r"error: unrecognized subcommand '",
            where="stderr",
            versions=observed_range("1.0.92", "1.0.102"),
        ),
        Symptom(
            text="Failed to start server: Error: getaddrinfo ENOTFOUND HOST",
            pattern=r"Failed to start server: Error: getaddrinfo ENOTFOUND",
            where="stderr",
            versions=observed_range("1.0.32", "1.0.64"),
        ),
        Symptom(
            text=(
                "Failed to start server: Error: failed to lookup address information: Name or "
                "service not known"
            ),
            pattern=r"Failed to start server: Error: failed to lookup address information",
            where="stderr",
            versions=observed_range("1.0.73", "1.0.102"),
        ),
        Symptom(
            text="CLI server listening on port N, where N is not the port that was meant",
            where="behaviour",
            versions=RANDOM_PORT.observed,
        ),
    ),
    causes=CAUSES,
    judge=judge,
    fixes=(
        GeneralFix(
            cause="unknown-flag",
            summary="Use the flags that a server takes",
            shell="copilot --server --host HOST --port PORT --log-level LEVEL --log-dir FOLDER",
        ),
        GeneralFix(
            cause="bind",
            summary="The address is --host; beyond loopback only with a connection token",
            shell="copilot --server --host 127.0.0.1 --port PORT",
        ),
        GeneralFix(
            cause="host-too-old",
            summary="Upgrade the CLI",
            shell=f"npm install --global @github/copilot@{NEWEST_TESTED}",
        ),
        GeneralFix(
            cause="bad-value",
            summary="Give a value that the flag takes",
            shell="copilot --server --port PORT --log-level info",
        ),
        GeneralFix(
            cause="random-port",
            summary="Name the port, once, as a plain number",
            shell="copilot --server --port PORT",
        ),
        GeneralFix(
            cause="no-server-flag",
            summary="Add --server",
            shell="copilot --server --port PORT",
        ),
        GeneralFix(
            cause="contradiction",
            summary="For clients on TCP: --server and --port, without --stdio and --ui-server",
            shell="copilot --server --port PORT",
        ),
        GeneralFix(
            cause="ignored-flag",
            summary="Leave out what has no effect beside --server",
            shell="copilot --server --port PORT",
        ),
        GeneralFix(
            cause="stray-word",
            summary="Write flags with two plain hyphens, and no other words",
            shell="copilot --server --port PORT",
        ),
        GeneralFix(
            cause="acp",
            summary="Start it with --server instead of --acp",
            shell="copilot --server --port PORT",
        ),
        GeneralFix(
            cause="other-port",
            summary="Tell clients the port that the server listens on",
            shell="export COPILOT_CLI_URL=127.0.0.1:PORT",
        ),
    ),
)
