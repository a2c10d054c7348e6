"""libflite in this process: text in, 16-bit audio out in pieces while it is being made.

Owns the ctypes binding of Flite 2 (``flite.h``, ``cst_audio.h``; Debian ``libflite1``) and nothing else: no threads,
no cache, no normalisation of text. Calls release the GIL.

Flite keeps no per-call globals, but values that hang on a voice have plain (not atomic) reference counts, so one
voice never speaks two utterances at the same time: each voice has a lock. Utterances should be short (a sentence).
"""

import ctypes
import threading
from collections.abc import Callable
from typing import Any, Final

from trunkline.model import LocalError, Missing

PACKAGE: Final = "libflite1"

VOICES: Final = ("slt", "rms", "awb", "kal", "kal16")
"""Voices of the Debian package: slt female, rms male, awb male (Scottish), kal and kal16 diphone (robotic)."""

MAX_UTTERANCE_CHARS: Final = 600

OnAudio = Callable[[bytes, int], bool]
"""Takes PCM16LE and its rate as it is made, in the calling thread; returns False to stop."""

_STOP: Final = -1
_CONTINUE: Final = 0
_FIRST_PIECE_S: Final = 0.04
_PIECE_S: Final = 0.12


class _Wave(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_char_p),
        ("sample_rate", ctypes.c_int),
        ("num_samples", ctypes.c_int),
        ("num_channels", ctypes.c_int),
        ("samples", ctypes.c_void_p),
    )


class _Streaming(ctypes.Structure):
    """``cst_audio_streaming_info``."""


_CALLBACK = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(_Wave), ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.POINTER(_Streaming)
)
_Streaming._fields_ = (
    ("min_buffsize", ctypes.c_int),
    ("asc", _CALLBACK),
    ("utt", ctypes.c_void_p),
    ("item", ctypes.c_void_p),
    ("userdata", ctypes.c_void_p),
)


class _Utterance(ctypes.Structure):
    """The head of ``cst_utterance``; the rest is Flite's business."""

    _fields_ = (("features", ctypes.c_void_p),)


def _library(name: str) -> ctypes.CDLL:
    try:
        return ctypes.CDLL(name, mode=ctypes.RTLD_GLOBAL)
    except OSError as failed:
        raise Missing(
            f"the speech library {name} cannot be loaded: {failed}",
            hint=f"install the Debian package {PACKAGE}: apt-get install {PACKAGE}",
        ) from failed


_POINTER: Final = ctypes.c_void_p
_TEXT: Final = ctypes.c_char_p
_SIGNATURES: Final[tuple[tuple[str, Any, tuple[Any, ...]], ...]] = (
    ("flite_init", ctypes.c_int, ()),
    ("new_utterance", ctypes.POINTER(_Utterance), ()),
    ("delete_utterance", None, (ctypes.POINTER(_Utterance),)),
    ("utt_set_input_text", ctypes.c_int, (ctypes.POINTER(_Utterance), _TEXT)),
    ("utt_wave", ctypes.POINTER(_Wave), (ctypes.POINTER(_Utterance),)),
    ("flite_do_synth", _POINTER, (ctypes.POINTER(_Utterance), _POINTER, _POINTER)),
    ("new_audio_streaming_info", ctypes.POINTER(_Streaming), ()),
    ("audio_streaming_info_val", _POINTER, (ctypes.POINTER(_Streaming),)),
    ("feat_set", ctypes.c_int, (_POINTER, _TEXT, _POINTER)),
    ("feat_set_float", ctypes.c_int, (_POINTER, _TEXT, ctypes.c_float)),
    ("lex_lookup", _POINTER, (_POINTER, _TEXT, _TEXT, _POINTER)),
    ("val_car", _POINTER, (_POINTER,)),
    ("val_cdr", _POINTER, (_POINTER,)),
    ("val_string", _TEXT, (_POINTER,)),
    ("delete_val", None, (_POINTER,)),
)


