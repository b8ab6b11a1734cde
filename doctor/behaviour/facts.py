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
            "Failed to start server: Error: listen EADDRINUSE: address already in use "
            "127.0.0.1:PORT",
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
            "Execution failed: Error: Session was not created with authentication info or "
            "custom provider",
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

CLASSIC_TOKEN_BLOCKS: Final = ByVersion((("1.0.2", "1.0.81", True), ("1.0.102", "1.0.102", False)))
"""Whether a classic token (``ghp_``) in the winning variable keeps the next one from being used
(observed on 1.0.2, 1.0.32, 1.0.63, 1.0.81 and 1.0.102)."""

UNWRITABLE_HOME: Final = ByVersion(
    (("0.0.400", "0.0.400", "ignored"), ("1.0.2", "1.0.2", "message"), ("1.0.11", "1.0.102", "silent"))
)
"""What a ``COPILOT_HOME`` that cannot be written does: nothing, exit 1 with a message,
exit 1 without any output (not observed on 0.0.420 and 1.0.22)."""
