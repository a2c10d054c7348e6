"""The HTTP API against readers in memory, and its server on a real port."""

import asyncio
import json
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import httpx
import pytest
from starlette.applications import Starlette

from trunkline.model import MS, CallId, LocalError, Outcome, Reason, Result
from trunkline.trust.ledger import CallRow, Entry, Kind, LedgerUnavailable, Verification
from trunkline.web.api import Health, Part, Sources, build, serve
from trunkline.web.api.shapes import transcript_object


def row(number: int) -> CallRow:
    return CallRow(
        id=CallId(f"call-{number}"),
        started_at="2026-03-02T09:30:00.000+00:00",
        trunk="pbx",
        direction="inbound",
        ani="5550001",
        dnis="1000",
        route="main",
        agent="orders",
        engine="local",
        config_hash="c0ffee",
        protocol_id="abc@host",
        answered_ns=250_000_000,
        ended_ns=None if number == 3 else 61_250_000_000,
        outcome=None if number == 3 else Outcome(Result.SUCCESS, Reason.CALLER_HUNG_UP),
        recordings=("recordings/call-1.wav",),
    )


@dataclass
class Shelf:
    """A ledger's reading side."""

    rows: list[CallRow] = field(default_factory=lambda: [row(3), row(2), row(1)])
    broken: bool = False

    async def calls(self, limit: int = 50, before: CallId | None = None) -> Sequence[CallRow]:
        if self.broken:
            raise LedgerUnavailable("the ledger cannot be read")
        start = 0 if before is None else [r.id for r in self.rows].index(before) + 1
        return self.rows[start : start + limit]

    async def call(self, call: CallId) -> CallRow | None:
        return next((r for r in self.rows if r.id == call), None)

    async def timeline(self, call: CallId) -> Sequence[Entry]:
        return [
            Entry(1, 0, Kind.CALL_ARRIVED, {"trunk": "pbx"}, "aa"),
            Entry(2, 1_500_000, Kind.TRANSCRIPT, {"role": "caller", "text": "hello", "item": ""}, "bb"),
        ]

    async def verify(self, call: CallId) -> Verification | None:
        return Verification(ok=True, entries=2)


GOOD = Health(parts={"ledger": Part(ok=True), "sip": Part(ok=True, detail="udp 5060")}, calls=2)


@dataclass
class Site:
    shelf: Shelf = field(default_factory=Shelf)
    health: Health = GOOD

    def app(self, hosts: frozenset[str] | None = frozenset({"testserver"})) -> Starlette:
        sources = Sources(
            health=lambda: self.health, metrics=lambda: b"x 1\n", metrics_type="text/plain", calls=self.shelf
        )
        return build(sources, hosts=hosts)

    async def get(self, path: str, *, host: str = "testserver", method: str = "GET") -> httpx.Response:
        transport = httpx.ASGITransport(self.app())
        async with httpx.AsyncClient(transport=transport, base_url=f"http://{host}") as client:
            return await client.request(method, path)


async def test_health_is_truthful() -> None:
    site = Site()
    good = await site.get("/healthz")
    assert good.status_code == 200
    assert good.json()["status"] == "ok"
    site.health = replace(GOOD, parts={"ledger": Part(ok=False, detail="disk full")})
    bad = await site.get("/healthz")
    assert bad.status_code == 503
    assert bad.headers["retry-after"] == "5"
    assert bad.json()["parts"]["ledger"] == {"ok": False, "detail": "disk full"}
    site.health = replace(GOOD, draining=True)
    assert (await site.get("/healthz")).json()["status"] == "draining"


async def test_metrics() -> None:
    answer = await Site().get("/metrics")
    assert (answer.status_code, answer.content) == (200, b"x 1\n")


async def test_calls_are_paged() -> None:
    site = Site()
    first = (await site.get("/api/calls?limit=2")).json()
    assert [call["id"] for call in first["calls"]] == ["call-3", "call-2"]
    second = (await site.get(f"/api/calls?limit=2&before={first['next']}")).json()
    assert [call["id"] for call in second["calls"]] == ["call-1"]
    assert second["next"] is None


async def test_a_call_with_its_timeline() -> None:
    call = (await Site().get("/api/calls/call-1")).json()
    assert call["outcome"] == {"result": "success", "reason": "caller_hung_up", "detail": ""}
    assert call["answered_ms"] == 250.0
    assert call["timeline"][1] == {
        "seq": 2,
        "at_ms": 1.5,
        "kind": "transcript",
        "data": {"role": "caller", "text": "hello", "item": ""},
    }
    assert call["transcript"] == [{"at_ms": 1.5, "role": "caller", "text": "hello"}]
    assert call["integrity"] == {"ok": True, "entries": 2, "detail": ""}
    assert (await Site().get("/api/calls/call-3")).json()["outcome"] is None


def test_a_cut_off_answer_reads_as_it_was_heard() -> None:
    def said(seq: int, role: str, text: str, item: str = "") -> Entry:
        return Entry(seq, seq * MS, Kind.TRANSCRIPT, {"role": role, "text": text, "item": item}, "")

    entries = [
        said(1, "agent", "Hello.", "i1"),
        said(2, "agent", "Your order was shipped on Monday.", "i2"),
        said(3, "caller", "Stop."),
        said(4, "agent", "Your order", "i2"),
        said(5, "agent", "Never heard.", "i3"),
        said(6, "agent", "", "i3"),
    ]
    assert [(line["role"], line["text"]) for line in transcript_object(entries)] == [
        ("agent", "Hello."),
        ("agent", "Your order"),
        ("caller", "Stop."),
    ]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/calls/nope", 404),
        ("/api/calls?limit=0", 400),
        ("/api/calls?limit=501", 400),
        ("/api/calls?limit=-1", 400),
        ("/api/calls?limit=1e3", 400),
        ("/api/calls?limit=99999999999999999999999", 400),
        ("/api/calls?before=nope", 400),
        ("/nowhere", 404),
    ],
)
async def test_what_is_wrong_is_said_in_json(path: str, status: int) -> None:
    answer = await Site().get(path)
    assert answer.status_code == status
    error = answer.json()["error"]
    assert error["what"]
    assert error["hint"]


async def test_the_api_is_read_only() -> None:
    answer = await Site().get("/api/calls", method="POST")
    assert answer.status_code == 405
    assert answer.json()["error"]["hint"]


async def test_a_foreign_name_is_refused() -> None:
    answer = await Site().get("/api/calls", host="evil.example")
    assert answer.status_code == 421


async def test_a_ledger_that_cannot_be_read_is_503() -> None:
    site = Site(Shelf(broken=True))
    answer = await site.get("/api/calls")
    assert answer.status_code == 503
    assert "cannot be read" in answer.json()["error"]["what"]


async def _fetch(port: int, path: str) -> tuple[int, bytes]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n".encode())
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    finally:
        writer.close()
        await writer.wait_closed()
    return int(head.split()[1]), body


async def test_it_serves_on_a_real_port_and_stops() -> None:
    async with serve(Site().app(frozenset({"127.0.0.1"})), host="127.0.0.1", port=0) as port:
        status, body = await _fetch(port, "/healthz")
        assert status == 200
        assert json.loads(body)["status"] == "ok"
    with pytest.raises(OSError, match=r"refused|Connect"):
        await asyncio.open_connection("127.0.0.1", port)


async def test_a_busy_port_is_one_sentence() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(LocalError, match=f"127.0.0.1:{port}: Address already in use") as refused:
            async with serve(Site().app(), host="127.0.0.1", port=port):
                pass
    assert "server.http.port" in refused.value.hint
