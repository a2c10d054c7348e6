"""The contract kit against the local engine: real voice, real voice detection, a dialogue of two intents."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from trunkline.config.source import parse
from trunkline.engines.contract import CallerSpeechStarted, CallerText, EngineEvent
from trunkline.engines.local import LocalEngine, LocalEngineSession, Voices, check_dialogue
from trunkline.engines.local.recogniser import Decoders
from trunkline.engines.local.vad import Detectors
from trunkline.engines.local.voice import Flite
from trunkline.model import MS, Missing, Nanos
from trunkline.testing import Collector, FakeMediaPort, VirtualClock, settle
from trunkline.testing.engine_contract import BRIEF, EngineContract, EngineRig

DIALOGUE = """
version: 1
greeting: "Thank you for calling Acme."
help: "You can ask for an order."
intents:
  order:
    examples: ["where is my order", "check my order"]
    steps:
      - call: lookup
        arguments: {number: "4711"}
        failed: "I can't reach the order system."
person: {queue: support, farewell: "One moment please.", summary: "Asked for a person."}
goodbye: {farewell: "Goodbye."}
anything_else: {prompt: "Anything else?"}
"""
BATCH_MS = 40


class LocalRig(EngineRig):
    def __init__(
        self, session: LocalEngineSession, port: FakeMediaPort, clock: VirtualClock, speech: bytes
    ) -> None:
        self.session = self.local = session
        self.port, self.clock, self.speech = port, clock, speech
        self.seen: Collector[EngineEvent] = Collector()
        dialogue = check_dialogue(parse(DIALOGUE.encode(), Path("dialogue.yaml"))).model_dump()
        self.brief = replace(BRIEF, greeting="", voice="kal16", dialogue=dialogue)

    async def caller_asks(self) -> None:
        self.session.command(CallerText("where is my order"))

    async def caller_wants_a_person(self) -> None:
        self.session.command(CallerText("a person please"))

    async def caller_interrupts(self) -> None:
        size = 8 * BATCH_MS * 2
        for at in range(0, len(self.speech), size):
            self.port.caller_audio(self.speech[at : at + size])
            await self.clock.sleep_until(Nanos(self.clock.now() + BATCH_MS * MS))
            await self.local.caught_up()
            if self.seen.of(CallerSpeechStarted):
                return
        await self.seen.wait(CallerSpeechStarted)

    async def engine_dies(self) -> None:
        self.port.fails("the tap is gone")


@pytest.fixture(scope="module")
def flite() -> Flite:
    try:
        return Flite()
    except Missing as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="module")
def decoders(flite: Flite) -> Iterator[Decoders]:
    pool = Decoders(2, pronounce=flite.pronounce)
    yield pool
    pool.close()


@pytest.fixture(scope="module")
def detectors() -> Detectors:
    return Detectors()


@pytest.fixture(scope="module")
def speech(flite: Flite) -> bytes:
    """A caller at 8 kHz."""
    pieces: list[bytes] = []
    flite.synthesise("i want to talk to a person", "rms", lambda pcm, _rate: pieces.append(pcm) is None)
    return np.frombuffer(b"".join(pieces), dtype="<i2")[::2].astype("<i2").tobytes()


class TestLocalEngine(EngineContract):
    @pytest.fixture
    async def rig(
        self,
        flite: Flite,
        decoders: Decoders,
        detectors: Detectors,
        speech: bytes,
        virtual_clock: VirtualClock,
    ) -> AsyncIterator[EngineRig]:
        voices = Voices(flite)
        engine = LocalEngine(voices=voices, detectors=detectors, decoders=decoders)
        port = FakeMediaPort(virtual_clock)
        seen: Collector[EngineEvent] = Collector()
        session = engine(port=port, sink=seen, clock=virtual_clock)
        rig = LocalRig(session, port, virtual_clock, speech)
        rig.seen = seen
        port.listen(session.handle_media)
        yield rig
        await session.close()
        await port.close()
        await settle()
        await engine.close()
        voices.close()
