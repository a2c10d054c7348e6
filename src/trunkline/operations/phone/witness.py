"""A witness between the media core and the network: every RTP packet of a phone passes it and is noted.

A ``WitnessedMedia`` opens media ports of another factory and puts sockets of its own in front of each: the
address in the SDP is the witness's, which forwards both ways. So a phone knows from the wire, and not from the
core's own word, what it sent and heard, from whom and when; and because the sockets outlive the media port,
also what still arrives after the core has let go. It refuses to change a packet.
"""

import asyncio
import datetime as dt
import errno
import socket
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

from trunkline.model import SECOND, Clock, Nanos, Overloaded
from trunkline.operations.phone.wire import WireLog
from trunkline.telephony.media.port import (
    MaskMode,
    MediaClosed,
    MediaEvent,
    MediaFactory,
    MediaPort,
    MediaStats,
    RtpParameters,
    SocketSpec,
)

Address = tuple[str, int]
Received = Callable[[bytes, Address, Nanos], None]
"""A datagram, where it came from, and when the kernel got it."""

MAX_DATAGRAM: Final = 2048
SO_TIMESTAMPNS: Final = 35
"""Linux ``asm-generic/socket.h``: arrival times with the datagrams; Python's socket module does not name it."""

NOTES: Final = socket.CMSG_SPACE(64)
_TIMESPEC: Final = struct.Struct("@ll")
MAX_WAIT: Final = 10 * SECOND
"""A datagram that seems to have waited longer was stamped before the wall clock was set."""

BATCH: Final = 64
"""Datagrams read at one wake-up, so that a flood on one socket does not starve the others."""

PAIR_ATTEMPTS: Final = 64


class _Socket:
    """One non-blocking UDP socket on the event loop. What the kernel does not take at once is dropped."""

    def __init__(self, loop: asyncio.AbstractEventLoop, sock: socket.socket, clock: Clock) -> None:
        self._loop = loop
        self._sock = sock
        self._clock = clock
        self.address: Address = sock.getsockname()[:2]
        self.dropped = 0

    def listen(self, received: Received) -> None:
        self._loop.add_reader(self._sock.fileno(), self._readable, received)

    def _readable(self, received: Received) -> None:
        now, wall = self._clock.now(), _nanoseconds(self._clock.wall())
        for _ in range(BATCH):
            try:
                data, notes, _, source = self._sock.recvmsg(MAX_DATAGRAM, NOTES)
            except BlockingIOError:
                return
            except (
                OSError
            ):  # an ICMP error of an earlier packet: nobody listens there, which is not our failure
                continue
            waited = wall - _stamped(notes, wall)
            received(data, source[:2], Nanos(now - min(max(0, waited), MAX_WAIT)))

    def send(self, data: bytes, to: Address) -> bool:
        try:
            self._sock.sendto(data, to)
        except OSError:
            self.dropped += 1
            return False
        return True

    def close(self) -> None:
        self._loop.remove_reader(self._sock.fileno())
        self._sock.close()


def _nanoseconds(moment: dt.datetime) -> int:
    return int(moment.timestamp()) * SECOND + moment.microsecond * 1000


def _stamped(notes: list[tuple[int, int, bytes]], otherwise: int) -> int:
    """The kernel's own time of a datagram's arrival (wall clock), so that a busy process does not look like a
    late sender."""
    for level, kind, data in notes:
        if level == socket.SOL_SOCKET and kind == SO_TIMESTAMPNS and len(data) >= _TIMESPEC.size:
            seconds, nanos = _TIMESPEC.unpack_from(data)
            return int(seconds) * SECOND + int(nanos)
    return otherwise


