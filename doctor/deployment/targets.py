"""The address that a client is told to use: ``HOST:PORT``, a port, or a URL.

Read as the Python SDK reads it (`CopilotClient._parse_cli_url`; source and behaviour of
0.3.0, 1.0.0, 1.0.11, 1.0.24 and 1.0.27), and more leniently where what is meant is certain:
then `sdk_objection` says that the SDK would not take it.
"""

import re
from typing import Final, Literal

from doctor.deployment.nouns import Origin, Resolution, Target
from doctor.redaction import hidden, outside, printable, token_kind

LONGEST_NAME: Final = 253
LONGEST_LABEL: Final = 63
HIGHEST_PORT: Final = 65535

DOCKER_NAME_SERVER: Final = "127.0.0.11"
"""Docker's embedded name server, in every container of a network that a user made.

Documented (docs.docker.com, "Networking overview, DNS services").
"""

DOCKER_HOST_NAME: Final = "host.docker.internal"

_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_BRACKETS: Final = re.compile(r"\[([^\[\]]*)\](.*)", re.DOTALL)
_VARIABLE: Final = re.compile(r"\$\{?[A-Za-z_]|%[A-Za-z_]\w*%|\{\{|<[^<>]+>")
_QUOTES: Final = "\"'`\u201c\u201d\u2018\u2019"
_LONGEST_TEXT: Final = 2_000
_LONGEST_PORT: Final = 20


def parse_target(text: str, origin: Origin) -> Target:
    """Read an address as a client would; never raises.

    Args:
        text: As given. A user name or password in it is left out of the result,
            a path or query as well: they can be secrets.
        origin: Where it was given.

    Returns:
        The target; its `Target.problem` says in one sentence why it is no address, where it is
        none. Host and port are then filled in as far as they could be read.
    """
    reader = _Reader(text)
    reader.read()
    return Target(
        text=reader.shown,
        host=reader.host,
        port=reader.port,
        scheme=reader.scheme,
        problem=reader.problem,
        origin=origin,
    )


def sdk_objection(target: Target) -> str:
    """Return why the Python SDK does not take the spelling of a good target; empty: it does.

    An address in brackets is not objected to: SDK 1.0.13 and later take it,
    1.0.11 and earlier do not (`Invalid cli_url format`).
    """
    if target.problem:
        return ""
    if target.scheme and not target.text.startswith(("http://", "https://")):
        return "the SDK takes http://, https:// or nothing before the host, in small letters"
    if "@" in target.text:
        return "the SDK takes no user name or password in the address"
    if target.text.endswith("/"):
        return "the SDK takes the / at the end for a part of the port"
    return ""


def host_port(target: Target) -> str:
    """Return a target as every client takes it: without scheme, user name and path."""
    host = f"[{target.host}]" if ":" in target.host else target.host
    return f"{host}:{target.port}"


def container_network(resolution: Resolution) -> Literal["docker", "podman", "kubernetes", ""]:
    """Return whose names a machine's resolver settings know, empty for no container network.

    Docker is told by its embedded name server, Podman by the search domain ``dns.podman``,
    Kubernetes by search domains of services (``default.svc.cluster.local``).
    """
    if DOCKER_NAME_SERVER in resolution.name_servers:
        return "docker"
    for domain in resolution.search:
        if domain == "dns.podman":
            return "podman"
        if domain.startswith("svc.") or ".svc." in domain:
            return "kubernetes"
    return ""


