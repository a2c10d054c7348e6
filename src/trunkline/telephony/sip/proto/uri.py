"""URIs as SIP uses them (RFC 3261 section 19.1, RFC 3966): parsed, kept, compared, never escaped twice.

``sip`` and ``sips`` are parsed into parts that stay in their escaped form; ``tel`` and all other schemes are
kept as text. What was parsed is written back exactly as it came.
"""

import ipaddress
import re
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final
from urllib.parse import unquote_to_bytes

from trunkline.telephony.sip.proto.errors import BadUri
from trunkline.telephony.sip.proto.grammar import Params, format_params, param, text

MAX_URI: Final = 4096
MAX_HOST: Final = 270
"""A host name (255) with brackets or a port."""

_FORBIDDEN: Final = re.compile(r'[\x00- <>"\x7f]')
_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]*):")
_HOSTNAME: Final = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_\-.]*[A-Za-z0-9_.])?\Z")
_USERINFO: Final = re.compile(r"(?:[A-Za-z0-9\-_.!~*'()&=+$,;?/#:]|%[0-9A-Fa-f]{2}|[^\x00-\x7f])*\Z")
_ESCAPED: Final = re.compile(r"(?:[A-Za-z0-9\-_.!~*'()\[\]/:&+$@,?=#]|%[0-9A-Fa-f]{2}|[^\x00-\x7f])+\Z")
_UNSAFE_USER: Final = re.compile(rb"[^A-Za-z0-9\-_.!~*'()&=+$,;?/]")
_TEL: Final = re.compile(r"(?:\+[0-9][0-9\-.()]*|[0-9A-Fa-f*#\-.()]+)(?:;[^\s<>\"]*)?\Z")
DEFAULT_PORTS: Final = {"sip": 5060, "sips": 5061}


@dataclass(frozen=True, slots=True)
class Uri:
    """Any URI. ``rest`` is all after the colon, as received; ``scheme`` is in lower case."""

    scheme: str
    rest: str

    def __str__(self) -> str:
        return f"{self.scheme}:{self.rest}"


@dataclass(frozen=True, slots=True)
class TelUri(Uri):
    """A ``tel:`` URI, kept as it came."""

    @property
    def number(self) -> str:
        """Digits and a leading plus, without visual separators and parameters."""
        return re.sub(r"[\-.()]", "", self.rest.split(";", 1)[0])


@dataclass(frozen=True, slots=True)
class SipUri(Uri):
    """A ``sip:`` or ``sips:`` URI. ``user`` and all parameters stay escaped as received."""

    user: str = ""
    password: str | None = None
    host: str = ""
    """Without brackets when it is an IPv6 address."""
    port: int | None = None
    params: Params = ()
    headers: str = ""
    """All after ``?``, escaped as received."""

    def __str__(self) -> str:
        return f"{self.scheme}:{self.rest}"

    def param(self, name: str) -> str | None:
        """URI parameter by lower-case name; ``""`` for a flag."""
        return param(self.params, name)

    @property
    def username(self) -> str:
        """The user part with its escapes resolved (bytes that are not UTF-8 as surrogates)."""
        return text(unquote_to_bytes(self.user)) if "%" in self.user else self.user

    @property
    def hostport(self) -> str:
        """``host`` or ``host:port`` with brackets around IPv6."""
        return format_hostport(self.host, self.port)

    def with_(self, **changes: object) -> "SipUri":
        """A changed copy; its text is built anew from the parts."""
        changed = replace(self, **changes)  # type: ignore[arg-type]
        return replace(changed, rest=_sip_rest(changed))

    def equivalent(self, other: "SipUri") -> bool:
        """RFC 3261 section 19.1.4, for the parts that identify a resource."""
        if self.scheme != other.scheme or self.username != other.username or self.password != other.password:
            return False
        if self.host.lower() != other.host.lower() or self.port != other.port:
            return False
        mine = {name.lower(): (value or "").lower() for name, value in self.params}
        theirs = {name.lower(): (value or "").lower() for name, value in other.params}
        for name in ("user", "ttl", "method", "maddr", "transport"):
            if mine.get(name) != theirs.get(name):
                return False
        return all(theirs[name] == value for name, value in mine.items() if name in theirs)


def format_hostport(host: str, port: int | None) -> str:
    """Host and port as written in URIs and Via."""
    shown = f"[{host}]" if ":" in host else host
    return shown if port is None else f"{shown}:{port}"


