"""From the native engine's event tuples to the events of ``port.py``.

A table by kind: the native side names the kind and gives the fields in the order of the dataclass.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from trunkline.model import Nanos
from trunkline.telephony.media.port import (
    CallerSpeech,
    Digit,
    EngineClosed,
    EngineOpened,
    EngineText,
    FirstPacket,
    Flushed,
    Heard,
    MaskEnded,
    MaskStarted,
    MediaClosed,
    MediaEvent,
    MediaFailed,
    MediaStats,
    PlayEnded,
    PlayStarted,
    RtpSilence,
    Tap,
)


def stats(fields: Mapping[str, Any]) -> MediaStats:
    """Counters as the native side gives them."""
    return MediaStats(**fields)


def _play_ended(at: Nanos, heard: tuple[str, int, int]) -> PlayEnded:
    return PlayEnded(at, Heard(*heard))


def _flushed(at: Nanos, heard: list[tuple[str, int, int]]) -> Flushed:
    return Flushed(at, tuple(Heard(*one) for one in heard))


def _media_closed(at: Nanos, last_rtp_sent_at: Nanos, fields: Mapping[str, Any]) -> MediaClosed:
    return MediaClosed(at, last_rtp_sent_at, stats(fields))


KINDS: Final[Mapping[str, Callable[..., MediaEvent]]] = {
    "first_packet": FirstPacket,
    "caller_speech": CallerSpeech,
    "digit": Digit,
    "play_started": PlayStarted,
    "play_ended": _play_ended,
    "flushed": _flushed,
    "mask_started": MaskStarted,
    "mask_ended": MaskEnded,
    "engine_opened": EngineOpened,
    "engine_text": EngineText,
    "engine_closed": EngineClosed,
    "tap": Tap,
    "rtp_silence": RtpSilence,
    "media_failed": MediaFailed,
    "media_closed": _media_closed,
}


def event(kind: str, at: int, fields: tuple[Any, ...]) -> MediaEvent:
    """The event of a native tuple."""
    return KINDS[kind](Nanos(at), *fields)
