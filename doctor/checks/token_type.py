"""The kind of the GitHub token that the CLI reads.

Symptom in the user's words: "Not authenticated although COPILOT_GITHUB_TOKEN is set", "it worked
with my old token", "Classic PATs are not supported".
Measured: kind by prefix and shape, length, and what is odd about the value, of the token that the
CLI tries first, in the server's environment and (for a server that is still to be started) here.
Can be wrong about whether GitHub takes a token of a good kind: only GitHub knows (`credentials`).
"""

from collections.abc import Iterator
from typing import Final, Literal, NamedTuple

from doctor.behaviour.facts import (
    CLASSIC_REFUSED,
    LINE_END_IN_TOKEN,
    NO_CREDENTIALS,
    UNSUPPORTED_REFUSED,
)
from doctor.behaviour.sign_in import Token, tokens_tried
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
from doctor.catalogue.pages import AUTHENTICATE, SDK_AUTHENTICATE, SDK_SERVER_TOKENS, server_mode
from doctor.catalogue.steps import (
    FINE_GRAINED_PAGE,
    cleaned,
    restart_fix,
    sign_in_fixes,
    unset,
)
from doctor.deployment import Deployment, Environment, Origin, Server, Variable

_ALL: Final = (
    *("1.0.11", "1.0.22", "1.0.32", "1.0.44", "1.0.63", "1.0.64", "1.0.73", "1.0.81", "1.0.92"),
    "1.0.102",
)

CLASSIC = Cause(
    id="classic",
    text=(
        "A classic token (ghp_) in a token variable is refused by the CLI itself. Only its log "
        'says so; clients see "Not authenticated". It should be a fine-grained token '
        "(github_pat_) or one of an OAuth sign-in (gho_, ghu_)."
    ),
    documented=server_mode("Authenticate"),
    documented_says=(
        'the page itself recommends export COPILOT_GITHUB_TOKEN="ghp_…"; the pages about '
        "authentication of CLI and SDK say that classic tokens are not supported."
    ),
    observed=("1.0.2", *_ALL),
)
CLASSIC_NAMED = Cause(
    id="classic-by-flag",
    text=(
        "Through --auth-token-env the CLI does not look at a token's prefix: a classic token "
        "(ghp_) goes to GitHub. Classic tokens are documented as not supported; what GitHub "
        "answers was not observed."
    ),
    documented=AUTHENTICATE,
    observed=("1.0.2", "1.0.32", "1.0.63", "1.0.102"),
)
SERVER_TO_SERVER = Cause(
    id="server-to-server",
    text=(
        "An installation token (ghs_, such as GITHUB_TOKEN of GitHub Actions) is used without "
        "asking GitHub first, so the server calls itself signed in whatever it is worth. It works "
        "only with the permission copilot_requests: write and the organization's policy, and ends "
        "after one hour; what GitHub answers was not observed."
    ),
    documented=SDK_SERVER_TOKENS,
    observed=_ALL,
)
REFRESH = Cause(
    id="refresh-token",
    text=(
        "ghr_ is a refresh token: it only serves to get a new access token, and no sign-in takes "
        "it. The access token that came with it (ghu_) should be here."
    ),
    documented=AUTHENTICATE,
    observed=("1.0.63", "1.0.102"),
)
PLACEHOLDER = Cause(
    id="placeholder",
    text=(
        "The value is a placeholder that was copied from a text, no token. The CLI refuses it, or "
        "GitHub does, according to its prefix."
    ),
    documented=server_mode("Authenticate"),
    documented_says='the page shows the placeholder "ghp_xxxxxxxxxxxxxxxxxxxx".',
    observed=("1.0.63", "1.0.102"),
)
UNRECOGNISED = Cause(
    id="unrecognised",
    text=(
        "The CLI takes tokens that begin with gho_, ghu_, github_pat_ or ghs_ and ignores "
        "everything else in a token variable, also a value of nothing but blanks. Only its log "
        "says so."
    ),
    documented=SDK_AUTHENTICATE,
    observed=("1.0.2", *_ALL),
)
UNRECOGNISED_NAMED = Cause(
    id="unrecognised-by-flag",
    text=(
        "Through --auth-token-env the CLI does not look at the value: it goes to GitHub as it is. "
        "This one does not look like a token that GitHub makes for a sign-in."
    ),
    documented=SDK_AUTHENTICATE,
    observed=("1.0.63", "1.0.102"),
)
QUOTES = Cause(
    id="quotes",
    text=(
        "The value keeps the quotes that were meant for a shell (an env file or a unit file does "
        "not take them away), so the CLI does not know it for a token."
    ),
    documented=SDK_AUTHENTICATE,
    observed=("1.0.63", "1.0.102"),
)
WHITE_SPACE = Cause(
    id="white-space",
    text=(
        "The value begins with white space, so the CLI does not know it for a token. (White space "
        "behind it did no harm.)"
    ),
    documented=SDK_AUTHENTICATE,
    observed=("1.0.63", "1.0.102"),
)
LINE_END = Cause(
    id="line-end",
    text=(
        "The value contains a line end, which an HTTP header cannot carry. Up to 1.0.44 it does no "
        "harm at the end of the value; on 1.0.63 the server calls itself signed in and fails at "
        "the list of models; from 1.0.64 on no session can be created. On 1.0.63 a line end "
        "inside of the value puts the token itself into the error that clients get."
    ),
    documented=SDK_AUTHENTICATE,
    observed=LINE_END_IN_TOKEN.where("models") + LINE_END_IN_TOKEN.where("session"),
)
NOT_ASCII = Cause(
    id="not-ascii",
    text=(
        "The value has characters that no GitHub token has, such as a typographic quote or an "
        "invisible one from a web page. The CLI sends it to GitHub as it is."
    ),
    documented=SDK_AUTHENTICATE,
    observed=("1.0.63", "1.0.102"),
)

