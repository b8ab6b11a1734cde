"""The shared secret between server and client: COPILOT_CONNECTION_TOKEN.

Symptom in the user's words: "AUTHENTICATION_FAILED", "AUTHENTICATION_REQUIRED", "the client hangs
since I set a token", "No COPILOT_CONNECTION_TOKEN was set".
Measured: the variable in the server's environment and in this shell (whether they are equal, never
what they are), and what the server answered to the token that this shell has.
Can be wrong about clients that take their token from somewhere else than the environment.

This token has nothing to do with the sign-in to GitHub: the one lets a client in to the server,
the other lets the server in to GitHub.
"""

from collections.abc import Iterator
from typing import Final, Literal

from doctor.behaviour.facts import (
    DEFAULT_BIND,
    ENFORCES_CONNECTION_TOKEN,
    MESSAGE_ID,
    MUTE_AFTER_UNWANTED_TOKEN,
    TOKEN_REQUIRED_WORDS,
)
from doctor.behaviour.versions import NEWEST_TESTED, at_most, observed_range
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
    code,
    command,
)
from doctor.catalogue.check import GeneralFix
from doctor.catalogue.pages import server_mode
from doctor.catalogue.steps import (
    cleaned,
    ensure_token,
    export,
    is_windows,
    restart_fix,
    supervisor_of,
    unset,
    upgrade,
)
from doctor.deployment import CONNECTION_TOKEN, Deployment, Route, Sdk, Server, Variable

ENFORCED: Final = ENFORCES_CONNECTION_TOKEN.where(value=True)
IGNORED_ON: Final = ENFORCES_CONNECTION_TOKEN.where(value=False)
_LAST_SDK_WITHOUT: Final = "0.3.0"
_PAGE: Final = server_mode("Securing the Server")

SERVER_ONLY = Cause(
    id="server-only",
    text=(
        "The server has a connection token and this shell has none, so clients that take it from "
        "here send none and are refused. Both sides need the same value."
    ),
    documented=_PAGE,
    observed=ENFORCED,
)
CLIENT_ONLY = Cause(
    id="client-only",
    text=(
        "This shell has a connection token and the server was started without one: it refuses a "
        "client that sends one (-32003), and lets in every client that sends none. The server "
        "reads the variable when it starts, so it has to be restarted with it."
    ),
    documented=_PAGE,
    documented_says="the server needs the variable first; what it answers without is not said.",
    observed=ENFORCED,
)
DIFFERENT = Cause(
    id="different",
    text=(
        "The connection token here is not the one that the server was started with. They are "
        "compared byte by byte, upper and lower case, white space and line end included."
    ),
    documented=_PAGE,
    observed=("1.0.63", "1.0.102"),
)
IGNORED = Cause(
    id="ignored",
    text=(
        "Up to CLI 1.0.32 the server ignores COPILOT_CONNECTION_TOKEN without a word: every client "
        "gets in, with any token or none. Enforced from 1.0.44 on."
    ),
    documented=_PAGE,
    documented_says="setting the variable makes the server require it; no version is named.",
    observed=IGNORED_ON,
)
NOT_SET = Cause(
    id="not-set",
    text=(
        "Without a connection token any client that can reach the port uses the server with its "
        "GitHub identity. That is fine on loopback on a machine of one's own, and nowhere else."
    ),
    documented=_PAGE,
    observed=observed_range("0.0.400", "1.0.102"),
)
EMPTY = Cause(
    id="empty",
    text=(
        "COPILOT_CONNECTION_TOKEN is set to an empty value in the server's environment, which "
        "counts as not set: every client gets in. Often a secret that was not filled in."
    ),
    documented=_PAGE,
    documented_says="nothing about an empty value.",
    observed=("1.0.63", "1.0.102"),
)
QUIRK = Cause(
    id="white-space",
    text=(
        "The value has white space, a line end or quotes around it, which the server takes as part "
        "of the token (three blanks are a token too): a client that sends the bare value is "
        "refused. The value should be the bare token on both sides."
    ),
    documented=_PAGE,
    documented_says="nothing about how the value is read.",
    observed=("1.0.63", "1.0.102"),
)
OLD_SDK = Cause(
    id="sdk-too-old",
    text=(
        "The Python SDK up to 0.3.0 cannot pass a connection token, so a server that has one "
        "always refuses it. From 1.0.0 on: RuntimeConnection.for_uri(…, connection_token=…)."
    ),
    documented=_PAGE,
    documented_says="pass connection_token from every client; no SDK version is named.",
    observed=("1.0.63", "1.0.81", "1.0.102"),
)

