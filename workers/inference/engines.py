"""Loaded model versions: the engine that runs one on a CPU, and a bounded cache of engines."""

import json
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from app.arrays import Array, Ints
from app.errors import NotFound
from app.prediction.codec import Codec
from app.tasks import TASKS
from app.tasks.contract import Output, StreamingTask, strided_lengths
from app.typedefs import Json
from workers.decoding.graph_outputs import GRAPH_OUTPUTS
from workers.decoding.onnx_model import NEXT_INPUTS, open_session, shapes_of
from workers.decoding.sampling import StopCriteria
from workers.decoding.scheduler import decode_all
from workers.decoding.sequence import Decoder
from workers.inference.artifact_cache import ArtifactCache, FetchFailed, directory_bytes

logger = logging.getLogger(__name__)


RETRY_LOAD_SECONDS = 5.0  # before a version that did not load is tried again
RETRY_FETCH_SECONDS = 1.0  # before a version that could not be fetched is tried again
NOT_AT_ONCE = "This model is asked token by token: an instance needs decoding settings."
GREEDY_BEAM: Json = {"beam_size": 1}
GRAPH_DTYPES: dict[str, np.dtype[Any]] = {  # by the names that ONNX Runtime has for them
    "tensor(float)": np.dtype(np.float32),
    "tensor(int64)": np.dtype(np.int64),
    "tensor(uint8)": np.dtype(np.uint8),
}
SESSION_BYTES = 1 << 19  # what a loaded version takes besides its weights, as measured


class LoadError(Exception):
    """A version cannot be loaded; the message says why."""


class MissingVersion(LoadError):
    """A version has no files."""


class StoreUnreachable(LoadError):
    """A version's files cannot be fetched now."""


@dataclass(frozen=True)
class BatchCostModel:
    """The cost of a batch in units of one row's step, as measured: `overhead + steps * (width + rows)`."""

    overhead: int
    width: int
    most: int  # rows * steps from which a larger batch gains nothing


class Engine(Protocol):
    """A loaded model version."""

    pace: BatchCostModel
    output: Output
    stride: int  # input steps of one output step, where outputs have steps

    @property
    def codec(self) -> Codec | None:
        """What reads requests that come as JSON, and writes their predictions; None without a task."""
        ...

    @property
    def decoder(self) -> Decoder | None:
        """The decoder of a network that is asked token by token; None for others."""
        ...

    def run(self, inputs: Array, lengths: Ints) -> Array:
        """Outputs of inputs (batch, time, features), right-padded, with their true lengths.

        They are (batch, width); of LABELS the best labels (batch, time), of ALIGNED log-probabilities (batch,
        steps, labels). `unpadded` cuts rows with an axis of steps to their own length.
        """
        ...


class OnnxEngine:
    """Runs a graph by ONNX Runtime on one thread; the manifest says what its outputs mean."""

    # It multiplies padded steps too. Beyond 32 MiB glibc maps a kernel's buffers anew for each batch.
    pace = BatchCostModel(overhead=80, width=1, most=1 << 12)

    def __init__(self, path: Path, manifest: Json | None = None) -> None:
        manifest = manifest or {}
        model = manifest.get("model", {})
        self.output, self.stride = Output(model.get("output", Output.QUANTILES)), model.get("stride", 1)
        self.codec = codec_of(manifest)
        self._kind = GRAPH_OUTPUTS[self.output]
        self._session = open_session(path)
        shapes = shapes_of(self._session, NEXT_INPUTS)
        self._rows, _, self._hidden = shapes["state"]
        self.features = int(shapes["inputs"][2])
        kinds = {node.name: node.type for node in self._session.get_inputs()}
        self.dtype = GRAPH_DTYPES[kinds["inputs"]]
        outputs = {node.name for node in self._session.get_outputs()}
        self._names = [name for name in ("outputs", "transitions") if name in outputs]
        self.decoder = self._decoder(path.parent, manifest)

    def run(self, inputs: Array, lengths: Ints) -> Array:
        """See `Engine`; every sequence starts from a state of zeros."""
        if self.output.has_decoder:
            raise ValueError(NOT_AT_ONCE)
        state = np.zeros((self._rows, len(inputs), self._hidden), np.float32)  # (rows, batch, hidden)
        feed = {"inputs": inputs, "lengths": lengths, "state": state}
        outputs, *transitions = self._session.run(self._names, feed)
        return self._kind.postprocess(outputs, lengths, transitions[0] if transitions else None)

    def _decoder(self, directory: Path, manifest: Json) -> Decoder | None:
        if self._kind.open_step_model is None:
            return None
        model = self._kind.open_step_model(self._session, directory, manifest)
        return Decoder(model, partial(stop_criteria_of, manifest))


