"""Which model a real server asks for, whatever its flags say, and the cure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.harness.cli import NEWEST, OLDEST, start_server
from tests.harness.doctor import evidence, fix
from tests.harness.github import MODELS
from tests.harness.model import fake_model
from tests.harness.wire import Wire
from tests.scenarios.place import Place, place

if TYPE_CHECKING:
    from pathlib import Path

    from tests.harness.cli import RunningServer
    from tests.scenarios.conftest import Proven

pytestmark = [pytest.mark.real, pytest.mark.namespace]

CHECK = "model"
TOKEN = "COPILOT_GITHUB_TOKEN"
BOTH = pytest.mark.parametrize("version", [OLDEST, NEWEST])


def asked_for(here: Place, server: RunningServer, model: str | None = None) -> str:
    """The model that a session really asks for."""
    here.github.model.requests.clear()
    with Wire(here.github.namespace.connect(server.port)) as wire:
        wire.connect()
        wire.send(wire.create_session(model=model))
        event = wire.wait_event("session.idle", "session.error", timeout_s=40)
        assert event.type == "session.idle", event
    return here.github.model.models[0]


@BOTH
def test_the_flag_has_no_effect_and_the_variable_has(
    version: str, tmp_path: Path, proven: Proven
) -> None:
    with place(version, tmp_path) as here:
        env = {TOKEN: here.github.token()}
        with here.server(**env) as server:
            default = asked_for(here, server)
        wanted = next(name for name in MODELS if name != default)
        with here.server("--model", wanted, **env) as server:
            assert asked_for(here, server) == default
            found = here.look(CHECK, server)["flag-ignored"]
            assert found["status"] == "warn"
            assert f"launched with --model {wanted}" in evidence(found)
            with here.pasted(fix(found, "use-variable"), server) as now:
                assert asked_for(here, server) == wanted
                assert here.look(CHECK, server, now) == {}
        proven(CHECK, "use-variable", version)


@BOTH
@pytest.mark.parametrize(("chosen", "right"), [("use-variable", 0), ("drop-flag", 1)])
def test_the_variable_counts_where_both_differ(
    version: str, chosen: str, right: int, tmp_path: Path, proven: Proven
) -> None:
    with place(version, tmp_path) as here:
        flag, variable = MODELS
        env = {TOKEN: here.github.token(), "COPILOT_MODEL": variable}
        with here.server(f"--model={flag}", **env) as server:
            assert asked_for(here, server) == variable
            assert asked_for(here, server, flag) == flag  # the session's own wins
            found = here.look(CHECK, server)["flag-and-variable"]
            with here.pasted(fix(found, chosen), server) as now:
                assert asked_for(here, server) == MODELS[right]
                assert here.look(CHECK, server, now) == {}
        proven(CHECK, chosen, version)


@BOTH
@pytest.mark.parametrize("name", ["no-such-model", "GPT-5.2", " gpt-5.2", "gpt-5.2 "])
def test_a_model_that_is_not_offered_is_passed_over(
    version: str, name: str, tmp_path: Path, proven: Proven
) -> None:
    with place(version, tmp_path) as here:
        token = here.github.token()
        with here.server(**{TOKEN: token}) as server:
            default = asked_for(here, server)
        with here.server(**{TOKEN: token, "COPILOT_MODEL": name}) as server:
            assert asked_for(here, server) == default
            found = here.look(CHECK, server)["not-offered"]
            assert found["status"] == "fail"
            assert all(model in evidence(found) for model in MODELS)
            with here.pasted(fix(found, "offered-model"), server) as now:
                assert asked_for(here, server) == now["COPILOT_MODEL"]
                assert here.look(CHECK, server, now) == {}
        proven(CHECK, "offered-model", version)


@BOTH
def test_a_session_that_names_no_offered_model_is_refused(version: str, tmp_path: Path) -> None:
    with (
        place(version, tmp_path) as here,
        here.server(**{TOKEN: here.github.token()}) as server,
        here.github.wire(server) as wire,
    ):
        wire.connect()
        said = wire.exchange("session.create", {"model": "no-such-model"})["error"]["message"]
        assert 'Model "no-such-model" is not available.' in said


@pytest.mark.parametrize("version", ["1.0.32", OLDEST, NEWEST])
def test_a_session_with_a_provider_needs_a_model_by_version(version: str) -> None:
    with fake_model() as model, start_server(version) as server, Wire.open(server.port) as wire:
        wire.exchange("connect", {})
        wire.send(wire.create_session(model.provider, model=None))
        event = wire.wait_event("session.idle", "session.error", timeout_s=30)
        if version == NEWEST:
            assert model.models[0] == "claude-sonnet-4"
        else:
            assert "No model available. Check policy enablement" in event.data["message"]
