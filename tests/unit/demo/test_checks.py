"""Each check of the demonstration holds on a good call and fails on the call that breaks it."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from trunkline.demo.checks import JUDGES, Check, judge, metrics
from trunkline.demo.evidence import Evidence, Expected, Heard, Stereo, squeezed
from trunkline.demo.waterfall import Entry
from trunkline.model import SECOND
from trunkline.operations.phone.report import (
    CallReport,
    LegReport,
    Sending,
    Spoken,
    StepReport,
    TransferReport,
)
from trunkline.operations.phone.wire import Reception

RATE = 8000
ZERO = 1_000 * SECOND
"""The call's start on the monotonic clock."""
SERVER = "127.0.0.1:20000"
Samples = NDArray[np.int16]


def voice(seconds: float, seed: int) -> Samples:
    random = np.random.default_rng(seed)
    time = np.arange(int(seconds * RATE)) / RATE
    sound = np.zeros(len(time))
    for _ in range(6):
        pitch, beat, phase = random.uniform(200, 3000), random.uniform(1, 5), random.uniform(0, 6)
        sound += np.sin(2 * np.pi * pitch * time) * (0.55 + 0.45 * np.sin(2 * np.pi * beat * time + phase))
    return (sound / 6 * 6000).astype(np.int16)


def track(*parts: tuple[float, float, int]) -> Samples:
    """Silence of 16 s with voices ``(start, end, seed)`` in seconds."""
    made = np.zeros(16 * RATE, dtype=np.int16)
    for start, end, seed in parts:
        first, last = round(start * RATE), round(end * RATE)
        made[first:last] = voice(end - start + 0.01, seed)[: last - first]
    return made


def at(seconds: float) -> int:
    return ZERO + round(seconds * SECOND)


def spans(*pairs: tuple[float, float]) -> tuple[Spoken, ...]:
    return tuple(Spoken(at(start), at(end)) for start, end in pairs)


def entry(seconds: float, kind: str, **data: object) -> Entry:
    return Entry(round(seconds * SECOND), kind, data)


GREETING, QUESTION, MASK, ANSWER, PERSON, HELLO = (
    (0.1, 2.0),
    (2.6, 4.0),
    (5.0, 5.9),
    (6.9, 8.3),
    (11, 12.5),
    (13, 14),
)

TIMELINE = (
    entry(0, "call_arrived"),
    entry(0.1, "play_started", item="a1"),
    entry(0.1, "transcript", role="agent", text="Welcome to Acme.", item="a1"),
    entry(2.0, "play_ended", item="a1"),
    entry(2.65, "caller_speech_started", lag_ms=50),
    entry(4.3, "caller_speech_stopped", lag_ms=300),
    entry(4.31, "transcript", role="caller", text="where is order four seven one one"),
    entry(4.3, "tool_requested", id="t", tool="order_status"),
    entry(5.0, "mask_started", name="mask:t", text="One moment."),
    entry(5.9, "mask_ended", name="mask:t"),
    entry(6.8, "tool_finished", id="t", tool="order_status", status="ok"),
    entry(6.9, "play_started", item="a2"),
    entry(6.9, "transcript", role="agent", text="Order 4 7 1 1 has been shipped.", item="a2"),
    entry(8.15, "caller_speech_started", lag_ms=100),
    entry(8.2, "barge_in", item="a2"),
    entry(8.25, "flushed", items=[{"item": "a2", "heard_ms": 1300}]),
    entry(9.2, "caller_speech_stopped", lag_ms=300),
    entry(9.21, "transcript", role="caller", text="a person please"),
    entry(
        9.6,
        "media_released",
        release_ms=14.0,
        engine_closed_at_ns=1,
        rtp_stopped_at_ns=2,
        ports_freed_at_ns=3,
    ),
    entry(10.5, "transferred"),
    entry(10.6, "call_ended", result="success", reason="transferred"),
)


def leg(
    target: str, received: Reception, sent: Sending, heard: tuple[Spoken, ...], said: tuple[Spoken, ...]
) -> LegReport:
    return LegReport(target, ZERO, at(0.01), at(16), "hung up", received, sent, heard, said)


