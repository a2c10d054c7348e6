"""Offer and answer (RFC 3264) for one audio stream: what we can speak against what the peer offers.

Owns the state of one session's negotiation and turns it into ``RtpParameters``. Every other stream of an
offer is refused with port 0. Refuses to touch sockets: our address and port are told to it.
"""

import ipaddress
from dataclasses import dataclass, replace
from typing import Final

from trunkline.model import LocalProtocolError
from trunkline.telephony.media.port import Codec, MediaDirection, RtpParameters
from trunkline.telephony.sip.proto.errors import BadMessage, BadSdp
from trunkline.telephony.sip.proto.grammar import parse_number
from trunkline.telephony.sip.proto.sdp import (
    Attribute,
    Media,
    Origin,
    Sdp,
    connection_for,
    is_unspecified,
    parse_sdp,
)

_STATIC: Final = {0: ("PCMU", 8000), 8: ("PCMA", 8000), 10: ("L16", 44100), 11: ("L16", 44100)}
"""Static payload types of RFC 3551 that name our codecs (L16 only at 44.1 kHz, which we do not speak)."""
_OUR_TYPES: Final = {Codec.PCMU: 0, Codec.PCMA: 8, Codec.L16: 97}
_OUR_DTMF: Final = 101
_PTIMES: Final = (20, 10, 30, 40, 60)
_MIRROR: Final = {
    MediaDirection.SENDRECV: MediaDirection.SENDRECV,
    MediaDirection.SENDONLY: MediaDirection.RECVONLY,
    MediaDirection.RECVONLY: MediaDirection.SENDONLY,
    MediaDirection.INACTIVE: MediaDirection.INACTIVE,
}
_SENDS: Final = frozenset({MediaDirection.SENDRECV, MediaDirection.SENDONLY})
_RECEIVES: Final = frozenset({MediaDirection.SENDRECV, MediaDirection.RECVONLY})


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What we speak, in order of preference."""

    codecs: tuple[Codec, ...] = (Codec.PCMU, Codec.PCMA)
    dtmf: bool = True
    ptime_ms: int = 20
    rtcp_mux: bool = True


@dataclass(frozen=True, slots=True)
class _Format:
    """A codec of the peer's that we can speak."""

    codec: Codec
    payload_type: int


