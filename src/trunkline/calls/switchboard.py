"""All calls of the process: each new leg gets a flow of its own; a drain waits for them and then ends them."""

import asyncio
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Self

from trunkline.calls.admission import Admission
from trunkline.calls.call import Call
from trunkline.calls.flow import run_call
from trunkline.calls.ports import Desk
from trunkline.calls.signals import Shutdown
from trunkline.calls.states import State
from trunkline.calls.waiting import within
from trunkline.model import CallId, Nanos, Outcome, Reason, Result, seconds
from trunkline.telephony.legs.contract import Leg

log = logging.getLogger(__name__)

HANG_UP: Final = seconds(10)
"""How long calls may take to end once they were told to."""


@dataclass(frozen=True, slots=True)
class CallView:
    """What others may know of a live call."""

    id: CallId
    since: Nanos
    trunk: str
    dnis: str
    agent: str
    engine: str
    state: State


class Switchboard:
    """``async with`` it; give ``accept`` to the legs. Leaving it cancels what is left."""

    def __init__(self, desk: Desk, admission: Admission) -> None:
        self.admission = admission
        self._desk = desk
        self._tasks: set[asyncio.Task[Outcome]] = set()
        self._live: dict[CallId, Call] = {}
        self._empty = asyncio.Event()
        self._empty.set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.admission.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def accept(self, leg: Leg) -> None:
        """A new inbound leg (``LegHandler``)."""
        task = asyncio.get_running_loop().create_task(self._serve(leg), name=f"call on {leg.id}")
        self._tasks.add(task)
        self._empty.clear()
        task.add_done_callback(self._gone)

    @property
    def busy(self) -> int:
        """Flows under way, those that are about to be refused included."""
        return len(self._tasks)

    def live(self) -> Iterator[CallView]:
        """Calls under way, oldest first."""
        for call in self._live.values():
            engine = call.outlet.engine
            yield CallView(
                id=call.id,
                since=call.started,
                trunk=call.leg.info.trunk,
                dnis=call.leg.info.dnis,
                agent=call.route.agent if call.route is not None else "",
                engine=engine.name if engine is not None else "",
                state=call.state,
            )

    async def drain(self, limit: Nanos) -> None:
        """Take no new calls; let live ones end by themselves for ``limit``, then hang them up."""
        self.admission.close()
        clock = self._desk.clock
        if await within(clock, limit, _wait(self._empty)):
            return
        log.warning("the drain limit passed: hanging up", extra={"calls": len(self._tasks)})
        for call in list(self._live.values()):
            call.own_line(Shutdown(at=clock.now()))
        await within(clock, HANG_UP, _wait(self._empty))

    async def _serve(self, leg: Leg) -> Outcome:
        outcome = Outcome(Result.UNKNOWN, Reason.BUG)
        async with asyncio.TaskGroup() as group:
            call = Call(leg, self._desk, group)
            self._live[call.id] = call
            try:
                outcome = await run_call(call, self.admission)
            finally:
                del self._live[call.id]
        return outcome

    def _gone(self, task: asyncio.Task[Outcome]) -> None:
        self._tasks.discard(task)
        if not self._tasks:
            self._empty.set()
        if not task.cancelled() and (bug := task.exception()) is not None:
            # Nothing should come here; the call's own ending has handled what it could.
            log.error("a call's task failed", exc_info=bug)


async def _wait(event: asyncio.Event) -> None:
    await event.wait()
