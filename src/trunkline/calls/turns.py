"""Who speaks: what plays, when the caller interrupts, how long both have been quiet.

Owns barge-in: the engine's cue that the caller speaks → flush → the engine is told what was heard of each
flushed item, and late audio of it is dropped. Refuses to end the call: it reports silence, the flow decides.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from trunkline.calls.alarms import Alarms
from trunkline.calls.attachment import Outlet
from trunkline.calls.ports import Meter
from trunkline.config import Agent
from trunkline.engines.contract import (
    CallerDigits,
    CallerHeld,
    CallerSpeechStarted,
    CallerSpeechStopped,
    EngineEvent,
    Interrupted,
    ItemEnded,
    ItemStarted,
    Role,
    Say,
    Transcript,
    Truncate,
)
from trunkline.model import MS, Nanos, seconds, to_ms
from trunkline.telephony.media.port import (
    CallerSpeech,
    Digit,
    Flushed,
    Heard,
    MaskEnded,
    MaskStarted,
    MediaEvent,
    PlayEnded,
    PlayStarted,
)
from trunkline.trust.ledger import Kind

SILENCE: Final = "silence"
"""Name of the alarm that rings when both sides have been quiet."""

LOCAL_ITEM: Final = "local:"
"""Prefix of items that Trunkline itself plays; no engine is told about them."""

FADE_MS: Final = 10
MAX_ITEMS: Final = 256
"""Items tracked at once; the oldest are forgotten, which only shortens a wait for last words."""

Note = Callable[[Nanos, Kind, Mapping[str, Any]], None]


@dataclass(slots=True)
class Turns:
    """The line between caller and agent."""

    agent: Agent
    outlet: Outlet
    alarms: Alarms
    meter: Meter
    note: Note
    busy: Callable[[], bool]
    """Whether something else keeps the caller waiting (a tool)."""
    playing: str = ""
    """Item the caller hears now."""
    masked: str = ""
    spoken: bool = False
    """Whether the caller has heard anything of an engine."""
    held: bool = False
    prompts: int = 0
    answered_at: Nanos | None = None
    active: bool = False
    """Whether silence is watched: from the greeting on."""
    _pending: dict[str, None] = field(default_factory=dict)
    _unfinished: dict[str, None] = field(default_factory=dict)
    _known: dict[str, None] = field(default_factory=dict)
    """Items of the present engine: it is told only about these."""
    _cue: Nanos | None = None
    _speaking: set[str] = field(default_factory=set)
    _stopped: Nanos | None = None

    @property
    def quiet(self) -> bool:
        """Whether nothing plays and nothing is about to."""
        return not self.playing and not self._pending and not self.masked

    def forget(self) -> None:
        """Media or engine are new: nothing plays, nothing is expected."""
        self.playing, self.masked, self._cue, self._stopped = "", "", None, None
        self._pending.clear()
        self._unfinished.clear()
        self._known.clear()
        self._speaking.clear()

    def expect(self, item: str) -> None:
        """Audio of ``item`` is on its way to the caller."""
        self._pending[item] = None
        for table in (self._pending, self._unfinished, self._known):
            while len(table) > MAX_ITEMS:
                del table[next(iter(table))]

    # --- signals -------------------------------------------------------------------------------------------

    def see_media(self, event: MediaEvent) -> None:
        """React to what the media session reports."""
        match event:
            case PlayStarted(at=at, item=item):
                self._play_started(at, item)
            case PlayEnded(heard=heard):
                self._pending.pop(heard.item, None)
                if self.playing == heard.item:
                    self.playing = ""
            case Flushed():
                self._flushed(event)
            case MaskStarted(name=name):
                self.masked = name
            case MaskEnded():
                self.masked = ""
            case CallerSpeech(started=True):
                self._heard_caller("vad")
            case CallerSpeech(at=at, lag_ms=lag):
                self._speaking.discard("vad")
                self._stopped = Nanos(at - lag * MS)
            case Digit(digit=digit):
                self.digit(digit)
            case _:
                return
        self.watch_silence()

    def see_engine(self, event: EngineEvent) -> None:
        """React to what the engine reports."""
        match event:
            case CallerSpeechStarted(at=at):
                self._heard_caller("engine")
                self._interrupt(at)
            case CallerSpeechStopped(at=at):
                self._speaking.discard("engine")
                if self._stopped is None:
                    self._stopped = at
            case ItemStarted(item=item):
                self._unfinished[item] = self._known[item] = None
                self.expect(item)
            case ItemEnded(item=item):
                self._unfinished.pop(item, None)
            case Interrupted(at=at, item=item):
                self._cancelled(at, item)
            case Transcript(role=Role.CALLER):
                self.prompts = 0
                self.alarms.clear(SILENCE)
            case _:
                return
        self.watch_silence()

    def digit(self, digit: str) -> None:
        """The caller pressed a key, however it was signalled."""
        self.prompts = 0
        self.alarms.clear(SILENCE)
        self.outlet.command(CallerDigits(digits=digit))
        self.watch_silence()

    def hold(self, *, held: bool) -> None:
        """The caller's side put the call on hold or took it back: silence means nothing meanwhile."""
        self.held = held
        self.outlet.command(CallerHeld(held=held))
        self.watch_silence()

    def watch_silence(self) -> None:
        """Start the silence alarm when both sides just became quiet, stop it when one is not."""
        if not self.active or self._speaking or self.held or self.busy() or not self.quiet:
            self.alarms.clear(SILENCE)
        elif not self.alarms.pending(SILENCE):
            self.alarms.after(SILENCE, seconds(self.agent.limits.silence_s))

    def ask_whether_there(self) -> bool:
        """Silence lasted: ask the caller; False when that was done often enough."""
        if self.prompts >= self.agent.limits.silence_prompts:
            return False
        self.prompts += 1
        self.outlet.command(Say(text=self.agent.phrases.still_there))
        self.watch_silence()
        return True

    # --- inside --------------------------------------------------------------------------------------------

    def _play_started(self, at: Nanos, item: str) -> None:
        self.playing = item
        self.expect(item)
        if item.startswith(LOCAL_ITEM):
            return
        if not self.spoken and self.answered_at is not None:
            self.meter.first_audio(Nanos(max(0, at - self.answered_at)))
        self.spoken = True
        if self._stopped is not None:
            self.meter.response(Nanos(max(0, at - self._stopped)))
            self._stopped = None

    def _heard_caller(self, source: str) -> None:
        self._speaking.add(source)
        self.prompts = 0
        self._stopped = None

    def _interrupt(self, cue: Nanos) -> None:
        if not self.agent.barge_in or self.outlet.media is None:
            return
        if self.masked:
            self.outlet.media.unmask()
        if self.playing and self._cue is None:
            self.note(cue, Kind.BARGE_IN, {"item": self.playing, "source": "engine"})
            self._flush(cue)

    def _flush(self, cue: Nanos) -> None:
        if (media := self.outlet.media) is None:
            return
        self._cue = cue
        media.flush(fade_ms=FADE_MS)
        for item in self._unfinished:
            media.drop_item(item)

    def _cancelled(self, at: Nanos, item: str) -> None:
        """The engine gave its answer up by itself."""
        if self.outlet.media is None:
            return
        self.outlet.media.drop_item(item)
        if self.playing and self.playing == item and self._cue is None:
            self.note(at, Kind.BARGE_IN, {"item": item, "source": "engine"})
            self._flush(at)
        elif self._cue is None:
            self._pending.pop(item, None)
        self._unfinished.pop(item, None)

    def _flushed(self, event: Flushed) -> None:
        cue, self._cue = self._cue, None
        data: dict[str, Any] = {"items": [asdict(heard) for heard in event.heard]}
        if cue is not None:
            span = Nanos(max(0, event.at - cue))
            data["flush_ms"] = round(to_ms(span), 1)
            self.meter.barge_in(span)
        self.note(event.at, Kind.FLUSHED, data)
        for heard in event.heard:
            self._truncate(event.at, heard)
        for item in list(self._unfinished):
            # Begun but not heard at all: dropped together with what was flushed.
            self._pending.pop(item, None)
        self.playing = ""

    def _truncate(self, at: Nanos, heard: Heard) -> None:
        self._pending.pop(heard.item, None)
        if self.outlet.media is not None:
            self.outlet.media.drop_item(heard.item)
        if heard.item in self._known:
            self.outlet.command(Truncate(item=heard.item, heard_ms=heard.heard_ms))
            self.note(at, Kind.TRUNCATED, asdict(heard))
