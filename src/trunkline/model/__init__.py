"""The words every other room speaks: ids, units, errors, private values, the clock's shape.

This room imports nothing of Trunkline and performs no I/O; it reads no clock and draws no random numbers.
"""

from trunkline.model.clock import Clock
from trunkline.model.errors import (
    ConfigError,
    LocalError,
    LocalProtocolError,
    Missing,
    NeedsReauth,
    Overloaded,
    RemoteError,
    RemoteProtocolError,
    RetryAfter,
    TrunklineError,
)
from trunkline.model.ids import CallId, LegId, ToolCallId, TraceId
from trunkline.model.outcome import Outcome, Reason, Result
from trunkline.model.privacy import Pii, Secret
from trunkline.model.units import MS, SECOND, Nanos, ms, seconds, to_ms

__all__ = [
    "MS",
    "SECOND",
    "CallId",
    "Clock",
    "ConfigError",
    "LegId",
    "LocalError",
    "LocalProtocolError",
    "Missing",
    "Nanos",
    "NeedsReauth",
    "Outcome",
    "Overloaded",
    "Pii",
    "Reason",
    "RemoteError",
    "RemoteProtocolError",
    "Result",
    "RetryAfter",
    "Secret",
    "ToolCallId",
    "TraceId",
    "TrunklineError",
    "ms",
    "seconds",
    "to_ms",
]
