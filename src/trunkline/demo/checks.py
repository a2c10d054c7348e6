"""What must be true of the demonstration call, each check on its own, from outside.

Pure functions of ``Evidence``. Audio facts come from the packets on the two phones' sockets; the ledger is asked
only for what cannot be heard (when the tool was asked, when the release was recorded).
"""

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any, Final

from trunkline.demo.evidence import Evidence, squeezed
from trunkline.demo.waterfall import Entry
from trunkline.model import MS, SECOND
from trunkline.operations.phone.audio import PHONE_RATE, Samples
from trunkline.operations.phone.measure import (
    SPEECH_DBFS,
    find_utterance,
    silent_after,
    speech_seconds,
    speech_segments,
)
from trunkline.operations.phone.report import Spoken

GREETING_WITHIN_MS: Final = 3000
"""From the 200 to the first words. The goal is 500 ms; this machine may be busy with anything."""

MASK_TOLERANCE_MS: Final = 900
"""After the mask point: synthesis, one packet, and a busy machine."""

SILENCE_WITHIN_MS: Final = 1500
"""From the first word of the interruption to silence: the caller's own onset included."""

FLUSH_WITHIN_MS: Final = 250
"""From the cue to silence on the caller's wire. The goal is 60 ms; two packets are in flight."""

RELEASE_WITHIN_MS: Final = 200
GRACE: Final = 200 * MS
"""Packets that were on their way when the transfer was accepted."""

SAME_WORDS: Final = 0.75
"""Score of ``find_utterance`` from which on it is the same utterance."""

LOSS_ALLOWED: Final = 0.01


@dataclass(frozen=True, slots=True)
class Check:
    """One fact: whether it holds, and the figures that show it."""

    name: str
    ok: bool
    detail: str

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)


Verdict = tuple[bool, str]
Judge = Callable[[Evidence], Verdict]


def caller_finished(evidence: Evidence) -> Verdict:
    """The scripted caller carried out every step."""
    if evidence.caller.ok and evidence.caller_exit == 0:
        return True, f"{len(evidence.caller.steps)} steps carried out"
    return False, evidence.caller.failure or f"exit code {evidence.caller_exit}"


def greeting_heard(evidence: Evidence) -> Verdict:
    """The caller heard a greeting soon after the answer."""
    if not evidence.caller.legs or evidence.caller.legs[0].answered_at is None:
        return False, "the call was not answered"
    spans = evidence.far_speech(evidence.caller.legs[0].answered_at)
    if not spans or evidence.caller.first_audio_ms is None:
        return False, "no speech was heard"
    ok = evidence.caller.first_audio_ms <= GREETING_WITHIN_MS and spans[0].seconds > 0.5
    return ok, f"after {evidence.caller.first_audio_ms:.0f} ms, {spans[0].seconds:.1f} s of speech"


def mask_span(evidence: Evidence) -> tuple[Entry, Spoken] | None:
    """The slow tool's request, and the first speech the caller heard after it."""
    request = evidence.first("tool_requested")
    if request is None:
        return None
    spans = evidence.far_speech(evidence.when(request))
    return (request, spans[0]) if spans else None


def mask_after_ms(evidence: Evidence) -> float | None:
    """From the engine's request for the tool to the first bridging word on the caller's wire."""
    found = mask_span(evidence)
    return None if found is None else round((found[1].start - evidence.when(found[0])) / MS, 1)


def mask_heard(evidence: Evidence) -> Verdict:
    """The caller heard bridging words within the budget, and before the tool had answered."""
    after, found = mask_after_ms(evidence), mask_span(evidence)
    if after is None or found is None:
        return False, "no speech was heard after the tool was asked"
    budget = evidence.expected.mask_budget_ms
    answered = evidence.first("tool_finished")
    if answered is None:
        return False, "the tool never finished"
    before = (evidence.when(answered) - found[1].start) / MS
    ok = budget - 50 <= after <= budget + MASK_TOLERANCE_MS and before > 0
    return (
        ok,
        f"{after:.0f} ms after the question to the database (mask point {budget} ms), {before:.0f} ms before its answer",
    )


def answer_heard(evidence: Evidence) -> Verdict:
    """The caller heard the answer, after the tool had it and before interrupting."""
    finished, cut = evidence.first("tool_finished"), _interruption(evidence)
    if finished is None or cut is None:
        return False, "the tool never finished, or the caller never interrupted"
    told = evidence.when(finished)
    heard = sum(max(0, min(span.end, cut) - max(span.start, told)) for span in evidence.far_speech(0))
    return heard / SECOND >= 0.5, f"{heard / SECOND:.1f} s of it, until the interruption"


def _interruption(evidence: Evidence) -> int | None:
    """When the interrupting words began on the caller's wire."""
    step = evidence.step(evidence.expected.interrupt_line)
    return None if step is None else int(step.detail.get("words_at", step.began_at))


def silence_after_interruption_ms(evidence: Evidence) -> float | None:
    """From the first interrupting word to silence, on the caller's wire."""
    cut = _interruption(evidence)
    if cut is None:
        return None
    heard = evidence.caller_heard.cut(cut, cut + 6 * SECOND)
    after = silent_after(heard, PHONE_RATE, 0, for_s=0.4)
    return None if after is None else round(after * 1000, 1)


