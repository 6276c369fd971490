"""Batch prediction: every example of a data set in full batches, as JSON Lines in parts of a fixed size.

A line has the `index` of its example, the `item_id` of one that has an id, and a `prediction` or an `error`.

The instances of a part depend on their number alone, and its batches on its instances alone: a part that is
computed again has the same bytes.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import orjson

from app.arrays import Ints
from app.errors import AppError, Invalid, Unavailable
from app.infrastructure.stored_arrays import map_arrays, unpack
from app.tasks import TASKS
from app.tasks.contract import Example, Instances, Task, bytes_to_json
from app.typedefs import Json
from workers.decoding.scheduler import decode_each
from workers.decoding.sequence import Decoder
from workers.inference.engines import Engine, unpadded
from workers.inference.padding import MAX_BATCH_FLOATS
from workers.process.child import REPORT_SECONDS

PART_INSTANCES = 2048  # instances
MAX_BATCH_ROWS = 256  # of one forward pass, at most
ENCODE_INSTANCES = 256  # that are encoded together
DECODE_INSTANCES = 256  # that are decoded together, of networks that answer at once


@dataclass(frozen=True)
class BatchSpec:
    """The settings of a batch prediction, and the parts that earlier attempts have finished."""

    task: str
    parameters: Json
    parts: int = 0  # finished
    failed: int = 0  # instances in them that could not be predicted


@dataclass(frozen=True)
class Predicted:
    """The counts of a batch prediction; all parts were reported unless it was stopped."""

    instances: int
    failed: int
    stopped: bool


class Stopped(Exception):
    """The work was asked to stop."""


@dataclass(frozen=True)
class Encoded:
    """An instance that can be predicted, and its id, if it has one."""

    example: Example
    item_id: str | None


@dataclass(frozen=True)
class Refusal:
    """Why an instance cannot be predicted, and the instance's id, if it has one."""

    error: AppError
    item_id: str | None

    def to_json(self) -> Json:
        """Where and what is wrong."""
        problems = self.error.problems
        return {"pointer": problems[0].pointer if problems else "", "detail": self.error.message}


@dataclass(frozen=True)
class InstanceResult:
    """What an instance got: a prediction, or else the reason why there is none."""

    item_id: str | None
    prediction: Json | None
    error: Json | None = None

    def line(self, index: int) -> bytes:
        """The line of the result."""
        name = {} if self.item_id is None else {"item_id": self.item_id}
        result = {"error": self.error} if self.prediction is None else {"prediction": self.prediction}
        return json_line({"index": index, **name, **result})


class BatchProgress:
    """Reports the progress of a batch prediction, a few times a second."""

    def __init__(self, on: Callable[[Json], None], total: int, done: int) -> None:
        self._on, self._total, self._done, self._first = on, total, done, done
        self._began, self._reported = time.monotonic(), 0.0

    def advance(self, count: int) -> None:
        """Record that `count` more instances are done."""
        self._done += count
        now = time.monotonic()
        if now - self._reported < REPORT_SECONDS and self._done < self._total:
            return
        self._reported = now
        speed = (self._done - self._first) / max(now - self._began, 1e-6)
        self._on(
            {
                "type": "progress",
                "fraction": round(self._done / max(self._total, 1), 4),
                "instances": self._done,
                "total": self._total,
                "samples_per_second": round(speed, 1),
                "eta_seconds": round((self._total - self._done) / speed, 1) if speed else None,
            }
        )


class InstancePredictor:
    """Predicts instances in full batches, in order."""

    def __init__(
        self, task: Task, state: Json, parameters: Any, engine: Engine, should_stop: Callable[[], bool]
    ) -> None:
        self._task, self._state, self._parameters = task, state, parameters
        self._engine, self._should_stop = engine, should_stop

    def predict(
        self, instances: Instances, indices: range, on: Callable[[int], None]
    ) -> Iterator[tuple[int, InstanceResult]]:
        """The answer to each of some instances, by its index. Raises `Stopped`."""
        floats = 0
        pending: dict[int, Encoded | Refusal] = {}
        together = 1 if self._task.slow_to_encode else ENCODE_INSTANCES
        for start in range(indices.start, indices.stop, together):
            rows = range(start, min(start + together, indices.stop))
            for index, one in zip(rows, self._encode(list(self._read(instances, rows))), strict=True):
                pending[index] = one
                floats += one.example.inputs.size if isinstance(one, Encoded) else 0
                if floats >= MAX_BATCH_FLOATS or index == indices[-1]:
                    yield from self._answers(pending, on).items()
                    pending, floats = {}, 0

    def _read(self, instances: Instances, rows: range) -> Iterator[Any]:
        for row in rows:
            self._raise_if_stopped()
            yield instances[row]

    def _raise_if_stopped(self) -> None:
        if self._should_stop():
            raise Stopped

    def _encode(self, instances: Sequence[Any]) -> list[Encoded | Refusal]:
        """Each instance encoded, or why it cannot be; those that cannot be are searched for by halves."""
        names = [getattr(instance, "item_id", None) for instance in instances]
        try:
            examples = self._task.encode(self._state, instances, self._parameters)
            return [*map(Encoded, examples, names)]
        except (Invalid, Unavailable) as error:
            if len(instances) == 1:
                return [Refusal(error, names[0])]
        half = len(instances) // 2
        return self._encode(instances[:half]) + self._encode(instances[half:])

    def _answers(
        self, pending: dict[int, Encoded | Refusal], on: Callable[[int], None]
    ) -> dict[int, InstanceResult]:
        """Predict those that can be; the answers in input order."""
        encoded = {index: one for index, one in pending.items() if isinstance(one, Encoded)}
        answers = {
            index: InstanceResult(one.item_id, None, one.to_json())
            for index, one in pending.items()
            if isinstance(one, Refusal)
        }
        on(len(answers))
        examples = {index: one.example for index, one in encoded.items()}
        decoder = self._engine.decoder
        outputs = self._run_batches(examples) if decoder is None else _decoded(decoder, examples)
        while some := list(islice(outputs, DECODE_INSTANCES if decoder is None else 1)):
            self._raise_if_stopped()
            rows, row_outputs = [index for index, _ in some], [output for _, output in some]
            predictions = self._task.decode(
                self._state, [examples[index] for index in rows], row_outputs, self._parameters
            )
            for index, prediction in zip(rows, predictions, strict=True):
                answers[index] = InstanceResult(encoded[index].item_id, prediction)
            on(len(some))
        return {index: answers[index] for index in pending}

    def _run_batches(self, examples: dict[int, Example]) -> Iterator[tuple[int, Any]]:
        """The network's outputs, the shortest first so that little is padding."""
        for rows in batches({index: one.inputs.shape for index, one in examples.items()}):
            self._raise_if_stopped()
            inputs, lengths = pad([examples[index].inputs for index in rows])
            outputs = self._engine.run(inputs, lengths)  # (batch, …)
            yield from zip(rows, unpadded(self._engine, outputs, lengths), strict=True)


