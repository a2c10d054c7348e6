"""A media port in memory: the whole contract of ``telephony.media.port``, without sockets, threads or audio.

The test plays the peer's and the engine's part with the methods under "what the outside does". Playout follows
the injected clock, so that heard milliseconds are exact. ``FakeMediaFactory`` counts what is open.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from pathlib import Path

from trunkline.model import MS, SECOND, Clock, Nanos, Overloaded
from trunkline.telephony.media.port import (
    CallerSpeech,
    Digit,
    EngineClosed,
    EngineOpened,
    EngineText,
    FirstPacket,
    MaskMode,
    MediaClosed,
    MediaEvent,
    MediaFailed,
    MediaStats,
    RtpParameters,
    RtpSilence,
    SocketSpec,
    Tap,
)
from trunkline.testing.events import Journal
from trunkline.testing.playout import Playout

MAX_UNHEARD_EVENTS = 10_000


class FakeMediaPort:
    """One call's media. Everything asked of it is in its public lists; commands are also put in the journal."""

    def __init__(
        self,
        clock: Clock,
        *,
        name: str = "call",
        local_port: int = 20000,
        journal: Journal | None = None,
        on_close: Callable[["FakeMediaPort"], None] | None = None,
    ) -> None:
        self.name = name
        self.journal = journal or Journal()
        self.playout = Playout(at=clock.now())
        self.connected: list[RtpParameters] = []
        self.socket: SocketSpec | None = None
        self.socket_open = False
        self.tap: tuple[int, int] | None = None
        self.sent: list[str] = []
        self.digits_sent: list[str] = []
        self.recordings: list[Path] = []
        self.closed: MediaClosed | None = None
        self.failed = False
        self.received = 0
        """RTP packets of the peer, for the counters."""
        self._clock = clock
        self._local_port = local_port
        self._on_close = on_close
        self._sink: Callable[[MediaEvent], None] | None = None
        self._outbox: deque[MediaEvent] = deque(maxlen=MAX_UNHEARD_EVENTS)
        self._delivery: asyncio.Handle | None = None
        self._pump: asyncio.Task[None] | None = None

    # --- what trunkline asks of a media port -------------------------------------------------------------

    @property
    def local_host(self) -> str:
        return "127.0.0.1"

    @property
    def local_port(self) -> int:
        return self._local_port

    def listen(self, sink: Callable[[MediaEvent], None]) -> None:
        self._sink = sink
        self._deliver()

    def connect(self, parameters: RtpParameters) -> None:
        if self._live("connect", parameters):
            self.connected.append(parameters)

    def open_socket(self, spec: SocketSpec) -> None:
        if self._live("open_socket", spec.url):
            self.socket = spec
            self.socket_open = False

    def open_tap(self, *, rate: int, batch_ms: int) -> None:
        if self._live("open_tap", (rate, batch_ms)):
            self.tap = (rate, batch_ms)

    def send_text(self, text: str) -> None:
        if self._live("send_text", text) and self.socket_open:
            self.sent.append(text)

    def play(self, item: str, pcm: bytes, rate: int) -> None:
        if self._live("play", item):
            self._emit(*self.playout.add(item, len(pcm) // 2 * SECOND // rate, self._now()))

    def end_item(self, item: str) -> None:
        if self._live("end_item", item):
            self._emit(*self.playout.end(item, self._now()))

    def drop_item(self, item: str) -> None:
        if self._live("drop_item", item):
            self._emit(*self.playout.drop(item, self._now()))

    def close_engine(self) -> None:
        if not self._live("close_engine"):
            return
        was_socket, self.socket, self.tap = self.socket is not None, None, None
        self.socket_open = False
        if was_socket:
            self._emit(EngineClosed(at=self._now(), code=1000, reason="", by_us=True))

    def flush(self, *, fade_ms: int = 10) -> None:
        if self._live("flush", fade_ms):
            self._emit(*self.playout.flush(fade_ms, self._now()))

    def mask(self, name: str, pcm: bytes, rate: int, *, mode: MaskMode, loop: bool = False) -> None:
        if self._live("mask", name):
            length = len(pcm) // 2 * SECOND // rate
            self._emit(*self.playout.mask(name, length, mode, loop=loop, now=self._now()))

    def unmask(self, *, fade_ms: int = 40) -> None:
        if self._live("unmask", fade_ms):
            self._emit(*self.playout.unmask(fade_ms, self._now()))

    def send_dtmf(self, digits: str, *, duration_ms: int = 100, gap_ms: int = 60) -> None:
        if self._live("send_dtmf", (digits, duration_ms, gap_ms)):
            self.digits_sent.append(digits)

    def record(self, path: Path) -> None:
        if self._live("record", path.name):
            self.recordings.append(path)

    def stats(self) -> MediaStats:
        sent = sum(span for _, span in self.playout.played) // (20 * MS)
        return MediaStats(
            rtp_received=self.received, rtp_sent=sent, playout_dropped_ms=self.playout.dropped_ms
        )

    async def close(self) -> MediaClosed:
        if self.closed is None:
            self.journal.note("media", "close")
            self._stop_pump()
            self._outbox.extend(self.playout.advance(self._now()))
            if self.socket is not None:
                self.socket, self.socket_open = None, False
                self._outbox.append(EngineClosed(at=self._now(), code=1000, reason="", by_us=True))
            stats = self.stats()
            last = self._now() if stats.rtp_sent else Nanos(0)
            self.closed = MediaClosed(at=self._now(), last_rtp_sent_at=last, stats=stats)
            self._outbox.append(self.closed)
            self._deliver()
            if self._delivery is not None:
                self._delivery.cancel()
                self._delivery = None
            if self._on_close is not None:
                self._on_close(self)
        return self.closed

    # --- what the outside does ---------------------------------------------------------------------------

    def engine_opens(self, subprotocol: str = "") -> None:
        """The engine accepts the WebSocket asked for."""
        assert self.socket is not None, "nobody asked for a socket"
        self.socket_open = True
        self._emit(EngineOpened(at=self._now(), subprotocol=subprotocol))

    def engine_says(self, text: str) -> None:
        """A text message of the engine arrives."""
        assert self.socket_open, "no socket is open"
        self._emit(EngineText(at=self._now(), text=text))

    def engine_audio(self, item: str, span_ms: int) -> None:
        """Audio of the engine arrives on its socket; faster than real time is usual."""
        assert self.socket_open, "no socket is open"
        self._emit(*self.playout.add(item, span_ms * MS, self._now()))

    def engine_closes(self, code: int = 1006, reason: str = "", *, status: int = 0) -> None:
        """The engine's socket goes away, or with ``status`` the handshake is refused."""
        self.socket, self.socket_open = None, False
        self._emit(EngineClosed(at=self._now(), code=code, reason=reason, status=status))

    def first_packet(self, source: str = "127.0.0.1:40000") -> None:
        """The peer's RTP begins."""
        self._emit(FirstPacket(at=self._now(), source=source))

    def caller_speaks(self, *, lag_ms: int = 40) -> None:
        """Own VAD: the caller began."""
        self._emit(CallerSpeech(at=self._now(), started=True, lag_ms=lag_ms))

    def caller_stops(self, *, lag_ms: int = 200) -> None:
        """Own VAD: the caller ended."""
        self._emit(CallerSpeech(at=self._now(), started=False, lag_ms=lag_ms))

    def caller_presses(self, digits: str) -> None:
        """Digits by RFC 4733."""
        self._emit(*(Digit(at=self._now(), digit=digit, duration_ms=100) for digit in digits))

    def caller_audio(self, pcm: bytes) -> None:
        """A batch of the caller's audio, at the rate the tap was opened with."""
        assert self.tap is not None, "no tap is open"
        self._emit(Tap(at=self._now(), pcm=pcm, rate=self.tap[0]))

    def rtp_silence(self, quiet_ms: int) -> None:
        """The peer's RTP stopped."""
        self._emit(RtpSilence(at=self._now(), quiet_ms=quiet_ms))

    def fails(self, detail: str = "socket error", *, bug: bool = False) -> None:
        """The media session dies."""
        self.failed = True
        self._emit(MediaFailed(at=self._now(), detail=detail, bug=bug))

    # --- inside ------------------------------------------------------------------------------------------

    def _now(self) -> Nanos:
        return self._clock.now()

    def _live(self, command: str, detail: object = None) -> bool:
        self.journal.note("media", command, detail)
        return self.closed is None

    def _emit(self, *events: MediaEvent) -> None:
        if self.closed is not None:
            return
        self._outbox.extend(events)
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self._deliver()
            return
        if self._outbox and self._delivery is None:
            self._delivery = loop.call_soon(self._deliver_scheduled)
        self._restart_pump()

    def _deliver_scheduled(self) -> None:
        self._delivery = None
        self._deliver()

    def _deliver(self) -> None:
        while self._sink is not None and self._outbox:
            self._sink(self._outbox.popleft())

    def _restart_pump(self) -> None:
        self._stop_pump()
        if self.playout.next_deadline() is not None:
            self._pump = asyncio.get_running_loop().create_task(self._run(), name=f"fake media {self.name}")

    def _stop_pump(self) -> None:
        if self._pump is not None:
            self._pump.cancel()
            self._pump = None

    async def _run(self) -> None:
        while (due := self.playout.next_deadline()) is not None:
            await self._clock.sleep_until(due)
            self._outbox.extend(self.playout.advance(self._now()))
            self._deliver()


class FakeMediaFactory:
    """Opens fake ports and knows which are open."""

    def __init__(
        self,
        clock: Clock,
        *,
        limit: int = 10_000,
        journal: Journal | None = None,
        port_type: type[FakeMediaPort] = FakeMediaPort,
    ) -> None:
        self.opened: list[FakeMediaPort] = []
        self.open_ports: dict[int, FakeMediaPort] = {}
        self._clock = clock
        self._limit = limit
        self._journal = journal
        self._port_type = port_type
        self._free: list[int] = []
        self._next = 20_000

    async def open(self, name: str) -> FakeMediaPort:
        """A new port; raises ``Overloaded`` when ``limit`` are open."""
        if len(self.open_ports) >= self._limit:
            raise Overloaded(f"all {self._limit} media ports are in use", hint="raise the limit or end calls")
        number = self._free.pop() if self._free else self._next
        if number == self._next:
            self._next += 2
        port = self._port_type(
            self._clock, name=name, local_port=number, journal=self._journal, on_close=self._release
        )
        self.open_ports[number] = port
        self.opened.append(port)
        return port

    def _release(self, port: FakeMediaPort) -> None:
        del self.open_ports[port.local_port]
        self._free.append(port.local_port)
