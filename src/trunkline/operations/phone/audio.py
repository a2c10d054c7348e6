"""Plain audio for phones in software: G.711 as it is on the wire, and WAV files.

Owns decoding of what a packet carried, so that what a phone heard can be judged without the media core
that is being judged. Refuses to pace, mix or send anything: that is the media core's business.

Samples are numpy ``int16`` arrays, mono unless said otherwise.
"""

import wave
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from trunkline.model import LocalError
from trunkline.telephony.media.port import Codec

Samples = NDArray[np.int16]

PHONE_RATE: Final = 8000
"""Hertz of everything a phone hears and says on the wire with G.711."""

PLAYABLE_RATES: Final = (8000, 16000, 24000)
"""Sample rates that the media core plays."""


def _mulaw_table() -> Samples:
    """All 256 µ-law codes expanded to 14 bits, scaled to 16 (ITU-T G.711, table 2a)."""
    code = ~np.arange(256, dtype=np.int32) & 0xFF
    magnitude = ((((code & 0x0F) << 3) + 0x84) << ((code >> 4) & 0x07)) - 0x84
    return np.where(code & 0x80, -magnitude, magnitude).astype(np.int16)


def _alaw_table() -> Samples:
    """All 256 A-law codes expanded to 13 bits, scaled to 16 (ITU-T G.711, table 1a)."""
    code = np.arange(256, dtype=np.int32) ^ 0x55
    exponent = (code >> 4) & 0x07
    mantissa = (code & 0x0F) << 4
    magnitude = np.where(exponent == 0, mantissa + 8, (mantissa + 0x108) << np.maximum(exponent - 1, 0))
    return np.where(code & 0x80, magnitude, -magnitude).astype(np.int16)


_TABLES: Final = {Codec.PCMU: _mulaw_table(), Codec.PCMA: _alaw_table()}


def decode(codec: Codec, payload: bytes) -> Samples:
    """The samples in one RTP payload: G.711 or L16 (big-endian, RFC 3551 section 4.5.11)."""
    if codec is Codec.L16:
        return np.frombuffer(payload[: len(payload) & ~1], dtype=">i2").astype(np.int16)
    return _TABLES[codec][np.frombuffer(payload, dtype=np.uint8)]


def read_wav(path: Path) -> tuple[Samples, int]:
    """Samples and rate of a 16-bit PCM WAV file; shape ``(n,)`` for mono, ``(n, channels)`` otherwise.

    Raises ``LocalError`` that says what to do when the file cannot be used.
    """
    hint = f"convert it: sox {path.name} -b 16 -c 1 -r 8000 converted.wav"
    try:
        with wave.open(str(path), "rb") as wav:
            width, rate, channels = wav.getsampwidth(), wav.getframerate(), wav.getnchannels()
            raw = wav.readframes(wav.getnframes())
    except (wave.Error, EOFError) as bad:
        raise LocalError(f"{path}: not a WAV file with PCM audio: {bad}", hint=hint) from bad
    except OSError as failed:
        raise LocalError(f"{path}: cannot read: {failed.strerror}") from failed
    if width != 2:
        raise LocalError(f"{path}: {8 * width}-bit audio, need 16-bit", hint=hint)
    samples = np.frombuffer(raw, dtype="<i2").astype(np.int16)
    return (samples if channels == 1 else samples.reshape(-1, channels)), rate


def read_playable(path: Path) -> tuple[bytes, int]:
    """A WAV file as the media core plays it: mono PCM bytes and a rate of ``PLAYABLE_RATES``."""
    samples, rate = read_wav(path)
    if samples.ndim != 1 or rate not in PLAYABLE_RATES:
        channels = 1 if samples.ndim == 1 else samples.shape[1]
        raise LocalError(
            f"{path}: {channels} channel(s) at {rate} Hz, need one at 8000, 16000 or 24000 Hz",
            hint=f"convert it: sox {path.name} -b 16 -c 1 -r 8000 converted.wav",
        )
    return samples.astype("<i2").tobytes(), rate


def write_wav(path: Path, *channels: Samples, rate: int = PHONE_RATE) -> None:
    """Write one WAV file of one or more channels; shorter channels are filled up with silence."""
    length = max((len(channel) for channel in channels), default=0)
    frames = np.zeros((length, max(1, len(channels))), dtype="<i2")
    for index, channel in enumerate(channels):
        frames[: len(channel), index] = channel
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as wav:
        wav.setnchannels(frames.shape[1])
        wav.setsampwidth(2)
        wav.setframerate(rate)
        wav.writeframes(frames.tobytes())
