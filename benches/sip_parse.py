"""Cost of parsing and serialising a typical INVITE, and of a whole call through two user agents.

    python benches/sip_parse.py [--json]

Goal: at most 60 microseconds to parse (with the views every request needs) and serialise.
"""

import argparse
import json
import platform
import time
from collections.abc import Callable

from trunkline.model import seconds
from trunkline.telephony.sip.proto import CallAnswered, IncomingCall, parse_datagram, parse_uri
from trunkline.testing.sipnet import SipNetwork

SDP = (
    b"v=0\r\no=- 3742345 3742345 IN IP4 192.0.2.10\r\ns=call\r\nc=IN IP4 192.0.2.10\r\nt=0 0\r\n"
    b"m=audio 40000 RTP/AVP 8 0 96 101\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:96 opus/48000/2\r\n"
    b"a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=ptime:20\r\na=sendrecv\r\n"
)
INVITE = (
    b"INVITE sip:+493012345@192.0.2.20:5060;user=phone SIP/2.0\r\n"
    b"Via: SIP/2.0/UDP 192.0.2.5:5060;branch=z9hG4bK9d2a.1f3c0a7.0\r\n"
    b"Via: SIP/2.0/UDP 192.0.2.10:5060;rport=5060;received=192.0.2.10;branch=z9hG4bK-524287-1---a1b2c3\r\n"
    b"Max-Forwards: 69\r\n"
    b"Record-Route: <sip:192.0.2.5;lr;ftag=8f3e>\r\n"
    b"Contact: <sip:alice@192.0.2.10:5060;transport=udp>\r\n"
    b"To: <sip:+493012345@example.com;user=phone>\r\n"
    b'From: "Alice Example" <sip:+49301111@example.com;user=phone>;tag=8f3e\r\n'
    b"Call-ID: 84711-a8f2-4c1d@192.0.2.10\r\n"
    b"CSeq: 101 INVITE\r\n"
    b"Allow: INVITE, ACK, CANCEL, BYE, NOTIFY, REFER, MESSAGE, OPTIONS, INFO, SUBSCRIBE, UPDATE, PRACK\r\n"
    b"Supported: replaces, timer, 100rel, norefersub\r\n"
    b"Session-Expires: 1800;refresher=uac\r\nMin-SE: 90\r\n"
    b"P-Asserted-Identity: <sip:+49301111@example.com>\r\n"
    b"User-Agent: Example SBC 7.2\r\n"
    b"Content-Type: application/sdp\r\n"
    b"Content-Length: " + str(len(SDP)).encode() + b"\r\n\r\n" + SDP
)


def parse() -> object:
    return parse_datagram(INVITE)


def parse_read_serialise() -> bytes:
    message = parse_datagram(INVITE)
    _ = message.via, message.from_, message.to, message.cseq, message.call_id, message.contact
    _ = message.record_routes, message.headers.view("max-forwards")
    return message.to_bytes()


def best(work: Callable[[], object], loops: int = 2000, rounds: int = 7) -> float:
    """Microseconds of one run, from the best round."""
    found = []
    for _ in range(rounds):
        start = time.perf_counter()
        for _ in range(loops):
            work()
        found.append((time.perf_counter() - start) / loops * 1e6)
    return min(found)


def whole_call() -> float:
    """Microseconds per side of INVITE, 180, 200, ACK, BYE, 200 and all timers, network model included."""
    net = SipNetwork()
    net.keep_wire = False
    alice, bob = net.node("10.0.0.1"), net.node("10.0.0.2")

    def answer(event: object) -> None:
        if isinstance(event, IncomingCall):
            event.session.progress(net.now)
            event.session.answer(SDP, net.now)

    def hang_up(event: object) -> None:
        if isinstance(event, CallAnswered):
            net.after(seconds(1), lambda: (event.session.hang_up(net.now), alice.kick()))

    alice.on_event, bob.on_event = hang_up, answer
    calls = 1000
    uri = parse_uri("sip:1000@10.0.0.2")
    start = time.process_time()
    for _ in range(calls):
        alice.ua.invite(uri, body=SDP, now=net.now)
        alice.kick()
        net.run(10_000_000)
    net.run(seconds(120))
    spent = time.process_time() - start
    if not (alice.idle and bob.idle):
        raise SystemExit("the endpoints are not idle after the run")
    return spent / calls / 2 * 1e6


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = options.parse_args()
    result = {
        "message_bytes": len(INVITE),
        "parse_us": round(best(parse), 1),
        "parse_read_serialise_us": round(best(parse_read_serialise), 1),
        "call_us_per_side": round(whole_call(), 1),
        "python": platform.python_version(),
    }
    if arguments.json:
        print(json.dumps(result))
    else:
        for name, value in result.items():
            print(f"{name:26} {value}")


if __name__ == "__main__":
    main()
