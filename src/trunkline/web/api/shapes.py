"""How calls look as JSON. Times of a timeline are milliseconds since the call's start."""

from collections.abc import Mapping, Sequence
from typing import Any

from trunkline.model import MS
from trunkline.trust.ledger import CallRow, Entry, Verification
from trunkline.web.api.ports import Health


def health_object(health: Health) -> dict[str, Any]:
    """The body of ``/healthz``."""
    status = "ok" if health.ok else "draining" if health.draining else "failing"
    return {
        "status": status,
        "calls": health.calls,
        "parts": {name: {"ok": part.ok, "detail": part.detail} for name, part in health.parts.items()},
        **health.facts,
    }


def call_object(row: CallRow) -> dict[str, Any]:
    """One call's record."""
    return {
        "id": row.id,
        "started_at": row.started_at,
        "trunk": row.trunk,
        "direction": row.direction,
        "from": row.ani,
        "to": row.dnis,
        "route": row.route,
        "agent": row.agent,
        "engine": row.engine,
        "config": row.config_hash,
        "sip_call_id": row.protocol_id,
        "answered_ms": _ms(row.answered_ns),
        "duration_ms": _ms(row.ended_ns),
        "outcome": None
        if row.outcome is None
        else {"result": row.outcome.result, "reason": row.outcome.reason, "detail": row.outcome.detail},
        "recordings": list(row.recordings),
    }


def call_page(rows: Sequence[CallRow], *, limit: int) -> dict[str, Any]:
    """A page of calls; ``next`` is what to give as ``before`` for the following page, or null."""
    return {
        "calls": [call_object(row) for row in rows],
        "next": rows[-1].id if len(rows) == limit and rows else None,
    }


def timeline_object(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """A call's steps, in order."""
    return [
        {"seq": e.seq, "at_ms": round(e.at_ns / MS, 3), "kind": str(e.kind), "data": dict(e.data)}
        for e in entries
    ]


def transcript_object(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """Final words of both sides, in order. Words of an item that was cut off are replaced by what was heard."""
    lines: list[dict[str, Any]] = []
    items: dict[str, dict[str, Any]] = {}
    for entry in entries:
        if entry.kind != "transcript":
            continue
        role, text, item = (str(entry.data.get(key, "")) for key in ("role", "text", "item"))
        if item and item in items:
            items[item]["text"] = text
            continue
        line = {"at_ms": round(entry.at_ns / MS, 1), "role": role, "text": text}
        lines.append(line)
        if item:
            items[item] = line
    return [line for line in lines if line["text"]]


def integrity_object(verification: Verification | None) -> Mapping[str, Any] | None:
    """Whether the record's hash chain holds."""
    if verification is None:
        return None
    return {"ok": verification.ok, "entries": verification.entries, "detail": verification.detail}


def _ms(span: int | None) -> float | None:
    return None if span is None else round(span / MS, 1)