CAUSES = (SERVER_ONLY, CLIENT_ONLY, DIFFERENT, IGNORED, NOT_SET, EMPTY, QUIRK, OLD_SDK)

_QUIRK_WORDS: Final = {
    "leading-space": "white space in front",
    "trailing-space": "white space behind",
    "newline": "a line end",
    "carriage-return": "a carriage return",
    "quoted": "quotes around it",
    "non-ascii": "characters that are not ASCII",
}
# As each SDK's README and source spell it.
_CODE: Final = {
    "python": """
import os
from copilot import CopilotClient, RuntimeConnection

client = CopilotClient(
    connection=RuntimeConnection.for_uri(
        "{url}",
        connection_token=os.environ["COPILOT_CONNECTION_TOKEN"],
    )
)
""",
    "typescript": """
import {{ CopilotClient, RuntimeConnection }} from "@github/copilot-sdk";

const client = new CopilotClient({{
    connection: RuntimeConnection.forUri("{url}", {{
        connectionToken: process.env.COPILOT_CONNECTION_TOKEN,
    }}),
}});
""",
    "go": """
client := copilot.NewClient(&copilot.ClientOptions{{
    Connection: copilot.URIConnection{{
        URL:             "{url}",
        ConnectionToken: os.Getenv("COPILOT_CONNECTION_TOKEN"),
    }},
}})
""",
    "csharp": """
var client = new CopilotClient(new CopilotClientOptions
{{
    Connection = RuntimeConnection.ForUri(
        "{url}", Environment.GetEnvironmentVariable("COPILOT_CONNECTION_TOKEN")),
}});
""",
    "java": """
var client = new CopilotClient(new CopilotClientOptions()
    .setCliUrl("{url}")
    .setTcpConnectionToken(System.getenv("COPILOT_CONNECTION_TOKEN")));
""",
    "rust": """
let client = Client::start(ClientOptions::new().with_transport(Transport::External {{
    host: "{host}".to_string(),
    port: {port},
    connection_token: std::env::var("COPILOT_CONNECTION_TOKEN").ok(),
}})).await?;
""",
}
_LANGUAGE_OF_SDK: Final = {"javascript": "typescript", "dotnet": "csharp"}

Reach = Literal["loopback", "beyond", "unknown"]


def judge(deployment: Deployment) -> Iterator[Outcome]:
    """Judge both sides of every TCP server, then the targets that are no server of this machine."""
    elsewhere = [route for route in deployment.routes if deployment.server(route.server) is None]
    if not deployment.tcp_servers and not elsewhere:
        yield Skipped(reason="no Copilot server and no target to judge")
    for server in deployment.tcp_servers:
        yield from _server(deployment, server)
    for route in elsewhere:
        yield _elsewhere(deployment, route)


def _server(deployment: Deployment, server: Server) -> Iterator[Outcome]:
    has_token = _has_token(deployment, server)
    if has_token is None:
        env = server.environment
        yield NotVisible(
            subject=about(server),
            reason=f"whether the server has a connection token could not be seen: {env.reason}",
            remedy=env.remedy or "run copilot-doctor as the server's user or as root",
        )
    elif has_token:
        yield from _with_token(deployment, server)
    else:
        yield _without_token(deployment, server)


def _has_token(deployment: Deployment, server: Server) -> bool | None:
    """Whether the server was started with a token: what it answers counts most."""
    shake = deployment.handshake(server)
    said = shake.token if shake is not None else "unknown"
    if said in {"accepted", "required", "rejected"}:
        return True
    if said == "not-configured" or (said == "not-required" and shake and shake.has_connect):
        return False
    return server.environment.is_set(CONNECTION_TOKEN) if server.environment.visible else None


# The server has no token


