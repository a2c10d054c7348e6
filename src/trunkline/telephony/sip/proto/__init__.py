"""SIP without I/O: bytes and time in; messages, timers and events out (RFC 3261 and friends).

``UserAgent`` is the way in; its docstring has the run loop of a shell. Imports no asyncio, socket, time or
random. Refuses to know media: session descriptions are made and read by ``OfferAnswer``, which only says
which addresses and codecs were agreed on.
"""

from trunkline.telephony.sip.proto.core import Health, Refusal, UaConfig
from trunkline.telephony.sip.proto.entropy import Entropy
from trunkline.telephony.sip.proto.errors import BadHeader, BadMessage, BadSdp, BadUri
from trunkline.telephony.sip.proto.events import (
    AnswerReceived,
    CallAnswered,
    CallConfirmed,
    CallEnded,
    CallProgress,
    IncomingCall,
    InfoReceived,
    OfferAnswered,
    OfferReceived,
    ReferAnswered,
    ReferNotified,
    ReferReceived,
    SipEvent,
)
from trunkline.telephony.sip.proto.framing import StreamFramer, parse_datagram
from trunkline.telephony.sip.proto.headers import NameAddr
from trunkline.telephony.sip.proto.message import Headers, Request, Response
from trunkline.telephony.sip.proto.offer import Capabilities, OfferAnswer
from trunkline.telephony.sip.proto.refer import IncomingRefer
from trunkline.telephony.sip.proto.session import Session
from trunkline.telephony.sip.proto.timers import Timing
from trunkline.telephony.sip.proto.transport import Peer, Send, TraceRecord
from trunkline.telephony.sip.proto.ua import UserAgent
from trunkline.telephony.sip.proto.uac import ClientSession
from trunkline.telephony.sip.proto.uas import ServerSession
from trunkline.telephony.sip.proto.uri import SipUri, TelUri, Uri, parse_sip_uri, parse_uri, sip_uri

__all__ = [
    "AnswerReceived",
    "BadHeader",
    "BadMessage",
    "BadSdp",
    "BadUri",
    "CallAnswered",
    "CallConfirmed",
    "CallEnded",
    "CallProgress",
    "Capabilities",
    "ClientSession",
    "Entropy",
    "Headers",
    "Health",
    "IncomingCall",
    "IncomingRefer",
    "InfoReceived",
    "NameAddr",
    "OfferAnswer",
    "OfferAnswered",
    "OfferReceived",
    "Peer",
    "ReferAnswered",
    "ReferNotified",
    "ReferReceived",
    "Refusal",
    "Request",
    "Response",
    "Send",
    "ServerSession",
    "Session",
    "SipEvent",
    "SipUri",
    "StreamFramer",
    "TelUri",
    "Timing",
    "TraceRecord",
    "UaConfig",
    "Uri",
    "UserAgent",
    "parse_datagram",
    "parse_sip_uri",
    "parse_uri",
    "sip_uri",
]