class _Reader:
    """One address, taken apart from the left to the right."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.shown = ""
        self.scheme = ""
        self.host = ""
        self.port: int | None = None
        self.problem = ""

    def read(self) -> None:
        text = self.text
        if len(text) > _LONGEST_TEXT:
            self.shown = hidden(text)
            self.problem = f"it is {len(text)} characters long"
            return
        scheme = _SCHEME.match(text)
        if scheme:
            self.scheme = scheme.group(1).lower()
            text = text[scheme.end() :]
        front = scheme.group() if scheme else ""
        userinfo, at, text = text.rpartition("@")
        if at:
            front += f"{hidden(userinfo)}@"
        # What follows a path, a query or a fragment can be a secret as well.
        cut = re.search(r"[/?#\\]", text)
        address, rest = (text[: cut.start()], text[cut.start() :]) if cut else (text, "")
        self.shown = printable(front) + outside(address) + ("/…" if rest not in {"", "/"} else rest)
        self.problem = self._problem_of(address, rest)
        if not self.problem:
            # Now it is known to be an address: it needs no cleaning, which could mistake
            # the long random name of a host for a secret.
            self.shown = front + address.rstrip() + rest

    def _problem_of(self, address: str, rest: str) -> str:
        bare = address.rstrip()
        if not bare:
            return "it names no host and no port" if self.scheme or rest else "it is empty"
        # After HOST:PORT white space is harmless: the SDK reads the port with `int()`.
        if any(map(str.isspace, bare)) or (bare != address and ":" not in bare):
            return "there is white space in it"
        if not bare.isprintable():
            return "it holds control characters"
        if any(character in _QUOTES for character in bare):
            return "quotes have become a part of it"
        if _VARIABLE.search(self.text):
            return "it holds a variable or placeholder that was not filled in"
        problem = self._split(bare)
        if not problem and rest not in {"", "/"}:
            return "it has a path, but a server is HOST:PORT and no more"
        return problem

    def _split(self, address: str) -> str:
        """Find host and port; return what is wrong with them."""
        brackets = _BRACKETS.fullmatch(address)
        if brackets:
            host, after = brackets.groups()
            problem = _problem_of_ipv6(host)
            if problem:
                return problem
            self.host = host
            if not after.startswith(":"):
                return "it names no port"
            return self._take_port(after[1:])
        if "[" in address or "]" in address:
            return "its brackets do not enclose an IPv6 address"
        if address.isdigit():
            self.host = "localhost"
            return self._take_port(address)
        if address.count(":") > 1:
            return (
                "an IPv6 address needs brackets, [ADDRESS]:PORT"
                if _is_ipv6(address) or _is_ipv6(address.rpartition(":")[0])
                else "it holds more than one colon"
            )
        host, colon, port = address.partition(":")
        problem = problem_of_host(host) if host else ""
        if problem:
            return problem
        self.host = host or ("localhost" if colon else "")
        return self._take_port(port) if colon else "it names no port"

    def _take_port(self, text: str) -> str:
        if not text:
            return "it names no port"
        try:
            port = int(text[:_LONGEST_PORT])
        except ValueError:
            return "what follows the host is no port number"
        if not 0 < port <= HIGHEST_PORT or len(text) > _LONGEST_PORT:
            return f"a port is a number from 1 to {HIGHEST_PORT}"
        self.port = port
        return ""


def problem_of_host(host: str) -> str:
    """Return why a text cannot be a host's name or address; empty where it can."""
    if token_kind(host) not in {"unrecognised", "placeholder"}:
        return "it looks like a token, not like a host"
    for character in host:
        if not (character.isalnum() or character in "-._"):
            shown = printable(character) or "white space"
            return f"no host's name contains {shown}"
    name = host
    if not host.isascii():
        try:
            name = host.encode("idna").decode()
        except UnicodeError:
            return "its host is no valid international name"
    labels = name.removesuffix(".").split(".")
    if not all(labels):
        return "a part of its host's name is empty (two dots in a row, or one at the start)"
    if len(name) > LONGEST_NAME or any(len(label) > LONGEST_LABEL for label in labels):
        return (
            f"its host's name is too long (at most {LONGEST_LABEL} characters between dots, "
            f"{LONGEST_NAME} in all)"
        )
    return ""


def _problem_of_ipv6(text: str) -> str:
    return "" if _is_ipv6(text) else "its brackets do not enclose an IPv6 address"


def _is_ipv6(text: str) -> bool:
    import ipaddress

    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True
