"""Planted secrets must not come out, whatever is run, in whatever format, also when it breaks."""

import contextlib
import json
import os
import secrets
import socket
import string
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from doctor.catalogue.registry import all_checks
from doctor.cli import app
from doctor.deployment import Deployment
from doctor.deployment.values import describe_all
from doctor.redaction import Vault

KINDS = ("gho_", "ghu_", "ghs_", "ghp_", "github_pat_", "", "sk-")
NAMES = (
    "COPILOT_GITHUB_TOKEN",
    "GH_TOKEN",
    "GITHUB_TOKEN",
    "COPILOT_CONNECTION_TOKEN",
    "COPILOT_PROVIDER_API_KEY",
    "COPILOT_SDK_AUTH_TOKEN",
    "GITHUB_COPILOT_TOKEN",
    "MY_DB_PASSWORD",
    "AWS_SECRET_ACCESS_KEY",
    "HTTPS_PROXY",
)
COMMANDS = (
    ("check",),
    ("check", "--json"),
    ("check", "--verbose"),
    ("check", "--quiet"),
    ("check", "--json", "--verbose"),
    ("checks",),
    ("checks", "--json"),
    ("explain", "connection-token"),
    ("explain", "credentials", "--json"),
)


def canary(kind: str = "") -> str:
    return kind + "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(32))


def environment() -> dict[str, str]:
    planted = {name: canary(kind) for name, kind in zip(NAMES, KINDS * 2, strict=False)}
    planted["HTTPS_PROXY"] = f"http://user:{canary()}@127.0.0.1:9"
    return planted


def pieces(values: dict[str, str]) -> list[str]:
    """Return what must not be found: each value, and a part of it that is long enough to tell."""
    bare = [value.split("@")[0].split(":")[-1] for value in values.values()]
    return [*bare, *(value[-16:] for value in bare)]


def assert_clean(text: str, forbidden: list[str]) -> None:
    found = [number for number, piece in enumerate(forbidden) if piece in text]
    assert not found, f"{len(found)} planted secrets came out"


