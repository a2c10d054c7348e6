"""What happens when a call has no engine.

First form: the next engine of the agent's chain; when none is left, an apology by the local voice and the
agent's first queue; without a queue, or when nobody answers there, a polite good-bye. Before the answer the
call is refused with 503 instead, so that the network in front can send it elsewhere.
"""

from trunkline.calls.attach import Readiness, detach, greet, say_locally, until_ready
from trunkline.calls.call import Call
from trunkline.calls.outcomes import CallOver, Refusal
from trunkline.calls.states import State, Step
from trunkline.calls.transfer import transfer
from trunkline.engines.contract import Say
from trunkline.model import Outcome, Reason, Result, seconds

RETRY_AFTER_S = 5


async def engine_before_answer(call: Call) -> None:
    """Connect the agent's engine and wait for it a moment. Ends with a 503 when none comes."""
    assert call.agent is not None, "an engine comes after routing"
    patience = seconds(call.agent.limits.answer_within_s)
    if await until_ready(call, patience=patience) is Readiness.NONE:
        outcome = Outcome(Result.UPSTREAM, Reason.ENGINE_FAILED, "no engine came")
        raise CallOver(outcome, refusal=Refusal(503, "Service Unavailable", RETRY_AFTER_S))


async def engine_after_answer(call: Call) -> None:
    """Wait until an engine is ready; without one the caller is told and handed to people."""
    if await until_ready(call) is Readiness.NONE:
        await give_up(call)


async def fail_over(call: Call) -> None:
    """The engine is gone in the middle of the call: the next one takes over, or people do."""
    assert call.agent is not None and call.turns is not None, "an engine comes after routing"  # noqa: PT018
    call.step(Step.LOSE_ENGINE)
    call.turns.active = False
    call.turns.forget()
    if await until_ready(call) is Readiness.NONE:
        await give_up(call)
    call.step(Step.CONVERSE)
    call.turns.active = True
    if call.turns.spoken:
        call.outlet.command(Say(text=call.agent.phrases.resumed))
    else:
        greet(call)


async def after_failed_transfer(call: Call) -> None:
    """The caller is ours again: an engine talks on, the same session where it is still there."""
    assert call.agent is not None and call.turns is not None, "a transfer comes after routing"  # noqa: PT018
    if not call.outlet.attached:
        call.chain.clear()
        call.chain.extend((call.agent.engine, *call.agent.fallback))
    if await until_ready(call) is Readiness.NONE:
        await part(call)
    call.step(Step.CONVERSE)
    call.turns.active = True
    call.outlet.command(Say(text=call.agent.phrases.transfer_failed))


async def give_up(call: Call) -> None:
    """No engine is left: apology and people, else good-bye. Always ends with ``CallOver``."""
    assert call.agent is not None, "an engine comes after routing"
    if call.state is not State.ALONE:
        call.step(Step.LOSE_ENGINE)
    await detach(call)
    if call.agent.queues:
        await say_locally(call, call.agent.phrases.apology)
        call.step(Step.HAND_OVER)
        await transfer(call, call.agent.queues[0])
    await part(call)


async def part(call: Call) -> None:
    """Say good-bye and end the call."""
    assert call.agent is not None, "words come after routing"
    await say_locally(call, call.agent.phrases.goodbye)
    raise CallOver(Outcome(Result.UPSTREAM, Reason.ENGINE_FAILED, "no engine is left"))
