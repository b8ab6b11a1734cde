"""Addresses: read as the SDK reads them, and never kept with a secret in them."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from doctor.deployment import Origin, Resolution, Target
from doctor.deployment.targets import container_network, parse_target, sdk_objection
from doctor.redaction import printable

HERE = Origin(kind="target", name="argument")


def parse(text: str) -> Target:
    return parse_target(text, HERE)


@pytest.mark.parametrize(
    ("text", "host", "port", "scheme"),
    [
        ("127.0.0.1:3000", "127.0.0.1", 3000, ""),
        ("copilot:3000", "copilot", 3000, ""),
        ("copilot_cli-1:3000", "copilot_cli-1", 3000, ""),
        ("copilot.default.svc.cluster.local.:3000", "copilot.default.svc.cluster.local.", 3000, ""),
        ("3000", "localhost", 3000, ""),
        (":3000", "localhost", 3000, ""),
        ("http://localhost:3000", "localhost", 3000, "http"),
        ("https://localhost:3000", "localhost", 3000, "https"),
        ("http://3000", "localhost", 3000, "http"),
        ("[::1]:3000", "::1", 3000, ""),
        ("http://[fd00::5]:3000", "fd00::5", 3000, "http"),
        ("[fe80::1%eth0]:3000", "fe80::1%eth0", 3000, ""),
        ("localhost:3000\n", "localhost", 3000, ""),
        ("bücher.example:1", "bücher.example", 1, ""),
        ("localhost:65535", "localhost", 65535, ""),
    ],
)
def test_what_the_sdk_takes(text: str, host: str, port: int, scheme: str) -> None:
    target = parse(text)
    assert target.problem == ""
    assert (target.host, target.port, target.scheme) == (host, port, scheme)
    assert sdk_objection(target) == ""
    assert target.text == text.rstrip()
    assert target.origin == HERE


@pytest.mark.parametrize(
    ("text", "host", "objection"),
    [
        ("tcp://copilot:3000", "copilot", "takes http://, https:// or nothing"),
        ("HTTP://copilot:3000", "copilot", "takes http://, https:// or nothing"),
        ("http://copilot:3000/", "copilot", "the / at the end"),
        ("copilot:3000/", "copilot", "the / at the end"),
        ("http://user:pass@copilot:3000", "copilot", "no user name or password"),
    ],
)
def test_what_only_the_doctor_takes(text: str, host: str, objection: str) -> None:
    target = parse(text)
    assert (target.problem, target.host, target.port) == ("", host, 3000)
    assert objection in sdk_objection(target)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "empty"),
        ("  ", "empty"),
        ("http://", "no host and no port"),
        ("copilot", "no port"),
        ("127.0.0.1", "no port"),
        ("copilot:", "no port"),
        ("[::1]", "no port"),
        ("http://copilot", "no port"),
        ("copilot:http", "no port number"),
        ("copilot:²", "no port number"),
        ("²", "no port number"),
        ("127.0.0.1:99999", "from 1 to 65535"),
        ("127.0.0.1:0", "from 1 to 65535"),
        ("127.0.0.1:-1", "from 1 to 65535"),
        ("0", "from 1 to 65535"),
        ("9" * 5000, "characters long"),
        ("9" * 900, "from 1 to 65535"),
        ("copilot:3000/path", "path"),
        ("http://127.0.0.1:25000/foo", "path"),
        ("copilot:3000?token=x", "path"),
        ("copi lot:3000", "white space"),
        (" copilot:3000", "white space"),
        ("copilot: 3000", "white space"),
        ("3000\n", "white space"),
        ("copi\x1blot:3000", "control"),
        ("copi\x00lot:3000", "control"),
        ('"copilot:3000"', "quotes"),
        ("'copilot:3000'", "quotes"),
        ("${COPILOT_HOST}:3000", "not filled in"),
        ("$COPILOT_HOST:3000", "not filled in"),
        ("<host>:3000", "not filled in"),
        ("::1:3000", "brackets"),
        ("fd00::5", "brackets"),
        ("[127.0.0.1]:3000", "IPv6"),
        ("[::1:3000", "IPv6"),
        ("copilot:3000:3001", "more than one colon"),
        ("copi*lot:3000", "contains *"),
        ("copilot..local:3000", "two dots"),
        (".copilot:3000", "two dots"),
        ("a" * 64 + ":3000", "too long"),
        (".".join(["abcdefgh"] * 40) + ":3000", "too long"),
        ("ghp_" + "a1B2" * 9 + ":3000", "token"),
        ("\ud800:3000", "control"),
    ],
)
def test_what_is_no_address(text: str, problem: str) -> None:
    target = parse(text)
    assert problem in target.problem
    assert "\n" not in target.problem
    assert sdk_objection(target) == ""


def test_host_and_port_of_a_target_with_a_path_are_known() -> None:
    target = parse("copilot:3000/v1?key=s3cr3t")
    assert (target.host, target.port) == ("copilot", 3000)
    assert target.text == "copilot:3000/…"


SECRET = "Hunter2Canary7Secret"


@pytest.mark.parametrize(
    "text",
    [
        f"http://user:{SECRET}@copilot:3000",
        f"http://{SECRET}@copilot:3000",
        f"{SECRET}@copilot:3000",
        f"copilot:3000/{SECRET}",
        f"copilot:3000?{SECRET}",
        f"copilot:3000#{SECRET}",
        f"http://user:p/{SECRET}@copilot:3000",
        f"http://user:p@{SECRET}@copilot:3000",
        f"http://user:{SECRET}@",
        f"ghp_{SECRET}:3000",
        f"copilot:3000/?token={SECRET}",
        f"copilot:gho_{SECRET}",
    ],
)
def test_a_secret_in_it_is_not_kept(text: str) -> None:
    assert SECRET not in repr(parse(text))


@given(st.text())
def test_it_never_raises(text: str) -> None:
    target = parse(text)
    assert target.problem or (target.host and target.port)
    assert target.text == printable(target.text, 5_000)
    msgspec.json.encode(msgspec.structs.replace(target, host=target.host or "x"))


@given(
    st.text(max_size=30),
    st.text(min_size=8, max_size=20, alphabet=st.characters(exclude_characters="@")),
    st.sampled_from(["http://", "", "tcp://"]),
    st.sampled_from(["copilot:3000", "copilot", "[::1]:3000", ""]),
)
def test_userinfo_is_never_kept(user: str, password: str, scheme: str, rest: str) -> None:
    target = parse(f"{scheme}{user}:{password}@{rest}")
    shown = target.text.replace("[redacted, ", "").replace(" characters]", "")
    assert password not in shown
    assert password not in target.host
    assert password not in target.problem


@given(
    st.from_regex(r"[a-z][a-z0-9-]{0,20}[a-z0-9](\.[a-z]{2,9})?", fullmatch=True),
    st.integers(min_value=1, max_value=65535),
)
def test_a_good_address_comes_back_as_it_was(host: str, port: int) -> None:
    target = parse(f"{host}:{port}")
    assert (target.text, target.host, target.port) == (f"{host}:{port}", host, port)
    assert target.problem == ""


@pytest.mark.parametrize(
    ("servers", "search", "network"),
    [
        (("127.0.0.11",), (), "docker"),
        (("10.89.0.1",), ("dns.podman",), "podman"),
        (
            ("10.96.0.10",),
            ("default.svc.cluster.local", "svc.cluster.local", "cluster.local"),
            "kubernetes",
        ),
        (("192.168.1.1",), ("home.arpa",), ""),
        ((), (), ""),
    ],
)
def test_container_network(servers: tuple[str, ...], search: tuple[str, ...], network: str) -> None:
    resolution = Resolution(name="copilot", name_servers=servers, search=search)
    assert container_network(resolution) == network
