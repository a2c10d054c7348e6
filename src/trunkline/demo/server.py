"""What the demonstration asks the server over its HTTP API."""

from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp

from trunkline.demo.waterfall import Entry
from trunkline.model import MS, SECOND, Clock, LocalError, Nanos


@dataclass(frozen=True, slots=True)
class CallView:
    """One call as the API shows it."""

    id: str
    over: bool
    timeline: tuple[Entry, ...]
    recordings: tuple[str, ...]


class ServerView:
    """A client of the API, for the time of a block."""

    def __init__(self, url: str, *, log: Path) -> None:
        self._url = url.rstrip("/")
        self._log = log
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def get(self, path: str) -> tuple[int, Any]:
        """Status and JSON of a resource. Raises ``LocalError`` when the server does not answer."""
        if self._session is None:
            raise AssertionError("used outside its block")
        try:
            async with self._session.get(f"{self._url}{path}") as response:
                return response.status, await response.json()
        except (aiohttp.ClientError, TimeoutError, ValueError) as failed:
            raise LocalError(
                f"the server does not answer at {self._url}: {type(failed).__name__}", hint=f"see {self._log}"
            ) from failed

    async def healthy(self) -> tuple[bool, int]:
        """Whether it is well, and how many calls it has."""
        status, body = await self.get("/healthz")
        return status == 200, int(body.get("calls", 0))

    async def well(self, clock: Clock, *, within_s: float) -> None:
        """Return once it is. Raises ``LocalError`` with what is not."""
        deadline = clock.now() + round(within_s * SECOND)
        while True:
            status, body = await self.get("/healthz")
            if status == 200:
                return
            if clock.now() >= deadline:
                raise LocalError(f"the server is not well: {body.get('parts', body)}")
            await clock.sleep_until(Nanos(clock.now() + 50 * MS))

    async def newest_call(self) -> CallView | None:
        """The newest call, None before the first."""
        _, page = await self.get("/api/calls?limit=1")
        if not page["calls"]:
            return None
        _, call = await self.get(f"/api/calls/{page['calls'][0]['id']}")
        return CallView(
            id=call["id"],
            over=call["outcome"] is not None,
            timeline=tuple(
                Entry(round(float(entry["at_ms"]) * MS), entry["kind"], entry["data"])
                for entry in call["timeline"]
            ),
            recordings=tuple(call["recordings"]),
        )