def bind_pair(host: str) -> tuple[socket.socket, socket.socket]:
    """Two bound UDP sockets on an even port and the next one (RFC 3550 section 11)."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for _ in range(PAIR_ATTEMPTS):
        first = socket.socket(family, socket.SOCK_DGRAM)
        second = socket.socket(family, socket.SOCK_DGRAM)
        try:
            first.bind((host, 0))
            port = first.getsockname()[1]
            if port % 2 == 0:
                second.bind((host, port + 1))
                first.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
                first.setblocking(False)
                second.setblocking(False)
                return first, second
        except OSError as failed:
            if failed.errno != errno.EADDRINUSE:
                first.close()
                second.close()
                raise Overloaded(f"cannot open RTP ports on {host}: {failed.strerror}") from failed
        first.close()
        second.close()
    raise Overloaded(f"no free pair of RTP ports on {host}")


class WitnessedPort:
    """A ``MediaPort`` whose packets pass a witness; ``log`` has them all."""

    def __init__(self, inner: MediaPort, clock: Clock, loop: asyncio.AbstractEventLoop, *, host: str) -> None:
        self._inner = inner
        self._clock = clock
        self._rtp, self._rtcp = (_Socket(loop, sock, clock) for sock in bind_pair(host))
        inside = inner.local_host
        try:
            self._core_rtp, self._core_rtcp = (_Socket(loop, sock, clock) for sock in bind_pair(inside))
        except Overloaded:
            self._rtp.close()
            self._rtcp.close()
            raise
        self._core: Address = (inside, inner.local_port)
        self._far: RtpParameters | None = None
        self._let_go = False
        self.log = WireLog()
        self._rtp.listen(self._from_network)
        self._rtcp.listen(self._rtcp_from_network)
        self._core_rtp.listen(self._from_core)
        self._core_rtcp.listen(self._rtcp_from_core)

    # --- packets --------------------------------------------------------------------------------------

    def _from_network(self, data: bytes, source: Address, at: Nanos) -> None:
        self.log.add(data, at, f"{source[0]}:{source[1]}", sent=False)
        if not self._let_go and self._far is not None and source[0] == self._far.remote_host:
            self._core_rtp.send(data, self._core)

    def _from_core(self, data: bytes, source: Address, _at: Nanos) -> None:
        if self._let_go or self._far is None or source != self._core:
            return
        to = (self._far.remote_host, self._far.remote_port)
        if self._rtp.send(data, to):
            self.log.add(data, self._clock.now(), f"{to[0]}:{to[1]}", sent=True)

    def _rtcp_from_network(self, data: bytes, source: Address, _at: Nanos) -> None:
        if not self._let_go and self._far is not None and source[0] == self._far.remote_host:
            self._core_rtcp.send(data, (self._core[0], self._core[1] + 1))

    def _rtcp_from_core(self, data: bytes, source: Address, _at: Nanos) -> None:
        if self._let_go or self._far is None or source != (self._core[0], self._core[1] + 1):
            return
        port = self._far.remote_rtcp_port or self._far.remote_port + 1
        self._rtcp.send(data, (self._far.remote_host, port))

    def let_go(self) -> None:
        """Send nothing more, whatever the core does; what arrives is still noted."""
        self._let_go = True

    def take_up(self) -> None:
        """Undo ``let_go``."""
        self._let_go = False

    def close_witness(self) -> None:
        """Close the sockets. The port itself must be closed as well."""
        for sock in (self._rtp, self._rtcp, self._core_rtp, self._core_rtcp):
            sock.close()

    @property
    def dropped(self) -> int:
        """Packets the kernel did not take from us."""
        return self._rtp.dropped + self._core_rtp.dropped

    # --- the media port, in front of the other ----------------------------------------------------------

    @property
    def local_host(self) -> str:
        return self._rtp.address[0]

    @property
    def local_port(self) -> int:
        return self._rtp.address[1]

    def connect(self, parameters: RtpParameters) -> None:
        """Note where the far end is, and give the core the witness's address in its place."""
        self._far = parameters
        self.log.codec(parameters.payload_type, parameters.codec)
        host, port = self._core_rtp.address
        self._inner.connect(
            replace(
                parameters, remote_host=host, remote_port=port, remote_rtcp_port=self._core_rtcp.address[1]
            )
        )

    def listen(self, sink: Callable[[MediaEvent], None]) -> None:
        self._inner.listen(sink)

    def open_socket(self, spec: SocketSpec) -> None:
        self._inner.open_socket(spec)

    def open_tap(self, *, rate: int, batch_ms: int) -> None:
        self._inner.open_tap(rate=rate, batch_ms=batch_ms)

    def send_text(self, text: str) -> None:
        self._inner.send_text(text)

    def play(self, item: str, pcm: bytes, rate: int) -> None:
        self._inner.play(item, pcm, rate)

    def end_item(self, item: str) -> None:
        self._inner.end_item(item)

    def drop_item(self, item: str) -> None:
        self._inner.drop_item(item)

    def close_engine(self) -> None:
        self._inner.close_engine()

    def flush(self, *, fade_ms: int = 10) -> None:
        self._inner.flush(fade_ms=fade_ms)

    def mask(self, name: str, pcm: bytes, rate: int, *, mode: MaskMode, loop: bool = False) -> None:
        self._inner.mask(name, pcm, rate, mode=mode, loop=loop)

    def unmask(self, *, fade_ms: int = 40) -> None:
        self._inner.unmask(fade_ms=fade_ms)

    def send_dtmf(self, digits: str, *, duration_ms: int = 100, gap_ms: int = 60) -> None:
        self._inner.send_dtmf(digits, duration_ms=duration_ms, gap_ms=gap_ms)

    def record(self, path: Path) -> None:
        self._inner.record(path)

    def stats(self) -> MediaStats:
        return self._inner.stats()

    async def close(self) -> MediaClosed:
        """Close the core's session. The witness listens on until its factory is closed."""
        self.let_go()
        return await self._inner.close()


class WitnessedMedia:
    """A ``MediaFactory`` that puts a witness in front of every port of another factory.

    The other's ports are only ever talked to by the witness, so they belong on loopback; the witness's own
    sockets are on ``host``.
    """

    def __init__(self, inner: MediaFactory, clock: Clock, *, host: str) -> None:
        self._inner = inner
        self._clock = clock
        self._host = host
        self.ports: list[WitnessedPort] = []

    async def open(self, name: str) -> MediaPort:
        """A witnessed port. Raises ``Overloaded`` when no sockets are free."""
        inner = await self._inner.open(name)
        try:
            port = WitnessedPort(inner, self._clock, asyncio.get_running_loop(), host=self._host)
        except BaseException:
            await inner.close()
            raise
        self.ports.append(port)
        return port

    def witness_of(self, media: MediaPort) -> WitnessedPort:
        """The witness that ``media``, opened here, is."""
        return next(port for port in self.ports if port is media)

    def close(self) -> None:
        """Stop listening on every witness's sockets."""
        for port in self.ports:
            port.close_witness()
        self.ports.clear()