CAUSES = (
    CLASSIC,
    CLASSIC_NAMED,
    SERVER_TO_SERVER,
    REFRESH,
    PLACEHOLDER,
    UNRECOGNISED,
    UNRECOGNISED_NAMED,
    QUOTES,
    WHITE_SPACE,
    LINE_END,
    NOT_ASCII,
)

SHELL: Final = "this shell"
_KINDS: Final = {
    "gho": "OAuth token (gho_)",
    "ghu": "GitHub App user token (ghu_)",
    "github_pat": "fine-grained token (github_pat_)",
    "ghp": "classic token (ghp_)",
    "ghs": "installation token (ghs_)",
    "ghr": "refresh token (ghr_)",
    "jwt": "JSON Web Token",
    "placeholder": "placeholder",
    "unrecognised": "no known kind of token",
}


class _Fault(NamedTuple):
    """What is wrong with a token.

    `is_certain`: the CLI cannot sign in with it; else it depends on GitHub.
    """

    cause: Cause
    says: str
    is_certain: bool = True
    log: str = ""


def judge(deployment: Deployment) -> Iterator[Outcome]:
    """Judge the token that each server reads, and the one that a server started here would."""
    for server in deployment.tcp_servers:
        yield _server(deployment, server)
    shell = _shell(deployment)
    if shell is not None:
        yield shell
    elif not deployment.tcp_servers:
        yield Skipped(reason="no Copilot server and no token variable to judge")


def _server(deployment: Deployment, server: Server) -> Outcome:
    subject = about(server)
    if not server.environment.visible:
        env = server.environment
        return NotVisible(subject=subject, reason=env.reason, remedy=env.remedy)
    tried = tokens_tried(server.environment, server.command)
    if not tried:
        if server.command and server.command.has("--no-auto-login"):
            return Skipped(reason="no token is read", blocked_by="no-auto-login")
        return Skipped(reason=f"{subject}: no token variable is set")
    token = tried[0]
    fault = _fault(token, server.version)
    if fault is None:
        kind = _KINDS.get(token.variable.kind, token.variable.kind)
        return Passed(subject=subject, detail=f"{token.variable.name} holds a {kind}")
    shake = deployment.handshake(server)
    signed_in = shake.signed_in if shake else None
    status: Literal["warn", "fail"] = "fail" if fault.is_certain else "warn"
    detail = ""
    if fault.is_certain and signed_in:
        if fault.cause is not LINE_END:
            status = "warn"
            detail = "The server is signed in with something else than this token."
        elif shake and shake.models is not None:
            status = "warn"
    evidence = [_described(token.variable, is_named=token.is_named)]
    if shake is not None and shake.status_message:
        evidence.append(Evidence(kind="wire", text=f'auth.getStatus: "{shake.status_message}"'))
    if shake is not None and shake.models_error:
        evidence.append(Evidence(kind="wire", text=shake.models_error))
    return Finding(
        status=status,
        title=f"{token.variable.name} holds {fault.says}",
        cause=fault.cause,
        subject=subject,
        origin=server.origin,
        detail=detail,
        symptom=_symptom(fault, server),
        evidence=tuple(evidence),
        fixes=tuple(_fixes(deployment, server, token, fault)),
    )


