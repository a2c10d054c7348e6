"""What sessions share: outbox, traces, Via, Contact, responses."""

import random

from trunkline.model import Nanos
from trunkline.telephony.sip.proto.core import TRACE_RING, Core, UaConfig, call_id_of
from trunkline.telephony.sip.proto.entropy import Ids
from trunkline.telephony.sip.proto.events import InfoReceived
from trunkline.telephony.sip.proto.message import Headers, Request, parse_head, response_to
from trunkline.telephony.sip.proto.session import Session
from trunkline.telephony.sip.proto.transport import Peer, Send, TraceRecord

UDP = Peer("UDP", "10.0.0.9", 5060)
NOW = Nanos(5)


def make() -> Core:
    return Core(UaConfig(), Ids(random.Random(1).randbytes), lambda transport, host: ("10.0.0.2", 5062))


def request(method: str = "OPTIONS") -> Request:
    message = parse_head(
        f"{method} sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:x@y>;tag=1\r\n"
        f"To: <sip:a@b>\r\nCall-ID: c\r\nCSeq: 1 {method}".encode()
    )
    assert isinstance(message, Request)
    return message


class Registry:
    def bind(self, key: object, session: Session) -> None: ...

    def unbind(self, key: object) -> None: ...

    def finished(self, session: Session) -> None: ...


class User:
    def response(self, response: object, now: Nanos) -> None: ...

    def failed(self, *, timeout: bool, now: Nanos) -> None: ...


def test_messages_are_queued_counted_and_traced() -> None:
    core = make()
    seen: list[TraceRecord] = []
    core.observe = seen.append
    session = Session(core, Registry(), "c")
    message = request()
    core.transmit(message, UDP, "token", NOW)
    core.transmit(response_to(message, 200), UDP, "", NOW)
    assert core.outbox.popleft() == Send(message.to_bytes(), UDP, "token")
    assert core.counters["sent_options"] == core.counters["sent_200"] == 1
    assert seen == list(session.trace)
    assert (seen[0].at, seen[0].sent, seen[0].call_id) == (NOW, True, "c")


def test_a_ring_holds_a_bounded_number_of_messages() -> None:
    core = make()
    session = Session(core, Registry(), "c")
    for _ in range(TRACE_RING + 10):
        core.note(TraceRecord(NOW, False, UDP, b"x", "c"))
    core.note(TraceRecord(NOW, False, UDP, b"x", "another call"))
    assert len(session.trace) == TRACE_RING
    session.close()
    session.close()
    assert core.traces == {}


def test_contact_and_via_name_our_address_for_the_peer() -> None:
    core = make()
    assert str(core.contact(UDP)) == "sip:trunkline@10.0.0.2:5062"
    assert str(core.contact(Peer("TCP", "h", 1))) == "sip:trunkline@10.0.0.2:5062;transport=tcp"
    message = Request("BYE", "sip:a@b", Headers())
    core.add_via(message, UDP, "z9hG4bKgiven")
    assert str(message.via) == "SIP/2.0/UDP 10.0.0.2:5062;branch=z9hG4bKgiven;rport"


def test_requests_get_what_every_request_needs() -> None:
    core = make()
    message = request()
    message.headers.remove("via")
    core.request(message, UDP, User(), NOW)
    assert message.headers.raw("content-length") == b"0"
    assert message.headers.raw("user-agent") == b"Trunkline"
    assert message.via.branch.startswith("z9hG4bK")
    assert len(core.layer) == 1


def test_responses_get_a_tag_that_repeats() -> None:
    core = make()
    one = core.response(request(), 404, headers={"X-A": "1"})
    two = core.response(request(), 404, headers=(("X-A", "1"),))
    assert one.to.tag == two.to.tag != ""
    assert one.headers.raw("x-a") == b"1"
    assert core.response(request(), 404, to_tag="mine").to.tag == "mine"
    assert core.response(request(), 100).to.tag == ""


def test_events_wait_in_the_outbox() -> None:
    core = make()
    event = InfoReceived(Session(core, Registry(), "c"), "x/y", b"")
    core.emit(event)
    assert core.outbox[0] is event


def test_call_id_of_a_broken_message() -> None:
    assert call_id_of(request()) == "c"
    broken = parse_head(b"BYE sip:a SIP/2.0\r\nCall-ID: a b")
    assert call_id_of(broken) == ""
    assert call_id_of(Request("BYE", "sip:a", Headers())) == ""
