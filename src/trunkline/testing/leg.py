"""A leg in memory: the contract of ``telephony.legs``, with a peer that does what the test says."""

import asyncio
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from trunkline.model import MS, Clock, LegId, LocalProtocolError, Nanos, RemoteProtocolError
from trunkline.telephony.legs.contract import (
    Direction,
    LegAnswered,
    LegDtmf,
    LegEnded,
    LegEvent,
    LegHeld,
    LegInfo,
    LegResumed,
    TransferProgress,
)
from trunkline.telephony.media.port import Codec, MediaFactory, MediaPort, RtpParameters
from trunkline.testing.events import Journal

_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class TransferStep:
    """One report of a transfer, ``after_ms`` after the step before it."""

    after_ms: int
    status: int
    reason: str = ""
    accepted: bool = False
    final: bool = False


TRANSFER_SUCCEEDS = (
    TransferStep(20, 202, "Accepted", accepted=True),
    TransferStep(50, 100, "Trying"),
    TransferStep(300, 180, "Ringing"),
    TransferStep(900, 200, "OK", final=True),
)
TRANSFER_REFUSED = (TransferStep(20, 603, "Decline", final=True),)
TRANSFER_BUSY = (
    TransferStep(20, 202, "Accepted", accepted=True),
    TransferStep(200, 486, "Busy Here", final=True),
)
TRANSFER_SILENT = (TransferStep(20, 202, "Accepted", accepted=True),)


@dataclass(slots=True)
class Transferred:
    """A transfer that was asked for."""

    target: str
    headers: Mapping[str, str] = field(default_factory=dict)


def leg_info(*, ani: str = "5550001", dnis: str = "1000", trunk: str = "pbx", **headers: str) -> LegInfo:
    """A plausible inbound call; keyword names become headers with ``-`` for ``_``."""
    return LegInfo(
        trunk=trunk,
        direction=Direction.INBOUND,
        ani=ani,
        dnis=dnis,
        display_name="",
        source="127.0.0.1:5060",
        protocol_id=f"fake-{next(_numbers)}@127.0.0.1",
        headers={name.replace("_", "-").lower(): value for name, value in headers.items()},
    )