class OfferAnswer:
    """Negotiation of one session. ``parameters`` is what was last agreed on."""

    def __init__(
        self, *, capabilities: Capabilities, host: str, port: int, session_id: int, user: str = "-"
    ) -> None:
        self._capabilities = capabilities
        self._host = host
        self._port = port
        self._user = user
        self._session_id = session_id
        self._version = 0
        self._last = b""
        self._offered: Sdp | None = None
        self.desired = MediaDirection.SENDRECV
        """What we want for ourselves: SENDONLY while we hold, INACTIVE while we have no media."""
        self._layout: tuple[Media, ...] = ()
        self._audio_at = 0
        self._agreed: tuple[_Format, int | None] | None = None
        self.parameters: RtpParameters | None = None
        self.remote: Sdp | None = None
        self.peer_holds = False
        """Whether the peer has put us on hold (sendonly, inactive or 0.0.0.0)."""

    def moved(self, host: str, port: int) -> None:
        """Our media is at another address from now on; it goes into the next offer or answer."""
        self._host = host
        self._port = port

    # --- offers of ours -----------------------------------------------------------------------------

    def offer(self) -> bytes:
        """An offer; the peer's answer goes to ``receive_answer``. Payload types stay what they were."""
        direction = self.desired
        formats, attributes = self._our_formats()
        audio = Media(
            "audio", self._port, "RTP/AVP", formats, attributes=(*attributes, *self._common(direction))
        )
        media = self._in_layout(audio)
        description = self._description(media)
        self._offered = description
        return self._publish(description)

    def receive_answer(self, body: bytes, *, early: bool = False) -> RtpParameters:
        """The peer's answer to our last offer; ``early`` when the final one is still to come. Raises
        ``BadSdp`` when it does not fit."""
        if self._offered is None:
            raise LocalProtocolError("an answer without an offer")
        offered = self._offered
        if not early:
            self._offered = None
        answer = parse_sdp(body)
        if len(answer.media) != len(offered.media):
            raise BadSdp("the answer has another number of media sections than the offer", status=488)
        audio = answer.media[self._audio_at]
        if audio.kind != "audio" or audio.port == 0:
            raise BadSdp("the answer refuses our audio", status=488)
        return self._agree(answer, audio, own=self.desired, rtcp_mux_offered=self._capabilities.rtcp_mux)

    def offer_failed(self) -> None:
        """Our offer was refused: what was agreed before stays in force (RFC 3264 section 4)."""
        self._offered = None

    @property
    def awaiting_answer(self) -> bool:
        return self._offered is not None

    # --- offers of the peer -------------------------------------------------------------------------

    def receive_offer(self, body: bytes) -> RtpParameters:
        """Take an offer; ``answer`` gives the bytes to send back. Raises ``BadSdp`` with status 488 when it
        has nothing that we speak; what was agreed before then stays in force."""
        offer = parse_sdp(body)
        at = self._choose_audio(offer)
        audio = offer.media[at]
        wanted = _direction(offer, audio)
        own = _restrict(_MIRROR[wanted], self.desired)
        if _is_old_hold(offer, audio):
            own = MediaDirection.INACTIVE
        parameters = self._agree(offer, audio, own=own, rtcp_mux_offered=True)
        self._audio_at = at
        self._layout = offer.media
        return parameters

    def answer(self) -> bytes:
        """The answer to the offer last received."""
        if self.parameters is None or self._agreed is None or not self._layout:
            raise LocalProtocolError("no offer to answer")
        chosen, dtmf = self._agreed
        formats = [str(chosen.payload_type)]
        attributes = [_rtpmap(chosen.payload_type, f"{chosen.codec}/8000")]
        if dtmf is not None:
            formats.append(str(dtmf))
            attributes += _dtmf_attributes(dtmf)
        attributes += self._common(self.parameters.direction, mux=self.parameters.rtcp_mux)
        offered = self._layout[self._audio_at]
        audio = Media("audio", self._port, offered.protocol, tuple(formats), attributes=tuple(attributes))
        return self._publish(self._description(self._in_layout(audio)))

    def _choose_audio(self, offer: Sdp) -> int:
        for at, media in enumerate(offer.media):
            usable = media.kind == "audio" and media.port and media.protocol in {"RTP/AVP", "RTP/AVPF"}
            if usable and self._match(media)[0] is not None:
                return at
        raise BadSdp("no audio stream in a codec that we speak", status=488)

    # --- agreement ----------------------------------------------------------------------------------

    def _agree(
        self, remote: Sdp, audio: Media, *, own: MediaDirection, rtcp_mux_offered: bool
    ) -> RtpParameters:
        """Fix the parameters from the peer's description; ``own`` is what we offered or answer with."""
        chosen, dtmf = self._match(audio)
        if chosen is None:
            raise BadSdp("no common codec", status=488)
        connection = remote.connection_of(audio)
        if connection is None:
            raise BadSdp("no connection address")
        theirs = _direction(remote, audio)
        old_hold = is_unspecified(connection.host)
        if not old_hold:
            _require_address(connection.host)
        mux = self._capabilities.rtcp_mux and rtcp_mux_offered and audio.attribute("rtcp-mux") is not None
        direction = _intersect(own, theirs)
        if old_hold:
            direction = MediaDirection.INACTIVE
        host, port = self._remote_address(connection.host, audio.port, old_hold=old_hold)
        self.peer_holds = old_hold or theirs in {MediaDirection.SENDONLY, MediaDirection.INACTIVE}
        self.remote = remote
        self._agreed = (chosen, dtmf)
        self.parameters = RtpParameters(
            remote_host=host,
            remote_port=port,
            codec=chosen.codec,
            payload_type=chosen.payload_type,
            clock_rate=8000,
            ptime_ms=self._ptime(audio),
            dtmf_payload_type=dtmf,
            remote_rtcp_port=port if mux else _rtcp_port(audio, port),
            rtcp_mux=mux,
            direction=direction,
        )
        return self.parameters

    def _remote_address(self, host: str, port: int, *, old_hold: bool) -> tuple[str, int]:
        # A hold by 0.0.0.0 keeps the address from before, so that media finds back without a guess.
        if old_hold and self.parameters is not None:
            return self.parameters.remote_host, self.parameters.remote_port
        return host, port

    def _match(self, audio: Media) -> tuple[_Format | None, int | None]:
        """Our first choice among the offered formats in the peer's order, and the telephone-event type."""
        maps = _rtpmaps(audio)
        chosen: _Format | None = None
        dtmf: int | None = None
        for name in audio.formats:
            if not (name.isascii() and name.isdigit()) or int(name[:4]) > 127:
                continue
            number = int(name)
            encoding, rate, channels = maps.get(number, (*_STATIC.get(number, ("", 0)), 1))
            if rate != 8000 or channels != 1:
                continue
            if encoding == "TELEPHONE-EVENT":
                dtmf = dtmf if dtmf is not None else number
            elif chosen is None and any(encoding == codec.value for codec in self._capabilities.codecs):
                chosen = _Format(Codec(encoding), number)
        return chosen, dtmf if self._capabilities.dtmf else None

    def _ptime(self, audio: Media) -> int:
        wanted = _number(audio.attribute("ptime"))
        limit = _number(audio.attribute("maxptime"))
        ptime = wanted if wanted in _PTIMES else self._capabilities.ptime_ms
        if limit is not None and ptime > limit:
            ptime = max((choice for choice in _PTIMES if choice <= limit), default=10)
        return ptime

    # --- writing ------------------------------------------------------------------------------------

    def _our_formats(self) -> tuple[tuple[str, ...], tuple[Attribute, ...]]:
        known, dtmf = self._agreed or (None, None)
        formats: list[str] = []
        attributes: list[Attribute] = []
        for codec in self._capabilities.codecs:
            number = _OUR_TYPES[codec]
            if known is not None and known.codec is codec:
                number = known.payload_type
            formats.append(str(number))
            attributes.append(_rtpmap(number, f"{codec}/8000"))
        if self._capabilities.dtmf:
            number = dtmf if dtmf is not None else _OUR_DTMF
            while dtmf is None and str(number) in formats:
                number += 1
            formats.append(str(number))
            attributes += _dtmf_attributes(number)
        return tuple(formats), tuple(attributes)

    def _common(self, direction: MediaDirection, *, mux: bool | None = None) -> list[Attribute]:
        ptime = self.parameters.ptime_ms if self.parameters is not None else self._capabilities.ptime_ms
        found: list[Attribute] = [("ptime", str(ptime)), (direction.value, None)]
        if self._capabilities.rtcp_mux if mux is None else mux:
            found.append(("rtcp-mux", None))
        else:
            found.append(("rtcp", str(self._port + 1)))
        return found

    def _in_layout(self, audio: Media) -> tuple[Media, ...]:
        """Our stream in its place among those of the session, the others refused (RFC 3264 section 6)."""
        if not self._layout:
            return (audio,)
        return tuple(
            audio if at == self._audio_at else Media(other.kind, 0, other.protocol, other.formats[:1])
            for at, other in enumerate(self._layout)
        )

    def _description(self, media: tuple[Media, ...]) -> Sdp:
        connection = connection_for(self._host)
        origin = Origin(self._user, str(self._session_id), self._version, connection)
        return Sdp(origin, "-", connection, media=media)

    def _publish(self, description: Sdp) -> bytes:
        """The bytes, with a version that grows only when something changed (RFC 3264 section 8)."""
        data = description.to_bytes()
        if data == self._last:
            return data
        self._version += 1
        description = replace(description, origin=replace(description.origin, version=self._version))
        self._last = description.to_bytes()
        return self._last


