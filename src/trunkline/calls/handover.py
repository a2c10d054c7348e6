"""The engine asks for a person: which queue, last words, transfer, and back to the engine when it fails."""

from trunkline.calls.attach import last_words
from trunkline.calls.call import Call
from trunkline.calls.failover import after_failed_transfer
from trunkline.calls.states import Step
from trunkline.calls.transfer import transfer
from trunkline.engines.contract import HandOver, Say
from trunkline.trust.ledger import Kind


async def hand_over(call: Call, wish: HandOver) -> None:
    """Carry out the engine's wish. Ends with ``CallOver`` when the caller is with a person; returns when the
    caller is talking to an engine again."""
    assert call.agent is not None, "a wish comes after routing"
    queue = choose_queue(wish.queue, call.agent.queues)
    call.note(Kind.HAND_OVER, queue=queue or wish.queue, reason=wish.reason, summary=wish.summary)
    if queue is None:
        call.note(Kind.TRANSFER_FAILED, status=0, detail="the agent has no such queue")
        call.outlet.command(Say(text=call.agent.phrases.transfer_failed))
        return
    call.step(Step.HAND_OVER)
    await last_words(call)
    await transfer(call, queue)
    await after_failed_transfer(call)


def choose_queue(wanted: str, allowed: tuple[str, ...]) -> str | None:
    """The queue an agent may hand over to: the one asked for, the first when none was named. An engine
    never gets a queue that its agent does not have."""
    if not wanted:
        return allowed[0] if allowed else None
    return wanted if wanted in allowed else None
