"""Where recordings lie: one stereo WAV per media session of a call, caller left, agent right."""

from dataclasses import dataclass, field
from pathlib import Path

from trunkline.model import CallId

FOLDER = "recordings"


@dataclass(slots=True)
class Recordings:
    """The recordings of one call. A call has a second one when its media was opened again."""

    data_dir: Path
    call: CallId
    names: list[str] = field(default_factory=list)
    """Paths relative to the data directory, in order."""

    def next_path(self) -> Path:
        """Path for the next recording; its directory exists when this returns. Raises ``OSError`` when it cannot
        be made; the name is then listed all the same."""
        number = len(self.names) + 1
        name = f"{self.call}.wav" if number == 1 else f"{self.call}-{number}.wav"
        self.names.append(f"{FOLDER}/{name}")
        folder = self.data_dir / FOLDER
        folder.mkdir(parents=True, exist_ok=True)
        return folder / name
