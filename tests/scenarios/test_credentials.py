"""Real servers that are not signed in, or not as they say: the reason, the words, and the cure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.harness.cli import NEWEST, OLDEST, start_server
from tests.harness.doctor import evidence, findings, fix, run_doctor
from tests.harness.wire import Wire
from tests.scenarios.place import place

if TYPE_CHECKING:
    from pathlib import Path

    from tests.scenarios.conftest import Proven

pytestmark = [pytest.mark.real, pytest.mark.namespace]

CHECK = "credentials"
NAME = "COPILOT_GITHUB_TOKEN"
BOTH = pytest.mark.parametrize("version", [OLDEST, NEWEST])


@pytest.mark.parametrize("version", ["1.0.2", "1.0.11", OLDEST, "1.0.73", "1.0.81", NEWEST])
def test_the_words_of_a_session_are_those_of_the_version(version: str, tmp_path: Path) -> None:
    with start_server(version) as server:
        report = run_doctor(
            "--select", CHECK, server.url, env=server.env, cwd=tmp_path, timeout_s=90
        )
        [found] = findings(report, CHECK, f"port {server.port} ")
        assert (found["cause_id"], found["status"]) == ("no-source", "fail")
        with Wire.open(server.port) as wire:
            wire.exchange("connect", {})
            wire.send(wire.create_session(model=None))
            if version == "1.0.2":
                assert "nothing ever arrives" in found["symptom"]
                with pytest.raises(TimeoutError):
                    wire.wait_event("session.error", "session.idle", timeout_s=5)
            else:
                event = wire.wait_event("session.error", "session.idle", timeout_s=30)
                assert event.type == "session.error"
                assert event.data["message"] == found["symptom"]


@BOTH
@pytest.mark.parametrize(
    ("flags", "cause", "name"),
    [
        ((), "no-source", NAME),
        (("--no-auto-login",), "by-flag", NAME),
        (("--auth-token-env", "MINE"), "named-variable-empty", "MINE"),
    ],
)
def test_a_server_without_a_sign_in_gets_one(  # noqa: PLR0917
    version: str, flags: tuple[str, ...], cause: str, name: str, tmp_path: Path, proven: Proven
) -> None:
    with place(version, tmp_path) as here, here.server(*flags) as server:
        found = here.look(CHECK, server)[cause]
        assert found["status"] == "fail"
        assert 'signed in: no: "Not authenticated"' in evidence(found)
        if cause == "named-variable-empty":
            assert "specified but not set or empty" in server.log
            assert "MINE" in found["title"]
        good = here.github.token("github_pat")
        with here.pasted(fix(found, "new-token"), server, answer=good) as now:
            assert now[name] == good
            assert here.says(server)["isAuthenticated"] is True
            assert here.github.tokens_seen == [good]
            assert here.look(CHECK, server, now) == {}
        proven(CHECK, "new-token", version)


@BOTH
@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_token_that_github_does_not_take_is_replaced(
    version: str, status: int, tmp_path: Path, proven: Proven
) -> None:
    with place(version, tmp_path) as here:
        bad = here.github.token(status=status)
        with here.server(**{NAME: bad}) as server:
            found = here.look(CHECK, server)["token-not-taken"]
            assert here.github.tokens_seen == [bad]
            assert "although COPILOT_GITHUB_TOKEN is set" in found["title"]
            assert "Failed to fetch" in found["detail"]
            assert "Failed to fetch PAT user login" in server.log
            good = here.github.token()
            with here.pasted(fix(found, "new-token"), server, answer=good) as now:
                assert here.says(server)["isAuthenticated"] is True
                assert here.look(CHECK, server, now) == {}
        proven(CHECK, "new-token", version)


@BOTH
def test_a_refused_token_is_replaced(version: str, tmp_path: Path) -> None:
    with (
        place(version, tmp_path) as here,
        here.server(GH_TOKEN=here.github.token("ghp")) as server,
    ):
        found = here.look(CHECK, server)["token-refused"]
        assert "the CLI refuses GH_TOKEN" in found["title"]
        good = here.github.token()
        with here.pasted(fix(found, "new-token"), server, answer=good) as now:
            assert now["GH_TOKEN"] == good
            assert here.look(CHECK, server, now) == {}


@BOTH
def test_offline_mode_keeps_it_signed_out_and_its_provider_unused(
    version: str, tmp_path: Path, proven: Proven
) -> None:
    with place(version, tmp_path) as here:
        env = {
            NAME: here.github.token(),
            "COPILOT_OFFLINE": "true",
            "COPILOT_PROVIDER_BASE_URL": "http://127.0.0.1:9/v1",
            "COPILOT_MODEL": "some-model",
        }
        with here.server(**env) as server:
            found = here.look(CHECK, server)
            assert set(found) == {"offline", "provider-variables"}
            assert here.github.tokens_seen == []
            assert "COPILOT_OFFLINE of the server: true" in evidence(found["offline"])
            with here.pasted(fix(found["offline"], "go-online"), server) as now:
                assert here.says(server)["isAuthenticated"] is True
                assert here.github.tokens_seen == [env[NAME]]
                assert set(here.look(CHECK, server, now)) == {"provider-variables"}
        proven(CHECK, "go-online", version)


def test_via_gh_without_gh_is_another_variable(tmp_path: Path, proven: Proven) -> None:
    with place(NEWEST, tmp_path) as here:
        good = here.github.token()
        with here.server(**{NAME: here.github.token(status=401), "GH_TOKEN": good}) as server:
            found = here.look(CHECK, server)["via-gh-without-gh"]
            assert found["status"] == "warn"
            assert "(via gh)" in evidence(found)
            with here.pasted(fix(found, "drop-first"), server) as now:
                assert here.says(server)["statusMessage"] == "mona (via GH_TOKEN)"
                assert here.github.tokens_seen == [good]
                assert here.look(CHECK, server, now) == {}
        proven(CHECK, "drop-first", NEWEST)


@BOTH
def test_a_sign_in_without_models_is_a_failure(version: str, tmp_path: Path) -> None:
    with place(version, tmp_path) as here:
        token = here.github.token(models_status=403, message="access denied by policy")
        with here.server(**{NAME: token}) as server:
            assert here.says(server)["isAuthenticated"] is True
            found = here.look(CHECK, server)["signed-in-without-models"]
            assert found["status"] == "fail"
            good = here.github.token()
            with here.pasted(fix(found, "new-token"), server, answer=good) as now:
                assert here.look(CHECK, server, now) == {}


def test_what_a_server_says_may_come_from_a_cache(tmp_path: Path) -> None:
    with place(NEWEST, tmp_path) as here:
        token = here.github.token()
        home = tmp_path / "home"
        with here.github.start_server(NEWEST, env={NAME: token}, home=home) as server:
            assert here.look(CHECK, server) == {}
        here.github.accounts.clear()  # from now on GitHub does not know the token
        with here.github.start_server(NEWEST, env={NAME: token}, home=home) as server:
            assert here.says(server)["isAuthenticated"] is True
            assert here.look(CHECK, server)["signed-in-without-models"]["status"] == "fail"
