"""The documents that checks cite, each named once.

`docs.github.com` pages are named by their published paths;
texts that the CLI itself prints (``copilot help …``) have no address.
"""

from typing import Final

from doctor.catalogue.check import Documented

_DOCS = "https://docs.github.com/en/copilot"
_SDK = "https://github.com/github/copilot-sdk/blob/main/docs"


def server_mode(section: str) -> Documented:
    """Cite "Running the Copilot CLI in Standalone Server Mode".

    The page belongs to a project template and has no address of its own.
    """
    return Documented(title=f"Running the Copilot CLI in Standalone Server Mode, {section}")


def cli_help(topic: str) -> Documented:
    """Cite a help text of the CLI, as printed by 1.0.102."""
    return Documented(title=f"copilot help {topic}")


def changelog(version: str) -> Documented:
    """Cite an entry of the CLI's changelog."""
    return Documented(
        title=f"GitHub Copilot CLI changelog, {version}",
        url="https://github.com/github/copilot-cli/blob/main/changelog.md",
    )


AUTHENTICATE: Final = Documented(
    title="Authenticating GitHub Copilot CLI",
    url=f"{_DOCS}/how-tos/copilot-cli/set-up-copilot-cli/authenticate-copilot-cli",
)
SDK_AUTHENTICATE: Final = Documented(
    title="Copilot SDK, Authentication", url=f"{_SDK}/auth/authenticate.md"
)
SDK_SERVER_TOKENS: Final = Documented(
    title="Copilot SDK, Server-to-server tokens", url=f"{_SDK}/auth/server-to-server-tokens.md"
)
SDK_PROVIDER: Final = Documented(
    title="Copilot SDK, Bring your own key", url=f"{_SDK}/auth/byok.md"
)
SDK_BACKEND: Final = Documented(
    title="Copilot SDK, Backend services", url=f"{_SDK}/setup/backend-services.md"
)
SDK_MULTI_TENANCY: Final = Documented(
    title="Copilot SDK, Multi-tenancy", url=f"{_SDK}/setup/multi-tenancy.md"
)
SDK_COMPATIBILITY: Final = Documented(
    title="Copilot SDK, Compatibility", url=f"{_SDK}/troubleshooting/compatibility.md"
)
SDK_DEBUGGING: Final = Documented(
    title="Copilot SDK, Debugging", url=f"{_SDK}/troubleshooting/debugging.md"
)
COMMAND_REFERENCE: Final = Documented(
    title="GitHub Copilot CLI command reference",
    url=f"{_DOCS}/reference/copilot-cli-reference/cli-command-reference",
)
CONNECT_ERRORS: Final = Documented(title="connect(2), the errors ENETUNREACH and EHOSTUNREACH")
DOCKER_HOST_NAME: Final = Documented(
    title="Docker documentation, Networking features in Docker Desktop",
    url="https://docs.docker.com/desktop/features/networking/",
)
COMPOSE_NETWORKING: Final = Documented(
    title="Docker documentation, Networking in Compose",
    url="https://docs.docker.com/compose/how-tos/networking/",
)
