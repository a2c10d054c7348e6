"""The real clock. The only module of the package that may read or wait for real time."""

import asyncio
import datetime as dt
import time

from trunkline.model import SECOND, Nanos


class RealClock:
    """``model.Clock`` over the operating system's monotonic clock (CLOCK_MONOTONIC, as the media core's)."""

    __slots__ = ()

    def now(self) -> Nanos:
        """Monotonic nanoseconds."""
        return Nanos(time.monotonic_ns())

    def wall(self) -> dt.datetime:
        """Wall-clock time in UTC."""
        return dt.datetime.now(dt.UTC)

    async def sleep_until(self, when: Nanos) -> None:
        """Return at or after ``when``; at once, without yielding, when it has passed."""
        left = when - time.monotonic_ns()
        while left > 0:
            await asyncio.sleep(left / SECOND)
            # Again when the loop's coarser clock fired a little early.
            left = when - time.monotonic_ns()
