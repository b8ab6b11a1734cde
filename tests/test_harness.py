"""The harness itself: each real part does what the other tests rely on."""

from __future__ import annotations

import json
import os
import socket
import sys
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.harness import MissingPartError
from tests.harness.cli import NEWEST, OLDEST, StartError, free_port, start_server
from tests.harness.model import API_KEY, Text, fake_model, touch
from tests.harness.netns import namespace
from tests.harness.sdk import LAST_FOR_OLD_CLI, NEW, OLD, idle_client, run_session, run_start
from tests.harness.wire import OLD_APPROVAL, Wire, WireError, run_tool

if TYPE_CHECKING:
    from pathlib import Path

    from tests.harness.cli import How
    from tests.harness.github import FakeGitHub

real = pytest.mark.real
in_namespace = pytest.mark.namespace


@real
def test_a_server_is_the_real_one_and_ends_with_its_children(cli_version: str) -> None:
    with start_server(cli_version) as server:
        assert server.addresses == ["127.0.0.1"]
        assert f"CLI server listening on port {server.port}" in server.stdout
        with Wire.open(server.port) as wire:
            assert wire.connect()["version"] == cli_version
        pids = server.pids
        assert pids == [server.wrapper.pid, server.listener_pid]
        home = server.home
    assert not any(psutil.pid_exists(pid) for pid in pids)
    assert not home.exists()
    assert "listening" in server.stdout  # what it said outlives it
    assert "SIGKILL" not in server.stderr


@real
def test_stop_also_ends_a_child_that_lost_its_wrapper() -> None:
    with start_server(NEWEST) as server:
        child = server.listener_pid
        server.wrapper.terminate()
        server.wrapper.wait(10)
        assert server.listener_pid == child
    assert not [pid for pid in (child,) if _runs(pid)]


@real
@pytest.mark.parametrize(
    ("how", "between"),
    [("native", 0), ("node", 1), ("bash", 2), ("bash-exec", 1), ("npx", 3), ("supervisord", 2)],
)
def test_every_way_to_start_is_that_way(how: How, between: int) -> None:
    with start_server(NEWEST, how=how) as server:
        assert len(server.pids) == between + 1
        assert psutil.Process(server.listener_pid).exe().endswith("/copilot")


@real
def test_a_start_that_fails_tells_everything() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with start_server(OLDEST, port=port, wait=False) as server:
            assert server.wait_exit() == 1
            assert f"address already in use 127.0.0.1:{port}" in server.stderr
        with (
            pytest.raises(StartError, match="os error 98"),
            start_server(NEWEST, port=port),
        ):
            pass


@real
def test_the_environment_of_a_server_is_made_from_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("GH_TOKEN", "gho_of_this_machine")
    with start_server(NEWEST, env={"COPILOT_MODEL": "some", "LANG": None}) as server:
        found = psutil.Process(server.listener_pid).environ()
    assert "GH_TOKEN" not in found
    assert found["HOME"] == str(server.home)
    assert found["COPILOT_MODEL"] == "some"
    assert "LANG" not in found


@real
@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() != 0, reason="needs root")
def test_a_server_can_belong_to_another_user(cli_version: str) -> None:
    with start_server(cli_version, user="nobody") as server:
        assert psutil.Process(server.listener_pid).username() == "nobody"


