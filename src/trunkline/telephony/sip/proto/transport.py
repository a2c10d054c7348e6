"""How the protocol names the other end and what it asks of the shell that has the sockets."""

from dataclasses import dataclass
from typing import Literal

from trunkline.model import Nanos
from trunkline.telephony.sip.proto.uri import format_hostport

TransportName = Literal["UDP", "TCP", "TLS"]
RELIABLE: frozenset[str] = frozenset({"TCP", "TLS"})


@dataclass(frozen=True, slots=True)
class Peer:
    """Where a message came from or goes to.

    ``host`` is a literal address for received messages, maybe a name for sent ones. ``flow`` identifies a
    connection of the shell; 0 means any (UDP, or a connection to be found or opened).
    """

    transport: TransportName
    host: str
    port: int
    flow: int = 0

    @property
    def reliable(self) -> bool:
        return self.transport in RELIABLE

    def __str__(self) -> str:
        return format_hostport(self.host, self.port)


@dataclass(frozen=True, slots=True)
class Send:
    """Put ``data`` on the wire. When that fails, the shell reports ``token`` to ``transport_failed``."""

    data: bytes
    peer: Peer
    token: str
    """The transaction that sent it; ``""`` when nobody waits."""


@dataclass(frozen=True, slots=True)
class TraceRecord:
    """One message as it was on the wire, for traces."""

    at: Nanos
    sent: bool
    peer: Peer
    data: bytes
    call_id: str
    """``""`` when the message had none that could be read."""
