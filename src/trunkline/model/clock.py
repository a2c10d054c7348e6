"""The shape of a clock. The real one lives in ``runtime.clock``; tests use ``testing.clock``."""

import datetime as dt
from typing import Protocol

from trunkline.model.units import Nanos


class Clock(Protocol):
    """Where an I/O shell gets its time. Sans-IO code takes ``now`` as an argument instead."""

    def now(self) -> Nanos:
        """Monotonic nanoseconds; comparable with the times of media events."""
        ...

    def wall(self) -> dt.datetime:
        """Wall-clock time in UTC, for records that people read; never for deadlines."""
        ...

    async def sleep_until(self, when: Nanos) -> None:
        """Return at or after ``when``; at once when it has passed."""
        ...
