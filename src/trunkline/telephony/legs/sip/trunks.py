"""Who may call: trunks by source network, as plain values that the configuration fills in."""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from trunkline.model import ConfigError
from trunkline.telephony.media.port import Codec
from trunkline.telephony.sip.proto import Capabilities, Peer, Refusal, Request

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class DtmfMode(StrEnum):
    """How digits travel."""

    RFC4733 = "rfc4733"
    INFO = "info"
    NONE = "none"


class Strangers(StrEnum):
    """What sources that belong to no trunk get."""

    REJECT = "reject"
    """403 Forbidden."""
    SILENCE = "silence"
    """Nothing, so that scanners learn nothing."""


def networks(sources: Iterable[str]) -> tuple[Network, ...]:
    """Parse addresses and CIDR ranges. Raises ``ConfigError``."""
    found: list[Network] = []
    for source in sources:
        try:
            found.append(ipaddress.ip_network(source, strict=False))
        except ValueError:
            raise ConfigError(
                f"{source!r} is not an address or network", hint='write "192.0.2.0/24" or "192.0.2.7"'
            ) from None
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Trunk:
    """One peer network. ``codecs`` in order of preference."""

    name: str
    networks: tuple[Network, ...] = ()
    codecs: tuple[Codec, ...] = (Codec.PCMU, Codec.PCMA)
    dtmf: DtmfMode = DtmfMode.RFC4733
    trusted: bool = False
    """Whether P-Asserted-Identity of this trunk is believed (RFC 3325)."""
    nat: bool = False
    """Whether media is exchanged with the address that signalling comes from, whatever the SDP says."""

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(codecs=self.codecs, dtmf=self.dtmf is DtmfMode.RFC4733)


@dataclass(frozen=True, slots=True)
class TrunkTable:
    """All trunks; the longest matching prefix wins, then the first."""

    trunks: tuple[Trunk, ...] = ()
    strangers: Strangers = Strangers.REJECT
    _refusal: Refusal = field(init=False, repr=False, default=Refusal(403))

    def __post_init__(self) -> None:
        status = 0 if self.strangers is Strangers.SILENCE else 403
        object.__setattr__(self, "_refusal", Refusal(status))

    def match(self, host: str) -> Trunk | None:
        """The trunk that a source address belongs to."""
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return None
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        best: tuple[int, Trunk] | None = None
        for trunk in self.trunks:
            for network in trunk.networks:
                inside = network.version == address.version and address in network
                if inside and (best is None or network.prefixlen > best[0]):
                    best = (network.prefixlen, trunk)
        return best[1] if best is not None else None

    def named(self, name: str) -> Trunk | None:
        return next((trunk for trunk in self.trunks if trunk.name == name), None)

    def screen(self, request: Request, peer: Peer) -> Refusal | None:
        """For ``SipStack(screen=…)``: strangers begin nothing. Requests inside dialogs are not asked here."""
        del request
        return None if self.match(peer.host) is not None else self._refusal


def anyone(
    name: str = "any",
    *,
    codecs: tuple[Codec, ...] = (Codec.PCMU, Codec.PCMA),
    dtmf: DtmfMode = DtmfMode.RFC4733,
) -> TrunkTable:
    """A table that lets every source in: for phones and tests."""
    everywhere = networks(("0.0.0.0/0", "::/0"))
    return TrunkTable((Trunk(name, everywhere, codecs, dtmf),))
