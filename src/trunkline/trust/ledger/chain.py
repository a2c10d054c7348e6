"""The hash chain over a call's timeline: pure functions, so that anyone can verify an export.

``h0 = sha256(canonical(start))`` where ``start`` is the object of the call's start columns, and
``hn = sha256(hn-1 || canonical([seq, at_ns, kind, data]))`` over raw digest bytes. Canonical JSON here: keys
sorted, no blanks, UTF-8, no NaN.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from trunkline.model import Pii, Secret


def canonical(value: object) -> str:
    """``value`` as canonical JSON. ``Pii`` is written in clear (the ledger is the record it belongs to),
    ``Secret`` never. Raises ``TypeError`` for what JSON does not have, ``ValueError`` for NaN and infinities."""
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False, default=_plain
    )


def _plain(value: object) -> object:
    if isinstance(value, Pii):
        return value.reveal()
    if isinstance(value, Secret):
        return repr(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    raise TypeError(f"{type(value).__name__} cannot be written to the ledger")


def genesis(start: Mapping[str, Any]) -> bytes:
    """The chain's first value, from the start columns of the call."""
    return hashlib.sha256(canonical(start).encode()).digest()


def link(previous: bytes, seq: int, at_ns: int, kind: str, data: str) -> bytes:
    """The next value; ``data`` is the canonical JSON text as stored."""
    text = f"[{seq},{at_ns},{canonical(kind)},{data}]"
    return hashlib.sha256(previous + text.encode()).digest()
