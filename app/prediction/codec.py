"""A version's requests and predictions: what its task and its state make of instances and of outputs."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from app.errors import Invalid, Problem
from app.tasks.contract import Example, Task, bytes_to_json
from app.tasks.encode_instances import InvalidInstance
from app.typedefs import Json


@dataclass(frozen=True)
class Codec:
    """How one version reads instances and writes predictions."""

    task: Task
    state: Json

    def encode(self, instances: Iterable[Any], parameters: Any, first: int = 0) -> list[Example]:
        """Instances as inputs of the network; raises `Invalid` with pointers into the request.

        `first` is the place in the request of the first of them.
        """
        try:
            return self.task.encode(self.state, instances, parameters)
        except InvalidInstance as error:
            problems = [_point_into_request(first + error.index, problem) for problem in error.problems]
            raise Invalid(error.message, problems) from None

    def decode(self, examples: Sequence[Example], rows: Sequence[Any], parameters: Any) -> list[Json]:
        """Predictions from examples and the network's outputs for each, as `Task.decode` takes them."""
        return self.task.decode(self.state, examples, rows, parameters)


def write_predictions(predictions: Sequence[Json]) -> bytes:
    """A JSON array; each prediction is written alone, so that others get their turn in between."""
    return b"[%s]" % b",".join(
        [orjson.dumps(one, bytes_to_json, orjson.OPT_SERIALIZE_NUMPY) for one in predictions]
    )


def write_answer(model: str, version: int, predictions: bytes) -> bytes:
    """The body of an answer with such an array."""
    head = orjson.dumps({"model": model, "version": version})
    return b'%s,"predictions":%s}' % (head[:-1], predictions)


def _point_into_request(index: int, problem: Problem) -> Problem:
    if problem.pointer.startswith("/parameters"):
        return problem
    return Problem(f"/instances/{index}{problem.pointer}", problem.detail)