def _rtpmap(number: int, encoding: str) -> Attribute:
    return ("rtpmap", f"{number} {encoding}")


def _dtmf_attributes(number: int) -> list[Attribute]:
    return [_rtpmap(number, "telephone-event/8000"), ("fmtp", f"{number} 0-15")]


def _rtpmaps(audio: Media) -> dict[int, tuple[str, int, int]]:
    """Payload type → (encoding in upper case, clock rate, channels); malformed maps are skipped."""
    maps: dict[int, tuple[str, int, int]] = {}
    for value in audio.all("rtpmap"):
        number, _, encoding = value.strip().partition(" ")
        parts = encoding.strip().split("/")
        if len(parts) < 2 or not all(part.isascii() and part.isdigit() for part in [number, *parts[1:3]]):
            continue
        channels = int(parts[2][:4]) if len(parts) > 2 else 1
        maps[int(number[:4])] = (parts[0].upper(), int(parts[1][:8]), channels)
    return maps


def _number(value: str | None) -> int | None:
    if value is None:
        return None
    try:
        return parse_number(value.strip(), limit=10_000)
    except BadMessage:
        return None


def _rtcp_port(audio: Media, port: int) -> int | None:
    """RTCP port of ``a=rtcp`` (RFC 3605), else the next one."""
    value = audio.attribute("rtcp")
    number = _number_up_to(value.split()[0]) if value and value.split() else None
    return number or (port + 1 if port < 65535 else None)


def _number_up_to(value: str) -> int | None:
    try:
        return parse_number(value, limit=65535)
    except BadMessage:
        return None


def _direction(description: Sdp, media: Media) -> MediaDirection:
    for direction in MediaDirection:
        if media.attribute(direction.value) is not None:
            return direction
    for direction in MediaDirection:
        if description.attribute(direction.value) is not None:
            return direction
    return MediaDirection.SENDRECV


def _is_old_hold(description: Sdp, audio: Media) -> bool:
    connection = description.connection_of(audio)
    return connection is not None and is_unspecified(connection.host)


def _intersect(own: MediaDirection, theirs: MediaDirection) -> MediaDirection:
    """What we do, given what we said and what the peer says it does."""
    return _restrict(own, _MIRROR[theirs])


def _restrict(one: MediaDirection, other: MediaDirection) -> MediaDirection:
    """What both allow, seen from the same side."""
    send = one in _SENDS and other in _SENDS
    receive = one in _RECEIVES and other in _RECEIVES
    if send and receive:
        return MediaDirection.SENDRECV
    if send:
        return MediaDirection.SENDONLY
    return MediaDirection.RECVONLY if receive else MediaDirection.INACTIVE


def _require_address(host: str) -> None:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        raise BadSdp("a connection address that is not a literal IP address", status=488) from None
    if address.is_multicast:
        raise BadSdp("a multicast connection address", status=488)
