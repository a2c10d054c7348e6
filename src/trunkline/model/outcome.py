"""How a call ended: always a result and a reason, so that no dashboard parses text."""

from dataclasses import dataclass
from enum import StrEnum


class Result(StrEnum):
    """Who is answerable for the way a call ended."""

    SUCCESS = "success"
    CALLER = "caller_error"
    LOCAL = "local_error"
    UPSTREAM = "upstream_error"
    UNKNOWN = "indeterminate"


class Reason(StrEnum):
    """What ended a call."""

    CALLER_HUNG_UP = "caller_hung_up"
    AI_HUNG_UP = "ai_hung_up"
    TRANSFERRED = "transferred"
    CANCELLED = "cancelled"
    REJECTED = "rejected"
    CALLER_SILENT = "caller_silent"
    SIGNALLING_FAILED = "signalling_failed"
    NO_MEDIA = "no_media"
    RTP_TIMEOUT = "rtp_timeout"
    SESSION_EXPIRED = "session_expired"
    MAX_DURATION = "max_duration"
    ENGINE_FAILED = "engine_failed"
    TRANSFER_FAILED = "transfer_failed"
    NO_ROUTE = "no_route"
    OVERLOADED = "overloaded"
    SHUTDOWN = "shutdown"
    PROCESS_LOST = "process_lost"
    BUG = "bug"


@dataclass(frozen=True, slots=True)
class Outcome:
    """Result × reason, with a free-text ``detail`` for people only."""

    result: Result
    reason: Reason
    detail: str = ""
