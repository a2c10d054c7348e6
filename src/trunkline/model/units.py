"""Units as types. Time inside Trunkline is integer nanoseconds on a monotonic clock."""

from typing import Final, NewType

Nanos = NewType("Nanos", int)
"""Nanoseconds since an arbitrary start (an instant) or a span of them (a duration)."""

MS: Final = 1_000_000
SECOND: Final = 1_000_000_000


def ms(value: float) -> Nanos:
    """A span of ``value`` milliseconds."""
    return Nanos(round(value * MS))


def seconds(value: float) -> Nanos:
    """A span of ``value`` seconds."""
    return Nanos(round(value * SECOND))


def to_ms(span: int) -> float:
    """Milliseconds in a span of nanoseconds, for people and reports."""
    return span / MS
