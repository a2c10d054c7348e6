"""Carries out a caller script on a phone, step by step, every wait bounded.

Owns the meaning of each step in time. Knows the phone only as ``Phone``: who is on the line, what was heard on
the wire, how to speak. Refuses to dial: ``caller`` does.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

from trunkline.model import MS, SECOND, Clock, Nanos, RemoteError, ms, to_ms
from trunkline.operations.phone.audio import PHONE_RATE, read_playable
from trunkline.operations.phone.measure import silent_after
from trunkline.operations.phone.script import (
    Dtmf,
    ExpectSilence,
    HangUp,
    Interrupt,
    Line,
    Pause,
    Play,
    Say,
    Script,
    WaitHangUp,
    WaitSpeech,
    WaitTransfer,
)
from trunkline.operations.phone.wire import SpeechSpan, WireLog

TICK: Final = 20 * MS
"""How often a wait looks again: one packet."""

Clip = tuple[bytes, int]
"""PCM (16 bit, mono) and its sample rate."""

Voice = Callable[[str, str], Awaitable[Clip]]
"""Speaks a text with a voice (empty: the default)."""


class ScriptFailed(RemoteError):  # noqa: N818 - reads as what it says
    """The call did not go as the script says. ``line`` is the step's line in the script."""

    def __init__(self, what: str, *, script: Path, line: Line) -> None:
        super().__init__(f"{script}:{line.number}: {line.name}: {what}")
        self.line = line.number
        self.why = what


class Phone(Protocol):
    """A phone on a call, as a script sees it. A transfer changes who is on the line, and so the ``log``."""

    @property
    def log(self) -> WireLog:
        """What passes the wire of the conversation that is current."""
        ...

    @property
    def over(self) -> str:
        """Why the conversation is over; empty while it goes on."""
        ...

    @property
    def transferred(self) -> bool:
        """We were referred to somebody else, who answered."""
        ...

    @property
    def transfer_failed(self) -> str:
        """Why a transfer we were asked to make failed; empty otherwise."""
        ...

    async def speak(self, name: str, clip: Clip) -> None:
        """Play a clip to the far end; returns when its last packet was sent or the call is over."""
        ...

    async def press(self, digits: str) -> None:
        """Send digits; returns when they were sent."""
        ...

    async def hang_up(self) -> None:
        """End the call."""
        ...


@dataclass(frozen=True, slots=True)
class Done:
    """A step that was carried out."""

    line: int
    name: str
    began: Nanos
    ended: Nanos
    detail: Mapping[str, Any] = field(default_factory=dict)


async def rehearse(script: Script, voice: Voice) -> dict[int, Clip]:
    """Speak and read everything the script will say, by the step's index, before anybody is dialled."""
    clips: dict[int, Clip] = {}
    for index, line in enumerate(script.lines):
        match line.step:
            case Say(say=text, voice=name) | Interrupt(say=text, voice=name):
                clips[index] = await voice(text, name or script.voice)
            case Play(file=file):
                clips[index] = read_playable(script.file.parent / file)
            case _:
                pass
    return clips


