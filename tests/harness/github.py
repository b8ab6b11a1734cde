"""A fake GitHub inside a network namespace: what the real CLI asks of it, it answers.

It shows which token a CLI really sends and what the CLI makes of 200, 401, 403 and 404. It does not
show what the real GitHub would answer.

```python
with fake_github() as github:
    token = github.token("gho", login="mona")
    with github.start_server("1.0.102", env={"COPILOT_GITHUB_TOKEN": token}) as server:
        with github.wire(server) as wire:
            wire.auth_status()
        github.run([sys.executable, "-m", "doctor", "check", "--json"])
    assert github.tokens_seen == [token]
```
"""

from __future__ import annotations

import contextlib
import json
import secrets
import ssl
import string
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tests.harness import MissingPartError
from tests.harness.cli import RunningServer, base_env, start_server
from tests.harness.http import Answer, Request, serve
from tests.harness.model import FakeModel, Text
from tests.harness.netns import Namespace, check, namespace
from tests.harness.wire import APPROVAL, Wire

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator, Mapping, Sequence

    from tests.harness.model import Bash

Kind = Literal["gho", "ghu", "ghs", "ghp", "github_pat"]

ROOT = Path(__file__).resolve().parents[2]
ADDRESS = "203.0.113.10"
ENDPOINTS = {
    "api": "https://api.individual.githubcopilot.com",
    "origin-tracker": "https://origin-tracker.githubusercontent.com",
    "proxy": "https://proxy.individual.githubcopilot.com",
    "telemetry": "https://telemetry.individual.githubcopilot.com",
}
NAMES = (
    "github.com",
    "api.github.com",
    "api.githubcopilot.com",
    "api.individual.githubcopilot.com",
    "origin-tracker.githubusercontent.com",
    "proxy.individual.githubcopilot.com",
    "telemetry.individual.githubcopilot.com",
)
# Names that the CLI itself does not strike from its list (`gpt-4.1` it does).
MODELS = ("claude-sonnet-4.5", "gpt-5.2")


@dataclass(frozen=True)
class Seen:
    """One request that reached the fake GitHub."""

    method: str
    host: str
    path: str
    token: str | None
    status: int


@dataclass(frozen=True)
class Account:
    """What the fake GitHub answers for one token."""

    login: str
    status: int = 200
    """Of everything asked with this token, where it is not 200."""
    message: str | None = None
    models: tuple[str, ...] = MODELS
    models_status: int = 200
    plan: str = "individual"
    body: dict[str, Any] | None = None
    """Replaces or adds keys in the answer about the user."""


