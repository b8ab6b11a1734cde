"""Rules in the launch command of a real server, before and after the printed correction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.harness.cli import NEWEST, OLDEST, start_server
from tests.harness.doctor import evidence, findings, fix, paste, run_doctor

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.harness.cli import RunningServer
    from tests.scenarios.conftest import Proven

pytestmark = pytest.mark.real

CHECK = "permission-rules"


def look(server: RunningServer, env: Mapping[str, str]) -> list[dict[str, Any]]:
    report = run_doctor("--select", CHECK, env=env, cwd=server.home)
    return findings(report, CHECK, f"on port {server.port} ")


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
@pytest.mark.parametrize(
    ("rules", "cause", "words"),
    [
        (("--allow-tool=shell(git)", "--allow-tool=write"), "matches-too-little", "shell(git:*)"),
        (("--allow-tool=shell (git:*)",), "malformed", "shell(git:*)"),
        (("--allow-url=github.com",), "url-protocol", "https:// alone"),
        (("--allow-tool=shell", "--allow-tool=shell(git:*)"), "redundant", "allows it already"),
    ],
)
def test_the_printed_command_line_has_no_such_rule(
    version: str, rules: tuple[str, ...], cause: str, words: str, proven: Proven
) -> None:
    with start_server(version, *rules) as server:
        (found,) = look(server, server.env)
        assert found["status"] == "warn"
        assert words in evidence(found)
        chosen = fix(found, f"rewrite-{cause}")
        with paste(chosen, env=server.env, port=server.port, cwd=server.home):
            assert look(server, server.env) == []
        proven(CHECK, f"rewrite-{cause}", version)
