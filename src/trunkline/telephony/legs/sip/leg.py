"""One SIP call as a ``Leg``: joins a session's signalling with a media port's parameters.

Owns when media is opened, connected, released and re-anchored, and turns SIP events into leg events.
Refuses to see audio; ``legs`` hands it the events of its session.
"""

import asyncio
import ipaddress
from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import replace
from typing import Any, Final, Protocol, assert_never

from trunkline.model import LegId, LocalError, LocalProtocolError, Nanos, RemoteProtocolError
from trunkline.telephony.legs.contract import (
    LegAnswered,
    LegDtmf,
    LegEnded,
    LegEvent,
    LegHeld,
    LegInfo,
    LegResumed,
    LegRinging,
    TransferProgress,
    TransferRequested,
)
from trunkline.telephony.legs.sip.info import dtmf_digit, reason_header, reason_text
from trunkline.telephony.legs.sip.trunks import DtmfMode, Trunk
from trunkline.telephony.media.port import MediaDirection, MediaFactory, MediaPort, RtpParameters
from trunkline.telephony.sip.proto import (
    AnswerReceived,
    BadMessage,
    CallAnswered,
    CallConfirmed,
    CallEnded,
    CallProgress,
    ClientSession,
    IncomingCall,
    IncomingRefer,
    InfoReceived,
    OfferAnswer,
    OfferAnswered,
    OfferReceived,
    ReferAnswered,
    ReferNotified,
    ReferReceived,
    ServerSession,
    SipEvent,
    UserAgent,
)

MAX_EARLY_EVENTS: Final = 256
"""Events kept for a listener that comes late; older ones are dropped."""


class Endpoint(Protocol):
    """What legs need of a SIP stack (``sip.aio.SipStack``, or a node of the virtual network)."""

    @property
    def ua(self) -> UserAgent: ...

    def now(self) -> Nanos: ...

    def kick(self) -> None:
        """Carry out what commands queued."""
        ...

    def media_host(self, remote: str) -> str:
        """Our address as ``remote`` sees it."""
        ...


