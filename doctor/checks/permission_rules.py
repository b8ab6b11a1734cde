"""Permission rules that match less than they read, and what they are worth on a server.

Symptom in the user's words: "git push is denied although I allowed shell(git)", "a denied command
ran", "the tool is available and still asks".
Measured: the rules in the launch command.
Can be wrong about MCP servers: a rule for one is only recognised by its name.
"""

from collections.abc import Iterator
from typing import Final

from doctor.behaviour.rules import (
    MALFORMED,
    RuleProblem,
    malformed_message,
    review,
    split_values,
)
from doctor.behaviour.versions import TESTED
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
from doctor.catalogue.pages import cli_help, server_mode
from doctor.catalogue.steps import restart_fix
from doctor.deployment import Deployment, LaunchCommand, Server

_PAGE: Final = server_mode("Scoping Permissions Instead of Allow-All")
_HELP: Final = cli_help("permissions")
_BOTH: Final = ("1.0.63", "1.0.102")

NO_SAFETY_NET = Cause(
    id="no-safety-net",
    text=(
        "Rules in the launch command of a server do not count for the sessions of SDK clients: a "
        "denied or excluded tool runs as soon as the client approves it. What must not run has to "
        "be refused by each client."
    ),
    documented=_PAGE,
    documented_says=(
        "denial always wins, and targeted rules reduce the server's blast radius. That holds for "
        "-p, not for a server: shell ran with --deny-tool=shell and with --available-tools=view."
    ),
    observed=TESTED,
)
DENY_WINS = Cause(
    id="deny-wins",
    text="A deny rule wins over every allow rule, so the allow rule that it covers does nothing.",
    documented=_PAGE,
    observed=("1.0.32", *_BOTH),
)
TOO_NARROW = Cause(
    id="matches-too-little",
    text=(
        "A shell rule is compared with the first word or two of a command: shell(git) means git "
        "without a subcommand, shell(git:*) every git command. Kinds are shell, write, read, url "
        "and memory, in lower case; a rule of any other form or name matches nothing."
    ),
    documented=_HELP,
    observed=_BOTH,
)
MALFORMED_RULE = Cause(
    id="malformed",
    text=(
        "A rule has the form kind(argument). Any other ends a start in every mode except --server "
        "and --headless, which ignore it; a shell eats unquoted parentheses before that."
    ),
    documented=_HELP,
    documented_says="the form; nothing about servers.",
    observed=_BOTH,
)
URL_PROTOCOL = Cause(
    id="url-protocol",
    text=(
        "A URL rule without a protocol means https:// alone, and a rule without a port that "
        "protocol's own port alone."
    ),
    documented=_PAGE,
    observed=_BOTH,
)
BYPASS = Cause(
    id="deny-bypassed",
    text=(
        "A narrow deny rule looks at the start of a command alone, so the same command runs "
        "through bash -c, env or a flag before its subcommand. Deny shell as a whole, or allow "
        "what may run instead."
    ),
    documented=_HELP,
    documented_says="deny rules take precedence; ways around them are not mentioned.",
    observed=_BOTH,
)
NOT_APPROVAL = Cause(
    id="visible-not-approved",
    text=(
        "--available-tools and --excluded-tools decide which tools the model is shown, by the "
        "tools' names; they approve nothing. Approval is --allow-tool, and for SDK sessions the "
        "client's permission handler."
    ),
    documented=_PAGE,
    observed=("1.0.32", *_BOTH),
)
REDUNDANT = Cause(
    id="redundant",
    text="A wider rule or flag allows all of it already, so the rule does nothing.",
    documented=_HELP,
    observed=_BOTH,
)

CAUSES = (
    NO_SAFETY_NET,
    DENY_WINS,
    TOO_NARROW,
    MALFORMED_RULE,
    URL_PROTOCOL,
    BYPASS,
    NOT_APPROVAL,
    REDUNDANT,
)

_CAUSE_OF: Final = {
    "denied": DENY_WINS,
    "malformed": MALFORMED_RULE,
    "nothing": MALFORMED_RULE,
    "https-only": URL_PROTOCOL,
    "url-port": URL_PROTOCOL,
    "bypass": BYPASS,
    "kind-for-tool": NOT_APPROVAL,
    "redundant": REDUNDANT,
}
_TITLES: Final = {
    DENY_WINS.id: "An allow rule does nothing: a deny rule wins over it",
    TOO_NARROW.id: "A permission rule matches less than it reads",
    MALFORMED_RULE.id: "A permission rule is malformed",
    URL_PROTOCOL.id: "A URL rule covers one protocol or port alone",
    BYPASS.id: "A deny rule can be walked around",
    NOT_APPROVAL.id: "Tools are made visible, not approved",
    REDUNDANT.id: "An allow rule does nothing: another one allows it already",
}
_RESTRICTING: Final = (
    "--deny-tool",
    "--deny-url",
    "--available-tools",
    "--excluded-tools",
)
_RULE_FLAGS: Final = ("--allow-tool", "--allow-url", *_RESTRICTING)

