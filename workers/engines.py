"""Loaded model versions: the engine that runs one on a CPU, and a bounded cache of engines."""

import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from app.errors import NotFound
from workers.artifacts import ArtifactCache, size

logger = logging.getLogger(__name__)

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

REMEMBER_SECONDS = 5.0  # a version that does not load is not tried again for so long
SIGNATURE = {"inputs", "lengths", "state"}


class Broken(Exception):
    """A version cannot be loaded; the message says why."""


class Missing(Broken):
    """A version has no files."""


class Engine(Protocol):
    """A loaded model version."""

    def run(self, inputs: Floats, lengths: Ints) -> Floats:
        """Outputs (batch, width) of inputs (batch, time, features), right-padded, with their true lengths."""
        ...


class OnnxEngine:
    """ONNX Runtime on one thread: a predictor for each core beats many threads in one predictor."""

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
    """Versions by artifact, loaded on first use; beyond a bound the least recently used one goes."""

    def __init__(
        self,
        artifacts: ArtifactCache,
        open_engine: Callable[[Path], Engine],
        max_bytes: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._artifacts, self._open, self._max_bytes, self._clock = artifacts, open_engine, max_bytes, clock
        self._loaded: OrderedDict[str, tuple[Engine, int]] = OrderedDict()  # with the bytes of its files
        self._broken: dict[str, tuple[float, Broken]] = {}  # from when it may be tried again

    def loaded(self) -> list[str]:
        """Artifacts in memory, the most recently used last."""
        return list(self._loaded)

    def get(self, artifact: str) -> Engine:
        """The engine of a version; raises `Broken`, at once while its last failure is fresh."""
        if artifact not in self._loaded:
            self._forgive()
            if artifact in self._broken:
                raise self._broken[artifact][1]
            self._loaded[artifact] = self._load(artifact)
            self._shrink()
        self._loaded.move_to_end(artifact)
        return self._loaded[artifact][0]

    def _load(self, artifact: str) -> tuple[Engine, int]:
        try:
            directory = self._artifacts.directory(artifact)
            return self._open(directory), size(directory)
        except NotFound as error:
            failure: Broken = Missing(error.message)
        except Exception as error:  # noqa: BLE001 - a damaged file makes a library raise anything
            failure = Broken(f"This model version cannot be loaded: {error}")
        logger.warning("%s: %s", artifact, failure)
        self._broken[artifact] = self._clock() + REMEMBER_SECONDS, failure
        raise failure

    def _forgive(self) -> None:
        now = self._clock()
        self._broken = {artifact: failure for artifact, failure in self._broken.items() if failure[0] > now}

    def _shrink(self) -> None:
        total = sum(taken for _, taken in self._loaded.values())
        while total > self._max_bytes and len(self._loaded) > 1:
            artifact, (_, taken) = self._loaded.popitem(last=False)
            total -= taken
            logger.info("%s dropped from memory", artifact)
