"""Batch prediction: every example of a data set, at full batches, as JSON Lines in parts of a fixed size.

Which instances a part holds depends on nothing but their number, and a part's batches on nothing but its
instances: whoever computes a part again writes the same bytes.
"""

import math
import shutil
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import numpy as np
import orjson

from app.errors import Invalid
from app.tasks import TASKS
from app.tasks.contract import Arrays, Example, Instances, Ints, Task
from app.typedefs import Json
from workers.decoding.scheduler import decode_each
from workers.decoding.sequence import Decoder
from workers.inference.engines import Engine

PART = 2048  # instances
ROWS = 256  # of one forward pass, at most
MAX_FLOATS = 1 << 24  # of one padded batch, and of the examples that wait for theirs: 64 MiB
PULSE = 0.25  # seconds between reports


@dataclass(frozen=True)
class BatchSpec:
    """What a job asks for, and what earlier attempts have done of it."""

    task: str
    parameters: Json
    parts: int = 0  # done
    failed: int = 0  # instances in them that could not be predicted


@dataclass(frozen=True)
class Predicted:
    """What came out; all parts were told unless it was stopped."""

    instances: int
    failed: int
    stopped: bool


class Stopped(Exception):
    """The work was asked to stop."""


def unpack(stored: Path, directory: Path) -> list[Path]:
    """The arrays of an `.npz` file as files that can be memory-mapped."""
    directory.mkdir(parents=True, exist_ok=True)
    paths = []
    with zipfile.ZipFile(stored) as archive:
        for name in archive.namelist():
            paths.append(directory / Path(name).name)
            with archive.open(name) as packed, paths[-1].open("wb") as file:
                shutil.copyfileobj(packed, file, 1 << 20)
    return paths


def mapped(paths: Sequence[Path]) -> Arrays:
    """Arrays by name, read from the disk as they are used."""
    return {path.stem: np.asarray(np.load(path, mmap_mode="r", allow_pickle=False)) for path in paths}


class Progress:
    """Tells how far the work is, a few times a second."""

    def __init__(self, on: Callable[[Json], None], total: int, done: int) -> None:
        self._on, self._total, self._done, self._first = on, total, done, done
        self._began, self._told = time.monotonic(), 0.0

    def advance(self, count: int) -> None:
        """So many more instances are done."""
        self._done += count
        now = time.monotonic()
        if now - self._told < PULSE and self._done < self._total:
            return
        self._told = now
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


class Writer:
    """Predicts instances and writes a line for each, in order."""

    def __init__(
        self, task: Task, state: Json, parameters: Any, engine: Engine, should_stop: Callable[[], bool]
    ) -> None:
        self._task, self._state, self._parameters = task, state, parameters
        self._engine, self._should_stop = engine, should_stop

    def write(self, file: BinaryIO, instances: Instances, indices: range, on: Callable[[int], None]) -> int:
        """Write the lines of some instances; how many could not be predicted. Raises `Stopped`."""
        failed = floats = 0
        waiting: dict[int, Example | Invalid] = {}
        for index in indices:
            self._check()
            waiting[index] = example = self._encode(instances[index])
            if isinstance(example, Invalid):
                failed += 1
            else:
                floats += example.inputs.size
            if floats >= MAX_FLOATS or index == indices[-1]:
                file.writelines(self._lines(waiting, on))
                waiting, floats = {}, 0
        return failed

    def _check(self) -> None:
        if self._should_stop():
            raise Stopped

    def _encode(self, instance: Any) -> Example | Invalid:
        try:
            return self._task.encode(self._state, instance, self._parameters)
        except Invalid as error:
            return error

    def _lines(self, waiting: dict[int, Example | Invalid], on: Callable[[int], None]) -> list[bytes]:
        """Predict those that can be; lines in input order."""
        examples = {index: one for index, one in waiting.items() if isinstance(one, Example)}
        lines = {index: _refusal(index, one) for index, one in waiting.items() if isinstance(one, Invalid)}
        on(len(lines))
        decoder = self._engine.decoder
        found = self._computed(examples) if decoder is None else _searched(decoder, examples)
        for index, output in found:
            self._check()
            answer = self._task.decode(self._state, examples[index], output, self._parameters)
            lines[index] = _line({"index": index, **answer})
            on(1)
        return [lines[index] for index in waiting]

    def _computed(self, examples: dict[int, Example]) -> Iterator[tuple[int, Any]]:
        """The network's outputs, the shortest first so that little is padding."""
        for rows in batches({index: one.inputs.shape for index, one in examples.items()}):
            self._check()
            inputs, lengths = pad([examples[index].inputs for index in rows])
            outputs = self._engine.run(inputs, lengths)  # (batch, …)
            labels = outputs.dtype.kind == "i"  # of steps, and those of padding say nothing
            for index, output, length in zip(rows, outputs, lengths.tolist(), strict=True):
                yield index, output[:length] if labels else output


def _searched(decoder: Decoder, examples: dict[int, Example]) -> Iterator[tuple[int, Any]]:
    """What decoding step by step finds, in the order in which it is found."""
    asked = [(index, one.inputs, one.search or {}) for index, one in examples.items()]
    inputs, searches = [one[1] for one in asked], [one[2] for one in asked]
    for place, found in decode_each(decoder, inputs, searches):
        yield asked[place][0], found


def batches(shapes: Mapping[int, tuple[int, ...]]) -> list[list[int]]:
    """Keys of examples of these shapes (time, …) in groups that can share a forward pass.

    At most `ROWS` and, padded, `MAX_FLOATS`; the longest is at most twice as long as the shortest.
    """
    groups: list[list[int]] = []
    shortest = 0
    for key in sorted(shapes, key=lambda key: (shapes[key][0], key)):
        most = min(ROWS, max(1, MAX_FLOATS // math.prod(shapes[key])))  # this is the longest so far
        if not groups or len(groups[-1]) >= most or shapes[key][0] > 2 * shortest:
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
    """Predict the data set in `data_dir`; each part is told as a `checkpoint` once its file is whole."""
    task = TASKS[spec.task]
    state = orjson.loads((model_dir / "manifest.json").read_bytes())["state"]
    parameters = msgspec.convert(spec.parameters, task.parameters)
    if getattr(parameters, "seed", 0) is None:  # whoever computes a part again writes the same
        parameters = msgspec.structs.replace(parameters, seed=0)
    paths = unpack(data_dir / "arrays.npz", data_dir / "mapped")
    total, failed = len(task.instances(mapped(paths), state)), spec.failed
    writer = Writer(task, state, parameters, engine, should_stop)
    progress = Progress(on, total, min(spec.parts * PART, total))
    progress.advance(0)
    for part in range(spec.parts, -(-total // PART)):
        # Mapped anew for each part: what was read for the last one is not kept in memory.
        instances = task.instances(mapped(paths), state)
        indices = range(part * PART, min((part + 1) * PART, total))
        path = out_dir / f"{part:08d}.part"
        try:
            with path.open("wb") as file:
                failed += (missed := writer.write(file, instances, indices, progress.advance))
        except Stopped:
            return Predicted(indices.start, failed, stopped=True)
        done = {"instances": indices.stop, "failed": failed}
        on({"type": "checkpoint", "part": part, "file": path.name, "missed": missed, "metrics": done})
    return Predicted(total, failed, stopped=False)


def _refusal(index: int, error: Invalid) -> bytes:
    place = error.problems[0].pointer if error.problems else ""
    return _line({"index": index, "error": {"pointer": place, "detail": error.message}})


def _line(answer: Json) -> bytes:
    return orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE)