def good() -> Evidence:
    caller_said = track((*QUESTION, 2), (8.0, 8.9, 4), (*HELLO, 6))
    person_said = track((*PERSON, 5))
    steps = (
        StepReport(3, "say", at(2.6), at(4.0), {"words_at": at(2.6)}),
        StepReport(5, "interrupt", at(7.9), at(8.9), {"words_at": at(8.0)}),
        StepReport(9, "say", at(13.0), at(14.0), {"words_at": at(13.0)}),
    )
    first = leg(
        "sip:1000@127.0.0.1",
        Reception(packets=480, by_source={SERVER: 480}, first_at=at(0.02), last_at=at(9.59)),
        Sending(478, SERVER, at(0.02), at(9.59)),
        spans(GREETING, MASK, (6.9, 8.26)),
        spans(QUESTION, (8.0, 8.9)),
    )
    second = leg(
        "sip:human@127.0.0.1",
        Reception(packets=250, by_source={"127.0.0.1:40000": 250}),
        Sending(250, "127.0.0.1:40000", at(10.5), at(15.9)),
        spans(PERSON),
        spans(HELLO),
    )
    person = leg(
        "sip:caller@127.0.0.1",
        Reception(packets=250, by_source={"127.0.0.1:41000": 250}),
        Sending(250, "127.0.0.1:41000", at(10.5), at(15.9)),
        spans(HELLO),
        spans(PERSON),
    )
    return Evidence(
        expected=Expected("4711", "shipped", 700, 5, 9),
        caller=CallReport(
            ok=True,
            failure="",
            setup_ms=12.0,
            first_audio_ms=90.0,
            heard_s=6.0,
            legs=(first, second),
            steps=steps,
            transfer=TransferReport("sip:human@127.0.0.1", at(9.58), at(9.59), at(10.5)),
        ),
        caller_exit=0,
        caller_heard=Heard(ZERO, track((*GREETING, 1), (*MASK, 3), (6.9, 8.26, 7), (*PERSON, 5))),
        caller_said=Heard(ZERO, caller_said),
        person=CallReport(True, "", None, None, 1.0, (person,)),
        person_heard=Heard(at(10.5), caller_said[round(10.5 * RATE) :]),
        person_said=Heard(at(10.5), person_said[round(10.5 * RATE) :]),
        timeline=TIMELINE,
        call_started_at=ZERO,
        server_rtp=frozenset({SERVER}),
        recording=Stereo(0, caller_said, track((*GREETING, 1), (*MASK, 3), (6.9, 8.26, 7))),
        healthy=True,
        open_calls=0,
    )


def without(*kinds: str) -> Callable[[Evidence], Evidence]:
    return lambda e: replace(e, timeline=tuple(t for t in e.timeline if t.kind not in kinds))


def with_entry(kind: str, **data: object) -> Callable[[Evidence], Evidence]:
    return lambda e: replace(
        e,
        timeline=tuple(Entry(t.at, t.kind, {**t.data, **data}) if t.kind == kind else t for t in e.timeline),
    )


def first_leg(**changes: object) -> Callable[[Evidence], Evidence]:
    def change(e: Evidence) -> Evidence:
        legs = (replace(e.caller.legs[0], **changes), *e.caller.legs[1:])  # type: ignore[arg-type]
        return replace(e, caller=replace(e.caller, legs=legs))

    return change


def caller(**changes: object) -> Callable[[Evidence], Evidence]:
    return lambda e: replace(e, caller=replace(e.caller, **changes))  # type: ignore[arg-type]


def evidence(**changes: object) -> Callable[[Evidence], Evidence]:
    return lambda e: replace(e, **changes)  # type: ignore[arg-type]


def leaking(e: Evidence) -> Evidence:
    assert e.person is not None
    heard = replace(e.person.legs[0].received, by_source={"127.0.0.1:41000": 240, SERVER: 10})
    return replace(e, person=replace(e.person, legs=(replace(e.person.legs[0], received=heard),)))