def barge_in_flush_ms(evidence: Evidence) -> float | None:
    """From the cue (the ledger's barge-in) to silence on the caller's wire."""
    after, cut = silence_after_interruption_ms(evidence), _interruption(evidence)
    if after is None or cut is None:
        return None
    cues = [entry for entry in evidence.entries("barge_in") if evidence.when(entry) >= cut]
    if not cues:
        return None
    return round(max(0.0, after - (evidence.when(cues[0]) - cut) / MS), 1)


def silent_after_barge_in(evidence: Evidence) -> Verdict:
    """The agent fell silent when the caller spoke into its answer."""
    after, flush = silence_after_interruption_ms(evidence), barge_in_flush_ms(evidence)
    if after is None:
        return False, "the agent talked on, or was never interrupted"
    if flush is None:
        return False, "the ledger has no barge-in"
    ok = after <= SILENCE_WITHIN_MS and flush <= FLUSH_WITHIN_MS
    return ok, f"{after:.0f} ms after the first interrupting word, {flush:.0f} ms after the cue"


def transferred(evidence: Evidence) -> Verdict:
    """The caller was referred to the person, who answered."""
    transfer = evidence.caller.transfer
    if transfer is None:
        return False, "the caller got no REFER"
    if transfer.answered_at is None or evidence.person is None:
        return False, transfer.failure or "the person did not answer"
    return (
        True,
        f"{(transfer.answered_at - transfer.requested_at) / MS:.0f} ms from REFER to the person's answer",
    )


def person_hears_caller(evidence: Evidence) -> Verdict:
    """What the caller said after the transfer is in what the person's phone received."""
    step = evidence.step(evidence.expected.hello_line)
    if step is None or evidence.person is None:
        return False, "the caller never spoke to the person"
    words = evidence.caller_said.cut(int(step.detail.get("words_at", step.began_at)), step.ended_at)
    match = find_utterance(evidence.person_heard.samples, _trimmed(words), PHONE_RATE)
    return (
        match.score >= SAME_WORDS,
        f"the caller's words are in the person's RTP with a score of {match.score:.2f}",
    )


def caller_hears_person(evidence: Evidence) -> Verdict:
    """What the person said is in what the caller's phone received."""
    if evidence.person is None or not evidence.person.legs or not evidence.person.legs[0].said:
        return False, "the person said nothing"
    first = evidence.person.legs[0].said[0]
    words = evidence.person_said.cut(first.start, first.end)
    match = find_utterance(evidence.caller_heard.samples, _trimmed(words), PHONE_RATE)
    return (
        match.score >= SAME_WORDS,
        f"the person's words are in the caller's RTP with a score of {match.score:.2f}",
    )


def _trimmed(samples: Samples) -> Samples:
    """Without silence at both ends, which would only blur the comparison."""
    segments = speech_segments(samples, PHONE_RATE, threshold_dbfs=SPEECH_DBFS)
    if not segments:
        return samples[:0]
    return samples[int(segments[0].start * PHONE_RATE) : int(segments[-1].end * PHONE_RATE)]


def media_path_left(evidence: Evidence) -> Verdict:
    """After the transfer no RTP packet flowed between a phone and the server."""
    transfer = evidence.caller.transfer
    if transfer is None or not evidence.caller.legs or evidence.person is None or not evidence.person.legs:
        return False, "there was no transfer"
    leg, person = evidence.caller.legs[0], evidence.person.legs[0]
    late = (leg.received.last_at or 0) - transfer.accepted_at
    sent = (leg.sent.last_at or 0) - transfer.accepted_at
    foreign = sum(
        count
        for heard in (person.received, *(other.received for other in evidence.caller.legs[1:]))
        for source, count in heard.by_source.items()
        if source in evidence.server_rtp
    )
    direct = person.received.packets
    ok = late <= GRACE and sent <= GRACE and foreign == 0 and direct > 0 and bool(evidence.server_rtp)
    return ok, (
        f"last packet from the server {late / MS:.0f} ms and to it {sent / MS:.0f} ms after the transfer was accepted, "
        f"{foreign} from it later; {direct} packets straight from caller to person"
    )


def release_recorded(evidence: Evidence) -> Verdict:
    """The ledger says when engine, RTP and ports were let go, and that it was quick."""
    released = evidence.first("media_released")
    if released is None:
        return False, "the ledger has no release"
    took = float(released.data.get("release_ms", float("inf")))
    complete = all(
        released.data.get(key) is not None
        for key in ("engine_closed_at_ns", "rtp_stopped_at_ns", "ports_freed_at_ns")
    )
    return (
        took <= RELEASE_WITHIN_MS and complete,
        f"{took:.0f} ms from acceptance to ports free (limit {RELEASE_WITHIN_MS})",
    )


