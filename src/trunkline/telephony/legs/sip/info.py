"""What a leg says about its call: names and numbers from an INVITE, digits from INFO, Reason values."""

import re
from typing import Final

from trunkline.telephony.legs.contract import Direction, LegInfo
from trunkline.telephony.legs.sip.trunks import Trunk
from trunkline.telephony.sip.proto import BadMessage, NameAddr, Peer, Request, SipUri, TelUri, Uri
from trunkline.telephony.sip.proto.grammar import raw, readable

MAX_HEADERS: Final = 32
MAX_VALUE: Final = 1024
_OF_INTEREST: Final = frozenset(
    {
        "alert-info",
        "call-info",
        "diversion",
        "history-info",
        "p-asserted-identity",
        "p-called-party-id",
        "p-charging-vector",
        "priority",
        "referred-by",
        "replaces",
        "subject",
        "user-agent",
        "user-to-user",
    }
)
_SIGNAL: Final = re.compile(rb"^\s*Signal\s*=\s*([0-9A-Da-d*#]{1,2})\s*$", re.MULTILINE | re.IGNORECASE)
_TEXT: Final = re.compile(r';\s*text="([^"]*)"')
_CODES: Final = {"10": "*", "11": "#"}


def user_of(uri: Uri) -> str:
    """The number or user of a URI, unescaped, as text for people."""
    if isinstance(uri, SipUri):
        return readable(uri.username.partition(";")[0])
    if isinstance(uri, TelUri):
        return uri.number
    return str(uri)


def inbound_info(request: Request, peer: Peer, trunk: Trunk) -> LegInfo:
    """Who calls whom, from an INVITE that passed validation."""
    caller = _asserted(request) if trunk.trusted else None
    caller = caller or request.from_
    return LegInfo(
        trunk=trunk.name,
        direction=Direction.INBOUND,
        ani=user_of(caller.uri),
        dnis=user_of(request.uri),
        display_name=readable(caller.display),
        source=str(peer),
        protocol_id=request.call_id,
        headers=headers_of_interest(request),
    )


def _asserted(request: Request) -> NameAddr | None:
    try:
        identities: tuple[NameAddr, ...] = request.headers.views("p-asserted-identity")
    except BadMessage:
        return None
    return identities[0] if identities else None


def headers_of_interest(request: Request) -> dict[str, str]:
    """Headers that a flow may use; several of one name are joined by commas, values are cut at 1 KiB."""
    found: dict[str, str] = {}
    for name, value in request.headers:
        if name in _OF_INTEREST or name.startswith("x-"):
            text = readable(value[:MAX_VALUE].decode("utf-8", "surrogateescape"))
            if name in found:
                found[name] = f"{found[name]}, {text}"[: 4 * MAX_VALUE]
            elif len(found) < MAX_HEADERS:
                found[name] = text
    return found


def dtmf_digit(content_type: str, body: bytes) -> str:
    """The digit of an INFO body; ``""`` when there is none."""
    if content_type == "application/dtmf":
        digit = body.strip()[:2].decode("ascii", "replace")
    else:
        match = _SIGNAL.search(body)
        digit = match.group(1).decode("ascii") if match else ""
    digit = _CODES.get(digit, digit).upper()
    return digit if len(digit) == 1 and digit in "0123456789*#ABCD" else ""


def reason_header(text: str, cause: int = 200) -> str:
    """A Reason header value (RFC 3326) that says ``text``; ``""`` for no text. A value that names its
    protocol is taken as it is."""
    if not text:
        return ""
    if re.match(r"(?:SIP|Q\.850)\s*;", text):
        return text
    clean = "".join(ch for ch in text if ch >= " " and ch not in '"\\')[:120]
    return raw(f'SIP;cause={cause};text="{clean}"').decode("utf-8", "replace")


def reason_text(value: str) -> str:
    """What a Reason header or phrase says to people: its text parameter when it has one."""
    match = _TEXT.search(value)
    return readable(match.group(1)) if match else readable(value)
