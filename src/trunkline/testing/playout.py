"""What a caller hears, simulated: the playout queue of a media session without sockets or threads.

Sans-IO: every method takes ``now``; ``advance`` plays up to it and reports events with exact times. The rules are
those of ``telephony.media.port``: items in order, a flush with a fade, one mask at a time.
"""

from collections import deque
from dataclasses import dataclass, field

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

MAX_QUEUED: Nanos = Nanos(120_000 * MS)
MAX_DROPPED_NAMES = 1_000


@dataclass(slots=True)
class _Item:
    name: str
    queued: int = 0
    played: int = 0
    ended: bool = False
    started: bool = False

    @property
    def left(self) -> int:
        return self.queued - self.played

    def heard(self) -> Heard:
        return Heard(item=self.name, heard_ms=self.played // MS, total_ms=self.queued // MS)


@dataclass(slots=True)
class _Mask:
    name: str
    length: int
    mode: MaskMode
    loop: bool
    played: int = 0
    ends_at: Nanos | None = None
    """Set by ``unmask``: end of the fade."""


@dataclass(slots=True)
class Playout:
    """One line to one caller."""

    at: Nanos
    dropped_ms: int = 0
    played: list[tuple[str, int]] = field(default_factory=list)
    """What the caller heard: (item or ``mask:name``, milliseconds), in order, adjacent ones joined."""
    _items: deque[_Item] = field(default_factory=deque)
    _flushing: list[_Item] = field(default_factory=list)
    _flush_at: Nanos | None = None
    _mask: _Mask | None = None
    _refused: dict[str, None] = field(default_factory=dict)
    _events: list[MediaEvent] = field(default_factory=list)

    @property
    def playing(self) -> str:
        """Name of the item the caller hears at this moment, or empty."""
        item = self._current()
        return item.name if item is not None and item.left > 0 and not self._held() else ""

    @property
    def masked(self) -> str:
        """Name of the mask that plays now, or empty."""
        return self._mask.name if self._mask else ""

    def queued_ms(self) -> int:
        """Audio that waits to be played."""
        return sum(item.left for item in self._items) // MS

    def add(self, name: str, span: int, now: Nanos) -> list[MediaEvent]:
        """Queue ``span`` nanoseconds of audio of an item; late audio of a dropped item is discarded."""
        events = self.advance(now)
        if name in self._refused:
            return events
        item = self._items[-1] if self._items and self._items[-1].name == name else None
        if item is None or item.ended:
            for earlier in self._items:
                earlier.ended = True
            item = _Item(name)
            self._items.append(item)
        item.queued += span
        self._bound()
        return events + self.advance(now)

    def end(self, name: str, now: Nanos) -> list[MediaEvent]:
        """No more audio of the item will come."""
        events = self.advance(now)
        for item in self._items:
            if item.name == name:
                item.ended = True
        return events + self.advance(now)

    def drop(self, name: str, now: Nanos) -> list[MediaEvent]:
        """Discard late audio of the item from now on."""
        self._refuse(name)
        return self.advance(now)

    def flush(self, fade_ms: int, now: Nanos) -> list[MediaEvent]:
        """Fall silent: what is queued now and what still comes of it is gone, and a mask ends. ``Flushed`` comes at
        the end of the fade."""
        events = self.advance(now)
        self._flushing.extend(self._items)
        self._items.clear()
        if self._flush_at is None:
            self._flush_at = Nanos(now + fade_ms * MS)
        if self._mask is not None:
            self._mask.ends_at = self._flush_at
        for item in self._flushing:
            if item.name:
                self._refuse(item.name)
        return events + self.advance(now)

    def mask(self, name: str, length: int, mode: MaskMode, *, loop: bool, now: Nanos) -> list[MediaEvent]:
        """Play bridging audio, replacing the mask that plays."""
        events = self.advance(now)
        self._end_mask()
        self._mask = _Mask(name, length, mode, loop)
        self._events.append(MaskStarted(at=now, name=name))
        return events + self.advance(now)

    def unmask(self, fade_ms: int, now: Nanos) -> list[MediaEvent]:
        """End the mask with a fade; nothing when there is none."""
        events = self.advance(now)
        if self._mask is not None:
            self._mask.ends_at = Nanos(now + fade_ms * MS)
        return events + self.advance(now)

    def advance(self, now: Nanos) -> list[MediaEvent]:
        """Play up to ``now`` and return what happened."""
        while True:
            self._settle()
            due = self.next_deadline()
            if due is None or due > now:
                break
            self._play(due - self.at)
            self.at = due
        if now > self.at:
            self._play(now - self.at)
            self.at = now
        events, self._events = self._events, []
        return events

    def next_deadline(self) -> Nanos | None:
        """When the next event is due if nothing else is asked; None when the line would stay as it is."""
        due: list[int] = []
        if self._flush_at is not None:
            due.append(self._flush_at)
        if self._mask is not None:
            if self._mask.ends_at is not None:
                due.append(self._mask.ends_at)
            if not self._mask.loop:
                due.append(self.at + self._mask.length - self._mask.played)
        item = self._current()
        if item is not None and item.left > 0 and not self._held():
            due.append(self.at + item.left)
        return Nanos(min(due)) if due else None

    def _current(self) -> _Item | None:
        if self._flush_at is not None:
            return self._flushing[0] if self._flushing else None
        return self._items[0] if self._items else None

    def _held(self) -> bool:
        return self._mask is not None and self._mask.mode is MaskMode.TURN

    def _play(self, span: int) -> None:
        if span <= 0:
            return
        if self._mask is not None:
            left = span if self._mask.loop else self._mask.length - self._mask.played
            self._mask.played += min(span, left)
            self._log(f"mask:{self._mask.name}", min(span, left))
        item = self._current()
        if item is not None and not self._held():
            heard = min(span, item.left)
            item.played += heard
            if heard:
                self._log(item.name, heard)

    def _log(self, what: str, span: int) -> None:
        if self.played and self.played[-1][0] == what:
            self.played[-1] = (what, self.played[-1][1] + span)
        else:
            self.played.append((what, span))

    def heard_log(self) -> list[tuple[str, int]]:
        """What the caller heard so far: (item or ``mask:name``, whole milliseconds)."""
        return [(what, span // MS) for what, span in self.played]

    def _settle(self) -> None:
        """Carry out every transition that is due at this very moment."""
        if self._flush_at is not None and self._flush_at <= self.at:
            self._flush_at = None
            heard = tuple(item.heard() for item in self._flushing)
            self._flushing.clear()
            self._events.append(Flushed(at=self.at, heard=heard))
        mask = self._mask
        if mask is not None and (
            (mask.ends_at is not None and mask.ends_at <= self.at)
            or (not mask.loop and mask.played >= mask.length)
        ):
            self._end_mask()
        if self._flush_at is not None or self._held():
            return
        while self._items:
            item = self._items[0]
            if item.left > 0 and not item.started:
                item.started = True
                self._events.append(PlayStarted(at=self.at, item=item.name))
            if item.left > 0 or not item.ended:
                return
            self._items.popleft()
            if item.queued:
                self._events.append(PlayEnded(at=self.at, heard=item.heard()))

    def _end_mask(self) -> None:
        if self._mask is not None:
            self._events.append(
                MaskEnded(at=self.at, name=self._mask.name, played_ms=self._mask.played // MS)
            )
            self._mask = None

    def _refuse(self, name: str) -> None:
        self._refused[name] = None
        while len(self._refused) > MAX_DROPPED_NAMES:
            del self._refused[next(iter(self._refused))]

    def _bound(self) -> None:
        excess = sum(item.left for item in self._items) - MAX_QUEUED
        for item in self._items:
            if excess <= 0:
                return
            lost = min(excess, item.left)
            item.queued -= lost
            self.dropped_ms += lost // MS
            excess -= lost