def _shell(deployment: Deployment) -> Outcome | None:
    """Judge what a server started from here would read, where no server reads the same."""
    if not deployment.shell.visible:
        return None
    tried = tokens_tried(deployment.shell, None)
    if not tried:
        return None
    variable = tried[0].variable
    if any(_reads(server.environment, variable) for server in deployment.tcp_servers):
        return None
    origin = Origin(kind="environment", name=SHELL)
    fault = _fault(tried[0], None)
    if fault is None:
        kind = _KINDS.get(variable.kind, variable.kind)
        return Passed(subject=SHELL, detail=f"{variable.name} of this shell holds a {kind}")
    fixes: tuple[Fix, ...] = (_get_one(),)
    if fault.cause in _CLEANABLE:
        line = cleaned(deployment, variable.name)
        fixes = (command("clean-here", "take the bare value", line, safe=True), *fixes)
    return Finding(
        status="warn",
        title=f"{variable.name} of this shell holds {fault.says}",
        cause=fault.cause,
        subject=SHELL,
        origin=origin,
        detail="A server that is started from this shell reads it.",
        symptom=fault.log,
        evidence=(_described(variable, is_named=False),),
        fixes=fixes,
    )


def _reads(environment: Environment, variable: Variable) -> bool:
    return any(v.group == variable.group and v.name == variable.name for v in environment.tokens)


def _fault(token: Token, version: str | None) -> _Fault | None:
    fate = token.fate(version)
    if fate == "placeholder":
        return _Fault(PLACEHOLDER, "a placeholder, not a token")
    if fate == "classic":
        return _Fault(CLASSIC, "a classic token (ghp_), which the CLI refuses", log=CLASSIC_REFUSED)
    if fate == "line-end":
        is_harmless = LINE_END_IN_TOKEN.at(version).value == "works"
        return _Fault(LINE_END, "a token with a line end in it", is_certain=not is_harmless)
    return _unsupported(token.variable) if fate == "unsupported" else _doubt(token)


def _doubt(token: Token) -> _Fault | None:
    """Return what speaks against a token that the CLI itself uses."""
    variable = token.variable
    if "non-ascii" in variable.quirks:
        return _Fault(NOT_ASCII, "characters that no token has", is_certain=False)
    if token.is_named and "quoted" in variable.quirks:
        return _Fault(QUOTES, "a token with quotes around it", is_certain=False)
    if variable.kind in {"gho", "ghu", "github_pat"}:
        return None
    cause, says = {
        "ghs": (SERVER_TO_SERVER, "an installation token (ghs_)"),
        "ghp": (CLASSIC_NAMED, "a classic token (ghp_)"),
        "ghr": (REFRESH, "a refresh token (ghr_)"),
    }.get(variable.kind, (UNRECOGNISED_NAMED, "no known kind of token"))
    return _Fault(cause, says, is_certain=False)


def _unsupported(variable: Variable) -> _Fault:
    log = UNSUPPORTED_REFUSED
    if variable.kind == "ghr":
        return _Fault(REFRESH, "a refresh token (ghr_), which no sign-in takes", log=log)
    if variable.kind == "ghs" and not {"quoted", "leading-space"} & set(variable.quirks):
        says = "an installation token (ghs_), which this version ignores"
        return _Fault(SERVER_TO_SERVER, says, log=log)
    if "quoted" in variable.quirks:
        return _Fault(QUOTES, "a value with quotes around it", log=log)
    if "leading-space" in variable.quirks and variable.kind != "unrecognised":
        return _Fault(WHITE_SPACE, "a token with white space in front", log=log)
    return _Fault(UNRECOGNISED, "no token that the CLI knows", log=log)


def _symptom(fault: _Fault, server: Server) -> str:
    if fault.cause is LINE_END:
        return _LINE_END_WORDS.get(LINE_END_IN_TOKEN.at(server.version).value or "", "")
    if not fault.is_certain:
        return ""
    words = NO_CREDENTIALS.at(server.version).value
    words = "a session gets no answer at all" if words == "" else words or "Not authenticated"
    return f"{words}; in the log: {fault.log}" if fault.log else words


_LINE_END_WORDS: Final = {
    "models": "Execution failed: Error: Failed to list models",
    "session": (
        "Request session.create failed with message: Authentication failed: Failed to fetch PAT "
        "user login: network fetch failed: invalid HTTP header value for Authorization: failed to "
        "parse header value"
    ),
}


