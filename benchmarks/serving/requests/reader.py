"""A version's files read without a service: what requests give, on one thread."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import orjson

from app.arrays import Array
from app.tasks import TASKS
from app.tasks.contract import Example
from app.typedefs import Json
from benchmarks.serving.peers.network import open_session
from workers.decoding import viterbi


class Reader:
    """Encoding, graph and decoding in one process."""

    def __init__(self, directory: Path) -> None:
        manifest = orjson.loads((directory / "manifest.json").read_bytes())
        self.task, self._state = TASKS[manifest["task"]], manifest["state"]
        self._parameters = self.task.parameters()
        self._tags = manifest["model"]["output"] == "labels"
        self._session = open_session(str(directory / "model.onnx"))
        self._rows, _, self._hidden = {node.name: node.shape for node in self._session.get_inputs()}["state"]
        there = [node.name for node in self._session.get_outputs()]
        self._names = [name for name in ("outputs", "transitions") if name in there]

    def read(self, message: Json) -> tuple[Json, int]:
        """The prediction for an instance, and the steps that the network takes for it."""
        examples = self.encode([msgspec.convert(message, self.task.instance)])
        (prediction,) = self.decode(examples)
        return prediction, len(examples[0].inputs)

    def encode(self, instances: Sequence[Any]) -> list[Example]:
        """Instances as the network reads them."""
        return self.task.encode(self._state, instances, self._parameters)

    def decode(self, examples: Sequence[Example]) -> list[Json]:
        """The predictions for them, of one batch."""
        outputs = self.run([example.inputs for example in examples])
        return self.task.decode(self._state, examples, outputs, self._parameters)

    def run(self, inputs: Sequence[Array]) -> Sequence[Array]:
        """What the graph gives for each of some inputs (time, features); of tags the best ones (time,)."""
        lengths = np.array([len(one) for one in inputs])  # (batch,)
        state = np.zeros((self._rows, len(inputs), self._hidden), np.float32)  # (rows, batch, hidden)
        feed = {"inputs": padded(inputs, lengths), "lengths": lengths, "state": state}
        outputs: Any
        outputs, *transitions = self._session.run(self._names, feed)
        if not self._tags:
            return list(outputs)
        tags = viterbi.best(outputs, lengths, *transitions)  # (batch, time)
        return [row[:length] for row, length in zip(tags, lengths.tolist(), strict=True)]


def padded(inputs: Sequence[Array], lengths: Array) -> Array:
    """Inputs (time, features) of each length as (batch, time, features), with zeros at the end."""
    if (lengths == lengths[0]).all():
        return np.stack(inputs)
    joined = np.zeros((len(inputs), int(lengths.max()), inputs[0].shape[1]), inputs[0].dtype)
    for row, one in zip(joined, inputs, strict=True):
        row[: len(one)] = one
    return joined


def reply(prediction: Json) -> bytes:
    """A body with one prediction."""
    return orjson.dumps({"predictions": [prediction]}, option=orjson.OPT_SERIALIZE_NUMPY)
