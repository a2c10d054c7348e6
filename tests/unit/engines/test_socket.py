from collections import deque
from collections.abc import AsyncIterator
from typing import Any

import pytest

from trunkline.engines.contract import (
    Brief,
    CallerText,
    EngineCommand,
    EngineError,
    EngineEvent,
    Fault,
    Interrupted,
    ItemEnded,
    SessionClosed,
    SessionReady,
)
from trunkline.engines.dialect import Dialect, Fail, Output, Report, Send, parse_object
from trunkline.engines.socket import MAX_EARLY_COMMANDS, MAX_JUNK_IN_A_ROW, SocketEngineSession, judge_close
from trunkline.model import MS, Nanos
from trunkline.telephony.media.port import EngineClosed, Heard, SocketSpec, WireProfile
from trunkline.testing import Collector, FakeMediaFactory, FakeMediaPort, VirtualClock, settle
from trunkline.testing.clock import START

SPEC = SocketSpec(url="ws://127.0.0.1:9/v1", profile=WireProfile.JSON)


class Plain(Dialect):
    """Ready on ``{"ready": 1}``; ``{"do": name}`` makes the output of that name; commands are echoed."""

    def __init__(self) -> None:
        self.out: deque[Output] = deque()
        self.measures: list[Heard] = []
        self.wake: Nanos | None = None
        self.ticks: list[Nanos] = []

    def opened(self, brief: Brief, now: Nanos) -> None:
        self.out.append(Send(f"hello {brief.agent}"))

    def receive(self, text: str, now: Nanos) -> None:
        message: dict[str, Any] = parse_object(text)
        events: dict[str, Output] = {
            "ready": Report(SessionReady(now)),
            "end": Report(ItemEnded(now, "item")),
            "cut": Report(Interrupted(now, "item")),
            "fail": Fail("no more", "gone", Fault.ENGINE, retryable=True),
        }
        self.out.append(events[message["do"]])

    def command(self, command: EngineCommand, now: Nanos) -> None:
        assert isinstance(command, CallerText)
        self.out.append(Send(command.text))

    def heard(self, heard: Heard) -> None:
        self.measures.append(heard)

    def due(self) -> Nanos | None:
        return self.wake

    def tick(self, now: Nanos) -> None:
        self.wake = None
        self.ticks.append(now)
        self.out.append(Send("tick"))

    def poll(self) -> Output | None:
        return self.out.popleft() if self.out else None


class Rig:
    def __init__(self, port: FakeMediaPort, clock: VirtualClock) -> None:
        self.port = port
        self.dialect = Plain()
        self.seen = Collector[EngineEvent]()
        self.session = SocketEngineSession(
            port=port, sink=self.seen, clock=clock, dialect=self.dialect, spec=SPEC, ready_timeout_ms=3_000
        )
        port.listen(self.session.handle_media)

    async def ready(self) -> None:
        await self.session.start(Brief(agent="orders"))
        self.port.engine_opens()
        self.port.engine_says('{"do":"ready"}')
        await self.seen.wait(SessionReady)


@pytest.fixture
async def rig(fake_media: FakeMediaFactory, virtual_clock: VirtualClock) -> AsyncIterator[Rig]:
    virtual_clock.autojump = False
    port = await fake_media.open("call")
    rig = Rig(port, virtual_clock)
    yield rig
    await rig.session.close()
    await port.close()
    await settle()
    assert virtual_clock.sleepers() == 0


async def test_it_opens_configures_and_reports_ready(rig: Rig, virtual_clock: VirtualClock) -> None:
    await rig.ready()
    assert rig.port.socket == SPEC
    assert rig.port.sent == ["hello orders"]
    rig.session.command(CallerText("now"))
    assert rig.port.sent[-1] == "now"
    await virtual_clock.advance(60_000 * MS)
    assert rig.seen.kinds() == ["SessionReady"]


async def test_commands_before_ready_are_kept_and_bounded(rig: Rig) -> None:
    await rig.session.start(Brief(agent="orders"))
    for number in range(MAX_EARLY_COMMANDS + 2):
        rig.session.command(CallerText(str(number)))
    assert [error.code for error in rig.seen.of(EngineError)] == ["too_many_commands"] * 2
    rig.port.engine_opens()
    rig.port.engine_says('{"do":"ready"}')
    await rig.seen.wait(SessionReady)
    assert rig.port.sent == ["hello orders", *map(str, range(MAX_EARLY_COMMANDS))]


@pytest.mark.parametrize(("opens", "words"), [(False, "could not be reached"), (True, "did not confirm")])
async def test_it_must_be_ready_in_time(
    rig: Rig, virtual_clock: VirtualClock, opens: bool, words: str
) -> None:
    await rig.session.start(Brief(agent="orders"))
    if opens:
        rig.port.engine_opens()
    await virtual_clock.advance(2_999 * MS)
    assert rig.seen.kinds() == []
    await virtual_clock.advance(1 * MS)
    error, closed = rig.seen.of(EngineError)[0], rig.seen.of(SessionClosed)[0]
    assert error.code == "ready_timeout"
    assert words in error.message
    assert (closed.at, closed.clean, closed.retryable) == (START + 3_000 * MS, False, True)
    assert "media.close_engine" in rig.port.journal.steps()