def _decoded(decoder: Decoder, examples: dict[int, Example]) -> Iterator[tuple[int, Any]]:
    """The key and the decoded tokens of each example, as each ends."""
    keys = list(examples)
    inputs = [example.inputs for example in examples.values()]
    decodings = [example.decoding or {} for example in examples.values()]
    for index, tokens in decode_each(decoder, inputs, decodings):
        yield keys[index], tokens


def batches(shapes: Mapping[int, tuple[int, ...]]) -> list[list[int]]:
    """Keys of examples of these shapes (time, …) in groups that can share a forward pass.

    A group has at most `MAX_BATCH_ROWS` and, padded, `MAX_BATCH_FLOATS`; its longest example is at most twice
    as long as its shortest.
    """
    groups: list[list[int]] = []
    shortest = 0
    for key in sorted(shapes, key=lambda key: (shapes[key][0], key)):
        # Keys come by length, so this one is the longest of its group so far.
        max_rows = min(MAX_BATCH_ROWS, max(1, MAX_BATCH_FLOATS // math.prod(shapes[key])))
        if not groups or len(groups[-1]) >= max_rows or shapes[key][0] > 2 * shortest:
            groups.append([])
            shortest = shapes[key][0]
        groups[-1].append(key)
    return groups


def pad(rows: Sequence[Any]) -> tuple[Any, Ints]:
    """Inputs (batch, time, …), zeros after each row's end, and the true lengths (batch,)."""
    lengths = np.array([len(row) for row in rows], np.int64)  # (batch,)
    inputs = np.zeros((len(rows), lengths.max(), *rows[0].shape[1:]), rows[0].dtype)  # (batch, time, …)
    for padded, row in zip(inputs, rows, strict=True):
        padded[: len(row)] = row
    return inputs, lengths


def predict(
    spec: BatchSpec,
    data_dir: Path,
    model_dir: Path,
    out_dir: Path,
    engine: Engine,
    *,
    on: Callable[[Json], None],
    should_stop: Callable[[], bool],
) -> Predicted:
    """Predict the data set in `data_dir`; each part is reported as a `checkpoint` once its file is whole."""
    task = TASKS[spec.task]
    state = orjson.loads((model_dir / "manifest.json").read_bytes())["state"]
    parameters = repeatable(msgspec.convert(spec.parameters, task.parameters))
    paths = unpack(data_dir / "arrays.npz", data_dir / "mapped")
    total, failed = len(task.instances(map_arrays(paths), state)), spec.failed
    predictor = InstancePredictor(task, state, parameters, engine, should_stop)
    progress = BatchProgress(on, total, min(spec.parts * PART_INSTANCES, total))
    progress.advance(0)
    for part in range(spec.parts, -(-total // PART_INSTANCES)):
        # Mapped anew for each part: the pages read for the last one leave the memory.
        instances = task.instances(map_arrays(paths), state)
        indices = range(part * PART_INSTANCES, min((part + 1) * PART_INSTANCES, total))
        path = out_dir / f"{part:08d}.part"
        missed = 0
        try:
            with path.open("wb") as file:
                for index, answer in predictor.predict(instances, indices, progress.advance):
                    missed += answer.prediction is None
                    file.write(answer.line(index))
        except Stopped:
            return Predicted(indices.start, failed, stopped=True)
        failed += missed
        done = {"instances": indices.stop, "failed": failed}
        on({"type": "checkpoint", "part": part, "file": path.name, "missed": missed, "metrics": done})
    return Predicted(total, failed, stopped=False)


def repeatable(parameters: Any) -> Any:
    """The parameters with a seed, where they may have one: a part computed again has the same bytes."""
    if getattr(parameters, "seed", 0) is None:
        return msgspec.structs.replace(parameters, seed=0)
    return parameters


def json_line(line: Json) -> bytes:
    """A line of JSON."""
    return orjson.dumps(line, bytes_to_json, orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE)
