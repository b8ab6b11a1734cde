"""Which model sessions get, and whether the server offers it.

Symptom in the user's words: "--model has no effect", "it answers with another model", "Model … is
not available", "No model available".
Measured: `--model` in the server's command line, `COPILOT_MODEL` in its environment, and the
server's own list of models.
Can be wrong where every session names its model: then neither of the two counts.
"""

import shlex
from collections.abc import Iterator
from typing import Final

from doctor.behaviour.facts import NO_MODEL
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
    code,
)
from doctor.catalogue.check import GeneralFix
from doctor.catalogue.pages import SDK_PROVIDER, server_mode
from doctor.catalogue.steps import export, restart_fix
from doctor.deployment import Deployment, Server

VARIABLE: Final = "COPILOT_MODEL"
AUTO: Final = "auto"
_PAGE: Final = server_mode("Choosing the Model")
_PAGE_SAYS: Final = (
    "--model sets the default model of the server and overrides COPILOT_MODEL. That was observed "
    "with -p, not with --server."
)
MOST_MODELS: Final = 500
"""A list of this length may have been cut by the probe."""

FLAG_IGNORED = Cause(
    id="flag-ignored",
    text=(
        "--model is accepted by a server and has no effect on SDK sessions. COPILOT_MODEL in the "
        "server's environment has, and the model that a session names itself comes before both."
    ),
    documented=_PAGE,
    documented_says=_PAGE_SAYS,
    observed=("1.0.32", "1.0.63", "1.0.81", "1.0.102"),
)
FLAG_AND_VARIABLE = Cause(
    id="flag-and-variable",
    text=(
        "--model and COPILOT_MODEL name different models. SDK sessions get that of COPILOT_MODEL; "
        "--model has no effect on a server."
    ),
    documented=_PAGE,
    documented_says=_PAGE_SAYS,
    observed=("1.0.32", "1.0.63", "1.0.81", "1.0.102"),
)
NOT_OFFERED = Cause(
    id="not-offered",
    text=(
        "COPILOT_MODEL names a model that the server does not offer (upper and lower case and "
        "white space count). It is passed over without a word: sessions get the default model. "
        "A session that names such a model itself cannot be created."
    ),
    documented=_PAGE,
    documented_says="nothing about a model that is not offered.",
    observed=("1.0.63", "1.0.102"),
)
NONE_FOR_PROVIDER = Cause(
    id="none-for-provider",
    text=(
        "Nobody names a model, and a session with its own provider needs one: on 1.0.32 and 1.0.63 "
        "it fails after the first message; 1.0.102 asks the provider for claude-sonnet-4."
    ),
    documented=SDK_PROVIDER,
    observed=("1.0.32", "1.0.63", "1.0.102"),
)

CAUSES = (FLAG_IGNORED, FLAG_AND_VARIABLE, NOT_OFFERED, NONE_FOR_PROVIDER)

_CODE: Final = {
    "python": 'session = await client.create_session(model="{model}")',
    "typescript": 'const session = await client.createSession({{ model: "{model}" }});',
    "go": 'session, err := client.CreateSession(ctx, &copilot.SessionConfig{{Model: "{model}"}})',
    "csharp": (
        "await using var session = await client.CreateSessionAsync("
        'new SessionConfig {{ Model = "{model}" }});'
    ),
    "java": ('var session = client.createSession(new SessionConfig().setModel("{model}")).get();'),
    "rust": (
        "let session = client.create_session("
        'SessionConfig::default().with_model("{model}")).await?;'
    ),
}


_SPACES: Final = {"leading-space", "trailing-space", "newline", "carriage-return"}


def judge(deployment: Deployment) -> Iterator[Outcome]:
    """Judge the models that each TCP server was given."""
    servers = deployment.tcp_servers
    if not servers:
        yield Skipped(reason="no Copilot server to judge")
    for server in servers:
        found = [*_server(deployment, server)]
        yield from found
        if not found:
            yield Passed(subject=about(server), detail=_passed(server))


