"""Whether the server is signed in to GitHub, and why not.

Symptom in the user's words: "Session was not created with authentication info or custom provider",
"No GitHub OAuth token or Copilot HMAC key provided", "Not authenticated", "it hangs after send".
Measured: what the server itself says (auth.getStatus, models.list), the command line and the
environment that it was started with.
Can be wrong where the server is right but late: what it says may come from a cache (from 1.0.92
on), and a token that GitHub took a moment ago may be worthless now.
"""

from collections.abc import Iterator
from typing import Final, Literal

from doctor.behaviour.facts import (
    AUTH_TOKEN_ENV_EMPTY,
    CLASSIC_TOKEN_BLOCKS,
    NO_CREDENTIALS,
    OFFLINE_WITHOUT_PROVIDER,
    SESSION_TOKEN,
)
from doctor.behaviour.sign_in import REFUSED, named_token, tokens_tried
from doctor.behaviour.versions import observed_range
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
)
from doctor.catalogue.check import GeneralFix
from doctor.catalogue.pages import (
    AUTHENTICATE,
    SDK_AUTHENTICATE,
    SDK_PROVIDER,
    cli_help,
    server_mode,
)
from doctor.catalogue.steps import restart_fix, sign_in_fixes, unset
from doctor.deployment import Deployment, Handshake, Server

_HINT_PAGE: Final = server_mode("Troubleshooting")
_PAGE_SAYS: Final = (
    'the cause of "Session was not created with authentication info or custom provider" is usually '
    "--no-auto-login. From 1.0.11 to 1.0.73 every server without a sign-in says so, with the flag "
    "or without; the words before and after are others."
)
_FROM_1_0_11: Final = (
    *("1.0.11", "1.0.22", "1.0.32", "1.0.44", "1.0.63", "1.0.64", "1.0.73", "1.0.81", "1.0.92"),
    "1.0.102",
)
_TRIED: Final = ("1.0.2", "1.0.32", "1.0.63", "1.0.81", "1.0.102")

