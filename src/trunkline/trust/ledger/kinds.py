"""The one table of timeline kinds: what may be appended to a call's timeline, with which data.

A kind that is not in this table cannot be appended. ``docs/reference/timeline.md`` documents each one;
a unit test compares the two. Times in data are nanoseconds since the call's start (``…_ns``) or spans in
milliseconds (``…_ms``).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final


class Kind(StrEnum):
    """Name of a timeline entry, as stored."""

    # the call and its legs
    CALL_ARRIVED = "call_arrived"
    ROUTED = "routed"
    ADMISSION_REFUSED = "admission_refused"
    ANSWERED = "answered"
    CONNECTED = "connected"
    HELD = "held"
    RESUMED = "resumed"
    DTMF = "dtmf"
    LIMIT_REACHED = "limit_reached"
    LEG_ENDED = "leg_ended"
    CALL_ENDED = "call_ended"
    # media
    MEDIA_OPENED = "media_opened"
    FIRST_PACKET = "first_packet"
    PLAY_STARTED = "play_started"
    PLAY_ENDED = "play_ended"
    MASK_STARTED = "mask_started"
    MASK_ENDED = "mask_ended"
    FLUSHED = "flushed"
    RTP_SILENCE = "rtp_silence"
    MEDIA_FAILED = "media_failed"
    MEDIA_RELEASED = "media_released"
    MEDIA_REANCHORED = "media_reanchored"
    MEDIA_CLOSED = "media_closed"
    RECORDING_STARTED = "recording_started"
    # the engine and the conversation
    ENGINE_STARTING = "engine_starting"
    ENGINE_READY = "engine_ready"
    ENGINE_ERROR = "engine_error"
    ENGINE_GOING_AWAY = "engine_going_away"
    ENGINE_CLOSED = "engine_closed"
    GREETING = "greeting"
    CALLER_SPEECH_STARTED = "caller_speech_started"
    CALLER_SPEECH_STOPPED = "caller_speech_stopped"
    TRANSCRIPT = "transcript"
    TRANSCRIPT_PARTIAL = "transcript_partial"
    ITEM_STARTED = "item_started"
    ITEM_ENDED = "item_ended"
    BARGE_IN = "barge_in"
    TRUNCATED = "truncated"
    TURN_ENDED = "turn_ended"
    USAGE = "usage"
    # tools
    TOOL_REQUESTED = "tool_requested"
    TOOL_REFUSED = "tool_refused"
    TOOL_STARTED = "tool_started"
    TOOL_SLOW = "tool_slow"
    TOOL_ANSWERED = "tool_answered"
    TOOL_MAPPED = "tool_mapped"
    TOOL_FINISHED = "tool_finished"
    TOOL_CANCELLED = "tool_cancelled"
    # to a person
    HAND_OVER = "hand_over"
    TRANSFER_STARTED = "transfer_started"
    TRANSFER_PROGRESS = "transfer_progress"
    TRANSFER_FAILED = "transfer_failed"
    TRANSFERRED = "transferred"
    # the record itself
    BUG = "bug"
    LEDGER_GAP = "ledger_gap"
    RECOVERED = "recovered"


@dataclass(frozen=True, slots=True)
class KindSpec:
    """What a kind means, and its data fields with their meaning.

    A ``droppable`` kind is refused first when the ledger is behind; a ``ledger_gap`` entry then says how many
    are missing.
    """

    meaning: str
    fields: Mapping[str, str] = field(default_factory=dict)
    droppable: bool = False


_ITEM: Final = {"item": "the engine's name of the piece of speech"}
_TOOL: Final = {"id": "the engine's id of the request", "tool": "name of the tool"}
_HEARD: Final = {"heard_ms": "how much the caller heard", "total_ms": "how much the engine had sent"}
_SPEECH: Final = {"source": "`engine` or `vad`", "lag_ms": "how much earlier it really happened"}

KINDS: Final[Mapping[Kind, KindSpec]] = {
    Kind.CALL_ARRIVED: KindSpec(
        "A leg arrived and was admitted; first entry of an inbound call.",
        {
            "trunk": "name of the trunk",
            "direction": "`inbound` or `outbound`",
            "ani": "calling number",
            "dnis": "called number",
            "display_name": "name the caller's network sent",
            "source": "`host:port` of the signalling",
            "protocol_id": "the network's id, the SIP Call-ID",
            "leg": "id of the leg",
        },
    ),
    Kind.ROUTED: KindSpec(
        "A route matched.",
        {"route": "its name", "agent": "agent that will answer", "engine": "engine it uses"},
    ),
    Kind.ADMISSION_REFUSED: KindSpec(
        "The call was refused before it was answered.", {"status": "SIP status sent", "reason": "why"}
    ),
    Kind.ANSWERED: KindSpec("The 200 OK was sent.", {"setup_ms": "since the call's start"}),
    Kind.CONNECTED: KindSpec("The caller's side acknowledged the answer (ACK)."),
    Kind.HELD: KindSpec("The caller's side put us on hold."),
    Kind.RESUMED: KindSpec("The caller's side took us off hold."),
    Kind.DTMF: KindSpec(
        "The caller pressed a key.",
        {"digit": "the key", "via": "`rtp` (RFC 4733) or `info`", "duration_ms": "how long it was pressed"},
    ),
    Kind.LIMIT_REACHED: KindSpec(
        "A limit of the agent ended or changed the call.", {"limit": "its name", "value": "its value"}
    ),
    Kind.LEG_ENDED: KindSpec(
        "A leg is over.",
        {
            "leg": "id of the leg",
            "by_peer": "whether the other side ended it",
            "cause": "`bye`, `cancel`, `rejected`, `timeout`, `session_expired`, `transport` or `local`",
            "status": "SIP status, 0 when none",
            "detail": "for people",
        },
    ),
    Kind.CALL_ENDED: KindSpec(
        "The call is over; last entry, written with the CDR's end.",
        {"result": "who is answerable", "reason": "what ended it", "detail": "for people"},
    ),
    Kind.MEDIA_OPENED: KindSpec(
        "A media session was opened.", {"host": "our address", "port": "our RTP port"}
    ),
    Kind.FIRST_PACKET: KindSpec("The caller's first RTP packet was accepted.", {"source": "`host:port`"}),
    Kind.PLAY_STARTED: KindSpec("First audio of an item left as RTP.", _ITEM),
    Kind.PLAY_ENDED: KindSpec("An item was played to its end.", _ITEM | _HEARD),
    Kind.MASK_STARTED: KindSpec(
        "Bridging audio began.", {"name": "of the mask", "text": "what is spoken, if it is speech"}
    ),
    Kind.MASK_ENDED: KindSpec(
        "Bridging audio ended.", {"name": "of the mask", "played_ms": "how much was played"}
    ),
    Kind.FLUSHED: KindSpec(
        "Playout was silenced.",
        {
            "items": "list of `{item, heard_ms, total_ms}`; the first is the interrupted one",
            "flush_ms": "from the request to silence",
        },
    ),
    Kind.RTP_SILENCE: KindSpec("No RTP came from the caller.", {"quiet_ms": "for how long"}),
    Kind.MEDIA_FAILED: KindSpec(
        "The media session died.", {"detail": "why", "bug": "true when it is our own mistake"}
    ),
    Kind.MEDIA_RELEASED: KindSpec(
        "Trunkline left the media path after an accepted transfer.",
        {
            "accepted_at_ns": "when the peer accepted",
            "engine_closed_at_ns": "when the engine's session was closed",
            "rtp_stopped_at_ns": "when the last RTP packet was sent",
            "ports_freed_at_ns": "when the ports were free",
            "release_ms": "from acceptance to ports free",
        },
    ),
    Kind.MEDIA_REANCHORED: KindSpec(
        "Media was opened again after a failed transfer.", {"host": "our address", "port": "our RTP port"}
    ),
    Kind.MEDIA_CLOSED: KindSpec(
        "The media session was closed.", {"stats": "its counters (see the media page)"}
    ),
    Kind.RECORDING_STARTED: KindSpec("Recording began.", {"path": "file, relative to the data directory"}),
    Kind.ENGINE_STARTING: KindSpec(
        "An engine session is being opened.", {"engine": "its name", "kind": "its kind", "attempt": "from 1"}
    ),
    Kind.ENGINE_READY: KindSpec(
        "The engine listens.", {"engine": "its name", "start_ms": "from opening to ready"}
    ),
    Kind.ENGINE_ERROR: KindSpec(
        "The engine reported an error.",
        {
            "message": "what it said",
            "code": "its own code",
            "fault": "`ours`, `engine` or `network`",
            "retryable": "whether another try may help",
        },
    ),
    Kind.ENGINE_GOING_AWAY: KindSpec("The engine will close soon.", {"in_ms": "when; 0 when unknown"}),
    Kind.ENGINE_CLOSED: KindSpec(
        "The engine session is over.",
        {
            "engine": "its name",
            "clean": "whether we closed it",
            "retryable": "whether another try may help",
            "detail": "for people",
        },
    ),
    Kind.GREETING: KindSpec(
        "The engine was asked to greet.", {"text": "the greeting; empty: its own choice"}
    ),
    Kind.CALLER_SPEECH_STARTED: KindSpec("The caller began to speak.", _SPEECH),
    Kind.CALLER_SPEECH_STOPPED: KindSpec("The caller stopped speaking.", _SPEECH),
    Kind.TRANSCRIPT: KindSpec(
        "Final words of one side.", {"role": "`caller` or `agent`", "text": "the words"} | _ITEM
    ),
    Kind.TRANSCRIPT_PARTIAL: KindSpec(
        "Provisional words, replaced by later ones.",
        {"role": "`caller` or `agent`", "text": "the words"} | _ITEM,
        droppable=True,
    ),
    Kind.ITEM_STARTED: KindSpec("The engine began a piece of speech.", _ITEM, droppable=True),
    Kind.ITEM_ENDED: KindSpec("The engine has sent all of a piece of speech.", _ITEM, droppable=True),
    Kind.BARGE_IN: KindSpec(
        "The caller spoke into the agent's speech.", {"source": "`engine` or `vad`"} | _ITEM
    ),
    Kind.TRUNCATED: KindSpec(
        "The engine was told what the caller heard of an interrupted item.", _ITEM | _HEARD
    ),
    Kind.TURN_ENDED: KindSpec("The engine finished an answer.", {"status": "as the engine put it"}),
    Kind.USAGE: KindSpec("What a turn cost.", {"units": "the engine's own units"}, droppable=True),
    Kind.TOOL_REQUESTED: KindSpec(
        "The engine asked for a tool.",
        _TOOL
        | {
            "arguments": "as the engine sent them, not yet checked",
            "malformed": "the start of the raw text when it was no JSON object",
            "trace": "joins all records of this tool call",
        },
    ),
    Kind.TOOL_REFUSED: KindSpec(
        "A tool call was refused before any system was asked.",
        _TOOL
        | {
            "status": "`denied`, `invalid_arguments` or `failed`",
            "why": "what is wrong",
            "trace": "joins all records of this tool call",
        },
    ),
    Kind.TOOL_STARTED: KindSpec(
        "Arguments are valid, the connector is asked.",
        _TOOL
        | {
            "connector": "its name",
            "operation": "its operation",
            "mask_ms": "mask point after the request",
            "hard_ms": "deadline after the request",
            "trace": "joins all records of this tool call",
        },
    ),
    Kind.TOOL_SLOW: KindSpec(
        "The mask point passed without an answer.", _TOOL | {"after_ms": "since the request"}
    ),
    Kind.TOOL_ANSWERED: KindSpec(
        "The connector answered.",
        _TOOL
        | {
            "records": "how many",
            "truncated": "whether the row limit cut the answer",
            "took_ms": "time in the connector",
        },
    ),
    Kind.TOOL_MAPPED: KindSpec(
        "The answer was mapped to the agreed record.",
        _TOOL
        | {
            "mapping": "mapping document, record and version hash",
            "lineage": "for each field: source fields and rule",
            "issues": "values that did not fit, and what was done",
        },
    ),
    Kind.TOOL_FINISHED: KindSpec(
        "The tool call's outcome.",
        _TOOL
        | {
            "status": "`ok`, `not_found`, `invalid_arguments`, `denied`, `unavailable` or `failed`",
            "took_ms": "since the request",
            "detail": "why, when it is not `ok`",
            "output": "what the engine gets",
            "spoken": "the prepared sentence",
            "masked": "whether the mask point passed",
        },
    ),
    Kind.TOOL_CANCELLED: KindSpec("The engine no longer wants the answer, or the call ended.", _TOOL),
    Kind.HAND_OVER: KindSpec(
        "The engine asked for a person.",
        {"queue": "queue chosen", "reason": "why", "summary": "what the person should know"},
    ),
    Kind.TRANSFER_STARTED: KindSpec(
        "The REFER was sent.", {"target": "where to", "queue": "name of the queue"}
    ),
    Kind.TRANSFER_PROGRESS: KindSpec(
        "News of the transfer.",
        {
            "status": "SIP status of the REFER or of the new call",
            "reason": "its phrase",
            "accepted": "whether this is the REFER's own acceptance",
            "final": "whether nothing more will come",
        },
    ),
    Kind.TRANSFER_FAILED: KindSpec(
        "The transfer did not succeed; the call goes on.", {"status": "SIP status or 0", "detail": "why"}
    ),
    Kind.TRANSFERRED: KindSpec("The person answered; the call is theirs.", {"target": "where to"}),
    Kind.BUG: KindSpec(
        "Our own mistake was caught; the call was ended or went on without a part.",
        {"where": "what was being done", "detail": "exception and place"},
    ),
    Kind.LEDGER_GAP: KindSpec(
        "Entries are missing here because the ledger was behind.",
        {"dropped": "how many", "kinds": "how many of each kind"},
    ),
    Kind.RECOVERED: KindSpec(
        "The process ended without closing this call; it was closed at the next start.",
        {"recovered_at": "wall-clock time of the closing"},
    ),
}
