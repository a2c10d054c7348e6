"""A phone's line: SIP endpoint, legs and witnessed media, opened and closed together."""

import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from trunkline.model import Clock, ConfigError, LocalError
from trunkline.operations.phone.witness import WitnessedMedia
from trunkline.telephony.legs.contract import LegHandler
from trunkline.telephony.legs.sip import SipLegs, anyone
from trunkline.telephony.media.port import Codec, MediaFactory
from trunkline.telephony.sip.aio import SipListen, SipStack
from trunkline.telephony.sip.proto import BadMessage, parse_sip_uri


@dataclass(frozen=True, slots=True)
class Line:
    """An open line. ``media`` has a witness for every leg."""

    stack: SipStack
    legs: SipLegs
    media: WitnessedMedia

    @property
    def address(self) -> str:
        """``host:port`` that others dial."""
        return f"{self.stack.host}:{self.stack.port}"


def host_and_port(text: str, *, option: str = "--listen") -> tuple[str, int]:
    """Take ``HOST:PORT`` apart. Raises ``ConfigError``."""
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isdigit() or int(port) > 65535:
        raise ConfigError(
            f"{option} {text!r} is no HOST:PORT", hint="for example 127.0.0.1:5070; port 0 takes a free one"
        )
    return host.strip("[]"), int(port)


def address_towards(target: str) -> str:
    """``HOST:0`` with the own address from which ``target`` (a SIP URI) is reached; loopback when it cannot be told.

    Looks the name up, which may block for as long as the system's resolver does.
    """
    try:
        uri = parse_sip_uri(target)
        family, kind, _, _, address = socket.getaddrinfo(
            uri.host.strip("[]"), uri.port or 5060, type=socket.SOCK_DGRAM
        )[0]
        with socket.socket(family, kind) as probe:
            probe.connect(address)  # sends nothing, only chooses a route
            host = str(probe.getsockname()[0])
    except (BadMessage, OSError):
        return "127.0.0.1:0"
    return f"[{host}]:0" if ":" in host else f"{host}:0"


@asynccontextmanager
async def open_line(
    listen: str,
    core: MediaFactory,
    clock: Clock,
    *,
    codecs: tuple[Codec, ...] = (Codec.PCMU, Codec.PCMA),
    handler: LegHandler | None = None,
) -> AsyncIterator[Line]:
    """A line on ``HOST:PORT`` over UDP and TCP; ``core`` carries the audio, on loopback. Everything is closed at the end: legs
    hung up, then media, then signalling. Raises ``LocalError`` when the port is busy."""
    host, port = host_and_port(listen)
    media = WitnessedMedia(core, clock, host=host)
    stack = SipStack(SipListen(host=host, port=port), clock=clock, entropy=os.urandom)
    legs = SipLegs(
        stack,
        media_factory=media,
        trunks=anyone(codecs=codecs),
        entropy=os.urandom,
        clock=clock,
        handler=handler,
        accept_refer=True,
    )
    stack.on_event = legs.handle
    try:
        try:
            await stack.start()
        except ConfigError as busy:
            raise LocalError(
                busy.what, hint="choose another address with --listen; port 0 takes a free one"
            ) from busy
        try:
            yield Line(stack, legs, media)
        finally:
            await legs.close()
            await stack.close()
    finally:
        media.close()