NO_SOURCE = Cause(
    id="no-source",
    text=(
        "The server found nothing to sign in with: no token variable with a value, no stored "
        "login, no GitHub CLI. Sessions can be created all the same and fail after the first "
        "message. The server needs a token in its environment when it starts."
    ),
    documented=_HINT_PAGE,
    documented_says=_PAGE_SAYS,
    observed=observed_range("0.0.400", "1.0.102"),
)
BY_FLAG = Cause(
    id="by-flag",
    text="The server was started with --no-auto-login and with nothing to sign in by instead.",
    documented=_HINT_PAGE,
    documented_says=_PAGE_SAYS,
    observed=("0.0.400", *_TRIED),
)
NAMED_EMPTY = Cause(
    id="named-variable-empty",
    text=(
        "--auth-token-env names a variable that the server's environment lacks or has empty. Only "
        "the log says so; the server starts, and goes on with its other ways to sign in."
    ),
    documented=SDK_AUTHENTICATE,
    documented_says="nothing about the flag; an SDK that starts the CLI itself sets both.",
    observed=("1.0.2", *_FROM_1_0_11),
)
REFUSED_TOKEN = Cause(
    id="token-refused",
    text=(
        "The CLI refuses the token that it tried first because of its kind, and found no stored "
        "login and no GitHub CLI after it."
    ),
    documented=AUTHENTICATE,
    observed=("1.0.2", *_FROM_1_0_11),
)
NOT_TAKEN = Cause(
    id="token-not-taken",
    text=(
        "The server has a token of a good kind and is not signed in: GitHub did not take it "
        "(expired, revoked, another host, no Copilot) or could not be reached. session.create "
        "then fails with the reason, which the log has too."
    ),
    documented=AUTHENTICATE,
    observed=("1.0.2", *_FROM_1_0_11),
)
WHY_HIDDEN = Cause(
    id="not-signed-in",
    text=(
        "The server says that it is not signed in; its environment or command line, which would "
        "say why, could not be read."
    ),
    documented=_HINT_PAGE,
    documented_says=_PAGE_SAYS,
    observed=observed_range("0.0.400", "1.0.102"),
)
OFFLINE = Cause(
    id="offline",
    text=(
        "COPILOT_OFFLINE=true keeps the server from signing in to GitHub, tokens or not. The "
        "provider that it demands in COPILOT_PROVIDER_BASE_URL is not used by SDK sessions: each "
        "of them has to bring its own."
    ),
    documented=cli_help("environment"),
    documented_says="offline mode works with a local provider; SDK sessions are not mentioned.",
    observed=_FROM_1_0_11,
)
PROVIDER_VARIABLES = Cause(
    id="provider-variables",
    text=(
        "COPILOT_PROVIDER_… in the server's environment does nothing for SDK sessions: without a "
        "sign-in they fail all the same. A provider counts in the session that a client creates."
    ),
    documented=SDK_PROVIDER,
    documented_says="how to give one to a session; copilot help providers names the variables.",
    observed=observed_range("0.0.400", "1.0.102"),
)
VIA_GH = Cause(
    id="via-gh-without-gh",
    text=(
        'The server says that it is signed in "via gh", and there is no GitHub CLI: from 1.0.92 '
        "on it says so where COPILOT_GITHUB_TOKEN was not taken and GH_TOKEN or GITHUB_TOKEN was "
        "used in its place."
    ),
    documented=AUTHENTICATE,
    documented_says="GitHub CLI is the last source of a sign-in.",
    observed=("1.0.92", "1.0.102"),
)
MODELS_REFUSED = Cause(
    id="signed-in-without-models",
    text=(
        "The server says that it is signed in, and cannot list the models: its word may come from "
        "a cache (from 1.0.92 on) or from a token that it has not tried (ghs_, or one with a line "
        "end on 1.0.63). Sessions fail or hang after the first message."
    ),
    documented=AUTHENTICATE,
    documented_says="nothing about the sign-in that a server reports.",
    observed=("1.0.63", "1.0.102"),
)

CAUSES = (
    NO_SOURCE,
    BY_FLAG,
    NAMED_EMPTY,
    REFUSED_TOKEN,
    NOT_TAKEN,
    WHY_HIDDEN,
    OFFLINE,
    PROVIDER_VARIABLES,
    VIA_GH,
    MODELS_REFUSED,
)

_FOLLOWS: Final = {
    "by-flag": ("no-auto-login",),
    "named-variable-empty": ("no-auto-login",),
    "token-refused": ("token-type",),
    "no-source": ("token-precedence",),
    "via-gh-without-gh": ("token-precedence", "token-type"),
    "signed-in-without-models": ("token-type",),
}
_CODE: Final = {
    "python": "session = await client.create_session(github_token=user_token)",
    "typescript": "const session = await client.createSession({ gitHubToken: userToken });",
    "go": (
        "session, err := client.CreateSession(ctx, &copilot.SessionConfig{GitHubToken: userToken})"
    ),
    "csharp": (
        "await using var session = await client.CreateSessionAsync("
        "new SessionConfig { GitHubToken = userToken });"
    ),
    "java": (
        "var session = client.createSession(new SessionConfig().setGitHubToken(userToken)).get();"
    ),
    "rust": (
        "let session = client.create_session("
        "SessionConfig::default().with_github_token(user_token)).await?;"
    ),
}


def judge(deployment: Deployment) -> Iterator[Outcome]:
    """Judge the sign-in of every TCP server."""
    servers = deployment.tcp_servers
    if not servers:
        yield Skipped(reason="no Copilot server to judge")
    for server in servers:
        yield from _provider_variables(deployment, server)
        yield _sign_in(deployment, server)


