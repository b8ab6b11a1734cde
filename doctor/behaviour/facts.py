"""Facts about the CLI that differ by version, as the checks need them.

Every row was observed by running the real CLI on Linux x86_64
(the versions in `doctor.behaviour.versions.TESTED`).
"""

from typing import Final

from doctor.behaviour.versions import ByVersion

DEFAULT_BIND: Final = ByVersion((("0.0.400", "1.0.22", "*"), ("1.0.32", "1.0.102", "127.0.0.1")))
"""The address a server listens on without ``--host``: every interface, then loopback only."""

HAS_HOST_OPTION: Final = ByVersion((("0.0.400", "1.0.22", False), ("1.0.32", "1.0.102", True)))
"""Whether ``--host`` is an option; before, it ends the start with ``unknown option``."""

ENFORCES_CONNECTION_TOKEN: Final = ByVersion(
    (("0.0.400", "1.0.32", False), ("1.0.44", "1.0.102", True))
)
"""Whether ``COPILOT_CONNECTION_TOKEN`` protects the server; before, it is ignored silently."""

MUTE_AFTER_UNWANTED_TOKEN: Final = ByVersion(
    (("0.0.400", "1.0.32", False), ("1.0.44", "1.0.63", True), ("1.0.64", "1.0.102", False))
)
"""Whether a connection answers nothing more after a token was sent to a server without one."""

PORT_IN_USE: Final = ByVersion(
    (
        (
            "0.0.400",
            "1.0.22",
            "Failed to start server: Error: listen EADDRINUSE: address already in use :::PORT",
        ),
        (
            "1.0.32",
            "1.0.64",
            (
                "Failed to start server: Error: listen EADDRINUSE: address already in use "
                "127.0.0.1:PORT"
            ),
        ),
        (
            "1.0.73",
            "1.0.102",
            "Failed to start server: Error: Address already in use (os error 98)",
        ),
    )
)
"""What a start prints when its port is taken."""

NO_CREDENTIALS: Final = ByVersion(
    (
        ("0.0.400", "1.0.2", ""),
        (
            "1.0.11",
            "1.0.73",
            (
                "Execution failed: Error: Session was not created with authentication info or "
                "custom provider"
            ),
        ),
        (
            "1.0.81",
            "1.0.102",
            "Execution failed: InvalidArg, No GitHub OAuth token or Copilot HMAC key provided",
        ),
    )
)
"""The session error of a server without credentials; empty: nothing ever arrives."""

WITHOUT_HANDLER: Final = ByVersion(
    (
        ("0.0.400", "0.0.420", "runs"),
        ("1.0.2", "1.0.32", "hangs"),
        ("1.0.44", "1.0.102", "refused"),
    )
)
"""What becomes of a tool call when the client has no permission handler."""

APPROVAL_WORD: Final = ByVersion(
    (("0.0.400", "1.0.32", "approved"), ("1.0.44", "1.0.102", "approve-once"))
)
"""The ``kind`` with which a client must approve; the other one makes the tool fail."""

ISOLATES_CLIENTS: Final = ByVersion((("0.0.400", "1.0.73", False), ("1.0.81", "1.0.102", True)))
"""Whether a client is kept from the session events of the others."""

FOREIGN_APPROVAL: Final = ByVersion(
    (("0.0.400", "0.0.420", False), ("1.0.2", "1.0.73", True), ("1.0.81", "1.0.102", False))
)
"""Whether any connected client can answer the permission request of another one."""

MESSAGE_ID: Final = ByVersion((("0.0.400", "1.0.81", False), ("1.0.92", "1.0.102", True)))
"""Whether ``user.message`` events carry the id that SDK 1.0.25 and later wait for."""

PING_TIMESTAMP: Final = ByVersion((("0.0.400", "1.0.44", "integer"), ("1.0.57", "1.0.102", "text")))
"""Type of the time in a ``ping`` answer; SDK 0.3.0 and earlier read integers only."""

