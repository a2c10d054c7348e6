"""Synthesised callers and a telephone channel, for training and measuring the local recogniser.

Needs numpy and libflite; espeak-ng (a program on PATH) adds voices when it is there.
"""

import random
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pocketsphinx

from trunkline.engines.local.voice.flite import Flite

Samples = npt.NDArray[np.float32]

ESPEAK_VOICES = tuple(
    f"{lang}+{kind}" for lang in ("en-us", "en-gb") for kind in ("m1", "m3", "m7", "f2", "f4")
)


@dataclass(frozen=True, slots=True)
class Speaker:
    """A voice with its manner: pace, pitch and the length of the vocal tract (``warp`` above 1 is shorter)."""

    voice: str
    stretch: float = 1.0
    pitch: float = 1.0
    warp: float = 1.0


class Studio:
    """Speech at 16 kHz from any speaker."""

    def __init__(self) -> None:
        self.flite = Flite()
        self.espeak = shutil.which("espeak-ng")

    def say(self, text: str, speaker: Speaker) -> Samples:
        """Speech of ``text``, with natural margins of silence."""
        if speaker.voice.startswith("en-"):
            return self._espeak(text, speaker)
        pieces: list[bytes] = []

        def keep(pcm: bytes, _rate: int) -> bool:
            pieces.append(pcm)
            return True

        stretch = speaker.stretch * speaker.warp
        self.flite.synthesise(text, speaker.voice, keep, stretch=stretch, pitch=speaker.pitch / speaker.warp)
        speech = np.frombuffer(b"".join(pieces), dtype="<i2").astype(np.float32)
        return resample(speech, 1.0 / speaker.warp) if speaker.warp != 1.0 else speech

    def _espeak(self, text: str, speaker: Speaker) -> Samples:
        assert self.espeak is not None, "espeak-ng is not installed"
        pace = str(round(160 / (speaker.stretch * speaker.warp)))
        pitch = str(int(np.clip(50 * speaker.pitch, 5, 95)))
        command = [self.espeak, "-v", speaker.voice, "-s", pace, "-p", pitch, "--stdout", text]
        wav = subprocess.run(command, check=True, capture_output=True, timeout=20).stdout
        rate = int.from_bytes(wav[24:28], "little")
        speech = np.frombuffer(wav[44 : 44 + (len(wav) - 44) // 2 * 2], dtype="<i2").astype(np.float32)
        return resample(speech, 16000 / rate / speaker.warp)


def resample(samples: Samples, ratio: float) -> Samples:
    """``ratio`` times as many samples, through the spectrum (whole signals only)."""
    size = round(samples.size * ratio)
    spectrum = np.fft.rfft(samples)
    bins = np.zeros(size // 2 + 1, dtype=spectrum.dtype)
    shared = min(bins.size, spectrum.size)
    bins[:shared] = spectrum[:shared]
    return (np.fft.irfft(bins, size) * ratio).astype(np.float32)


def ulaw(samples: Samples) -> Samples:
    """There and back through G.711 mu-law (ITU-T G.711, 14-bit segments)."""
    sign = np.where(samples < 0, -1.0, 1.0)
    magnitude = np.minimum(np.abs(np.rint(samples)), 32635) + 132
    step = 2.0 ** (np.floor(np.log2(magnitude)) - 4)
    quantised = (np.floor(magnitude / step) + 0.5) * step - 132
    return np.asarray(sign * quantised, dtype=np.float32)


def alaw(samples: Samples) -> Samples:
    """There and back through G.711 A-law."""
    sign = np.where(samples < 0, -1.0, 1.0)
    magnitude = np.minimum(np.abs(np.rint(samples)), 32767)
    step = np.maximum(2.0 ** (np.floor(np.log2(np.maximum(magnitude, 1))) - 4), 16.0)
    return np.asarray(sign * (np.floor(magnitude / step) + 0.5) * step, dtype=np.float32)


CODECS: dict[str, Callable[[Samples], Samples]] = {
    "ulaw": ulaw,
    "alaw": alaw,
    "none": lambda samples: samples,
}


def noise(size: int, colour: float, dice: np.random.Generator) -> Samples:
    """Noise whose power falls by ``colour`` powers of the frequency (0 white, 1 pink, 2 brown), of RMS 1."""
    spectrum = np.fft.rfft(dice.standard_normal(size))
    frequency = np.maximum(np.arange(spectrum.size), size * 60 / 8000) ** (colour / 2)
    shaped = np.fft.irfft(spectrum / frequency, size)
    return np.asarray(shaped / np.sqrt(np.mean(shaped**2)), dtype=np.float32)


def telephone(
    speech: Samples, *, snr_db: float | None, codec: str, colour: float, band: bool, seed: int
) -> Samples:
    """16 kHz speech as it arrives at 8 kHz: band limit, noise, codec."""
    dice = np.random.default_rng(seed)
    narrow = resample(speech, 0.5)
    if band:
        spectrum = np.fft.rfft(narrow)
        hertz = np.arange(spectrum.size) * 4000 / max(1, spectrum.size - 1)
        low = 1 / (1 + (220 / np.maximum(hertz, 1)) ** 4)
        high = 1 / (1 + (hertz / 3550) ** 24)
        narrow = np.fft.irfft(spectrum * low * high, narrow.size).astype(np.float32)
    if snr_db is not None:
        loud = np.abs(narrow) > 0.02 * np.max(np.abs(narrow), initial=1.0)
        level = np.sqrt(np.mean(narrow[loud] ** 2)) if loud.any() else 100.0
        narrow = narrow + noise(narrow.size, colour, dice) * np.float32(level * 10 ** (-snr_db / 20))
    return CODECS[codec](np.clip(narrow, -32768, 32767).astype(np.float32))


class Reference:
    """The acoustic model's own front end: cepstra of 16 kHz speech."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._decoder = pocketsphinx.Decoder(
            lm=None, mfclogdir=self._folder.name, loglevel="FATAL", keyphrase="hello", cmn="none"
        )

    def cepstra(self, speech: Samples) -> Samples:
        """Rows of 13 cepstra, 100 a second."""
        self._decoder.start_stream()
        self._decoder.start_utt()
        pcm = np.clip(np.rint(speech), -32768, 32767).astype("<i2").tobytes()
        self._decoder.process_raw(pcm, no_search=True)
        self._decoder.end_utt()
        (file,) = Path(self._folder.name).glob("*.mfc")
        values = np.frombuffer(file.read_bytes()[4:], dtype=">f4").astype(np.float32).reshape(-1, 13)
        file.unlink()
        return values


def dictionary_words() -> list[str]:
    """Every plain word of the recogniser's dictionary."""
    file = Path(pocketsphinx.get_model_path("en-us/cmudict-en-us.dict"))
    heads = (line.split(" ", 1)[0] for line in file.read_text(encoding="utf-8").splitlines())
    return [word for word in heads if word.isalpha() and len(word) > 1]


def speakers(voices: tuple[str, ...], dice: random.Random) -> Iterator[Speaker]:
    """Endless speakers of varied manner."""
    while True:
        yield Speaker(
            voice=dice.choice(voices),
            stretch=dice.uniform(0.8, 1.25),
            pitch=dice.uniform(0.75, 1.35),
            warp=dice.uniform(0.86, 1.16),
        )
