"""Names become addresses, or it is said where they got lost."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from doctor.deployment import Resolution
from doctor.probes.resolve import (
    MOST_ADDRESSES,
    MOST_NEARBY,
    Places,
    ResolvConf,
    candidates,
    read_resolv_conf,
    resolve,
    variants,
)
from tests.harness.dns import NameServer, dnsmasq, hosts_file, misbehaving, resolv_conf
from tests.harness.netns import namespace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.harness.dns import Manner


def nobody(_name: str) -> list[str]:
    """A system resolver that knows no name."""
    raise socket.gaierror(-2, "Name or service not known")


@pytest.fixture(scope="module")
def compose() -> Iterator[NameServer]:
    """The name server of a Compose network with the services copilot and api."""
    records = {
        "copilot": "172.20.0.2",
        "copilot-cli": "172.20.0.7",
        "api": "172.20.0.3",
        "six": "fd00::6",
        "both": ["172.20.0.4", "fd00::4"],
        "copilot.corp.test": "203.0.113.9",
        "deep.svc.corp.test": "10.0.0.5",
    }
    with dnsmasq(records, cnames={"web": "copilot"}) as server:
        yield server


def places(folder: Path, *servers: NameServer, search: str = "", options: str = "") -> Places:
    return Places(
        hosts=hosts_file(folder, {"listed": "10.9.9.9", "copilott": "10.9.9.8"}),
        resolv_conf=resolv_conf(folder, *servers, search=search, options=options),
        dns_port=servers[0].port if servers else 1,
        system=nobody,
    )


def told(resolution: Resolution) -> dict[tuple[str, str, str], str]:
    return {(item.source, item.name, item.kind): item.answer for item in resolution.lookups}


# Without DNS


@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("::1", "::1"),
        ("2130706433", "127.0.0.1"),
        ("127.1", "127.0.0.1"),
    ],
)
def test_an_address_is_itself(name: str, address: str) -> None:
    resolution = resolve(name, places=Places(system=lambda _: pytest.fail("asked")))
    assert resolution.addresses == (address,)
    [lookup] = resolution.lookups
    assert (lookup.source, lookup.answer) == ("literal", "found")


def test_localhost_needs_no_dns(tmp_path: Path) -> None:
    resolution = resolve("localhost", places=Places(hosts=hosts_file(tmp_path)))
    assert "127.0.0.1" in resolution.addresses
    assert [lookup.source for lookup in resolution.lookups] == ["hosts file", "system"]
    assert resolution.lookups[0].addresses == ("127.0.0.1", "::1")


def test_the_hosts_file_needs_no_dns(tmp_path: Path) -> None:
    given = Places(
        hosts=hosts_file(tmp_path, {"Copilot": "10.9.9.9"}),
        resolv_conf=resolv_conf(tmp_path, "127.0.0.99"),
        system=lambda _: ["10.9.9.9"],
    )
    resolution = resolve("copilot", places=given)
    assert resolution.addresses == ("10.9.9.9",)
    assert [lookup.source for lookup in resolution.lookups] == ["hosts file", "system"]
    assert resolution.name_servers == ("127.0.0.99",)


def test_dns_is_imported_only_to_ask(tmp_path: Path) -> None:
    hosts = str(hosts_file(tmp_path))
    code = (
        "import sys; from pathlib import Path; from doctor.probes.resolve import Places, resolve\n"
        f"resolve('127.0.0.1'); resolve('localhost', places=Places(hosts=Path({hosts!r})))\n"
        "heavy = {'dns', 'asyncio', 'ssl', 'difflib', 'encodings.idna'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_what_is_no_name_is_not_asked_for() -> None:
    resolution = resolve("a..b", places=Places(system=lambda _: pytest.fail("asked")))
    assert resolution.addresses == ()
    assert resolution.lookups[0].answer == "error"


def test_without_resolver_settings_only_the_system_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    resolution = resolve("copilot", places=Places(hosts=hosts_file(tmp_path), system=nobody))
    assert [lookup.source for lookup in resolution.lookups] == ["hosts file", "system"]
    system = resolution.lookups[-1]
    assert (system.answer, system.detail) == ("nxdomain", "[Errno -2] Name or service not known")
    assert resolution.name_servers == ()


def test_an_unreadable_hosts_file_is_told(tmp_path: Path) -> None:
    resolution = resolve("localhost", places=Places(hosts=tmp_path / "none"))
    assert resolution.lookups[0].answer == "error"
    assert "none" in resolution.lookups[0].detail


# Step by step


def test_a_service_name(tmp_path: Path, compose: NameServer) -> None:
    given = places(tmp_path, compose)._replace(system=lambda _: ["172.20.0.2"])
    resolution = resolve("copilot", places=given)
    assert resolution.addresses == ("172.20.0.2",)
    assert told(resolution) == {
        ("hosts file", "copilot", "any"): "nxdomain",
        (compose.address, "copilot", "A"): "found",
        (compose.address, "copilot", "AAAA"): "no-data",
        ("system", "copilot", "any"): "found",
    }
    assert resolution.nearby == ()


def test_only_ipv6(tmp_path: Path, compose: NameServer) -> None:
    answers = told(resolve("six", places=places(tmp_path, compose)))
    assert answers[compose.address, "six", "A"] == "no-data"
    assert answers[compose.address, "six", "AAAA"] == "found"


def test_an_alias(tmp_path: Path, compose: NameServer) -> None:
    resolution = resolve("web", places=places(tmp_path, compose))
    [found] = [item for item in resolution.lookups if item.answer == "found"]
    assert (found.addresses, found.detail) == (("172.20.0.2",), "alias of copilot")


def test_search_domains_in_their_order(tmp_path: Path, compose: NameServer) -> None:
    given = places(tmp_path, compose, search="home.test corp.test")
    resolution = resolve("copilot", places=given)
    asked = [item.name for item in resolution.lookups if item.kind == "A"]
    assert asked == ["copilot.home.test", "copilot.corp.test"]  # and not the bare name any more
    assert resolution.lookups[-3].addresses == ("203.0.113.9",)
    assert resolution.search == ("home.test", "corp.test")


def test_ndots(tmp_path: Path, compose: NameServer) -> None:
    few = resolve("deep.svc", places=places(tmp_path, compose, search="corp.test"))
    many = resolve(
        "deep.svc", places=places(tmp_path, compose, search="corp.test", options="ndots:5")
    )
    assert [i.name for i in few.lookups if i.kind == "A"] == ["deep.svc", "deep.svc.corp.test"]
    assert [i.name for i in many.lookups if i.kind == "A"] == ["deep.svc.corp.test"]


def test_nobody_knows_it(tmp_path: Path, compose: NameServer) -> None:
    resolution = resolve("nothing.example", places=places(tmp_path, compose))
    assert resolution.addresses == ()
    assert set(told(resolution).values()) == {"nxdomain"}


# What was meant


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("copilot_cli", "copilot-cli"),
        ("copilots", "copilot"),
        ("apis", "api"),
        ("myproject-copilot-1", "copilot"),
        ("myproject_api_1", "api"),
        ("copilot.local", "copilot"),
        ("server", "copilot"),
        ("copilto", "copilott"),  # the hosts file has that one
    ],
)
def test_nearby_names_do_resolve(
    tmp_path: Path, compose: NameServer, wrong: str, right: str
) -> None:
    resolution = resolve(wrong, places=places(tmp_path, compose))
    assert right in resolution.nearby
    known = {"copilot", "copilot-cli", "api", "copilott", "listed"}
    assert set(resolution.nearby) <= known


def test_no_guesses_leave_for_other_name_servers(tmp_path: Path) -> None:
    with misbehaving("servfail") as server:
        given = places(tmp_path, server)._replace(hosts=tmp_path / "none")
        resolution = resolve("copilot_cli", places=given)
    assert {name for name, _ in server.questions} == {"copilot_cli"}
    assert resolution.nearby == ()


def test_in_kubernetes_guesses_have_the_namespace(tmp_path: Path) -> None:
    name = "copilot.shop.svc.cluster.local"
    search = "shop.svc.cluster.local svc.cluster.local cluster.local"
    with dnsmasq({name: "10.96.1.1"}, address="127.0.0.13") as server:
        given = places(tmp_path, server, search=search, options="ndots:5")
        resolution = resolve("copilots", places=given)
    assert "copilot" in resolution.nearby


def test_variants_are_few_and_not_the_name_itself() -> None:
    assert "copilot-cli" in variants("shop_copilot-cli_1")
    assert "copilot" not in variants("copilot")
    assert len(variants("a_b-c-d-s-1.local")) <= MOST_NEARBY


# Name servers that misbehave


@pytest.mark.parametrize(
    ("manner", "answer", "detail"),
    [
        ("silent", "timeout", "no answer"),
        ("refused", "refused", ""),
        ("servfail", "servfail", ""),
        ("truncated", "found", ""),
        ("truncated-only", "truncated", "too long for UDP"),
        ("wrong-id", "timeout", "another question"),
        ("wrong-question", "timeout", "another question"),
        ("loop", "error", "circle"),
        ("dangling", "no-data", "alias of gone.test"),
        ("huge", "error", "more than 4096 bytes"),
        ("huge-over-tcp", "error", "more than 4096 bytes"),
        ("garbage", "timeout", "malformed"),
        ("short", "timeout", "no DNS"),
        ("lossy", "found", ""),
    ],
)
def test_misbehaviour_is_named(tmp_path: Path, manner: Manner, answer: str, detail: str) -> None:
    with misbehaving(manner) as server:
        started = time.monotonic()
        resolution = resolve("copilot.test", timeout_s=1.5, places=places(tmp_path, server))
        assert time.monotonic() - started < 3
    asked = next(item for item in resolution.lookups if item.kind == "A")
    assert asked.answer == answer
    assert detail in asked.detail
    assert len(asked.addresses) <= MOST_ADDRESSES
    assert "10.6.6.6" not in asked.addresses


def test_nobody_listens_where_the_name_server_should_be(tmp_path: Path) -> None:
    server = NameServer("127.0.0.14", 9)
    resolution = resolve("copilot.test", places=places(tmp_path, server))
    asked = next(item for item in resolution.lookups if item.kind == "A")
    assert (asked.answer, asked.detail) == ("error", "no name server listens there")


def test_a_silent_server_is_waited_for_once(tmp_path: Path, compose: NameServer) -> None:
    with misbehaving("silent", port=compose.port) as silent:
        given = places(tmp_path, silent, compose, search="one.test two.test three.test")
        started = time.monotonic()
        resolution = resolve("copilot", timeout_s=2, places=given)
        assert time.monotonic() - started < 2
    answers = told(resolution)
    assert answers[silent.address, "copilot.one.test", "A"] == "timeout"
    assert (silent.address, "copilot.two.test", "A") not in answers
    assert answers[compose.address, "copilot", "A"] == "found"


def test_a_system_that_hangs_is_not_waited_for(tmp_path: Path, compose: NameServer) -> None:
    release = threading.Event()

    def hang(_name: str) -> list[str]:
        release.wait(30)
        return []

    started = time.monotonic()
    given = places(tmp_path, compose)._replace(system=hang)
    resolution = resolve("copilot", timeout_s=0.5, places=given)
    took_s = time.monotonic() - started
    release.set()
    assert took_s < 2
    assert resolution.lookups[-1].answer == "timeout"
    assert resolution.addresses == ("172.20.0.2",)  # what it will say when it has the time


def test_a_system_that_answers_otherwise_is_believed(tmp_path: Path, compose: NameServer) -> None:
    given = places(tmp_path, compose)._replace(system=lambda _: ["127.0.1.1", "127.0.1.1"])
    resolution = resolve("copilot", places=given)
    assert resolution.addresses == ("127.0.1.1",)
    assert told(resolution)[compose.address, "copilot", "A"] == "found"


# The resolver's settings


def test_resolv_conf_is_read_as_glibc_does(tmp_path: Path) -> None:
    path = tmp_path / "resolv.conf"
    path.write_text(
        "# nameserver 9.9.9.9\n; comment\ndomain old.test\n"
        "nameserver 127.0.0.11 # docker\nnameserver fe80::1%lo\nnameserver not-an-address\n"
        "nameserver 10.0.0.1\nnameserver 10.0.0.2\nsearch a.test. b.test\n"
        "options edns0 ndots:5 timeout:1 ndots:x\n\x00\n"
    )
    conf = read_resolv_conf(path)
    assert conf.name_servers[0] == "127.0.0.11"
    assert conf.name_servers[-1] == "10.0.0.1"
    assert len(conf.name_servers) == 3
    assert conf.search == ("a.test", "b.test")
    assert conf.ndots == 5


def test_without_a_name_server_glibc_asks_this_machine(tmp_path: Path) -> None:
    assert read_resolv_conf(tmp_path / "none") == ResolvConf(("127.0.0.1",), (), 1)


@pytest.mark.parametrize(
    ("name", "ndots", "expected"),
    [
        ("copilot", 1, ["copilot.a.test", "copilot.b.test", "copilot"]),
        ("copilot.x", 1, ["copilot.x", "copilot.x.a.test", "copilot.x.b.test"]),
        ("copilot.x", 5, ["copilot.x.a.test", "copilot.x.b.test", "copilot.x"]),
        ("copilot.", 1, ["copilot"]),
    ],
)
def test_candidates(name: str, ndots: int, expected: list[str]) -> None:
    conf = ResolvConf(("127.0.0.1",), ("a.test", "b.test"), ndots)
    assert candidates(name, conf) == expected


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=40))
def test_no_name_makes_it_raise(name: str) -> None:
    given_places = Places(resolv_conf=None, system=nobody)
    conf = ResolvConf((), ("a.test",), 1)
    candidates(name, conf)
    variants(name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "platform", "darwin")
        resolution = resolve(name, timeout_s=1, places=given_places)
    assert resolution.lookups


# The real system


@pytest.mark.namespace
@pytest.mark.usefixtures("needs_root_namespace")
def test_the_real_resolver_of_a_container_network() -> None:
    code = (
        "import json, sys, msgspec; from doctor.probes.resolve import resolve\n"
        "print(msgspec.json.encode([resolve(name) for name in sys.argv[1:]]).decode())"
    )
    records = {"copilot": "172.20.0.2", "six": "fd00::6", "shop.corp.test": "203.0.113.9"}
    with namespace({"listed": "10.9.9.9", "loop": "127.0.1.1"}) as space:
        space.resolv_conf("nameserver 127.0.0.11\nsearch corp.test\noptions ndots:0\n")
        with dnsmasq(records, port=53, launcher=space.launcher):
            done = space.run(
                [
                    sys.executable,
                    "-c",
                    code,
                    "copilot",
                    "six",
                    "shop",
                    "listed",
                    "loop",
                    "copilots",
                ],
                env={"PYTHONPATH": os.pathsep.join(sys.path)},
                cwd=Path(__file__).parents[2],
            )
    assert done.returncode == 0, done.stderr
    answers = msgspec.json.decode(done.stdout, type=list[Resolution])
    addresses = {answer.name: answer.addresses for answer in answers}
    assert addresses == {
        "copilot": ("172.20.0.2",),
        "six": ("fd00::6",),
        "shop": ("203.0.113.9",),
        "listed": ("10.9.9.9",),
        "loop": ("127.0.1.1",),
        "copilots": (),
    }
    assert "copilot" in answers[-1].nearby
    shop = answers[2]
    assert [item.name for item in shop.lookups if item.answer == "found"] == [
        "shop.corp.test",
        "shop",  # the system
    ]
