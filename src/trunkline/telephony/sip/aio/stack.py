"""The shell around ``proto.UserAgent``: sockets, one timer, and a pump that empties its outbox.

Owns no SIP knowledge. Everything is bounded: datagrams that the kernel does not take are dropped like any
lost packet, connections and their buffers have limits, names are resolved by a limited number of tasks.
"""

import asyncio
import logging
import socket
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Self

from trunkline.model import Clock, ConfigError, Nanos
from trunkline.telephony.sip.aio.address import LocalAddresses, Resolve, Resolver
from trunkline.telephony.sip.aio.tcp import TcpLimits, TcpPool
from trunkline.telephony.sip.proto.core import Health, UaConfig
from trunkline.telephony.sip.proto.entropy import Entropy
from trunkline.telephony.sip.proto.errors import BadMessage
from trunkline.telephony.sip.proto.events import SipEvent
from trunkline.telephony.sip.proto.message import Request, Response
from trunkline.telephony.sip.proto.transport import Peer, Send
from trunkline.telephony.sip.proto.ua import Screen, UserAgent

log = logging.getLogger(__name__)

RECEIVE_BUFFER: Final = 4 << 20
MAX_RESOLVING: Final = 64
PORT_TRIES: Final = 16


@dataclass(frozen=True, slots=True)
class SipListen:
    """Where to listen. ``port`` 0 takes a free one, the same for UDP and TCP."""

    host: str = "127.0.0.1"
    port: int = 5060
    transports: tuple[str, ...] = ("udp", "tcp")
    advertise: str = ""
    """Address for Via, Contact and SDP when it differs from ``host`` (behind NAT)."""
    tcp: TcpLimits = field(default_factory=TcpLimits)


