"""Several tokens, none, or the wrong names: which one a real server sends, and the cure."""

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

CHECK = "token-precedence"
COPILOT, GH, GITHUB = "COPILOT_GITHUB_TOKEN", "GH_TOKEN", "GITHUB_TOKEN"
BOTH = pytest.mark.parametrize("version", [OLDEST, NEWEST])


@BOTH
def test_the_first_token_is_sent_and_either_can_be_made_to_count(
    version: str, tmp_path: Path, proven: Proven
) -> None:
    with place(version, tmp_path) as here:
        env = {COPILOT: here.github.token(login="one"), GH: here.github.token(login="two")}
        for chosen, name in (("drop-shadowed", COPILOT), ("prefer-other", GH)):
            here.github.seen.clear()
            with here.server(**env, **{GITHUB: env[GH]}) as server:
                found = here.look(CHECK, server)["shadowed"]
                assert here.github.tokens_seen == [env[COPILOT]]
                assert found["status"] == "warn"
                assert '"one (via COPILOT_GITHUB_TOKEN)"' in evidence(found)
                with here.pasted(fix(found, chosen), server) as now:
                    assert here.says(server)["isAuthenticated"] is True
                    assert here.github.tokens_seen == [env[name]]
                    assert here.look(CHECK, server, now) == {}
            proven(CHECK, chosen, version)


@BOTH
@pytest.mark.parametrize("first", [COPILOT, GH])
def test_a_refused_token_blocks_the_next_one_by_version(
    version: str, first: str, tmp_path: Path, proven: Proven
) -> None:
    with place(version, tmp_path) as here:
        good = here.github.token()
        env = {first: here.github.token("ghp"), GITHUB: good}
        with here.server(**env) as server:
            found = here.look(CHECK, server)["blocked"]
            if version == NEWEST and first == COPILOT:
                assert here.github.tokens_seen == [good]
                assert here.says(server)["authType"] == "gh-cli"
                assert found["status"] == "warn"
                assert "GITHUB_TOKEN is taken in its place" in found["title"]
            else:
                assert here.github.tokens_seen == []
                assert found["status"] == "fail"
                assert "keeps GITHUB_TOKEN from being read" in found["title"]
            with here.pasted(fix(found, "drop-refused"), server) as now:
                assert here.says(server)["statusMessage"] == "mona (via GITHUB_TOKEN)"
                assert here.look(CHECK, server, now) == {}
        proven(CHECK, "drop-refused", version)


@BOTH
@pytest.mark.parametrize("chosen", ["rename", "name-it"])
def test_a_look_alike_is_not_read_until_it_is_renamed_or_named(
    version: str, chosen: str, tmp_path: Path, proven: Proven
) -> None:
    with place(version, tmp_path) as here:
        good = here.github.token()
        with here.server(GITHUB_COPILOT_TOKEN=good) as server:
            found = here.look(CHECK, server)["look-alike"]
            assert here.github.tokens_seen == []
            assert found["status"] == "fail"
            assert "GITHUB_COPILOT_TOKEN of the server (not read)" in evidence(found)
            with here.pasted(fix(found, chosen), server) as now:
                assert here.says(server)["isAuthenticated"] is True
                assert here.github.tokens_seen == [good]
                assert here.look(CHECK, server, now) == {}
        proven(CHECK, chosen, version)


@BOTH
@pytest.mark.parametrize("before", [False, True])
def test_a_token_that_is_exported_afterwards_needs_a_restart(
    version: str, before: bool, tmp_path: Path, proven: Proven
) -> None:
    with place(version, tmp_path) as here:
        old, new = here.github.token(login="old"), here.github.token(login="new")
        with here.server(**({COPILOT: old} if before else {})) as server:
            shell = server.env | {COPILOT: new}
            cause, status = ("other-than-here", "warn") if before else ("exported-later", "fail")
            found = here.look(CHECK, server, shell)[cause]
            assert here.github.tokens_seen == ([old] if before else [])
            assert found["status"] == status
            assert f"{COPILOT} of this shell" in evidence(found)
            with here.pasted(fix(found, "restart-here"), server, shell=shell) as now:
                assert here.says(server)["login"] == "new"
                assert here.github.tokens_seen == [new]
                assert here.look(CHECK, server, now) == {}
        proven(CHECK, "restart-here", version)


@BOTH
def test_an_empty_token_is_filled_in(version: str, tmp_path: Path, proven: Proven) -> None:
    with place(version, tmp_path) as here, here.server(**{GITHUB: ""}) as server:
        found = here.look(CHECK, server)["empty"]
        assert found["status"] == "fail"
        good = here.github.token("github_pat")
        with here.pasted(fix(found, "new-token"), server, answer=good) as now:
            assert here.says(server)["statusMessage"] == "mona (via GITHUB_TOKEN)"
            assert here.look(CHECK, server, now) == {}
        proven(CHECK, "new-token", version)


@BOTH
def test_an_empty_token_is_skipped(version: str, tmp_path: Path) -> None:
    with place(version, tmp_path) as here:
        good = here.github.token()
        with here.server(**{COPILOT: "", GH: good}) as server:
            assert here.look(CHECK, server) == {}
            assert here.github.tokens_seen == [good]


@BOTH
def test_the_flag_comes_before_all_variables(version: str, tmp_path: Path) -> None:
    with place(version, tmp_path) as here:
        named = here.github.token()
        env = {"MINE": named, COPILOT: here.github.token(), GH: here.github.token()}
        with here.server("--auth-token-env", "MINE", **env) as server:
            assert here.look(CHECK, server) == {}
            assert here.github.tokens_seen == [named]
