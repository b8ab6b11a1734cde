"""Tokens of every kind, given to a real server: what it sends, what the doctor says, the cure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.harness.cli import NEWEST, OLDEST
from tests.harness.doctor import evidence, fix
from tests.scenarios.place import place

if TYPE_CHECKING:
    from pathlib import Path

    from tests.scenarios.conftest import Proven

pytestmark = [pytest.mark.real, pytest.mark.namespace]

CHECK = "token-type"
NAME = "COPILOT_GITHUB_TOKEN"
BOTH = pytest.mark.parametrize("version", [OLDEST, NEWEST])


@BOTH
@pytest.mark.parametrize(
    ("kind", "cause", "log"),
    [
        ("classic", "classic", "Classic PATs are not supported"),
        ("refresh", "refresh-token", "Unsupported token type, ignoring."),
        ("placeholder", "placeholder", "Classic PATs are not supported"),
        ("garbage", "unrecognised", "Unsupported token type, ignoring."),
        ("blank", "unrecognised", "Unsupported token type, ignoring."),
    ],
)
def test_a_refused_token_is_never_sent_and_a_new_one_cures_it(  # noqa: PLR0917
    version: str, kind: str, cause: str, log: str, tmp_path: Path, proven: Proven
) -> None:
    with place(version, tmp_path) as here:
        value = {
            "classic": here.github.token("ghp"),
            "refresh": "ghr_" + "A1b2C3d4E5f6" * 3,
            "placeholder": "ghp_xxxxxxxxxxxxxxxxxxxx",
            "garbage": "deadbeef" * 5,
            "blank": "   ",
        }[kind]
        with here.server(**{NAME: value}) as server:
            found = here.look(CHECK, server)[cause]
            assert here.github.tokens_seen == []
            assert log in server.log
            assert found["status"] == "fail"
            assert f"{len(value)} characters" in evidence(found)
            assert '"Not authenticated"' in evidence(found)

            good = here.github.token("github_pat")
            with here.pasted(fix(found, "new-token"), server, answer=good):
                assert here.says(server)["isAuthenticated"] is True
                assert here.github.tokens_seen == [good]
                assert here.look(CHECK, server, server.env | {NAME: good}) == {}
        if kind == "classic":
            proven(CHECK, "new-token", version)


@BOTH
def test_a_good_token_behind_a_refused_one_can_count(
    version: str, tmp_path: Path, proven: Proven
) -> None:
    with place(version, tmp_path) as here:
        env = {NAME: here.github.token("ghp"), "GH_TOKEN": here.github.token(login="hubot")}
        with here.server(**env) as server:
            found = here.look(CHECK, server)["classic"]
            with here.pasted(fix(found, "use-next"), server) as now:
                assert NAME not in now
                assert here.says(server)["statusMessage"] == "hubot (via GH_TOKEN)"
                assert here.github.tokens_seen == [env["GH_TOKEN"]]
                assert here.look(CHECK, server, now) == {}
        proven(CHECK, "use-next", version)


@BOTH
@pytest.mark.parametrize(
    ("before", "after", "cause"),
    [
        ('"', '"', "quotes"),
        (" ", "", "white-space"),
        ("\n", "", "white-space"),
        ("", "\n", "line-end"),
        ("", "\r\n", "line-end"),
    ],
)
def test_the_bare_value_cures_what_surrounds_it(  # noqa: PLR0917
    version: str, before: str, after: str, cause: str, tmp_path: Path, proven: Proven
) -> None:
    with place(version, tmp_path) as here:
        good = here.github.token()
        with here.server(**{NAME: f"{before}{good}{after}"}) as server:
            found = here.look(CHECK, server)[cause]
            assert found["status"] == "fail"
            if cause == "line-end" and version == OLDEST:
                assert here.says(server)["isAuthenticated"] is True  # and yet it fails:
                assert "Failed to list models" in evidence(found)
            else:
                assert here.says(server)["isAuthenticated"] is False
                assert here.github.tokens_seen == []

            with here.pasted(fix(found, "clean"), server) as now:
                assert now[NAME] == good
                assert here.says(server)["isAuthenticated"] is True
                assert here.github.tokens_seen == [good]
                assert here.look(CHECK, server, now) == {}
        proven(CHECK, "clean", version)


@BOTH
@pytest.mark.parametrize("flag", [(), ("--auth-token-env", NAME)])
def test_an_installation_token_is_used_without_asking(
    version: str, flag: tuple[str, ...], tmp_path: Path
) -> None:
    with place(version, tmp_path) as here:
        token = here.github.token("ghs")
        with here.server(*flag, **{NAME: token}) as server:
            found = here.look(CHECK, server)["server-to-server"]
            assert found["status"] == "warn"
            assert here.says(server)["isAuthenticated"] is True
            asked = {seen.path for seen in here.github.seen}
            assert "/copilot_internal/user" not in asked
            assert "/models" in asked


@BOTH
def test_through_the_flag_a_classic_token_goes_to_github(version: str, tmp_path: Path) -> None:
    with place(version, tmp_path) as here:
        token = here.github.token("ghp")
        with here.server("--auth-token-env", "MINE", MINE=token) as server:
            found = here.look(CHECK, server)
            assert found["classic-by-flag"]["status"] == "warn"
            assert here.github.tokens_seen == [token]


def test_a_line_end_inside_of_the_token_shows_it_to_clients(tmp_path: Path) -> None:
    with place(OLDEST, tmp_path) as here:
        good = here.github.token()
        with (
            here.server(**{NAME: f"{good[:12]}\n{good[12:]}"}) as server,
            here.github.wire(server) as wire,
        ):
            wire.connect()
            said = wire.exchange("session.create", {})
            assert good[12:] in said["error"]["message"]
            found = here.look(CHECK, server)["line-end"]
            assert "puts the token itself into the error" in found["cause"]
            assert good[12:] not in str(found)
