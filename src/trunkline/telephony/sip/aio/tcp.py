"""SIP over TCP: connections in both directions, found again for later messages, bounded in number and size."""

import asyncio
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol, cast

from trunkline.model import Nanos, seconds
from trunkline.telephony.sip.proto.errors import BadMessage
from trunkline.telephony.sip.proto.framing import StreamFramer
from trunkline.telephony.sip.proto.message import Request, Response
from trunkline.telephony.sip.proto.transport import Peer, Send

MAX_WRITE_BUFFER: Final = 1 << 20
"""Octets that may wait in one connection; a peer that reads slower loses the connection."""
MAX_WAITING: Final = 64
"""Messages that may wait for one connection to open."""
CONNECT_TIMEOUT_S: Final = 5.0
SWEEP_S: Final = 5.0
IDLE: Final = seconds(600)
PARTIAL: Final = seconds(30)


@dataclass(frozen=True, slots=True)
class TcpLimits:
    """Bounds of all TCP connections of one stack."""

    connections: int = 1000
    idle: Nanos = IDLE
    """A connection without traffic for so long is closed."""
    partial: Nanos = PARTIAL
    """So long may a message take to arrive whole."""


class Receiver(Protocol):
    """Where messages of connections go."""

    def received(self, message: Request | Response, peer: Peer) -> None: ...

    def broken(self, error: BadMessage, peer: Peer, data: bytes) -> None: ...

    def unsent(self, token: str) -> None: ...

    def now(self) -> Nanos: ...


class Connection(asyncio.Protocol):
    """One TCP connection."""

    def __init__(self, pool: "TcpPool", flow: int) -> None:
        self.flow = flow
        self.peer = Peer("TCP", "", 0, flow)
        self.open = False
        self.last_used = pool.receiver.now()
        self.partial_since: Nanos | None = None
        self._pool = pool
        self._framer = StreamFramer()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # What create_server promises; uvloop's class does not derive from asyncio.Transport.
        stream = cast("asyncio.Transport", transport)
        self._transport = stream
        address = stream.get_extra_info("peername")
        if address is None:
            # The peer was gone before we looked; ``connection_lost`` follows.
            stream.abort()
            return
        self.peer = Peer("TCP", address[0], address[1], self.flow)
        self.open = self._pool.opened(self)
        if not self.open:
            stream.abort()

    def data_received(self, data: bytes) -> None:
        if not self.open:
            return
        receiver = self._pool.receiver
        self.last_used = receiver.now()
        try:
            messages = self._framer.feed(data)
        except BadMessage as error:
            # What came whole before the damage is lost with it: after a framing error nothing can be trusted.
            receiver.broken(error, self.peer, data)
            self.close()
            return
        for _ in range(min(self._framer.pings, 8)):
            self.write(b"\r\n")
        self._framer.pings = 0
        self._note_partial()
        for message in messages:
            receiver.received(message, self.peer)

    def _note_partial(self) -> None:
        if not self._framer.partial:
            self.partial_since = None
        elif self.partial_since is None:
            self.partial_since = self.last_used

    def write(self, data: bytes) -> bool:
        """Queue octets; False, and the connection is closed, when the peer does not read."""
        if self._transport is None or not self.open:
            return False
        if self._transport.get_write_buffer_size() + len(data) > MAX_WRITE_BUFFER:
            self._pool.counters["tcp_slow_reader"] += 1
            self.abort()
            return False
        self.last_used = self._pool.receiver.now()
        self._transport.write(data)
        return True

    def close(self) -> None:
        """Close after what was written has left."""
        if self._transport is not None:
            self._transport.close()
        self._gone()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()
        self._gone()

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is not None:
            self._pool.counters["tcp_lost"] += 1
        self._gone()
        self._pool.closed(self)

    def _gone(self) -> None:
        self.open = False
        self._pool.forget(self)


