"""Typed views of header values (RFC 3261 section 20), each with its parser and, through ``str``, its text.

A parser takes the unfolded value as text and raises ``BadMessage``; ``message`` adds the header's name.
"""

import re
from dataclasses import dataclass, replace
from typing import Final

from trunkline.telephony.sip.proto.errors import BadMessage, BadUri
from trunkline.telephony.sip.proto.grammar import (
    Params,
    format_params,
    is_token,
    param,
    parse_number,
    parse_params,
    quote,
    quoted_end,
    split_commas,
    unquote,
    with_param,
)
from trunkline.telephony.sip.proto.uri import Uri, format_hostport, parse_hostport, parse_uri

MAGIC_COOKIE: Final = "z9hG4bK"
MAX_CSEQ: Final = 2**31 - 1
_SPACE: Final = re.compile(r"[\x00- ]")
_VIA: Final = re.compile(r"SIP\s*/\s*(\d+\.\d+)\s*/\s*([A-Za-z0-9\-.!%*_+`'~]+)\s+", re.IGNORECASE)
_DATE: Final = re.compile(
    r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), (\d\d) (Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) (\d{4})"
    r" (\d\d):(\d\d):(\d\d) GMT\Z"
)


@dataclass(frozen=True, slots=True)
class Via:
    """One hop. ``port`` is None when it was left out."""

    transport: str
    """Upper case."""
    host: str
    port: int | None = None
    params: Params = ()

    @property
    def branch(self) -> str:
        return param(self.params, "branch") or ""

    @property
    def sent_by(self) -> str:
        """``host:port`` in lower case, with the default port filled in, for matching."""
        port = self.port if self.port is not None else (5061 if self.transport == "TLS" else 5060)
        return f"{self.host.lower()}:{port}"

    @property
    def received(self) -> str | None:
        """Address the message really came from; brackets removed."""
        value = param(self.params, "received")
        return value.strip("[]") if value else None

    @property
    def rport(self) -> int | None:
        """Port it really came from; None when absent or not yet filled in."""
        value = param(self.params, "rport")
        return parse_number(value, limit=65535) if value else None

    @property
    def wants_rport(self) -> bool:
        return param(self.params, "rport") is not None

    def with_param(self, name: str, value: str | None) -> "Via":
        return replace(self, params=with_param(self.params, name, value))

    def __str__(self) -> str:
        return f"SIP/2.0/{self.transport} {format_hostport(self.host, self.port)}{format_params(self.params)}"


def parse_via(value: str) -> Via:
    """``SIP/2.0/UDP host:port;branch=…``"""
    match = _VIA.match(value)
    if match is None:
        raise BadMessage("no protocol and transport")
    address, semicolon, tail = value[match.end() :].partition(";")
    host, port = parse_hostport("".join(address.split()))
    return Via(match.group(2).upper(), host, port, parse_params(semicolon + tail))


@dataclass(frozen=True, slots=True)
class NameAddr:
    """From, To, Contact, Route, Refer-To, …: an optional display name, a URI, header parameters."""

    uri: Uri
    display: str = ""
    """Without quotes; bytes that were not UTF-8 as surrogates (``grammar.readable`` for people)."""
    params: Params = ()

    @property
    def tag(self) -> str:
        return param(self.params, "tag") or ""

    def param(self, name: str) -> str | None:
        return param(self.params, name)

    def with_tag(self, tag: str) -> "NameAddr":
        return replace(self, params=with_param(self.params, "tag", tag))

    def __str__(self) -> str:
        display = f"{quote(self.display)} " if self.display else ""
        return f"{display}<{self.uri}>{format_params(self.params)}"


def parse_name_addr(value: str) -> NameAddr:
    """``"Name" <uri>;params``, ``name words <uri>;params`` or ``uri;params``.

    In the last form parameters belong to the header and the URI may hold no comma, question mark or
    semicolon (RFC 3261 section 20.10).
    """
    value = value.strip()
    if value.startswith('"'):
        end = quoted_end(value, 0)
        display, rest = unquote(value[:end]), value[end:].lstrip()
        if not rest.startswith("<"):
            raise BadMessage("a display name without an address in angle brackets")
    else:
        words, bracket, rest = value.partition("<")
        if not bracket:
            return _bare_address(value)
        display, rest = words.strip(), bracket + rest
        if any(not _display_word(word) for word in display.split()):
            raise BadMessage("a display name that needs quotes")
    close = rest.find(">")
    if close < 0:
        raise BadMessage("an angle bracket has no end")
    return NameAddr(parse_uri(rest[1:close]), display, parse_params(rest[close + 1 :]))


