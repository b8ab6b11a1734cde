"""Installations that a test may change: a CLI in a folder of npm, an SDK in an environment."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tests.harness import MACHINE, MissingPartError
from tests.harness.cli import Cli

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pytest

_LIMIT_S = 300.0
_FOR_REGISTRIES = (
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"),
    *("http_proxy", "https_proxy", "all_proxy", "no_proxy"),
    *("NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE", "SSL_CERT_DIR", "PIP_CERT", "REQUESTS_CA_BUNDLE"),
)


def with_registries(env: Mapping[str, str]) -> dict[str, str]:
    """Return an environment in which npm and pip reach what this machine lets them reach."""
    settings = {name: MACHINE[name] for name in _FOR_REGISTRIES if name in MACHINE}
    home = Path(MACHINE.get("HOME", "~")).expanduser()
    return {"npm_config_userconfig": str(home / ".npmrc"), **settings, **env}


def own_cli(version: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """Install a CLI into a folder of its own, and let `start_server` take it from there.

    The cached one belongs to all tests: a fix that upgrades it would break the others.

    Raises:
        MissingPartError: npm could not install it.
    """
    from tests.harness import cli as harness

    harness.unpacked(version)
    _run("npm", "install", "--no-audit", "--no-fund", "--prefix", str(folder), _named(version))
    found = Cli(version, folder)
    monkeypatch.setattr(harness, "cli", lambda _version: found)
    return found


def own_sdk(version: str, folder: Path) -> Path:
    """Make an environment with pip and an SDK, and return its Python.

    Raises:
        MissingPartError: pip could not install it.
    """
    _run(sys.executable, "-m", "venv", str(folder))
    python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    pip = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    _run(str(python), *pip, f"github-copilot-sdk=={version}")
    return python


def _named(version: str) -> str:
    return f"@github/copilot@{version}"


def _run(*words: str) -> None:
    try:
        subprocess.run(
            words,
            env=MACHINE,
            check=True,
            capture_output=True,
            timeout=_LIMIT_S,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise MissingPartError(f"{words[0]} could not install: {error}") from error
