"""One bounded inbox per call: everything that happens to a call, in one order.

Sources put from the event loop's thread and never wait. At the bound, provisional things (partial transcripts,
batches of audio, usage reports) give way first; control is never dropped silently: when only control is left,
the inbox overflows, which ends the call as a bug.
"""

import asyncio
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Final

from trunkline.calls.signals import Signal
from trunkline.engines.contract import Transcript, Usage
from trunkline.model import LocalError
from trunkline.telephony.media.port import Tap

CAPACITY: Final = 1024
"""Signals held. A call makes some 50 a second at most, so this is twenty seconds of a stalled flow."""


class InboxOverflow(LocalError):  # noqa: N818 - reads as what it says
    """More control signals wait than fit: the flow of the call does not keep up."""


@dataclass(slots=True, eq=False)
class Line:
    """One source's way into an inbox. Once closed, nothing of it is delivered any more, not even what waits."""

    inbox: "Inbox"
    open: bool = True

    def __call__(self, signal: Signal) -> None:
        """Put a signal; ignored when the line is closed."""
        if self.open:
            self.inbox.put(self, signal)

    def close(self) -> None:
        """Deliver nothing more of this source."""
        self.open = False


@dataclass(slots=True)
class Inbox:
    """A single consumer's queue. ``dropped`` counts by type name what gave way."""

    capacity: int = CAPACITY
    dropped: Counter[str] = field(default_factory=Counter)
    _waiting: deque[tuple[Line, Signal]] = field(default_factory=deque)
    _wanted: asyncio.Future[None] | None = None
    _overflowed: bool = False

    def __len__(self) -> int:
        return len(self._waiting)

    def line(self) -> Line:
        """A way in for a new source."""
        return Line(self)

    def put(self, line: Line, signal: Signal) -> None:
        """Append ``signal``, making room by the policy of this module when there is none."""
        if len(self._waiting) >= self.capacity and not self._make_room(signal):
            return
        self._waiting.append((line, signal))
        if self._wanted is not None and not self._wanted.done():
            self._wanted.set_result(None)

    async def get(self) -> Signal:
        """The next signal; waits for one. Raises ``InboxOverflow`` once control was lost. One caller at a time."""
        while True:
            if self._overflowed:
                raise InboxOverflow(
                    f"more than {self.capacity} control signals wait for one call",
                    hint="the process is overloaded or a peer floods the call",
                )
            while self._waiting:
                line, signal = self._waiting.popleft()
                if line.open:
                    return signal
            self._wanted = asyncio.get_running_loop().create_future()
            try:
                await self._wanted
            finally:
                self._wanted = None

    def drain(self) -> list[Signal]:
        """What waits now, without waiting for more."""
        waiting = [signal for line, signal in self._waiting if line.open]
        self._waiting.clear()
        return waiting

    def _make_room(self, newcomer: Signal) -> bool:
        """Whether ``newcomer`` may be appended."""
        if _gives_way(newcomer):
            self.dropped[type(newcomer).__name__] += 1
            return False
        for index, (line, signal) in enumerate(self._waiting):
            if not line.open or _gives_way(signal):
                self.dropped[type(signal).__name__] += 1
                del self._waiting[index]
                return True
        self.dropped[type(newcomer).__name__] += 1
        self._overflowed = True
        if self._wanted is not None and not self._wanted.done():
            self._wanted.set_result(None)
        return False


def _gives_way(signal: Signal) -> bool:
    return isinstance(signal, Tap | Usage) or (isinstance(signal, Transcript) and not signal.final)