def _without_token(deployment: Deployment, server: Server) -> Outcome:
    ours = server.environment.get(CONNECTION_TOKEN)
    is_sent = deployment.shell.is_set(CONNECTION_TOKEN)
    if is_sent and _enforces(deployment, server) is not False:
        return _client_only(deployment, server)
    if ours is not None and not ours.is_set:
        return Finding(
            status="warn",
            title="The server's COPILOT_CONNECTION_TOKEN is empty: every client gets in",
            cause=EMPTY,
            subject=about(server),
            origin=server.origin,
            symptom=_warning(server),
            evidence=(_of_server(server), *_wire(deployment, server)),
            fixes=(_new_token(deployment, server),),
            follows=("listener-exposed",),
        )
    reach = _reach(server)
    if reach == "loopback":
        return Passed(
            subject=about(server),
            detail="not set: fine on loopback, where only programs of this machine get in",
        )
    if reach == "unknown":
        return NotVisible(
            subject=about(server),
            reason="no connection token is set, and who can reach the server could not be seen",
            remedy="run copilot-doctor as the server's user or as root",
        )
    return Finding(
        status="warn",
        title="Other hosts can reach the server, and it has no connection token",
        cause=NOT_SET,
        subject=about(server),
        origin=server.origin,
        symptom=_warning(server),
        evidence=(_of_server(server), *_sockets(server), *_wire(deployment, server)),
        fixes=(_new_token(deployment, server),),
        follows=("listener-exposed",),
    )


def _client_only(deployment: Deployment, server: Server) -> Finding:
    mute = MUTE_AFTER_UNWANTED_TOKEN.at(server.version).value
    detail = {
        True: "On this version the connection answers nothing more after that.",
        False: "",
        None: "From 1.0.44 to 1.0.63 the connection answers nothing more after that.",
    }[mute]
    return Finding(
        status="fail",
        title="This shell has a connection token and the server has none",
        cause=CLIENT_ONLY,
        subject=about(server),
        origin=server.origin,
        detail=detail,
        symptom="JSON-RPC Error -32003: AUTHENTICATION_NOT_CONFIGURED",
        evidence=(
            *_wire(deployment, server),
            _of_server(server),
            _of_shell(deployment),
        ),
        fixes=(
            restart_fix(
                "restart-with-token",
                "restart the server from this shell, which has the token",
                deployment,
                server,
            ),
            command(
                "unset-here",
                "go without a token (fine on loopback): take it out of the clients' shell",
                unset(deployment, CONNECTION_TOKEN),
                safe=True,
            ),
        ),
    )


# The server has a token


def _with_token(deployment: Deployment, server: Server) -> Iterator[Outcome]:
    enforces = _enforces(deployment, server)
    if enforces is None:
        yield NotVisible(
            subject=about(server),
            reason="whether this version enforces its connection token is not known",
            remedy="set COPILOT_CONNECTION_TOKEN for copilot-doctor, so that it can ask the server",
        )
        return
    if not enforces:
        yield _ignored(deployment, server)
        return
    yield from _quirks(deployment, server)
    yield from _old_sdks(deployment, server)
    yield _both_sides(deployment, server)


def _both_sides(deployment: Deployment, server: Server) -> Outcome:
    shake = deployment.handshake(server)
    said = shake.token if shake is not None else "unknown"
    if said == "accepted":
        return Passed(subject=about(server), detail="the server accepted this shell's token")
    if said == "rejected":
        return _different(deployment, server)
    if said == "required":
        return _server_only(deployment, server)
    if not deployment.shell.visible:
        return NotVisible(
            subject=about(server),
            reason=f"this shell's environment could not be seen: {deployment.shell.reason}",
            remedy=deployment.shell.remedy,
        )
    theirs = deployment.shell.get(CONNECTION_TOKEN)
    if theirs is None or not theirs.is_set:
        return _server_only(deployment, server)
    ours = server.environment.get(CONNECTION_TOKEN)
    if ours is not None and ours.group != theirs.group:
        return _different(deployment, server)
    return Passed(subject=about(server), detail="the server and this shell have the same token")


def _server_only(deployment: Deployment, server: Server) -> Finding:
    clients = deployment.clients_of(server)
    return Finding(
        status="warn" if clients else "fail",
        title="The server asks for a connection token and this shell has none",
        cause=SERVER_ONLY,
        subject=about(server),
        origin=server.origin,
        detail=f"{len(clients)} other client(s) are connected: they have it." if clients else "",
        symptom=_refusals(server.version),
        evidence=(*_wire(deployment, server), _of_server(server), _of_shell(deployment)),
        fixes=(_take_over(deployment, server), *_client_code(deployment, server)),
    )


