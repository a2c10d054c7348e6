"""Timer values and the heap."""

from trunkline.model import Nanos, seconds
from trunkline.telephony.sip.proto.timers import Timers, Timing


def test_values_of_rfc_3261_table_4() -> None:
    timing = Timing()
    assert (timing.t1, timing.t2, timing.t4) == (seconds(0.5), seconds(4), seconds(5))
    assert timing.timeout == seconds(32)
    assert timing.linger == seconds(32)
    assert Timing(t1=seconds(0.1)).linger == seconds(32), "timer D is at least 32 s"


def test_timers_fire_in_order_and_once() -> None:
    timers = Timers()
    seen: list[tuple[str, int]] = []
    for name, when in (("b", 20), ("a", 10), ("c", 20)):
        timers.set(Nanos(when), name, lambda now, name=name: seen.append((name, now)))
    assert timers.deadline() == 10
    assert timers.fire(Nanos(5)) == 0
    assert timers.fire(Nanos(25)) == 3
    assert seen == [("a", 25), ("b", 25), ("c", 25)]
    assert timers.deadline() is None
    assert len(timers) == 0


def test_cancelled_timers_do_not_fire_and_are_forgotten() -> None:
    timers = Timers()
    fired: list[int] = []
    kept = [timers.set(Nanos(n), "x", fired.append) for n in range(1000)]
    for timer in kept[:990]:
        timer.cancel()
        timer.cancel()
    assert len(timers) == 10
    assert timers.why() == {"x": 10}
    assert len(timers._heap) < 200, "dead timers are swept out"
    assert not kept[0].active
    assert timers.fire(Nanos(2000)) == 10
    kept[999].cancel()
    assert len(timers) == 0


def test_a_timer_set_while_firing_fires_when_due() -> None:
    timers = Timers()
    seen: list[str] = []
    timers.set(Nanos(1), "one", lambda now: timers.set(now, "two", lambda _: seen.append("two")))
    timers.fire(Nanos(1))
    assert seen == ["two"]


def test_take_gives_the_callback_once() -> None:
    timers = Timers()
    timer = timers.set(Nanos(1), "x", lambda _: None)
    assert timer.take() is not None
    assert timer.take() is None