class SipStack:
    """A running SIP endpoint. ``on_event`` may be set until ``start``; it must not block."""

    def __init__(
        self,
        listen: SipListen,
        *,
        clock: Clock,
        entropy: Entropy,
        config: UaConfig | None = None,
        health: Callable[[], Health] | None = None,
        screen: Screen | None = None,
        resolve: Resolve | None = None,
    ) -> None:
        self.on_event: Callable[[SipEvent], None] | None = None
        self._listen = listen
        self._clock = clock
        self._addresses = LocalAddresses(listen.host, listen.advertise)
        self._ports = {"UDP": listen.port, "TCP": listen.port}
        self.ua = UserAgent(entropy=entropy, local=self._local, config=config, health=health, screen=screen)
        self._resolver = Resolver(clock.now, resolve)
        self._resolving: set[asyncio.Task[None]] = set()
        self._udp: asyncio.DatagramTransport | None = None
        self._udp_socket: socket.socket | None = None
        self._tcp: TcpPool | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._armed_for: Nanos | None = None
        self._pumping = False
        self._closed = False

    # --- life ---------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Open the sockets. Raises ``ConfigError`` with one clear sentence when that is impossible."""
        tries = PORT_TRIES if self._listen.port == 0 and len(self._listen.transports) > 1 else 1
        for left in range(tries - 1, -1, -1):
            try:
                await self._bind()
            except OSError as error:
                await self._close_sockets()
                if not left:
                    raise self._cannot_listen(error) from error
            else:
                return

    async def _bind(self) -> None:
        port = self._listen.port
        if "udp" in self._listen.transports:
            port = await self._bind_udp(port)
        if "tcp" in self._listen.transports:
            self._tcp = TcpPool(
                self,
                limits=self._listen.tcp,
                counters=self.ua.counters,
                source_host=lambda _: "" if self._listen.advertise else self._listen.host,
            )
            port = await self._tcp.listen(self._listen.host, port)
        self._ports = {"UDP": port, "TCP": port}

    async def _bind_udp(self, port: int) -> int:
        host = self._listen.host
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        opened = socket.socket(family, socket.SOCK_DGRAM)
        try:
            opened.setblocking(False)
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
            opened.bind((host, port))
        except OSError:
            opened.close()
            raise
        loop = asyncio.get_running_loop()
        self._udp, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(self), sock=opened)
        # Sent on the socket itself: what the kernel does not take now is dropped, so nothing queues up here.
        self._udp_socket = opened
        return int(opened.getsockname()[1])

    def _cannot_listen(self, error: OSError) -> ConfigError:
        where = f"{self._listen.host}:{self._listen.port}"
        return ConfigError(
            f"SIP cannot listen on {where}: {error.strerror or error}",
            hint="stop the program that uses this port, or set server.sip.port to a free one",
        )

    async def close(self) -> None:
        """Close all sockets and forget all timers. Calls that are still up are not told."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        for task in list(self._resolving):
            task.cancel()
        await asyncio.gather(*self._resolving, return_exceptions=True)
        await self._close_sockets()

    async def _close_sockets(self) -> None:
        if self._udp is not None:
            self._udp.close()
            self._udp = self._udp_socket = None
            await _turn()
        if self._tcp is not None:
            await self._tcp.close()
            self._tcp = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    # --- what legs use ------------------------------------------------------------------------------

    @property
    def host(self) -> str:
        return self._listen.host

    @property
    def port(self) -> int:
        """Port that is listened on."""
        return self._ports["UDP"]

    @property
    def listening(self) -> bool:
        """Whether every transport asked for is open."""
        wanted = {"udp": self._udp_socket, "tcp": self._tcp}
        return not self._closed and all(wanted[name] is not None for name in self._listen.transports)

    @property
    def counters(self) -> Counter[str]:
        return self.ua.counters

    @property
    def connections(self) -> int:
        """Open TCP connections."""
        return len(self._tcp) if self._tcp is not None else 0

    def now(self) -> Nanos:
        return self._clock.now()

    def kick(self) -> None:
        """Carry out what a command queued."""
        self._pump()

    def media_host(self, remote: str) -> str:
        """Address of ours that ``remote`` can reach, for SDP."""
        return self._addresses.towards(remote)

    # --- pump ---------------------------------------------------------------------------------------

    def _pump(self) -> None:
        if self._pumping or self._closed:
            return
        self._pumping = True
        try:
            for output in self.ua.poll():
                if isinstance(output, Send):
                    self._send(output)
                else:
                    self._hand_over(output)
        finally:
            self._pumping = False
        self._arm()

    def _hand_over(self, event: SipEvent) -> None:
        if self.on_event is None:
            return
        try:
            self.on_event(event)
        except Exception:
            # One call's handler must not stop the endpoint that all calls share.
            self.counters["handler_failed"] += 1
            log.exception("the handler of %s failed", type(event).__name__)

    def _arm(self) -> None:
        deadline = self.ua.deadline()
        if deadline == self._armed_for and self._timer is not None:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._armed_for = deadline
        if deadline is not None:
            loop = asyncio.get_running_loop()
            delay = max(0, deadline - self._clock.now()) / 1e9
            self._timer = loop.call_at(loop.time() + delay, self._fire)

    def _fire(self) -> None:
        self._timer = None
        self.ua.fire(self._clock.now())
        self._pump()

    # --- sending ------------------------------------------------------------------------------------

    def _send(self, item: Send) -> None:
        address = self._resolver.cached(item.peer.host)
        if address is not None:
            self._send_to(item, address)
        elif len(self._resolving) >= MAX_RESOLVING:
            self.counters["resolve_full"] += 1
            self.unsent(item.token)
        else:
            task = asyncio.get_running_loop().create_task(self._resolve_and_send(item))
            self._resolving.add(task)
            task.add_done_callback(self._resolving.discard)

    async def _resolve_and_send(self, item: Send) -> None:
        try:
            address = await self._resolver.resolve(item.peer.host)
        except OSError:
            self.counters["resolve_failed"] += 1
            self.unsent(item.token)
            return
        self._send_to(item, address)

    def _send_to(self, item: Send, address: str) -> None:
        peer = item.peer
        if peer.transport == "UDP" and self._udp_socket is not None:
            self._send_datagram(self._udp_socket, item, (address, peer.port))
        elif peer.transport == "TCP" and self._tcp is not None:
            literal = Peer("TCP", address, peer.port, peer.flow)
            self._tcp.send(Send(item.data, literal, item.token))
        else:
            self.counters["no_transport"] += 1
            self.unsent(item.token)

    def _send_datagram(self, udp: socket.socket, item: Send, address: tuple[str, int]) -> None:
        try:
            udp.sendto(item.data, address)
        except (BlockingIOError, InterruptedError):
            self.counters["udp_dropped"] += 1
        except OSError:
            # ECONNREFUSED of an earlier datagram, or an address that cannot be reached.
            self.counters["udp_error"] += 1
            self.unsent(item.token)

    def unsent(self, token: str) -> None:
        """A message could not be sent: tell its transaction, but never from inside a command."""
        if token and not self._closed:
            asyncio.get_running_loop().call_soon(self._report_unsent, token)

    def _report_unsent(self, token: str) -> None:
        if not self._closed:
            self.ua.transport_failed(token, self.now())
            self._pump()

    # --- receiving ----------------------------------------------------------------------------------

    def received_datagram(self, data: bytes, address: tuple[str, int]) -> None:
        """A datagram came."""
        peer = Peer("UDP", address[0], address[1])
        self.ua.receive_datagram(data, peer, self.now())
        self._pump()

    def received(self, message: Request | Response, peer: Peer) -> None:
        """A connection cut a message."""
        self.ua.receive(message, peer, self.now())
        self._pump()

    def broken(self, error: BadMessage, peer: Peer, data: bytes) -> None:
        """A connection could not be cut; it is closed after the answer."""
        self.ua.malformed(data, error, peer, self.now())
        self._pump()

    def _local(self, transport: str, remote: str) -> tuple[str, int]:
        return self._addresses.towards(remote), self._ports.get(transport, self._ports["UDP"])


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, stack: SipStack) -> None:
        self._stack = stack

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._stack.received_datagram(data, addr)

    def error_received(self, exc: Exception) -> None:  # noqa: ARG002 - asyncio's signature
        # An ICMP error names no transaction; its timer will.
        self._stack.counters["udp_error"] += 1


async def _turn() -> None:
    """Let the loop run once, so that closed transports give up their sockets."""
    loop = asyncio.get_running_loop()
    turn = loop.create_future()
    loop.call_soon(turn.set_result, None)
    await turn


__all__ = ["SipListen", "SipStack"]
