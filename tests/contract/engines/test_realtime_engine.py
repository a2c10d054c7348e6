"""The contract kit against the Realtime dialect over a real WebSocket to the simulated server, and what only
that pair can show. Time is virtual on both ends."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from trunkline.engines.contract import (
    CallerSpeechStarted,
    CallerSpeechStopped,
    EngineError,
    Fault,
    Greet,
    HangUp,
    Interrupted,
    ItemStarted,
    Role,
    SessionClosed,
    SessionReady,
    ToolCall,
    ToolResult,
    Transcript,
    Truncate,
    TurnEnded,
)
from trunkline.engines.realtime import RealtimeSettings, realtime_engine
from trunkline.engines.realtime.simulator import Conversation, Script, Simulator, parse_script
from trunkline.engines.realtime.simulator.answer import AUDIO_RATE
from trunkline.engines.realtime.simulator.sound import babble, encode
from trunkline.model import MS, Nanos, Secret
from trunkline.telephony.media.port import Flushed
from trunkline.testing import Collector, VirtualClock, settle, wait_until
from trunkline.testing.engine_contract import EngineContract, EngineRig
from trunkline.testing.wire import SocketMediaPort

GREETING = "Thank you for calling Acme. How can I help you today?"


class RealtimeRig(EngineRig):
    """The caller's words are babble; what they meant is in the script, which each test writes."""

    def __init__(self, sim: Simulator, clock: VirtualClock, settings: RealtimeSettings, key: str) -> None:
        self.clock = clock
        self.sim = sim
        self.audio = settings.audio
        self.seen = Collector()
        self.port = self.socket_port = SocketMediaPort(clock)
        self.session = realtime_engine(url=sim.url, api_key=Secret(key), settings=settings)(
            port=self.port, sink=self.seen, clock=clock
        )
        self.flushed: list[Flushed] = []
        self.port.listen(self._media)

    def _media(self, event: object) -> None:
        if isinstance(event, Flushed):
            self.flushed.append(event)
        self.session.handle_media(event)  # type: ignore[arg-type]

    @property
    def server(self) -> Conversation:
        return self.sim.sessions[-1]

    def types(self) -> list[str]:
        return [m["type"] for m in self.server.received if m["type"] != "input_audio_buffer.append"]

    async def says(self, span_ms: int = 500, *, quiet_ms: int = 700) -> None:
        rate = AUDIO_RATE[self.audio]
        speech = babble("the caller says something", rate)[: rate * span_ms // 1000]
        silence = babble("x", rate)[: rate * quiet_ms // 1000] * 0
        while quiet_ms > len(silence) * 1000 // rate:
            silence = silence.repeat(2)
        for part in (speech, silence):
            size = rate // 25
            for at in range(0, len(part), size):
                self.socket_port.caller_sends(encode(part[at : at + size], self.audio))
                await self.clock.sleep_until(Nanos(self.clock.now() + 40 * MS))

    async def caller_asks(self) -> None:
        await self.says()

    async def caller_wants_a_person(self) -> None:
        await self.says()

    async def caller_interrupts(self) -> None:
        heard = len(self.seen)
        await self.says(200, quiet_ms=0)
        await self.seen.wait(CallerSpeechStarted, after=heard)

    async def engine_dies(self) -> None:
        await self.says()


@asynccontextmanager
async def rig_for(
    script: Script | str,
    clock: VirtualClock,
    settings: RealtimeSettings | None = None,
    *,
    key: str = "k",
    sent_key: str = "k",
) -> AsyncIterator[RealtimeRig]:
    script = parse_script(script) if isinstance(script, str) else script
    async with AsyncExitStack() as stack:
        sim = await stack.enter_async_context(Simulator(script, clock=clock, api_key=Secret(key)))
        rig = RealtimeRig(sim, clock, settings or RealtimeSettings(), sent_key)
        stack.push_async_callback(rig.port.close)
        stack.push_async_callback(rig.session.close)
        yield rig


CONVERSATIONS = {
    "hands_over": "- {expect: speech, transfer: {queue: support, summary: wants a person}}\n- say: One moment.",
    "when_it_was_not_asked_for": "- {expect: speech, fault: {close: 1011, reason: overload}}",
    "mean_nothing_now": "- {say: Fine.}\n- {calls: [{name: lookup, arguments: {number: '4711'}}]}",
    "result_for_no_call": "- {expect: speech, calls: [{name: lookup, arguments: {number: '4711'}}]}",
    "": "- {expect: speech, calls: [{name: lookup, arguments: {number: '4711'}}]}\n- {expect: tool, say: 'It is {status}.'}",
}


class TestRealtimeEngine(EngineContract):
    @pytest.fixture(params=["pcmu", "pcma", "pcm"])
    async def rig(
        self, request: pytest.FixtureRequest, virtual_clock: VirtualClock
    ) -> AsyncIterator[EngineRig]:
        turns = next(turns for part, turns in CONVERSATIONS.items() if part in request.node.name)
        script = f"turns:\n- {{expect: request, say: '{GREETING}', pace: 20}}\n{turns}\n"
        settings = RealtimeSettings.model_validate({"audio": request.param})
        async with rig_for(script, virtual_clock, settings) as rig:
            yield rig
            if rig.sim.sessions:
                problems = [p for p in rig.server.problems if "truncate" not in p]
                assert problems == []


async def test_a_whole_conversation_leaves_no_complaint(virtual_clock: VirtualClock) -> None:
    script = """
    turns:
      - {expect: request, say: "Thank you for calling Acme."}
      - {expect: speech, heard: "Where is order 4711?", calls: [{name: lookup, arguments: {number: "4711"}}]}
      - {expect: tool, say: "Order 4711 is {status}."}
      - {expect: speech, heard: "Thanks, bye.", say: "Goodbye.", hang_up: done}
    """
    async with rig_for(script, virtual_clock) as rig:
        await rig.greeted()
        await rig.says()
        call = await rig.seen.wait(ToolCall)
        assert call.arguments == {"number": "4711"}
        rig.session.command(ToolResult(call.id, {"status": "on its way"}))
        await rig.seen.wait(TurnEnded, count=3)
        await rig.says()
        assert (await rig.seen.wait(HangUp)).reason == "done"
        words = [(e.role, e.text) for e in rig.seen.of(Transcript) if e.final]
        assert words == [
            (Role.AGENT, "Thank you for calling Acme."),
            (Role.CALLER, "Where is order 4711?"),
            (Role.AGENT, "Order 4711 is on its way."),
            (Role.CALLER, "Thanks, bye."),
            (Role.AGENT, "Goodbye."),
        ]
        assert rig.server.problems == []
        assert rig.types() == [
            *("session.update", "input_audio_buffer.clear", "response.create"),
            *("conversation.item.create", "response.create", "conversation.item.create"),
        ]


async def test_barge_in_cancels_and_tells_what_was_heard(virtual_clock: VirtualClock) -> None:
    script = f"turns:\n- {{say: '{GREETING}', pace: 1.2}}\n- {{expect: speech, say: Go on.}}"
    async with rig_for(script, virtual_clock) as rig:
        await rig.session.start(rig.brief)
        rig.session.command(Greet())
        item = (await rig.seen.wait(ItemStarted)).item
        await virtual_clock.sleep_until(Nanos(virtual_clock.now() + 600 * MS))
        speech = asyncio.create_task(rig.says(400, quiet_ms=0))
        await rig.seen.wait(CallerSpeechStarted)
        rig.port.flush()
        assert (await rig.seen.wait(Interrupted)).item == item
        await wait_until(lambda: bool(rig.flushed), "the flush is answered")
        heard = rig.flushed[0].heard[0]
        assert heard.item == item
        assert 500 < heard.heard_ms <= heard.total_ms
        rig.session.command(Truncate(item, heard.heard_ms))
        await speech
        await rig.says(0)
        await rig.seen.wait(CallerSpeechStopped)
        await rig.seen.wait(TurnEnded, lambda e: e.status == "completed")
        truncated = [m for m in rig.server.received if m["type"] == "conversation.item.truncate"]
        assert [(m["item_id"], m["audio_end_ms"]) for m in truncated] == [(item, heard.heard_ms)]
        assert rig.server.problems == []
        played = [name for name, _ in rig.port.playout.heard_log()]
        assert played[0] == item
        assert played.count(item) == 1


async def test_a_simulated_interruption_needs_no_caller(virtual_clock: VirtualClock) -> None:
    script = f"turns:\n- {{say: '{GREETING}', interrupt_after_ms: 300, calls: [{{name: lookup}}]}}"
    async with rig_for(script, virtual_clock) as rig:
        await rig.session.start(rig.brief)
        rig.session.command(Greet())
        await rig.seen.wait(TurnEnded, lambda e: e.status == "cancelled")
        assert rig.seen.of(CallerSpeechStarted)
        assert rig.seen.of(Interrupted)
        assert not rig.seen.of(ToolCall)


async def test_malformed_arguments_reach_calls_as_such(virtual_clock: VirtualClock) -> None:
    script = "turns:\n- {calls: [{name: lookup, raw: '{number: 4711'}]}"
    async with rig_for(script, virtual_clock) as rig:
        await rig.session.start(rig.brief)
        rig.session.command(Greet())
        call = await rig.seen.wait(ToolCall)
        assert call.malformed == "{number: 4711"
        assert call.arguments == {}


def _closed(retryable: bool, pattern: str) -> Callable[[SessionClosed], bool]:
    return lambda event: event.retryable is retryable and re.search(pattern, event.detail) is not None


@pytest.mark.parametrize(
    ("status", "retryable", "fault"),
    [
        (401, False, Fault.OURS),
        (404, False, Fault.OURS),
        (429, True, Fault.ENGINE),
        (503, True, Fault.ENGINE),
    ],
)
async def test_a_refused_handshake(
    virtual_clock: VirtualClock, status: int, retryable: bool, fault: Fault
) -> None:
    async with rig_for(f"handshakes: [{{status: {status}}}]", virtual_clock) as rig:
        await rig.session.start(rig.brief)
        await rig.seen.wait(SessionClosed, _closed(retryable, str(status)))
        assert rig.seen.of(EngineError)[0].fault is fault


async def test_a_wrong_key_is_refused_and_not_shown(virtual_clock: VirtualClock) -> None:
    async with rig_for("turns: []", virtual_clock, key="right", sent_key="sk-wrong-key") as rig:
        await rig.session.start(rig.brief)
        await rig.seen.wait(SessionClosed, _closed(False, "401"))
        assert "sk-wrong-key" not in repr(rig.seen.events)


async def test_a_refused_configuration(virtual_clock: VirtualClock) -> None:
    settings = RealtimeSettings(session={"audio": {"output": {"voise": "marin"}}})
    async with rig_for("turns: []", virtual_clock, settings) as rig:
        await rig.session.start(rig.brief)
        await rig.seen.wait(SessionClosed, _closed(False, "session.audio.output.voise"))


async def test_a_configuration_that_is_never_confirmed(virtual_clock: VirtualClock) -> None:
    async with rig_for("update_delay_ms: 60000", virtual_clock) as rig:
        await rig.session.start(rig.brief)
        await rig.seen.wait(SessionClosed, _closed(True, "did not confirm"))


async def test_a_server_that_is_not_there(virtual_clock: VirtualClock) -> None:
    async with rig_for("turns: []", virtual_clock) as rig:
        await rig.sim.__aexit__(None, None, None)
        await rig.session.start(rig.brief)
        await rig.seen.wait(SessionClosed, _closed(True, "could not be reached"))


@pytest.mark.parametrize(
    ("fault", "retryable", "pattern"),
    [
        ("close: 1001, reason: session expired", True, "1001"),
        ("close: 1008", False, "1008"),
        ("drop: true", True, "lost"),
        ("junk: 10", True, "not of its protocol"),
        ("oversized: 2000000", True, "1009|too large"),
        (
            "error: {code: session_expired, message: Your session hit the maximum duration}",
            True,
            "maximum duration",
        ),
    ],
)
async def test_what_ends_a_session(
    virtual_clock: VirtualClock, fault: str, retryable: bool, pattern: str
) -> None:
    async with rig_for(f"turns: [{{say: Hello there., fault: {{{fault}}}}}]", virtual_clock) as rig:
        await rig.session.start(rig.brief)
        rig.session.command(Greet())
        await rig.seen.wait(SessionClosed, _closed(retryable, pattern))
        await settle()
        assert rig.seen.kinds()[-1] == "SessionClosed"


@pytest.mark.parametrize(
    "fault",
    ["junk: 9", "bad_base64: true", "error: {code: server_error}", "fail: {code: rate_limit_exceeded}"],
)
async def test_what_a_session_survives(virtual_clock: VirtualClock, fault: str) -> None:
    script = f"turns:\n- {{say: Hello there., fault: {{{fault}}}}}\n- say: Still here."
    async with rig_for(script, virtual_clock) as rig:
        await rig.greeted()
        await rig.says()
        await rig.seen.wait(Transcript, lambda e: e.final and e.text == "Still here.")
        assert not rig.seen.of(SessionClosed)


async def test_silence_of_the_engine_is_not_taken_for_its_end(virtual_clock: VirtualClock) -> None:
    script = "turns:\n- {say: Hello there., fault: {silence: true}}\n- say: Still here."
    async with rig_for(script, virtual_clock) as rig:
        await rig.session.start(rig.brief)
        rig.session.command(Greet())
        await rig.seen.wait(SessionReady)
        await virtual_clock.sleep_until(Nanos(virtual_clock.now() + 30_000 * MS))
        assert not rig.seen.of(SessionClosed)
        assert not rig.seen.of(TurnEnded)
        await rig.says()
        await rig.seen.wait(Transcript, lambda e: e.final and e.text == "Still here.")
