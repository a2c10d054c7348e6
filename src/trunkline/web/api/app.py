"""The HTTP API: health, metrics, calls and their timelines. Read-only, JSON, no authentication of its own."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from trunkline.model import CallId, TrunklineError
from trunkline.web.api.ports import Sources
from trunkline.web.api.shapes import (
    call_object,
    call_page,
    health_object,
    integrity_object,
    timeline_object,
    transcript_object,
)

DEFAULT_PAGE: Final = 50
MAX_PAGE: Final = 500
RETRY_AFTER_S: Final = 5

_SAFE_HEADERS: Final = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


@dataclass(frozen=True, slots=True)
class Path:
    """One path of the API, for the router and for the documentation's test."""

    path: str
    name: str
    endpoint: Callable[["Api", Request], Awaitable[Response]]


class Api:
    """The handlers. One object per process."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources

    async def health(self, _: Request) -> Response:
        """200 while calls are taken, 503 while not, with every part's state."""
        health = self._sources.health()
        headers = {} if health.ok else {"Retry-After": str(RETRY_AFTER_S)}
        return _json(health_object(health), status=200 if health.ok else 503, headers=headers)

    async def metrics(self, _: Request) -> Response:
        """Prometheus' text format."""
        return Response(
            self._sources.metrics(), headers={**_SAFE_HEADERS, "Content-Type": self._sources.metrics_type}
        )

    async def calls(self, request: Request) -> Response:
        """A page of calls, newest first."""
        limit = _number(request, "limit", default=DEFAULT_PAGE, least=1, most=MAX_PAGE)
        before = request.query_params.get("before")
        if before is not None and await self._sources.calls.call(CallId(before)) is None:
            raise HTTPException(400, f"there is no call {before!r} to continue after")
        rows = await self._sources.calls.calls(limit, CallId(before) if before is not None else None)
        return _json(call_page(rows, limit=limit))

    async def call(self, request: Request) -> Response:
        """One call: record, transcript, timeline and whether its hash chain holds."""
        id_ = CallId(request.path_params["id"])
        row = await self._sources.calls.call(id_)
        if row is None:
            raise HTTPException(404, f"there is no call {id_!r}")
        entries = await self._sources.calls.timeline(id_)
        return _json(
            {
                **call_object(row),
                "transcript": transcript_object(entries),
                "timeline": timeline_object(entries),
                "integrity": integrity_object(await self._sources.calls.verify(id_)),
            }
        )


PATHS: Final = (
    Path("/healthz", "health", Api.health),
    Path("/metrics", "metrics", Api.metrics),
    Path("/api/calls", "calls", Api.calls),
    Path("/api/calls/{id}", "call", Api.call),
)


def build(sources: Sources, *, hosts: frozenset[str] | None) -> Starlette:
    """The application. ``hosts`` are the names it may be called by: others are refused, so that no web page can
    reach it through a browser by a name of its own (DNS rebinding); ``None`` allows every one."""
    api = Api(sources)
    return Starlette(
        routes=[Route(path.path, _bind(path, api, hosts), methods=["GET"], name=path.name) for path in PATHS],
        exception_handlers={HTTPException: _refused, TrunklineError: _failed},
    )


def _bind(path: Path, api: Api, hosts: frozenset[str] | None) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        if hosts is not None and request.url.hostname not in hosts:
            raise HTTPException(421, "this server is not known by that name")
        return await path.endpoint(api, request)

    return endpoint


def _number(request: Request, name: str, *, default: int, least: int, most: int) -> int:
    text = request.query_params.get(name)
    if text is None:
        return default
    if not text.isascii() or not text.isdigit() or not least <= int(text[:9]) <= most or len(text) > 9:
        raise HTTPException(400, f"{name} must be a number from {least} to {most}")
    return int(text)


_HINTS: Final = {
    400: "see docs/reference/http-api.md",
    404: "GET /api/calls lists calls; GET /healthz, /metrics, /api/calls and /api/calls/{id} exist",
    405: "the API is read-only: use GET",
    421: "use the address it listens on, or set server.http.allow_remote behind a proxy",
}


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    body = {"error": {"what": error.detail, "hint": _HINTS.get(error.status_code, "")}}
    return _json(body, status=error.status_code, headers=dict(error.headers or {}))


async def _failed(_: Request, error: Exception) -> Response:
    assert isinstance(error, TrunklineError)
    return _json({"error": {"what": error.what, "hint": error.hint}}, status=503)


def _json(body: object, *, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse(body, status_code=status, headers={**_SAFE_HEADERS, **(headers or {})})