def _sign_in(deployment: Deployment, server: Server) -> Outcome:
    shake = deployment.handshake(server)
    if shake is None or shake.signed_in is None:
        return _not_asked(deployment, server, shake)
    if shake.signed_in:
        return _signed_in(deployment, server, shake)
    cause = _why(server)
    return _finding(
        deployment,
        server,
        cause,
        status="fail",
        title=_TITLES[cause.id].format(name=_first_name(server)),
        fixes=_fixes(deployment, server, cause),
    )


_TITLES: Final = {
    "no-source": "The server is not signed in to GitHub: it has nothing to sign in with",
    "by-flag": "The server is not signed in to GitHub, and --no-auto-login keeps it so",
    "named-variable-empty": "The server is not signed in: --auth-token-env {name} has no value",
    "token-refused": "The server is not signed in to GitHub: the CLI refuses {name}",
    "token-not-taken": "The server is not signed in to GitHub although {name} is set",
    "not-signed-in": "The server is not signed in to GitHub",
    "offline": "The server is not signed in to GitHub: COPILOT_OFFLINE is set",
}


def _why(server: Server) -> Cause:
    """Tell from command line and environment why a server is not signed in."""
    env, command = server.environment, server.command
    if (env.text("COPILOT_OFFLINE") or "").lower() == "true":
        return OFFLINE
    named = command.auth_token_env if command else None
    if named and env.visible and named_token(env, command) is None:
        if command and command.has("--no-auto-login"):
            return NAMED_EMPTY
        if not tokens_tried(env, command):
            return NAMED_EMPTY
    if command is not None and command.has("--no-auto-login") and named is None:
        return BY_FLAG
    if not env.visible or command is None:
        return WHY_HIDDEN
    tried = tokens_tried(env, command)
    if not tried:
        return NO_SOURCE
    return REFUSED_TOKEN if tried[0].fate(server.version) in REFUSED else NOT_TAKEN


def _first_name(server: Server) -> str:
    """Return the variable that a title speaks of."""
    named = server.command.auth_token_env if server.command else None
    tried = tokens_tried(server.environment, server.command)
    return tried[0].variable.name if tried else named or "COPILOT_GITHUB_TOKEN"


def _signed_in(deployment: Deployment, server: Server, shake: Handshake) -> Outcome:
    env, command = server.environment, server.command
    if shake.models_error:
        return _finding(
            deployment,
            server,
            MODELS_REFUSED,
            status="fail",
            title="The server calls itself signed in, and cannot list the models",
            fixes=sign_in_fixes(deployment, server, name=_first_name(server)),
        )
    tokens = [variable for variable in env.tokens if variable.is_set]
    if (
        shake.auth_type == "gh-cli"
        and deployment.has_gh is False
        and len(tokens) > 1
        and CLASSIC_TOKEN_BLOCKS.at(server.version).value is False
    ):
        return _finding(
            deployment,
            server,
            VIA_GH,
            status="warn",
            title=f'Signed in "via gh" without GitHub CLI: {tokens[0].name} was not taken',
            fixes=(
                restart_fix(
                    "drop-first",
                    f"restart the server without {tokens[0].name}: then {tokens[1].name} counts",
                    deployment,
                    server,
                    prepare=(unset(deployment, tokens[0].name),),
                ),
            ),
        )
    named = command.auth_token_env if command else None
    if named and env.visible and named_token(env, command) is None:
        return _finding(
            deployment,
            server,
            NAMED_EMPTY,
            status="warn",
            title=f"--auth-token-env {named} has no value: something else signed the server in",
            fixes=sign_in_fixes(deployment, server, name=named),
        )
    who = f" as {shake.login}" if shake.login else ""
    how = f" ({shake.auth_type})" if shake.auth_type else ""
    cached = CLASSIC_TOKEN_BLOCKS.at(server.version).value is False
    doubt = "; on this version that may come from a cache" if cached else ""
    return Passed(subject=about(server), detail=f"signed in{who}{how}{doubt}")


