"""A caller's RTP through the real media engine to a simulated Realtime server, and back. In real time."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import numpy as np
import pytest
from numpy.typing import NDArray

from trunkline.engines.contract import (
    CallerSpeechStarted,
    EngineError,
    EngineEvent,
    Greet,
    HandOver,
    Interrupted,
    ItemStarted,
    SessionClosed,
    ToolCall,
    ToolResult,
    Transcript,
    Truncate,
    TurnEnded,
)
from trunkline.engines.realtime import RealtimeSettings, realtime_engine
from trunkline.engines.realtime.simulator import Conversation, Simulator, parse_script
from trunkline.engines.realtime.simulator.sound import babble
from trunkline.model import Missing, Secret
from trunkline.runtime.clock import RealClock
from trunkline.telephony.media import (
    Codec,
    Flushed,
    MediaConfig,
    MediaEngine,
    MediaEvent,
    MediaPort,
    RtpParameters,
    Tap,
)
from trunkline.testing import Collector
from trunkline.testing.engine_contract import BRIEF

RATE = 8_000
LOUD = 500.0


def loud_ms(audio: NDArray[np.float64]) -> int:
    """How long the audio is louder than silence, in blocks of 10 ms."""
    blocks = audio[: len(audio) // 80 * 80].reshape(-1, 80)
    return int(np.count_nonzero(np.sqrt((blocks**2).mean(axis=1)) > LOUD)) * 10


class Line:
    """A phone on one side, an engine session on the other, real media between them."""

    def __init__(self, sim: Simulator, phone: MediaPort, port: MediaPort, settings: RealtimeSettings) -> None:
        self.sim, self.phone, self.port = sim, phone, port
        self.seen = Collector[EngineEvent]()
        self.media = Collector[MediaEvent]()
        self.heard = Collector[MediaEvent]()
        clock = RealClock()
        make = realtime_engine(url=sim.url, api_key=Secret("k"), settings=settings)
        self.session = make(port=port, sink=self.seen, clock=clock)
        port.listen(self._media)
        phone.listen(self.heard)
        for here, there in ((phone, port), (port, phone)):
            here.connect(RtpParameters(there.local_host, there.local_port, Codec.PCMU, 0))
        phone.open_tap(rate=RATE, batch_ms=20)

    def _media(self, event: MediaEvent) -> None:
        self.session.handle_media(event)
        self.media(event)

    @property
    def server(self) -> Conversation:
        return self.sim.sessions[-1]

    def says(self, words: str) -> None:
        self.phone.play(words, babble(words, RATE).tobytes(), RATE)

    def audio(self, after: int = 0) -> NDArray[np.float64]:
        pcm = b"".join(tap.pcm for tap in self.heard.of(Tap)[after:])
        return np.frombuffer(pcm, dtype="<i2").astype(np.float64)

    async def hears(self, span_ms: int, *, after: int = 0) -> None:
        await self.heard.until(lambda: loud_ms(self.audio(after)) >= span_ms, what=f"{span_ms} ms of sound")


@asynccontextmanager
async def line(turns: str, settings: RealtimeSettings | None = None, key: str = "k") -> AsyncIterator[Line]:
    script = parse_script(f"first_audio_ms: 50\nturns:\n{turns}")
    async with AsyncExitStack() as stack:
        sim = await stack.enter_async_context(Simulator(script, clock=RealClock(), api_key=Secret(key)))
        try:
            engine = await stack.enter_async_context(
                MediaEngine(MediaConfig(port_low=44_000, port_high=45_999))
            )
        except Missing as missing:
            pytest.skip(str(missing))
        phone, port = await engine.open("phone"), await engine.open("call")
        made = Line(sim, phone, port, settings or RealtimeSettings())
        stack.push_async_callback(made.session.close)
        yield made


@pytest.mark.parametrize("audio", ["pcmu", "pcma", "pcm"])
async def test_a_conversation_over_rtp(audio: str) -> None:
    turns = """
    - {expect: request, say: "Welcome to Acme."}
    - {expect: speech, heard: "my order", calls: [{name: lookup, arguments: {number: "4711"}}]}
    - {expect: tool, say: "It is {status}."}
    - {expect: speech, say: "One moment.", transfer: {queue: support}}
    """
    async with line(turns, RealtimeSettings.model_validate({"audio": audio})) as call:
        await call.session.start(BRIEF)
        call.session.command(Greet())
        greeting = len(babble("Welcome to Acme.", RATE)) // 8
        await call.hears(int(greeting * 0.8))
        call.says("where is my order")
        asked = await call.seen.wait(ToolCall)
        after = len(call.heard.of(Tap))
        call.session.command(ToolResult(asked.id, {"status": "on its way"}))
        await call.seen.wait(Transcript, lambda e: e.final and e.text == "It is on its way.")
        answer = len(babble("It is on its way.", RATE)) // 8
        await call.hears(int(answer * 0.8), after=after)
        call.says("a person please")
        assert (await call.seen.wait(HandOver)).queue == "support"
        assert call.server.problems == []
        assert not call.seen.of(EngineError)
        assert call.port.stats().engine_bad_messages == 0


async def test_barge_in_over_rtp() -> None:
    long = "This sentence is so long that nobody listens to it until its very end, least of all the caller."
    turns = f"- {{say: '{long}'}}\n- {{expect: speech, say: Go on.}}"
    async with line(turns) as call:
        await call.session.start(BRIEF)
        call.session.command(Greet())
        item = (await call.seen.wait(ItemStarted)).item
        await call.hears(400)
        call.says("stop it")
        await call.seen.wait(CallerSpeechStarted)
        call.port.flush(fade_ms=10)
        flushed = await call.media.wait(Flushed)
        after = len(call.heard.of(Tap))
        heard = flushed.heard[0]
        assert heard.item == item
        assert 400 <= heard.heard_ms < heard.total_ms
        call.session.command(Truncate(item, heard.heard_ms))
        await call.seen.wait(Interrupted)
        await call.seen.wait(Transcript, lambda e: e.final and e.text == "Go on.")
        await call.hears(100, after=after)
        truncated = [m for m in call.server.received if m["type"] == "conversation.item.truncate"]
        assert [(m["item_id"], m["audio_end_ms"]) for m in truncated] == [(item, heard.heard_ms)]
        assert call.server.problems == []
        # Not one tap after the flush has more of the sentence: quiet until the next answer.
        quiet = call.audio(after + 5)[: RATE // 5]
        assert loud_ms(quiet) == 0


@pytest.mark.parametrize("fault", ["bad_base64: true", "junk: 3"])
async def test_a_session_survives_what_the_engine_garbles(fault: str) -> None:
    async with line(f"- {{say: Hello there., fault: {{{fault}}}}}\n- say: Still here.") as call:
        await call.session.start(BRIEF)
        call.session.command(Greet())
        await call.seen.wait(TurnEnded)
        call.says("hello hello")
        await call.seen.wait(Transcript, lambda e: e.final and e.text == "Still here.")
        assert call.port.stats().engine_bad_messages == (1 if "base64" in fault else 0)
        assert not call.seen.of(SessionClosed)


@pytest.mark.parametrize(
    ("fault", "retryable", "words"),
    [("oversized: 2000000", True, "1009"), ("close: 1011", True, "1011"), ("drop: true", True, "lost")],
)
async def test_a_session_ends_and_the_call_goes_on(fault: str, retryable: bool, words: str) -> None:
    async with line(f"- {{say: Hello there., fault: {{{fault}}}}}") as call:
        await call.session.start(BRIEF)
        call.session.command(Greet())
        closed = await call.seen.wait(SessionClosed)
        assert closed.retryable is retryable
        assert words in closed.detail
        after = len(call.heard.of(Tap))
        call.port.play("sorry", babble("we are back in a moment", RATE).tobytes(), RATE)
        await call.hears(300, after=after)


async def test_a_refused_key() -> None:
    async with line("- say: Hello.", key="another") as call:
        await call.session.start(BRIEF)
        closed = await call.seen.wait(SessionClosed)
        assert "401" in closed.detail
        assert not closed.retryable