def _display_word(word: str) -> bool:
    # Bytes beyond ASCII are not tokens, but unquoted UTF-8 and Latin-1 names are common on the wire.
    return is_token("".join(ch for ch in word if ch < "\x80") or "x")


def _bare_address(value: str) -> NameAddr:
    address, semicolon, params = value.partition(";")
    address = address.strip()
    if "?" in address or "," in address:
        raise BadMessage("a URI with a comma or question mark needs angle brackets")
    return NameAddr(parse_uri(address), "", parse_params(semicolon + params))


@dataclass(frozen=True, slots=True)
class CSeq:
    number: int
    method: str

    def __str__(self) -> str:
        return f"{self.number} {self.method}"


def parse_cseq(value: str) -> CSeq:
    """``number method``; the number stays below 2**31."""
    parts = value.split()
    if len(parts) != 2 or not is_token(parts[1]):
        raise BadMessage("not a number and a method")
    return CSeq(parse_number(parts[0], limit=MAX_CSEQ), parts[1])


@dataclass(frozen=True, slots=True)
class Valued:
    """A value with parameters: Content-Type, Event, Subscription-State, Reason, Accept, …"""

    value: str
    """Lower case."""
    params: Params = ()

    def param(self, name: str) -> str | None:
        value = param(self.params, name)
        return None if value is None else unquote(value)

    def __str__(self) -> str:
        return f"{self.value}{format_params(self.params)}"


def parse_valued(value: str) -> Valued:
    head, semicolon, tail = value.partition(";")
    head = "".join(head.split()).lower()
    if not head or any(not is_token(part) for part in head.split("/")):
        raise BadMessage("not a token")
    return Valued(head, parse_params(semicolon + tail))


def parse_media_type(value: str) -> Valued:
    """``type/subtype;params``"""
    valued = parse_valued(value)
    if valued.value.count("/") != 1:
        raise BadMessage("not a media type")
    return valued


def parse_tokens(value: str) -> tuple[str, ...]:
    """Comma-separated tokens (Require, Supported, Allow, …)."""
    tokens = tuple(part for part in split_commas(value) if part)
    if any(not is_token(token) for token in tokens):
        raise BadMessage("not a list of tokens")
    return tokens


def parse_max_forwards(value: str) -> int:
    return parse_number(value.strip(), limit=255)


def parse_retry_after(value: str) -> int:
    """Seconds of Retry-After, comment and parameters ignored; absurd values are cut to a day."""
    head = re.split(r"[;(\s]", value.strip(), maxsplit=1)[0]
    if not head.isascii() or not head.isdigit():
        raise BadMessage("not a number of seconds")
    return min(int(head[:10]), 86400)


def parse_content_length(value: str) -> int:
    return parse_number(value.strip(), limit=2**31 - 1)


def parse_date(value: str) -> str:
    """The only form RFC 3261 allows: RFC 1123 with GMT. Returned as text; it is for records only."""
    if not _DATE.match(value.strip()):
        raise BadMessage("not an RFC 1123 date in GMT")
    return value.strip()


def parse_call_id(value: str) -> str:
    """``word[@word]`` as one opaque text without white space."""
    value = value.strip()
    if not value or _SPACE.search(value):
        raise BadMessage("empty or with white space")
    return value


def parse_contacts(value: str) -> tuple[NameAddr, ...]:
    """Contact values; ``*`` gives none."""
    if value.strip() == "*":
        return ()
    return parse_name_addrs(value)


def parse_name_addrs(value: str) -> tuple[NameAddr, ...]:
    return tuple(parse_name_addr(part) for part in split_commas(value))


def parse_vias(value: str) -> tuple[Via, ...]:
    return tuple(parse_via(part) for part in split_commas(value))


__all__ = [
    "MAGIC_COOKIE",
    "MAX_CSEQ",
    "BadUri",
    "CSeq",
    "NameAddr",
    "Valued",
    "Via",
    "parse_call_id",
    "parse_contacts",
    "parse_content_length",
    "parse_cseq",
    "parse_date",
    "parse_max_forwards",
    "parse_media_type",
    "parse_name_addr",
    "parse_name_addrs",
    "parse_retry_after",
    "parse_tokens",
    "parse_valued",
    "parse_via",
    "parse_vias",
]