def _not_asked(deployment: Deployment, server: Server, shake: Handshake | None) -> Outcome:
    if shake is not None and shake.token in {"required", "rejected"}:
        return NotVisible(
            subject=about(server),
            reason="the server says nothing about its sign-in without its connection token",
            remedy="set COPILOT_CONNECTION_TOKEN for copilot-doctor to the server's value",
        )
    env, command = server.environment, server.command
    named = command.auth_token_env if command else None
    if named and env.visible and named_token(env, command) is None:
        return _finding(
            deployment,
            server,
            NAMED_EMPTY,
            status="warn" if tokens_tried(env, command) else "fail",
            title=f"--auth-token-env {named} has no value",
            fixes=sign_in_fixes(deployment, server, name=named),
        )
    reason = "the server was not asked" if shake is None else "the server did not say"
    return NotVisible(
        subject=about(server),
        reason=f"whether it is signed in is not known: {reason}",
        remedy="let copilot-doctor reach the server" if server.is_running else "start the server",
    )


def _provider_variables(deployment: Deployment, server: Server) -> Iterator[Finding]:
    names = [
        variable.name
        for variable in server.environment.variables
        if variable.name.startswith("COPILOT_PROVIDER_") and variable.is_set
    ]
    if not names:
        return
    yield _finding(
        deployment,
        server,
        PROVIDER_VARIABLES,
        status="warn",
        title=f"{names[0]} of the server does nothing for SDK sessions",
        evidence=tuple(
            Evidence(kind="environment", text=f"{name} of the server: set") for name in names
        ),
        fixes=(
            code(
                "session-provider",
                "give the provider to the session",
                "python",
                _SESSION_PROVIDER,
            ),
        ),
    )


_SESSION_PROVIDER: Final = """
session = await client.create_session(
    model="MODEL",
    provider={"type": "openai", "base_url": "URL", "api_key": os.environ["API_KEY"]},
)
"""


def _finding(
    deployment: Deployment,
    server: Server,
    cause: Cause,
    *,
    status: Literal["warn", "fail"],
    title: str,
    fixes: tuple[Fix, ...],
    evidence: tuple[Evidence, ...] | None = None,
) -> Finding:
    return Finding(
        status=status,
        title=title,
        cause=cause,
        subject=about(server),
        origin=server.origin,
        detail=_detail(server, cause),
        symptom=_symptom(server, cause),
        evidence=_evidence(deployment, server) if evidence is None else evidence,
        fixes=fixes,
        follows=_FOLLOWS.get(cause.id, ()),
    )


def _detail(server: Server, cause: Cause) -> str:
    if cause in {VIA_GH, PROVIDER_VARIABLES}:
        return ""
    own = " or, from 1.0.63 on, its own GitHub token"
    if SESSION_TOKEN.at(server.version).value is False:
        own = ""
    text = (
        f"A session with its own provider{own} needs no sign-in of the server. A client's "
        "github_token and use_logged_in_user have no effect on a server that it did not start."
    )
    if cause is NOT_TAKEN:
        log = server.log_file.path if server.log_file else "~/.copilot/logs/*.log"
        text += f" The reason: grep -e 'Failed to fetch' -e 'Failed to validate' {log}"
    return text


def _symptom(server: Server, cause: Cause) -> str:
    if cause is MODELS_REFUSED:
        return "Execution failed: Error: Failed to list models; or a session that hangs"
    if cause is VIA_GH:
        return "NAME (via gh)"
    words = NO_CREDENTIALS.at(server.version).value
    if words == "":
        return "after session.send nothing ever arrives: no error, no idle"
    return words or " / ".join(row[2] for row in NO_CREDENTIALS.rows if row[2])


