"""Session descriptions (RFC 8866): parsed leniently, written strictly, unknown lines and attributes kept.

Owns syntax and its limits; what an offer means is in ``offer``.
"""

import ipaddress
from dataclasses import dataclass, field
from typing import Final

from trunkline.telephony.sip.proto.errors import BadMessage, BadSdp
from trunkline.telephony.sip.proto.grammar import parse_number, raw, text

MAX_SDP: Final = 64 * 1024
MAX_LINES: Final = 2048
MAX_MEDIA: Final = 32
MAX_FORMATS: Final = 128

Attribute = tuple[str, str | None]
"""Name and value of an ``a=`` line; None for a flag."""


@dataclass(frozen=True, slots=True)
class Connection:
    """A ``c=`` line. ``host`` is a literal address or a name, without TTL."""

    family: str
    """``IP4`` or ``IP6``."""
    host: str

    def __str__(self) -> str:
        return f"IN {self.family} {self.host}"


@dataclass(frozen=True, slots=True)
class Origin:
    """The ``o=`` line; ``version`` grows with every changed description."""

    user: str
    session: str
    version: int
    connection: Connection

    def __str__(self) -> str:
        return f"{self.user} {self.session} {self.version} {self.connection}"


@dataclass(frozen=True, slots=True)
class Media:
    """One ``m=`` section."""

    kind: str
    port: int
    protocol: str
    formats: tuple[str, ...]
    connection: Connection | None = None
    attributes: tuple[Attribute, ...] = ()
    other: tuple[str, ...] = ()
    """Lines other than ``c=`` and ``a=``, as received."""
    port_count: int = 1

    def attribute(self, name: str) -> str | None:
        """Value of the first attribute of this name, ``""`` for a flag, None when absent."""
        for key, value in self.attributes:
            if key == name:
                return value if value is not None else ""
        return None

    def all(self, name: str) -> list[str]:
        """Values of all attributes of this name."""
        return [value for key, value in self.attributes if key == name and value is not None]

    def lines(self) -> list[str]:
        port = str(self.port) if self.port_count == 1 else f"{self.port}/{self.port_count}"
        lines = [f"m={self.kind} {port} {self.protocol} {' '.join(self.formats)}", *self.other]
        if self.connection is not None:
            lines.append(f"c={self.connection}")
        lines.extend(_attribute_line(attribute) for attribute in self.attributes)
        return lines


@dataclass(frozen=True, slots=True)
class Sdp:
    """A whole description."""

    origin: Origin
    name: str = "-"
    connection: Connection | None = None
    timing: tuple[str, ...] = ("0 0",)
    attributes: tuple[Attribute, ...] = ()
    other: tuple[str, ...] = ()
    media: tuple[Media, ...] = field(default=())

    def attribute(self, name: str) -> str | None:
        for key, value in self.attributes:
            if key == name:
                return value if value is not None else ""
        return None

    def connection_of(self, media: Media) -> Connection | None:
        """The address that counts for a section: its own or the session's."""
        return media.connection or self.connection

    def to_bytes(self) -> bytes:
        lines = ["v=0", f"o={self.origin}", f"s={self.name}", *self.other]
        if self.connection is not None:
            lines.append(f"c={self.connection}")
        lines.extend(f"t={timing}" for timing in self.timing)
        lines.extend(_attribute_line(attribute) for attribute in self.attributes)
        for media in self.media:
            lines.extend(media.lines())
        return raw("\r\n".join(lines) + "\r\n")


def _attribute_line(attribute: Attribute) -> str:
    name, value = attribute
    return f"a={name}" if value is None else f"a={name}:{value}"


def parse_sdp(data: bytes) -> Sdp:
    """Parse a description. Accepts LF line ends and missing ``t=``; raises ``BadSdp`` (status 400) for what
    cannot be understood and for anything above the limits of this module."""
    if len(data) > MAX_SDP:
        raise BadSdp(f"a session description above {MAX_SDP} octets")
    lines = [line.rstrip("\r") for line in text(data).split("\n")]
    lines = [line for line in lines if line.strip("\x00 \t")]
    if len(lines) > MAX_LINES:
        raise BadSdp(f"more than {MAX_LINES} lines")
    if not lines or lines[0].strip() != "v=0":
        raise BadSdp("does not begin with v=0")
    try:
        return _Builder().build(lines[1:])
    except BadSdp:
        raise
    except BadMessage as error:
        raise BadSdp(error.what) from None