def parse_host(value: str) -> str:
    """A host name, IPv4 address or bracketed IPv6 address; returned without brackets."""
    if value.startswith("["):
        inner = value[1:-1] if value.endswith("]") else ""
        # RFC 3261's grammar wrongly allowed three colons before an embedded IPv4 address; RFC 5118 section
        # 4.10 asks receivers to tolerate it.
        fixed = inner.replace(":::", "::", 1)
        try:
            ipaddress.IPv6Address(fixed)
        except ValueError:
            raise BadUri("not an IPv6 address") from None
        return fixed
    if not _HOSTNAME.match(value):
        raise BadUri("not a host name")
    return value


@lru_cache(maxsize=1024)
def parse_hostport(value: str) -> tuple[str, int | None]:
    """``host[:port]``; raises ``BadUri``. Remembered: the same few addresses are in every message."""
    if len(value) > MAX_HOST:
        raise BadUri(f"a host longer than {MAX_HOST} characters")
    if value.startswith("["):
        host, bracket, tail = value.partition("]")
        host += bracket
    else:
        host, colon, port = value.partition(":")
        tail = colon + port
    if not tail:
        return parse_host(host), None
    port_text = tail[1:]
    if tail[0] != ":" or not port_text.isascii() or not port_text.isdigit() or len(port_text) > 5:
        raise BadUri("not a port")
    number = int(port_text)
    if number > 65535:
        raise BadUri("not a port")
    return parse_host(host), number


def parse_uri(value: str) -> Uri:
    """Parse a URI; ``sip`` and ``sips`` give ``SipUri``, ``tel`` gives ``TelUri``, others stay raw."""
    if len(value) > MAX_URI:
        raise BadUri(f"a URI longer than {MAX_URI} characters")
    match = _SCHEME.match(value)
    if match is None:
        raise BadUri("a URI without a scheme")
    scheme, rest = match.group(1).lower(), value[match.end() :]
    if not rest or _FORBIDDEN.search(rest):
        raise BadUri("a URI that is empty or contains white space, quotes or angle brackets")
    if scheme in DEFAULT_PORTS:
        return _parse_sip(scheme, rest)
    if scheme == "tel":
        if not _TEL.match(rest):
            raise BadUri("not a telephone number")
        return TelUri(scheme, rest)
    return Uri(scheme, rest)


def parse_sip_uri(value: str) -> SipUri:
    """Parse a URI that must be ``sip`` or ``sips``."""
    uri = parse_uri(value)
    if not isinstance(uri, SipUri):
        raise BadUri(f"{uri.scheme}: is not a SIP URI", status=416)
    return uri


def sip_uri(
    user: str, host: str, port: int | None = None, params: Params = (), *, scheme: str = "sip"
) -> SipUri:
    """Build a URI; ``user`` is plain text and is escaped here, once."""
    escaped = _UNSAFE_USER.sub(lambda m: b"%%%02X" % m.group()[0], user.encode("utf-8", "surrogateescape"))
    parts = SipUri(scheme, "", user=escaped.decode("ascii"), host=host, port=port, params=params)
    return replace(parts, rest=_sip_rest(parts))


def _parse_sip(scheme: str, rest: str) -> SipUri:
    userinfo, at, tail = rest.partition("@") if "@" in rest else ("", "", rest)
    user, colon, password = userinfo.partition(":")
    if at and (not user or not _USERINFO.match(userinfo)):
        raise BadUri("malformed user part")
    address, query, headers = tail.partition("?")
    hostport, semicolon, params_text = address.partition(";")
    host, port = parse_hostport(hostport)
    params = _uri_params(params_text) if semicolon else ()
    if query and not headers:
        raise BadUri("an empty header part")
    return SipUri(scheme, rest, user, password if colon else None, host, port, params, headers)


def _uri_params(value: str) -> Params:
    found: list[tuple[str, str | None]] = []
    for part in value.split(";"):
        name, equals, content = part.partition("=")
        if not name or not _ESCAPED.match(name) or (equals and not _ESCAPED.match(content)):
            raise BadUri("a malformed URI parameter")
        found.append((name, content if equals else None))
    if len(found) > 64:
        raise BadUri("more than 64 URI parameters")
    return tuple(found)


def _sip_rest(uri: SipUri) -> str:
    user = uri.user if uri.password is None else f"{uri.user}:{uri.password}"
    prefix = f"{user}@" if user else ""
    suffix = f"?{uri.headers}" if uri.headers else ""
    return f"{prefix}{format_hostport(uri.host, uri.port)}{format_params(uri.params)}{suffix}"