def _evidence(deployment: Deployment, server: Server) -> tuple[Evidence, ...]:
    shake, env, command = deployment.handshake(server), server.environment, server.command
    lines: list[tuple[str, str]] = []
    if shake is not None and shake.signed_in is not None:
        said = f': "{shake.status_message}"' if shake.status_message else ""
        lines.append(("wire", f"auth.getStatus: signed in: {_yes(shake.signed_in)}{said}"))
    if shake is not None and shake.models_error:
        lines.append(("wire", shake.models_error))
    if command is not None:
        for flag in ("--no-auto-login", "--auth-token-env"):
            option = next((o for o in command.options if o.name == flag), None)
            if option is not None:
                lines.append(("command", f"launched with {option.text}"))
    if not env.visible:
        lines.append(("environment", f"the server's environment could not be read: {env.reason}"))
    else:
        lines += _variables(server)
    if server.has_stored_login is not None:
        lines.append(("file", f"stored login: {_yes(server.has_stored_login)}"))
    if deployment.has_gh is not None:
        lines.append(("platform", f"GitHub CLI (gh) on the path here: {_yes(deployment.has_gh)}"))
    return tuple(Evidence(kind=kind, text=text) for kind, text in lines)


def _variables(server: Server) -> Iterator[tuple[str, str]]:
    env, command = server.environment, server.command
    named = command.auth_token_env if command else None
    names = [named] if named else []
    names += [variable.name for variable in env.tokens if variable.name not in names]
    for name in names:
        variable = env.get(name)
        if variable is None:
            state = "not set"
        elif not variable.is_set:
            state = "empty, counts as not set"
        else:
            state = f"{variable.kind}, {variable.length} characters"
        yield "environment", f"{name} of the server: {state}"
    if not env.tokens:
        yield "environment", "no token variable is set in the server's environment"
    for name in ("COPILOT_OFFLINE", "COPILOT_GH_HOST", "GH_HOST"):
        if env.is_set(name):
            yield "environment", f"{name} of the server: {env.text(name)}"
    if env.is_set("GITHUB_HOST") and not env.is_set("GH_HOST"):
        yield "environment", "GITHUB_HOST of the server is set and not read: GH_HOST is"


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _fixes(deployment: Deployment, server: Server, cause: Cause) -> tuple[Fix, ...]:
    if cause is OFFLINE:
        return (
            restart_fix(
                "go-online",
                "restart the server without COPILOT_OFFLINE",
                deployment,
                server,
                prepare=(unset(deployment, "COPILOT_OFFLINE"),),
            ),
            code("session-provider", "give each session a provider", "python", _SESSION_PROVIDER),
        )
    drop = ("--no-auto-login",) if cause is BY_FLAG else ()
    named = server.command.auth_token_env if server.command else None
    fixes = [*sign_in_fixes(deployment, server, drop=drop, name=named or _name(server))]
    fixes.append(
        advice(
            "log-in",
            "sign in once as the server's user with copilot login, and start it without token "
            "variables",
        )
    )
    if SESSION_TOKEN.at(server.version).value is not False:
        fixes += [
            code(
                f"session-token-{language}", "let each session bring its own token", language, text
            )
            for language, text in _CODE.items()
        ]
    return tuple(fixes)


def _name(server: Server) -> str:
    """Return the variable to fill: the first one that is there, as a later one would not count."""
    tokens = server.environment.tokens
    return tokens[0].name if tokens else "COPILOT_GITHUB_TOKEN"


