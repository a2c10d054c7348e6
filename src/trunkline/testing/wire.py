"""An engine port over a real WebSocket, in Python: what the media core does for an engine, without the phone side.

It mimics the JSON and binary wire profiles closely enough to test engine sessions against real servers: audio
messages are taken out and put on the simulated playout, every other text becomes ``EngineText``, oversized messages
close the socket with 1009. Caller audio comes from the test. Not for calls: it paces nothing and counts little.
"""

import asyncio
import base64
import binascii
import json
from typing import Any

from aiohttp import ClientError, ClientSession, ClientTimeout, ClientWebSocketResponse, WSMsgType
from aiohttp.client_exceptions import WSServerHandshakeError

from trunkline.model import Clock
from trunkline.telephony.media.port import (
    EngineClosed,
    EngineOpened,
    EngineText,
    MediaClosed,
    SocketSpec,
    WireProfile,
)
from trunkline.testing.media import FakeMediaPort

MAX_OUTGOING = 1_000
"""Messages that wait for the socket; a further one closes it, for a test should see that."""


class SocketMediaPort(FakeMediaPort):
    """A ``FakeMediaPort`` whose engine socket is real."""

    def __init__(self, clock: Clock, **options: Any) -> None:
        super().__init__(clock, **options)
        self.audio_messages = 0
        self.bad_audio = 0
        self._task: asyncio.Task[None] | None = None
        self._outgoing: asyncio.Queue[str | bytes | None] = asyncio.Queue(MAX_OUTGOING)

    def open_socket(self, spec: SocketSpec) -> None:
        super().open_socket(spec)
        self._stop()
        self._outgoing = asyncio.Queue(MAX_OUTGOING)
        self._task = asyncio.get_running_loop().create_task(self._connect(spec), name="engine socket")

    def send_text(self, text: str) -> None:
        super().send_text(text)
        if self.socket_open:
            self._outgoing.put_nowait(text)

    def close_engine(self) -> None:
        was_open = self.socket is not None
        super().close_engine()
        if was_open:
            self._hang_up()

    async def close(self) -> MediaClosed:
        closed = await super().close()
        self._hang_up()
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        return closed

    def caller_sends(self, audio: bytes) -> None:
        """Caller audio, already in the encoding that the spec asks for upwards."""
        spec = self.socket
        if spec is None or not self.socket_open:
            return
        if spec.profile is WireProfile.BINARY:
            self._outgoing.put_nowait(audio)
        else:
            encoded = base64.b64encode(audio).decode()
            self._outgoing.put_nowait(spec.json.up_prefix + encoded + spec.json.up_suffix)

    # --- inside ------------------------------------------------------------------------------------------

    def _stop(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def _hang_up(self) -> None:
        if self._task is not None and not self._task.done():
            self._outgoing.put_nowait(None)

    async def _connect(self, spec: SocketSpec) -> None:
        timeout = ClientTimeout(total=None, sock_connect=spec.connect_timeout_ms / 1000)
        try:
            async with (
                ClientSession(timeout=timeout) as session,
                session.ws_connect(
                    spec.url,
                    headers=dict(spec.headers),
                    protocols=spec.subprotocols,
                    max_msg_size=spec.max_message_bytes,
                    autoclose=False,
                ) as socket,
            ):
                self.socket_open = True
                self._emit(EngineOpened(at=self._now(), subprotocol=socket.protocol or ""))
                await self._converse(spec, socket)
        except WSServerHandshakeError as refused:
            self._gone(spec, 1006, refused.message, status=refused.status)
        except (ClientError, OSError) as failed:
            self._gone(spec, 1006, str(failed))

    async def _converse(self, spec: SocketSpec, socket: ClientWebSocketResponse) -> None:
        sender = asyncio.create_task(self._send(socket), name="engine socket sender")
        try:
            while True:
                message = await socket.receive()
                match message.type:
                    case WSMsgType.TEXT:
                        self._text(spec, message.data)
                    case WSMsgType.BINARY if spec.profile is WireProfile.BINARY:
                        self._audio("binary", message.data, spec)
                    case WSMsgType.BINARY:
                        self.bad_audio += 1
                    case WSMsgType.CLOSE:
                        await socket.close()
                        self._gone(spec, message.data or 1005, message.extra or "")
                        return
                    case _:
                        self._gone(spec, socket.close_code or 1006, "")
                        return
        finally:
            sender.cancel()
            await asyncio.gather(sender, return_exceptions=True)

    async def _send(self, socket: ClientWebSocketResponse) -> None:
        while (message := await self._outgoing.get()) is not None:
            if isinstance(message, str):
                await socket.send_str(message)
            else:
                await socket.send_bytes(message)
        await socket.close()

    def _text(self, spec: SocketSpec, text: str) -> None:
        if spec.profile is WireProfile.JSON and (message := _audio_message(spec, text)) is not None:
            try:
                audio = base64.b64decode(str(message.get(spec.json.down_audio_key, "")), validate=True)
            except (binascii.Error, ValueError):
                self.bad_audio += 1
                return
            self._audio(str(message.get(spec.json.down_item_key, "")), audio, spec)
        else:
            self._emit(EngineText(at=self._now(), text=text))

    def _audio(self, item: str, audio: bytes, spec: SocketSpec) -> None:
        self.audio_messages += 1
        width = 2 if spec.down_encoding == "pcm16" else 1
        span = len(audio) // width * 1_000_000_000 // spec.down_rate
        self._emit(*self.playout.add(item, span, self._now()))

    def _gone(self, spec: SocketSpec, code: int, reason: str, *, status: int = 0) -> None:
        if self.socket is not spec:
            return
        self.socket, self.socket_open = None, False
        self._emit(EngineClosed(at=self._now(), code=code, reason=reason, status=status))


def _audio_message(spec: SocketSpec, text: str) -> dict[str, Any] | None:
    try:
        message = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(message, dict):
        return None
    kinds = {spec.json.down_type, *spec.json.also_down_types}
    return message if message.get(spec.json.type_key) in kinds else None
