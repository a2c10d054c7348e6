"""The caller script: a YAML document that says what a scripted caller does, step by step.

Owns the document's shape and its mistakes, each with file and line. ``follow`` carries it out.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from trunkline.config.source import Document, load
from trunkline.model import ConfigError, LocalError, Nanos, ms
from trunkline.operations.phone.audio import read_playable

_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m)")
_UNIT_MS: Final = {"ms": 1, "s": 1000, "m": 60_000}
MAX_STEPS: Final = 500


def _duration(value: Any) -> Any:
    """``500ms``, ``2s``, ``1.5s`` or ``1m`` as milliseconds; numbers pass through as milliseconds."""
    if isinstance(value, str):
        match = _DURATION.fullmatch(value.strip())
        if match is None:
            raise ValueError(f"{value!r} is no duration; write for example 500ms, 2s or 1m")
        return round(float(match[1]) * _UNIT_MS[match[2]])
    return value


def milliseconds(text: str) -> int:
    """A duration as scripts write it, in milliseconds. Raises ``ValueError``."""
    value = _duration(text)
    return int(value)


Milliseconds = Annotated[int, BeforeValidator(_duration), Field(ge=0, le=3_600_000)]


class Step(BaseModel):
    """One step. ``short`` names the field that a plain value (``say: hello``) stands for."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    short: ClassVar[str] = ""

    @model_validator(mode="before")
    @classmethod
    def _from_plain(cls, value: Any) -> Any:
        if value is None:
            return {}
        if isinstance(value, Mapping):
            return value
        if not cls.short:
            raise ValueError("takes no plain value; write its keys below it")
        return {cls.short: value}


class WaitSpeech(Step):
    """Wait until the far end has spoken and stopped, or only until it started."""

    short: ClassVar[str] = "until"
    until: Literal["started", "stopped"] = "stopped"
    quiet: Milliseconds = 700
    """How long the far end must be quiet to count as having stopped."""
    timeout: Milliseconds | None = None


class Say(Step):
    """Speak a sentence."""

    short: ClassVar[str] = "say"
    say: str = Field(min_length=1, max_length=2000)
    voice: str = ""


class Play(Step):
    """Play a WAV file (mono, 16 bit, 8000, 16000 or 24000 Hz), relative to the script."""

    short: ClassVar[str] = "file"
    file: str = Field(min_length=1)


class Dtmf(Step):
    """Press keys."""

    short: ClassVar[str] = "digits"
    digits: str = Field(pattern=r"^[0-9*#A-D]{1,64}$")

    @model_validator(mode="before")
    @classmethod
    def _no_numbers(cls, value: Any) -> Any:
        if isinstance(value, (int, float)):
            raise ValueError("put digits into quotes: YAML reads a bare 0123 as another number")
        return value


class Pause(Step):
    """Do nothing for a while."""

    short: ClassVar[str] = "length"
    length: Milliseconds


class Interrupt(Step):
    """Wait until the far end speaks, let it speak for ``after_ms``, then talk over it."""

    after_ms: Milliseconds = 800
    say: str = Field(min_length=1, max_length=2000)
    voice: str = ""
    timeout: Milliseconds | None = None


class ExpectSilence(Step):
    """Fail unless the far end fell silent ``within_ms`` after our last words began, for ``for_ms``."""

    short: ClassVar[str] = "within_ms"
    within_ms: Milliseconds = 1000
    for_ms: Milliseconds = 500


class WaitTransfer(Step):
    """Wait until we were referred to somebody else and they answered."""

    short: ClassVar[str] = "timeout"
    timeout: Milliseconds | None = None


class WaitHangUp(Step):
    """Wait until the far end hangs up."""

    short: ClassVar[str] = "timeout"
    timeout: Milliseconds | None = None


class HangUp(Step):
    """Hang up; later steps are not reached."""


STEPS: Final[Mapping[str, type[Step]]] = {
    "wait_speech": WaitSpeech,
    "say": Say,
    "play": Play,
    "dtmf": Dtmf,
    "pause": Pause,
    "interrupt": Interrupt,
    "expect_silence": ExpectSilence,
    "wait_transfer": WaitTransfer,
    "wait_hang_up": WaitHangUp,
    "hang_up": HangUp,
}


class _ScriptModel(BaseModel):
    """The document around the steps, which are validated one by one to name each with its line."""

    model_config = ConfigDict(extra="forbid")
    voice: str = ""
    timeout: Milliseconds = 15_000
    max_duration: Milliseconds = 300_000
    steps: list[Any] = Field(min_length=1, max_length=MAX_STEPS)


@dataclass(frozen=True, slots=True)
class Line:
    """A step and where it was written."""

    number: int
    name: str
    step: Step


@dataclass(frozen=True, slots=True)
class Script:
    """A validated caller script."""

    file: Path
    voice: str
    """Voice of the caller, empty for the default."""
    timeout: Nanos
    """Bound of every wait that names none."""
    max_duration: Nanos
    """Bound of the whole script."""
    lines: tuple[Line, ...]


def load_script(file: Path) -> Script:
    """Read a caller script. Raises ``ConfigError`` with file and line of every mistake."""
    return script_from(load(file))


def script_from(document: Document) -> Script:
    """The script in a parsed document; WAV files it names are looked at now, not in mid-call."""
    model = document.validate(_ScriptModel)
    lines: list[Line] = []
    errors: list[ConfigError] = []
    for index, item in enumerate(model.steps):
        try:
            lines.append(_line(document, index, item))
        except ConfigError as bad:
            errors.append(bad)
    if errors:
        first = errors[0]
        raise ConfigError(
            "\n".join([first.what, *map(str, errors[1:])]), file=first.file, line=first.line, hint=first.hint
        )
    return Script(document.file, model.voice, ms(model.timeout), ms(model.max_duration), tuple(lines))


def _line(document: Document, index: int, item: Any) -> Line:
    path: tuple[str | int, ...] = ("steps", index)
    if isinstance(item, str):
        item = {item: None}
    if not isinstance(item, dict) or len(item) != 1:
        found = ", ".join(map(str, item)) if isinstance(item, dict) else repr(item)
        raise document.error(path, "a step is one key", hint=f"found {found or 'none'}")
    name, value = next(iter(item.items()))
    kind = STEPS.get(str(name))
    if kind is None:
        raise document.error(path, f"no step is called {name!r}", hint=f"known steps: {', '.join(STEPS)}")
    step = _validated(document, (*path, name), kind, value)
    if isinstance(step, Play):
        try:
            read_playable(document.file.parent / step.file)
        except LocalError as bad:
            raise document.error((*path, name), bad.what, hint=bad.hint) from bad
    return Line(document.line(path), str(name), step)


def _validated(document: Document, path: tuple[str | int, ...], kind: type[Step], value: Any) -> Step:
    inner = Document(document.file, value, _below(document, path), document.sha256)
    try:
        return inner.validate(kind)
    except ConfigError as bad:
        raise ConfigError(
            f"{'.'.join(map(str, path))}: {bad.what}", file=bad.file, line=bad.line, hint=bad.hint
        ) from None


def _below(document: Document, path: tuple[str | int, ...]) -> dict[tuple[str | int, ...], int]:
    """Line numbers of the nodes under ``path``, as paths from there."""
    depth = len(path)
    lines = {where[depth:]: line for where, line in document.lines.items() if where[:depth] == path}
    return {(): document.line(path), **lines}
