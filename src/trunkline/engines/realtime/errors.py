"""What the errors of a Realtime server mean for a session."""

import re
from dataclasses import dataclass
from typing import Any, Final

from trunkline.engines.contract import Fault
from trunkline.engines.dialect import text_of

BUSY: Final = "conversation_already_has_active_response"

HARMLESS: Final = frozenset({"response_cancel_not_active"})
"""Races that the protocol cannot avoid: the response ended while our cancel was under way."""

_FATAL: Final[dict[str, tuple[Fault, bool]]] = {
    "session_expired": (Fault.ENGINE, True),
    "invalid_api_key": (Fault.OURS, False),
    "invalid_authentication": (Fault.OURS, False),
    "account_deactivated": (Fault.OURS, False),
    "model_not_found": (Fault.OURS, False),
    "insufficient_quota": (Fault.OURS, False),
    "billing_hard_limit_reached": (Fault.OURS, False),
}

_KEYS = re.compile(r"\b(?:sk|ek|pk|Bearer)[-_ ][A-Za-z0-9_\-*.]{6,}")


@dataclass(frozen=True, slots=True)
class ServerError:
    """An ``error`` event, or the error of a failed response."""

    code: str
    message: str
    about: str
    """``event_id`` of the client event it answers, or empty."""
    fault: Fault
    retryable: bool
    fatal: bool

    @property
    def already_shorter(self) -> bool:
        """A truncation asked for more than the item holds: the caller heard all of it."""
        return "already shorter than" in self.message


def read_error(error: dict[str, Any]) -> ServerError:
    """Judge the ``error`` object. Anything that looks like a key is blotted out of the message."""
    code, kind = text_of(error, "code"), text_of(error, "type")
    message = _KEYS.sub("<secret>", text_of(error, "message"))[:500]
    if param := text_of(error, "param"):
        message = f"{message} [{param[:100]}]"
    if message.startswith("Conversation already has an active response"):
        code = BUSY  # servers before GA leave the code out
    fatal = _FATAL.get(code)
    if fatal is not None:
        fault, retryable = fatal
    else:
        theirs = kind in {"server_error", "rate_limit_error"} or code.startswith("rate_limit")
        fault, retryable = (Fault.ENGINE, True) if theirs else (Fault.OURS, False)
    return ServerError(
        code=code or kind or "unknown",
        message=message or "the engine reported an error without a message",
        about=text_of(error, "event_id"),
        fault=fault,
        retryable=retryable,
        fatal=fatal is not None,
    )
