"""Fixtures that every test gets."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.harness import MissingPartError, in_ci
from tests.harness.cli import NEWEST, OLDEST, cli

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from tests.harness.github import FakeGitHub

# Whatever the machine that runs the tests has set must not reach a verdict.
_SCRUBBED_PREFIXES = ("COPILOT_", "GH_", "GITHUB_", "COLUMNS", "LINES")
_SCRUBBED = {
    *("NO_COLOR", "FORCE_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "COLORTERM", "TTY_COMPATIBLE"),
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "NODE_EXTRA_CA_CERTS", "NODE_OPTIONS"),
    *("http_proxy", "https_proxy", "all_proxy", "no_proxy"),
}


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take tokens, Copilot settings, proxies and terminal settings out of the environment."""
    for name in list(os.environ):
        if name.startswith(_SCRUBBED_PREFIXES) or name in _SCRUBBED:
            monkeypatch.delenv(name)
    monkeypatch.setenv("TERM", "dumb")


@pytest.fixture(params=[OLDEST, NEWEST])
def cli_version(request: pytest.FixtureRequest) -> str:
    """The oldest and the newest CLI version in support, installed."""
    version: str = request.param
    cli(version)
    return version


@pytest.fixture
def needs_root_namespace() -> None:
    """Skip (in CI: fail) where network namespaces cannot be made."""
    if sys.platform != "linux":
        raise MissingPartError("network namespaces exist on Linux only")
    from tests.harness.netns import check

    check()


@pytest.fixture
def github(needs_root_namespace: None) -> Iterator[FakeGitHub]:  # noqa: ARG001 - asked for its effect
    """A fake GitHub in a network namespace of its own; its model says "done"."""
    from tests.harness.github import fake_github

    with fake_github() as fake:
        yield fake


def _or_skip() -> Generator[None, Any, Any]:
    try:
        return (yield)
    except MissingPartError as error:
        if in_ci():
            raise
        pytest.skip(str(error))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup() -> Generator[None, Any, Any]:
    """Turn a missing part into a skip outside of CI, where a fixture asks for it."""
    return (yield from _or_skip())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None, Any, Any]:
    """Turn a missing part into a skip outside of CI, where the test itself asks for it."""
    return (yield from _or_skip())
