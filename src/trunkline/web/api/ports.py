"""What the HTTP API needs of the rest of the house; ``runtime.compose`` fills it in."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from trunkline.model import CallId
from trunkline.trust.ledger import CallRow, Entry, Verification


@dataclass(frozen=True, slots=True)
class Part:
    """State of one part of the process."""

    ok: bool
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Health:
    """Whether calls can be taken now. ``parts`` by name; ``draining`` is not a fault but takes no calls."""

    parts: Mapping[str, Part]
    draining: bool = False
    calls: int = 0
    facts: Mapping[str, str] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """All parts work and new calls are taken."""
        return not self.draining and all(part.ok for part in self.parts.values())


class CallReader(Protocol):
    """Reading the ledger (``trust.ledger.Ledger``)."""

    async def calls(self, limit: int = 50, before: CallId | None = None) -> Sequence[CallRow]: ...

    async def call(self, call: CallId) -> CallRow | None: ...

    async def timeline(self, call: CallId) -> Sequence[Entry]: ...

    async def verify(self, call: CallId) -> Verification | None: ...


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the API's answers come from."""

    health: Callable[[], Health]
    metrics: Callable[[], bytes]
    metrics_type: str
    calls: CallReader
