"""Who may answer next: at most one response is active in a Realtime conversation.

``ResponseGate`` decides when a ``response.create`` may be sent. A server with turn detection creates responses by
itself, so the gate also waits for those: while the caller speaks, and for a moment after. An item (a tool's result,
words of the caller) is covered by any response that the server created after it had taken the item; only items that
no response covered are asked for. Sans-IO; refuses to know what an item or a response says.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from trunkline.model import Nanos, seconds

MAX_QUEUED: Final = 32
"""Requests that may wait; a further one is refused."""

ANSWER_TIMEOUT: Final = seconds(10)
"""How long a ``response.create`` may go without ``response.created`` or an error."""

OWN_ANSWER_WAIT: Final = seconds(2)
"""How long the server may take to begin its own answer after the caller's turn."""

SPEECH_LIMIT: Final = seconds(10)
"""How long a caller's turn may hold back what we want said (noise can look like endless speech)."""

RETRY_AFTER: Final = seconds(0.5)
"""Pause after the server said that a response is active which we do not know of."""


@dataclass(frozen=True, slots=True)
class Request:
    """A response to ask for. ``tag`` names it; an empty ``response`` means: answer what is open."""

    tag: str
    response: Mapping[str, Any] = field(default_factory=dict)
    plain: bool = False


@dataclass(slots=True)
class _Item:
    batch: str
    confirmed: bool = False


@dataclass(slots=True)
class ResponseGate:
    """The state; times are set by the caller's ``now``."""

    server_answers: bool
    """The server creates a response at the end of each caller turn."""
    active: str = ""
    """Id of the response in progress."""
    requested: Request | None = None
    """Sent, not yet created."""
    speaking: bool = False
    _queue: deque[Request] = field(default_factory=deque)
    _items: dict[str, _Item] = field(default_factory=dict)
    _asked: set[str] = field(default_factory=set)
    _open_calls: dict[str, str] = field(default_factory=dict)
    _hold_until: Nanos | None = None
    _requested_until: Nanos | None = None
    _assumed: Request | None = None
    """A request that an untagged response was taken to answer."""
    _tags: int = 0

    # --- what we want ------------------------------------------------------------------------------------

    def ask(self, response: Mapping[str, Any]) -> Request | None:
        """Queue a response of its own; None when ``MAX_QUEUED`` wait already."""
        if len(self._queue) >= MAX_QUEUED:
            return None
        request = Request(tag=self._next_tag(), response=response)
        self._queue.append(request)
        return request

    def call_opened(self, call: str, batch: str) -> None:
        """A tool call whose result will become an item; calls of one batch are answered together."""
        self._open_calls[call] = batch

    def item_sent(self, item: str, *, call: str = "") -> None:
        """An item was sent that the engine should react to."""
        self._items[item] = _Item(batch=self._open_calls.pop(call, ""))

    def item_confirmed(self, item: str) -> None:
        """The server took the item into the conversation."""
        if (known := self._items.get(item)) is not None:
            known.confirmed = True

    # --- what happens ------------------------------------------------------------------------------------

    def speech_started(self, now: Nanos) -> None:
        """The server hears the caller."""
        self.speaking = True
        self._hold_until = Nanos(now + SPEECH_LIMIT) if self.server_answers else None

    def speech_stopped(self, now: Nanos) -> None:
        """The caller's turn ended; the server may answer by itself."""
        self.speaking = False
        self._hold_until = Nanos(now + OWN_ANSWER_WAIT) if self.server_answers else None

    def created(self, response: str, tag: str | None) -> Request | None:
        """The server began a response; returns our request when it is the answer to it. ``tag`` is None when the
        server does not return tags: then a request that waits is taken to be answered."""
        ours = self.requested
        if ours is not None and tag is not None and tag != ours.tag:
            ours = None
        self._assumed = ours if tag is None else None
        if ours is not None:
            self.requested, self._requested_until = None, None
            self._items = {name: item for name, item in self._items.items() if name not in self._asked}
        elif not self.speaking:
            self._hold_until = None
        self._items = {name: item for name, item in self._items.items() if not item.confirmed}
        self.active = response
        return ours

    def done(self, response: str) -> None:
        """A response ended. One that we did not see begin leaves the known one alone."""
        if response == self.active:
            self.active, self._assumed = "", None

    def refused(self, now: Nanos, *, busy: bool) -> Request | None:
        """The server refused our request. When it was ``busy`` the request goes back to the head of the queue,
        otherwise it is returned, given up."""
        request, self.requested, self._requested_until = self.requested, None, None
        if request is None and busy:
            request, self._assumed = self._assumed, None
        if request is None:
            return None
        if busy:
            if not self.active:
                self._hold_until = max(self._hold_until or now, Nanos(now + RETRY_AFTER))
            if not request.plain:
                self._queue.appendleft(request)
            return None
        self._forget_asked(request)
        return request

    def overdue(self, now: Nanos) -> Request | None:
        """Our request, given up, when the server did not react to it in time."""
        if self._requested_until is None or now < self._requested_until:
            return None
        return self.refused(now, busy=False)

    # --- what to do --------------------------------------------------------------------------------------

    def next(self, now: Nanos) -> Request | None:
        """The request to send now, which then counts as sent."""
        if self.active or self.requested is not None:
            return None
        if self._hold_until is not None:
            if now < self._hold_until:
                return None
            self._hold_until = None
        request = self._queue.popleft() if self._queue else self._plain()
        if request is not None:
            self.requested, self._requested_until = request, Nanos(now + ANSWER_TIMEOUT)
            self._asked = set(self._items)
        return request

    def due(self) -> Nanos | None:
        """When time alone changes something."""
        waiting = bool(self._queue) or self._wanted()
        hold = self._hold_until if waiting and not self.active and self.requested is None else None
        return min((d for d in (hold, self._requested_until) if d is not None), default=None)

    def withdraw(self, request: Request) -> None:
        """Forget a queued request."""
        if request in self._queue:
            self._queue.remove(request)

    def _plain(self) -> Request | None:
        return Request(tag=self._next_tag(), plain=True) if self._wanted() else None

    def _wanted(self) -> bool:
        unfinished = set(self._open_calls.values())
        return any(item.batch not in unfinished for item in self._items.values())

    def _forget_asked(self, request: Request) -> None:
        if request.plain:
            self._items = {name: item for name, item in self._items.items() if name not in self._asked}

    def _next_tag(self) -> str:
        self._tags += 1
        return str(self._tags)
