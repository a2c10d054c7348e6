"""The timeline entries of one tool request."""

from typing import Any, Final

from trunkline.integration.policy import Deadline
from trunkline.integration.tools import answers
from trunkline.integration.tools.contract import ToolOutcome, ToolRequest, ToolStatus
from trunkline.integration.tools.registry import Tool
from trunkline.model import Clock, Nanos, TraceId, to_ms
from trunkline.trust.ledger import Kind, Record

SHOWN: Final = 200
"""Characters of a malformed request, and of a wrong tool name, that are kept."""


class Steps:
    """Writes one request's steps to the call's timeline."""

    def __init__(self, record: Record, clock: Clock, request: ToolRequest, trace: TraceId) -> None:
        self._record, self._clock, self._request, self.trace = record, clock, request, trace
        self.asked_at = clock.now()
        self.masked = False

    def __call__(self, kind: Kind, /, **data: Any) -> None:
        request = self._request
        said = {"id": request.id, "tool": request.name[:SHOWN], **data}
        self._record(request.call, self._clock.now(), kind, said)

    def since(self) -> Nanos:
        """Since the request."""
        return Nanos(self._clock.now() - self.asked_at)

    def requested(self) -> None:
        """The request as the engine sent it."""
        raw = {"malformed": self._request.malformed[:SHOWN]} if self._request.malformed else {}
        self(Kind.TOOL_REQUESTED, trace=self.trace, arguments=answers.plain(self._request.arguments), **raw)

    def started(self, tool: Tool, deadline: Deadline) -> None:
        """The connector is asked."""
        self(
            Kind.TOOL_STARTED,
            trace=self.trace,
            connector=tool.connector,
            operation=tool.operation.name,
            mask_ms=to_ms(deadline.mask_at - deadline.asked_at),
            hard_ms=to_ms(deadline.hard_at - deadline.asked_at),
        )

    def slow(self) -> None:
        """The mask point passed."""
        self.masked = True
        self(Kind.TOOL_SLOW, after_ms=to_ms(self.since()))

    def refused(self, status: ToolStatus, why: str) -> ToolOutcome:
        """Nothing was asked; the outcome tells the engine why."""
        self(Kind.TOOL_REFUSED, trace=self.trace, status=status, why=why)
        return answers.refused(status, why)

    def finished(self, outcome: ToolOutcome) -> None:
        """What the engine gets."""
        self(
            Kind.TOOL_FINISHED,
            status=outcome.status,
            took_ms=to_ms(outcome.took),
            masked=outcome.masked,
            detail=outcome.detail,
            output=outcome.output,
            spoken=outcome.spoken,
        )
