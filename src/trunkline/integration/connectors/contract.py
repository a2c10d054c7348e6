"""What a connector to a business system is, whichever system it is.

A connector offers named operations and carries them out. It contains no retry, cache, rate or breaker: those
are policy, around it. It never acts because of text in its arguments: they are values, bound to parameters.
"""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from trunkline.config import Document
from trunkline.integration.mapping import RecordMapping
from trunkline.model import Clock, LocalProtocolError, Nanos, TraceId


class OperationKind(StrEnum):
    """What an operation does to the system."""

    READ = "read"
    WRITE = "write"
    STREAM = "stream"


@dataclass(frozen=True, slots=True)
class Operation:
    """One thing a connector can do."""

    name: str
    kind: OperationKind
    parameters: Mapping[str, Any]
    """JSON Schema of the arguments it takes."""
    single: bool = False
    """The answer has one record or none; otherwise it is a list."""
    mapping: RecordMapping | None = None
    """How its records become the agreed ones; ``None``: they are taken as they are."""


@dataclass(frozen=True, slots=True)
class Context:
    """What surrounds one call of an operation."""

    deadline: Nanos
    """Absolute; work that goes on after it is wasted. The call is cancelled then."""
    trace: TraceId
    clock: Clock


@dataclass(frozen=True, slots=True)
class Answer:
    """What a system said, in its own words. ``truncated``: there was more than the connector's limit."""

    records: tuple[Mapping[str, Any], ...] = field(repr=False)
    truncated: bool = False


@dataclass(frozen=True, slots=True)
class Health:
    """Whether the system can be used now; ``detail`` for people."""

    ok: bool
    detail: str = ""


class Connector(ABC):
    """One configured system. Used from one event loop; operations run concurrently up to its own bound."""

    @abstractmethod
    def operations(self) -> Mapping[str, Operation]:
        """Everything it can do, by name. Does not change."""

    @abstractmethod
    async def call(self, operation: str, arguments: Mapping[str, Any], ctx: Context) -> Answer:
        """Carry out a read or write.

        Raises ``RemoteError`` (or a subclass) for what the system did, ``Overloaded`` when the connector's own
        bound is reached, ``LocalProtocolError`` for an operation it does not have. Stops promptly when cancelled.
        """

    def stream(
        self,
        operation: str,
        arguments: Mapping[str, Any],  # noqa: ARG002 - for those that implement it
        ctx: Context,  # noqa: ARG002
    ) -> AsyncIterator[Mapping[str, Any]]:
        """Records as they come. Only connectors with an operation of kind ``stream`` implement it."""
        raise LocalProtocolError(f"{operation} is no stream")

    @abstractmethod
    async def probe(self, ctx: Context) -> Health:
        """A cheap question that only a working system answers. Never raises for what the system did."""

    @abstractmethod
    async def close(self) -> None:
        """Free everything it holds. Calls in flight end with ``RemoteError``."""


Factory = Callable[[Document], Connector]
"""Makes a connector from its settings: a document whose ``file`` tells what relative paths are relative to.
Raises ``ConfigError`` with file and line. Does not wait for the system."""
