"""Where a call's commands go at this moment: its media port and the engine session attached to it."""

from collections.abc import Callable
from dataclasses import dataclass

from trunkline.calls.inbox import Line
from trunkline.engines.contract import EngineCommand, EngineSession, SessionClosed
from trunkline.model import Nanos
from trunkline.telephony.media.port import MediaEvent, MediaPort


@dataclass(slots=True, eq=False)
class Attachment:
    """One engine session of a call."""

    name: str
    session: EngineSession
    line: Line
    started: Nanos
    ready: bool = False
    lost: SessionClosed | None = None
    """Set when the session ended without our wish."""
    given_up: bool = False
    """It came too late, did not start, or is being closed."""

    @property
    def failed(self) -> bool:
        """Whether nothing can be expected of it any more."""
        return self.given_up or self.lost is not None


@dataclass(slots=True)
class Outlet:
    """Media and engine of one call; either may be absent. Commands to an absent one go nowhere.

    An engine session that raises is a bug of ours, and costs the session, not the call: it is given up, and the
    flow finds another.
    """

    report: Callable[[str, Exception], None]
    """Told where an engine session raised, and what."""
    media: MediaPort | None = None
    media_line: Line | None = None
    engine: Attachment | None = None

    @property
    def attached(self) -> bool:
        """Whether there is an engine of which something can be expected."""
        return self.engine is not None and not self.engine.failed

    def command(self, command: EngineCommand) -> None:
        """Tell the engine."""
        if self.engine is not None and not self.engine.failed:
            try:
                self.engine.session.command(command)
            except Exception as bug:  # noqa: BLE001 - reported, and the session is given up
                self._broken(self.engine, type(command).__name__, bug)

    def offer(self, event: MediaEvent) -> None:
        """Let the engine see a media event."""
        if self.engine is not None and not self.engine.failed:
            try:
                self.engine.session.handle_media(event)
            except Exception as bug:  # noqa: BLE001 - reported, and the session is given up
                self._broken(self.engine, type(event).__name__, bug)

    def _broken(self, engine: Attachment, what: str, bug: Exception) -> None:
        engine.given_up = True
        self.report(f"engine {engine.name}, {what}", bug)
