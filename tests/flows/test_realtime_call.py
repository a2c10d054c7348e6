"""Whole calls with the Realtime engine: flow, turns and tools as they are, a simulated server on a real socket."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from trunkline.calls import Engine
from trunkline.engines.realtime import realtime_engine
from trunkline.engines.realtime.simulator import Conversation, Simulator, parse_script
from trunkline.engines.realtime.simulator.sound import babble, encode
from trunkline.model import MS, Nanos, Reason, seconds
from trunkline.testing import TRANSFER_BUSY, TRANSFER_SUCCEEDS, FakeLeg, wait_until
from trunkline.testing.house import House
from trunkline.testing.wire import SocketMediaPort
from trunkline.trust.ledger import Kind

GREETING = "Thank you for calling Acme. How can I help you today, and what is it about?"


class Line:
    """A caller on the phone with a house whose engine is the simulator."""

    def __init__(self, house: House, sim: Simulator) -> None:
        self.house, self.sim = house, sim

    @property
    def port(self) -> SocketMediaPort:
        port = self.house.port
        assert isinstance(port, SocketMediaPort)
        return port

    @property
    def server(self) -> Conversation:
        return self.sim.sessions[-1]

    def sent(self, kind: str) -> list[dict[str, Any]]:
        return [message for message in self.server.received if message["type"] == kind]

    async def pause(self, span_ms: int) -> None:
        clock = self.house.clock
        await clock.sleep_until(Nanos(clock.now() + span_ms * MS))

    async def says(self, span_ms: int = 500, *, quiet_ms: int = 700) -> None:
        speech = encode(babble("something is said here", 8_000)[: span_ms * 8], "pcmu")
        audio = speech + b"\xff" * (quiet_ms * 8)
        for at in range(0, len(audio), 320):
            self.port.caller_sends(audio[at : at + 320])
            await self.pause(40)

    def heard(self) -> list[str]:
        """Items and masks in the order in which the caller heard them, as ``item`` numbers and mask names."""
        return [name for name, _ in self.port.playout.heard_log()]

    async def greeted(self) -> FakeLeg:
        leg = self.house.ring(transfers=(TRANSFER_BUSY, TRANSFER_SUCCEEDS))
        await self.house.until(Kind.PLAY_ENDED)
        return leg


@asynccontextmanager
async def line(tmp_path: Path, turns: str, **agent: Any) -> AsyncIterator[Line]:
    script = parse_script(f"turns:\n- {{expect: request, say: '{GREETING}'}}\n{turns}")
    async with House(tmp_path, port_type=SocketMediaPort, **agent) as house:
        # A house of fakes knows no queues of its engine's; the flow checks them itself.
        brief = house.desk.briefs["orders"]
        house.desk.briefs["orders"] = type(brief)(  # type: ignore[index]
            agent=brief.agent, greeting=GREETING, tools=brief.tools, queues=("support",)
        )
        async with Simulator(script, clock=house.clock) as sim:
            house.engines["first"] = Engine("realtime", realtime_engine(url=sim.url), seconds(5))
            yield Line(house, sim)
            for leg in house.legs:
                leg.peer_hangs_up()
            await house.gone()
            house.assert_clean()
            assert [session.problems for session in sim.sessions] == [[]] * len(sim.sessions)
            await wait_until(lambda: sim.open_sessions == 0, "the engine's sessions are closed")


async def test_the_engine_is_told_exactly_what_was_heard(tmp_path: Path) -> None:
    async with line(tmp_path, "- {expect: speech, heard: 'stop', say: 'Yes?'}") as call:
        house = call.house
        house.ring()
        await house.greeted()
        await call.pause(900)
        await call.says()
        await house.until(Kind.PLAY_ENDED)
        flushed, truncated = house.entry(Kind.FLUSHED), house.entry(Kind.TRUNCATED)
        first = flushed["items"][0]
        assert first["heard_ms"] == truncated["heard_ms"]
        assert 900 < first["heard_ms"] < first["total_ms"]
        assert flushed["flush_ms"] <= 60
        (told,) = call.sent("conversation.item.truncate")
        assert (told["item_id"], told["audio_end_ms"]) == (first["item"], first["heard_ms"])
        steps = house.journal.steps("media")
        assert steps.index("media.flush") < steps.index("media.drop_item")
        assert house.journal.index("media.flush") < _index_of_truncate(call)
        assert call.heard()[0] == first["item"]
        assert call.heard().count(first["item"]) == 1


def _index_of_truncate(call: Line) -> int:
    for index, (who, what, detail) in enumerate(call.house.journal.entries):
        if (who, what) == ("media", "send_text") and "conversation.item.truncate" in str(detail):
            return index
    raise AssertionError("the engine was not told")


async def test_a_slow_tool_is_masked_and_answered_by_the_engine(tmp_path: Path) -> None:
    turns = """
