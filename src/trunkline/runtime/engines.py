"""Engines and the local voice of a process: those that the configuration's agents use, and no other."""

import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trunkline.calls import Speech, Voice
from trunkline.config import Config, Environ, LocalEngine, RealtimeEngine
from trunkline.config.source import load
from trunkline.engines.contract import EngineFactory
from trunkline.model import Missing

if TYPE_CHECKING:
    from trunkline.engines.local import Voices

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Engines:
    """Factories by engine name, and the voice for masks and apologies."""

    factories: dict[str, EngineFactory]
    voice: Voice


class NoVoice:
    """Stands in where no speech library is installed: masks and apologies are left out."""

    async def say(self, text: str, voice: str) -> Speech:
        """Nothing can be said."""
        raise Missing(
            f"no voice is installed to say {len(text)} characters with {voice or 'the default voice'}",
            hint="install libflite1",
        )


class LocalVoice:
    """``calls.Voice`` over the speech library of the local engine. Set phrases are kept."""

    def __init__(self, voices: "Voices") -> None:
        self._voices = voices

    async def say(self, text: str, voice: str) -> Speech:
        """``text`` as audio, by ``voice`` when the library has it."""
        from trunkline.engines.local import DEFAULT_VOICE, VOICES
        from trunkline.engines.local.voice import RATE

        chosen = voice if voice in VOICES else DEFAULT_VOICE
        return Speech(pcm=await self._voices.render(text, chosen, keep=True), rate=RATE)


@asynccontextmanager
async def open_engines(config: Config, environ: Environ) -> AsyncIterator[Engines]:
    """Open every engine that an agent uses. Raises ``Missing`` when the local engine is used but its libraries are
    not installed, ``ConfigError`` when a secret cannot be read."""
    used = {name for agent in config.root.agents.values() for name in (agent.engine, *agent.fallback)}
    factories: dict[str, EngineFactory] = {}
    async with AsyncExitStack() as stack:
        voices = _voices(stack, needed=any(isinstance(config.root.engines[n], LocalEngine) for n in used))
        for name in sorted(used):
            match config.root.engines[name]:
                case LocalEngine() as local:
                    assert voices is not None, "needed, so it is there or Missing was raised"
                    factories[name] = await _local(stack, config, name, local, voices)
                case RealtimeEngine() as realtime:
                    factories[name] = _realtime(config, realtime, environ)
        voice: Voice = LocalVoice(voices) if voices is not None else NoVoice()
        await _warm(config, voice)
        yield Engines(factories, voice)


def _voices(stack: AsyncExitStack, *, needed: bool) -> "Voices | None":
    try:
        from trunkline.engines.local import Voices

        voices = Voices()
    except Missing as absent:
        if needed:
            raise
        log.warning("no mask and no apology can be spoken: %s", absent)
        return None
    stack.callback(voices.close)
    return voices


async def _local(
    stack: AsyncExitStack, config: Config, name: str, settings: LocalEngine, voices: "Voices"
) -> EngineFactory:
    from trunkline.engines.local import LocalEngine as Local
    from trunkline.engines.local import LocalSettings

    engine = Local(LocalSettings.model_validate(settings.settings), voices=voices)
    stack.push_async_callback(engine.close)
    await engine.warm(
        load(config.path(agent.dialogue)).data
        for agent in config.root.agents.values()
        if agent.dialogue is not None and name in (agent.engine, *agent.fallback)
    )
    return engine


def _realtime(config: Config, settings: RealtimeEngine, environ: Environ) -> EngineFactory:
    from trunkline.engines.realtime import RealtimeSettings, realtime_engine

    return realtime_engine(
        url=settings.url,
        model=settings.model,
        api_key=config.secret(settings.api_key, environ) if settings.api_key is not None else None,
        settings=RealtimeSettings.model_validate(settings.settings),
        ready_timeout_ms=round(settings.ready_timeout_s * 1000),
        ca_file=str(config.path(settings.ca_file)) if settings.ca_file is not None else None,
    )


async def _warm(config: Config, voice: Voice) -> None:
    """Make set phrases before the first call needs them: a mask must not wait for its own audio."""
    if isinstance(voice, NoVoice):
        return
    for agent in config.root.agents.values():
        for tool in agent.tools:
            if mask := config.root.tools[tool].mask:
                await voice.say(mask, agent.voice)
        await voice.say(agent.phrases.apology, agent.voice)