BROKEN: list[tuple[str, Callable[[Evidence], Evidence]]] = [
    ("caller_finished", caller(ok=False, failure="caller.yaml:3: wait_speech: nothing")),
    ("caller_finished", evidence(caller_exit=1)),
    ("greeting_heard", caller(first_audio_ms=3500.0)),
    ("greeting_heard", first_leg(heard=())),
    ("greeting_heard", caller(legs=())),
    ("mask_heard", first_leg(heard=spans(GREETING, (6.9, 8.26)))),
    ("mask_heard", without("tool_requested")),
    ("mask_heard", first_leg(heard=spans(GREETING, (4.35, 5.9), (6.9, 8.26)))),
    ("answer_heard", first_leg(heard=spans(GREETING, MASK))),
    ("answer_heard", without("tool_finished")),
    ("silent_after_barge_in", evidence(caller_heard=Heard(ZERO, track((6.9, 15.0, 7))))),
    ("silent_after_barge_in", evidence(caller_heard=Heard(ZERO, track((6.9, 8.9, 7))))),
    ("silent_after_barge_in", without("barge_in")),
    ("silent_after_barge_in", caller(steps=())),
    ("transferred", caller(transfer=None)),
    ("transferred", evidence(person=None)),
    ("person_hears_caller", evidence(person_heard=Heard(at(10.5), track((2.5, 3.5, 8))))),
    ("person_hears_caller", evidence(person_heard=Heard(at(10.5), track()))),
    ("caller_hears_person", evidence(caller_heard=Heard(ZERO, track((*GREETING, 1), (*MASK, 3))))),
    ("caller_hears_person", evidence(person=None)),
    ("media_path_left", leaking),
    ("media_path_left", first_leg(received=Reception(packets=9, last_at=at(10.2)))),
    ("media_path_left", first_leg(sent=Sending(9, SERVER, at(0), at(12)))),
    ("media_path_left", evidence(server_rtp=frozenset())),
    ("release_recorded", with_entry("media_released", release_ms=900.0)),
    ("release_recorded", with_entry("media_released", rtp_stopped_at_ns=None)),
    ("release_recorded", without("media_released")),
    ("transcript_has_order", with_entry("transcript", text="Order 4 7 1 2 has been shipped.")),
    ("transcript_has_order", without("transcript")),
    ("recording_has_both", evidence(recording=None)),
    ("recording_has_both", evidence(recording=Stereo(0, track(), track((*GREETING, 1), (6.9, 8.26, 7))))),
    ("recording_has_both", without("play_started")),
    ("outcome_recorded", with_entry("call_ended", reason="engine_failed")),
    ("outcome_recorded", without("call_ended")),
    ("audio_unbroken", first_leg(received=Reception(packets=480, lost=40, last_at=at(9.5)))),
    ("server_well", evidence(healthy=False)),
    ("server_well", evidence(open_calls=1)),
]


def by_name(checks: list[Check]) -> dict[str, Check]:
    return {check.name: check for check in checks}


def test_a_good_call_passes_every_check() -> None:
    assert [check for check in judge(good()) if not check.ok] == []


@pytest.mark.parametrize(("name", "broken"), BROKEN, ids=[f"{i}-{n}" for i, (n, _) in enumerate(BROKEN)])
def test_each_check_fails_on_what_it_watches(name: str, broken: Callable[[Evidence], Evidence]) -> None:
    check = by_name(judge(broken(good())))[name]
    assert not check.ok, check.detail
    assert check.detail


def test_every_check_has_a_call_that_breaks_it() -> None:
    assert {name for name, _ in BROKEN} == {one.__name__ for one in JUDGES}


def test_nothing_at_all_fails_without_an_error() -> None:
    empty = replace(
        good(),
        timeline=(),
        caller=CallReport(False, "no answer", None, None, 0, ()),
        person=None,
        recording=None,
    )
    assert not any(check.ok for check in judge(empty) if check.name != "server_well")
    assert metrics(empty)["transcript"] == []


def test_the_figures_of_a_good_call() -> None:
    figures = metrics(good())
    transcript = figures.pop("transcript")
    assert figures == {
        "setup_ms": 12.0,
        "first_audio_ms": 90.0,
        "mask_after_ms": 700.0,
        "barge_in_flush_ms": pytest.approx(60, abs=15),
        "transfer_release_ms": 14.0,
        "caller_heard_s": 6.0,
    }
    assert transcript[1] == {"at_s": 4.31, "role": "caller", "text": "where is order four seven one one"}


def test_numbers_are_compared_without_their_spaces() -> None:
    assert squeezed("Order 4 7-1 1.") == "order4711"


def test_reports_survive_json() -> None:
    report = good().caller
    assert CallReport.from_json(report.to_json()) == report
