"""Serving the API inside the process's own event loop."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator

import uvicorn
from starlette.applications import Starlette

from trunkline.model import LocalError


class _Server(uvicorn.Server):
    """Uvicorn without its own signal handling: the process's life-cycle is not its business."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextlib.asynccontextmanager
async def serve(app: Starlette, *, host: str, port: int) -> AsyncIterator[int]:
    """Serve ``app``; yields the port it listens on. Raises ``LocalError`` when the port is taken."""
    sock = _listen(host, port)
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="off",
        server_header=False,
        limit_concurrency=64,
        timeout_keep_alive=15,
        timeout_graceful_shutdown=2,
    )
    server = _Server(config)
    task = asyncio.create_task(server.serve(sockets=[sock]), name="http api")
    try:
        yield sock.getsockname()[1]
    finally:
        server.should_exit = True
        await asyncio.wait([task])
        sock.close()


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
        sock.listen(128)
        sock.setblocking(False)
    except OSError as failed:
        sock.close()
        raise LocalError(
            f"the HTTP API cannot listen on {host}:{port}: {failed.strerror}",
            hint="stop what uses the port, or set server.http.port",
        ) from failed
    return sock
