"""A server that was told not to sign in by itself: `--no-auto-login`.

Symptom in the user's words: "Session was not created with authentication info or custom provider",
"I exported the token and restarted, and it is still not signed in".
Measured: the flag in the server's command line, `--auth-token-env` beside it and whether the
variable that it names has a value, and what the server says about its sign-in.
Can be wrong where it is meant so: a server whose every session brings its own token or provider.
"""

from collections.abc import Iterator
from typing import Final

from doctor.behaviour.facts import NO_CREDENTIALS, SESSION_TOKEN
from doctor.behaviour.sign_in import Token, named_token
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
)
from doctor.catalogue.check import GeneralFix
from doctor.catalogue.pages import SDK_SERVER_TOKENS, server_mode
from doctor.catalogue.steps import restart_fix, sign_in_fixes
from doctor.deployment import Deployment, Server

FLAG: Final = "--no-auto-login"

DISABLES_VARIABLES = Cause(
    id="disables-variables",
    text=(
        "--no-auto-login also keeps the server from reading COPILOT_GITHUB_TOKEN, GH_TOKEN and "
        "GITHUB_TOKEN, so exporting one does not cure it. With the flag only --auth-token-env "
        "signs it in."
    ),
    documented=SDK_SERVER_TOKENS,
    documented_says=(
        "its examples set COPILOT_GITHUB_TOKEN together with use_logged_in_user=False, which "
        "starts the CLI with this flag."
    ),
    observed=("0.0.400", "1.0.2", "1.0.32", "1.0.63", "1.0.81", "1.0.102"),
)
NOTHING_LEFT = Cause(
    id="nothing-left",
    text=(
        "--no-auto-login leaves the server without any sign-in: token variables, stored login and "
        "GitHub CLI are not looked at. A session then needs its own provider or, from 1.0.63 on, "
        "its own GitHub token; any other one fails."
    ),
    documented=server_mode("Troubleshooting"),
    documented_says=(
        'the flag is the usual cause of "Session was not created with authentication info or '
        'custom provider". From 1.0.11 to 1.0.73 any server without a sign-in says that, with the '
        "flag or without; from 1.0.81 on the words are others, and up to 1.0.2 there are none."
    ),
    observed=("0.0.400", "1.0.2", "1.0.32", "1.0.63", "1.0.81", "1.0.102"),
)
NAMES_NOTHING = Cause(
    id="names-nothing",
    text=(
        "With --no-auto-login the variable that --auth-token-env names is the only sign-in that is "
        "left, and it is missing or empty. Nothing else is tried."
    ),
    documented=server_mode("Securing the Server"),
    documented_says="do not pass --no-auto-login for SDK scenarios; --auth-token-env is not named.",
    observed=("1.0.63", "1.0.102"),
)

CAUSES = (DISABLES_VARIABLES, NOTHING_LEFT, NAMES_NOTHING)


def judge(deployment: Deployment) -> Iterator[Outcome]:
    """Judge the command line of every TCP server."""
    servers = deployment.tcp_servers
    if not servers:
        yield Skipped(reason="no Copilot server to judge")
    for server in servers:
        yield _judge(deployment, server)


def _judge(deployment: Deployment, server: Server) -> Outcome:
    subject, command = about(server), server.command
    if command is None:
        return NotVisible(
            subject=subject,
            reason="the server's command line could not be read",
            remedy="run copilot-doctor as the server's user or as root",
        )
    if not command.has(FLAG):
        return Passed(subject=subject, detail=f"started without {FLAG}")
    shake = deployment.handshake(server)
    name, env = command.auth_token_env, server.environment
    if name is not None:
        if named_token(env, command) is not None:
            return Passed(subject=subject, detail=f"--auth-token-env {name} signs it in")
        if not env.visible:
            if shake is not None and shake.signed_in:
                return Passed(subject=subject, detail="signed in all the same")
            return NotVisible(subject=subject, reason=env.reason, remedy=env.remedy)
        return _finding(deployment, server, NAMES_NOTHING)
    if any(variable.is_set for variable in env.tokens):
        return _finding(deployment, server, DISABLES_VARIABLES)
    return _finding(deployment, server, NOTHING_LEFT)


