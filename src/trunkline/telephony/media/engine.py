"""The media engine on the event loop: opens ports, hands out their events.

Owns the native engine's life, the one file descriptor it signals on, and the ports. It refuses to
look at audio or to decide anything: commands go down as they are, events come up as they are.
"""

import asyncio
import errno
import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from trunkline.model import LocalError, LocalProtocolError, Overloaded
from trunkline.telephony.media import convert, native
from trunkline.telephony.media.port import (
    MaskMode,
    MediaClosed,
    MediaEvent,
    MediaStats,
    RtpParameters,
    SocketSpec,
    WireProfile,
)

if TYPE_CHECKING:
    from trunkline import _native

log = logging.getLogger(__name__)

BATCH: Final = 256
"""Events taken from the native engine at one wake-up of the loop."""

MAX_EARLY_EVENTS: Final = 4096
"""Events of a port kept until ``listen``; then the oldest is dropped and counted."""

_OUT_OF_FILES: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


@dataclass(frozen=True, slots=True)
class MediaConfig:
    """How the media engine runs."""

    host: str = "127.0.0.1"
    """Literal address that RTP sockets are bound to."""
    port_low: int = 20000
    port_high: int = 29999
    """RTP takes the even port of a pair, RTCP the odd one; a call needs one pair."""
    threads: int = 1
    advertised_host: str = ""
    """Address for SDP when it is not ``host``, as behind a NAT."""
    quarantine_ms: int = 2000
    """How long the ports of a closed call rest before another call may get them."""
    rtp_silence_ms: int = 5000
    """``RtpSilence`` is reported after this long without RTP."""


@dataclass(frozen=True, slots=True)
class MediaTotals:
    """Counters of the whole engine, for metrics. All but the first two count from its start."""

    calls: int
    """Calls open now."""
    free_ports: int
    """Port pairs that could be had now."""
    opened: int
    panics: int
    """Sessions ended by a bug that was caught."""
    send_errors: int
    """Packets that the kernel did not take, of calls that have ended."""
    late_ticks: int
    """Ticks of 20 ms given up because a whole reactor stalled."""
    worst_lag_us: int
    """Longest lag of a tick since the totals were last asked for."""
    dropped_taps: int
    """Taps dropped because the event loop did not fetch them in time."""
    dropped_plays: int
    """Pieces of ``play`` audio refused because too many waited for a reactor."""
    recording_dropped_ms: int
    recording_failures: int
    dropped_events: int
    """Events dropped because a port had too many before anybody listened, or whose sink raised."""


class MediaEngine:
    """The media of all calls of this process; a ``MediaFactory``.

    ::

        async with MediaEngine(MediaConfig(host="192.0.2.7")) as engine:
            port = await engine.open("call-1")

    Raises ``Missing`` when the native part is not built, ``LocalError`` when it cannot start.
    """

    def __init__(self, config: MediaConfig | None = None) -> None:
        self.config = config or MediaConfig()
        self._module = native.load()
        self._native: _native.Engine | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ports: dict[int, _Port] = {}
        self._dropped_events = 0

    async def start(self) -> None:
        """Start the reactor threads and listen for their events on the running loop."""
        if self._native is not None:
            raise LocalProtocolError("the media engine was started twice")
        config = self.config
        try:
            self._native = self._module.engine(
                host=config.host,
                port_low=config.port_low,
                port_high=config.port_high,
                threads=config.threads,
                quarantine_ms=config.quarantine_ms,
                rtp_silence_ms=config.rtp_silence_ms,
            )
        except (ValueError, OverflowError, OSError) as error:
            raise LocalError(f"the media engine cannot start: {error}") from error
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._native.event_fd(), self._drain)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def open(self, name: str) -> "_Port":
        """A new session with free ports, named for logs. Raises ``Overloaded`` when none is free."""
        if self._native is None:
            raise LocalProtocolError("the media engine is not running")
        try:
            call = self._native.open()
        except self._module.no_port as error:
            raise Overloaded(str(error), hint="widen server.media.ports") from error
        except OSError as error:
            if error.errno in _OUT_OF_FILES:
                raise Overloaded(f"no media session can be opened: {error}") from error
            raise LocalError(f"cannot bind RTP sockets to {self.config.host}: {error}") from error
        port = _Port(name, self.config.advertised_host or self.config.host, call)
        self._ports[call.id] = port
        return port

    async def close(self) -> None:
        """Close every port and end the threads. Safe to call twice."""
        engine = self._native
        if engine is None or self._loop is None:
            return
        ports = list(self._ports.values())
        if ports:
            await asyncio.gather(*(port.close() for port in ports))
        self._native = None
        self._loop.remove_reader(engine.event_fd())
        await asyncio.to_thread(engine.shut_down)

    def totals(self) -> MediaTotals:
        """Counters now. Raises ``LocalProtocolError`` unless the engine runs."""
        if self._native is None:
            raise LocalProtocolError("the media engine is not running")
        return MediaTotals(dropped_events=self._dropped_events, **self._native.totals())

    def _drain(self) -> None:
        if self._native is None:
            return
        for call, kind, at, *fields in self._native.drain(BATCH):
            port = self._ports.get(call)
            if port is None:
                continue
            event = convert.event(kind, at, tuple(fields))
            if isinstance(event, MediaClosed):
                del self._ports[call]
            self._dropped_events += port.deliver(event)


