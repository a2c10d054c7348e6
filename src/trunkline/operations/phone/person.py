"""The phone of a person behind a queue: rings, answers, greets, listens, and reports what it heard."""

import asyncio
import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from trunkline.model import MS, SECOND, Clock, Nanos, TrunklineError, to_ms
from trunkline.operations.phone.conversation import Conversation, Note
from trunkline.operations.phone.follow import Clip
from trunkline.operations.phone.line import Line
from trunkline.operations.phone.recording import save
from trunkline.operations.phone.report import CallReport, PhoneReport
from trunkline.telephony.legs.contract import Leg, LegAnswered, LegEvent
from trunkline.telephony.legs.sip import SipLeg

MOST_CALLS: Final = 8
"""Calls at the same time; one more gets 486 Busy Here."""

MOST_REPORTS: Final = 1000
"""Finished calls that are reported; older ones are forgotten."""

ANSWER_AFTER: Final = Nanos(600 * MS)
LONGEST: Final = Nanos(3600 * SECOND)
GREETS_AFTER: Final = 300 * MS
"""A person breathes in before speaking."""

LINGER: Final = 300 * MS


@dataclass(frozen=True, slots=True)
class Manners:
    """How the person behaves."""

    greeting: Clip | None = None
    answer_after: Nanos = ANSWER_AFTER
    save_to: Path | None = None


class Person:
    """Answers every call on a line. ``handler`` is the line's; ``open`` gives it the line."""

    def __init__(self, manners: Manners, clock: Clock, *, note: Note) -> None:
        self._manners = manners
        self._clock = clock
        self._note = note
        self._line: Line | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._reports: list[CallReport] = []
        self._answered = 0

    def opened(self, line: Line) -> None:
        """The line is open."""
        self._line = line
        self._note("listening", address=line.address)

    def handler(self, leg: Leg) -> None:
        """A call comes in."""
        if not isinstance(leg, SipLeg):
            raise TypeError("a phone's line has SIP legs only")
        task = asyncio.get_running_loop().create_task(self._take(leg), name=f"call of {leg.info.ani}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def first_call_over(self) -> None:
        """Return when a first call has been answered and is over."""
        while not self._reports:
            await self._clock.sleep_until(Nanos(self._clock.now() + 50 * MS))

    async def close(self) -> None:
        """Hang up whatever is still going on and finish its report."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def report(self) -> PhoneReport:
        """All calls that are over."""
        return PhoneReport(
            ok=bool(self._reports) and all(call.ok for call in self._reports),
            address=self._line.address if self._line is not None else "",
            calls=tuple(self._reports),
        )

    # --- one call -------------------------------------------------------------------------------------

    async def _take(self, leg: SipLeg) -> None:
        if len(self._tasks) > MOST_CALLS:
            await leg.reject(486)
            return
        conversation = Conversation(
            f"sip:{leg.info.ani}@{leg.info.source}", self._clock, note=self._note, on_event=self._on_event
        )
        failure = ""
        try:
            await self._talk(leg, conversation)
        except TrunklineError as failed:
            failure = str(failed)
            with contextlib.suppress(TrunklineError):
                await leg.reject(488)
        finally:
            if not conversation.end:
                await conversation.hang_up("we hung up")
            self._file(conversation, failure)

    async def _talk(self, leg: SipLeg, conversation: Conversation) -> None:
        leg.listen(conversation.leg_event)
        if self._line is None:
            raise RuntimeError("a call came before the line was open")
        await leg.prepare()
        conversation.accepted(leg, self._line.media.witness_of(leg.media))
        await leg.ring()
        self._note("rings", party=conversation.party)
        if await conversation.until(lambda: bool(conversation.end), self._manners.answer_after):
            return
        await leg.answer()
        if not await conversation.until(
            lambda: conversation.answered_at is not None or bool(conversation.end), Nanos(32 * SECOND)
        ):
            return
        await self._clock.sleep_until(Nanos(self._clock.now() + GREETS_AFTER))
        if self._manners.greeting is not None:
            await conversation.speak("greeting", self._manners.greeting)
        await conversation.until(lambda: bool(conversation.end), LONGEST)
        await self._clock.sleep_until(Nanos(self._clock.now() + LINGER))

    def _on_event(self, conversation: Conversation, event: LegEvent) -> None:
        if isinstance(event, LegAnswered):
            self._note("answered", party=conversation.party)

    def _file(self, conversation: Conversation, failure: str) -> None:
        leg = conversation.report()
        recording = None
        if (
            self._manners.save_to is not None
            and leg.answered_at is not None
            and conversation.witness is not None
        ):
            path = self._manners.save_to
            self._answered += 1
            if self._answered > 1:
                path = path.with_name(f"{path.stem}-{self._answered}{path.suffix}")
            try:
                recording = save(path, [conversation.witness.log], Nanos(leg.answered_at))
            except TrunklineError as failed:
                failure = failure or str(failed)
        first = leg.heard[0].start if leg.heard else None
        self._reports.append(
            CallReport(
                ok=not failure and leg.answered_at is not None,
                failure=failure or ("" if leg.answered_at is not None else f"not answered: {leg.end}"),
                setup_ms=None if leg.answered_at is None else round(to_ms(leg.answered_at - leg.began_at), 1),
                first_audio_ms=(
                    round(to_ms(first - leg.answered_at), 1)
                    if first is not None and leg.answered_at is not None
                    else None
                ),
                heard_s=round(sum(span.seconds for span in leg.heard), 2),
                legs=(leg,),
                recording=recording,
            )
        )
        del self._reports[:-MOST_REPORTS]