LOG_MODE: Final = ByVersion((("0.0.400", "1.0.81", "644"), ("1.0.92", "1.0.102", "600")))
"""Mode of the log file under umask 022."""

LOGS_ENVIRONMENT: Final = ByVersion(
    (("0.0.400", "1.0.73", False), ("1.0.81", "1.0.81", True), ("1.0.92", "1.0.102", False))
)
"""Whether ``--log-level debug`` or ``all`` writes the whole environment, secrets included."""

DRAINS_ON_SIGTERM: Final = ByVersion((("0.0.400", "1.0.64", True), ("1.0.73", "1.0.102", False)))
"""Whether a stop with an open client takes up to 10 s (10.0 s measured on 1.0.32 and 1.0.63)."""

REJECTS_BAD_PORT: Final = ByVersion((("0.0.400", "1.0.81", False), ("1.0.92", "1.0.102", True)))
"""Whether a ``--port`` that is no number ends the start; before, a random port is used."""

CLASSIC_TOKEN_BLOCKS: Final = ByVersion((("1.0.2", "1.0.81", True), ("1.0.92", "1.0.102", False)))
"""Whether a token that is refused in ``COPILOT_GITHUB_TOKEN`` keeps ``GH_TOKEN`` and
``GITHUB_TOKEN`` from being used (observed on 1.0.2, 1.0.32 … 1.0.102; a stored login or GitHub
CLI still is). From 1.0.92 on the first of the two that is set is taken "via gh"; one that is
refused in ``GH_TOKEN`` keeps ``GITHUB_TOKEN`` from being used there too."""

UNWRITABLE_HOME: Final = ByVersion(
    (
        ("0.0.400", "0.0.400", "ignored"),
        ("1.0.2", "1.0.2", "message"),
        ("1.0.11", "1.0.102", "silent"),
    )
)
"""What a ``COPILOT_HOME`` that cannot be written does: nothing, exit 1 with a message,
exit 1 without any output (not observed on 0.0.420 and 1.0.22)."""

TOKEN_REQUIRED_WORDS: Final = ByVersion(
    (("1.0.44", "1.0.63", "Unknown error"), ("1.0.64", "1.0.102", "AUTHENTICATION_REQUIRED"))
)
"""What an SDK that cannot pass a connection token says after ``JSON-RPC Error -32001:``.

The first is the SDK's own filling: these servers send the code without any message.
"""

SESSION_TOKEN: Final = ByVersion((("1.0.2", "1.0.32", False), ("1.0.63", "1.0.102", True)))
"""Whether a session's own ``gitHubToken`` is used (observed on 1.0.2, 1.0.32, 1.0.63, 1.0.81,
1.0.102)."""

OFFLINE_WITHOUT_PROVIDER: Final = (
    "Offline mode requires a local model provider. Set COPILOT_PROVIDER_BASE_URL to configure one."
)
"""Printed, exit code 1, for ``COPILOT_OFFLINE=true`` without a provider (1.0.32 … 1.0.102)."""

CLASSIC_REFUSED: Final = (
    "[ERROR] Classic PATs are not supported. Please use fine-grained PATs or other supported "
    "token types."
)
"""What the log says of a ``ghp_`` in a token variable (1.0.2, 1.0.32, 1.0.63, 1.0.81, 1.0.102);
nothing is said anywhere else."""

UNSUPPORTED_REFUSED: Final = "[ERROR] Unsupported token type, ignoring."
"""What the log says of any other token in a token variable that the CLI does not know."""

LINE_END_IN_TOKEN: Final = ByVersion(
    (
        ("1.0.2", "1.0.44", "works"),
        ("1.0.63", "1.0.63", "models"),
        ("1.0.64", "1.0.102", "session"),
    )
)
"""What a line end at the end of a GitHub token does: nothing, the list of models fails,
no session can be created (not observed on 1.0.57)."""

TAKES_SERVER_TOKEN: Final = ByVersion((("1.0.2", "1.0.2", False), ("1.0.11", "1.0.102", True)))
"""Whether a token variable may hold an installation token (``ghs_``), which is then used without
asking GitHub first; before, it is ignored as unsupported (not observed on 1.0.57)."""

