"""How many calls at once. A call beyond the limit is refused before anything rings, so that the network in
front can send it elsewhere at once."""

from dataclasses import dataclass

from trunkline.model import Overloaded


@dataclass(slots=True)
class Admission:
    """Places for calls. ``close`` refuses all further ones (drain); those inside stay."""

    limit: int
    retry_after_s: int = 5
    active: int = 0
    refused: int = 0
    draining: bool = False

    def enter(self) -> None:
        """Take a place. Raises ``Overloaded`` when there is none."""
        if self.draining:
            self.refused += 1
            raise Overloaded("Trunkline is shutting down and takes no new calls")
        if self.active >= self.limit:
            self.refused += 1
            raise Overloaded(
                f"{self.limit} calls are active", hint="raise server.limits.calls or add a worker"
            )
        self.active += 1

    def leave(self, admitted: bool) -> None:
        """Give the place back, if one was taken."""
        self.active -= int(admitted)

    def close(self) -> None:
        """Take no new calls from now on."""
        self.draining = True