class TcpPool:
    """All connections of one stack, by flow and by address."""

    def __init__(
        self,
        receiver: Receiver,
        *,
        limits: TcpLimits,
        counters: Counter[str],
        source_host: Callable[[str], str],
    ) -> None:
        self.receiver = receiver
        self.counters = counters
        self._limits = limits
        self._source_host = source_host
        self._flows: dict[int, Connection] = {}
        self._by_address: dict[tuple[str, int], Connection] = {}
        self._waiting: dict[tuple[str, int], deque[Send]] = {}
        self._living: set[Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._sweeper: asyncio.TimerHandle | None = None
        self._next_flow = 1

    def __len__(self) -> int:
        return len(self._flows)

    async def listen(self, host: str, port: int) -> int:
        """Accept connections; gives the port. Raises ``OSError``."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._make, host or None, port, backlog=512)
        self._sweep()
        return int(self._server.sockets[0].getsockname()[1])

    def send(self, item: Send) -> None:
        """Send over the flow, over a connection to the address, or over a new one."""
        peer = item.peer
        connection = self._flows.get(peer.flow) or self._by_address.get((peer.host, peer.port))
        if connection is not None:
            if not connection.write(item.data):
                self.receiver.unsent(item.token)
            return
        self._connect(item)

    def opened(self, connection: Connection) -> bool:
        """A connection was made; False when there are too many."""
        self._living.add(connection)
        if len(self._flows) >= self._limits.connections:
            self.counters["tcp_refused"] += 1
            return False
        self._flows[connection.flow] = connection
        self._by_address.setdefault((connection.peer.host, connection.peer.port), connection)
        self.counters["tcp_opened"] += 1
        return True

    def forget(self, connection: Connection) -> None:
        """Use a connection no more."""
        self._flows.pop(connection.flow, None)
        address = (connection.peer.host, connection.peer.port)
        if self._by_address.get(address) is connection:
            del self._by_address[address]

    def closed(self, connection: Connection) -> None:
        """The socket is really gone."""
        self._living.discard(connection)

    async def close(self) -> None:
        """Close listener and connections; all sockets are free when this returns."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._server is not None:
            self._server.close()
        for connection in list(self._living):
            connection.abort()
        if self._server is not None:
            await self._server.wait_closed()
        while self._living:
            turn = asyncio.get_running_loop().create_future()
            asyncio.get_running_loop().call_soon(turn.set_result, None)
            await turn

    def _make(self) -> Connection:
        flow = self._next_flow
        self._next_flow += 1
        return Connection(self, flow)

    # --- connections of ours ------------------------------------------------------------------------

    def _connect(self, item: Send) -> None:
        address = (item.peer.host, item.peer.port)
        waiting = self._waiting.get(address)
        if waiting is not None:
            if len(waiting) >= MAX_WAITING:
                self.counters["tcp_waiting_full"] += 1
                self.receiver.unsent(item.token)
            else:
                waiting.append(item)
            return
        if len(self._flows) + len(self._waiting) >= self._limits.connections:
            self.counters["tcp_refused"] += 1
            self.receiver.unsent(item.token)
            return
        self._waiting[address] = deque([item])
        task = asyncio.get_running_loop().create_task(self._open(address))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _open(self, address: tuple[str, int]) -> None:
        connection: Connection | None = None
        try:
            loop = asyncio.get_running_loop()
            source = self._source_host(address[0])
            local = (source, 0) if source else None
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                _, connection = await loop.create_connection(self._make, *address, local_addr=local)
        except (OSError, TimeoutError):
            self.counters["tcp_connect_failed"] += 1
        finally:
            waiting = self._waiting.pop(address)
        for item in waiting:
            if connection is None or not connection.write(item.data):
                self.receiver.unsent(item.token)

    def _sweep(self) -> None:
        now = self.receiver.now()
        for connection in list(self._flows.values()):
            since = connection.partial_since
            if since is not None and now - since > self._limits.partial:
                self.counters["tcp_partial"] += 1
                connection.abort()
            elif now - connection.last_used > self._limits.idle:
                self.counters["tcp_idle"] += 1
                connection.close()
        self._sweeper = asyncio.get_running_loop().call_later(SWEEP_S, self._sweep)
