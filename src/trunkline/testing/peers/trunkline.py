"""Trunkline itself as a process: a whole server with a configuration of the test's own."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import aiohttp
import yaml

from trunkline.model import MS, Clock, Nanos, seconds
from trunkline.testing.peers.program import Program, ProgramFailed, free_port

READY_WITHIN_S: Final = 30.0
COMMAND: Final = (sys.executable, "-c", "from trunkline.runtime.cli import main; main()")
"""The ``trunkline`` command of this very interpreter."""


class TrunklineServer(Program):
    """``trunkline serve`` with ``document`` as its configuration, on free ports of 127.0.0.1.

    ``folder`` gets the configuration, the data directory and the log; relative paths in the document start
    there. The ``server`` section is filled in where the document leaves it open.
    """

    def __init__(self, document: Mapping[str, Any], *, folder: Path, clock: Clock) -> None:
        self.folder = folder
        self.sip_port = free_port()
        self.http_port = free_port()
        self.document = {
            **document,
            "server": {
                "sip": {"host": "127.0.0.1", "port": self.sip_port},
                "media": {"host": "127.0.0.1", "ports": "21000-21999"},
                "http": {"host": "127.0.0.1", "port": self.http_port},
                "data_dir": "data",
                **document.get("server", {}),
            },
        }
        self._file = folder / "trunkline.yaml"
        super().__init__(
            [*COMMAND, "serve", "--config", self._file], log=folder / "trunkline.log", clock=clock
        )

    @property
    def address(self) -> str:
        """``host:port`` of SIP."""
        return f"127.0.0.1:{self.sip_port}"

    def uri(self, user: str) -> str:
        """SIP URI of a number of this server."""
        return f"sip:{user}@{self.address}"

    async def start(self) -> None:
        """Write the configuration, start, and wait until the server says it is well."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._file.write_text(yaml.safe_dump(self.document, allow_unicode=True, sort_keys=False))
        await super().start()
        deadline = self.clock.now() + seconds(READY_WITHIN_S)
        while True:
            if self.code is not None:
                raise self.failed(f"ended with code {self.code} while starting")
            try:
                status, _ = await self.get("/healthz")
            except aiohttp.ClientError:
                status = 0
            if status == 200:
                return
            if self.clock.now() >= deadline:
                raise self.failed(f"is not ready after {READY_WITHIN_S:g} s")
            await self.clock.sleep_until(Nanos(self.clock.now() + 50 * MS))

    async def get(self, path: str) -> tuple[int, Any]:
        """Status and decoded JSON (or text) of an API resource."""
        url = f"http://127.0.0.1:{self.http_port}{path}"
        timeout = aiohttp.ClientTimeout(total=10)
        async with aiohttp.ClientSession(timeout=timeout) as session, session.get(url) as response:
            text = await response.text()
            kind = response.headers.get("Content-Type", "")
            return response.status, json.loads(text) if "json" in kind else text

    async def calls(self) -> list[dict[str, Any]]:
        """Calls of the server, newest first."""
        status, body = await self.get("/api/calls")
        if status != 200:
            raise self.failed(f"answered {status} to /api/calls")
        found: list[dict[str, Any]] = body["calls"] if isinstance(body, dict) else body
        return found

    async def call(self, call: str) -> dict[str, Any]:
        """One call with its timeline."""
        status, body = await self.get(f"/api/calls/{call}")
        if status != 200 or not isinstance(body, dict):
            raise self.failed(f"answered {status} to /api/calls/{call}")
        return body

    async def ended_call(self, *, within_s: float, after: int = 0) -> dict[str, Any]:
        """The newest call once it is over; ``after`` calls are taken for older ones."""
        deadline = self.clock.now() + seconds(within_s)
        while True:
            calls = await self.calls()
            if len(calls) > after:
                call = await self.call(calls[0]["id"])
                if call["outcome"] is not None:
                    return call
            if self.clock.now() >= deadline:
                raise ProgramFailed(f"no call ended within {within_s:g} s: {calls}\n{self.output()[-4000:]}")
            await self.clock.sleep_until(Nanos(self.clock.now() + 50 * MS))


def entries(call: Mapping[str, Any], *kinds: str) -> list[dict[str, Any]]:
    """Timeline entries of these kinds."""
    return [entry for entry in call["timeline"] if entry["kind"] in kinds]


def sockets_of(pid: int) -> int:
    """How many sockets a process holds."""
    folder = Path(f"/proc/{pid}/fd")
    found = 0
    for link in folder.iterdir():
        try:
            found += str(link.readlink()).startswith("socket:")
        except FileNotFoundError:
            continue
    return found
