"""The engine's WebSocket: both profiles, TLS, and everything an engine can do wrong."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from trunkline.telephony.media import (
    EngineClosed,
    EngineOpened,
    EngineText,
    JsonAudio,
    PlayEnded,
    SocketSpec,
    WireProfile,
)

from .conftest import Certificate, Phone, loud_ms, pitch, samples, tone

Handler = Callable[[ServerConnection], Awaitable[None]]


@asynccontextmanager
async def engine_server(handler: Handler, **options: Any) -> AsyncIterator[str]:
    """A WebSocket server on loopback; gives its host and port."""
    server: Server
    async with serve(handler, "127.0.0.1", 0, compression=None, **options) as server:
        host, port = server.sockets[0].getsockname()[:2]
        yield f"{host}:{port}"


class Recorder:
    """A handler that keeps what the engine is sent and can be waited on."""

    def __init__(self, *, echo: bool = False) -> None:
        self.messages: list[str | bytes] = []
        self.connections: asyncio.Queue[ServerConnection] = asyncio.Queue()
        self.ended: asyncio.Future[tuple[int | None, str | None]] = asyncio.get_running_loop().create_future()
        self.headers: dict[str, str] = {}
        self._echo = echo
        self._changed = asyncio.Event()

    async def __call__(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        self.headers = dict(connection.request.headers.raw_items())
        self.connections.put_nowait(connection)
        try:
            async for message in connection:
                self.messages.append(message)
                self._changed.set()
                if self._echo:
                    await connection.send(message)
        except ConnectionClosed:
            pass
        if not self.ended.done():
            self.ended.set_result((connection.close_code, connection.close_reason))

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    def audio(self) -> bytes:
        return b"".join(message for message in self.messages if isinstance(message, bytes))


def binary(address: str, **changes: Any) -> SocketSpec:
    return SocketSpec(f"ws://{address}/media?x=1", WireProfile.BINARY, **changes)


async def test_binary_audio_both_ways(phones: tuple[Phone, Phone]) -> None:
    here, there = phones
    here.call(there)
    there.call(here)
    there.port.open_tap(rate=8000, batch_ms=20)
    engine = Recorder()
    async with engine_server(engine, subprotocols=["other", "audio"]) as address:
        spec = binary(address, headers={"Authorization": "Bearer k"}, subprotocols=("audio",), batch_ms=20)
        here.port.open_socket(spec)
        opened = await here.seen.wait(EngineOpened)
        assert opened.subprotocol == "audio"
        assert engine.headers["Authorization"] == "Bearer k"
        connection = await engine.connections.get()

        there.port.play("caller", tone(1000, 300, 16000), 16000)
        await engine.until(lambda: loud_ms(samples(engine.audio()), 16000) >= 280)
        assert {len(message) for message in engine.messages} == {640}
        assert abs(pitch(samples(engine.audio())[-4000:], 16000) - 1000) < 10

        speech = tone(440, 1000, 16000)
        for start in range(0, len(speech), 3001):
            await connection.send(speech[start : start + 3001])
        audio = await there.heard_for(970, 8000)
        assert abs(pitch(audio, 8000) - 440) < 5

        await connection.send("a text message")
        assert (await here.seen.wait(EngineText)).text == "a text message"
        here.port.send_text("an answer")
        await engine.until(lambda: "an answer" in engine.messages)

        here.port.close_engine()
        closed = await here.seen.wait(EngineClosed)
        assert (closed.code, closed.by_us) == (1000, True)
        assert await engine.ended == (1000, "")
    here.port.send_text("nobody listens")


async def test_json_audio_both_ways_and_what_was_heard(phones: tuple[Phone, Phone]) -> None:
    here, there = phones
    here.call(there)
    there.call(here)
    there.port.open_tap(rate=8000, batch_ms=20)
    engine = Recorder()
    async with engine_server(engine) as address:
        url = f"ws://{address}/v1/realtime"
        here.port.open_socket(SocketSpec(url, WireProfile.JSON, up_rate=24000, down_rate=24000))
        connection = await engine.connections.get()
        await engine.until(lambda: len(engine.messages) >= 3)
        message = json.loads(engine.messages[0])
        assert message["type"] == "input_audio_buffer.append"
        assert len(base64.b64decode(message["audio"])) == 24000 * 2 * 40 // 1000

        speech = tone(440, 1000, 24000)
        for start in range(0, len(speech), 4800):
            audio = base64.b64encode(speech[start : start + 4800]).decode()
            await connection.send(
                json.dumps({"type": "response.output_audio.delta", "item_id": "item_1", "delta": audio})
            )
        done = json.dumps({"type": "response.output_audio.done", "item_id": "item_1"})
        await connection.send(done)
        assert (await here.seen.wait(EngineText)).text == done
        here.port.end_item("item_1")
        ended = await here.seen.wait(PlayEnded)
        assert (ended.heard.item, ended.heard.total_ms) == ("item_1", 1000)
        assert ended.heard.heard_ms == ended.heard.total_ms
        assert abs(pitch(await there.heard_for(900, 8000), 8000) - 440) < 5


async def test_g711_json_of_another_dialect(phones: tuple[Phone, Phone]) -> None:
    here, there = phones
    here.call(there)
    there.call(here)
    there.port.open_tap(rate=8000, batch_ms=20)
    engine = Recorder()
    dialect = JsonAudio("event", "media", "payload", "id", '{"media":"', '"}', also_down_types=("clip",))
    async with engine_server(engine) as address:
        spec = SocketSpec(
            f"ws://{address}",
            WireProfile.JSON,
            up_encoding="pcmu",
            down_encoding="pcma",
            json=dialect,
            batch_ms=20,
        )
        here.port.open_socket(spec)
        connection = await engine.connections.get()
        await engine.until(lambda: len(engine.messages) >= 3)
        assert base64.b64decode(json.loads(engine.messages[-1])["media"]) == b"\xff" * 160
        loud = base64.b64encode(bytes([0x2A, 0xAA] * 1600)).decode()
        await connection.send(json.dumps({"id": "x", "payload": loud, "event": "clip"}))
        audio = await there.heard_for(300, 8000)
        assert np.abs(audio).max() > 20000


async def test_tls_with_an_additional_trust_anchor(
    phones: tuple[Phone, Phone], certificate: Certificate
) -> None:
    here, there = phones
    here.call(there)
    engine = Recorder(echo=True)
    async with engine_server(engine, ssl=certificate.server) as address:
        port = address.rpartition(":")[2]
        spec = SocketSpec(f"wss://localhost:{port}/", WireProfile.BINARY, ca_file=str(certificate.path))
        here.port.open_socket(spec)
        await here.seen.wait(EngineOpened)
        there.call(here)
        there.port.open_tap(rate=8000, batch_ms=20)
        there.port.play("a", tone(700, 500, 8000), 8000)
        # The engine's echo comes back to the caller.
        await there.heard_for(450, 8000)
        big = "x" * 200_000
        here.port.send_text(big)
        echoed = await here.seen.wait(EngineText)
        assert echoed.text == big
        here.port.close_engine()
        await here.seen.wait(EngineClosed)
        assert (await engine.ended)[0] == 1000


async def test_an_unknown_certificate_is_refused(
    phones: tuple[Phone, Phone], certificate: Certificate
) -> None:
    here, _ = phones
    async with engine_server(Recorder(), ssl=certificate.server) as address:
        here.port.open_socket(SocketSpec(f"wss://{address}/", WireProfile.BINARY))
        closed = await here.seen.wait(EngineClosed)
    assert (closed.code, closed.status) == (1006, 0)
    assert "TLS" in closed.reason


async def test_a_wrong_name_in_the_certificate_is_refused(
    phones: tuple[Phone, Phone], certificate: Certificate
) -> None:
    here, _ = phones
    async with engine_server(Recorder(), ssl=certificate.server) as address:
        port = address.rpartition(":")[2]
        spec = SocketSpec(f"wss://127.0.0.2:{port}/", WireProfile.BINARY, ca_file=str(certificate.path))
        here.port.open_socket(spec)
        closed = await here.seen.wait(EngineClosed)
    assert closed.code == 1006


async def test_a_refused_handshake_tells_status_and_when_to_come_back(phones: tuple[Phone, Phone]) -> None:
    def refuse(connection: ServerConnection, _: Request) -> Response:
        response = connection.respond(429, "slow down\n")
        response.headers["Retry-After"] = "7"
        return response

    here, _ = phones
    async with engine_server(Recorder(), process_request=refuse) as address:
        here.port.open_socket(binary(address))
        closed = await here.seen.wait(EngineClosed)
    assert (closed.code, closed.status, closed.by_us) == (1006, 429, False)
    assert "Retry-After: 7" in closed.reason


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://127.0.0.1/", "ws:// or wss://"),
        ("ws://127.0.0.1:1/", "cannot connect"),
        ("ws://name.invalid/", "cannot resolve"),
    ],
)
async def test_an_engine_that_is_not_there(phones: tuple[Phone, Phone], url: str, reason: str) -> None:
    here, _ = phones
    here.port.open_socket(SocketSpec(url, WireProfile.BINARY))
    closed = await here.seen.wait(EngineClosed)
    assert closed.code == 1006
    assert reason in closed.reason


async def test_a_silent_server_times_out(phones: tuple[Phone, Phone]) -> None:
    here, _ = phones
    writers: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(lambda _, writer: writers.append(writer), "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        here.port.open_socket(
            SocketSpec(f"ws://127.0.0.1:{port}/", WireProfile.BINARY, connect_timeout_ms=150)
        )
        closed = await here.seen.wait(EngineClosed)
        for writer in writers:
            writer.close()
            await writer.wait_closed()
    assert "no WebSocket handshake within 150 ms" in closed.reason


async def test_the_engine_closes_and_what_it_said_is_still_heard(phones: tuple[Phone, Phone]) -> None:
    here, there = phones
    here.call(there)
    there.call(here)
    there.port.open_tap(rate=8000, batch_ms=20)
    engine = Recorder()
    async with engine_server(engine) as address:
        here.port.open_socket(binary(address))
        connection = await engine.connections.get()
        await connection.send(tone(440, 500, 16000))
        await connection.close(4001, "bye")
        closed = await here.seen.wait(EngineClosed)
        assert (closed.code, closed.reason, closed.by_us) == (4001, "bye", False)
        await there.heard_for(480, 8000)


async def test_an_engine_that_vanishes(phones: tuple[Phone, Phone]) -> None:
    here, _ = phones
    engine = Recorder()
    async with engine_server(engine) as address:
        here.port.open_socket(binary(address))
        await here.seen.wait(EngineOpened)
        connection = await engine.connections.get()
        connection.transport.abort()
        closed = await here.seen.wait(EngineClosed)
    assert (closed.code, closed.by_us) == (1006, False)


async def test_an_oversized_message_closes_the_socket_and_the_call_goes_on(
    phones: tuple[Phone, Phone],
) -> None:
    here, there = phones
    here.call(there)
    there.call(here)
    there.port.open_tap(rate=8000, batch_ms=20)
    engine = Recorder()
    async with engine_server(engine) as address:
        here.port.open_socket(binary(address, max_message_bytes=10_000))
        connection = await engine.connections.get()
        await connection.send(b"\x00" * 10_000)
        await connection.send(b"\x00" * 10_001)
        closed = await here.seen.wait(EngineClosed)
        assert (closed.code, closed.by_us) == (1009, True)
        assert (await engine.ended)[0] == 1009
    here.port.play("a", tone(440, 200, 8000), 8000)
    await there.heard_for(180, 8000)


async def test_bad_audio_messages_are_dropped_and_counted(
    phones: tuple[Phone, Phone], caplog: pytest.LogCaptureFixture
) -> None:
    here, there = phones
    here.call(there)
    engine = Recorder()
    async with engine_server(engine) as address:
        here.port.open_socket(SocketSpec(f"ws://{address}", WireProfile.JSON))
        connection = await engine.connections.get()
        for delta in ("AAA", "AA AA===", "\n", 7):
            await connection.send(json.dumps({"type": "response.output_audio.delta", "delta": delta}))
        await connection.send('{"not": "json"')
        assert (await here.seen.wait(EngineText)).text == '{"not": "json"'
        closed = await here.port.close()
    assert closed.stats.engine_bad_messages == 4
    assert "4 engine messages held unusable audio" in caplog.text


async def test_late_audio_of_a_dropped_item_stays_silent(phones: tuple[Phone, Phone]) -> None:
    here, there = phones
    here.call(there)
    there.call(here)
    there.port.open_tap(rate=8000, batch_ms=20)
    engine = Recorder()

    def delta(item: str, hertz: int) -> str:
        audio = base64.b64encode(tone(hertz, 200, 16000)).decode()
        return json.dumps({"type": "response.output_audio.delta", "item_id": item, "delta": audio})

    async with engine_server(engine) as address:
        here.port.open_socket(SocketSpec(f"ws://{address}", WireProfile.JSON))
        connection = await engine.connections.get()
        here.port.drop_item("old")
        here.port.send_text("dropped")
        await engine.until(lambda: "dropped" in engine.messages)
        await connection.send(delta("old", 1500))
        await connection.send(delta("new", 440))
        audio = await there.heard_for(180, 8000)
        assert abs(pitch(audio, 8000) - 440) < 10


async def test_a_second_socket_replaces_the_first(phones: tuple[Phone, Phone]) -> None:
    here, there = phones
    here.call(there)
    first, second = Recorder(), Recorder()
    async with engine_server(first) as one, engine_server(second) as two:
        here.port.open_socket(binary(one))
        await here.seen.wait(EngineOpened)
        here.port.open_socket(binary(two))
        await here.seen.wait(EngineOpened, count=2)
        await second.until(lambda: bool(second.messages))
        await first.ended
        assert not here.seen.of(EngineClosed)


async def test_an_engine_that_does_not_read_loses_old_audio_only(phones: tuple[Phone, Phone]) -> None:
    here, there = phones
    here.call(there)
    stop = asyncio.Event()

    async def deaf(connection: ServerConnection) -> None:
        connection.transport.pause_reading()
        await stop.wait()
        connection.transport.abort()

    async with engine_server(deaf) as address:
        here.port.open_socket(binary(address, up_rate=24000))
        await here.seen.wait(EngineOpened)
        # Fills what the kernel buffers; audio behind it has to wait.
        for _ in range(120):
            here.port.send_text("x" * 60_000)
        closed = await here.seen.wait(EngineClosed)
        stop.set()
    assert "stopped reading" in closed.reason
    assert closed.by_us


async def test_closing_the_call_closes_the_engine_first(phones: tuple[Phone, Phone]) -> None:
    here, there = phones
    here.call(there)
    engine = Recorder()
    async with engine_server(engine) as address:
        here.port.open_socket(binary(address))
        await here.seen.wait(EngineOpened)
        await here.port.close()
        assert here.seen.kinds()[-2:] == ["EngineClosed", "MediaClosed"]
        assert await engine.ended == (1000, "")
