"""Which of several GitHub tokens the server takes.

Symptom in the user's words: "it uses the wrong account", "I exported the token and nothing
changed", "GITHUB_COPILOT_TOKEN is set and it is not signed in".
Measured: which token variables are set in the server's environment and in this shell, empty ones,
and which of them are equal (never what they are).
Can be wrong about a server that reads its environment from elsewhere on its next start.

Documented and observed: COPILOT_GITHUB_TOKEN, GH_TOKEN, GITHUB_TOKEN, the first that is not empty;
`--auth-token-env` before them, the stored login and GitHub CLI after them.
"""

from collections.abc import Iterator
from typing import Final, Literal

from doctor.behaviour.facts import CLASSIC_TOKEN_BLOCKS, NO_CREDENTIALS
from doctor.behaviour.sign_in import REFUSED, Token, named_token
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
from doctor.catalogue.pages import AUTHENTICATE, server_mode
from doctor.catalogue.steps import export, restart_fix, sign_in_fixes, unset, value_of
from doctor.deployment import (
    LOOK_ALIKES,
    TOKEN_VARIABLES,
    Deployment,
    Environment,
    Origin,
    Server,
    Variable,
)

SHADOWED = Cause(
    id="shadowed",
    text=(
        "Several token variables are set and hold different tokens. The CLI takes the first of "
        "COPILOT_GITHUB_TOKEN, GH_TOKEN, GITHUB_TOKEN that is not empty, and before a stored "
        "login or GitHub CLI; the others count for nothing."
    ),
    documented=AUTHENTICATE,
    observed=("1.0.2", "1.0.32", "1.0.63", "1.0.102"),
)
BLOCKED = Cause(
    id="blocked",
    text=(
        "The first token variable holds a token that the CLI refuses for its looks. Up to 1.0.81 "
        "it then tries no other token variable; from 1.0.92 on a refused COPILOT_GITHUB_TOKEN "
        'makes way for GH_TOKEN, else GITHUB_TOKEN, reported as "via gh", but a refused GH_TOKEN '
        "does not make way for GITHUB_TOKEN."
    ),
    documented=AUTHENTICATE,
    documented_says="the order of the variables; that a refused one is not skipped is not said.",
    observed=(
        *("1.0.2", "1.0.11", "1.0.22", "1.0.32", "1.0.44", "1.0.63", "1.0.64", "1.0.73"),
        *("1.0.81", "1.0.92", "1.0.102"),
    ),
)
LOOK_ALIKE = Cause(
    id="look-alike",
    text=(
        "None of the variables that the CLI reads is set, but one with a similar name is. It reads "
        "COPILOT_GITHUB_TOKEN, GH_TOKEN and GITHUB_TOKEN, and no other name unless "
        "--auth-token-env names it."
    ),
    documented=AUTHENTICATE,
    observed=("1.0.63", "1.0.102"),
)
EXPORTED_LATER = Cause(
    id="exported-later",
    text=(
        "This shell has a token and the server was started without one. A process keeps the "
        "environment that it was started with: what is exported afterwards does not reach it "
        "until it is started again."
    ),
    documented=server_mode("Authenticate"),
    documented_says="authenticate first, then run the command.",
    observed=("1.0.63", "1.0.102"),
)
OTHER_THAN_HERE = Cause(
    id="other-than-here",
    text=(
        "The token that the server was started with is another one than this shell has now. The "
        "server keeps the old one until it is started again."
    ),
    documented=server_mode("Authenticate"),
    documented_says="authenticate first, then run the command.",
    observed=("1.0.63", "1.0.102"),
)
EMPTY = Cause(
    id="empty",
    text=(
        "A token variable is set to an empty value, which counts as not set, and no other one is "
        "set. Often a secret that was not filled in."
    ),
    documented=AUTHENTICATE,
    observed=("1.0.2", "1.0.32", "1.0.63", "1.0.102"),
)

CAUSES = (SHADOWED, BLOCKED, LOOK_ALIKE, EXPORTED_LATER, OTHER_THAN_HERE, EMPTY)

SHELL: Final = "this shell"


def judge(deployment: Deployment) -> Iterator[Outcome]:
    """Judge each server's environment, then this shell's where no server has the same."""
    for server in deployment.tcp_servers:
        yield from _server(deployment, server)
    if deployment.shell.visible:
        known = [_state(server.environment) for server in deployment.tcp_servers]
        if _state(deployment.shell) not in known:
            yield from _shell(deployment)
    elif not deployment.tcp_servers:
        yield Skipped(reason="no Copilot server and no environment to judge")


