"""A version's files read without a service: what a request gives, one after the other, on one thread."""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import orjson

from app.tasks import TASKS
from app.typedefs import Json
from benchmarks.serving.peers.network import open_session
from workers.decoding import viterbi


class Reader:
    """Encoding, graph and decoding in one process."""

    def __init__(self, directory: Path) -> None:
        manifest = orjson.loads((directory / "manifest.json").read_bytes())
        self._task, self._state = TASKS[manifest["task"]], manifest["state"]
        self._parameters = self._task.parameters()
        self._tags = manifest["model"]["output"] == "labels"
        self._session = open_session(str(directory / "model.onnx"))
        rows, _, hidden = {node.name: node.shape for node in self._session.get_inputs()}["state"]
        self._start = np.zeros((rows, 1, hidden), np.float32)  # (rows, batch, hidden)
        there = [node.name for node in self._session.get_outputs()]
        self._names = [name for name in ("outputs", "transitions") if name in there]

    def read(self, message: Json) -> tuple[Json, int]:
        """The prediction for an instance, and the steps that the network takes for it."""
        instance = msgspec.convert(message, self._task.instance)
        (example,) = self._task.encode(self._state, [instance], self._parameters)
        lengths = np.array([len(example.inputs)])  # (batch,)
        feed = {"inputs": example.inputs[None], "lengths": lengths, "state": self._start}
        outputs: Any
        outputs, *transitions = self._session.run(self._names, feed)
        if self._tags:
            outputs = viterbi.best(outputs, lengths, *transitions)  # (batch, time)
        (prediction,) = self._task.decode(self._state, [example], outputs[:1], self._parameters)
        return prediction, len(example.inputs)


def reply(prediction: Json) -> bytes:
    """A body with one prediction."""
    return orjson.dumps({"predictions": [prediction]}, option=orjson.OPT_SERIALIZE_NUMPY)
