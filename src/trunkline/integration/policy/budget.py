"""Time as a budget: spans before the question is asked, instants afterwards."""

from dataclasses import dataclass

from trunkline.model import Nanos


@dataclass(frozen=True, slots=True)
class Budget:
    """How long an answer may take (``hard``) and when the silence must be bridged (``mask``), as spans."""

    mask: Nanos
    hard: Nanos

    def __post_init__(self) -> None:
        if not 0 <= self.mask < self.hard:
            raise ValueError("a budget needs 0 <= mask < hard")

    def begin(self, now: Nanos) -> "Deadline":
        """The budget of a question asked at ``now``."""
        return Deadline(asked_at=now, mask_at=Nanos(now + self.mask), hard_at=Nanos(now + self.hard))


@dataclass(frozen=True, slots=True)
class Deadline:
    """The one absolute deadline that every gate and the connector share."""

    asked_at: Nanos
    mask_at: Nanos
    hard_at: Nanos
