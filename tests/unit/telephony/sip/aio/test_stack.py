"""The shell over real sockets on loopback: UDP, TCP, timers, failures, bounds."""

import asyncio
import os
import socket
from typing import Any, Self

import pytest

from trunkline.model import ConfigError, Nanos, seconds
from trunkline.runtime.clock import RealClock
from trunkline.telephony.sip.aio import SipListen, SipStack, TcpLimits
from trunkline.telephony.sip.proto import (
    CallAnswered,
    CallConfirmed,
    CallEnded,
    IncomingCall,
    SipEvent,
    Timing,
    UaConfig,
    parse_uri,
)
from trunkline.testing import wait_until

OPTIONS = (
    "OPTIONS sip:a@b SIP/2.0\r\nVia: SIP/2.0/{transport} 127.0.0.1:{port};branch=z9hG4bK{n}\r\nMax-Forwards: 70\r\n"
    "From: <sip:x@y>;tag=1\r\nTo: <sip:a@b>\r\nCall-ID: c{n}\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
)


class Ends:
    """A stack and what it told."""

    def __init__(self, listen: SipListen, config: UaConfig | None = None, **kwargs: object) -> None:
        self.stack = SipStack(listen, clock=RealClock(), entropy=os.urandom, config=config, **kwargs)
        self.events: list[SipEvent] = []
        self.stack.on_event = self.on_event

    def on_event(self, event: SipEvent) -> None:
        self.events.append(event)
        if isinstance(event, IncomingCall):
            event.session.answer(b"v=0\r\n", self.stack.now())

    def of(self, kind: type) -> list[SipEvent]:
        return [event for event in self.events if isinstance(event, kind)]

    async def __aenter__(self) -> Self:
        await self.stack.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stack.close()


def loopback(**kwargs: object) -> SipListen:
    return SipListen(host="127.0.0.1", port=0, **kwargs)


@pytest.mark.parametrize("transport", ["udp", "tcp"])
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_a_call(transport: str, host: str) -> None:
    async with Ends(loopback()) as bob, Ends(loopback()) as alice:
        uri = parse_uri(f"sip:1000@{host}:{bob.stack.port};transport={transport}")
        session = alice.stack.ua.invite(uri, body=b"v=0\r\n", now=alice.stack.now())
        alice.stack.kick()
        await wait_until(lambda: bool(alice.of(CallAnswered) and bob.of(CallConfirmed)))
        server = bob.of(IncomingCall)[0].session
        assert server.peer.transport == transport.upper()
        server.hang_up(bob.stack.now())
        bob.stack.kick()
        await wait_until(lambda: bool(alice.of(CallEnded)))
        await wait_until(lambda: not bob.stack.ua.sessions)
        assert session.ended
        if transport == "tcp":
            assert alice.stack.connections == bob.stack.connections == 1, (
                "the BYE came over the same connection"
            )


async def test_timers_run_on_the_loop() -> None:
    quick = UaConfig(timing=Timing(t1=Nanos(1_000_000), t2=Nanos(4_000_000)))
    silent = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    silent.bind(("127.0.0.1", 0))
    try:
        async with Ends(loopback(), quick) as alice:
            uri = parse_uri(f"sip:x@127.0.0.1:{silent.getsockname()[1]}")
            alice.stack.ua.invite(uri, now=alice.stack.now())
            alice.stack.kick()
            await wait_until(lambda: bool(alice.of(CallEnded)))
            assert alice.of(CallEnded)[0].cause == "timeout"
    finally:
        silent.close()


@pytest.mark.parametrize("port", [0])
async def test_nothing_listens_there(port: Any) -> None:
    closed = socket.socket()
    closed.bind(("127.0.0.1", port))
    number = closed.getsockname()[1]
    closed.close()
    async with Ends(loopback()) as alice:
        for target in (f"sip:x@127.0.0.1:{number};transport=tcp", "sips:x@127.0.0.1:1"):
            alice.stack.ua.invite(parse_uri(target), now=alice.stack.now())
        alice.stack.kick()
        await wait_until(lambda: len(alice.of(CallEnded)) == 2)
        assert {event.cause for event in alice.of(CallEnded)} == {"transport"}
        assert alice.stack.counters["tcp_connect_failed"] == 1
        assert alice.stack.counters["no_transport"] == 1


