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

from app.errors import NotFound
from app.tasks.contract import Array, Floats, Ints, Output
from app.tasks.generation.detokenizer import follow
from app.typedefs import Json
from workers.decoding import viterbi
from workers.decoding.onnx_model import NEXT_INPUTS, OnnxNext, OnnxSequence, open_session, shapes_of
from workers.decoding.sampling import Watcher
from workers.decoding.scheduler import decode_all
from workers.decoding.sequence import Decoder
from workers.inference.artifact_cache import ArtifactCache, Unreachable, size

logger = logging.getLogger(__name__)


REMEMBER_SECONDS = 5.0  # a version that does not load is not tried again for so long
AWAY_SECONDS = 1.0  # and one that could not be fetched, for so long
STEP_BY_STEP = "This model is asked step by step: an instance needs a search."
BEAM: Json = {"beam_size": 1}
SESSION_BYTES = 1 << 19  # what a loaded version takes besides its weights, as measured


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

    @property
    def decoder(self) -> Decoder | None:
        """What is asked, of a network that is asked step by step."""
        ...

    def run(self, inputs: Array, lengths: Ints) -> Array:
        """Outputs of inputs (batch, time, features), right-padded, with their true lengths.

        They are (batch, width), or the best tags (batch, time) of a network that labels each step.
        """
        ...


class OnnxEngine:
    """ONNX Runtime on one thread; a manifest says what the graph's outputs mean."""

    # It multiplies padded steps too. Beyond 32 MiB glibc maps a kernel's buffers anew for each batch.
    pace = Pace(overhead=80, width=1, most=1 << 12)

    def __init__(self, path: Path, manifest: Json | None = None) -> None:
        manifest = manifest or {}
        self._output = manifest.get("model", {}).get("output", Output.QUANTILES)
        self._session = open_session(path)
        shapes = shapes_of(self._session, NEXT_INPUTS)
        self._rows, _, self._hidden = shapes["state"]
        self.features = int(shapes["inputs"][2])
        kinds = {node.name: node.type for node in self._session.get_inputs()}
        self.dtype = np.dtype(np.int64 if kinds["inputs"] == "tensor(int64)" else np.float32)
        outputs = {node.name for node in self._session.get_outputs()}
        self._names = [name for name in ("outputs", "transitions") if name in outputs]
        self.decoder = self._decoder(path.parent, manifest)

    def run(self, inputs: Array, lengths: Ints) -> Array:
        """See `Engine`; every sequence starts from a state of zeros."""
        if self._output == Output.SEQUENCE:
            raise ValueError(STEP_BY_STEP)
        state = np.zeros((self._rows, len(inputs), self._hidden), np.float32)  # (rows, batch, hidden)
        feed = {"inputs": inputs, "lengths": lengths, "state": state}
        outputs, *transitions = self._session.run(self._names, feed)
        if self._output == Output.LABELS:
            return viterbi.best(outputs, lengths, *transitions)
        found: Floats = outputs  # (batch, width)
        return found

    def _decoder(self, directory: Path, manifest: Json) -> Decoder | None:
        watch = partial(watcher, manifest.get("state", {}))
        if self._output == Output.NEXT:
            least = 2 if manifest["model"].get("cell") == "rnn" else 1
            return Decoder(OnnxNext(self._session, least), watch)
        if self._output == Output.SEQUENCE:
            return Decoder(OnnxSequence(self._session, open_session(directory / "decoder.onnx")), watch)
        return None


def watcher(state: Json, search: Json) -> Watcher | None:
    """Who looks out for a search's stop strings, if it has any; they are those of texts."""
    return follow(state, search) if search.get("stop") else None


def warm_up(engine: Engine, dtype: np.dtype[Any], features: int) -> None:
    """Run an engine once, so that the first request does not pay for it."""
    inputs = np.ones((1, 1, features), dtype)
    if engine.decoder is None:
        engine.run(inputs, np.ones(1, np.int64))
    else:
        search: Json = {"max_tokens": 2, "temperature": 0.0}
        decode_all(engine.decoder, [inputs[0]], [search if engine.decoder.stepper.pieces else search | BEAM])


def open_onnx(directory: Path, _device: str) -> Engine:
    """Load the graphs of an artifact."""
    manifest = directory / "manifest.json"
    known = json.loads(manifest.read_bytes()) if manifest.is_file() else {}
    engine = OnnxEngine(directory / "model.onnx", known)
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
