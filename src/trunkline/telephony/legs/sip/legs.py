"""SIP calls as legs: inbound INVITEs become legs for a handler, ``dial`` places outbound ones.

Owns the map from sessions to legs and the tasks that free media. Who may call is decided by a
``TrunkTable`` before any session exists (give its ``screen`` to the stack).
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final

from trunkline.model import Clock, LegId, Overloaded, RemoteProtocolError
from trunkline.model.ids import make_id
from trunkline.model.units import MS, SECOND
from trunkline.telephony.legs.contract import (
    Direction,
    LegAnswered,
    LegEnded,
    LegEvent,
    LegHandler,
    LegInfo,
    LegRinging,
    TransferRequested,
)
from trunkline.telephony.legs.sip.info import inbound_info, user_of
from trunkline.telephony.legs.sip.leg import Endpoint, SipLeg
from trunkline.telephony.legs.sip.trunks import Trunk, TrunkTable
from trunkline.telephony.media.port import MediaFactory
from trunkline.telephony.sip.proto import (
    ClientSession,
    Entropy,
    IncomingCall,
    NameAddr,
    Peer,
    Session,
    SipEvent,
    SipUri,
    parse_sip_uri,
    parse_uri,
    sip_uri,
)
from trunkline.telephony.sip.proto.dialog import peer_of

log = logging.getLogger(__name__)

CLOSE_WAIT: Final = 2 * SECOND
CLOSE_STEP: Final = 20 * MS


class SipLegs:
    """All SIP legs of one endpoint. Set its ``handle`` as the stack's ``on_event``.

    ``accept_refer`` lets peers transfer us (a phone wants that, an agent does not: 403).
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        media_factory: MediaFactory,
        trunks: TrunkTable,
        entropy: Entropy,
        clock: Clock,
        handler: LegHandler | None = None,
        accept_refer: bool = False,
    ) -> None:
        self.endpoint = endpoint
        self.media_factory = media_factory
        self.accept_refer = accept_refer
        self._trunks = trunks
        self._entropy = entropy
        self._clock = clock
        self._handler = handler
        self._legs: dict[Session, SipLeg] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        """Legs that have not ended."""
        return len(self._legs)

    def set_handler(self, handler: LegHandler | None) -> None:
        """Who gets new inbound legs from now on; None refuses them with 480."""
        self._handler = handler

    # --- events -------------------------------------------------------------------------------------

    def handle(self, event: SipEvent) -> None:
        """An event of the user agent."""
        if isinstance(event, IncomingCall):
            self._incoming(event)
            return
        leg = self._legs.get(event.session)
        if leg is not None:
            leg.handle(event)
            if leg.ended:
                del self._legs[event.session]

    def _incoming(self, event: IncomingCall) -> None:
        session = event.session
        now = self.endpoint.now()
        trunk = self._trunks.match(session.peer.host)
        if trunk is None:
            session.reject(403, now)
            return
        if self._handler is None:
            session.reject(480, now)
            return
        info = inbound_info(session.request, session.peer, trunk)
        leg = SipLeg(self, self._new_id(), info, trunk, session, session.peer.host)
        self._legs[session] = leg
        try:
            self._handler(leg)
        except Exception:
            # The handler is another room's code; its mistake costs this call only.
            self.endpoint.ua.counters["handler_failed"] += 1
            log.exception("the handler of a new leg failed")
            session.reject(500, now)

    # --- outbound -----------------------------------------------------------------------------------

    async def dial(
        self,
        target: str,
        *,
        caller: str = "",
        display_name: str = "",
        trunk: str = "",
        proxy: str = "",
        headers: Mapping[str, str] | None = None,
        listener: Callable[[LegEvent], None] | None = None,
    ) -> SipLeg:
        """Call ``target`` (a SIP URI, or ``tel:`` with a ``proxy``). Gives the leg as soon as the INVITE is
        on its way; ``LegRinging``, ``LegAnswered`` and ``LegEnded`` follow. Redirections are not followed.

        ``caller`` is the user part of From, or a whole URI. ``proxy`` is a SIP URI that the INVITE is sent
        to instead of the target's own host. Raises ``RemoteProtocolError`` for a URI that cannot be used,
        ``Overloaded`` when there is no port or session left.
        """
        uri = parse_uri(target)
        if isinstance(uri, SipUri):
            uri = uri.with_(headers="") if uri.headers else uri
        peer = peer_of(parse_sip_uri(proxy) if proxy else uri)
        routes = (NameAddr(_loose(parse_sip_uri(proxy))),) if proxy else ()
        from_ = self._identity(caller, display_name, peer)
        rules = self._trunks.named(trunk) or self._trunks.match(peer.host) or Trunk(trunk or "dialled")
        info = LegInfo(
            trunk=rules.name,
            direction=Direction.OUTBOUND,
            ani=user_of(from_.uri),
            dnis=user_of(uri),
            display_name=display_name,
            source=str(peer),
            protocol_id="",
        )
        leg = SipLeg(self, self._new_id(), info, rules, None, peer.host)
        if listener is not None:
            leg.listen(listener)

        def place(offer: bytes) -> ClientSession:
            session = self.endpoint.ua.invite(
                uri,
                from_=from_,
                body=offer,
                now=self.endpoint.now(),
                routes=routes,
                headers=headers,
                peer=peer,
            )
            self._legs[session] = leg
            return session

        await leg.dial(place)
        self.endpoint.kick()
        return leg

    def _identity(self, caller: str, display_name: str, peer: Peer) -> NameAddr:
        if ":" in caller:
            return NameAddr(parse_uri(caller), display_name)
        host = self.endpoint.media_host(peer.host)
        return NameAddr(sip_uri(caller or self.endpoint.ua.config.contact_user, host), display_name)

    async def follow(
        self, leg: SipLeg, request: TransferRequested, listener: Callable[[LegEvent], None] | None = None
    ) -> SipLeg | None:
        """Do what a transfer asks: accept it, call the target, report how that goes. Gives the new leg, None
        when the call could not even be placed. The old leg stays until its peer or its owner ends it."""
        leg.accept_transfer()

        def relay(event: LegEvent) -> None:
            match event:
                case LegRinging(status=status):
                    leg.transfer_progress(status)
                case LegAnswered():
                    leg.transfer_progress(200)
                case LegEnded(status=status, detail=detail):
                    leg.transfer_progress(status if status >= 300 else 487, detail if status >= 300 else "")
                case _:
                    pass
            if listener is not None:
                listener(event)

        extra = {"Referred-By": request.referred_by} if request.referred_by else None
        try:
            return await self.dial(request.target, caller=leg.info.ani, headers=extra, listener=relay)
        except RemoteProtocolError as error:
            leg.transfer_progress(400, error.what)
        except Overloaded:
            leg.transfer_progress(503)
        return None

    # --- life ---------------------------------------------------------------------------------------

    async def close(self) -> None:
        """Hang up every leg, free all media, and give the peers a moment to answer the BYEs."""
        self._handler = None
        for leg in list(self._legs.values()):
            await leg.hangup(reason="shutting down")
        await asyncio.gather(*self._tasks, return_exceptions=True)
        deadline = self._clock.now() + CLOSE_WAIT
        while self.endpoint.ua.sessions and (now := self._clock.now()) < deadline:
            await self._clock.sleep_until(type(now)(now + CLOSE_STEP))

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Run a coroutine that ``close`` waits for (called by legs)."""
        task = asyncio.get_running_loop().create_task(self._guarded(work, name), name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _guarded(self, work: Coroutine[Any, Any, None], name: str) -> None:
        try:
            await work
        except Exception:
            # Nobody awaits this task's result; a failure must be seen all the same.
            self.endpoint.ua.counters["task_failed"] += 1
            log.exception("%s failed", name)

    def session_number(self) -> int:
        """A number for an SDP origin (called by legs)."""
        return int.from_bytes(self._entropy(6), "big")

    def _new_id(self) -> LegId:
        return LegId(make_id("leg", self._entropy(8)))


def _loose(uri: SipUri) -> SipUri:
    return uri if uri.param("lr") is not None else uri.with_(params=(*uri.params, ("lr", None)))