def _different(deployment: Deployment, server: Server) -> Finding:
    return Finding(
        status="fail",
        title="This shell's connection token is not the server's",
        cause=DIFFERENT,
        subject=about(server),
        origin=server.origin,
        symptom="JSON-RPC Error -32002: AUTHENTICATION_FAILED",
        evidence=(*_wire(deployment, server), _of_server(server), _of_shell(deployment)),
        fixes=(
            _take_over(deployment, server),
            restart_fix(
                "restart-with-token",
                "restart the server from this shell, with this shell's token",
                deployment,
                server,
            ),
        ),
    )


def _ignored(deployment: Deployment, server: Server) -> Finding:
    return Finding(
        status="fail",
        title="The server ignores its connection token: every client gets in",
        cause=IGNORED,
        subject=about(server),
        origin=server.origin,
        symptom="nothing: no warning is printed, and a wrong token is accepted",
        evidence=(
            Evidence(kind="wire", text=f"server version: {server.version or 'not known'}"),
            _of_server(server),
            *_sockets(server),
        ),
        fixes=(_upgrade(deployment, server),),
        follows=("listener-exposed",),
    )


def _quirks(deployment: Deployment, server: Server) -> Iterator[Finding]:
    ours = server.environment.get(CONNECTION_TOKEN)
    if ours is None or not _oddities(ours):
        return
    yield Finding(
        status="warn",
        title=f"The server's connection token has {_oddities(ours)}",
        cause=QUIRK,
        subject=about(server),
        origin=server.origin,
        symptom="JSON-RPC Error -32002: AUTHENTICATION_FAILED",
        evidence=(_of_server(server), _of_shell(deployment)),
        fixes=(
            restart_fix(
                "clean",
                "take the bare value, in the shell that the server is started from, and restart it",
                deployment,
                server,
                prepare=(cleaned(deployment, CONNECTION_TOKEN),),
            ),
        ),
    )


def _old_sdks(deployment: Deployment, server: Server) -> Iterator[Finding]:
    used = [client.sdk for client in deployment.clients_of(server) if client.sdk]
    old = [sdk for sdk in (*used, *deployment.sdks) if _cannot_pass(sdk)]
    if not old:
        return
    wanted = ">=1.0.27" if MESSAGE_ID.at(server.version).value else ">=1.0.0,<1.0.25"
    yield Finding(
        status="fail",
        title=f"SDK {old[0].version} cannot pass the connection token that the server asks for",
        cause=OLD_SDK,
        subject=about(server),
        origin=old[0].origin or server.origin,
        symptom=f"JSON-RPC Error -32001: {_required_words(server.version)}",
        evidence=(
            *(
                Evidence(kind="package", text=f"{sdk.package} {sdk.version} ({sdk.exactness})")
                for sdk in dict.fromkeys(old)
            ),
            _of_server(server),
        ),
        fixes=(
            command(
                "upgrade-sdk",
                "install an SDK that can, in the client's environment",
                f"python -m pip install 'github-copilot-sdk{wanted}'",
            ),
        ),
    )


def _cannot_pass(sdk: Sdk) -> bool:
    return sdk.language == "python" and at_most(sdk.version, _LAST_SDK_WITHOUT) is True


# Targets that are no server of this machine


