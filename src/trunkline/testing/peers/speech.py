"""Speech for peers to play: the local voice at telephone rate, as WAV or as raw µ-law."""

from pathlib import Path
from typing import Final

import numpy as np

from trunkline.engines.local.voice import RATE, Voices
from trunkline.operations.phone.audio import PHONE_RATE, Samples, decode, write_wav
from trunkline.telephony.media.port import Codec

TAPS: Final = 63


async def say(text: str, voice: str = "rms") -> Samples:
    """A sentence at 8000 Hz, band-limited to the telephone's range."""
    voices = Voices(threads=1)
    try:
        pcm = await voices.render(text, voice)
    finally:
        voices.close()
    wide = np.frombuffer(pcm, dtype="<i2").astype(np.float64)
    step = RATE // PHONE_RATE
    position = np.arange(TAPS) - TAPS // 2
    low_pass = np.sinc(position * 0.92 / step) * np.hamming(TAPS)
    narrow = np.convolve(wide, low_pass / low_pass.sum(), mode="same")[::step]
    return np.clip(np.round(narrow), -32768, 32767).astype(np.int16)


def silence(seconds: float) -> Samples:
    """Digital silence."""
    return np.zeros(round(seconds * PHONE_RATE), dtype=np.int16)


def joined(*parts: Samples | float) -> Samples:
    """Utterances and pauses (seconds) one after another."""
    return np.concatenate([silence(part) if isinstance(part, float | int) else part for part in parts])


def write_speech(path: Path, *parts: Samples | float) -> Path:
    """The same as a mono WAV file of 8000 Hz."""
    write_wav(path, joined(*parts))
    return path


def mulaw(samples: Samples) -> bytes:
    """µ-law codes (ITU-T G.711) of samples: for each the code whose value is nearest."""
    values = decode(Codec.PCMU, bytes(range(256))).astype(np.int32)
    order = np.argsort(values, kind="stable")
    middles = (values[order][1:] + values[order][:-1]) / 2
    return order[np.searchsorted(middles, samples)].astype(np.uint8).tobytes()
