"""The gates in their order, wrapped around one awaitable: the connector's operation.

The order is data, so that it can be read, reported and pinned by a test. Arguments are checked before anything
waits; the mask point and the hard deadline enclose everything that may take time, so that whatever is added
inside them later (cache, breaker, retries) shares the one deadline.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from trunkline.integration.policy.arguments import ArgumentRules
from trunkline.integration.policy.budget import Deadline
from trunkline.model import Clock, Overloaded, RemoteError

log = logging.getLogger(__name__)
T = TypeVar("T")

MAX_STRAYS: Final = 64
"""Operations that passed their deadline and have not yet stopped; at this many, new ones are refused."""


class DeadlinePassed(RemoteError):  # noqa: N818 - reads as what it says
    """The system did not answer within the budget."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One question on its way through the gates."""

    arguments: Mapping[str, Any]
    rules: ArgumentRules
    deadline: Deadline
    on_slow: Callable[[], None]
    """Called once, at the mask point, when there is no answer yet."""


Proceed = Callable[[Attempt], Awaitable[Any]]
Gate = Callable[["Chain", Attempt, Proceed], Awaitable[Any]]


class Chain:
    """The gates and what they share. One per process."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._strays: set[asyncio.Future[Any]] = set()

    @property
    def strays(self) -> int:
        """Operations that passed their deadline and still have not stopped."""
        return len(self._strays)

    async def run(self, attempt: Attempt, operation: Callable[[Attempt], Awaitable[T]]) -> T:
        """Ask ``operation`` through all gates, outermost first."""
        proceed: Proceed = operation
        for name in reversed(ORDER):
            proceed = self._inside(GATES[name], proceed)
        result: T = await proceed(attempt)
        return result

    async def close(self) -> None:
        """Wait for strays; they were cancelled when their deadline passed."""
        if self._strays:
            await asyncio.wait(self._strays)

    def _inside(self, gate: Gate, proceed: Proceed) -> Proceed:
        return lambda attempt: gate(self, attempt, proceed)

    async def arguments(self, attempt: Attempt, proceed: Proceed) -> Any:
        """Refuse what does not fit the schema, before any system is asked."""
        attempt.rules.check(attempt.arguments)
        return await proceed(attempt)

    async def mask(self, attempt: Attempt, proceed: Proceed) -> Any:
        """Say when the mask point passes."""
        alarm = asyncio.ensure_future(self._alarm(attempt))
        try:
            return await proceed(attempt)
        finally:
            await _stop(alarm)

    async def hard_deadline(self, attempt: Attempt, proceed: Proceed) -> Any:
        """Answer at the deadline, whatever the operation does; it is cancelled and watched until it stops."""
        if len(self._strays) >= MAX_STRAYS:
            raise Overloaded(f"{MAX_STRAYS} questions passed their deadline and have not stopped")
        work = asyncio.ensure_future(proceed(attempt))
        alarm = asyncio.ensure_future(self._clock.sleep_until(attempt.deadline.hard_at))
        try:
            await asyncio.wait({work, alarm}, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                return work.result()
            raise DeadlinePassed("no answer within the budget")
        finally:
            if not work.done():
                work.cancel()
                self._strays.add(work)
                work.add_done_callback(self._stray_stopped)
            await _stop(alarm)

    async def _alarm(self, attempt: Attempt) -> None:
        await self._clock.sleep_until(attempt.deadline.mask_at)
        try:
            attempt.on_slow()
        except Exception:
            log.exception("bridging a slow answer failed; the answer itself is still waited for")

    def _stray_stopped(self, work: "asyncio.Future[Any]") -> None:
        self._strays.discard(work)
        if not work.cancelled() and (error := work.exception()) is not None:
            log.info("an operation that passed its deadline ended with %s", type(error).__name__)


GATES: Final[Mapping[str, Gate]] = {
    "arguments": Chain.arguments,
    "mask": Chain.mask,
    "deadline": Chain.hard_deadline,
}

ORDER: Final = ("arguments", "mask", "deadline")
"""Outermost first."""


async def _stop(alarm: "asyncio.Future[None]") -> None:
    alarm.cancel()
    await asyncio.wait({alarm})