def transcript_has_order(evidence: Evidence) -> Verdict:
    """Order number and status are in the agent's words."""
    agent = squeezed(" ".join(line["text"] for line in evidence.transcript() if line["role"] == "agent"))
    wanted = (evidence.expected.order_number, evidence.expected.order_status)
    missing = [what for what in wanted if squeezed(what) not in agent]
    if missing:
        return False, f"the agent never said {' and '.join(missing)}"
    return True, f"order {wanted[0]}, {wanted[1]}"


def recording_has_both(evidence: Evidence) -> Verdict:
    """The server's recording has speech where the transcript says somebody spoke, on that one's channel."""
    if evidence.recording is None:
        return False, "there is no recording"
    turns = list(_turns(evidence))
    empty = []
    for role, start, end in turns:
        channel = evidence.recording.caller if role == "caller" else evidence.recording.agent
        base = evidence.recording.started_at
        low, high = ((moment - base) / SECOND for moment in (start, end))
        if speech_seconds(speech_segments(channel, PHONE_RATE), low, high) < 0.3 * min(1.0, high - low):
            empty.append(f"{role} at {start / SECOND:.1f} s")
    roles = [role for role, _, _ in turns]
    if empty or roles.count("caller") < 2 or roles.count("agent") < 2:
        return False, f"silent: {', '.join(empty)}" if empty else f"only {len(turns)} turns were recorded"
    return (
        True,
        f"speech in all {roles.count('caller')} turns of the caller and {roles.count('agent')} of the agent",
    )


def _turns(evidence: Evidence) -> Iterable[tuple[str, int, int]]:
    """Who spoke from when to when by the timeline, in nanoseconds since the call's start."""
    released = evidence.first("media_released")
    end = released.at if released else max((entry.at for entry in evidence.timeline), default=0)
    for entry in evidence.entries("play_started"):
        item = entry.data.get("item")
        until = next(
            (
                later.at
                for later in evidence.entries("play_ended", "flushed")
                if later.at > entry.at
                and (
                    later.data.get("item") == item
                    or any(part.get("item") == item for part in later.data.get("items", ()))
                )
            ),
            end,
        )
        yield "agent", entry.at, until
    since: int | None = None
    for entry in evidence.entries("caller_speech_started", "caller_speech_stopped"):
        moment = entry.at - int(float(entry.data.get("lag_ms", 0)) * MS)
        if entry.kind == "caller_speech_started":
            since = moment if since is None else since
        elif since is not None and moment > since:
            yield "caller", since, moment
            since = None


def outcome_recorded(evidence: Evidence) -> Verdict:
    """The call ended as a transfer, and its record is closed."""
    ended = evidence.first("call_ended")
    if ended is None:
        return False, "the record is not closed"
    result, reason = ended.data.get("result"), ended.data.get("reason")
    return (result, reason) == ("success", "transferred"), f"{result}, {reason}"


def audio_unbroken(evidence: Evidence) -> Verdict:
    """The phones lost next to nothing."""
    received = [leg.received for leg in evidence.caller.legs]
    if evidence.person is not None:
        received += [leg.received for leg in evidence.person.legs]
    packets, lost = sum(r.packets for r in received), sum(r.lost for r in received)
    longest = max((r.longest_gap_ms for r in received), default=0.0)
    jitter = max((r.jitter_ms for r in received), default=0.0)
    ok = packets > 0 and lost <= LOSS_ALLOWED * packets
    return ok, f"{lost} of {packets} packets lost, jitter {jitter:.1f} ms, longest gap {longest:.0f} ms"


def server_well(evidence: Evidence) -> Verdict:
    """The server is healthy and holds no call any more."""
    return (
        evidence.healthy and evidence.open_calls == 0,
        f"{'healthy' if evidence.healthy else 'not healthy'}, {evidence.open_calls} calls open",
    )


JUDGES: Final[tuple[Judge, ...]] = (
    caller_finished,
    greeting_heard,
    mask_heard,
    answer_heard,
    silent_after_barge_in,
    transferred,
    person_hears_caller,
    caller_hears_person,
    media_path_left,
    release_recorded,
    transcript_has_order,
    recording_has_both,
    outcome_recorded,
    audio_unbroken,
    server_well,
)


def judge(evidence: Evidence) -> list[Check]:
    """Every check, in the order of the call."""
    return [Check(one.__name__, *one(evidence)) for one in JUDGES]


METRICS: Final = (
    "setup_ms",
    "first_audio_ms",
    "mask_after_ms",
    "barge_in_flush_ms",
    "transfer_release_ms",
    "caller_heard_s",
    "transcript",
)
"""Figures of ``report.json``."""


def metrics(evidence: Evidence) -> dict[str, Any]:
    """The figures of ``report.json``; None where something was not measured."""
    released = evidence.first("media_released")
    return {
        "setup_ms": evidence.caller.setup_ms,
        "first_audio_ms": evidence.caller.first_audio_ms,
        "mask_after_ms": mask_after_ms(evidence),
        "barge_in_flush_ms": barge_in_flush_ms(evidence),
        "transfer_release_ms": None if released is None else released.data.get("release_ms"),
        "caller_heard_s": evidence.caller.heard_s,
        "transcript": evidence.transcript(),
    }