def unpadded(engine: Engine, outputs: Array, lengths: Ints) -> list[Array]:
    """One output for each row of outputs (batch, …), those with an axis of steps without its padding."""
    if not engine.output.has_time_axis:
        return list(outputs)
    steps = strided_lengths(lengths, engine.stride).tolist()
    return [row[:count] for row, count in zip(outputs, steps, strict=True)]


def codec_of(manifest: Json) -> Codec | None:
    """What reads a version's requests and writes its predictions, where its manifest names a task."""
    task = TASKS.get(manifest.get("task", ""))
    return None if task is None else Codec(task, manifest["state"])


def stop_criteria_of(manifest: Json, decoding: Json) -> StopCriteria | None:
    """The stop criteria of decoding settings that name stop strings; None for others."""
    task: object = TASKS.get(manifest.get("task", ""))
    if not decoding.get("stop") or not isinstance(task, StreamingTask):
        return None
    return task.detokenizer(manifest["state"], decoding)


def warm_up(engine: Engine, dtype: np.dtype[Any], features: int) -> None:
    """Run an engine once, so that the first request does not pay for it."""
    inputs = np.ones((1, 1, features), dtype)
    if engine.decoder is None:
        engine.run(inputs, np.ones(1, np.int64))
    else:
        decoding: Json = {"max_tokens": 2, "temperature": 0.0}
        if not engine.decoder.model.chunked_prefill:
            decoding |= GREEDY_BEAM
        decode_all(engine.decoder, [inputs[0]], [decoding])


def open_onnx(directory: Path, _device: str) -> Engine:
    """Load the graphs of an artifact."""
    manifest = directory / "manifest.json"
    facts = json.loads(manifest.read_bytes()) if manifest.is_file() else {}
    engine = OnnxEngine(directory / "model.onnx", facts)
    warm_up(engine, engine.dtype, engine.features)
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
        self._failures: dict[str, tuple[float, LoadError]] = {}  # from when it may be tried again
        self._lock = threading.Lock()  # never held while a version loads

    def loaded(self) -> list[str]:
        """Artifacts in memory, the most recently used last."""
        with self._lock:
            return list(self._loaded)

    def find(self, artifact: str) -> Engine | None:
        """The engine of a version in memory; raises `LoadError` if it could not be loaded a moment ago."""
        with self._lock:
            if (entry := self._loaded.get(artifact)) is not None:
                self._loaded.move_to_end(artifact)
                return entry[0]
            until, failure = self._failures.get(artifact, (0.0, None))
            if failure is not None and self._clock() < until:
                raise failure
            return None

    def load(self, artifact: str) -> None:
        """Load a version unless it is in memory; `find` returns its engine or raises the failure."""
        with self._lock:
            if artifact in self._loaded:
                return
        try:
            directory = self._artifacts.directory(artifact)
            loaded = self._open(directory), directory_bytes(directory) + SESSION_BYTES
        except Exception as error:  # noqa: BLE001 - a damaged file makes a library raise anything
            self._record_failure(artifact, error)
            return
        with self._lock:
            self._loaded[artifact] = loaded
            self._failures.pop(artifact, None)
            self._shrink()

    def _record_failure(self, artifact: str, error: Exception) -> None:
        logger.warning("%s cannot be loaded: %s", artifact, error)
        seconds, failure = RETRY_LOAD_SECONDS, LoadError(f"This model version cannot be loaded: {error}")
        if isinstance(error, NotFound):
            failure = MissingVersion(error.message)
        elif isinstance(error, FetchFailed):
            message = "The artifact store is unreachable; try again shortly."
            seconds, failure = RETRY_FETCH_SECONDS, StoreUnreachable(message)
        with self._lock:
            now = self._clock()
            self._failures = {
                name: failure_entry
                for name, failure_entry in self._failures.items()
                if failure_entry[0] > now
            }
            self._failures[artifact] = now + seconds, failure

    def _shrink(self) -> None:
        total = sum(bytes_taken for _, bytes_taken in self._loaded.values())
        while total > self._max_bytes and len(self._loaded) > 1:
            artifact, (_, bytes_taken) = self._loaded.popitem(last=False)
            total -= bytes_taken
            logger.info("%s dropped from memory", artifact)
