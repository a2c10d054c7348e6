"""The local engine of a process: makes sessions, warms up, closes.

Owns the worker threads and all that calls share. ``runtime`` creates one per configured engine.
"""

import asyncio
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol, runtime_checkable

from pydantic import BaseModel, ConfigDict, Field

from trunkline.engines.contract import EngineSink
from trunkline.engines.local.parts import Parts
from trunkline.engines.local.recogniser import Decoders
from trunkline.engines.local.session import LocalEngineSession
from trunkline.engines.local.vad import Detectors
from trunkline.engines.local.voice import DEFAULT_VOICE, VOICES, Voices
from trunkline.model import Clock, LocalError
from trunkline.telephony.media.port import EnginePort


class LocalSettings(BaseModel):
    """Bounds of the engine; the defaults suit two cores."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    decoders: int = Field(default=16, ge=1, le=256, description="Callers heard at the same time; 13 MB each.")
    threads: int = Field(default=2, ge=1, le=64, description="Worker threads that recognise speech.")
    warm: int = Field(default=2, ge=0, le=256, description="Decoders made at start.")
    voice: str = Field(default=DEFAULT_VOICE, description="Voice of agents that name none.")


@runtime_checkable
class _Pronouncing(Protocol):
    def pronounce(self, word: str) -> list[str]: ...


class LocalEngine:
    """An ``EngineFactory``: call it with ``port``, ``sink`` and ``clock`` for a session.

    Raises ``Missing`` at creation when libflite or the recogniser's weights are not installed. ``voices``,
    ``detectors`` and ``decoders`` may be shared with others; the engine then does not close them.

    >>> engine = LocalEngine()                                             # doctest: +SKIP
    >>> await engine.warm([document])                                      # doctest: +SKIP
    >>> session = engine(port=port, sink=sink, clock=clock)                # doctest: +SKIP
    """

    def __init__(
        self,
        settings: LocalSettings | None = None,
        *,
        voices: Voices | None = None,
        detectors: Detectors | None = None,
        decoders: Decoders | None = None,
    ) -> None:
        settings = settings or LocalSettings()
        if settings.voice not in VOICES:
            raise LocalError(f"there is no voice {settings.voice!r}", hint=f"voices: {', '.join(VOICES)}")
        self.settings = settings
        self._own_voices = voices is None
        shared = voices if voices is not None else Voices()
        library = shared.synthesiser
        pronounce = library.pronounce if isinstance(library, _Pronouncing) else None
        self._own_decoders = decoders is None
        self._parts = Parts(
            voices=shared,
            detectors=detectors if detectors is not None else Detectors(),
            decoders=decoders if decoders is not None else Decoders(settings.decoders, pronounce=pronounce),
            voice=settings.voice,
        )
        self._executor = ThreadPoolExecutor(max_workers=settings.threads, thread_name_prefix="recogniser")

    @property
    def voices(self) -> Voices:
        """For masks and scripted speech."""
        return self._parts.voices

    def __call__(self, *, port: EnginePort, sink: EngineSink, clock: Clock) -> LocalEngineSession:
        """A session for one call."""
        return LocalEngineSession(
            port=port, sink=sink, clock=clock, parts=self._parts, executor=self._executor
        )

    async def warm(self, documents: Iterable[Mapping[str, Any]] = ()) -> None:
        """Compile dialogue documents, make decoders, render greetings. Raises what is wrong with any of it."""
        loop = asyncio.get_running_loop()
        kept = list(documents)
        for document in kept:
            script = await loop.run_in_executor(self._executor, self._parts.script, document)
            await self._parts.voices.render(script.document.greeting, self.settings.voice, keep=True)
        await loop.run_in_executor(
            self._executor, self._parts.decoders.warm, self.settings.warm, self._parts.grammars()
        )

    async def close(self) -> None:
        """Let the threads go, waiting for what they are at (a tenth of a second). Close sessions before."""
        self._executor.shutdown(cancel_futures=True)
        if self._own_decoders:
            self._parts.decoders.close()
        if self._own_voices:
            self._parts.voices.close()