def _elsewhere(deployment: Deployment, route: Route) -> Outcome:
    subject, shake = about(route), route.handshake
    said = shake.token if shake is not None else "unknown"
    broken = route.broken_hop
    if shake is None or said == "unknown":
        if broken is not None:
            return Skipped(reason="no Copilot server answered", blocked_by=broken.name)
        return NotVisible(subject=subject, reason="the server did not say whether it has a token")
    wire = (Evidence(kind="wire", text=_SAID[said]), _of_shell(deployment))
    is_loopback = shake.address == "::1" or shake.address.startswith("127.")
    if said == "accepted":
        return Passed(subject=subject, detail="the server accepted this shell's token")
    if said == "not-required" and is_loopback:
        return Passed(subject=subject, detail="not set: fine on loopback")
    cause, status, title = {
        "required": (SERVER_ONLY, "fail", "The server asks for a connection token, none is here"),
        "rejected": (DIFFERENT, "fail", "This shell's connection token is not the server's"),
        "not-configured": (
            CLIENT_ONLY,
            "fail",
            "This shell has a connection token and the server has none",
        ),
        "ignored": (IGNORED, "fail", "The server ignores connection tokens: every client gets in"),
        "not-required": (NOT_SET, "warn", "The server lets in every client that can reach it"),
    }[said]
    return Finding(
        status="warn" if status == "warn" else "fail",
        title=title,
        cause=cause,
        subject=subject,
        origin=route.target.origin,
        symptom={
            "required": _refusals(shake.version),
            "rejected": "JSON-RPC Error -32002: AUTHENTICATION_FAILED",
            "not-configured": "JSON-RPC Error -32003: AUTHENTICATION_NOT_CONFIGURED",
        }.get(said, ""),
        evidence=wire,
        fixes=_elsewhere_fixes(deployment, route, said),
    )


def _elsewhere_fixes(deployment: Deployment, route: Route, said: str) -> tuple[Fix, ...]:
    where = route.target.text
    if said in {"required", "rejected"}:
        same = f"set {CONNECTION_TOKEN} here to the value that the server at {where} has"
        return (advice("same-value", same), *_code_fixes(deployment, route.target.host, where))
    if said == "ignored":
        return (advice("upgrade", f"move the server at {where} to CLI {NEWEST_TESTED}"),)
    start = f"start the server at {where} with {CONNECTION_TOKEN} in its environment"
    if said == "not-required":
        return (advice("new-token", f"{start}, and pass the same value from every client"),)
    return (
        advice("restart-with-token", f"{start}, the value that this shell has"),
        command(
            "unset-here",
            "take it out of the clients' shell, which leaves the server open to every client",
            unset(deployment, CONNECTION_TOKEN),
            safe=True,
        ),
    )


# What is known


def _enforces(deployment: Deployment, server: Server) -> bool | None:
    shake = deployment.handshake(server)
    if shake is not None and shake.has_connect is not None:
        return shake.has_connect
    return ENFORCES_CONNECTION_TOKEN.at(server.version).value


def _reach(server: Server) -> Reach:
    if server.listeners:
        return "loopback" if all(i.scope == "loopback" for i in server.listeners) else "beyond"
    if server.is_running or server.command is None:
        return "unknown"
    host = server.command.host or DEFAULT_BIND.at(server.version).value
    if host is None:
        return "unknown"
    is_loopback = host in {"localhost", "::1"} or host.startswith("127.")
    return "loopback" if is_loopback else "beyond"


def _oddities(variable: Variable) -> str:
    return " and ".join(_QUIRK_WORDS[quirk] for quirk in variable.quirks if quirk in _QUIRK_WORDS)


def _required_words(version: str | None) -> str:
    words = TOKEN_REQUIRED_WORDS.at(version).value
    return words or "Unknown error (1.0.44 … 1.0.63) or AUTHENTICATION_REQUIRED (from 1.0.64 on)"


def _refusals(version: str | None) -> str:
    return (
        "SDK 1.0.0 and later: JSON-RPC Error -32002: AUTHENTICATION_FAILED; "
        f"SDK 0.3.0 and earlier: JSON-RPC Error -32001: {_required_words(version)}"
    )


def _warning(server: Server) -> str:
    if ENFORCES_CONNECTION_TOKEN.at(server.version).value:
        return _WARNING_WORDS
    return f"from 1.0.44 on: {_WARNING_WORDS}; before, nothing is printed"


# Evidence

_WARNING_WORDS: Final = (
    "Warning: No COPILOT_CONNECTION_TOKEN was set, so connections will be accepted from any client"
)
_SAID: Final = {
    "accepted": "connect with this shell's token: accepted",
    "required": "connect without a token: -32002 AUTHENTICATION_FAILED",
    "rejected": "connect with this shell's token: -32002 AUTHENTICATION_FAILED",
    "not-configured": "connect with this shell's token: -32003 AUTHENTICATION_NOT_CONFIGURED",
    "not-required": "connect without a token: let in",
    "ignored": "connect: no such method, so the token that was sent counts for nothing",
}