def _state(environment: Environment) -> tuple[tuple[str, int], ...]:
    return tuple((v.name, v.group) for v in (*environment.tokens, *_look_alikes(environment)))


def _server(deployment: Deployment, server: Server) -> Iterator[Outcome]:
    subject, env = about(server), server.environment
    if not env.visible:
        yield NotVisible(subject=subject, reason=env.reason, remedy=env.remedy)
        return
    named = named_token(env, server.command)
    if named is not None:
        name = named.variable.name
        yield Passed(subject=subject, detail=f"--auth-token-env {name} comes before all others")
        return
    if server.command is not None and server.command.has("--no-auto-login"):
        yield Skipped(reason="the token variables are not read", blocked_by="no-auto-login")
        return
    set_ones = [variable for variable in env.tokens if variable.is_set]
    if not set_ones:
        yield _none_set(deployment, server)
        return
    found = [*_among_themselves(deployment, server, set_ones), *_against_shell(deployment, server)]
    yield from found
    if not found:
        equal = " (the others are equal to it)" if len(set_ones) > 1 else ""
        yield Passed(subject=subject, detail=f"{set_ones[0].name} counts{equal}")


def _none_set(deployment: Deployment, server: Server) -> Outcome:
    subject, env = about(server), server.environment
    alike = [variable for variable in _look_alikes(env) if variable.is_set]
    if alike:
        return _look_alike(deployment, server, alike[0])
    here = _first(deployment.shell)
    if here is not None and _is_of_this_user(deployment, server):
        return Finding(
            status=_status(deployment, server),
            title=f"{here.name} is set in this shell, but the server was started without it",
            cause=EXPORTED_LATER,
            subject=subject,
            origin=server.origin,
            symptom=_symptom(deployment, server),
            evidence=(
                *_wire(deployment, server),
                Evidence(kind="environment", text="the server: no token variable is set"),
                *_listed(deployment.shell, SHELL),
            ),
            fixes=(
                restart_fix(
                    "restart-here", "restart the server from this shell", deployment, server
                ),
            ),
        )
    if env.tokens:
        name = env.tokens[0].name
        return Finding(
            status=_status(deployment, server),
            title=f"{name} of the server is empty, and no other token variable is set",
            cause=EMPTY,
            subject=subject,
            origin=server.origin,
            symptom=_symptom(deployment, server),
            evidence=(*_listed(env, "the server"), *_wire(deployment, server)),
            fixes=sign_in_fixes(deployment, server, name=name),
        )
    stored = {True: "a stored login is there", False: "no stored login was found"}
    seen = stored.get(server.has_stored_login, "") if server.has_stored_login is not None else ""
    detail = "no token variable is set: the stored login or GitHub CLI decides"
    return Passed(subject=subject, detail=f"{detail} ({seen})" if seen else detail)


def _look_alike(deployment: Deployment, server: Server, variable: Variable) -> Finding:
    name = variable.name
    return Finding(
        status=_status(deployment, server),
        title=f"{name} is set, which the CLI does not read",
        cause=LOOK_ALIKE,
        subject=about(server),
        origin=server.origin,
        symptom=_symptom(deployment, server),
        evidence=(*_listed(server.environment, "the server"), *_wire(deployment, server)),
        fixes=(
            restart_fix(
                "rename",
                "restart the server with the token in COPILOT_GITHUB_TOKEN",
                deployment,
                server,
                prepare=(export(deployment, TOKEN_VARIABLES[0], value_of(deployment, name)),),
            ),
            restart_fix(
                "name-it",
                f"have the server read {name}",
                deployment,
                server,
                add=("--auth-token-env", name),
                drop=("--auth-token-env",),
            ),
        ),
    )


def _among_themselves(
    deployment: Deployment, server: Server, set_ones: list[Variable]
) -> Iterator[Finding]:
    first, later = set_ones[0], set_ones[1:]
    if Token(variable=first).fate(server.version) in REFUSED and any(map(_is_good, later)):
        yield _blocked(deployment, server, first, later)
        return
    other = next((variable for variable in later if variable.group != first.group), None)
    if other is None:
        return
    yield Finding(
        status="warn",
        title=f"{first.name} counts, and {other.name} holds another token",
        cause=SHADOWED,
        subject=about(server),
        origin=server.origin,
        symptom="requests run as another account than expected",
        evidence=(*_listed(server.environment, "the server"), *_wire(deployment, server)),
        fixes=(
            restart_fix(
                "drop-shadowed",
                f"where {first.name} is right: restart the server without {other.name}",
                deployment,
                server,
                prepare=(unset(deployment, *(v.name for v in later)),),
            ),
            restart_fix(
                "prefer-other",
                f"where {other.name} is right: restart the server with it alone",
                deployment,
                server,
                prepare=(unset(deployment, *(v.name for v in set_ones if v is not other)),),
            ),
        ),
    )


