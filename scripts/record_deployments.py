"""Record Deployments of real, broken servers as fixtures for the pure tests.

Run as ``make record``. Each case starts a real CLI, looks at it as ``copilot-doctor check`` does,
and stores the Deployment with what the checks must say of it: that part is written by hand in
`CASES`, never taken from the doctor. Names, paths and addresses of the machine are replaced.
"""

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import msgspec

from doctor.deployment import Deployment, Process, Server
from doctor.examination import Examination, Request
from tests.harness.cli import RunningServer, start_server
from tests.harness.sdk import NEW as SDK_NEWEST
from tests.harness.sdk import idle_client

FOLDER = ROOT / "fixtures/deployments"
RECENT = ("1.0.63", "1.0.102")
GHO = "gho_" + "A1b2C3d4E5f6" * 3
GHP = "ghp_" + "A1b2C3d4E5f6" * 3


@dataclass(frozen=True)
class Case:
    """One way to break a server, and what must be said of it.

    Attributes:
        about: What is broken, for readers.
        expected: Check → status; the checks not named are not judged.
        env: Of the server.
        shell: Of the doctor.
        holder: ``http``: another program holds the port, and no server is started.
    """

    about: str
    expected: Mapping[str, str]
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    shell: Mapping[str, str] = field(default_factory=dict)
    versions: tuple[str, ...] = RECENT
    mode: str | None = "--server"
    how: str = "npm"
    port: str | None = None
    holder: str = ""
    asks_for_port: bool = False
    kills_wrapper: bool = False
    clients: int = 0


CASES: Mapping[str, Case] = {
    "healthy": Case(
        about="started as documented, with a connection token on both sides",
        args=("--allow-all-tools",),
        env={"COPILOT_CONNECTION_TOKEN": "shared-secret-of-two"},
        shell={"COPILOT_CONNECTION_TOKEN": "shared-secret-of-two"},
        expected={
            "connection-token": "pass",
            "listener-exposed": "pass",
            "listener-unreachable": "pass",
            "launch-flags": "pass",
            "server-handshake": "pass",
            "no-auto-login": "pass",
            "credentials": "fail",
            "tool-approval": "unknown",
        },
    ),
    "port-held-by-http": Case(
        about="another program holds the port",
        holder="http",
        asks_for_port=True,
        expected={"port-in-use": "fail"},
        versions=("1.0.102",),
    ),
    "port-held-by-copilot": Case(
        about="a healthy Copilot server holds the port that is wanted",
        asks_for_port=True,
        expected={"port-in-use": "warn", "server-handshake": "pass"},
    ),
    "exposed": Case(
        about="every interface, no token, everything allowed",
        args=("--host", "0.0.0.0", "--allow-all"),
        expected={"listener-exposed": "fail"},
    ),
    "exposed-by-default": Case(
        about="up to 1.0.22 a server listens on every interface and takes no token",
        env={"COPILOT_CONNECTION_TOKEN": "shared-secret-of-two"},
        versions=("1.0.2", "1.0.22"),
        expected={"listener-exposed": "fail"},
    ),
    "token-on-the-server-only": Case(
        about="the server wants a connection token, this shell has none",
        env={"COPILOT_CONNECTION_TOKEN": "shared-secret-of-two"},
        expected={"connection-token": "fail"},
    ),
    "token-wrong": Case(
        about="server and shell have different connection tokens",
        env={"COPILOT_CONNECTION_TOKEN": "shared-secret-of-two"},
        shell={"COPILOT_CONNECTION_TOKEN": "another-secret-of-one"},
        expected={"connection-token": "fail"},
    ),
    "token-on-the-client-only": Case(
        about="this shell has a connection token, the server none",
        shell={"COPILOT_CONNECTION_TOKEN": "shared-secret-of-two"},
        expected={"connection-token": "fail"},
    ),
    "token-ignored": Case(
        about="the version ignores its connection token",
        env={"COPILOT_CONNECTION_TOKEN": "shared-secret-of-two"},
        shell={"COPILOT_CONNECTION_TOKEN": "shared-secret-of-two"},
        versions=("1.0.32",),
        expected={"connection-token": "fail"},
    ),
    "no-auto-login": Case(
        about="--no-auto-login disables the token variable",
        args=("--no-auto-login",),
        env={"COPILOT_GITHUB_TOKEN": GHO},
        expected={"no-auto-login": "fail"},
    ),
    "no-credentials": Case(
        about="no credentials at all",
        expected={"credentials": "fail", "no-auto-login": "pass"},
    ),
    "auth-token-env-missing": Case(
        about="--auth-token-env names a variable that is not set",
        args=("--auth-token-env", "MY_TOKEN"),
        expected={"credentials": "fail"},
    ),
    "classic-token": Case(
        about="a classic personal access token",
        env={"COPILOT_GITHUB_TOKEN": GHP},
        expected={"token-type": "fail"},
    ),
    "shadowed-token": Case(
        about="two token variables with different values",
        env={"COPILOT_GITHUB_TOKEN": GHO, "GH_TOKEN": GHO[::-1].replace("_ohg", "")},
        expected={"token-precedence": "warn"},
    ),
    "no-tool-approval": Case(about="no allow flags", expected={"tool-approval": "warn"}),
    "deny-is-no-net": Case(
        about="a deny rule on a server",
        args=("--allow-all-tools", "--deny-tool=shell"),
        expected={"permission-rules": "warn"},
    ),
    "model-flag": Case(
        about="--model has no effect on SDK sessions",
        args=("--model", "gpt-5-mini"),
        expected={"model": "warn"},
    ),
    "acp": Case(
        about="an ACP server where SDK clients are told to connect",
        mode="--acp",
        shell={"COPILOT_CLI_URL": "127.0.0.1:PORT"},
        expected={"server-handshake": "fail"},
    ),
    "other-port": Case(
        about="clients are told another port than the server listens on",
        shell={"COPILOT_CLI_URL": "127.0.0.1:9"},
        expected={"server-handshake": "fail"},
    ),
    "name-not-resolved": Case(
        about="COPILOT_CLI_URL names a service that does not resolve here",
        shell={"COPILOT_CLI_URL": "copilot:3000"},
        expected={"service-name": "fail"},
        versions=("1.0.102",),
    ),
    "orphan": Case(
        about="the npm wrapper was stopped, and its native child lives on",
        expected={"process-tree": "warn"},
        kills_wrapper=True,
    ),
    "two-clients": Case(
        about="two clients with the newest SDK share one server",
        clients=2,
        versions=("1.0.63",),
        expected={"client-isolation": "warn", "sdk-compatibility": "fail"},
    ),
    "two-clients-apart": Case(
        about="two clients with the newest SDK share a server that keeps them apart",
        clients=2,
        versions=("1.0.102",),
        expected={"client-isolation": "pass", "sdk-compatibility": "pass"},
    ),
    "debug-log": Case(
        about="1.0.81 writes its environment into a log, here below a closed folder",
        args=("--log-level", "all"),
        versions=("1.0.81",),
        expected={"log-secrets": "warn"},
    ),
}


