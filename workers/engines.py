"""Loaded model versions: the engine that runs one on a CPU, and a bounded cache of engines."""

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from app.errors import NotFound
from workers.artifacts import ArtifactCache, Unreachable, size

logger = logging.getLogger(__name__)

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

REMEMBER_SECONDS = 5.0  # a version that does not load is not tried again for so long
AWAY_SECONDS = 1.0  # and one that could not be fetched, for so long
SESSION_BYTES = 1 << 19  # what a loaded version takes besides its weights, as measured
SIGNATURE = {"inputs", "lengths", "state"}


class Broken(Exception):
    """A version cannot be loaded; the message says why."""


class Missing(Broken):
    """A version has no files."""


class Away(Broken):
    """A version's files cannot be fetched now."""


@dataclass(frozen=True)
class Pace:
    """What a batch costs in units of one row's step: `overhead + steps * (width + rows)`, as measured."""

    overhead: int
    width: int
    most: int  # rows * steps from which a larger batch gains nothing


class Engine(Protocol):
    """A loaded model version."""

    pace: Pace

    def run(self, inputs: Floats, lengths: Ints) -> Floats:
        """Outputs (batch, width) of inputs (batch, time, features), right-padded, with their true lengths."""
        ...


class OnnxEngine:
    """ONNX Runtime on one thread: a predictor for each core beats many threads in one predictor."""

    # It multiplies padded steps too. Beyond 32 MiB glibc maps a kernel's buffers anew for each batch.
    pace = Pace(overhead=80, width=1, most=1 << 12)

    def __init__(self, path: Path) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        options.log_severity_level = 3
        options.enable_cpu_mem_arena = options.enable_mem_pattern = (
            False  # as fast, and 2 GB less for 100 versions
        )
        self._session: Any = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        shapes = {node.name: node.shape for node in self._session.get_inputs()}
        if set(shapes) != SIGNATURE:
            raise ValueError(f"the graph takes {sorted(shapes)}, not {sorted(SIGNATURE)}")
        self._rows, _, self._hidden = shapes["state"]
        self.features = int(shapes["inputs"][2])

    def run(self, inputs: Floats, lengths: Ints) -> Floats:
        """See `Engine`; every sequence starts from a state of zeros."""
        state = np.zeros((self._rows, len(inputs), self._hidden), np.float32)  # (rows, batch, hidden)
        feed = {"inputs": inputs, "lengths": lengths, "state": state}
        outputs: Floats = self._session.run(["outputs"], feed)[0]  # (batch, width)
        return outputs


def open_onnx(directory: Path, _device: str) -> Engine:
    """Load `model.onnx` and run it once, so that the first request does not pay for it."""
    engine = OnnxEngine(directory / "model.onnx")
    engine.run(np.zeros((1, 1, engine.features), np.float32), np.ones(1, np.int64))
    return engine


class Engines:
    """Versions in memory by artifact; beyond a bound the least recently used one goes. For any thread."""

    def __init__(
        self,
        artifacts: ArtifactCache,
        open_engine: Callable[[Path], Engine],
        max_bytes: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._artifacts, self._open, self._max_bytes, self._clock = artifacts, open_engine, max_bytes, clock
        self._loaded: OrderedDict[str, tuple[Engine, int]] = OrderedDict()  # with the bytes it takes
        self._broken: dict[str, tuple[float, Broken]] = {}  # from when it may be tried again
        self._changing = threading.Lock()  # never held while a version loads

    def loaded(self) -> list[str]:
        """Artifacts in memory, the most recently used last."""
        with self._changing:
            return list(self._loaded)

    def find(self, artifact: str) -> Engine | None:
        """The engine of a version that is in memory; raises `Broken` while its last failure is fresh."""
        with self._changing:
            if (found := self._loaded.get(artifact)) is not None:
                self._loaded.move_to_end(artifact)
                return found[0]
            until, failure = self._broken.get(artifact, (0.0, None))
            if failure is not None and self._clock() < until:
                raise failure
            return None

    def load(self, artifact: str) -> None:
        """Bring a version into memory, unless it is there; `find` tells how that went."""
        with self._changing:
            if artifact in self._loaded:
                return
        try:
            directory = self._artifacts.directory(artifact)
            loaded = self._open(directory), size(directory) + SESSION_BYTES
        except Exception as error:  # noqa: BLE001 - a damaged file makes a library raise anything
            self._refuse(artifact, error)
            return
        with self._changing:
            self._loaded[artifact] = loaded
            self._broken.pop(artifact, None)
            self._shrink()

    def _refuse(self, artifact: str, error: Exception) -> None:
        logger.warning("%s cannot be loaded: %s", artifact, error)
        seconds, failure = REMEMBER_SECONDS, Broken(f"This model version cannot be loaded: {error}")
        if isinstance(error, NotFound):
            failure = Missing(error.message)
        elif isinstance(error, Unreachable):
            seconds, failure = AWAY_SECONDS, Away("The artifact store is unreachable; try again shortly.")
        with self._changing:
            now = self._clock()
            self._broken = {name: kept for name, kept in self._broken.items() if kept[0] > now}
            self._broken[artifact] = now + seconds, failure

    def _shrink(self) -> None:
        total = sum(taken for _, taken in self._loaded.values())
        while total > self._max_bytes and len(self._loaded) > 1:
            artifact, (_, taken) = self._loaded.popitem(last=False)
            total -= taken
            logger.info("%s dropped from memory", artifact)