def _wire(deployment: Deployment, server: Server) -> tuple[Evidence, ...]:
    shake = deployment.handshake(server)
    if shake is None or shake.token not in _SAID:
        return ()
    text = _SAID[shake.token]
    if shake.went_mute:
        text += "; after that the connection answered nothing more"
    return (Evidence(kind="wire", text=text),)


def _of_server(server: Server) -> Evidence:
    if not server.environment.visible:
        text = f"the server's environment could not be read: {server.environment.reason}"
        return Evidence(kind="environment", text=text)
    return _described("the server", server.environment.get(CONNECTION_TOKEN))


def _of_shell(deployment: Deployment) -> Evidence:
    if not deployment.shell.visible:
        return Evidence(kind="environment", text="this shell's environment could not be read")
    return _described("this shell", deployment.shell.get(CONNECTION_TOKEN))


def _described(who: str, variable: Variable | None) -> Evidence:
    if variable is None:
        state = "not set"
    elif not variable.is_set:
        state = "set, but empty"
    else:
        odd = _oddities(variable)
        state = f"set, {variable.length} characters" + (f", with {odd}" if odd else "")
    return Evidence(kind="environment", text=f"{CONNECTION_TOKEN} of {who}: {state}")


def _sockets(server: Server) -> tuple[Evidence, ...]:
    return tuple(
        Evidence(kind="socket", text=f"listens on {item.address}:{item.port}")
        for item in server.listeners
    )


# Fixes


def _upgrade(deployment: Deployment, server: Server) -> Fix:
    install = upgrade(server, NEWEST_TESTED)
    summary = f"install CLI {NEWEST_TESTED} and restart the server with its token"
    token = _taken_over(deployment, server)
    if install is None or token is None or supervisor_of(server) is not None:
        return advice("upgrade", f"{summary} (npm install -g @github/copilot@{NEWEST_TESTED})")
    # Where the install fails the old server must not be stopped: it would come back as it was.
    install += "" if is_windows(deployment) else " &&"
    return restart_fix("upgrade", summary, deployment, server, prepare=(token, install))


def _taken_over(deployment: Deployment, server: Server) -> str | None:
    """Return the line that gives this shell the server's value without showing it."""
    variable = server.environment.get(CONNECTION_TOKEN)
    on_linux = deployment.here is not None and deployment.here.platform == "linux"
    if not on_linux or server.process is None or variable is None or variable.quirks:
        return None
    environ = f"/proc/{server.process.pid}/environ"
    value = f"\"$(tr '\\0' '\\n' < {environ} | sed -n 's/^{CONNECTION_TOKEN}=//p')\""
    return export(deployment, CONNECTION_TOKEN, value)


def _take_over(deployment: Deployment, server: Server) -> Fix:
    line = _taken_over(deployment, server)
    if line is not None:
        return command(
            "take-over",
            "give this shell the server's token, and start the clients from here",
            line,
            safe=True,
        )
    return advice(
        "same-value",
        f"set {CONNECTION_TOKEN} in the clients' shell to the value that the server was started "
        "with, and restart the clients",
    )


def _new_token(deployment: Deployment, server: Server) -> Fix:
    return restart_fix(
        "new-token",
        "restart the server with a token, which clients started from the same shell can pass on",
        deployment,
        server,
        prepare=(ensure_token(deployment),),
    )


def _client_code(deployment: Deployment, server: Server) -> Iterator[Fix]:
    port = server.port or 3000
    yield from _code_fixes(deployment, "localhost", f"localhost:{port}", port)


def _code_fixes(
    deployment: Deployment, host: str, url: str, port: int | None = None
) -> Iterator[Fix]:
    """Yield the snippet of every language, those that are in use here first."""
    used = [client.sdk.language for client in deployment.clients if client.sdk]
    used += [sdk.language for sdk in deployment.sdks]
    first = [_LANGUAGE_OF_SDK.get(language, language) for language in used]
    for language in sorted(_CODE, key=lambda name: name not in first):
        yield code(
            f"pass-token-{language}",
            f"pass the token in the client's code ({language})",
            language,
            _CODE[language].format(url=url, host=host, port=port or url.rpartition(":")[2]),
        )


