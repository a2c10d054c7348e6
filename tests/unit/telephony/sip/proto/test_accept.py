"""The 2xx that is repeated until its ACK."""

import random

from trunkline.model import Nanos, seconds
from trunkline.telephony.sip.proto.accept import PendingAck
from trunkline.telephony.sip.proto.core import Core, UaConfig
from trunkline.telephony.sip.proto.entropy import Ids
from trunkline.telephony.sip.proto.message import Request, parse_head
from trunkline.telephony.sip.proto.transport import Peer


def test_it_is_sent_from_t1_to_t2_for_64_t1_and_then_given_up() -> None:
    core = Core(UaConfig(), Ids(random.Random(1).randbytes), lambda *_: ("h", 1))
    invite = parse_head(
        b"INVITE sip:a@b SIP/2.0\r\nVia: SIP/2.0/TCP h;branch=z9hG4bK1\r\nFrom: <sip:x@y>;tag=1\r\n"
        b"To: <sip:a@b>\r\nCall-ID: c\r\nCSeq: 3 INVITE"
    )
    assert isinstance(invite, Request)
    given_up: list[int] = []

    def pend() -> PendingAck:
        transaction = core.layer.serve(invite, Peer("TCP", "h", 5060, 1), Nanos(0))
        response = core.response(invite, 200)
        return PendingAck(
            core, transaction, response, made_offer=False, gave_up=given_up.append, now=Nanos(0)
        )

    pending = pend()
    assert pending.matches(invite)
    while (when := core.timers.deadline()) is not None:
        core.timers.fire(when)
    assert core.counters["sent_200"] == 11
    assert core.counters["retransmitted_2xx"] == 10
    assert given_up == [seconds(32)]
    assert len(core.layer) == 0

    stopped = pend()
    stopped.stop()
    stopped.stop()
    core.timers.fire(seconds(100))
    assert len(given_up) == 1
    assert core.counters["sent_200"] == 12