def _server(deployment: Deployment, server: Server) -> Iterator[Outcome]:
    env, flag = server.environment, _flag(server)
    if not env.visible:
        yield _hidden(server)
        return
    chosen = _chosen(server)
    if flag is not None and chosen is None:
        yield _flag_finding(deployment, server, FLAG_IGNORED, flag)
    elif flag is not None and chosen != flag:
        yield _flag_finding(deployment, server, FLAG_AND_VARIABLE, flag)
    if chosen is not None:
        yield from _offered(deployment, server, chosen)
    else:
        yield from _for_provider(deployment, server)


def _flag(server: Server) -> str | None:
    return (server.command.value("--model") or None) if server.command else None


def _chosen(server: Server) -> str | None:
    """Return the model that sessions without one of their own get."""
    return server.environment.text(VARIABLE) or None


def _passed(server: Server) -> str:
    chosen = _chosen(server)
    if chosen is None:
        return "no model is named: sessions get the default one, or their own"
    return f"sessions get {chosen}, or their own"


def _hidden(server: Server) -> Outcome:
    env, flag = server.environment, _flag(server)
    reason = f"{VARIABLE} of the server could not be seen: {env.reason}"
    if flag is None:
        return NotVisible(subject=about(server), reason=reason, remedy=env.remedy)
    return Finding(
        status="unknown",
        title=f"--model {flag} has no effect; whether {VARIABLE} names a model is not known",
        cause=FLAG_IGNORED,
        subject=about(server),
        origin=server.origin,
        evidence=(
            Evidence(kind="command", text=f"launched with --model {flag}"),
            Evidence(kind="environment", text=reason),
        ),
    )


def _flag_finding(deployment: Deployment, server: Server, cause: Cause, flag: str) -> Finding:
    chosen = _chosen(server)
    evidence = [
        Evidence(kind="command", text=f"launched with --model {flag}"),
        Evidence(kind="environment", text=f"{VARIABLE} of the server: {chosen or 'not set'}"),
    ]
    models = _models(deployment, server)
    if models is not None and flag not in models:
        evidence.append(Evidence(kind="wire", text=f"models.list: {flag} is not among them"))
    title = f"--model {flag} has no effect on SDK sessions"
    if chosen is not None:
        title = f"SDK sessions get {chosen} ({VARIABLE}), not {flag} (--model)"
    fixes = [
        restart_fix(
            "use-variable",
            f"restart the server with the model in {VARIABLE}",
            deployment,
            server,
            prepare=(export(deployment, VARIABLE, shlex.quote(flag)),),
            drop=("--model",),
        )
    ]
    if chosen is not None:
        fixes.append(
            restart_fix(
                "drop-flag",
                f"where {chosen} is right, leave the flag out",
                deployment,
                server,
                drop=("--model",),
            )
        )
    return Finding(
        status="warn",
        title=title,
        cause=cause,
        subject=about(server),
        origin=server.origin,
        detail="A session that names its model gets that one.",
        symptom="sessions run with another model than the flag names, without any message",
        evidence=tuple(evidence),
        fixes=(*fixes, *_session_model(flag)),
    )


def _models(deployment: Deployment, server: Server) -> tuple[str, ...] | None:
    shake = deployment.handshake(server)
    return shake.models if shake else None


def _offered(deployment: Deployment, server: Server, chosen: str) -> Iterator[Outcome]:
    models = _models(deployment, server)
    variable = server.environment.get(VARIABLE)
    is_spaced = variable is not None and bool(_SPACES & set(variable.quirks))
    if models is None:
        shake = deployment.handshake(server)
        why = "the server was not asked"
        if shake is not None:
            why = shake.models_error or "the server is not signed in, so it offers no list"
        yield NotVisible(
            subject=about(server),
            reason=f"whether the server offers {chosen} ({VARIABLE}) is not known: {why}",
            remedy="sign the server in, and let copilot-doctor reach it",
        )
        return
    if chosen in models and not is_spaced:
        return
    if len(models) >= MOST_MODELS and not is_spaced:
        yield NotVisible(
            subject=about(server),
            reason=f"{chosen} is not among the first {MOST_MODELS} models that the server offers",
        )
        return
    said = f"{chosen}, with white space around it" if is_spaced else chosen
    near = chosen if chosen in models else _nearest(chosen, models)
    yield Finding(
        status="fail",
        title=f"The server does not offer the model {chosen} of {VARIABLE}",
        cause=NOT_OFFERED,
        subject=about(server),
        origin=server.origin,
        symptom="sessions run with the default model, without any message",
        evidence=(
            Evidence(kind="environment", text=f"{VARIABLE} of the server: {said}"),
            Evidence(kind="wire", text=f"models.list: {_shown(models)}"),
        ),
        fixes=_other_model(deployment, server, near),
    )


