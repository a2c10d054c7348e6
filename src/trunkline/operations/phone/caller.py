"""The scripted caller: dials, follows its script, follows a transfer, and reports what it heard."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from trunkline.model import SECOND, Clock, LocalError, Nanos, RemoteError, TrunklineError, to_ms
from trunkline.operations.phone.conversation import Conversation, Note
from trunkline.operations.phone.follow import Clip, Follower, ScriptFailed
from trunkline.operations.phone.line import Line
from trunkline.operations.phone.recording import save
from trunkline.operations.phone.report import CallReport, StepReport, TransferReport
from trunkline.operations.phone.script import Script
from trunkline.operations.phone.wire import WireLog
from trunkline.telephony.legs.contract import LegAnswered, LegEvent, LegRinging, TransferRequested
from trunkline.telephony.legs.sip import SipLeg

ANSWER_WITHIN: Final = Nanos(60 * SECOND)
LISTEN: Final = Nanos(10 * SECOND)
NEW_PARTY_WITHIN: Final = Nanos(60 * SECOND)
OLD_PARTY_LEAVES_WITHIN: Final = Nanos(5 * SECOND)
"""After a transfer the one who asked for it hangs up; when not, we do."""

LINGER: Final = 300_000_000
"""How long the sockets listen on after the end, for what still arrives."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a caller does on one call."""

    target: str
    caller: str = ""
    """User part or URI for From."""
    script: Script | None = None
    clips: Mapping[int, Clip] | None = None
    """What the script says, by step (``follow.rehearse``)."""
    listen: Nanos = LISTEN
    """Without a script: how long to listen."""
    save_to: Path | None = None