class Flite:
    """The loaded library with its voices. One per process is enough; loading twice is harmless.

    Raises ``Missing`` when the library or a voice is not installed.
    """

    def __init__(self, library: str = "libflite.so.1") -> None:
        self._lib = _library(library)
        # The voice libraries leave these symbols to whoever loads them.
        _library("libflite_usenglish.so.1")
        cmulex = _library("libflite_cmulex.so.1")
        for name, result, arguments in _SIGNATURES:
            function = getattr(self._lib, name)
            function.restype = result
            function.argtypes = arguments
        self._lib.flite_init()
        self._utt_synth = ctypes.cast(self._lib.utt_synth, _POINTER)
        cmulex.cmu_lex_init.restype = _POINTER
        self._lexicon: int = cmulex.cmu_lex_init()
        self._lexicon_lock = threading.Lock()
        self._loading = threading.Lock()
        self._voices: dict[str, tuple[int, threading.Lock]] = {}

    def voice(self, name: str) -> tuple[int, threading.Lock]:
        """Load a voice of ``VOICES`` (a few milliseconds the first time). ``LocalError`` for an unknown name."""
        if name not in VOICES:
            raise LocalError(f"there is no voice {name!r}", hint=f"voices: {', '.join(VOICES)}")
        with self._loading:
            known = self._voices.get(name)
            if known is None:
                register = getattr(_library(f"libflite_cmu_us_{name}.so.1"), f"register_cmu_us_{name}")
                register.restype = _POINTER
                register.argtypes = (_POINTER,)
                known = self._voices[name] = (register(None), threading.Lock())
            return known

    def synthesise(
        self, text: str, voice: str, on_audio: OnAudio, *, stretch: float = 1.0, pitch: float = 1.0
    ) -> bool:
        """Speak one utterance, handing out audio as it is made; blocks. False when ``on_audio`` stopped it.

        ``stretch`` above 1 is slower; ``pitch`` multiplies the fundamental frequency. What ``on_audio`` raises is
        raised here. Voices speak at 16 kHz, ``kal`` at 8 kHz.
        """
        if len(text) > MAX_UTTERANCE_CHARS:
            raise LocalError(f"an utterance of {len(text)} characters", hint=f"at most {MAX_UTTERANCE_CHARS}")
        pointer, lock = self.voice(voice)
        stream = _Stream(on_audio)
        with lock:
            utterance = self._lib.new_utterance()
            # The utterance owns the streaming info from here on and frees both it and itself on failure.
            info = self._lib.new_audio_streaming_info()
            info.contents.min_buffsize = int(_FIRST_PIECE_S * 16000)
            info.contents.asc = stream.callback
            features = utterance.contents.features
            self._lib.feat_set(features, b"streaming_info", self._lib.audio_streaming_info_val(info))
            if stretch != 1.0:
                self._lib.feat_set_float(features, b"duration_stretch", stretch)
            if pitch != 1.0:
                self._lib.feat_set_float(features, b"f0_shift", pitch)
            self._lib.utt_set_input_text(utterance, text.encode("ascii", "ignore"))
            made = self._lib.flite_do_synth(utterance, pointer, self._utt_synth)
            if not made:
                raise LocalError(f"libflite could not speak with the voice {voice!r}")
            if not stream.pieces and not stream.stopped:
                stream.whole(self._lib.utt_wave(utterance))
            self._lib.delete_utterance(utterance)
        if stream.failed is not None:
            raise stream.failed
        return not stream.stopped

    def pronounce(self, word: str) -> list[str]:
        """Phones of an English word in CMU's set without stress (``AH``, ``K`` …), from lexicon or letter rules."""
        with self._lexicon_lock:
            phones = self._lib.lex_lookup(self._lexicon, word.lower().encode("ascii", "ignore"), None, None)
            found = []
            cell = phones
            while cell:
                found.append(self._lib.val_string(self._lib.val_car(cell)).decode("ascii"))
                cell = self._lib.val_cdr(cell)
            if phones:
                self._lib.delete_val(phones)
        return ["AH" if phone == "ax" else phone.upper() for phone in (raw.rstrip("012") for raw in found)]


class _Stream:
    """Bridges Flite's callback to ``on_audio``; an exception must not unwind through C."""

    def __init__(self, on_audio: OnAudio) -> None:
        self._on_audio = on_audio
        self.callback = _CALLBACK(self._piece)
        self.pieces = 0
        self.stopped = False
        self.failed: BaseException | None = None

    def _piece(self, wave: Any, start: int, size: int, _last: int, info: Any) -> int:
        self.pieces += 1
        info.contents.min_buffsize = int(_PIECE_S * 16000)
        head = wave.contents
        return self._give(head.samples + 2 * start, size, head.sample_rate)

    def whole(self, wave: Any) -> None:
        """A finished wave, of a synthesiser that does not stream."""
        head = wave.contents
        self._give(head.samples, head.num_samples, head.sample_rate)

    def _give(self, address: int, size: int, rate: int) -> int:
        if size <= 0:
            return _CONTINUE
        try:
            go_on = self._on_audio(ctypes.string_at(address, 2 * size), rate)
        except BaseException as failed:  # noqa: BLE001 - raised again by synthesise()
            self.failed = failed
            go_on = False
        if not go_on:
            self.stopped = True
        return _CONTINUE if go_on else _STOP