class Owner(Protocol):
    """What a leg needs of the ``SipLegs`` that made it."""

    endpoint: Endpoint
    media_factory: MediaFactory
    accept_refer: bool

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Run a coroutine that the owner waits for when it closes."""
        ...

    def session_number(self) -> int:
        """A number for an SDP origin."""
        ...


class SipLeg:
    """A leg over SIP (see ``legs.contract.Leg``). Made by ``SipLegs``."""

    def __init__(
        self,
        owner: Owner,
        leg_id: LegId,
        info: LegInfo,
        trunk: Trunk,
        session: ServerSession | None,
        remote_host: str,
    ) -> None:
        self._owner = owner
        self._id = leg_id
        self._info = info
        self._trunk = trunk
        self._session: ServerSession | ClientSession | None = session
        self._remote_host = remote_host
        self._media: MediaPort | None = None
        self._media_open = False
        self._negotiation: OfferAnswer | None = None
        self._sink: Callable[[LegEvent], None] | None = None
        self._early: deque[LegEvent] = deque(maxlen=MAX_EARLY_EVENTS)
        self._offer_result: asyncio.Future[OfferAnswered] | None = None
        self._refer: IncomingRefer | None = None
        self._held = False
        self._ended = False

    # --- what it is ---------------------------------------------------------------------------------

    @property
    def id(self) -> LegId:
        return self._id

    @property
    def info(self) -> LegInfo:
        return self._info

    @property
    def media(self) -> MediaPort:
        """The media port of now; another one after ``reanchor_media``."""
        if self._media is None:
            raise LocalProtocolError("the leg has no media before prepare()")
        return self._media

    @property
    def ended(self) -> bool:
        return self._ended

    @property
    def session(self) -> ServerSession | ClientSession:
        """The SIP session underneath, for traces."""
        if self._session is None:
            raise LocalProtocolError("the leg has not been dialled yet")
        return self._session

    def listen(self, sink: Callable[[LegEvent], None]) -> None:
        """See ``Leg.listen``."""
        self._sink = sink
        while self._early:
            sink(self._early.popleft())

    def _emit(self, event: LegEvent) -> None:
        if self._sink is None:
            self._early.append(event)
        else:
            self._sink(event)

    @property
    def _now(self) -> Nanos:
        return self._owner.endpoint.now()

    # --- inbound commands ---------------------------------------------------------------------------

    async def prepare(self) -> None:
        """See ``Leg.prepare``."""
        if self._ended or self._media is not None:
            return
        negotiation = self._new_negotiation()
        session = self.session
        if isinstance(session, ServerSession) and session.offer:
            # Looked at before a port is taken: an offer that we cannot speak costs nothing.
            negotiation.receive_offer(session.offer)
        await self._open_media(negotiation)

    async def ring(self) -> None:
        """180 Ringing."""
        session = self.session
        if isinstance(session, ServerSession) and not self._ended:
            session.progress(self._now)
            self._owner.endpoint.kick()

    async def answer(self) -> None:
        """See ``Leg.answer``. Raises ``LocalProtocolError`` before ``prepare``."""
        session = self.session
        if self._ended or not isinstance(session, ServerSession):
            return
        negotiation = self._need_negotiation()
        if session.offer:
            body = negotiation.answer()
            self._connect()
        else:
            body = negotiation.offer()
        session.answer(body, self._now)
        self._owner.endpoint.kick()

    async def reject(self, status: int, reason: str = "", *, retry_after: int | None = None) -> None:
        """See ``Leg.reject``."""
        session = self.session
        if not self._ended and isinstance(session, ServerSession):
            headers = {"Retry-After": str(retry_after)} if retry_after is not None else {}
            session.reject(status, self._now, reason=reason, headers=headers)
            self._owner.endpoint.kick()
        await self._close_media()

    # --- outbound -----------------------------------------------------------------------------------

    async def dial(self, place: Callable[[bytes], ClientSession]) -> None:
        """Open media, make the offer and send the INVITE (called by ``SipLegs.dial``)."""
        negotiation = self._new_negotiation()
        await self._open_media(negotiation)
        if self._ended:
            return
        try:
            self._session = place(negotiation.offer())
            self._info = replace(self._info, protocol_id=self._session.call_id)
        except BaseException:
            await self._close_media()
            raise

    # --- both ways ----------------------------------------------------------------------------------

    async def transfer(self, target: str, *, headers: Mapping[str, str] | None = None) -> None:
        """See ``Leg.transfer``. Raises ``LocalError`` for a target that is not a URI."""
        if self._ended:
            return
        try:
            self.session.refer.send(target, self._now, headers=headers)
        except BadMessage as error:
            raise LocalError(
                f"cannot transfer to {target!r}: {error.what}", hint="use a sip: or tel: URI"
            ) from None
        self._owner.endpoint.kick()

    async def hold(self) -> None:
        """Put the peer on hold (sendonly). Raises ``RemoteProtocolError`` when it refuses."""
        await self._change(MediaDirection.SENDONLY)

    async def resume(self) -> None:
        """End ``hold``. Raises ``RemoteProtocolError`` when the peer refuses."""
        await self._change(MediaDirection.SENDRECV)

    async def release_media(self) -> None:
        """See ``Leg.release_media``."""
        if self._negotiation is not None:
            self._negotiation.desired = MediaDirection.INACTIVE
        await self._close_media()

    async def reanchor_media(self) -> None:
        """See ``Leg.reanchor_media``. Raises ``Overloaded`` or, when the peer refuses, ``RemoteProtocolError``;
        the leg then has no media and should be hung up."""
        if self._ended:
            return
        await self._close_media()
        await self._open_media(self._need_negotiation())
        try:
            await self._change(MediaDirection.SENDRECV)
        except BaseException:
            await self.release_media()
            raise

    async def hangup(self, *, reason: str = "") -> None:
        """See ``Leg.hangup``."""
        if self._session is not None and not self._session.ended:
            self._session.hang_up(self._now, reason=reason_header(reason))
            self._owner.endpoint.kick()
        elif self._session is None:
            self._finish(by_peer=False, cause="cancel")
        await self._close_media()

    def send_dtmf(self, digits: str) -> None:
        """Send digits the way this trunk wants them: RFC 4733, or INFO when that was not agreed on."""
        if self._ended or self._media is None:
            return
        parameters = self._need_negotiation().parameters
        if self._trunk.dtmf is not DtmfMode.INFO and parameters is not None and parameters.dtmf_payload_type:
            self._media.send_dtmf(digits)
            return
        for digit in digits:
            self.session.send_info(digit, self._now)
        self._owner.endpoint.kick()

    # --- being transferred --------------------------------------------------------------------------

    def accept_transfer(self) -> None:
        """202 to the REFER of the last ``TransferRequested``; report with ``transfer_progress``."""
        if self._refer is not None:
            self._refer.accept(self._now)
            self._owner.endpoint.kick()

    def reject_transfer(self, status: int = 603) -> None:
        """Refuse the last ``TransferRequested``."""
        refer, self._refer = self._refer, None
        if refer is not None:
            refer.reject(status, self._now)
            self._owner.endpoint.kick()

    def transfer_progress(self, status: int, reason: str = "") -> None:
        """Tell the peer how the new call goes; a final status ends it."""
        if self._refer is not None:
            self._refer.notify(status, reason, self._now)
            if status >= 200:
                self._refer = None
            self._owner.endpoint.kick()

    # --- media --------------------------------------------------------------------------------------

    def _new_negotiation(self) -> OfferAnswer:
        self._negotiation = OfferAnswer(
            capabilities=self._trunk.capabilities,
            host="0.0.0.0",  # noqa: S104 - replaced as soon as a port is open
            port=0,
            session_id=self._owner.session_number(),
        )
        return self._negotiation

    def _need_negotiation(self) -> OfferAnswer:
        if self._negotiation is None:
            raise LocalProtocolError("the leg has no media before prepare()")
        return self._negotiation

    async def _open_media(self, negotiation: OfferAnswer) -> None:
        media = await self._owner.media_factory.open(self._id)
        self._media = media
        self._media_open = True
        if self._ended:
            # The caller went while the port was opened.
            await self._close_media()
            return
        host = media.local_host
        if host in {"0.0.0.0", "::", ""}:  # noqa: S104 - compared, not bound
            host = self._owner.endpoint.media_host(self._remote_host)
        negotiation.moved(host, media.local_port)

    async def _close_media(self) -> None:
        if self._media is not None and self._media_open:
            self._media_open = False
            await self._media.close()

    def _connect(self) -> None:
        parameters = self._need_negotiation().parameters
        if parameters is not None and self._media is not None and self._media_open:
            self._media.connect(self._reachable(parameters))

    def _reachable(self, parameters: RtpParameters) -> RtpParameters:
        """A peer behind a NAT signals an address that only it knows. Where the trunk says so, its media is
        exchanged with the address its signalling came from, and with no other; the port may be anything."""
        if not self._trunk.nat or parameters.remote_host == self._remote_host:
            return parameters
        try:
            ipaddress.ip_address(self._remote_host)
        except ValueError:  # a name that we dialled says nothing about addresses
            return parameters
        return replace(parameters, remote_host=self._remote_host)

    async def _change(self, direction: MediaDirection) -> None:
        """Offer ``direction`` with the media of now and wait for the answer."""
        if self._ended:
            return
        if self._offer_result is not None:
            raise LocalProtocolError("a re-INVITE is already under way")
        negotiation = self._need_negotiation()
        before, negotiation.desired = negotiation.desired, direction
        self._offer_result = asyncio.get_running_loop().create_future()
        try:
            self.session.reinvite(negotiation.offer(), self._now)
            self._owner.endpoint.kick()
            result = await self._offer_result
        finally:
            self._offer_result = None
        if result.status >= 300:
            negotiation.offer_failed()
            negotiation.desired = before
            raise RemoteProtocolError(f"the re-INVITE was refused: {result.status} {result.reason}")
        negotiation.receive_answer(result.body)
        self._connect()
        self._note_hold()

    def _note_hold(self) -> None:
        holds = self._need_negotiation().peer_holds
        if holds != self._held:
            self._held = holds
            self._emit(LegHeld(self._now) if holds else LegResumed(self._now))

    # --- events of the session ----------------------------------------------------------------------

    def handle(self, event: SipEvent) -> None:
        """An event of this leg's session."""
        match event:
            case CallProgress():
                self._on_progress(event)
            case CallAnswered():
                self._on_answered(event)
            case CallConfirmed():
                self._on_confirmed(event)
            case CallEnded():
                self._on_ended(event)
            case OfferReceived() | AnswerReceived() | OfferAnswered():
                self._on_change(event)
            case InfoReceived():
                self._on_info(event)
            case ReferReceived():
                self._on_refer(event)
            case ReferAnswered() | ReferNotified():
                self._on_transfer(event)
            case IncomingCall():
                pass
            case _:
                assert_never(event)

    def _on_change(self, event: OfferReceived | AnswerReceived | OfferAnswered) -> None:
        if isinstance(event, OfferReceived):
            self._on_offer(event)
        elif isinstance(event, AnswerReceived):
            self._on_answer(event.body)
        elif self._offer_result is not None and not self._offer_result.done():
            self._offer_result.set_result(event)

    def _on_info(self, event: InfoReceived) -> None:
        digit = dtmf_digit(event.content_type, event.body)
        if digit:
            self._emit(LegDtmf(self._now, digit))

    def _on_progress(self, event: CallProgress) -> None:
        early = False
        if event.body:
            try:
                self._need_negotiation().receive_answer(event.body, early=True)
                self._connect()
                early = True
            except BadMessage:
                self._owner.endpoint.ua.counters["bad_early_sdp"] += 1
        self._emit(LegRinging(self._now, event.status, early))

    def _on_answered(self, event: CallAnswered) -> None:
        negotiation = self._need_negotiation()
        try:
            if event.is_offer:
                negotiation.receive_offer(event.body)
                event.session.acknowledge(negotiation.answer(), self._now)
            else:
                negotiation.receive_answer(event.body)
        except BadMessage as error:
            self._unspeakable(error)
            return
        self._connect()
        self._emit(LegAnswered(self._now))
        self._note_hold()

    def _on_confirmed(self, event: CallConfirmed) -> None:
        negotiation = self._need_negotiation()
        if negotiation.awaiting_answer:
            try:
                negotiation.receive_answer(event.body)
            except BadMessage as error:
                self._unspeakable(error)
                return
            self._connect()
        self._emit(LegAnswered(self._now))
        self._note_hold()

    def _unspeakable(self, error: BadMessage) -> None:
        """The call is up but its media cannot be: end it at once, saying why."""
        self._owner.endpoint.ua.counters["bad_answer"] += 1
        self.session.hang_up(self._now, reason=reason_header(error.what, 488))

    def _on_offer(self, event: OfferReceived) -> None:
        negotiation = self._need_negotiation()
        if not event.body:
            event.session.accept_offer(negotiation.offer(), self._now)
            return
        try:
            negotiation.receive_offer(event.body)
        except BadMessage as error:
            event.session.refuse_offer(error.status or 488, self._now)
            return
        event.session.accept_offer(negotiation.answer(), self._now)
        self._connect()
        self._note_hold()

    def _on_answer(self, body: bytes) -> None:
        negotiation = self._need_negotiation()
        if not negotiation.awaiting_answer:
            return
        try:
            negotiation.receive_answer(body)
        except BadMessage:
            # The session goes on as it was (RFC 3264 section 4).
            negotiation.offer_failed()
            self._owner.endpoint.ua.counters["bad_answer"] += 1
            return
        self._connect()
        self._note_hold()

    def _on_refer(self, event: ReferReceived) -> None:
        refer = event.refer
        if not self._owner.accept_refer or refer.method != "INVITE":
            refer.reject(403, self._now)
        elif self._refer is not None:
            refer.reject(491, self._now)
        else:
            self._refer = refer
            self._emit(TransferRequested(self._now, refer.target, refer.referred_by))

    def _on_transfer(self, event: ReferAnswered | ReferNotified) -> None:
        if isinstance(event, ReferAnswered):
            accepted = event.status < 300
            progress = TransferProgress(self._now, event.status, event.reason, accepted, not accepted)
        else:
            progress = TransferProgress(
                self._now, event.status, event.reason, accepted=False, final=event.final
            )
        self._emit(progress)

    def _on_ended(self, event: CallEnded) -> None:
        detail = reason_text(event.reason)
        self._finish(by_peer=event.by_peer, cause=event.cause, status=event.status, detail=detail)

    def _finish(self, *, by_peer: bool, cause: str, status: int = 0, detail: str = "") -> None:
        if self._ended:
            return
        self._ended = True
        self._refer = None
        if self._offer_result is not None and not self._offer_result.done():
            self._offer_result.set_exception(RemoteProtocolError("the call ended during the re-INVITE"))
        self._emit(LegEnded(self._now, by_peer, cause, status, detail))
        if self._media_open:
            self._owner.spawn(self._close_media(), f"close media of {self._id}")
