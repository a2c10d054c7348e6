"""How a call's end is expressed: the exception that ends a flow, and what a leg's end means."""

from dataclasses import dataclass

from trunkline.model import Outcome, Reason, Result
from trunkline.telephony.legs.contract import LegEnded


@dataclass(frozen=True, slots=True)
class Refusal:
    """The final response for a call that was not answered. ``retry_after`` in seconds."""

    status: int
    reason: str
    retry_after: int | None = None


class CallOver(Exception):  # noqa: N818 - not an error: the normal way a flow ends
    """The call is over, or must be ended now. ``refusal`` is used when it was not answered yet."""

    def __init__(self, outcome: Outcome, *, refusal: Refusal | None = None) -> None:
        super().__init__(f"{outcome.result}: {outcome.reason} {outcome.detail}")
        self.outcome = outcome
        self.refusal = refusal


def leg_outcome(ended: LegEnded) -> Outcome:
    """What the end of the caller's leg means for the call."""
    match ended.cause:
        case "bye" if ended.by_peer:
            return Outcome(Result.SUCCESS, Reason.CALLER_HUNG_UP, ended.detail)
        case "cancel":
            return Outcome(Result.CALLER, Reason.CANCELLED, ended.detail)
        case "session_expired":
            return Outcome(Result.UPSTREAM, Reason.SESSION_EXPIRED, ended.detail)
        case "rejected":
            return Outcome(Result.LOCAL, Reason.REJECTED, ended.detail)
        case "timeout" | "transport":
            return Outcome(Result.UPSTREAM, Reason.SIGNALLING_FAILED, ended.detail or ended.cause)
        case _:
            return Outcome(Result.UNKNOWN, Reason.CALLER_HUNG_UP, ended.detail or ended.cause)