def _blocked(
    deployment: Deployment, server: Server, first: Variable, later: list[Variable]
) -> Finding:
    good = next(filter(_is_good, later))
    makes_way = (
        CLASSIC_TOKEN_BLOCKS.at(server.version).value is False
        and first.name == TOKEN_VARIABLES[0]
        and good is later[0]
    )
    signed_in = _signed_in(deployment, server)
    title = (
        f"{first.name} is refused, and {good.name} is taken in its place"
        if makes_way
        else f"{first.name} is refused, and keeps {good.name} from being read"
    )
    return Finding(
        status="warn" if signed_in or (makes_way and signed_in is None) else "fail",
        title=title,
        cause=BLOCKED,
        subject=about(server),
        origin=server.origin,
        symptom="" if signed_in else _symptom(deployment, server),
        evidence=(*_listed(server.environment, "the server"), *_wire(deployment, server)),
        fixes=(
            restart_fix(
                "drop-refused",
                f"restart the server without {first.name}: then {good.name} counts",
                deployment,
                server,
                prepare=(
                    unset(deployment, *(v.name for v in (first, *later[: later.index(good)]))),
                ),
            ),
        ),
        follows=("token-type",),
    )


def _against_shell(deployment: Deployment, server: Server) -> Iterator[Finding]:
    ours, here = _first(server.environment), _first(deployment.shell)
    if ours is None or here is None or ours.group == here.group:
        return
    if not _is_of_this_user(deployment, server):
        return
    yield Finding(
        status="warn",
        title=f"The server took {ours.name}; this shell has another token in {here.name} now",
        cause=OTHER_THAN_HERE,
        subject=about(server),
        origin=server.origin,
        symptom="a token that was exported afterwards has no effect",
        evidence=(
            *_listed(server.environment, "the server"),
            *_listed(deployment.shell, SHELL),
            *_wire(deployment, server),
        ),
        fixes=(
            restart_fix(
                "restart-here",
                "where this shell's token is right: restart the server from here",
                deployment,
                server,
            ),
            advice("keep", "where the server's token is right: nothing is to be done"),
        ),
    )


def _shell(deployment: Deployment) -> Iterator[Outcome]:
    """Judge what a server that is started from here would take."""
    env = deployment.shell
    set_ones = [variable for variable in env.tokens if variable.is_set]
    alike = [variable for variable in _look_alikes(env) if variable.is_set]
    other = next((v for v in set_ones[1:] if v.group != set_ones[0].group), None)
    if other is not None:
        names = [v.name for v in set_ones[1:]]
        yield _of_shell(
            SHADOWED,
            f"{set_ones[0].name} of this shell counts, and {other.name} holds another token",
            env,
            command(
                "unset-shadowed",
                f"take {' and '.join(names)} out of this shell",
                unset(deployment, *names),
                safe=True,
            ),
        )
    elif not set_ones and alike:
        name = alike[0].name
        yield _of_shell(
            LOOK_ALIKE,
            f"{name} is set in this shell, which the CLI does not read",
            env,
            command(
                "rename-here",
                "use the name that it reads",
                export(deployment, TOKEN_VARIABLES[0], value_of(deployment, name)),
                safe=True,
            ),
        )
    elif set_ones:
        yield Passed(subject=SHELL, detail=f"{set_ones[0].name} counts for a server started here")
    elif not deployment.tcp_servers:
        yield Skipped(reason="no Copilot server runs and no token variable is set here")


def _of_shell(cause: Cause, title: str, environment: Environment, fix: Fix) -> Finding:
    return Finding(
        status="warn",
        title=title,
        cause=cause,
        subject=SHELL,
        origin=Origin(kind="environment", name=SHELL),
        detail="It decides for a server that is started from here.",
        evidence=_listed(environment, SHELL),
        fixes=(fix,),
    )


# What is known


def _first(environment: Environment) -> Variable | None:
    return next((variable for variable in environment.tokens if variable.is_set), None)