class FakeLeg:
    """One party. ``state`` is one of ``new, prepared, ringing, answered, released, ended``."""

    def __init__(
        self,
        factory: MediaFactory,
        clock: Clock,
        *,
        info: LegInfo | None = None,
        transfers: Sequence[Sequence[TransferStep]] = (TRANSFER_SUCCEEDS,),
        acknowledges: bool = True,
        speakable: bool = True,
        journal: Journal | None = None,
    ) -> None:
        """``transfers`` are the outcomes of successive transfers (the last one repeats); ``acknowledges``: the peer
        ACKs an answer; ``speakable``: its offer has a codec we know."""
        self.state = "new"
        self.status = 0
        self.transferred: list[Transferred] = []
        self.journal = journal or Journal()
        self.ended: LegEnded | None = None
        self._id = LegId(f"leg-fake-{next(_numbers)}")
        self._info = info or leg_info()
        self._factory = factory
        self._clock = clock
        self._transfers = list(transfers)
        self._acknowledges = acknowledges
        self._speakable = speakable
        self._media: MediaPort | None = None
        self._sink: Callable[[LegEvent], None] | None = None
        self._outbox: list[LegEvent] = []
        self._delivery: asyncio.Handle | None = None
        self._task: asyncio.Task[None] | None = None

    # --- what trunkline asks of a leg --------------------------------------------------------------------

    @property
    def id(self) -> LegId:
        return self._id

    @property
    def info(self) -> LegInfo:
        return self._info

    @property
    def media(self) -> MediaPort:
        if self._media is None:
            raise LocalProtocolError("the leg has no media before prepare()")
        return self._media

    def listen(self, sink: Callable[[LegEvent], None]) -> None:
        self._sink = sink
        self._deliver()

    async def prepare(self) -> None:
        if not self._live("prepare"):
            return
        if not self._speakable:
            raise RemoteProtocolError("the offer has no codec we speak")
        await self._open_media()
        if self.ended is None:
            self.state = "prepared"

    async def ring(self) -> None:
        if self._live("ring"):
            self.state = "ringing"

    async def answer(self) -> None:
        if not self._live("answer"):
            return
        self.state = "answered"
        if self._acknowledges:
            self.acknowledge()

    async def reject(self, status: int, reason: str = "", *, retry_after: int | None = None) -> None:
        live = self._live("reject", (status, reason, retry_after))
        await self._free_media()
        if live:
            self.status = status
            self._end(by_peer=False, cause="rejected", status=status)

    async def transfer(self, target: str, *, headers: Mapping[str, str] | None = None) -> None:
        if not self._live("transfer", target):
            return
        self.transferred.append(Transferred(target, dict(headers or {})))
        steps = self._transfers.pop(0) if len(self._transfers) > 1 else self._transfers[0]
        self._stop_task()
        self._task = asyncio.get_running_loop().create_task(self._report(steps), name="fake leg transfer")

    async def release_media(self) -> None:
        if self._live("release_media"):
            self.state = "released"
            await self._free_media()

    async def reanchor_media(self) -> None:
        if self._live("reanchor_media"):
            await self._open_media()
            self.state = "answered"

    async def hangup(self, *, reason: str = "") -> None:
        self._live("hangup", reason)
        await self._free_media()
        self._end(by_peer=False, cause="local")

    # --- what the peer does ------------------------------------------------------------------------------

    def acknowledge(self) -> None:
        """ACK: the dialog is confirmed."""
        self._emit(LegAnswered(at=self._clock.now()))

    def peer_hangs_up(self) -> None:
        """BYE."""
        self._end(by_peer=True, cause="bye")

    def peer_cancels(self) -> None:
        """CANCEL before the answer."""
        self._end(by_peer=True, cause="cancel", status=487)

    def peer_vanishes(self, cause: str = "timeout", *, detail: str = "") -> None:
        """The dialog dies without a BYE: ``timeout``, ``session_expired`` or ``transport``."""
        self._end(by_peer=False, cause=cause, detail=detail)

    def peer_holds(self) -> None:
        """Re-INVITE with sendonly."""
        self._emit(LegHeld(at=self._clock.now()))

    def peer_resumes(self) -> None:
        """Re-INVITE with sendrecv."""
        self._emit(LegResumed(at=self._clock.now()))

    def peer_presses(self, digits: str) -> None:
        """Digits by SIP INFO."""
        for digit in digits:
            self._emit(LegDtmf(at=self._clock.now(), digit=digit))

    # --- inside ------------------------------------------------------------------------------------------

    def _live(self, step: str, detail: object = None) -> bool:
        self.journal.note("leg", step, detail)
        return self.ended is None

    async def _open_media(self) -> None:
        media = await self._factory.open(str(self._id))
        if self.ended is not None:
            await media.close()
            return
        self._media = media
        media.connect(RtpParameters("127.0.0.1", 40_000, Codec.PCMU, 0, dtmf_payload_type=101))

    async def _free_media(self) -> None:
        if self._media is not None:
            await self._media.close()

    async def _report(self, steps: Sequence[TransferStep]) -> None:
        for step in steps:
            await self._clock.sleep_until(Nanos(self._clock.now() + step.after_ms * MS))
            self._emit(
                TransferProgress(
                    at=self._clock.now(),
                    status=step.status,
                    reason=step.reason,
                    accepted=step.accepted,
                    final=step.final,
                )
            )

    def _end(self, *, by_peer: bool, cause: str, status: int = 0, detail: str = "") -> None:
        if self.ended is not None:
            return
        self._stop_task()
        event = LegEnded(at=self._clock.now(), by_peer=by_peer, cause=cause, status=status, detail=detail)
        self._emit(event)
        self.ended = event
        self.state = "ended"

    def _stop_task(self) -> None:
        if self._task is not None:
            self._task.cancel()
            self._task = None

    def _emit(self, event: LegEvent) -> None:
        if self.ended is not None:
            return
        self._outbox.append(event)
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self._deliver()
            return
        if self._delivery is None:
            self._delivery = loop.call_soon(self._deliver)

    def _deliver(self) -> None:
        self._delivery = None
        while self._sink is not None and self._outbox:
            self._sink(self._outbox.pop(0))