async def test_a_name_that_does_not_resolve() -> None:
    async def nowhere(host: str) -> str:
        raise OSError(host)

    async with Ends(loopback(), resolve=nowhere) as alice:
        alice.stack.ua.invite(parse_uri("sip:x@no.such.example"), now=alice.stack.now())
        alice.stack.kick()
        await wait_until(lambda: bool(alice.of(CallEnded)))
        assert alice.stack.counters["resolve_failed"] == 1


async def test_resolving_is_bounded() -> None:
    gate = asyncio.Event()

    async def slow(host: str) -> str:
        await gate.wait()
        return "127.0.0.1"

    async with Ends(loopback(), resolve=slow) as alice:
        for number in range(70):
            alice.stack.ua.invite(parse_uri(f"sip:x@host{number}.example:9"), now=alice.stack.now())
        alice.stack.kick()
        await wait_until(lambda: alice.stack.counters["resolve_full"] == 6)
        assert len(alice.of(CallEnded)) <= 6
        await wait_until(lambda: len(alice.of(CallEnded)) == 6)


@pytest.mark.parametrize("transports", [("udp",), ("tcp",), ("udp", "tcp")])
async def test_a_busy_port_is_one_clear_sentence(transports: Any) -> None:
    async with Ends(loopback()) as first:
        second = SipStack(
            SipListen(port=first.stack.port, transports=transports), clock=RealClock(), entropy=os.urandom
        )
        with pytest.raises(ConfigError) as caught:
            await second.start()
        assert f"127.0.0.1:{first.stack.port}" in str(caught.value)
        assert "server.sip.port" in caught.value.hint
        await second.close()


async def test_an_address_that_is_not_ours() -> None:
    stack = SipStack(SipListen(host="192.0.2.1", port=0), clock=RealClock(), entropy=os.urandom)
    with pytest.raises(ConfigError, match="cannot listen"):
        await stack.start()


async def test_a_failing_handler_does_not_stop_the_endpoint(caplog: Any) -> None:
    async with Ends(loopback()) as bob, Ends(loopback()) as alice:

        def broken(event: Any) -> None:
            raise KeyError("oops")

        bob.stack.on_event = broken
        alice.stack.ua.invite(parse_uri(f"sip:x@127.0.0.1:{bob.stack.port}"), now=alice.stack.now())
        alice.stack.kick()
        await wait_until(lambda: bob.stack.counters["handler_failed"] == 1)
        assert "oops" in caplog.text
        bob.stack.on_event = None
        reader, writer = await asyncio.open_connection("127.0.0.1", bob.stack.port)
        writer.write(OPTIONS.format(transport="TCP", port=1, n=1).encode())
        assert (await reader.readline()).startswith(b"SIP/2.0 200")
        writer.close()
        await writer.wait_closed()


# --- streams ----------------------------------------------------------------------------------------------


async def connect(ends: Ends) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", ends.stack.port)


async def hang_up(writer: asyncio.StreamWriter) -> None:
    writer.close()
    await writer.wait_closed()


async def test_keep_alives_on_a_stream_are_answered() -> None:
    async with Ends(loopback()) as bob:
        reader, writer = await connect(bob)
        writer.write(b"\r\n\r\n")
        assert await reader.readexactly(2) == b"\r\n"
        await hang_up(writer)


async def test_junk_on_a_stream_closes_it_and_400_is_sent_when_possible() -> None:
    async with Ends(loopback()) as bob:
        reader, writer = await connect(bob)
        writer.write(
            OPTIONS.format(transport="TCP", port=1, n=1).replace("Content-Length: 0\r\n", "").encode()
        )
        answer = await reader.read()
        assert answer.startswith(b"SIP/2.0 400")
        await hang_up(writer)
        reader, writer = await connect(bob)
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        assert await reader.read() == b""
        await hang_up(writer)
        await wait_until(lambda: bob.stack.connections == 0)
        assert bob.stack.counters["malformed"] == 2


async def test_connections_are_limited() -> None:
    async with Ends(loopback(tcp=TcpLimits(connections=2))) as bob:
        kept = [await connect(bob) for _ in range(2)]
        await wait_until(lambda: bob.stack.connections == 2)
        reader, writer = await connect(bob)
        assert await reader.read() == b""
        await hang_up(writer)
        assert bob.stack.counters["tcp_refused"] == 1
        bob.stack.ua.invite(parse_uri("sip:x@127.0.0.1:9;transport=tcp"), now=bob.stack.now())
        bob.stack.kick()
        await wait_until(lambda: bool(bob.of(CallEnded)))
        assert bob.stack.counters["tcp_refused"] == 2
        for _, writer in kept:
            await hang_up(writer)
        await wait_until(lambda: bob.stack.connections == 0)