def _is_good(variable: Variable) -> bool:
    return Token(variable=variable).fate() in {"sent", "unchecked"}


def _look_alikes(environment: Environment) -> tuple[Variable, ...]:
    found = (environment.get(name) for name in LOOK_ALIKES)
    return tuple(variable for variable in found if variable is not None)


def _is_of_this_user(deployment: Deployment, server: Server) -> bool:
    """Whether this shell can be the one that the server was started from."""
    here, process = deployment.here, server.process
    if not server.is_running or server.host != (here.id if here else server.host):
        return False
    theirs = process.user if process else None
    return theirs is None or here is None or here.user is None or theirs == here.user


def _signed_in(deployment: Deployment, server: Server) -> bool | None:
    shake = deployment.handshake(server)
    return shake.signed_in if shake else None


def _status(deployment: Deployment, server: Server) -> Literal["warn", "fail"]:
    return "fail" if _signed_in(deployment, server) is False else "warn"


def _symptom(deployment: Deployment, server: Server) -> str:
    if _signed_in(deployment, server):
        return "the server is signed in as somebody else"
    words = NO_CREDENTIALS.at(server.version).value
    return "a session gets no answer at all" if words == "" else words or "Not authenticated"


def _listed(environment: Environment, who: str) -> tuple[Evidence, ...]:
    """Describe the variables in the CLI's order; equal values bear the same letter."""
    variables = [*environment.tokens, *_look_alikes(environment)]
    letters: dict[int, str] = {}
    lines = []
    for variable in variables:
        if variable.is_set:
            letter = letters.setdefault(variable.group, chr(ord("A") + len(letters)))
            state = f"{variable.kind}, {variable.length} characters, token {letter}"
        else:
            state = "empty, counts as not set"
        read = "" if variable.name in TOKEN_VARIABLES else " (not read)"
        lines.append(f"{variable.name} of {who}{read}: {state}")
    host = next((n for n in ("COPILOT_GH_HOST", "GH_HOST") if environment.is_set(n)), None)
    if host is not None:
        lines.append(f"{host} of {who}: {environment.text(host)}: tokens are for this host")
    elif environment.is_set("GITHUB_HOST"):
        lines.append(f"GITHUB_HOST of {who} is set and not read: GH_HOST is")
    return tuple(Evidence(kind="environment", text=line) for line in lines)


def _wire(deployment: Deployment, server: Server) -> tuple[Evidence, ...]:
    shake = deployment.handshake(server)
    if shake is None or not shake.status_message:
        return ()
    return (Evidence(kind="wire", text=f'auth.getStatus: "{shake.status_message}"'),)


CHECK = Check(
    id="token-precedence",
    title="Does the token count that is meant to?",
    category="auth",
    looks_at="the token variables of each server and of this shell, and which of them are equal",
    symptoms=(
        Symptom(
            text="requests run as another account than expected",
            where="behaviour",
            versions=("1.0.63", "1.0.102"),
        ),
        Symptom(
            text="NAME (via gh), with no GitHub CLI installed",
            pattern=r"\(via gh\)",
            where="json-rpc",
            versions=("1.0.92", "1.0.102"),
        ),
    ),
    causes=CAUSES,
    judge=judge,
    fixes=(
        GeneralFix(
            cause="shadowed",
            summary="Keep one token variable and restart the server",
            shell="unset GH_TOKEN GITHUB_TOKEN\nkill PID && sleep 2\ncopilot --server --port PORT",
        ),
        GeneralFix(
            cause="blocked",
            summary="Take the refused token away and restart the server",
            shell="unset COPILOT_GITHUB_TOKEN\nkill PID && sleep 2\ncopilot --server --port PORT",
        ),
        GeneralFix(
            cause="look-alike",
            summary="Use a name that the CLI reads",
            shell='export COPILOT_GITHUB_TOKEN="$NAME"\ncopilot --server --port PORT',
        ),
        GeneralFix(
            cause="exported-later",
            summary="Restart the server from the shell that has the token",
            shell="kill PID && sleep 2\ncopilot --server --port PORT",
        ),
        GeneralFix(
            cause="other-than-here",
            summary="Restart the server from the shell that has the right token",
            shell="kill PID && sleep 2\ncopilot --server --port PORT",
        ),
        GeneralFix(
            cause="empty",
            summary="Fill in the value and restart the server",
            shell='export COPILOT_GITHUB_TOKEN="$(gh auth token)"\ncopilot --server --port PORT',
        ),
    ),
)