NO_MODEL: Final = ByVersion(
    (
        (
            "1.0.32",
            "1.0.63",
            "No model available. Check policy enablement under GitHub Settings > Copilot",
        ),
        ("1.0.102", "1.0.102", ""),
    )
)
"""The session error where a session has its own provider and nobody names a model
(observed on 1.0.32, 1.0.63, 1.0.102); empty: ``claude-sonnet-4`` is asked for."""

AUTH_TOKEN_ENV_EMPTY: Final = ByVersion(
    (
        ("1.0.2", "1.0.63", "[WARNING] Auth token env var 'NAME' specified but not set or empty"),
        (
            "1.0.64",
            "1.0.102",
            '[WARNING] Auth token env var specified but not set or empty {"env_var":"NAME"}',
        ),
    )
)
"""What the log says where ``--auth-token-env`` names a variable without a value; nothing is said
anywhere else (not observed on 1.0.57)."""

BAD_PORT: Final = ByVersion(
    (
        (
            "0.0.400",
            "1.0.64",
            (
                "Failed to start server: RangeError [ERR_SOCKET_BAD_PORT]: options.port should be "
                ">= 0 and < 65536. Received type number (PORT)."
            ),
        ),
        ("1.0.73", "1.0.102", "Failed to start server: Error: port must be between 0 and 65535"),
    )
)
"""What a start prints for a port outside of 0 to 65535, exit code 1."""

PORT_FORBIDDEN: Final = ByVersion(
    (
        (
            "0.0.400",
            "1.0.22",
            "Failed to start server: Error: listen EACCES: permission denied 0.0.0.0:PORT",
        ),
        (
            "1.0.32",
            "1.0.64",
            "Failed to start server: Error: listen EACCES: permission denied 127.0.0.1:PORT",
        ),
        ("1.0.73", "1.0.102", "Failed to start server: Error: Permission denied (os error 13)"),
    )
)
"""What a start prints for a low port without the privilege, exit code 1."""

EMPTY_HOST_IS_EVERY: Final = ByVersion((("1.0.32", "1.0.64", True), ("1.0.73", "1.0.102", False)))
"""Whether an empty ``--host`` (an unset variable) listens on every interface; after, it ends the
start (observed on 1.0.32, 1.0.44, 1.0.63, 1.0.64, 1.0.73, 1.0.81, 1.0.92 and 1.0.102)."""

MODES_WITHOUT_TOKEN: Final = frozenset({"acp", "ui-server"})
"""Modes that listen and ignore ``COPILOT_CONNECTION_TOKEN`` (observed on 1.0.63 and 1.0.102)."""

WRONG_APPROVAL: Final = ByVersion(
    (
        ("0.0.400", "1.0.32", "Unhandled permission result kind: [object Object]"),
        ("1.0.44", "1.0.63", "unexpected user permission response"),
        (
            "1.0.64",
            "1.0.64",
            "permission orchestrator internal error: unexpected user permission response: approved",
        ),
        (
            "1.0.81",
            "1.0.102",
            (
                "native tool permission flow failed: GenericFailure, permission orchestrator "
                "internal error: unexpected user permission response: approved"
            ),
        ),
    )
)
"""What the tool says when the client approved with the word of the other versions."""

DENIED_WITHOUT_HANDLER: Final = ByVersion(
    (
        ("1.0.44", "1.0.63", "Permission denied and could not request permission from user"),
        (
            "1.0.102",
            "1.0.102",
            (
                "Permission denied and could not request permission from user. Copilot needed the "
                "user's approval and no one could answer."
            ),
        ),
    )
)
"""What the model is told of a tool call when the client has no permission handler."""

LOGS_PROMPTS: Final = ByVersion((("1.0.2", "1.0.32", False), ("1.0.63", "1.0.102", True)))
"""Whether ``--log-level debug`` or ``all`` writes prompts and tool commands
(observed on 1.0.2, 1.0.32, 1.0.63 and 1.0.102)."""
