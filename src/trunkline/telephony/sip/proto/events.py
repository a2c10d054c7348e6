"""What the user agent tells its user. Commands are methods of the session that an event carries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trunkline.telephony.sip.proto.refer import IncomingRefer
    from trunkline.telephony.sip.proto.session import Session
    from trunkline.telephony.sip.proto.uac import ClientSession
    from trunkline.telephony.sip.proto.uas import ServerSession


@dataclass(frozen=True, slots=True)
class IncomingCall:
    """A new INVITE; 100 Trying has been sent. ``session.offer`` is its SDP or ``b""``."""

    session: ServerSession


@dataclass(frozen=True, slots=True)
class CallProgress:
    """A 1xx above 100 to our INVITE. ``tag`` tells forks apart; ``body`` is early SDP or ``b""``."""

    session: ClientSession
    status: int
    reason: str
    tag: str
    body: bytes


@dataclass(frozen=True, slots=True)
class CallAnswered:
    """The first 2xx to our INVITE. When the INVITE had an offer, ``body`` is the answer and the ACK has been
    sent. Otherwise ``body`` is an offer and ``session.acknowledge(answer)`` must follow."""

    session: ClientSession
    body: bytes
    is_offer: bool


@dataclass(frozen=True, slots=True)
class CallConfirmed:
    """The ACK to our 2xx arrived. ``body`` is the answer when the offer was in our 2xx."""

    session: ServerSession
    body: bytes


@dataclass(frozen=True, slots=True)
class OfferReceived:
    """A re-INVITE. ``body`` is its offer, or ``b""`` when we are to make one; answer with
    ``session.accept_offer`` or ``session.refuse_offer``."""

    session: Session
    body: bytes


@dataclass(frozen=True, slots=True)
class AnswerReceived:
    """The ACK of a re-INVITE that had no offer brought the answer to ours."""

    session: Session
    body: bytes


@dataclass(frozen=True, slots=True)
class OfferAnswered:
    """The end of our re-INVITE: a 2xx with the answer, or the failure that left the session unchanged."""

    session: Session
    status: int
    reason: str
    body: bytes


@dataclass(frozen=True, slots=True)
class InfoReceived:
    """An INFO, already answered with 200."""

    session: Session
    content_type: str
    body: bytes


@dataclass(frozen=True, slots=True)
class ReferAnswered:
    """The final response to our REFER itself."""

    session: Session
    status: int
    reason: str


@dataclass(frozen=True, slots=True)
class ReferNotified:
    """A NOTIFY of our REFER's subscription: status line of its sipfrag, 0 when it had none. ``final`` is set
    on the last one."""

    session: Session
    status: int
    reason: str
    final: bool


@dataclass(frozen=True, slots=True)
class ReferReceived:
    """The peer asks us to call ``refer.target``; answer with ``refer.accept`` or ``refer.reject``."""

    session: Session
    refer: IncomingRefer


@dataclass(frozen=True, slots=True)
class CallEnded:
    """The session is over for its user; once per session and last. ``cause`` is one of ``bye, cancel,
    rejected, timeout, transport, local``."""

    session: Session
    by_peer: bool
    cause: str
    status: int
    reason: str


SipEvent = (
    IncomingCall
    | CallProgress
    | CallAnswered
    | CallConfirmed
    | OfferReceived
    | AnswerReceived
    | OfferAnswered
    | InfoReceived
    | ReferAnswered
    | ReferNotified
    | ReferReceived
    | CallEnded
)