class _Builder:
    """Collects lines into a description."""

    def __init__(self) -> None:
        self._origin: Origin | None = None
        self._name = "-"
        self._connection: Connection | None = None
        self._timing: list[str] = []
        self._attributes: list[Attribute] = []
        self._other: list[str] = []
        self._media: list[Media] = []
        self._section: _Section | None = None

    def build(self, lines: list[str]) -> Sdp:
        for line in lines:
            kind, equals, value = line.partition("=")
            if not equals or len(kind) != 1 or not kind.isascii() or not kind.isalpha():
                raise BadSdp("a line that is not of the form x=value")
            if kind == "m":
                self._close_section()
                self._section = _Section(value)
            elif self._section is not None:
                self._section.take(kind, value, line)
            else:
                self._take(kind, value, line)
        self._close_section()
        if self._origin is None:
            raise BadSdp("no o= line")
        return Sdp(
            self._origin,
            self._name,
            self._connection,
            tuple(self._timing) or ("0 0",),
            tuple(self._attributes),
            tuple(self._other),
            tuple(self._media),
        )

    def _close_section(self) -> None:
        if self._section is not None:
            self._media.append(self._section.media())
            self._section = None
            if len(self._media) > MAX_MEDIA:
                raise BadSdp(f"more than {MAX_MEDIA} media sections")

    def _take(self, kind: str, value: str, line: str) -> None:
        match kind:
            case "o":
                self._origin = _origin(value)
            case "s":
                self._name = value or "-"
            case "c":
                self._connection = _connection(value)
            case "t":
                self._timing.append(value)
            case "a":
                self._attributes.append(_attribute(value))
            case _:
                self._other.append(line)


class _Section:
    """One media section while it is read."""

    def __init__(self, value: str) -> None:
        parts = value.split()
        if len(parts) < 4:
            raise BadSdp("a media line with fewer than four parts")
        port, slash, count = parts[1].partition("/")
        self._kind = parts[0].lower()
        self._port = parse_number(port, limit=65535)
        self._count = parse_number(count, limit=65535) if slash else 1
        self._protocol = parts[2]
        self._formats = tuple(parts[3:])
        if len(self._formats) > MAX_FORMATS:
            raise BadSdp(f"more than {MAX_FORMATS} formats")
        self._connection: Connection | None = None
        self._attributes: list[Attribute] = []
        self._other: list[str] = []

    def take(self, kind: str, value: str, line: str) -> None:
        if kind == "c":
            # Several c= lines mean layered multicast; the first one is enough for us.
            self._connection = self._connection or _connection(value)
        elif kind == "a":
            self._attributes.append(_attribute(value))
        else:
            self._other.append(line)

    def media(self) -> Media:
        return Media(
            self._kind,
            self._port,
            self._protocol,
            self._formats,
            self._connection,
            tuple(self._attributes),
            tuple(self._other),
            self._count,
        )


def _attribute(value: str) -> Attribute:
    name, colon, content = value.partition(":")
    return name, content if colon else None


def _connection(value: str) -> Connection:
    parts = value.split()
    if len(parts) != 3 or parts[0] != "IN" or parts[1] not in {"IP4", "IP6"}:
        raise BadSdp("a connection line that is not IN IP4 or IN IP6")
    return Connection(parts[1], parts[2].split("/")[0])


def _origin(value: str) -> Origin:
    parts = value.split()
    if len(parts) != 6:
        raise BadSdp("an origin line without six parts")
    version = int(parts[2]) if parts[2].isascii() and parts[2].isdigit() and len(parts[2]) <= 20 else 0
    return Origin(parts[0], parts[1], version, _connection(" ".join(parts[3:])))


def connection_for(host: str) -> Connection:
    """The ``c=`` line of an address of ours."""
    return Connection("IP6" if ":" in host else "IP4", host)


def is_unspecified(host: str) -> bool:
    """Whether the address is 0.0.0.0 or ::, the hold of RFC 2543."""
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False
