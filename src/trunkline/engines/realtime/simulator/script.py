"""What a simulated engine does: a YAML script, one turn per answer.

Answers are numbered in the order in which they are asked for, whether by the caller's end of turn or by the client;
the n-th plays the n-th turn. ``docs/engines/realtime.md`` is the reference.
"""

from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from trunkline.config.source import load, parse

TRANSFER: Final = "transfer_to_person"
END_CALL: Final = "end_call"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Tone(_Strict):
    """A steady tone instead of speech."""

    hz: float = Field(ge=50, le=3900, description="Frequency.")
    ms: int = Field(ge=20, le=120_000, description="Length.")
    level_db: float = Field(-12.0, ge=-60, le=0, description="Level relative to full scale.")


class Call(_Strict):
    """A function call. ``raw`` replaces the arguments by text that need not be JSON."""

    name: str = Field(min_length=1, description="Name of the tool.")
    arguments: dict[str, Any] = Field(default_factory=dict, description="Arguments.")
    raw: str | None = Field(None, description="Arguments as text, for malformed ones.")


class Transfer(_Strict):
    """The built-in hand-over."""

    queue: str = Field("", description="Queue to hand over to.")
    reason: str = Field("the caller asked for a person", description="Why.")
    summary: str = Field("", description="What the person should know.")


class ServerFailure(_Strict):
    """An error as the server words it."""

    code: str = Field("server_error", description="Code.")
    message: str = Field("The server had an error while processing your request.", description="Message.")
    type: str = Field("server_error", description="Type.")


class Fault(_Strict):
    """Something that goes wrong, ``after_ms`` after the answer's first audio (or its begin when it has none)."""

    after_ms: int = Field(0, ge=0, le=600_000, description="When.")
    close: int | None = Field(None, ge=1000, le=4999, description="Close the socket with this code.")
    reason: str = Field("", max_length=120, description="Reason that goes with `close`.")
    drop: bool = Field(False, description="Cut the connection without a close frame.")
    error: ServerFailure | None = Field(None, description="Send an `error` event.")
    fail: ServerFailure | None = Field(None, description="End the answer with status `failed`.")
    junk: int = Field(0, ge=0, le=1000, description="Send this many messages that are not JSON.")
    oversized: int = Field(0, ge=0, le=1 << 26, description="Send one message of this many bytes.")
    bad_base64: bool = Field(False, description="Send an audio message that is not base64.")
    silence: bool = Field(False, description="Send nothing more of this answer, not even its end.")

    @model_validator(mode="after")
    def _one_fault(self) -> "Fault":
        kinds = (self.close, self.drop, self.error, self.fail, self.junk, self.oversized)
        chosen = sum(bool(kind) for kind in (*kinds, self.bad_base64, self.silence))
        if chosen != 1:
            raise ValueError(
                "name exactly one of close, drop, error, fail, junk, oversized, bad_base64, silence"
            )
        return self


class Turn(_Strict):
    """One answer of the engine."""

    expect: Literal["request", "speech", "text", "tool"] | None = Field(
        None, description="What must have led to this answer; anything else is noted as a problem."
    )
    heard: str = Field("", description="Transcript reported for what the caller said before this answer.")
    say: str = Field("", description="Words to speak. `{name}` is filled from the last tool result.")
    tone: Tone | None = Field(None, description="A tone instead of words.")
    calls: tuple[Call, ...] = Field((), max_length=16, description="Tools to call after the words.")
    transfer: Transfer | None = Field(None, description="Hand over to a person after the words.")
    hang_up: str | None = Field(None, description="End the call after the words, for this reason.")
    first_audio_ms: int | None = Field(None, ge=0, le=600_000, description="Delay of the first audio.")
    pace: float | None = Field(
        None, gt=0, le=1000, description="Audio is sent this many times faster than real time."
    )
    interrupt_after_ms: int | None = Field(
        None, ge=0, description="Pretend that the caller began to speak this long after the first audio."
    )
    fault: Fault | None = Field(None, description="Something that goes wrong in this answer.")

    @model_validator(mode="after")
    def _does_something(self) -> "Turn":
        if self.say and self.tone:
            raise ValueError("say and tone exclude each other")
        if not (self.say or self.tone or self.all_calls() or self.fault):
            raise ValueError("a turn needs at least one of say, tone, calls, transfer, hang_up, fault")
        return self

    def all_calls(self) -> tuple[Call, ...]:
        """Calls of tools and of the built-in ones, in order."""
        calls = list(self.calls)
        if self.transfer is not None:
            calls.append(Call(name=TRANSFER, arguments=self.transfer.model_dump()))
        if self.hang_up is not None:
            calls.append(Call(name=END_CALL, arguments={"reason": self.hang_up}))
        return tuple(calls)


class Handshake(_Strict):
    """How a connection is received."""

    status: int = Field(101, description="HTTP status: 101 accepts, 4xx and 5xx refuse.")
    retry_after_s: int | None = Field(None, ge=0, description="`Retry-After` of a refusal.")
    delay_ms: int = Field(0, ge=0, le=600_000, description="Delay of the answer.")

    @model_validator(mode="after")
    def _known_status(self) -> "Handshake":
        if self.status != 101 and not 400 <= self.status <= 599:
            raise ValueError("status must be 101 or between 400 and 599")
        return self


class Script(_Strict):
    """A whole simulated engine."""

    version: Literal[1] = Field(1, description="Version of this format.")
    first_audio_ms: int = Field(250, ge=0, le=600_000, description="Delay of an answer's first audio.")
    pace: float = Field(
        4.0, gt=0, le=1000, description="Audio is sent this many times faster than real time."
    )
    delta_ms: int = Field(100, ge=10, le=2000, description="Audio per message.")
    speech_db: float = Field(-36.0, ge=-70, le=-5, description="Caller audio louder than this is speech.")
    update_delay_ms: int = Field(0, ge=0, le=600_000, description="Delay of `session.updated`.")
    handshakes: tuple[Handshake, ...] = Field(
        (), description="How the first, second … connection is received; further ones are accepted."
    )
    turns: tuple[Turn, ...] = Field(default=(), description="Answers, in order; the last one repeats.")


DEFAULT_SCRIPT: Final = Script(
    turns=(
        Turn(say="Hello, this is the simulated engine. What can I do for you?"),
        Turn(heard="(speech)", say="I heard you. Please go on."),
    )
)
"""Used when no script is given: a greeting, then an answer to everything."""


def load_script(file: Path) -> Script:
    """A script from a YAML file; ``ConfigError`` names every mistake with its line."""
    return load(file).validate(Script)


def parse_script(text: str, file: Path = Path("script.yaml")) -> Script:
    """A script from YAML text; ``file`` is used in messages only."""
    return parse(text.encode(), file).validate(Script)
