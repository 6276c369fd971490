"""What passes between the benchmark and its load generator."""

from pathlib import Path
from typing import Any

import msgspec

Expected = list[float] | dict[str, Any]  # numbers of a tensor (width,), or a prediction as JSON


class Corpus(msgspec.Struct):
    """Bodies, and by body the expected output and the number of steps."""

    bodies: list[bytes]
    outputs: list[Expected]
    steps: list[int]

    def save(self, path: Path) -> Path:
        """Write the file that the load generator reads."""
        path.write_bytes(msgspec.msgpack.encode(self))
        return path


def load_corpus(path: Path) -> Corpus:
    """The inverse of `save`."""
    return msgspec.msgpack.decode(path.read_bytes(), type=Corpus)


class Order(msgspec.Struct):
    """One cell of the benchmark."""

    port: int
    path: str
    corpus: str  # a file
    clients: int = 1  # connections of a closed loop
    rate: float = 0.0  # requests a second of an open loop; 0: closed
    warmup: float = 1.0
    seconds: float = 4.0
    seed: int = 0


class Report(msgspec.Struct):
    """What was measured; latencies in milliseconds, of right answers only."""

    answered: int  # right answers
    errors: int  # another status, no answer, or no answer in time
    wrong: int  # status 200 with an output that is not the expected one
    rate: float  # right answers a second
    steps_rate: float
    p50: float  # 0 where nothing was answered rightly
    p99: float
    cpu: float  # of a core, spent by the load generator
    fault: str = ""  # the first one
    refused: int = 0  # of the errors, those that say to come again later