def _described(variable: Variable, *, is_named: bool) -> Evidence:
    parts = [_KINDS.get(variable.kind, variable.kind), f"{variable.length} characters"]
    parts += [quirk.replace("-", " ") for quirk in variable.quirks]
    how = " (named by --auth-token-env)" if is_named else ""
    return Evidence(kind="environment", text=f"{variable.name}{how}: {', '.join(parts)}")


_CLEANABLE: Final = (QUOTES, WHITE_SPACE, LINE_END)
_FROM_GH: Final = 'export COPILOT_GITHUB_TOKEN="$(gh auth token)"\ncopilot --server --port PORT'
_BARE: Final = (
    'export COPILOT_GITHUB_TOKEN="$(printf %s "$COPILOT_GITHUB_TOKEN" '
    "| tr -d '[:space:]\"\\047')\"\ncopilot --server --port PORT"
)


def _fixes(deployment: Deployment, server: Server, token: Token, fault: _Fault) -> Iterator[Fix]:
    name = token.variable.name
    if fault.cause in _CLEANABLE:
        yield restart_fix(
            "clean",
            "take the bare value, in the shell that the server is started from, and restart it",
            deployment,
            server,
            prepare=(cleaned(deployment, name),),
        )
        return
    if fault.cause is SERVER_TO_SERVER:
        yield advice(
            "permit",
            "give the token the permission copilot_requests: write (in GitHub Actions: "
            "permissions: copilot-requests: write) and have the organization allow Copilot CLI "
            "billed to it",
        )
    good = next(
        (v for v in server.environment.tokens[1:] if Token(variable=v).fate() == "sent"), None
    )
    if good is not None and not token.is_named and fault.is_certain:
        yield restart_fix(
            "use-next",
            f"let {good.name} count: restart the server without {name}",
            deployment,
            server,
            prepare=(unset(deployment, name),),
        )
    yield from sign_in_fixes(deployment, server, name=name)


def _get_one() -> Fix:
    return advice(
        "get-one",
        f'make a fine-grained token with the account permission "Copilot Requests" at '
        f"{FINE_GRAINED_PAGE} before a server is started from here",
    )


CHECK = Check(
    id="token-type",
    title="Is the GitHub token of a kind that the CLI takes?",
    category="auth",
    looks_at="kind, length and oddities of the token that the CLI tries first",
    symptoms=(
        Symptom(
            text=CLASSIC_REFUSED,
            pattern=r"Classic PATs are not supported",
            where="log",
            versions=("1.0.2", *_ALL),
        ),
        Symptom(
            text=UNSUPPORTED_REFUSED,
            pattern=r"Unsupported token type, ignoring",
            where="log",
            versions=("1.0.2", *_ALL),
        ),
        Symptom(
            text="Not authenticated",
            pattern=r"\bNot authenticated\b(?!\. Please)",
            where="json-rpc",
            versions=("0.0.400", "1.0.2", *_ALL),
        ),
        Symptom(
            text=_LINE_END_WORDS["session"],
            pattern=r"invalid HTTP header value for Authorization|Headers\.append: .* invalid",
            where="json-rpc",
            versions=LINE_END_IN_TOKEN.where("session"),
        ),
        Symptom(
            text=_LINE_END_WORDS["models"],
            pattern=r"Failed to list models",
            where="session",
            versions=LINE_END_IN_TOKEN.where("models"),
        ),
        Symptom(
            text="GitHub App Server-To-Server Tokens are not supported for this endpoint",
            pattern=r"Server-To-Server Tokens are not supported",
            where="log",
        ),
    ),
    causes=CAUSES,
    judge=judge,
    fixes=(
        *(
            GeneralFix(
                cause=cause.id,
                summary=f"Make a fine-grained token at {FINE_GRAINED_PAGE}, or take GitHub CLI's",
                shell=_FROM_GH,
            )
            for cause in (CLASSIC, CLASSIC_NAMED, PLACEHOLDER, UNRECOGNISED, UNRECOGNISED_NAMED)
        ),
        GeneralFix(
            cause="server-to-server",
            summary="Give the token the permission copilot_requests: write",
        ),
        GeneralFix(
            cause="refresh-token",
            summary="Use the access token that came with it (ghu_), or a fine-grained one",
        ),
        *(
            GeneralFix(cause=cause.id, summary="Take the bare value and restart", shell=_BARE)
            for cause in _CLEANABLE
        ),
        GeneralFix(cause="not-ascii", summary="Copy the token again, from where GitHub shows it"),
    ),
)
