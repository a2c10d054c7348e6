"""The same shell on the loop that production uses: uvloop's transports are not asyncio's."""

import asyncio
import os
import socket

import pytest
import uvloop

from trunkline.model import ConfigError
from trunkline.runtime.clock import RealClock
from trunkline.telephony.sip.aio import SipListen, SipStack
from trunkline.telephony.sip.proto import CallAnswered, CallEnded, IncomingCall, SipEvent, parse_uri


@pytest.fixture(scope="module", autouse=True)
def libuv() -> None:
    """libuv makes one pipe for signals per process, with its first loop, and keeps it."""

    async def nothing() -> None:
        return

    uvloop.run(nothing())


async def a_call(transport: str) -> list[str]:
    """Bob answers Alice and hangs up when her ACK came; what Alice saw."""
    seen: list[str] = []
    done = asyncio.get_running_loop().create_future()
    listen = SipListen(host="127.0.0.1", port=0)
    bob = SipStack(listen, clock=RealClock(), entropy=os.urandom)
    alice = SipStack(listen, clock=RealClock(), entropy=os.urandom)

    def at_bob(event: SipEvent) -> None:
        if isinstance(event, IncomingCall):
            event.session.answer(b"v=0\r\n", bob.now())
            # Sent when the ACK arrives: the called side must not end a call before.
            event.session.hang_up(bob.now())

    def at_alice(event: SipEvent) -> None:
        seen.append(type(event).__name__)
        if isinstance(event, CallEnded):
            done.set_result(None)

    bob.on_event, alice.on_event = at_bob, at_alice
    async with bob, alice:
        uri = parse_uri(f"sip:1000@127.0.0.1:{bob.port};transport={transport}")
        alice.ua.invite(uri, body=b"v=0\r\n", now=alice.now())
        alice.kick()
        async with asyncio.timeout(10):
            await done
        assert bob.counters["handler_failed"] == 0
        assert alice.connections == (1 if transport == "tcp" else 0)
    return seen


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_a_call_on_uvloop(transport: str) -> None:
    assert uvloop.run(a_call(transport)) == [CallAnswered.__name__, CallEnded.__name__]


def test_a_busy_port_on_uvloop() -> None:
    async def second(port: int) -> None:
        stack = SipStack(SipListen(port=port), clock=RealClock(), entropy=os.urandom)
        await stack.start()

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(ConfigError, match="cannot listen"):
            uvloop.run(second(taken.getsockname()[1]))


def test_a_peer_that_is_gone_at_once_on_uvloop() -> None:
    async def main() -> None:
        stack = SipStack(SipListen(port=0), clock=RealClock(), entropy=os.urandom)
        async with stack:
            for _ in range(20):
                _, writer = await asyncio.open_connection("127.0.0.1", stack.port)
                writer.transport.abort()
            reader, writer = await asyncio.open_connection("127.0.0.1", stack.port)
            writer.write(b"\r\n\r\n")
            assert await reader.readexactly(2) == b"\r\n"
            writer.close()
            await writer.wait_closed()

    uvloop.run(main())