REFUSE: Final = """
from copilot.rpc import PermissionDecisionApproveOnce, PermissionDecisionReject
from copilot.session_events import PermissionRequestShell


def decide(request, invocation):
    if isinstance(request, PermissionRequestShell):
        return PermissionDecisionReject(feedback="no shell in this session")
    return PermissionDecisionApproveOnce()


session = await client.create_session(
    on_permission_request=decide,
    excluded_tools=["bash"],
)
"""
"""What takes the place of --deny-tool=shell in a client (run with SDK 1.0.24 and 1.0.27)."""


def judge(deployment: Deployment) -> Iterator[Outcome]:
    """Judge the rules of every Copilot process, and their worth on those that are TCP servers."""
    if not deployment.servers:
        yield Skipped(reason="no Copilot server to judge")
    for server in deployment.servers:
        if server.command is None:
            yield NotVisible(
                subject=about(server),
                reason="its launch command could not be read",
                remedy="run copilot-doctor as the server's user or as root",
            )
            continue
        if not any(server.command.has(flag) for flag in _RULE_FLAGS):
            yield Passed(subject=about(server), detail="it was started without permission rules")
            continue
        found = [*_no_safety_net(server, server.command), *_rules(deployment, server)]
        yield from found
        if not found:
            yield Passed(
                subject=about(server),
                detail="each rule matches what it reads; for SDK sessions none of them counts"
                if server.command.is_tcp_server
                else "each rule matches what it reads",
            )


def _no_safety_net(server: Server, command: LaunchCommand) -> Iterator[Finding]:
    present = [option for option in command.options if option.name in _RESTRICTING]
    if not present or not command.is_tcp_server:
        return
    names = ", ".join(dict.fromkeys(option.name for option in present))
    yield Finding(
        status="warn",
        title="The server's deny and tool lists restrict no SDK client",
        cause=NO_SAFETY_NET,
        subject=about(server),
        origin=server.origin,
        detail=f"{names} is accepted and has no effect on the sessions of SDK clients.",
        symptom="a denied command runs",
        evidence=(
            *(Evidence(kind="command", text=option.text) for option in present),
            Evidence(kind="command", text=f"started as: {command.mode}"),
        ),
        fixes=(
            code(
                "refuse-in-client",
                "in each client (Python): leave the tool out of the session and refuse it, instead",
                "python",
                REFUSE,
            ),
            advice(
                "own-user",
                "or run the server as a user, or in a container, that cannot do what must not be "
                "done",
            ),
        ),
    )


def _rules(deployment: Deployment, server: Server) -> Iterator[Finding]:
    command = server.command
    if command is None:
        return
    groups: dict[str, list[RuleProblem]] = {}
    for problem in review(
        command.values("--allow-tool"),
        command.values("--deny-tool"),
        allow_url=command.values("--allow-url"),
        deny_url=command.values("--deny-url"),
        available=command.values("--available-tools"),
        excluded=command.values("--excluded-tools"),
        allows_all_tools=command.allows_all_tools,
        version=server.version,
    ):
        groups.setdefault(_CAUSE_OF.get(problem.code, TOO_NARROW).id, []).append(problem)
    for cause in CAUSES:
        if cause.id in groups:
            yield _finding(deployment, server, command, cause, groups[cause.id])


def _finding(
    deployment: Deployment,
    server: Server,
    command: LaunchCommand,
    cause: Cause,
    problems: list[RuleProblem],
) -> Finding:
    # On a TCP server no rule counts at all, so a wrong one breaks nothing there.
    worth = (
        "Corrected, it still counts for no SDK session: that is decided by each client."
        if command.is_tcp_server
        else ""
    )
    symptom = next(
        (
            said
            for problem in problems
            if problem.code == "malformed" and not command.is_tcp_server
            if (said := malformed_message(problem.rule, problem.flag, server.version))
        ),
        "",
    )
    return Finding(
        status="warn",
        title=_TITLES[cause.id],
        cause=cause,
        subject=about(server),
        origin=server.origin,
        detail=worth,
        symptom=symptom,
        evidence=tuple(
            Evidence(
                kind="command",
                text=f"{problem.flag}={problem.rule}: {problem.message}"
                + (f"; better: {problem.better}" if problem.better else ""),
            )
            for problem in problems
        ),
        fixes=_fixes(deployment, server, command, cause, problems),
    )


