"""Where a call's commands go at this moment: its media port and the engine session attached to it."""

from dataclasses import dataclass, field

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
    """Media and engine of one call; either may be absent. Commands to an absent one go nowhere."""

    media: MediaPort | None = None
    media_line: Line | None = None
    engine: Attachment | None = field(default=None)

    @property
    def attached(self) -> bool:
        """Whether there is an engine of which something can be expected."""
        return self.engine is not None and not self.engine.failed

    def command(self, command: EngineCommand) -> None:
        """Tell the engine."""
        if self.engine is not None and not self.engine.failed:
            self.engine.session.command(command)

    def offer(self, event: MediaEvent) -> None:
        """Let the engine see a media event."""
        if self.engine is not None:
            self.engine.session.handle_media(event)
