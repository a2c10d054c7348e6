"""What ``calls`` knows of a leg, whichever network it came from.

A leg owns its signalling and its media port. It reports through one sink, in order, and never raises
because of what a peer did: peers cause events.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from trunkline.model import LegId, Nanos
from trunkline.telephony.media.port import MediaPort


class Direction(StrEnum):
    """Who started the leg, seen from Trunkline."""

    INBOUND = "inbound"
    OUTBOUND = "outbound"


@dataclass(frozen=True, slots=True)
class LegInfo:
    """Who is calling whom, as signalled. Numbers are user parts as received, not yet normalised."""

    trunk: str
    direction: Direction
    ani: str
    """Calling number or user (From, or P-Asserted-Identity where the trunk is trusted)."""
    dnis: str
    """Called number or user (Request-URI)."""
    display_name: str
    source: str
    """``host:port`` the signalling came from."""
    protocol_id: str
    """The network's own identifier: the SIP Call-ID."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Headers of interest (UUI, Diversion, History-Info, X-*), names in lower case."""


@dataclass(frozen=True, slots=True)
class LegAnswered:
    """The dialog is confirmed: the ACK arrived (inbound) or was sent (outbound)."""

    at: Nanos


@dataclass(frozen=True, slots=True)
class LegHeld:
    """The peer put us on hold (sendonly, inactive or 0.0.0.0). The call goes on."""

    at: Nanos


@dataclass(frozen=True, slots=True)
class LegResumed:
    """The peer took us off hold."""

    at: Nanos


@dataclass(frozen=True, slots=True)
class LegDtmf:
    """A digit by SIP INFO (RFC 4733 digits come as media events)."""

    at: Nanos
    digit: str


@dataclass(frozen=True, slots=True)
class TransferProgress:
    """Progress of a REFER we sent.

    ``accepted`` is the peer's 2xx to the REFER itself; after it come statuses of the new call from NOTIFY
    sipfrag bodies. ``final`` is set on the last one (status >= 200, or the subscription ended; then status
    is 0 when nothing was reported).
    """

    at: Nanos
    status: int
    reason: str
    accepted: bool
    final: bool


@dataclass(frozen=True, slots=True)
class LegEnded:
    """The leg is over; nothing follows. ``by_peer`` tells who ended it, ``status`` the SIP status or 0,
    ``cause`` one of ``bye, cancel, rejected, timeout, session_expired, transport, local``."""

    at: Nanos
    by_peer: bool
    cause: str
    status: int = 0
    detail: str = ""


@dataclass(frozen=True, slots=True)
class LegRinging:
    """Outbound: the peer reported progress (180, 183, …). ``early_media`` when it plays something already."""

    at: Nanos
    status: int
    early_media: bool = False


@dataclass(frozen=True, slots=True)
class TransferRequested:
    """The peer asks us to call ``target`` (a URI exactly as it came). Only legs that were told to accept such
    requests report them; all others refuse them with 403."""

    at: Nanos
    target: str
    referred_by: str = ""


LegEvent = (
    LegRinging
    | LegAnswered
    | LegHeld
    | LegResumed
    | LegDtmf
    | TransferProgress
    | TransferRequested
    | LegEnded
)


class Leg(Protocol):
    """One party's connection. All methods are idempotent after ``LegEnded``."""

    @property
    def id(self) -> LegId: ...

    @property
    def info(self) -> LegInfo: ...

    @property
    def media(self) -> MediaPort:
        """The leg's media port; raises ``LocalProtocolError`` before ``prepare``."""
        ...

    def listen(self, sink: Callable[[LegEvent], None]) -> None:
        """Deliver this leg's events to ``sink`` from now on; events seen before are delivered at once."""
        ...

    async def prepare(self) -> None:
        """Open media for the peer's offer, without answering. Raises ``Overloaded`` when no port is free,
        ``RemoteProtocolError`` when the offer has nothing we can speak (the caller should reject 488)."""
        ...

    async def ring(self) -> None:
        """180 Ringing."""
        ...

    async def answer(self) -> None:
        """200 OK with our SDP; ``LegAnswered`` follows when the peer acknowledged."""
        ...

    async def reject(self, status: int, reason: str = "", *, retry_after: int | None = None) -> None:
        """Final failure before answer."""
        ...

    async def transfer(self, target: str, *, headers: Mapping[str, str] | None = None) -> None:
        """Blind transfer: REFER the peer to ``target`` (a ``sip:`` or ``tel:`` URI, kept as given).
        Progress arrives as ``TransferProgress``; the leg stays until hung up."""
        ...

    async def release_media(self) -> None:
        """Leave the media path now, keeping the dialog (after an accepted transfer): ports and engine
        socket are free when this returns."""
        ...

    async def reanchor_media(self) -> None:
        """After ``release_media`` and a failed transfer: open fresh media and re-INVITE the peer with it."""
        ...

    async def hangup(self, *, reason: str = "") -> None:
        """End the leg in whatever state it is (CANCEL, BYE or a 480) and free its media."""
        ...


LegHandler = Callable[[Leg], None]
"""Called for each new inbound leg, before any response but 100 Trying; must not block."""
