"""The real clock: monotonic, in UTC, and never early."""

import datetime as dt

from trunkline.model import MS, Nanos
from trunkline.runtime.clock import RealClock


async def test_it_never_wakes_early() -> None:
    clock = RealClock()
    for span in (0, 1, MS, 3 * MS):
        when = Nanos(clock.now() + span)
        await clock.sleep_until(when)
        assert clock.now() >= when


async def test_the_past_is_over_at_once() -> None:
    clock = RealClock()
    await clock.sleep_until(Nanos(0))
    await clock.sleep_until(Nanos(clock.now() - 1))


def test_wall_time_is_utc() -> None:
    assert RealClock().wall().tzinfo is dt.UTC