async def test_junk_is_counted_and_ignored_until_it_does_not_stop(rig: Rig) -> None:
    await rig.ready()
    for _ in range(MAX_JUNK_IN_A_ROW - 1):
        rig.port.engine_says("{junk")
    rig.port.engine_says('{"do":"end"}')
    for _ in range(MAX_JUNK_IN_A_ROW - 1):
        rig.port.engine_says("junk")
    await settle()
    assert rig.session.junk == 2 * (MAX_JUNK_IN_A_ROW - 1)
    assert len(rig.seen.of(EngineError)) == rig.session.junk
    assert not rig.seen.of(SessionClosed)
    rig.port.engine_says("[]")
    closed = await rig.seen.wait(SessionClosed)
    assert (closed.clean, closed.retryable) == (False, True)


async def test_items_are_ended_and_dropped_at_the_port(rig: Rig) -> None:
    await rig.ready()
    rig.port.engine_says('{"do":"end"}')
    rig.port.engine_says('{"do":"cut"}')
    await rig.seen.wait(Interrupted)
    assert rig.port.journal.steps("media")[-2:] == ["media.end_item", "media.drop_item"]


async def test_what_was_heard_reaches_the_dialect(rig: Rig, virtual_clock: VirtualClock) -> None:
    await rig.ready()
    rig.port.engine_audio("one", 100)
    rig.port.engine_audio("two", 500)
    await virtual_clock.advance(150 * MS)
    rig.port.flush(fade_ms=0)
    await settle()
    assert rig.dialect.measures == [Heard("one", 100, 100), Heard("two", 50, 500)]


async def test_the_dialect_is_woken_when_it_wants_to_be(rig: Rig, virtual_clock: VirtualClock) -> None:
    await rig.ready()
    rig.dialect.wake = Nanos(virtual_clock.now() + 700 * MS)
    rig.session.command(CallerText("arm"))
    await virtual_clock.advance(699 * MS)
    rig.dialect.wake = Nanos(virtual_clock.now() + 300 * MS)
    rig.session.command(CallerText("later"))
    await virtual_clock.advance(299 * MS)
    assert rig.dialect.ticks == []
    await virtual_clock.advance(1 * MS)
    assert rig.dialect.ticks == [virtual_clock.now()]
    assert rig.port.sent[-1] == "tick"


async def test_a_failure_of_the_dialect_ends_the_session(rig: Rig) -> None:
    await rig.ready()
    rig.port.engine_says('{"do":"fail"}')
    rig.port.engine_says('{"do":"end"}')
    closed = await rig.seen.wait(SessionClosed)
    await settle()
    assert closed.retryable
    assert rig.seen.kinds() == ["SessionReady", "EngineError", "SessionClosed"]
    rig.session.command(CallerText("too late"))
    assert rig.port.sent == ["hello orders"]


async def test_closing_is_clean_and_final(rig: Rig) -> None:
    await rig.ready()
    await rig.session.close()
    await rig.session.close()
    rig.session.handle_media(EngineClosed(START, 1006, ""))
    assert rig.seen.kinds() == ["SessionReady", "SessionClosed"]
    assert rig.seen.of(SessionClosed)[0].clean
    assert rig.port.socket is None


async def test_closing_what_was_never_started(rig: Rig) -> None:
    await rig.session.close()
    assert rig.seen.kinds() == ["SessionClosed"]


async def test_a_lost_socket_says_whose_fault_it_is(rig: Rig) -> None:
    await rig.ready()
    rig.port.engine_closes(1011, "overload")
    closed = await rig.seen.wait(SessionClosed)
    error = rig.seen.of(EngineError)[0]
    assert (error.fault, error.retryable, error.code) == (Fault.ENGINE, True, "ws_1011")
    assert closed.detail == "the engine failed (1011): overload"


async def test_an_engine_that_is_not_there(rig: Rig) -> None:
    await rig.session.start(Brief(agent="orders"))
    rig.port.engine_closes(1006, "connection refused")
    closed = await rig.seen.wait(SessionClosed)
    assert closed.detail == "the engine could not be reached: connection refused"
    assert closed.retryable


async def test_media_that_dies_takes_the_session_along(rig: Rig) -> None:
    await rig.ready()
    rig.port.fails("no buffer")
    assert not (await rig.seen.wait(SessionClosed)).retryable


@pytest.mark.parametrize(
    ("code", "status", "fault", "retryable"),
    [
        (1006, 401, Fault.OURS, False),
        (1006, 403, Fault.OURS, False),
        (1006, 404, Fault.OURS, False),
        (1006, 418, Fault.OURS, False),
        (1006, 302, Fault.OURS, False),
        (1006, 429, Fault.ENGINE, True),
        (1006, 503, Fault.ENGINE, True),
        (1000, 0, Fault.ENGINE, False),
        (1001, 0, Fault.ENGINE, True),
        (1006, 0, Fault.NETWORK, True),
        (1008, 0, Fault.OURS, False),
        (1009, 0, Fault.ENGINE, True),
        (1012, 0, Fault.ENGINE, True),
        (3000, 0, Fault.OURS, False),
        (4711, 0, Fault.ENGINE, False),
    ],
)
def test_the_meaning_of_closes(code: int, status: int, fault: Fault, retryable: bool) -> None:
    judged = judge_close(EngineClosed(START, code, "why", status=status))
    assert judged[:2] == (fault, retryable)
    assert judged[2].endswith(": why")
