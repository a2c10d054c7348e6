from trunkline.engines.contract import (
    Brief,
    CallerText,
    EngineError,
    EngineEvent,
    Greet,
    HangUp,
    ItemStarted,
    SessionClosed,
    SessionReady,
    TurnEnded,
)
from trunkline.testing import (
    Close,
    Collector,
    Emit,
    FakeMediaFactory,
    ScriptedEngine,
    Speak,
    VirtualClock,
    Wait,
    settle,
)

BRIEF = Brief(agent="orders")


async def test_it_plays_its_script(fake_media: FakeMediaFactory, virtual_clock: VirtualClock) -> None:
    port, seen = await fake_media.open("one"), Collector[EngineEvent]()
    engine = ScriptedEngine(
        port=port,
        sink=seen,
        clock=virtual_clock,
        ready_after_ms=200,
        script={
            Greet: [[Speak("Hello.", span_ms=700, item="greeting")]],
            CallerText: [
                [Wait(300), Speak("Goodbye."), Emit(lambda at: HangUp(at, "done")), Close(clean=False)]
            ],
        },
    )
    await engine.start(BRIEF)
    engine.command(Greet())
    assert engine.commands == []
    await seen.wait(TurnEnded)
    assert seen.kinds()[:2] == ["SessionReady", "ItemStarted"]
    assert seen.of(ItemStarted)[0].item == "greeting"
    engine.command(CallerText("bye"))
    engine.command(CallerText("unscripted"))
    closed = await seen.wait(SessionClosed)
    assert not closed.clean
    assert seen.of(HangUp)
    assert engine.commands == [Greet(), CallerText("bye"), CallerText("unscripted")]
    assert port.playout.heard_log()[0][0] == "greeting"
    await engine.close()
    assert len(seen.of(SessionClosed)) == 1
    await port.close()


async def test_commands_before_ready_are_bounded(
    fake_media: FakeMediaFactory, virtual_clock: VirtualClock
) -> None:
    port, seen = await fake_media.open("one"), Collector[EngineEvent]()
    engine = ScriptedEngine(port=port, sink=seen, clock=virtual_clock, ready_after_ms=None)
    await engine.start(BRIEF)
    for number in range(65):
        engine.command(CallerText(str(number)))
    assert [error.code for error in seen.of(EngineError)] == ["too_many_commands"]
    await engine.close()
    assert seen.of(SessionClosed)[0].clean
    assert not seen.of(SessionReady)
    await port.close()


async def test_closing_stops_what_it_was_doing(
    fake_media: FakeMediaFactory, virtual_clock: VirtualClock
) -> None:
    port, seen = await fake_media.open("one"), Collector[EngineEvent]()
    engine = ScriptedEngine(port=port, sink=seen, clock=virtual_clock)
    await engine.start(BRIEF)
    await seen.wait(SessionReady)
    engine.perform(Wait(10_000), Speak("too late"))
    await engine.close()
    await settle()
    assert virtual_clock.sleepers() == 0
    assert not seen.of(ItemStarted)
    await port.close()
