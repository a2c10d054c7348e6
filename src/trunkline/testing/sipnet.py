"""SIP endpoints on a virtual clock, joined by a seeded network that loses, delays, repeats and reorders.

Hours of calls pass in milliseconds and every run with the same seed is the same run. Streams (TCP) are
delivered in order and without loss, as TCP would.
"""

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from trunkline.model import Nanos, seconds
from trunkline.model.units import MS
from trunkline.telephony.sip.proto import (
    Health,
    Peer,
    Request,
    Response,
    Send,
    SipEvent,
    StreamFramer,
    UaConfig,
    UserAgent,
    parse_datagram,
)
from trunkline.telephony.sip.proto.message import response_to, set_body
from trunkline.telephony.sip.proto.ua import Screen

_DELAY: Final = Nanos(5 * MS)
_NONE: Final = Nanos(0)


@dataclass(frozen=True, slots=True)
class Weather:
    """What the network does to datagrams. Chances from 0 to 1."""

    loss: float = 0.0
    duplicate: float = 0.0
    delay: Nanos = _DELAY
    jitter: Nanos = _NONE
    """Up to so much more delay per datagram, which also reorders."""


@dataclass(slots=True)
class SipNode:
    """One endpoint: a user agent at an address, and what it told its user."""

    net: "SipNetwork"
    host: str
    port: int
    ua: UserAgent
    events: list[SipEvent] = field(default_factory=list)
    on_event: Callable[[SipEvent], None] | None = None
    closed: bool = False

    def now(self) -> Nanos:
        return self.net.now

    def kick(self) -> None:
        """Carry out what a command queued."""
        self.net.pump(self)

    def media_host(self, remote: str) -> str:
        """Address for SDP."""
        del remote
        return self.host

    @property
    def uri(self) -> str:
        return f"sip:{self.host}:{self.port}"

    def last(self, kind: type) -> SipEvent:
        """The newest event of a kind; fails when there is none."""
        for event in reversed(self.events):
            if isinstance(event, kind):
                return event
        raise AssertionError(f"no {kind.__name__} among {[type(e).__name__ for e in self.events]}")

    def of(self, kind: type) -> list[SipEvent]:
        """All events of a kind."""
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def idle(self) -> bool:
        """Whether the endpoint holds no state at all."""
        ua = self.ua
        return not (ua.sessions or ua.dialogs or ua.transactions or ua.timers or ua.traces)


@dataclass(slots=True)
class Stranger:
    """A peer that is nothing but bytes at an address: for scripted and malformed behaviour."""

    net: "SipNetwork"
    host: str
    port: int
    received: list[Request | Response] = field(default_factory=list)

    def send(self, target: SipNode, data: bytes) -> None:
        """A datagram, delivered at once."""
        self.net.inject(data, (self.host, self.port), target)

    def request(
        self,
        method: str,
        *,
        to: str = "<sip:1000@10.0.0.2>",
        uri: str = "sip:1000@10.0.0.2",
        cseq: str = "",
        branch: str = "z9hG4bK-1",
        tag: str = "stranger",
        call_id: str = "stranger-call",
        headers: tuple[str, ...] = (),
        body: bytes = b"",
        length: bool = True,
        name: bytes = b"",
    ) -> bytes:
        """A request as bytes. ``headers`` are whole lines; ``name`` is a raw display name for From."""
        lines = [
            f"{method} {uri} SIP/2.0",
            f"Via: SIP/2.0/UDP {self.host}:{self.port};branch={branch};rport",
            "Max-Forwards: 70",
            f"To: {to}",
            f"Call-ID: {call_id}",
            f"CSeq: {cseq or '1 ' + method}",
            f"Contact: <sip:stranger@{self.host}:{self.port}>",
            *headers,
        ]
        if body and not any(line.lower().startswith("content-type") for line in headers):
            lines.append("Content-Type: application/sdp")
        if length:
            lines.append(f"Content-Length: {len(body)}")
        from_ = b"From: " + name + f"<sip:stranger@{self.host}>;tag={tag}".encode()
        return b"\r\n".join([*(line.encode() for line in lines), from_, b"", body])

    def respond(
        self,
        request: Request,
        status: int,
        *,
        tag: str = "",
        headers: tuple[str, ...] = (),
        body: bytes = b"",
    ) -> bytes:
        """A response to a request that was received."""
        response = response_to(request, status, to_tag=tag)
        for line in headers:
            header, _, value = line.partition(": ")
            response.headers.add(header, value)
        set_body(response, body, "application/sdp")
        return response.to_bytes()

    def responses(self, method: str = "") -> list[Response]:
        """Responses received, those to ``method`` when given."""
        found = [message for message in self.received if isinstance(message, Response)]
        return [message for message in found if not method or message.cseq.method == method]

    def requests(self, method: str) -> list[Request]:
        """Requests received with this method."""
        found = [message for message in self.received if isinstance(message, Request)]
        return [message for message in found if message.method == method]


Tamper = Callable[[SipNode, Send], bytes | None]
"""Sees every message before it leaves; gives what is sent instead, None to lose it."""