class Follower:
    """One run of one script. ``done`` grows step by step; ``began`` is told of each step as it starts."""

    def __init__(
        self,
        script: Script,
        phone: Phone,
        clips: Mapping[int, Clip],
        clock: Clock,
        *,
        began: Callable[[Line], None] = lambda _line: None,
    ) -> None:
        self.done: list[Done] = []
        self._script = script
        self._phone = phone
        self._clips = clips
        self._clock = clock
        self._began = began
        self._mark = clock.now()
        self._words_after: Nanos | None = None
        self._end = Nanos(clock.now() + script.max_duration)

    async def run(self) -> None:
        """Every step in order, then hang up. Raises ``ScriptFailed``; the call is not hung up then."""
        for index, line in enumerate(self._script.lines):
            self._began(line)
            began = self._clock.now()
            detail = await self._step(index, line)
            self.done.append(Done(line.number, line.name, began, self._clock.now(), detail))
            if isinstance(line.step, HangUp):
                return
        if not self._phone.over:
            await self._phone.hang_up()

    async def _step(self, index: int, line: Line) -> dict[str, Any]:
        match line.step:
            case WaitSpeech() as step:
                return await self._wait_speech(line, step)
            case Say() | Play():
                return await self._speak(index, line)
            case Interrupt() as step:
                return await self._interrupt(index, line, step)
            case Dtmf(digits=digits):
                self._on_the_line(line)
                await self._phone.press(digits)
                self._mark = self._clock.now()
            case Pause(length=length):
                await self._until(line, lambda: False, Nanos(self._clock.now() + ms(length)), None)
            case ExpectSilence() as step:
                return await self._expect_silence(line, step)
            case WaitTransfer(timeout=timeout):
                await self._wait_transfer(line, self._deadline(timeout))
            case WaitHangUp(timeout=timeout):
                await self._wait_hang_up(line, self._deadline(timeout))
            case HangUp():
                await self._phone.hang_up()
            case _:
                raise TypeError(f"no way to carry out {line.step!r}")
        return {}

    # --- steps ----------------------------------------------------------------------------------------

    async def _wait_speech(self, line: Line, step: WaitSpeech) -> dict[str, Any]:
        since, deadline = self._clock.now(), self._deadline(step.timeout)
        span = await self._speech(line, deadline)
        if step.until == "stopped":
            quiet = ms(step.quiet)

            def stopped() -> bool:
                last = self._phone.log.heard.last_loud
                return last is not None and self._clock.now() - last >= quiet

            await self._until(line, stopped, deadline, "the far end did not stop speaking", since=since)
            self._mark = self._clock.now()
        last = self._phone.log.heard.last_loud or span.start
        return {"speech_at": span.start, "speech_until": last}

    async def _speech(self, line: Line, deadline: Nanos) -> SpeechSpan:
        await self._until(
            line,
            lambda: self._phone.log.heard.span_after(self._mark) is not None,
            deadline,
            "the far end said nothing",
        )
        span = self._phone.log.heard.span_after(self._mark)
        if span is None:
            raise AssertionError("spans are never taken back")
        return span

    async def _speak(self, index: int, line: Line) -> dict[str, Any]:
        self._on_the_line(line)
        began = self._words_after = self._clock.now()
        await self._phone.speak(f"line {line.number}", self._clips[index])
        self._on_the_line(line)
        self._mark = self._clock.now()
        words = self._words_began()
        return {"words_at": words or began}

    async def _interrupt(self, index: int, line: Line, step: Interrupt) -> dict[str, Any]:
        span = await self._speech(line, self._deadline(step.timeout))
        moment = Nanos(max(span.start, self._mark) + ms(step.after_ms))
        await self._until(line, lambda: self._clock.now() >= moment, Nanos(moment + SECOND), None)
        if not self._phone.log.heard.speaking:
            spoke = to_ms((self._phone.log.heard.last_loud or span.start) - span.start)
            raise self._failed(line, f"nothing to interrupt: the far end spoke for {spoke:.0f} ms only")
        return {"speech_at": span.start, **await self._speak(index, line)}

    async def _expect_silence(self, line: Line, step: ExpectSilence) -> dict[str, Any]:
        since = self._words_began() or self._clock.now()
        enough = Nanos(since + ms(step.within_ms) + ms(step.for_ms))
        await self._until(line, lambda: False, enough, None)
        heard = self._phone.log.recording(sent=False, start=since, end=self._clock.now())
        after = silent_after(heard, PHONE_RATE, 0, for_s=step.for_ms / 1000)
        if after is None or after * 1000 > step.within_ms:
            when = "never" if after is None else f"only after {after * 1000:.0f} ms"
            raise self._failed(line, f"the far end fell silent {when}, allowed were {step.within_ms} ms")
        return {"since": since, "silent_after_ms": round(after * 1000)}

    async def _wait_transfer(self, line: Line, deadline: Nanos) -> None:
        await self._until(
            line,
            lambda: self._phone.transferred or bool(self._phone.transfer_failed),
            deadline,
            "no transfer was completed",
            alive=False,
        )
        if not self._phone.transferred:
            raise self._failed(line, f"the transfer failed: {self._phone.transfer_failed}")
        self._mark = self._clock.now()
        self._words_after = None

    async def _wait_hang_up(self, line: Line, deadline: Nanos) -> None:
        await self._until(
            line, lambda: bool(self._phone.over), deadline, "the far end did not hang up", alive=False
        )

    # --- waiting --------------------------------------------------------------------------------------

    def _deadline(self, timeout_ms: int | None) -> Nanos:
        return Nanos(self._clock.now() + (self._script.timeout if timeout_ms is None else ms(timeout_ms)))

    def _words_began(self) -> Nanos | None:
        """When our last utterance was first loud on the wire."""
        if self._words_after is None:
            return None
        span = self._phone.log.spoken.span_after(self._words_after)
        return span.start if span else None

    def _on_the_line(self, line: Line) -> None:
        if self._phone.over:
            raise self._failed(line, f"the call is over: {self._phone.over}")
        if self._clock.now() >= self._end:
            raise self._failed(line, f"max_duration of {to_ms(self._script.max_duration) / 1000:g} s reached")

    async def _until(
        self,
        line: Line,
        reached: Callable[[], bool],
        deadline: Nanos,
        failure: str | None,
        *,
        alive: bool = True,
        since: Nanos | None = None,
    ) -> None:
        """Wait for ``reached``. At the deadline fail with ``failure``, or go on when that is None."""
        began = self._clock.now() if since is None else since
        while True:
            now = self._clock.now()
            self._phone.log.heard.update(now)
            if reached():
                return
            if alive or now >= self._end:
                self._on_the_line(line)
            if now >= deadline:
                break
            await self._clock.sleep_until(Nanos(min(deadline, now + TICK)))
        if failure is not None:
            raise self._failed(line, f"{failure} within {to_ms(deadline - began) / 1000:g} s")

    def _failed(self, line: Line, what: str) -> ScriptFailed:
        return ScriptFailed(what, script=self._script.file, line=line)
