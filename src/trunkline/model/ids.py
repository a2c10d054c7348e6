"""Identifiers. All are opaque text; the prefix tells people what they look at."""

from typing import NewType

CallId = NewType("CallId", str)
"""One caller's call through Trunkline, over all its legs: ``call-…``. Not the SIP Call-ID."""

LegId = NewType("LegId", str)
"""One connection to one party: ``leg-…``."""

ToolCallId = NewType("ToolCallId", str)
"""One request of an engine for a tool, as the engine named it."""

TraceId = NewType("TraceId", str)
"""Joins records of one tool call across policy, connector and ledger."""


def make_id(prefix: str, entropy: bytes) -> str:
    """Text id from ``prefix`` and at least 8 random bytes that the caller provides.

    >>> make_id("call", bytes(8))
    'call-0000000000000000'
    """
    if len(entropy) < 8:
        raise ValueError("an id needs at least 8 bytes of entropy")
    return f"{prefix}-{entropy.hex()}"