def _fixes(
    deployment: Deployment,
    server: Server,
    command: LaunchCommand,
    cause: Cause,
    problems: list[RuleProblem],
) -> tuple[Fix, ...]:
    """Return the launch command with each rule as it was meant."""
    better = {
        (problem.flag, problem.rule): "" if cause in {DENY_WINS, REDUNDANT} else problem.better
        for problem in problems
    }
    if cause is BYPASS:
        better = dict.fromkeys(better, "shell")
    is_denied_url = cause is URL_PROTOCOL and any("deny" in problem.flag for problem in problems)
    if is_denied_url or any(text is None or text.startswith("--") for text in better.values()):
        return (
            advice(
                f"rewrite-{cause.id}",
                "rewrite the rules above; copilot help permissions lists the forms",
            ),
        )
    flags = tuple(dict.fromkeys(problem.flag for problem in problems))
    add: list[str] = []
    for flag in flags:
        rules: list[str] = []
        for rule in split_values(command.values(flag), server.version):
            meant = _with_https(rule) if cause is URL_PROTOCOL else better.get((flag, rule))
            text = meant if (flag, rule) in better else rule
            if text and text not in rules:
                rules.append(text)
        add += [f"{flag}={rule}" for rule in rules]
    summary = {
        DENY_WINS.id: "start it without the allow rules that are denied anyway",
        REDUNDANT.id: "start it without the allow rules that another one covers",
        URL_PROTOCOL.id: "start it with the protocol written out (add http:// where it is meant)",
        BYPASS.id: "start it with shell denied as a whole",
    }.get(cause.id, "start it with the rules as they were meant")
    return (
        restart_fix(f"rewrite-{cause.id}", summary, deployment, server, drop=flags, add=tuple(add)),
    )


def _with_https(rule: str) -> str:
    """Write out what a URL rule without a protocol means."""
    inner = rule.removeprefix("url(")
    return f"https://{rule}" if inner == rule else f"url(https://{inner}"


CHECK = Check(
    id="permission-rules",
    title="Do permission rules mean what they say?",
    category="permissions",
    looks_at="allow, deny, available and excluded rules in each launch command",
    symptoms=(
        Symptom(
            text="Permission to run this tool was denied due to the following rules: `shell`",
            pattern=r"Permission to run this tool was denied due to the following rules",
            where="stdout",
            versions=("1.0.32", *_BOTH),
        ),
        Symptom(
            text="Invalid --allow-tool value. Error: Invalid rule format: RULE",
            pattern=r"Invalid rule format",
            where="stderr",
            versions=tuple(version for version in TESTED if MALFORMED.at(version).value),
        ),
        Symptom(
            text="a command runs although the server was started with --deny-tool",
            where="behaviour",
            versions=TESTED,
        ),
    ),
    causes=CAUSES,
    judge=judge,
    fixes=(
        GeneralFix(
            cause="no-safety-net",
            summary="Refuse in each client what must not run (Python)",
            code=REFUSE.strip("\n"),
            language="python",
        ),
        GeneralFix(
            cause="deny-wins",
            summary="Narrow the deny rule, or leave out the allow rule that it covers",
        ),
        GeneralFix(
            cause="matches-too-little",
            summary="Write :* for every command that begins so, and quote the rule",
            shell="copilot --server --port PORT --allow-tool='shell(git:*)'",
        ),
        GeneralFix(
            cause="malformed",
            summary="Write kind(argument), in quotes",
            shell="copilot --server --port PORT --allow-tool='shell(git:*)' --allow-tool=write",
        ),
        GeneralFix(
            cause="url-protocol",
            summary="Name each protocol that is meant",
            shell="copilot --server --port PORT --allow-url=https://HOST --allow-url=http://HOST",
        ),
        GeneralFix(
            cause="deny-bypassed",
            summary="Deny shell as a whole, or allow what may run instead",
            shell="copilot --server --port PORT --deny-tool=shell",
        ),
        GeneralFix(
            cause="visible-not-approved",
            summary="Name tools, not kinds, and approve them apart from that",
            shell="copilot --server --port PORT --available-tools=view --allow-tool=read",
        ),
        GeneralFix(cause="redundant", summary="Leave the narrower rule out"),
    ),
)
