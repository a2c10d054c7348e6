"""The simulated engine as a WebSocket server: aiohttp around ``Conversation``."""

import asyncio
import logging
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

from aiohttp import WSMsgType, web

from trunkline.engines.realtime.simulator.conversation import CloseSocket, Conversation, SendText
from trunkline.engines.realtime.simulator.script import DEFAULT_SCRIPT, Handshake, Script
from trunkline.engines.realtime.simulator.sound import Voice
from trunkline.model import Clock, LocalError, Nanos, Secret, ms

PATH: Final = "/v1/realtime"
MAX_MESSAGE_BYTES: Final = 24 << 20
"""15 MiB of audio as base64, and the words around it."""

MAX_SESSIONS: Final = 2_000
MAX_KEPT_SESSIONS: Final = 100

log = logging.getLogger(__name__)


class Simulator:
    """``async with Simulator(script, clock=clock) as sim:`` then connect to ``sim.url``.

    ``api_key`` makes the server refuse other keys with 401. ``sessions`` keeps the last conversations, for tests
    to look into; ``on_session`` is called with each that ended.
    """

    def __init__(
        self,
        script: Script = DEFAULT_SCRIPT,
        *,
        clock: Clock,
        host: str = "127.0.0.1",
        port: int = 0,
        voice: Voice | None = None,
        api_key: Secret[str] | None = None,
        on_session: Callable[[Conversation], None] | None = None,
    ) -> None:
        self.sessions: list[Conversation] = []
        self.connections = 0
        self.open_sessions = 0
        self._script = script
        self._clock = clock
        self._host = host
        self._port = port
        self._voice = voice
        self._api_key = api_key
        self._on_session = on_session
        self._runner: web.AppRunner | None = None
        self._sockets: set[web.WebSocketResponse] = set()

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"ws://{self._host}:{self._port}{PATH}"

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_get(PATH, self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._host, self._port)
        try:
            await site.start()
        except OSError as busy:
            await self._runner.cleanup()
            raise LocalError(
                f"cannot listen on {self._host}:{self._port}: {busy.strerror or busy}",
                hint="choose another port with --port",
            ) from busy
        self._port = self._runner.addresses[0][1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, trace: TracebackType | None
    ) -> None:
        for socket in list(self._sockets):
            await socket.close(code=1001, message=b"server shutting down")
        if self._runner is not None:
            await self._runner.cleanup()

    # --- one connection ----------------------------------------------------------------------------------

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.connections += 1
        if (refusal := await self._refusal(request)) is not None:
            return refusal
        socket = web.WebSocketResponse(max_msg_size=MAX_MESSAGE_BYTES, compress=False, autoping=True)
        await socket.prepare(request)
        name = str(self.connections)
        conversation = Conversation(
            self._script, name=name, model=request.query.get("model", ""), voice=self._voice
        )
        self.sessions.append(conversation)
        del self.sessions[:-MAX_KEPT_SESSIONS]
        self.open_sessions += 1
        self._sockets.add(socket)
        try:
            await self._converse(socket, conversation)
        finally:
            self._sockets.discard(socket)
            self.open_sessions -= 1
            if self._on_session is not None:
                self._on_session(conversation)
        return socket

    async def _refusal(self, request: web.Request) -> web.Response | None:
        number = self.connections - 1
        planned = self._script.handshakes[number] if number < len(self._script.handshakes) else Handshake()
        if planned.delay_ms:
            await self._clock.sleep_until(Nanos(self._clock.now() + ms(planned.delay_ms)))
        if planned.status != 101:
            headers = {} if planned.retry_after_s is None else {"Retry-After": str(planned.retry_after_s)}
            return _refused(planned.status, "refused by the script", headers)
        if self._api_key is not None and not self._has_key(request, self._api_key.reveal()):
            return _refused(401, "Incorrect API key provided.", {})
        if self.open_sessions >= MAX_SESSIONS:
            return _refused(503, "too many sessions", {"Retry-After": "1"})
        return None

    @staticmethod
    def _has_key(request: web.Request, key: str) -> bool:
        return (
            request.headers.get("Authorization") == f"Bearer {key}" or request.headers.get("api-key") == key
        )

    async def _converse(self, socket: web.WebSocketResponse, conversation: Conversation) -> None:
        conversation.opened()
        reader: asyncio.Task[bool] = asyncio.create_task(self._read(socket, conversation))
        try:
            while await self._send(socket, conversation):
                if reader.done():
                    if not reader.result():
                        return
                    reader = asyncio.create_task(self._read(socket, conversation))
                await self._wait(reader, conversation.due())
                conversation.tick(self._clock.now())
        except ConnectionError:
            log.debug("the client went away while it was being sent to")
        finally:
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)

    async def _read(self, socket: web.WebSocketResponse, conversation: Conversation) -> bool:
        """Take one message; False when the client is gone."""
        message = await socket.receive()
        if message.type is WSMsgType.TEXT:
            conversation.receive(message.data, self._clock.now())
            return True
        if message.type is WSMsgType.BINARY:
            conversation.receive("", self._clock.now())
            return True
        return False

    @staticmethod
    async def _send(socket: web.WebSocketResponse, conversation: Conversation) -> bool:
        while (output := conversation.poll()) is not None:
            match output:
                case SendText(text):
                    await socket.send_str(text)
                case CloseSocket(code, reason) if code:
                    await socket.close(code=code, message=reason.encode())
                    return False
                case CloseSocket():
                    _abort(socket)
                    return False
        return True

    async def _wait(self, reader: asyncio.Task[bool], due: Nanos | None) -> None:
        if due is None:
            await asyncio.wait([reader])
            return
        waits: list[asyncio.Future[object]] = [
            asyncio.ensure_future(_any(reader)),
            asyncio.ensure_future(self._clock.sleep_until(due)),
        ]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waits:
                each.cancel()
            await asyncio.gather(*waits, return_exceptions=True)


async def _any(task: "asyncio.Task[bool]") -> object:
    return await asyncio.wait([task])


def _abort(socket: web.WebSocketResponse) -> None:
    transport = socket._req.transport if socket._req is not None else None  # noqa: SLF001 - no public way to abort
    if transport is not None:
        transport.abort()


def _refused(status: int, message: str, headers: dict[str, str]) -> web.Response:
    body = {"error": {"message": message, "type": "invalid_request_error", "code": None, "param": None}}
    return web.json_response(body, status=status, headers=headers)
