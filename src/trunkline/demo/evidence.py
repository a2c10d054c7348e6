"""What the checks of the demonstration look at, and nothing else: two phones, their recordings, the timeline."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from trunkline.demo.waterfall import Entry
from trunkline.model import SECOND
from trunkline.operations.phone.audio import PHONE_RATE, Samples
from trunkline.operations.phone.report import CallReport, Spoken, StepReport


@dataclass(frozen=True, slots=True)
class Heard:
    """A recording on the monotonic clock: sample 0 belongs to ``started_at``."""

    started_at: int
    samples: Samples

    def cut(self, start: int, end: int) -> Samples:
        """The samples between two moments; shorter where the recording does not reach."""
        first, last = (
            max(0, round((moment - self.started_at) * PHONE_RATE / SECOND)) for moment in (start, end)
        )
        return self.samples[first:last]


NOTHING: Final = Heard(0, np.zeros(0, dtype=np.int16))


@dataclass(frozen=True, slots=True)
class Stereo:
    """The server's own recording: caller left, agent right. ``started_at`` in nanoseconds since the call's start."""

    started_at: int
    caller: Samples
    agent: Samples


@dataclass(frozen=True, slots=True)
class Expected:
    """What the script of the demonstration must lead to."""

    order_number: str
    order_status: str
    mask_budget_ms: int
    """The tool's mask point."""
    interrupt_line: int
    """Line of the caller script where the caller talks into the answer."""
    hello_line: int
    """Line where the caller speaks to the person."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything gathered from one demonstration call."""

    expected: Expected
    caller: CallReport
    caller_exit: int
    caller_heard: Heard
    caller_said: Heard
    person: CallReport | None
    """The call the person answered, None when there was none."""
    person_heard: Heard
    person_said: Heard
    timeline: Sequence[Entry]
    """Entries of the ledger, ``at`` since the call's start."""
    call_started_at: int
    """The call's start on the monotonic clock."""
    server_rtp: frozenset[str]
    """``host:port`` of every RTP socket the server had in this call."""
    recording: Stereo | None
    healthy: bool
    """The server reported itself well afterwards."""
    open_calls: int
    """Calls the server still had afterwards."""

    def entries(self, *kinds: str) -> list[Entry]:
        """Timeline entries of these kinds, in order."""
        return [entry for entry in self.timeline if entry.kind in kinds]

    def first(self, kind: str, **data: Any) -> Entry | None:
        """The first entry of a kind with these data."""
        return next(
            (
                entry
                for entry in self.timeline
                if entry.kind == kind and all(entry.data.get(key) == value for key, value in data.items())
            ),
            None,
        )

    def when(self, entry: Entry) -> int:
        """An entry's moment on the monotonic clock."""
        return self.call_started_at + entry.at

    def step(self, line: int) -> StepReport | None:
        """The step of a line of the caller script, when it was carried out."""
        return next((step for step in self.caller.steps if step.line == line), None)

    def far_speech(self, after: int, before: int | None = None) -> list[Spoken]:
        """What the caller heard on the first leg, stretches that began in a window."""
        if not self.caller.legs:
            return []
        return [
            span
            for span in self.caller.legs[0].heard
            if span.start >= after and (before is None or span.start < before)
        ]

    def transcript(self) -> list[dict[str, Any]]:
        """Final words of both sides, in order, with seconds since the call's start. Of an interrupted answer, what
        was heard of it: later words about the same item replace earlier ones."""
        lines: list[dict[str, Any]] = []
        by_item: dict[str, dict[str, Any]] = {}
        for entry in self.entries("transcript"):
            role, text, item = entry.data["role"], entry.data["text"], entry.data.get("item", "")
            if role == "agent" and item in by_item:
                by_item[item]["text"] = text
                continue
            line = {"at_s": round(entry.at / SECOND, 2), "role": role, "text": text}
            lines.append(line)
            if item:
                by_item[item] = line
        return lines


_NUMBER: Final = re.compile(r"[^0-9a-z]+")


def squeezed(text: str) -> str:
    """Letters and digits only, in lower case: ``4 7 1 1`` contains ``4711``."""
    return _NUMBER.sub("", text.lower())