CHECK = Check(
    id="credentials",
    title="Is the server signed in to GitHub?",
    category="auth",
    looks_at="what each server says of its sign-in, its command line and its environment",
    symptoms=(
        Symptom(
            text=NO_CREDENTIALS.at("1.0.63").value or "",
            pattern=r"Session was not created with authentication info or custom provider",
            where="session",
            versions=NO_CREDENTIALS.where(NO_CREDENTIALS.at("1.0.63").value or ""),
        ),
        Symptom(
            text=NO_CREDENTIALS.at("1.0.102").value or "",
            pattern=r"No GitHub OAuth token or Copilot HMAC key provided",
            where="session",
            versions=NO_CREDENTIALS.where(NO_CREDENTIALS.at("1.0.102").value or ""),
        ),
        Symptom(
            text="after session.send nothing ever arrives: no error, no idle",
            where="behaviour",
            versions=NO_CREDENTIALS.where(""),
        ),
        Symptom(
            text=(
                "Request models.list failed with message: Not authenticated. Please authenticate "
                "first."
            ),
            pattern=r"Not authenticated\. Please authenticate first",
            where="json-rpc",
            versions=("1.0.63", "1.0.102"),
        ),
        Symptom(
            text="[WARNING] No authentication info available",
            pattern=r"No authentication info(rmation)? (available|found)",
            where="log",
            versions=(
                "1.0.2",
                "1.0.11",
                "1.0.22",
                "1.0.32",
                "1.0.44",
                "1.0.63",
                "1.0.64",
                "1.0.73",
            ),
        ),
        *(
            Symptom(
                text=AUTH_TOKEN_ENV_EMPTY.at(version).value or "",
                pattern=pattern,
                where="log",
                versions=versions,
            )
            for version, pattern, versions in (
                (
                    "1.0.63",
                    r"Auth token env var '[^']*' specified but not set or empty",
                    ("1.0.2", "1.0.11", "1.0.22", "1.0.32", "1.0.44", "1.0.63"),
                ),
                (
                    "1.0.102",
                    r"Auth token env var specified but not set or empty",
                    ("1.0.64", "1.0.73", "1.0.81", "1.0.92", "1.0.102"),
                ),
            )
        ),
        Symptom(
            text=(
                "Authentication failed: Failed to fetch PAT user login (401): GitHub returned: "
                "Bad credentials"
            ),
            pattern=r"Failed to (fetch PAT user login|validate SDK token|fetch OAuth user login)",
            where="json-rpc",
            versions=("1.0.63", "1.0.64", "1.0.73", "1.0.81", "1.0.102"),
        ),
        Symptom(
            text=OFFLINE_WITHOUT_PROVIDER,
            pattern=r"Offline mode requires a local model provider",
            where="stderr",
            versions=("1.0.32", "1.0.63", "1.0.81", "1.0.102"),
        ),
    ),
    causes=CAUSES,
    judge=judge,
    fixes=(
        *(
            GeneralFix(
                cause=cause,
                summary="Restart the server with a fine-grained token in its environment",
                shell='export COPILOT_GITHUB_TOKEN="TOKEN"\nkill PID && sleep 2\n'
                "copilot --server --port PORT",
            )
            for cause in (
                *("no-source", "by-flag", "token-refused", "token-not-taken", "not-signed-in"),
                "signed-in-without-models",
            )
        ),
        *(
            GeneralFix(
                cause="no-source",
                summary=f"Let each session bring its own token, from 1.0.63 on ({language})",
                code=text,
                language=language,
            )
            for language, text in _CODE.items()
        ),
        GeneralFix(
            cause="named-variable-empty",
            summary="Give the named variable a value and restart the server",
            shell='export NAME="TOKEN"\ncopilot --server --port PORT --auth-token-env NAME',
        ),
        GeneralFix(
            cause="offline",
            summary="Restart the server without COPILOT_OFFLINE, or give each session a provider",
            shell="unset COPILOT_OFFLINE\ncopilot --server --port PORT",
        ),
        GeneralFix(
            cause="provider-variables",
            summary="Give the provider to the session, in the client's code",
            code=_SESSION_PROVIDER.strip("\n"),
            language="python",
        ),
        GeneralFix(
            cause="via-gh-without-gh",
            summary="Take the variable that is not taken away and restart the server",
            shell="unset COPILOT_GITHUB_TOKEN\nkill PID && sleep 2\ncopilot --server --port PORT",
        ),
    ),
)
