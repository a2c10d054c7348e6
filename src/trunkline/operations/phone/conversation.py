"""One call of a phone in software: its leg, its witness, when what happened, and speaking into it.

Shared by the scripted caller and the person's phone. Refuses to decide anything: they do.
"""

from collections.abc import Callable
from typing import Final

from trunkline.model import MS, SECOND, Clock, Nanos
from trunkline.operations.phone.follow import TICK, Clip
from trunkline.operations.phone.report import LegReport, Sending, spoken
from trunkline.operations.phone.wire import Reception
from trunkline.operations.phone.witness import WitnessedPort
from trunkline.telephony.legs.contract import LegAnswered, LegEnded, LegEvent
from trunkline.telephony.legs.sip import SipLeg
from trunkline.telephony.media.port import (
    Flushed,
    MediaClosed,
    MediaEvent,
    MediaFailed,
    PlayEnded,
)

PATIENCE: Final = 5 * SECOND
"""How much longer than its own length an utterance may take before it counts as stuck."""

DIGIT_MS: Final = 100
DIGIT_GAP_MS: Final = 60

Note = Callable[..., None]
"""Tells the world of an event: ``note(kind, **data)``."""


class Conversation:
    """A leg from its INVITE to its end."""

    def __init__(
        self,
        party: str,
        clock: Clock,
        *,
        note: Note,
        on_event: "Callable[[Conversation, LegEvent], None]" = lambda _conversation, _event: None,
    ) -> None:
        self.party = party
        self.leg: SipLeg | None = None
        self.witness: WitnessedPort | None = None
        self.began_at = clock.now()
        self.answered_at: Nanos | None = None
        self.ended_at: Nanos | None = None
        self.end = ""
        self._clock = clock
        self._note = note
        self._on_event = on_event
        self._playing: str | None = None
        self._items = 0

    def dialled(self, leg: SipLeg, witness: WitnessedPort) -> None:
        """The INVITE was sent just now; ``leg`` tells its events to ``leg_event`` already."""
        self.began_at = self._clock.now()
        self._connect(leg, witness)

    def accepted(self, leg: SipLeg, witness: WitnessedPort) -> None:
        """An inbound leg whose media is open."""
        self._connect(leg, witness)

    def _connect(self, leg: SipLeg, witness: WitnessedPort) -> None:
        self.leg, self.witness = leg, witness
        witness.listen(self._media_event)

    # --- events ---------------------------------------------------------------------------------------

    def leg_event(self, event: LegEvent) -> None:
        """Sink for the leg's events."""
        match event:
            case LegAnswered():
                if self.answered_at is None:
                    self.answered_at = event.at
            case LegEnded():
                self._finish(_why(event))
            case _:
                pass
        self._on_event(self, event)

    def _media_event(self, event: MediaEvent) -> None:
        match event:
            case PlayEnded(heard=heard) if heard.item == self._playing:
                self._playing = None
            case Flushed() | MediaClosed():
                self._playing = None
            case MediaFailed(detail=detail):
                self._finish(f"media failed: {detail}")
            case _:
                pass

    def _finish(self, why: str) -> None:
        if self.ended_at is None:
            self.ended_at, self.end = self._clock.now(), why
            self._note("ended", party=self.party, why=why)

    async def until(self, reached: Callable[[], bool], within: Nanos) -> bool:
        """Wait until ``reached`` or the bound; says whether it was reached."""
        deadline = Nanos(self._clock.now() + within)
        while not reached():
            if self._clock.now() >= deadline:
                return False
            await self._clock.sleep_until(Nanos(min(deadline, self._clock.now() + TICK)))
        return True

    # --- speaking -------------------------------------------------------------------------------------

    async def speak(self, name: str, clip: Clip, stop: Callable[[], bool] = lambda: False) -> None:
        """Play a clip; returns when its last packet was sent, the call is over, or ``stop`` says so."""
        pcm, rate = clip
        if self.witness is None or self.end:
            return
        self._items += 1
        item = self._playing = f"{name} #{self._items}"
        self._note("speaks", party=self.party, item=name)
        self.witness.play(item, pcm, rate)
        self.witness.end_item(item)
        length = len(pcm) // 2 * SECOND // rate
        deadline = Nanos(self._clock.now() + length + PATIENCE)
        while self._busy(item) and not stop() and self._clock.now() < deadline:
            await self._clock.sleep_until(Nanos(self._clock.now() + TICK))
        self._playing = None

    def _busy(self, item: str) -> bool:
        return self._playing == item and not self.end

    async def press(self, digits: str) -> None:
        """Send digits by RFC 4733; returns when they were sent."""
        if self.witness is None or self.end:
            return
        self._note("presses", party=self.party, digits=digits)
        self.witness.send_dtmf(digits, duration_ms=DIGIT_MS, gap_ms=DIGIT_GAP_MS)
        span = len(digits) * (DIGIT_MS + DIGIT_GAP_MS) * MS
        await self._clock.sleep_until(Nanos(self._clock.now() + span))

    # --- end ------------------------------------------------------------------------------------------

    async def hang_up(self, why: str) -> None:
        """End the leg, whatever state it is in."""
        self._finish(why)
        if self.leg is not None:
            await self.leg.hangup()

    def report(self) -> LegReport:
        """What happened on this leg."""
        until = self.ended_at or self._clock.now()
        log = self.witness.log if self.witness is not None else None
        sent = log.packets(sent=True) if log is not None else []
        if log is not None:
            log.heard.update(self._clock.now())
            log.spoken.update(self._clock.now())
        return LegReport(
            target=self.party,
            began_at=self.began_at,
            answered_at=self.answered_at,
            ended_at=self.ended_at,
            end=self.end,
            received=log.reception() if log is not None else Reception(),
            sent=Sending(
                packets=len(sent),
                peer=sent[-1].peer if sent else "",
                first_at=sent[0].at if sent else None,
                last_at=sent[-1].at if sent else None,
            ),
            heard=spoken(log.heard.spans, until) if log is not None else (),
            said=spoken(log.spoken.spans, until) if log is not None else (),
        )


def _why(event: LegEnded) -> str:
    """The end of a leg in words."""
    match event.cause:
        case "bye":
            return "the far end hung up" if event.by_peer else "we hung up"
        case "rejected":
            return f"refused with {event.status} {event.detail}".rstrip()
        case "local":
            return "we hung up"
        case "timeout":
            return "no answer came"
        case cause:
            return f"{cause} {event.status or ''} {event.detail}".strip()