class Caller:
    """One call, followed through a transfer. It is the ``Phone`` of a ``Follower``."""

    def __init__(self, line: Line, clock: Clock, *, note: Note) -> None:
        self._line = line
        self._clock = clock
        self._note = note
        self._conversations: list[Conversation] = []
        self._moving: asyncio.Task[None] | None = None
        self._transfer: TransferReport | None = None
        self._moved = False
        self._failure = ""

    # --- what a script sees -----------------------------------------------------------------------------

    @property
    def _current(self) -> Conversation:
        return self._conversations[-1] if self._moved else self._conversations[0]

    @property
    def log(self) -> WireLog:
        """Packets of the conversation that is current."""
        witness = self._current.witness
        return witness.log if witness is not None else WireLog()

    @property
    def over(self) -> str:
        """Why nobody is on the line, empty while somebody is or a transfer is under way."""
        under_way = self._moving is not None and not self._moving.done()
        return "" if under_way else self._current.end

    @property
    def transferred(self) -> bool:
        return self._moved

    @property
    def transfer_failed(self) -> str:
        return self._transfer.failure if self._transfer is not None else ""

    async def speak(self, name: str, clip: Clip) -> None:
        """Say it to whoever is on the line; cut short when that changes."""
        conversation = self._current
        await conversation.speak(name, clip, lambda: self._current is not conversation)

    async def press(self, digits: str) -> None:
        await self._current.press(digits)

    async def hang_up(self) -> None:
        for conversation in self._conversations:
            if not conversation.end:
                await conversation.hang_up("we hung up")

    # --- the call -------------------------------------------------------------------------------------

    async def call(self, plan: Plan) -> CallReport:
        """Carry out the plan. Whatever a peer does ends up in the report, not in an error."""
        steps: tuple[StepReport, ...] = ()
        try:
            if await self._dialled(plan):
                steps = await self._converse(plan)
        finally:
            if self._moving is not None:
                self._moving.cancel()
                await asyncio.gather(self._moving, return_exceptions=True)
            await self.hang_up()
        await self._clock.sleep_until(Nanos(self._clock.now() + LINGER))
        return self._report(plan, steps)

    async def _dialled(self, plan: Plan) -> bool:
        self._note("dials", target=plan.target)
        try:
            first = await self._dial(plan.target, plan.caller)
        except TrunklineError as failed:
            self._failure = str(failed)
            return False
        reached = await first.until(lambda: first.answered_at is not None or bool(first.end), ANSWER_WITHIN)
        if first.answered_at is not None:
            return True
        self._failure = f"not answered: {first.end}" if reached else "not answered within 60 s"
        return False

    async def _dial(self, target: str, caller: str) -> Conversation:
        conversation = Conversation(target, self._clock, note=self._note, on_event=self._on_event)
        leg = await self._line.legs.dial(target, caller=caller, listener=conversation.leg_event)
        self._conversations.append(conversation)
        conversation.dialled(leg, self._line.media.witness_of(leg.media))
        return conversation

    async def _converse(self, plan: Plan) -> tuple[StepReport, ...]:
        if plan.script is None:
            await self._current.until(lambda: bool(self.over), plan.listen)
            return ()
        follower = Follower(
            plan.script,
            self,
            plan.clips or {},
            self._clock,
            began=lambda line: self._note("step", line=line.number, name=line.name),
        )
        try:
            await follower.run()
        except ScriptFailed as failed:
            self._failure = failed.what
        except (LocalError, RemoteError) as failed:
            self._failure = str(failed)
        return tuple(
            StepReport(done.line, done.name, done.began, done.ended, dict(done.detail))
            for done in follower.done
        )

    # --- events, transfer -----------------------------------------------------------------------------

    def _on_event(self, conversation: Conversation, event: LegEvent) -> None:
        match event:
            case LegRinging(status=status):
                self._note("rings", party=conversation.party, status=status)
            case LegAnswered():
                took = to_ms((conversation.answered_at or 0) - conversation.began_at)
                self._note("answered", party=conversation.party, setup_ms=round(took, 1))
            case TransferRequested():
                self._transfer_requested(conversation, event)
            case _:
                pass

    def _transfer_requested(self, old: Conversation, event: TransferRequested) -> None:
        leg = old.leg
        if leg is None:
            return
        if self._transfer is not None:
            leg.reject_transfer(486)
            return
        self._note("transfer", target=event.target)
        now = self._clock.now()
        self._transfer = TransferReport(event.target, requested_at=now, accepted_at=now, answered_at=None)
        if old.witness is not None:
            old.witness.let_go()
        self._moving = asyncio.get_running_loop().create_task(self._move(old, leg, event), name="transfer")

    async def _move(self, old: Conversation, leg: SipLeg, event: TransferRequested) -> None:
        """Call the new party and report to the old one how that goes."""
        self._settle(accepted_at=self._clock.now())
        new = Conversation(event.target, self._clock, note=self._note, on_event=self._on_event)
        self._conversations.append(new)
        made = await self._line.legs.follow(leg, event, new.leg_event)
        if made is not None:
            new.dialled(made, self._line.media.witness_of(made.media))
            await new.until(lambda: new.answered_at is not None or bool(new.end), NEW_PARTY_WITHIN)
        if new.answered_at is None:
            await self._stay(old, new)
            return
        self._settle(answered_at=new.answered_at)
        self._moved = True
        if not await old.until(lambda: bool(old.end), OLD_PARTY_LEAVES_WITHIN):
            await old.hang_up("we hung up after the transfer")

    async def _stay(self, old: Conversation, new: Conversation) -> None:
        if new.leg is not None and not new.end:
            await new.hang_up("not answered")
        self._settle(failure=new.end or "the target could not be called")
        if old.witness is not None:
            old.witness.take_up()
        self._note("transfer_failed", why=self.transfer_failed)

    def _settle(self, **changes: Any) -> None:
        if self._transfer is not None:
            self._transfer = replace(self._transfer, **changes)

    # --- report ---------------------------------------------------------------------------------------

    def _report(self, plan: Plan, steps: tuple[StepReport, ...]) -> CallReport:
        first = self._conversations[0] if self._conversations else None
        legs = tuple(conversation.report() for conversation in self._conversations)
        answered = first.answered_at if first is not None else None
        heard = [span for leg in legs for span in leg.heard]
        witnesses = [one.witness for one in self._conversations if one.witness is not None]
        return CallReport(
            ok=not self._failure,
            failure=self._failure,
            setup_ms=None
            if first is None or answered is None
            else round(to_ms(answered - first.began_at), 1),
            first_audio_ms=(
                round(to_ms(legs[0].heard[0].start - answered), 1)
                if answered is not None and legs and legs[0].heard
                else None
            ),
            heard_s=round(sum(span.seconds for span in heard), 2),
            legs=legs,
            steps=steps,
            transfer=self._transfer,
            recording=(
                save(plan.save_to, [witness.log for witness in witnesses], answered)
                if plan.save_to is not None and answered is not None
                else None
            ),
        )