class SipNetwork:
    """The network and its clock."""

    def __init__(self, *, seed: int = 1, weather: Weather | None = None) -> None:
        self.now = seconds(1000)
        self.weather = weather or Weather()
        self.tamper: Tamper | None = None
        self.wire: list[tuple[Nanos, str, str, Request | Response]] = []
        """Every message that left: time, from, to, parsed."""
        self.keep_wire = True
        self._random = random.Random(seed)
        self._nodes: dict[tuple[str, int], SipNode] = {}
        self._strangers: dict[tuple[str, int], Stranger] = {}
        self._queue: list[tuple[int, int, Callable[[], None]]] = []
        self._serial = 0

    # --- endpoints ----------------------------------------------------------------------------------

    def node(
        self,
        host: str,
        port: int = 5060,
        *,
        config: UaConfig | None = None,
        health: Callable[[], Health] | None = None,
        screen: Screen | None = None,
    ) -> SipNode:
        """A new endpoint."""
        seeded = random.Random(f"{host}:{port}:{self._random.random()}")
        ua = UserAgent(
            entropy=seeded.randbytes,
            local=lambda *_: (host, port),
            config=config,
            health=health,
            screen=screen,
        )
        node = self._nodes[host, port] = SipNode(self, host, port, ua)
        return node

    def stranger(self, host: str, port: int = 5060) -> Stranger:
        """A peer of bytes."""
        found = self._strangers[host, port] = Stranger(self, host, port)
        return found

    def pump(self, node: SipNode) -> None:
        """Carry out what the node's user agent wants."""
        for output in node.ua.poll():
            if isinstance(output, Send):
                self._send(node, output)
            else:
                node.events.append(output)
                if node.on_event is not None:
                    node.on_event(output)

    # --- time ---------------------------------------------------------------------------------------

    def after(self, delay: int, what: Callable[[], None]) -> None:
        """Do something at a later time."""
        self._serial += 1
        heapq.heappush(self._queue, (self.now + delay, self._serial, what))

    def step(self, limit: Nanos) -> bool:
        """Go to the next thing that happens until ``limit``; False when there is none."""
        for node in self._nodes.values():
            self.pump(node)
        when = self._next()
        if when is None or when > limit:
            return False
        self.now = Nanos(max(self.now, when))
        while self._queue and self._queue[0][0] <= self.now:
            heapq.heappop(self._queue)[2]()
        for node in self._nodes.values():
            if not node.closed:
                node.ua.fire(self.now)
                self.pump(node)
        return True

    def run(self, span: int) -> None:
        """Let ``span`` nanoseconds pass."""
        limit = Nanos(self.now + span)
        while self.step(limit):
            pass
        self.now = limit

    def until(self, condition: Callable[[], bool], *, limit: int = 3600 * 10**9) -> None:
        """Let time pass until something is true; fails when it never is."""
        end = Nanos(self.now + limit)
        while not condition():
            if not self.step(end):
                raise AssertionError("it never happened")

    def settle(self) -> None:
        """Let time pass until nothing is left to happen."""
        while self.step(Nanos(2**62)):
            pass

    def _next(self) -> Nanos | None:
        times = [node.ua.deadline() for node in self._nodes.values() if not node.closed]
        due = [when for when in times if when is not None]
        if self._queue:
            due.append(Nanos(self._queue[0][0]))
        return min(due) if due else None

    # --- wire ---------------------------------------------------------------------------------------

    def inject(self, data: bytes, source: tuple[str, int], target: SipNode) -> None:
        """A datagram from nowhere."""
        target.ua.receive_datagram(data, Peer("UDP", *source), self.now)
        self.pump(target)

    def _send(self, node: SipNode, item: Send) -> None:
        data: bytes | None = item.data
        if self.tamper is not None:
            data = self.tamper(node, item)
        peer = item.peer
        if self.keep_wire and data is not None:
            message = parse_datagram(data)
            self.wire.append((self.now, f"{node.host}:{node.port}", f"{peer.host}:{peer.port}", message))
        stranger = self._strangers.get((peer.host, peer.port))
        if stranger is not None and data is not None:
            stranger.received.append(parse_datagram(data))
            return
        target = self._nodes.get((peer.host, peer.port))
        if peer.transport == "TCP":
            self._send_stream(node, item, data, target)
        elif data is not None and target is not None:
            self._send_datagram(node, data, target)

    def _send_datagram(self, node: SipNode, data: bytes, target: SipNode) -> None:
        weather = self.weather
        copies = 1 + (self._random.random() < weather.duplicate)
        for _ in range(copies):
            if self._random.random() < weather.loss:
                continue
            delay = weather.delay + round(self._random.random() * weather.jitter)
            self.after(delay, lambda: self._deliver(node, data, target))

    def _deliver(self, node: SipNode, data: bytes, target: SipNode) -> None:
        if not target.closed:
            target.ua.receive_datagram(data, Peer("UDP", node.host, node.port), self.now)
            self.pump(target)

    def _send_stream(self, node: SipNode, item: Send, data: bytes | None, target: SipNode | None) -> None:
        if target is None or target.closed:
            self.after(self.weather.delay, lambda: self._unsent(node, item.token))
            return
        if data is not None:
            self.after(self.weather.delay, lambda: self._deliver_stream(node, data, target))

    def _unsent(self, node: SipNode, token: str) -> None:
        node.ua.transport_failed(token, self.now)
        self.pump(node)

    def _deliver_stream(self, node: SipNode, data: bytes, target: SipNode) -> None:
        for message in StreamFramer().feed(data):
            target.ua.receive(message, Peer("TCP", node.host, node.port), self.now)
        self.pump(target)
