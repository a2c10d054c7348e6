"""The tool flow, top to bottom: an engine asks for a tool, an outcome answers, the timeline has every step.

Nothing the engine sent is believed: the tool must be the agent's, the arguments must fit their schemas, and the
deadline holds whatever the system does. The flow never raises because of an engine or a system.
"""

import logging
import os
from collections.abc import Callable
from dataclasses import replace

from trunkline.integration.connectors import Answer, Connector, Context
from trunkline.integration.policy import ArgumentsInvalid, Attempt, Chain, DeadlinePassed
from trunkline.integration.tools import answers
from trunkline.integration.tools.contract import ToolOutcome, ToolRequest, ToolStatus
from trunkline.integration.tools.registry import Registry, Tool
from trunkline.integration.tools.steps import SHOWN, Steps
from trunkline.model import Clock, Overloaded, RemoteError, TraceId, to_ms
from trunkline.model.ids import make_id
from trunkline.trust.ledger import Kind, Record

log = logging.getLogger(__name__)

OnSlow = Callable[[Tool], None]


class Invoker:
    """Carries out tool requests of all calls, any number at a time."""

    def __init__(
        self,
        registry: Registry,
        connectors: dict[str, Connector],
        *,
        clock: Clock,
        record: Record,
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._registry, self._connectors = registry, connectors
        self._clock, self._record, self._entropy = clock, record, entropy
        self._chain = Chain(clock)

    async def invoke(self, request: ToolRequest, *, on_slow: OnSlow) -> ToolOutcome:
        """Carry out ``request``; ``on_slow`` is called once if the tool's mask point passes before the answer.

        Only cancellation is raised, and it stops the system's work too.
        """
        steps = Steps(self._record, self._clock, request, TraceId(make_id("trace", self._entropy(8))))
        steps.requested()
        try:
            outcome = await self._outcome(request, steps, on_slow)
        except BaseException:
            steps(Kind.TOOL_CANCELLED)
            raise
        outcome = replace(outcome, took=steps.since(), masked=steps.masked)
        steps.finished(outcome)
        return outcome

    async def _outcome(self, request: ToolRequest, steps: Steps, on_slow: OnSlow) -> ToolOutcome:
        tool = self._registry.permitted(request.agent, request.name)
        if tool is None:
            return steps.refused(
                ToolStatus.DENIED, f"there is no tool {request.name[:SHOWN]!r} for this agent"
            )
        if request.malformed:
            return steps.refused(ToolStatus.INVALID_ARGUMENTS, "the arguments are not a JSON object")
        try:
            answer = await self._ask(tool, request, steps, on_slow)
            mapped = answers.map_answer(tool, answer)
            steps(Kind.TOOL_MAPPED, **answers.lineage(tool, mapped))
            return answers.found(tool, request.arguments, answer, mapped)
        except ArgumentsInvalid as invalid:
            return steps.refused(ToolStatus.INVALID_ARGUMENTS, invalid.what)
        except DeadlinePassed:
            limit = f"no answer within {to_ms(tool.budget.hard):.0f} ms"
            return answers.refused(ToolStatus.UNAVAILABLE, limit, tool.unavailable)
        except (RemoteError, Overloaded) as failed:
            log.warning("tool %s, %s: %s", tool.name, steps.trace, type(failed).__name__)
            return answers.refused(ToolStatus.UNAVAILABLE, failed.what, tool.unavailable)
        except Exception as bug:
            log.exception("tool %s, %s: our own mistake", tool.name, steps.trace)
            return answers.refused(
                ToolStatus.FAILED, f"internal error: {type(bug).__name__}", tool.unavailable
            )

    async def _ask(self, tool: Tool, request: ToolRequest, steps: Steps, on_slow: OnSlow) -> Answer:
        """Through the gates of policy, in their order, to the connector."""
        deadline = tool.budget.begin(steps.asked_at)
        connector = self._connectors[tool.connector]

        def slow() -> None:
            steps.slow()
            on_slow(tool)

        async def operation(attempt: Attempt) -> Answer:
            steps.started(tool, deadline)
            began = self._clock.now()
            context = Context(attempt.deadline.hard_at, steps.trace, self._clock)
            answer = await connector.call(tool.operation.name, attempt.arguments, context)
            steps(
                Kind.TOOL_ANSWERED,
                records=len(answer.records),
                truncated=answer.truncated,
                took_ms=to_ms(self._clock.now() - began),
            )
            return answer

        return await self._chain.run(Attempt(request.arguments, tool.rules, deadline, slow), operation)

    async def close(self) -> None:
        """Wait until operations that passed their deadline have stopped."""
        await self._chain.close()