def _finding(deployment: Deployment, server: Server, cause: Cause) -> Finding:
    shake = deployment.handshake(server)
    signed_in = shake.signed_in if shake else None
    winner = next((v for v in server.environment.tokens if v.is_set), None)
    name = server.command.auth_token_env if server.command else None
    title = {
        "disables-variables": f"{winner.name if winner else ''} is set, but {FLAG} keeps it unread",
        "nothing-left": f"The server was started with {FLAG} and has no other sign-in",
        "names-nothing": f"{FLAG} leaves {name} as the only sign-in, and it has no value",
    }[cause.id]
    evidence = [Evidence(kind="command", text=f"launched with {FLAG}")]
    if name is not None:
        is_there = server.environment.get(name) is not None
        state = "empty" if is_there else "not set"
        evidence.append(Evidence(kind="environment", text=f"{name} of the server: {state}"))
    evidence += [
        Evidence(
            kind="environment",
            text=f"{v.name} of the server: {v.kind}, {v.length} characters, not read",
        )
        for v in server.environment.tokens
        if v.is_set
    ]
    if not server.environment.visible:
        text = f"the server's environment could not be read: {server.environment.reason}"
        evidence.append(Evidence(kind="environment", text=text))
    if shake is not None and shake.status_message:
        evidence.append(Evidence(kind="wire", text=f'auth.getStatus: "{shake.status_message}"'))
    return Finding(
        status="warn" if signed_in else "fail",
        title=title,
        cause=cause,
        subject=about(server),
        origin=server.origin,
        detail=_own_sign_in(server),
        symptom=_symptom(server),
        evidence=tuple(evidence),
        fixes=_fixes(deployment, server, cause),
    )


def _own_sign_in(server: Server) -> str:
    what = "A session with a provider of its own needs none"
    if SESSION_TOKEN.at(server.version).value is False:
        return f"{what}; on this version a session's own GitHub token does not help."
    return f"{what}, nor does one with its own GitHub token (from 1.0.63 on)."


def _symptom(server: Server) -> str:
    words = NO_CREDENTIALS.at(server.version).value
    if words == "":
        return "a session gets no answer at all"
    return words or (
        "Execution failed: … (Session was not created with authentication info or custom provider, "
        "or No GitHub OAuth token or Copilot HMAC key provided)"
    )


def _fixes(deployment: Deployment, server: Server, cause: Cause) -> tuple[Fix, ...]:
    if cause is DISABLES_VARIABLES:
        token = next(v for v in server.environment.tokens if v.is_set)
        winner = token.name
        if Token(variable=token).fate(server.version) not in {"sent", "unchecked"}:
            # Read or not, this one signs nobody in.
            return sign_in_fixes(deployment, server, drop=(FLAG,), name=winner)
        return (
            restart_fix(
                "drop-flag",
                f"restart the server without {FLAG}",
                deployment,
                server,
                drop=(FLAG,),
            ),
            restart_fix(
                "name-variable",
                "keep the flag and name the variable",
                deployment,
                server,
                add=("--auth-token-env", winner),
            ),
        )
    if cause is NAMES_NOTHING:
        name = server.command.auth_token_env if server.command else None
        return sign_in_fixes(deployment, server, name=name or "COPILOT_GITHUB_TOKEN")
    drop = restart_fix(
        "drop-flag-alone",
        f"where there is a stored login or GitHub CLI: restart the server without {FLAG}",
        deployment,
        server,
        drop=(FLAG,),
    )
    asked = sign_in_fixes(deployment, server, drop=(FLAG,))
    return (drop, *asked) if server.has_stored_login or deployment.has_gh else (*asked, drop)


CHECK = Check(
    id="no-auto-login",
    title="May the server sign in by itself?",
    category="auth",
    looks_at="--no-auto-login and --auth-token-env in the command line of each server",
    symptoms=(
        Symptom(
            text="Session was not created with authentication info or custom provider",
            pattern=r"Session was not created with authentication info or custom provider",
            where="session",
            versions=NO_CREDENTIALS.where(NO_CREDENTIALS.at("1.0.63").value or ""),
        ),
        Symptom(
            text="InvalidArg, No GitHub OAuth token or Copilot HMAC key provided",
            pattern=r"No GitHub OAuth token or Copilot HMAC key provided",
            where="session",
            versions=NO_CREDENTIALS.where(NO_CREDENTIALS.at("1.0.102").value or ""),
        ),
        Symptom(
            text="after session.send nothing ever arrives: no error, no idle",
            where="behaviour",
            versions=NO_CREDENTIALS.where(""),
        ),
    ),
    causes=CAUSES,
    judge=judge,
    fixes=(
        GeneralFix(
            cause="disables-variables",
            summary="Start the server without the flag",
            shell="kill PID && sleep 2\ncopilot --server --port PORT",
        ),
        GeneralFix(
            cause="disables-variables",
            summary="Keep it and name the variable",
            shell=(
                "copilot --server --port PORT --no-auto-login --auth-token-env COPILOT_GITHUB_TOKEN"
            ),
        ),
        GeneralFix(
            cause="nothing-left",
            summary="Start the server without the flag, with a token or a stored login",
            shell='export COPILOT_GITHUB_TOKEN="$(gh auth token)"\ncopilot --server --port PORT',
        ),
        GeneralFix(
            cause="names-nothing",
            summary="Give the named variable a value and restart the server",
            shell=(
                'export NAME="$(gh auth token)"\n'
                "copilot --server --port PORT --no-auto-login --auth-token-env NAME"
            ),
        ),
    ),
)