class _Port:
    """A ``MediaPort`` over one native call."""

    def __init__(self, name: str, host: str, call: "_native.Call") -> None:
        self.name = name
        self._host = host
        self._call = call
        self._sink: Callable[[MediaEvent], None] | None = None
        self._early: deque[MediaEvent] = deque()
        self._closing = False
        self._closed: asyncio.Future[MediaClosed] = asyncio.get_running_loop().create_future()

    def __repr__(self) -> str:
        return f"<MediaPort {self.name} {self._host}:{self.local_port}>"

    @property
    def local_host(self) -> str:
        return self._host

    @property
    def local_port(self) -> int:
        return self._call.port

    def listen(self, sink: Callable[[MediaEvent], None]) -> None:
        self._sink = sink
        while self._early and self._sink is sink:
            self.deliver(self._early.popleft(), early=True)

    def deliver(self, event: MediaEvent, *, early: bool = False) -> int:
        """Hand an event to the sink; returns how many events were lost."""
        lost = 0
        if isinstance(event, MediaClosed) and not self._closed.done():
            self._closed.set_result(event)
        if self._sink is None or (self._early and not early):
            self._early.append(event)
            if len(self._early) > MAX_EARLY_EVENTS:
                self._early.popleft()
                lost = 1
            return lost
        try:
            self._sink(event)
        except Exception:
            # One call's mistake must not keep the events of the others from them.
            log.exception("%s: handling %s failed", self.name, type(event).__name__)
            lost = 1
        return lost

    def connect(self, parameters: RtpParameters) -> None:
        self._call.connect(
            host=parameters.remote_host,
            port=parameters.remote_port,
            codec=parameters.codec.value,
            payload_type=parameters.payload_type,
            clock_rate=parameters.clock_rate,
            ptime_ms=parameters.ptime_ms,
            dtmf_payload_type=parameters.dtmf_payload_type,
            rtcp_port=parameters.remote_rtcp_port,
            rtcp_mux=parameters.rtcp_mux,
            direction=parameters.direction.value,
        )

    def open_socket(self, spec: SocketSpec) -> None:
        self._call.open_socket(
            url=spec.url,
            headers=list(spec.headers.items()),
            subprotocols=list(spec.subprotocols),
            json=_json_keys(spec),
            up_encoding=spec.up_encoding,
            up_rate=spec.up_rate,
            down_encoding=spec.down_encoding,
            down_rate=spec.down_rate,
            batch_ms=spec.batch_ms,
            connect_timeout_ms=spec.connect_timeout_ms,
            max_message_bytes=spec.max_message_bytes,
            ca_file=spec.ca_file,
        )

    def open_tap(self, *, rate: int, batch_ms: int) -> None:
        self._call.open_tap(rate, batch_ms)

    def send_text(self, text: str) -> None:
        self._call.send_text(text)

    def play(self, item: str, pcm: bytes, rate: int) -> None:
        # In seconds, so that a long piece does not hold up the other calls of the reactor.
        second = max(rate, 1) * 2
        for start in range(0, len(pcm), second):
            self._call.play(item, pcm[start : start + second], rate)

    def end_item(self, item: str) -> None:
        self._call.end_item(item)

    def drop_item(self, item: str) -> None:
        self._call.drop_item(item)

    def close_engine(self) -> None:
        self._call.close_engine()

    def flush(self, *, fade_ms: int = 10) -> None:
        self._call.flush(fade_ms)

    def mask(self, name: str, pcm: bytes, rate: int, *, mode: MaskMode, loop: bool = False) -> None:
        self._call.mask(name, pcm, rate, mode.value, loop)

    def unmask(self, *, fade_ms: int = 40) -> None:
        self._call.unmask(fade_ms)

    def send_dtmf(self, digits: str, *, duration_ms: int = 100, gap_ms: int = 60) -> None:
        self._call.send_dtmf(digits, duration_ms, gap_ms)

    def record(self, path: Path) -> None:
        try:
            self._call.record(path)
        except OSError as error:
            raise LocalError(f"cannot record to {path}: {error.strerror}") from error

    def stats(self) -> MediaStats:
        return convert.stats(self._call.stats())

    async def close(self) -> MediaClosed:
        if not self._closing:
            self._closing = True
            self._call.close()
        closed = await asyncio.shield(self._closed)
        if closed.stats.engine_bad_messages:
            log.warning(
                "%s: %d engine messages held unusable audio", self.name, closed.stats.engine_bad_messages
            )
        return closed


def _json_keys(spec: SocketSpec) -> tuple[str, Sequence[str], str, str, str, str] | None:
    if spec.profile is WireProfile.BINARY:
        return None
    keys = spec.json
    types = [keys.down_type, *keys.also_down_types]
    return keys.type_key, types, keys.down_audio_key, keys.down_item_key, keys.up_prefix, keys.up_suffix