- {expect: speech, heard: 'where is it', calls: [{name: lookup, arguments: {number: "4711"}}]}
- {expect: tool, say: 'It is {status}.'}
"""
    async with line(tmp_path, turns) as call:
        house = call.house
        house.tools.take_ms = 2_500
        await call.greeted()
        await call.says()
        await house.until(Kind.PLAY_ENDED, count=2)
        heard = call.heard()
        assert [name.startswith("mask:") for name in heard] == [False, True, False]
        (answer,) = call.sent("conversation.item.create")
        assert answer["item"]["type"] == "function_call_output"
        assert "shipped" in answer["item"]["output"]
        assert house.tools.requests[0].arguments == {"number": "4711"}
        assert len(call.sent("response.create")) == 2
        words = [
            data["text"] for _, kind, data in house.ledger.entries[house.call_id()] if kind is Kind.TRANSCRIPT
        ]
        assert words == [GREETING, "where is it", "It is shipped."]


async def test_a_person_gets_the_call_after_the_farewell_was_heard(tmp_path: Path) -> None:
    turns = """
- {expect: speech, heard: 'a person', say: 'One moment, I connect you.', transfer: {queue: support, summary: angry}}
- {expect: request, say: 'Sorry, nobody is there.'}
- {expect: speech, heard: 'try again', say: 'Again.', transfer: {queue: support}}
"""
    async with line(tmp_path, turns) as call:
        house = call.house
        leg = await call.greeted()
        await call.says()
        await house.until(Kind.TRANSFER_STARTED)
        item, span = call.port.playout.heard_log()[-1]
        assert span == house.entry(Kind.PLAY_ENDED)["heard_ms"]
        assert house.entry(Kind.PLAY_ENDED)["item"] == item
        assert house.entry(Kind.HAND_OVER)["summary"] == "angry"
        await house.until(Kind.MEDIA_RELEASED)
        await wait_until(
            lambda: call.sim.open_sessions == 0, "the socket is closed while the transfer goes on"
        )
        assert not house.media.open_ports
        await house.until(Kind.TRANSFER_FAILED)
        await house.until(Kind.MEDIA_REANCHORED)
        # A new session with the same engine plays the script from its first turn.
        await house.until(Kind.PLAY_ENDED, count=3)
        assert len(call.sim.sessions) == 2
        assert leg.ended is None


async def test_the_engine_hangs_up_after_its_goodbye(tmp_path: Path) -> None:
    async with line(
        tmp_path, "- {expect: speech, heard: 'bye', say: 'Goodbye then.', hang_up: done}"
    ) as call:
        await call.greeted()
        await call.says()
        outcome = await call.house.over()
        assert (outcome.reason, outcome.detail) == (Reason.AI_HUNG_UP, "done")
        assert len(call.heard()) == 2
        await call.house.gone()


async def test_digits_reach_the_engine_as_words(tmp_path: Path) -> None:
    async with line(tmp_path, "- {expect: text, say: 'Thank you.'}") as call:
        await call.greeted()
        call.port.caller_presses("7")
        await call.house.until(Kind.PLAY_ENDED, count=2)
        (pressed,) = call.sent("conversation.item.create")
        assert "7" in pressed["item"]["content"][0]["text"]


async def test_another_engine_takes_over_when_the_socket_is_lost(tmp_path: Path) -> None:
    turns = "- {expect: speech, heard: 'hello', say: 'Well, let me see.', fault: {drop: true, after_ms: 100}}"
    async with line(tmp_path, turns, fallback=["second"]) as call:
        house = call.house
        await call.greeted()
        await call.says()
        await wait_until(lambda: bool(house.second.made) and house.second.made[0].ready, "the second engine")
        assert house.entry(Kind.ENGINE_STARTING)["engine"] == "second"
        assert not house.ledger.ended