async def test_idle_and_partial_connections_are_swept() -> None:
    async with Ends(loopback(tcp=TcpLimits(idle=Nanos(0), partial=seconds(100)))) as bob:
        reader, writer = await connect(bob)
        await wait_until(lambda: bob.stack.connections == 1)
        bob.stack._tcp._sweep()
        assert await reader.read() == b""
        await hang_up(writer)
        assert bob.stack.counters["tcp_idle"] == 1
    async with Ends(loopback(tcp=TcpLimits(partial=Nanos(0)))) as bob:
        reader, writer = await connect(bob)
        writer.write(b"OPTIONS sip:half")
        await wait_until(lambda: any(c.partial_since for c in bob.stack._tcp._flows.values()))
        bob.stack._tcp._sweep()
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await reader.readexactly(1)
        writer.close()
        assert bob.stack.counters["tcp_partial"] == 1


async def test_a_peer_that_does_not_read_loses_its_connection() -> None:
    async with Ends(loopback()) as bob:
        _, writer = await connect(bob)
        await wait_until(lambda: bob.stack.connections == 1)
        connection = next(iter(bob.stack._tcp._flows.values()))
        while connection.open:
            connection.write(b"x" * 100_000)
        assert bob.stack.counters["tcp_slow_reader"] == 1
        assert not connection.write(b"late")
        assert bob.stack.connections == 0
        writer.close()


async def test_messages_that_wait_for_a_connection_are_limited() -> None:
    async with Ends(loopback()) as bob, Ends(loopback()) as alice:
        for _ in range(70):
            uri = parse_uri(f"sip:x@127.0.0.1:{bob.stack.port};transport=tcp")
            alice.stack.ua.invite(uri, now=alice.stack.now())
        alice.stack.kick()
        await wait_until(lambda: len(alice.of(CallEnded)) == 6)
        assert alice.stack.counters["tcp_waiting_full"] == 6
        await wait_until(lambda: len(alice.of(CallAnswered)) == 64)
        assert alice.stack.connections == 1


async def test_udp_keepalives_and_junk() -> None:
    async with Ends(loopback(transports=("udp",))) as bob:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
            peer.bind(("127.0.0.1", 0))
            for data in (b"\r\n\r\n", b"junk", b"\xff" * 1000):
                peer.sendto(data, ("127.0.0.1", bob.stack.port))
            await wait_until(lambda: bob.stack.counters["malformed"] == 2)
            assert bob.stack.counters["keepalive"] == 1
            assert bob.stack.connections == 0


async def test_what_the_kernel_does_not_take_is_dropped_and_counted() -> None:
    class Full(socket.socket):
        def sendto(self, *_: Any) -> None:
            raise BlockingIOError

    async with Ends(loopback()) as alice:
        full = Full(socket.AF_INET, socket.SOCK_DGRAM)
        real, alice.stack._udp_socket = alice.stack._udp_socket, full
        try:
            alice.stack.ua.invite(parse_uri("sip:x@127.0.0.1:9"), now=alice.stack.now())
            alice.stack.kick()
            assert alice.stack.counters["udp_dropped"] == 1
        finally:
            alice.stack._udp_socket = real
            full.close()


async def test_an_address_that_cannot_be_reached() -> None:
    async with Ends(loopback()) as alice:
        alice.stack.ua.invite(parse_uri("sip:x@[2001:db8::1]:9"), now=alice.stack.now())
        alice.stack.kick()
        await wait_until(lambda: bool(alice.of(CallEnded)))
        assert alice.stack.counters["udp_error"] == 1
        assert alice.of(CallEnded)[0].cause == "transport"


async def test_names_of_the_stack() -> None:
    async with Ends(loopback(advertise="203.0.113.9")) as alice:
        assert alice.stack.host == "127.0.0.1"
        assert alice.stack.media_host("10.0.0.1") == "203.0.113.9"
        seen = []
        alice.stack.ua.observe(lambda record: seen.append(record.data))
        alice.stack.ua.invite(parse_uri("sip:x@127.0.0.1:9"), now=alice.stack.now())
        alice.stack.kick()
        assert f"Contact: <sip:trunkline@203.0.113.9:{alice.stack.port}>".encode() in seen[0]
    alice.stack.kick()
    alice.stack.unsent("token")