@contextmanager
def shell_environment(values: Mapping[str, str]) -> Iterator[None]:
    """Give the doctor exactly these variables, and those that a process needs."""
    before = dict(os.environ)
    keep = {name: before[name] for name in ("PATH", "HOME", "LANG") if name in before}
    os.environ.clear()
    os.environ.update({**keep, **values})
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def look(case: Case, version: str) -> Deployment:
    """Start the case and return what the doctor sees of it, and of nothing else."""
    with ExitStack() as stack:
        server: RunningServer | None = None
        if case.holder:
            holder = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1"],
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            stack.callback(holder.kill)
            line = holder.stdout.readline() if holder.stdout else ""
            port = int(re.findall(r"port (\d+)", line)[0])
            pids = {holder.pid}
        else:
            server = stack.enter_context(
                start_server(version, *case.args, env=case.env, mode=case.mode, how=case.how)  # type: ignore[arg-type]
            )
            port, pids = server.port, set(server.pids)
            for _ in range(case.clients):
                stack.enter_context(idle_client(SDK_NEWEST, f"127.0.0.1:{port}"))
            if case.kills_wrapper:
                server.wrapper.terminate()
                server.wrapper.wait(timeout=10)
        values = {name: text.replace("PORT", str(port)) for name, text in case.shell.items()}
        with shell_environment(values):
            examination = Examination(
                Request(port=port if case.asks_for_port else None, timeout_s=5)
            )
            seen = examination.run()
        return only(seen, pids)


def only(seen: Deployment, pids: set[int]) -> Deployment:
    """Leave out every other Copilot process of this machine, and its consequences."""
    servers = tuple(
        msgspec.structs.replace(server, ancestors=_below_recorder(server))
        for server in seen.servers
        if server.process and server.process.pid in pids
    )
    kept = {server.id for server in servers}
    return msgspec.structs.replace(
        seen,
        servers=servers,
        clients=tuple(client for client in seen.clients if client.server in kept),
        routes=tuple(
            route
            for route in seen.routes
            if route.server in kept or route.target.origin.kind != "process"
        ),
        sdks=(),
        unseen=tuple(item for item in seen.unseen if item.origin is None),
    )


def _below_recorder(server: Server) -> tuple[Process, ...]:
    pids = [ancestor.pid for ancestor in server.ancestors]
    return server.ancestors[: pids.index(os.getpid())] if os.getpid() in pids else ()


def neutral(text: str) -> str:
    """Replace what only this machine has."""
    text = text.replace(socket.gethostname(), "workstation")
    text = re.sub(
        r'"(/[^"]*?)?/cli/(\d+\.\d+\.\d+)/node_modules', r'"/home/dev/app/node_modules', text
    )
    text = re.sub(r"/[^\"\s]*?/cd-[a-z0-9_]+/home", "/home/dev", text)
    text = re.sub(r"/[^\"\s]*?/cd-sdk-[a-z0-9_]+", "/home/dev", text)
    text = re.sub(r"/[^\"\s]*?/(\.venv|venv)/bin/", "/usr/bin/", text)
    text = text.replace(str(ROOT), "/home/dev/app").replace(str(Path.home()), "/home/dev")
    return re.sub(r"/root/[^\"\s]*?/bin/", "/usr/bin/", text)


def main() -> None:
    """Record the cases whose names are given, or all."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, case in CASES.items():
        if sys.argv[1:] and name not in sys.argv[1:]:
            continue
        for version in case.versions:
            deployment = look(case, version)
            here = deployment.hosts[0]
            plain = msgspec.structs.replace(
                deployment,
                hosts=(
                    msgspec.structs.replace(
                        here,
                        names=("localhost", "workstation"),
                        addresses=("192.0.2.10",),
                        kind="machine",
                        engine=None,
                        user="dev",
                        ports_taken=tuple(
                            sorted(
                                {
                                    *(i.port for s in deployment.servers for i in s.listeners),
                                    *(h.port for w in deployment.wanted_ports for h in w.holders),
                                }
                            )
                        ),
                    ),
                ),
            )
            stored = {
                "about": case.about,
                "cli": version,
                "expected": dict(case.expected),
                "deployment": msgspec.to_builtins(plain),
            }
            text = neutral(json.dumps(stored, indent=1, sort_keys=True)) + "\n"
            (FOLDER / f"{name}-{version}.json").write_text(text)
            print(f"{name}-{version}")


if __name__ == "__main__":
    main()
