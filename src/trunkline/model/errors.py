"""Errors that say whose fault it is and what to do next.

TrunklineError
├── LocalError               we, or whoever runs us, must change something
│   ├── ConfigError          a document is wrong: file, line, what, hint
│   ├── LocalProtocolError   our own code asked a state machine for the impossible (a bug)
│   ├── Missing              something is not installed; says which package
│   └── Overloaded           a stated bound was reached; try later
└── RemoteError              the other side did it
    ├── RemoteProtocolError  it broke its protocol
    ├── NeedsReauth          its credentials for us are no longer valid
    └── RetryAfter           it asked us to wait
"""

from pathlib import Path


class TrunklineError(Exception):
    """Root of everything Trunkline raises on purpose.

    ``what`` happened, and ``hint`` says what to do about it (may be empty).
    """

    def __init__(self, what: str, *, hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.what} ({self.hint})" if self.hint else self.what


class LocalError(TrunklineError):
    """The cause is on our side."""


class ConfigError(LocalError):
    """A configuration document cannot be used. ``line`` counts from 1; 0 when unknown."""

    def __init__(self, what: str, *, file: Path | str = "", line: int = 0, hint: str = "") -> None:
        super().__init__(what, hint=hint)
        self.file = str(file)
        self.line = line

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}: " if self.line else f"{self.file}: " if self.file else ""
        return where + super().__str__()


class LocalProtocolError(LocalError):
    """Our own code asked for a transition that the protocol does not have. Always a bug."""


class Missing(LocalError):  # noqa: N818 - reads as what it says
    """A library, package or model is not installed; ``hint`` names the exact package."""


class Overloaded(LocalError):  # noqa: N818
    """A stated bound was reached (queue, ports, calls); nothing was accepted."""


class RemoteError(TrunklineError):
    """The cause is on the other side of a connection."""


class RemoteProtocolError(RemoteError):
    """A peer sent something its protocol does not allow."""


class NeedsReauth(RemoteError):  # noqa: N818
    """A system refused our credentials; retrying with the same ones is pointless."""


class RetryAfter(RemoteError):  # noqa: N818
    """A system asked us to come back after ``seconds``."""

    def __init__(self, what: str, *, seconds: float, hint: str = "") -> None:
        super().__init__(what, hint=hint)
        self.seconds = seconds
