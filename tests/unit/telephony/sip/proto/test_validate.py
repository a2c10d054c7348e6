"""What a request must be before anything acts on it."""

import pytest

from trunkline.telephony.sip.proto.errors import BadMessage
from trunkline.telephony.sip.proto.message import Request, parse_head
from trunkline.telephony.sip.proto.validate import check


def request(
    method: str = "INVITE", uri: str = "sip:a@b", *lines: str, body: bytes = b"", drop: str = ""
) -> Request:
    fields = {
        "Via": "SIP/2.0/UDP h;branch=z9hG4bK1",
        "Max-Forwards": "70",
        "From": "<sip:x@y>;tag=1",
        "To": "<sip:a@b>",
        "Call-ID": "c",
        "CSeq": f"1 {method}",
    }
    fields.pop(drop, None)
    text = "\r\n".join([f"{method} {uri} SIP/2.0", *(f"{k}: {v}" for k, v in fields.items()), *lines])
    message = parse_head(text.encode())
    assert isinstance(message, Request)
    message.body = body
    return message


SDP = ("Content-Type: application/sdp",)


@pytest.mark.parametrize(
    "good",
    [
        request(),
        request("INVITE", "tel:+1"),
        request("INVITE", "sips:a@b", *SDP, body=b"v=0"),
        request("OPTIONS", drop="Max-Forwards"),
        request("ACK", "sip:a@b", "Require: anything"),
        request("CANCEL", "sip:a@b", "Require: anything"),
        request("INVITE", "sip:a@b", "Accept: */*"),
        request("INVITE", "sip:a@b", "Accept: text/plain, application/sdp;level=1"),
        request("INVITE", "sip:a@b", "Content-Encoding: identity", *SDP, body=b"v=0"),
        request("INFO", "sip:a@b", "Content-Type: x/y", body=b"the session looks at INFO itself"),
        request("NOTIFY", "sip:a@b", "Content-Type: message/sipfrag;version=2.0", body=b"SIP/2.0 100"),
    ],
    ids=str,
)
def test_good_requests(good: Request) -> None:
    assert check(good) is None


@pytest.mark.parametrize(
    ("bad", "status"),
    [
        (request("INVITE", "sip:a@b", "Via: SIP/2.0/UDP z", "To: <sip:z>"), 400),
        (request(drop="From"), 400),
        (request(drop="Call-ID"), 400),
        (request("INVITE", "sip:a@b", "Max-Forwards: 3"), 400),
        (request("NEWMETHOD"), 501),
        (request("invite"), 501),
        (request("REGISTER"), 405),
        (request("INVITE", "sip:a@b", drop="CSeq"), 400),
        (request("INVITE", "soap.beep://x"), 416),
        (request("INVITE", "sip:a@b?Route=x"), 400),
        (request("INVITE", "sip:a@b", "Max-Forwards: 0", drop="Max-Forwards"), 483),
        (request("INVITE", "sip:a@b", "Require: x"), 420),
        (request("INVITE", "sip:a@b", "Content-Type: text/plain", body=b"x"), 415),
        (request("INVITE", "sip:a@b", body=b"x"), 415),
        (request("INVITE", "sip:a@b", "Content-Encoding: gzip", *SDP, body=b"x"), 415),
        (request("INVITE", "sip:a@b", "Accept: text/plain"), 406),
    ],
    ids=str,
)
def test_refusals(bad: Request, status: int) -> None:
    refusal = check(bad)
    assert refusal is not None
    assert refusal.status == status


def test_a_wrong_version_comes_first() -> None:
    message = request("NEWMETHOD")
    message.version = "SIP/7.0"
    refusal = check(message)
    assert refusal is not None
    assert refusal.status == 505


def test_cseq_must_name_the_method() -> None:
    refusal = check(request("INVITE", "sip:a@b", "CSeq: 1 BYE", drop="CSeq"))
    assert refusal is not None
    assert refusal.status == 400


def test_refusals_say_what_would_do() -> None:
    def headers(message: Request) -> dict[str, str]:
        refusal = check(message)
        assert refusal is not None
        return dict(refusal.headers)

    assert "INVITE" in headers(request("FOO"))["Allow"]
    assert headers(request("INVITE", "sip:a@b", "Require: a,b"))["Unsupported"] == "a, b"
    assert (
        "application/sdp" in headers(request("INVITE", "sip:a@b", "Content-Type: x/y", body=b"x"))["Accept"]
    )
    gzip = request("INVITE", "sip:a@b", "Content-Encoding: gzip", *SDP, body=b"x")
    assert headers(gzip)["Accept-Encoding"] == "identity"


@pytest.mark.parametrize("line", ["CSeq: x", "From: <", "Call-ID: a b", "Require: a b"])
def test_malformed_headers_are_raised(line: str) -> None:
    with pytest.raises(BadMessage):
        check(request("INVITE", "sip:a@b", line, drop=line.partition(":")[0]))
