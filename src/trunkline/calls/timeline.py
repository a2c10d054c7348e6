"""Which timeline entry an event becomes: a pure table from events to kinds and their data.

Steps that the flow itself takes are written where it takes them. Audio, texts of an engine's wire and other
noise have no entry.
"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, assert_never

from trunkline.engines import contract as engine
from trunkline.model import LegId
from trunkline.telephony.legs import contract as leg
from trunkline.telephony.media import port as media
from trunkline.trust.ledger import Kind

Step = tuple[Kind, Mapping[str, Any]]


def leg_entry(event: leg.LegEvent, id_: LegId) -> Step | None:
    """Entry for something that happened to the leg ``id_``."""
    match event:
        case leg.LegAnswered():
            return Kind.CONNECTED, {}
        case leg.LegHeld():
            return Kind.HELD, {}
        case leg.LegResumed():
            return Kind.RESUMED, {}
        case leg.LegDtmf(digit=digit):
            return Kind.DTMF, {"digit": digit, "via": "info"}
        case leg.TransferProgress(status=status, reason=reason, accepted=accepted, final=final):
            return Kind.TRANSFER_PROGRESS, {
                "status": status,
                "reason": reason,
                "accepted": accepted,
                "final": final,
            }
        case leg.LegEnded(by_peer=by_peer, cause=cause, status=status, detail=detail):
            return Kind.LEG_ENDED, {
                "leg": id_,
                "by_peer": by_peer,
                "cause": cause,
                "status": status,
                "detail": detail,
            }
        case leg.LegRinging() | leg.TransferRequested():
            return None
        case _:
            assert_never(event)


def media_entry(event: media.MediaEvent) -> Step | None:
    """Entry for something the media session reported. ``Flushed`` is written by ``turns``, which knows why."""
    match event:
        case media.FirstPacket(source=source):
            return Kind.FIRST_PACKET, {"source": source}
        case media.CallerSpeech(started=started, lag_ms=lag):
            kind = Kind.CALLER_SPEECH_STARTED if started else Kind.CALLER_SPEECH_STOPPED
            return kind, {"source": "vad", "lag_ms": lag}
        case media.Digit(digit=digit, duration_ms=duration):
            return Kind.DTMF, {"digit": digit, "via": "rtp", "duration_ms": duration}
        case media.PlayStarted(item=item):
            return Kind.PLAY_STARTED, {"item": item}
        case media.PlayEnded(heard=heard):
            return Kind.PLAY_ENDED, asdict(heard)
        case media.MaskEnded(name=name, played_ms=played):
            return Kind.MASK_ENDED, {"name": name, "played_ms": played}
        case media.RtpSilence(quiet_ms=quiet):
            return Kind.RTP_SILENCE, {"quiet_ms": quiet}
        case media.MediaFailed(detail=detail, bug=bug):
            return Kind.MEDIA_FAILED, {"detail": detail, "bug": bug}
        case media.MediaClosed(stats=stats):
            return Kind.MEDIA_CLOSED, {"stats": asdict(stats)}
        case media.Flushed() | media.MaskStarted():
            return None
        case media.EngineOpened() | media.EngineText() | media.EngineClosed() | media.Tap():
            return None
        case _:
            assert_never(event)


def engine_entry(event: engine.EngineEvent, name: str) -> Step | None:  # noqa: C901 - one arm per event
    """Entry for something the engine ``name`` reported. Tool calls are written by the room of tools."""
    match event:
        case engine.CallerSpeechStarted():
            return Kind.CALLER_SPEECH_STARTED, {"source": "engine"}
        case engine.CallerSpeechStopped():
            return Kind.CALLER_SPEECH_STOPPED, {"source": "engine"}
        case engine.Transcript(role=role, text=text, final=final, item=item):
            kind = Kind.TRANSCRIPT if final else Kind.TRANSCRIPT_PARTIAL
            return kind, {"role": role, "text": text, "item": item}
        case engine.ItemStarted(item=item):
            return Kind.ITEM_STARTED, {"item": item}
        case engine.ItemEnded(item=item):
            return Kind.ITEM_ENDED, {"item": item}
        case engine.TurnEnded(status=status):
            return Kind.TURN_ENDED, {"status": status}
        case engine.Usage(units=units):
            return Kind.USAGE, {"units": dict(units)}
        case engine.GoingAway(in_ms=in_ms):
            return Kind.ENGINE_GOING_AWAY, {"in_ms": in_ms}
        case engine.EngineError(message=message, retryable=retryable, fault=fault, code=code):
            return Kind.ENGINE_ERROR, {
                "message": message,
                "code": code,
                "fault": fault,
                "retryable": retryable,
            }
        case engine.SessionClosed(clean=clean, retryable=retryable, detail=detail):
            return Kind.ENGINE_CLOSED, {
                "engine": name,
                "clean": clean,
                "retryable": retryable,
                "detail": detail,
            }
        case engine.SessionReady() | engine.Interrupted() | engine.ToolCall() | engine.ToolCallCancelled():
            return None
        case engine.HandOver() | engine.HangUp():
            return None
        case _:
            assert_never(event)