CHECK = Check(
    id="connection-token",
    title="Do server and clients share one connection token?",
    category="connect",
    looks_at="COPILOT_CONNECTION_TOKEN on both sides, and the server's answer to it",
    symptoms=(
        Symptom(
            text="JSON-RPC Error -32002: AUTHENTICATION_FAILED",
            pattern=r"-32002\b|\bAUTHENTICATION_FAILED\b",
            where="sdk",
            versions=ENFORCED,
            sdk="1.0.0 and later",
        ),
        Symptom(
            text="JSON-RPC Error -32001: Unknown error",
            pattern=r"-32001: Unknown error",
            where="sdk",
            versions=TOKEN_REQUIRED_WORDS.where("Unknown error"),
            sdk="0.3.0 and earlier",
        ),
        Symptom(
            text="JSON-RPC Error -32001: AUTHENTICATION_REQUIRED",
            pattern=r"-32001\b(?!: Unknown)|\bAUTHENTICATION_REQUIRED\b",
            where="sdk",
            versions=TOKEN_REQUIRED_WORDS.where("AUTHENTICATION_REQUIRED"),
            sdk="0.3.0 and earlier",
        ),
        Symptom(
            text="JSON-RPC Error -32003: AUTHENTICATION_NOT_CONFIGURED",
            pattern=r"-32003\b|\bAUTHENTICATION_NOT_CONFIGURED\b",
            where="sdk",
            versions=ENFORCED,
        ),
        Symptom(
            text="after -32003 the connection answers nothing more, so a client that goes on hangs",
            where="behaviour",
            versions=MUTE_AFTER_UNWANTED_TOKEN.where(value=True),
        ),
        Symptom(
            text=_WARNING_WORDS,
            pattern=r"No COPILOT_CONNECTION_TOKEN was set",
            where="stdout",
            versions=ENFORCED,
        ),
        Symptom(
            text="ValueError: connection_token must be a non-empty string",
            pattern=r"connection_?token must be a non-empty string",
            where="sdk",
            sdk="1.0.27: the client passes an empty value",
        ),
    ),
    causes=CAUSES,
    judge=judge,
    fixes=(
        GeneralFix(
            cause="server-only",
            summary="Set the server's value in the clients' shell and pass it from the code",
            shell='export COPILOT_CONNECTION_TOKEN="VALUE"',
        ),
        *(
            GeneralFix(
                cause="server-only",
                summary=f"Pass the token in the client's code ({language})",
                code=text.format(url="localhost:PORT", host="localhost", port="PORT").strip("\n"),
                language=language,
            )
            for language, text in _CODE.items()
        ),
        GeneralFix(
            cause="client-only",
            summary="Restart the server with the token in its environment",
            shell=(
                'export COPILOT_CONNECTION_TOKEN="VALUE"\nkill PID && sleep 2\n'
                "copilot --server --port PORT"
            ),
        ),
        GeneralFix(
            cause="different",
            summary="Give both sides the same value; restart the side that changes",
            shell='export COPILOT_CONNECTION_TOKEN="VALUE"',
        ),
        GeneralFix(
            cause="ignored",
            summary="Move the server to CLI 1.0.44 or later, and restart it with the token",
            shell=f"npm install -g @github/copilot@{NEWEST_TESTED}",
        ),
        GeneralFix(
            cause="not-set",
            summary="Start the server with a token, and pass the same one from every client",
            shell=(
                'export COPILOT_CONNECTION_TOKEN="$(openssl rand -hex 32)"\n'
                "copilot --server --port PORT"
            ),
        ),
        GeneralFix(
            cause="empty",
            summary="Fill in the value, or take the variable away",
            shell=(
                'export COPILOT_CONNECTION_TOKEN="$(openssl rand -hex 32)"\n'
                "copilot --server --port PORT"
            ),
        ),
        GeneralFix(
            cause="white-space",
            summary="Set the bare value and restart the server",
            shell=(
                'export COPILOT_CONNECTION_TOKEN="$(printf %s "$COPILOT_CONNECTION_TOKEN" '
                "| tr -d '[:space:]\"\\047')\"\nkill PID && sleep 2\ncopilot --server --port PORT"
            ),
        ),
        GeneralFix(
            cause="sdk-too-old",
            summary="Install SDK 1.0.0 or later (up to 1.0.24 for a CLI up to 1.0.81)",
            shell="python -m pip install 'github-copilot-sdk>=1.0.0,<1.0.25'",
        ),
    ),
)