@real
def test_a_tool_runs_only_when_the_client_approves(cli_version: str, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    with start_server(cli_version) as server, fake_model(touch(mark)) as model:
        with Wire.open(server.port, approve=None) as wire:
            wire.connect()
            hung = run_tool(wire, model, mark, timeout_s=3)
        with Wire.open(server.port, approve=OLD_APPROVAL) as wire:
            wire.connect()
            refused = run_tool(wire, model, mark)
        with Wire.open(server.port) as wire:
            wire.connect()
            approved = run_tool(wire, model, mark)
    assert (hung.ran, hung.ended) == (False, None)
    assert (refused.ran, refused.ended) == (False, "session.idle")
    assert "unexpected user permission response" in refused.told_model[-1]
    assert (approved.ran, approved.ended) == (True, "session.idle")
    assert set(model.authorizations) == {f"Bearer {API_KEY}"}


@real
def test_an_error_answer_keeps_its_code(cli_version: str) -> None:
    with (
        start_server(cli_version, env={"COPILOT_CONNECTION_TOKEN": "right"}) as server,
        Wire.open(server.port) as wire,
    ):
        with pytest.raises(WireError, match="-32002 AUTHENTICATION_FAILED"):
            wire.connect("wrong")
        with Wire.open(server.port) as second:
            assert second.connect("right")["ok"]
            assert second.ping()["message"] == "pong: hello"


@real
def test_a_real_sdk_session_runs_a_tool(tmp_path: Path) -> None:
    with start_server(OLDEST) as server, fake_model(touch(tmp_path / "mark")) as model:
        result = run_session(LAST_FOR_OLD_CLI, server.url, model=model, limit_s=40)
    assert result.started
    assert result.returned
    assert result.answer == "done"
    assert (tmp_path / "mark").exists()


@real
def test_sdk_versions_that_do_not_fit_say_so(tmp_path: Path) -> None:
    with start_server(OLDEST) as server, fake_model(touch(tmp_path / "mark")) as model:
        assert str(run_start(OLD, server.url).start_error).startswith("ValueError: invalid literal")
        late = run_session(NEW, server.url, model=model, limit_s=40, sdk_timeout_s=6)
    assert late.send_error == "TimeoutError: Timeout after 6s waiting for session.idle"
    assert (tmp_path / "mark").exists()


@real
def test_an_idle_client_is_a_process_with_a_connection() -> None:
    with start_server(NEWEST) as server, idle_client(NEW, server.url) as client:
        (connection,) = psutil.Process(client.pid).net_connections("tcp")
        assert connection.raddr[1] == server.port
    assert not _runs(client.pid)


@in_namespace
@pytest.mark.usefixtures("needs_root_namespace")
def test_a_namespace_has_its_own_names_and_ports() -> None:
    port = free_port()
    code = "import socket; print(socket.gethostbyname('some.name.test'))"
    with namespace({"some.name.test": "203.0.113.7"}) as inside, inside.listen(port):
        with inside.connect(port):
            pass
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))
        done = inside.run([sys.executable, "-c", code], env={})
    assert (done.stdout, done.stderr) == ("203.0.113.7\n", "")


@real
@in_namespace
def test_a_signed_in_server_shows_which_token_it_sent(github: FakeGitHub, cli_version: str) -> None:
    token, other = github.token("gho", login="mona"), github.token("gho", login="other")
    env = {"COPILOT_GITHUB_TOKEN": token, "GH_TOKEN": other}
    with github.start_server(cli_version, env=env) as server, github.wire(server) as wire:
        wire.connect()
        assert wire.auth_status() == {
            "isAuthenticated": True,
            "authType": "env",
            "host": "https://github.com",
            "statusMessage": "mona (via COPILOT_GITHUB_TOKEN)",
            "login": "mona",
        }
        assert [m["id"] for m in wire.models()] == ["auto", "claude-sonnet-4.5", "gpt-5.2"]
        session = wire.create_session(model=None)
        wire.send(session)
        wire.wait_event("session.idle", timeout_s=20)
    assert github.tokens_seen == [token]


@real
@in_namespace
def test_a_refused_token_is_refused(github: FakeGitHub, cli_version: str) -> None:
    bad, classic = github.token("gho", status=401), github.token("ghp")
    for token, seen in ((bad, [bad]), (classic, [bad])):
        env = {"COPILOT_GITHUB_TOKEN": token}
        with github.start_server(cli_version, env=env) as server, github.wire(server) as wire:
            wire.connect()
            status = wire.auth_status()
            assert status == {"isAuthenticated": False, "statusMessage": "Not authenticated"}
            with pytest.raises(WireError, match="Not authenticated"):
                wire.models()
        assert github.tokens_seen == seen


@in_namespace
def test_a_command_runs_where_the_fake_is_github(github: FakeGitHub) -> None:
    code = (
        "import json, os, urllib.request as u;"
        "r = u.Request('https://api.github.com/user', headers={'Authorization': os.environ['A']});"
        "print(json.dumps(json.load(u.urlopen(r))['login']))"
    )
    token = github.token(login="octocat")
    done = github.run([sys.executable, "-c", code], env={"A": f"Bearer {token}"})
    assert done.stderr == ""
    assert json.loads(done.stdout) == "octocat"


def test_the_environment_of_the_tests_is_clean() -> None:
    names = [name for name in os.environ if name.startswith(("COPILOT_", "GH_", "GITHUB_"))]
    assert names == []


def test_a_missing_part_has_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with (
        pytest.raises(MissingPartError, match=r"CLI 0\.0\.1 is not in the cache"),
        start_server("0.0.1"),
    ):
        pass


def test_a_model_answers_by_the_script() -> None:
    with fake_model(Text("hello")) as model:
        body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "x"}]}).encode()
        head = f"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: {len(body)}\r\n"
        with socket.create_connection(("127.0.0.1", model.port)) as sock:
            sock.sendall(head.encode() + b"Connection: close\r\n\r\n" + body)
            answer = sock.makefile("rb").read()
    value = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert value["choices"][0]["message"] == {"role": "assistant", "content": "hello"}
    assert model.models == ["m"]


def _runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