@dataclass
class FakeGitHub:
    """A running fake GitHub, and the namespace that it can be reached in."""

    namespace: Namespace
    folder: Path
    model: FakeModel
    accounts: dict[str, Account] = field(default_factory=dict)
    seen: list[Seen] = field(default_factory=list)

    def token(self, kind: Kind = "gho", login: str = "mona", **answers: Any) -> str:
        """Make a token and say what it is good for (see `Account`).

        A token that was not made here is answered 401, "Bad credentials".
        """
        letters = string.ascii_letters + string.digits

        def some(count: int) -> str:
            return "".join(secrets.choice(letters) for _ in range(count))

        token = (
            f"github_pat_{some(22)}_{some(59)}" if kind == "github_pat" else f"{kind}_{some(36)}"
        )
        self.accounts[token] = Account(login, **answers)
        return token

    @property
    def tokens_seen(self) -> list[str]:
        """The tokens that were sent, each once, in order."""
        return list(dict.fromkeys(seen.token for seen in self.seen if seen.token))

    @property
    def env(self) -> dict[str, str]:
        """What makes a program trust this GitHub."""
        path = str(self.folder / "ca.pem")
        return {"SSL_CERT_FILE": path, "NODE_EXTRA_CA_CERTS": path}

    @contextlib.contextmanager
    def start_server(
        self, version: str, *args: str, env: Mapping[str, str | None] | None = None, **more: Any
    ) -> Iterator[RunningServer]:
        """Run a real CLI where this is GitHub (see `tests.harness.cli.start_server`)."""
        launcher = self.namespace.launcher
        full = {**self.env, **(env or {})}
        with start_server(version, *args, env=full, launcher=launcher, **more) as server:
            yield server

    def wire(self, server: RunningServer, *, approve: str | None = APPROVAL) -> Wire:
        """Open a connection to a server in the namespace."""
        return Wire(self.namespace.connect(server.port), approve)

    def run(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path = ROOT,
        timeout_s: float = 60.0,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command, such as the doctor, where this is GitHub, to its end.

        Its environment is made from nothing, but for `env`.
        """
        full = base_env(self.folder / "home") | self.env | dict(env or {})
        return self.namespace.run(argv, env=full, cwd=cwd, timeout_s=timeout_s)

    def answer(self, request: Request) -> Answer:
        token = _token(request.headers.get("Authorization"))
        path, _, _query = request.path.partition("?")
        status, value = self._value(token, path)
        if value is None:  # the model
            answer = self.model.answer(request)
        else:
            # Without the second header the CLI takes a failure for the word of a proxy.
            headers = {"Content-Type": "application/json", "X-GitHub-Request-Id": "FA4E:1"}
            answer = status, headers, json.dumps(value).encode()
        host = request.headers.get("Host", "").partition(":")[0]
        self.seen.append(Seen(request.command, host, path, token, answer[0]))
        return answer

    def _value(self, token: str | None, path: str) -> tuple[int, dict[str, Any] | None]:
        account = self.accounts.get(token or "")
        if account is None:
            return 401, {"message": "Bad credentials", "status": "401"}
        if account.status != 200:
            words = {401: "Bad credentials", 403: "Resource not accessible", 404: "Not Found"}
            message = account.message or words.get(account.status, "Error")
            return account.status, {"message": message, "status": str(account.status)}
        if path == "/copilot_internal/user":
            return 200, _user(account)
        if path == "/user":
            return 200, {"login": account.login, "id": 1, "type": "User"}
        if path == "/models" and account.models_status != 200:
            return account.models_status, {"error": {"message": account.message or "not for you"}}
        if path == "/models":
            return 200, {"object": "list", "data": [_model(name) for name in account.models]}
        if path == "/chat/completions":
            return 200, None
        return 404, {"message": "Not Found", "status": "404"}


@contextlib.contextmanager
def fake_github(*steps: Text | Bash) -> Iterator[FakeGitHub]:
    """Run a fake GitHub in a network namespace of its own.

    Args:
        *steps: What its model answers to a session without a provider (see `model.fake_model`).

    Raises:
        MissingPartError: No namespaces here, or no trustme package.
    """
    check()
    try:
        import trustme
    except ImportError as error:
        raise MissingPartError("the fake GitHub needs the trustme package") from error
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*NAMES).configure_cert(context)
    with (
        tempfile.TemporaryDirectory(prefix="cd-gh-") as folder,
        namespace(dict.fromkeys(NAMES, ADDRESS)) as inside,
    ):
        authority.cert_pem.write_to_path(str(Path(folder, "ca.pem")))
        Path(folder).chmod(0o755)  # a server of another user reads the certificate too
        Path(folder, "home").mkdir()
        inside.address(f"{ADDRESS}/32")
        github = FakeGitHub(inside, Path(folder), FakeModel(steps))
        with serve(inside.listen(443, ADDRESS), github.answer, context):
            yield github


def _token(authorization: str | None) -> str | None:
    if not authorization:
        return None
    _scheme, _, token = authorization.partition(" ")
    return token.strip() or None


def _user(account: Account) -> dict[str, Any]:
    """The answer about a subscriber, with the keys that the CLI's own schema knows."""
    return {
        "login": account.login,
        "access_type_sku": "plus_monthly_subscriber_quota",
        "analytics_tracking_id": "0",
        "assigned_date": None,
        "can_signup_for_limited": False,
        "chat_enabled": True,
        "copilot_plan": account.plan,
        "organization_login_list": [],
        "organization_list": [],
        "endpoints": ENDPOINTS,
        **(account.body or {}),
    }


def _model(name: str) -> dict[str, Any]:
    return {
        "id": name,
        "name": name.title(),
        "object": "model",
        "vendor": "Fake",
        "version": name,
        "preview": False,
        "model_picker_enabled": True,
        "capabilities": {
            "family": name,
            "object": "model_capabilities",
            "tokenizer": "o200k_base",
            "type": "chat",
            "limits": {
                "max_context_window_tokens": 128_000,
                "max_output_tokens": 16_000,
                "max_prompt_tokens": 128_000,
            },
            "supports": {"parallel_tool_calls": True, "streaming": True, "tool_calls": True},
        },
        "billing": {"is_premium": False, "multiplier": 0},
        "policy": {"state": "enabled", "terms": ""},
        "supported_endpoints": ["/chat/completions"],
    }
