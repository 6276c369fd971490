"""What a run of the benchmark is asked for."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

CLIENTS = (1, 8, 32, 128)


@dataclass(frozen=True)
class Asked:
    """All parts of the benchmark go by it."""

    only: Sequence[str]  # contestants by name
    python: Path  # that runs the peers
    clients: Sequence[int] = CLIENTS
    rounds: int = 3
    seconds: float = 4.0  # of a cell
    idle: float = 5.0  # seconds
    whole: bool = False  # whether it is a result, to be written
    data: Sequence[str] = ()  # what is predicted, by name; nothing: all

    @property
    def warmup(self) -> float:
        """Seconds before a cell."""
        return min(1.0, self.seconds)