@contextlib.contextmanager
def talkative_server(message: str) -> Iterator[int]:
    """Serve JSON-RPC errors whose message is full of secrets and echoes what was sent."""
    listener = socket.create_server(("127.0.0.1", 0))
    over = threading.Event()

    def answer(peer: socket.socket) -> None:
        with peer, contextlib.suppress(OSError):
            peer.settimeout(5)
            while data := peer.recv(65536):
                error = {"code": -32603, "message": f"{message} you sent {data.decode()}"}
                for number in range(1, 9):
                    body = json.dumps({"jsonrpc": "2.0", "id": number, "error": error}).encode()
                    peer.sendall(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))

    def accept() -> None:
        while not over.is_set():
            with contextlib.suppress(OSError):
                threading.Thread(target=answer, args=(listener.accept()[0],), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        over.set()
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(timeout=5)


@contextlib.contextmanager
def process_full_of_secrets(tmp_path: Path, values: dict[str, str]) -> Iterator[int]:
    """Hold a port by a process with secrets in its environment, its arguments and its name."""
    name = tmp_path / values["GH_TOKEN"][:15]
    name.symlink_to(sys.executable)
    script = (
        "import socket, sys, pathlib\n"
        "pathlib.Path('/proc/self/comm').write_text(sys.argv[1])\n"
        "held = socket.create_server(('127.0.0.1', 0))\n"
        "print(held.getsockname()[1], flush=True)\n"
        "sys.stdin.read()\n"
    )
    arguments = [
        values["GH_TOKEN"][:15],
        "--token",
        values["COPILOT_CONNECTION_TOKEN"],
        f"--api-key={values['COPILOT_PROVIDER_API_KEY']}",
        values["COPILOT_GITHUB_TOKEN"],
        f"MY_DB_PASSWORD={values['MY_DB_PASSWORD']}",
        values["HTTPS_PROXY"],
        "--header",
        f"Authorization: Bearer {values['GITHUB_TOKEN']}",
    ]
    process = subprocess.Popen(
        [sys.executable, "-c", script, *arguments],
        env={**os.environ, **values},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline())
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_no_command_shows_a_secret(tmp_path: Path, command: tuple[str, ...]) -> None:
    values = environment()
    # Nobody told the doctor these: only their shape gives them away.
    unknown = {"token": canary("gho_"), "uuid": "0b7a7e9c-3a53-4c1e-9a55-6f2f7e3b1c5d"}
    home = tmp_path / "home"
    (home / ".copilot").mkdir(parents=True)
    stored = canary("gho_")
    (home / ".copilot/config.json").write_text(
        json.dumps({"copilotTokens": {"github.com": stored}})
    )
    message = " ".join([*values.values(), *unknown.values(), "\x1b[31m"])
    with (
        process_full_of_secrets(tmp_path, values) as held,
        talkative_server(message) as port,
    ):
        files = []
        if command[0] == "check":
            files = [
                f"--output=json={tmp_path / 'out.json'}",
                f"--output=terminal={tmp_path / 'out'}",
            ]
            command = (*command, f"127.0.0.1:{port}", "--port", str(held), "--timeout", "3", *files)
        result = subprocess.run(
            [sys.executable, "-m", "doctor", *command],
            env={**os.environ, **values, "HOME": str(home)},
            capture_output=True,
            timeout=120,
            check=False,
        )

    written = "".join(path.read_text() for path in tmp_path.glob("out*"))
    output = (result.stdout + result.stderr).decode() + written
    assert result.stdout
    assert bool(files) == bool(written)
    assert_clean(output, [*pieces(values), *pieces(unknown), stored])


def test_a_broken_check_shows_no_secret(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    values = environment()
    for name, value in values.items():
        monkeypatch.setenv(name, value)

    def breaks(_: Deployment) -> Iterator[None]:
        raise RuntimeError(" ".join(values.values()))
        yield

    checks = tuple(msgspec.structs.replace(check, judge=breaks) for check in all_checks())
    monkeypatch.setattr("doctor.cli.check.all_checks", lambda: checks)

    for options in (["--json"], ["--verbose"], []):
        assert app.run(["check", *options]) == 4
    shown = capfd.readouterr()
    assert_clean(shown.out + shown.err, pieces(values))


def test_a_doctor_that_fails_as_a_whole_shows_no_secret(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    values = environment()

    def breaks(*_: object, **__: object) -> None:
        raise RuntimeError(" ".join(values.values()))

    monkeypatch.setattr("doctor.sources.machine.look", breaks)

    assert app.run(["check"]) == 4
    shown = capfd.readouterr()
    assert "the doctor itself failed" in shown.err
    assert "Traceback" not in shown.err
    assert_clean(shown.out + shown.err, pieces(values))


VALUES = st.text(
    alphabet=st.characters(blacklist_categories=("Cs", "Cc")), min_size=8, max_size=60
).filter(lambda value: len(set(value)) > 4)


@given(value=VALUES, name=st.sampled_from(NAMES))
@settings(max_examples=200)
def test_an_environment_keeps_no_value(value: str, name: str) -> None:
    environment = describe_all({name: value}, Vault())

    assert value not in msgspec.json.encode(environment).decode()


@given(value=VALUES, name=st.sampled_from(NAMES[:-1]), around=st.text(max_size=20))
def test_a_known_value_does_not_come_back_in_another_text(
    value: str, name: str, around: str
) -> None:
    vault = Vault()
    describe_all({name: value}, vault)

    for text in (value, f"{around}{value}{around}", f"--x={value}", f" {value} "):
        assert value not in vault.outside(text, 10_000)


def test_a_deployment_refuses_a_value() -> None:
    from doctor.deployment import Variable

    with pytest.raises(ValueError, match="GH_TOKEN"):
        Variable(name="GH_TOKEN", kind="gho", length=40, text=canary("gho_"))


def test_nothing_prints_but_the_command_line() -> None:
    root = Path(app.__file__).parent.parent
    for path in root.rglob("*.py"):
        if "cli" not in path.parts:
            text = path.read_text()
            assert " print(" not in text, path
            assert "sys.exit" not in text, path
