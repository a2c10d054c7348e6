from hypothesis import given, settings
from hypothesis import strategies as st

from trunkline.model import MS, Nanos
from trunkline.telephony.media.port import (
    Flushed,
    Heard,
    MaskEnded,
    MaskMode,
    MaskStarted,
    MediaEvent,
    PlayEnded,
    PlayStarted,
)
from trunkline.testing import Playout


def at(ms: float) -> Nanos:
    return Nanos(round(ms * MS))


def test_items_follow_one_another() -> None:
    line = Playout(at=at(0))
    assert line.add("a", at(100), at(0)) == [PlayStarted(at(0), "a")]
    line.add("b", at(50), at(10))
    line.end("b", at(10))
    assert line.advance(at(1000)) == [
        PlayEnded(at(100), Heard("a", 100, 100)),
        PlayStarted(at(100), "b"),
        PlayEnded(at(150), Heard("b", 50, 50)),
    ]


def test_an_item_waits_for_more_audio() -> None:
    line = Playout(at=at(0))
    line.add("a", at(20), at(0))
    assert line.advance(at(500)) == []
    assert line.playing == ""
    assert line.add("a", at(20), at(500)) == []
    assert line.end("a", at(505)) == []
    assert line.advance(at(600)) == [PlayEnded(at(520), Heard("a", 40, 40))]


def test_flush_tells_what_was_heard_including_the_fade() -> None:
    line = Playout(at=at(0))
    line.add("a", at(1000), at(0))
    line.add("b", at(300), at(0))
    assert line.flush(10, at(240)) == []
    assert line.advance(at(400)) == [Flushed(at(250), (Heard("a", 250, 1000), Heard("b", 0, 300)))]
    assert line.heard_log() == [("a", 250)]


def test_flush_of_a_silent_line_is_answered_empty() -> None:
    assert Playout(at=at(0)).flush(0, at(5)) == [Flushed(at(5), ())]


def test_late_audio_of_a_flushed_or_dropped_item_is_discarded() -> None:
    line = Playout(at=at(0))
    line.add("a", at(100), at(0))
    line.flush(0, at(40))
    line.drop("b", at(40))
    assert line.add("a", at(100), at(50)) == []
    assert line.add("b", at(100), at(50)) == []
    assert line.add("c", at(100), at(60)) == [PlayStarted(at(60), "c")]


def test_audio_without_a_name_plays_on_after_a_flush() -> None:
    line = Playout(at=at(0))
    line.add("", at(100), at(0))
    line.flush(0, at(40))
    assert line.add("", at(100), at(50)) == [PlayStarted(at(50), "")]


def test_a_flush_ends_the_mask() -> None:
    line = Playout(at=at(0))
    line.mask("music", at(100), MaskMode.TURN, loop=True, now=at(0))
    line.flush(10, at(50))
    assert line.advance(at(100)) == [Flushed(at(60), ()), MaskEnded(at(60), "music", 60)]


def test_a_turn_mask_holds_the_engine_back() -> None:
    line = Playout(at=at(0))
    assert line.mask("wait", at(200), MaskMode.TURN, loop=False, now=at(0)) == [MaskStarted(at(0), "wait")]
    assert line.add("a", at(100), at(50)) == []
    assert line.advance(at(400)) == [MaskEnded(at(200), "wait", 200), PlayStarted(at(200), "a")]
    assert line.heard_log() == [("mask:wait", 200), ("a", 100)]


def test_a_looped_mask_ends_by_unmask_with_a_fade() -> None:
    line = Playout(at=at(0))
    line.mask("music", at(100), MaskMode.MIX, loop=True, now=at(0))
    line.add("a", at(100), at(0))
    line.unmask(40, at(500))
    assert line.advance(at(600)) == [MaskEnded(at(540), "music", 540)]


def test_a_new_mask_replaces_the_old() -> None:
    line = Playout(at=at(0))
    line.mask("one", at(100), MaskMode.TURN, loop=True, now=at(0))
    assert line.mask("two", at(100), MaskMode.TURN, loop=False, now=at(30)) == [
        MaskEnded(at(30), "one", 30),
        MaskStarted(at(30), "two"),
    ]


def test_what_does_not_fit_is_dropped_oldest_first_and_counted() -> None:
    line = Playout(at=at(0))
    line.add("a", at(100_000), at(0))
    line.add("b", at(30_000), at(0))
    assert line.dropped_ms == 10_000
    assert line.queued_ms() == 120_000


STEP = st.one_of(
    st.tuples(st.just("add"), st.sampled_from("abc"), st.integers(1, 400)),
    st.tuples(st.just("end"), st.sampled_from("abc"), st.just(0)),
    st.tuples(st.just("drop"), st.sampled_from("abc"), st.just(0)),
    st.tuples(st.just("flush"), st.just(""), st.integers(0, 20)),
    st.tuples(st.just("mask"), st.just("m"), st.integers(1, 300)),
    st.tuples(st.just("unmask"), st.just(""), st.integers(0, 40)),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(STEP, st.integers(0, 150)), max_size=30), st.integers(1, 7))
def test_time_may_be_cut_in_any_way(script: list[tuple[tuple[str, str, int], int]], cuts: int) -> None:
    """Playing in one step or in many reports the same, and nobody hears more than was sent."""
    assert _run(script, 1) == _run(script, cuts)


def _run(script: list[tuple[tuple[str, str, int], int]], cuts: int) -> list[MediaEvent]:
    line, now, events = Playout(at=at(0)), 0, []
    for (what, name, number), pause in script:
        match what:
            case "add":
                events += line.add(name, at(number), at(now))
            case "end":
                events += line.end(name, at(now))
            case "drop":
                events += line.drop(name, at(now))
            case "flush":
                events += line.flush(number, at(now))
            case "mask":
                events += line.mask(name, at(number), MaskMode.TURN, loop=False, now=at(now))
            case "unmask":
                events += line.unmask(number, at(now))
        for cut in range(1, cuts + 1):
            events += line.advance(at(now + pause * cut / cuts))
        now += pause
    events += line.advance(at(now + 100_000))
    heard = [e.heard for e in events if isinstance(e, PlayEnded)]
    heard += [h for e in events if isinstance(e, Flushed) for h in e.heard]
    assert all(0 <= h.heard_ms <= h.total_ms for h in heard)
    times = [event.at for event in events]  # type: ignore[union-attr]
    assert times == sorted(times)
    return events
