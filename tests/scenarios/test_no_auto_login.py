"""--no-auto-login on a real server: what it takes away, and each printed way out of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.harness.cli import NEWEST, OLDEST
from tests.harness.doctor import evidence, fix
from tests.scenarios.place import place

if TYPE_CHECKING:
    from pathlib import Path

    from tests.scenarios.conftest import Proven

pytestmark = [pytest.mark.real, pytest.mark.namespace]

CHECK = "no-auto-login"
FLAG = "--no-auto-login"
BOTH = pytest.mark.parametrize("version", [OLDEST, NEWEST])


@BOTH
@pytest.mark.parametrize("chosen", ["drop-flag", "name-variable"])
@pytest.mark.parametrize("name", ["COPILOT_GITHUB_TOKEN", "GITHUB_TOKEN"])
def test_a_token_variable_is_not_read_until_the_flag_goes_or_names_it(
    version: str, chosen: str, name: str, tmp_path: Path, proven: Proven
) -> None:
    with place(version, tmp_path) as here:
        good = here.github.token()
        with here.server(FLAG, **{name: good}) as server:
            found = here.look(CHECK, server)["disables-variables"]
            assert here.github.tokens_seen == []
            assert found["status"] == "fail"
            assert f"launched with {FLAG}" in evidence(found)
            assert f"{name} of the server: gho, 40 characters, not read" in evidence(found)
            with here.pasted(fix(found, chosen), server) as now:
                assert here.says(server)["isAuthenticated"] is True
                assert here.github.tokens_seen == [good]
                assert here.look(CHECK, server, now) == {}
        proven(CHECK, chosen, version)


@BOTH
@pytest.mark.parametrize("named", [False, True])
def test_without_any_token_a_new_one_is_asked_for(
    version: str, named: bool, tmp_path: Path, proven: Proven
) -> None:
    with place(version, tmp_path) as here:
        flags = (FLAG, "--auth-token-env", "MINE") if named else (FLAG,)
        with here.server(*flags) as server:
            found = here.look(CHECK, server)["names-nothing" if named else "nothing-left"]
            assert '"Not authenticated"' in evidence(found)
            good = here.github.token("github_pat")
            with here.pasted(fix(found, "new-token"), server, answer=good) as now:
                assert now["MINE" if named else "COPILOT_GITHUB_TOKEN"] == good
                assert here.says(server)["isAuthenticated"] is True
                assert here.look(CHECK, server, now) == {}
        proven(CHECK, "new-token", version)


@BOTH
def test_a_stored_login_counts_again_without_the_flag(
    version: str, tmp_path: Path, proven: Proven
) -> None:
    with place(version, tmp_path) as here:
        stored = here.github.token(login="stored")
        home = tmp_path / "copilot"
        home.mkdir()
        who = {"host": "https://github.com", "login": "stored"}
        (home / "settings.json").write_text(json.dumps({"storeTokenPlaintext": True}))
        (home / "config.json").write_text(
            json.dumps(
                {
                    "lastLoggedInUser": who,
                    "loggedInUsers": [who],
                    "copilotTokens": {"https://github.com:stored": stored},
                }
            )
        )
        with here.server(FLAG, COPILOT_HOME=str(home)) as server:
            found = here.look(CHECK, server)["nothing-left"]
            assert here.github.tokens_seen == []
            with here.pasted(fix(found, "drop-flag-alone"), server) as now:
                assert here.says(server)["authType"] == "user"
                assert here.github.tokens_seen == [stored]
                assert here.look(CHECK, server, now) == {}
        proven(CHECK, "drop-flag-alone", version)


@BOTH
def test_a_session_with_its_own_token_needs_no_sign_in(version: str, tmp_path: Path) -> None:
    with place(version, tmp_path) as here:
        own = here.github.token(login="guest")
        with here.server(FLAG) as server, here.github.wire(server) as wire:
            wire.connect()
            wire.send(wire.create_session(model=None, gitHubToken=own))
            event = wire.wait_event("session.idle", "session.error", timeout_s=30)
            assert event.type == "session.idle", event
            assert set(here.github.tokens_seen) == {own}
            assert "own GitHub token" in here.look(CHECK, server)["nothing-left"]["detail"]