def _shown(models: tuple[str, ...]) -> str:
    more = f" and {len(models) - 12} more" if len(models) > 12 else ""  # noqa: PLR2004 - one line
    return (", ".join(models[:12]) or "none") + more


def _nearest(name: str, models: tuple[str, ...]) -> str | None:
    import difflib

    real = {model.lower(): model for model in models if model != AUTO}
    near = difflib.get_close_matches(name.lower(), real, n=1, cutoff=0.5)
    return real[near[0]] if near else next(iter(real.values()), None)


def _other_model(deployment: Deployment, server: Server, near: str | None) -> tuple[Fix, ...]:
    if near is None:
        return ()
    return (
        restart_fix(
            "offered-model",
            f"restart the server with a model that it offers, such as {near}",
            deployment,
            server,
            prepare=(export(deployment, VARIABLE, shlex.quote(near)),),
        ),
        *_session_model(near),
    )


def _session_model(model: str) -> Iterator[Fix]:
    for language, text in _CODE.items():
        yield code(
            f"session-model-{language}",
            f"name the model in the session ({language})",
            language,
            text.format(model=model.replace('"', "")),
        )


def _for_provider(deployment: Deployment, server: Server) -> Iterator[Outcome]:
    """Warn where sessions seem to bring their own provider and nobody names a model."""
    words = NO_MODEL.at(server.version).value
    if not words:
        return
    places = [(about(server), server.environment)]
    places += [(about(client), client.environment) for client in deployment.clients_of(server)]
    found = [who for who, env in places if env.is_set("COPILOT_PROVIDER_BASE_URL")]
    if not found:
        return
    yield Finding(
        status="warn",
        title="No model is named, and sessions with their own provider need one",
        cause=NONE_FOR_PROVIDER,
        subject=about(server),
        origin=server.origin,
        symptom=words,
        evidence=(
            Evidence(kind="environment", text=f"{VARIABLE} of the server: not set"),
            *(
                Evidence(kind="environment", text=f"COPILOT_PROVIDER_BASE_URL is set: {who}")
                for who in found
            ),
        ),
        fixes=tuple(_session_model("MODEL")),
    )


CHECK = Check(
    id="model",
    title="Do sessions get the model that is meant?",
    category="session",
    looks_at="--model, COPILOT_MODEL and the list of models of each server",
    symptoms=(
        Symptom(
            text='Request session.create failed with message: Model "NAME" is not available.',
            pattern=r'Model "?[^"\s]+"? is not available',
            where="json-rpc",
            versions=("1.0.63", "1.0.102"),
        ),
        Symptom(
            text=NO_MODEL.at("1.0.63").value or "",
            pattern=r"No model available\. Check policy enablement",
            where="session",
            versions=("1.0.32", "1.0.63"),
        ),
        Symptom(
            text="sessions run with another model than --model names, without any message",
            where="behaviour",
            versions=FLAG_IGNORED.observed,
        ),
    ),
    causes=CAUSES,
    judge=judge,
    fixes=(
        *(
            GeneralFix(
                cause=cause.id,
                summary="Name the model in COPILOT_MODEL and restart the server",
                shell=(
                    "export COPILOT_MODEL=MODEL\nkill PID && sleep 2\ncopilot --server --port PORT"
                ),
            )
            for cause in (FLAG_IGNORED, FLAG_AND_VARIABLE, NOT_OFFERED)
        ),
        *(
            GeneralFix(
                cause="none-for-provider",
                summary=f"Name the model in the session ({language})",
                code=text.format(model="MODEL"),
                language=language,
            )
            for language, text in _CODE.items()
        ),
    ),
)
