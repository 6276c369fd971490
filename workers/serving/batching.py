"""From requests of one version to replies: split rows into batches, pad, run, put the answers together."""

import logging
import time
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import NamedTuple

import numpy as np

from app.lanes import Reply, Request, Status, Tensor
from app.lanes.wire import FLOAT, FLOATS, INT
from app.tasks.contract import Array, Ints
from workers.inference.engines import Away, Broken, Engine, Missing, Pace
from workers.inference.padding import bucket

logger = logging.getLogger(__name__)

MAX_FLOATS = 1 << 24  # of one padded batch: 64 MiB, whatever the rows are
FLOAT_BYTES = FLOAT.itemsize  # and those of an integer
_steps = attrgetter("steps")
MALFORMED = "An instance is not a whole array of (time, features)."


@dataclass(slots=True, eq=False)
class Work:
    """A request on its way to its reply."""

    request: Request
    outputs: list[Tensor] = field(init=False)  # by instance; filled in any order
    failure: tuple[Status, str] | None = None
    queue_seconds: float | None = None
    compute_seconds: float = 0.0
    batch: int = 0  # rows of all batches it was in
    missing: int = field(init=False)  # rows that are not computed yet

    def __post_init__(self) -> None:
        self.outputs = list(self.request.instances)
        self.missing = len(self.outputs)

    def reply(self) -> tuple[str, Reply]:
        """What to answer, and where."""
        to, number = self.request.reply, self.request.id
        if self.failure is not None:
            return to, Reply(number, self.failure[0], message=self.failure[1])
        queued = self.queue_seconds or 0.0
        return to, Reply(number, Status.OK, self.outputs, queued, self.compute_seconds, "", self.batch)


class Row(NamedTuple):
    """One instance of one request."""

    steps: int
    work: Work
    position: int
    tensor: Tensor  # (time, features)


def group(works: Iterable[Work]) -> dict[int, list[Row]]:
    """Rows by number of features, below zero if those are integers, as they came.

    A request with a malformed instance fails as a whole.
    """
    groups: dict[int, list[Row]] = {}
    for work in works:
        tensors = work.request.instances
        if not all(map(_sound, tensors)):
            work.failure = Status.ERROR, MALFORMED
            continue
        for position, tensor in enumerate(tensors):
            steps, features = tensor.shape
            row = Row(steps, work, position, tensor)
            if tensor.kind != FLOATS:
                features = -features
            if (rows := groups.get(features)) is not None:
                rows.append(row)
            else:
                groups[features] = [row]
    return groups


def _sound(tensor: Tensor) -> bool:
    shape = tensor.shape
    if len(shape) != 2:
        return False
    steps, features = shape
    return steps > 0 and features > 0 and steps * features * FLOAT_BYTES == len(tensor.data)


def split(rows: list[Row], pace: Pace, max_rows: int) -> list[list[Row]]:
    """Batches of rows of one width, together as cheap as the pace allows; lengths rise over them."""
    rows = sorted(rows, key=_steps)
    batches = []
    for start, end in cuts([row.steps for row in rows], pace):
        steps, features = rows[end - 1].tensor.shape
        size = max(1, min(max_rows, pace.most // steps, MAX_FLOATS // (steps * features)))
        pieces = -(-(end - start) // size)
        size = -(-(end - start) // pieces)  # 17 of at most 16 are 9 and 8
        batches += [rows[first : min(first + size, end)] for first in range(start, end, size)]
    return batches


def cuts(steps: Sequence[int], pace: Pace) -> list[tuple[int, int]]:
    """The cheapest batches, from row to row, of rising lengths, each padded to its last one."""
    ends = [0]
    while ends[-1] < len(steps):
        ends.append(bisect_right(steps, bucket(steps[ends[-1]])))
    costs, before = (
        [0.0],
        [0],
    )  # by end: of all rows up to it, and where their last batch starts
    for index, end in enumerate(ends[1:], 1):
        longest = steps[end - 1]
        cost, best = min(
            (costs[i] + pace.overhead + longest * (pace.width + end - ends[i]), i) for i in range(index)
        )
        costs.append(cost)
        before.append(best)
    found, index = [], len(ends) - 1
    while index:
        found.append((ends[before[index]], ends[index]))
        index = before[index]
    return found[::-1]


def pad(tensors: Sequence[Tensor]) -> tuple[Array, Ints]:
    """Inputs (batch, time, features), zeros after each row's end, and the true lengths (batch,).

    They are float32 or, of integers, int64.
    """
    steps = [tensor.shape[0] for tensor in tensors]
    longest, features = max(steps), tensors[0].shape[1]
    room = longest * features * FLOAT_BYTES
    if min(steps) == longest:
        pieces = [tensor.data for tensor in tensors]
    else:
        zeros = memoryview(bytes(room))
        pieces = [piece for tensor in tensors for piece in (tensor.data, zeros[len(tensor.data) :])]
    kind = tensors[0].kind
    inputs = np.frombuffer(b"".join(pieces), FLOAT if kind == FLOATS else INT)
    inputs = inputs.reshape(len(tensors), longest, features)
    return inputs if kind == FLOATS else inputs.astype(np.int64), np.array(steps, np.int64)  # (batch,)


def answer(
    requests: Iterable[Request],
    engine: Engine,
    max_rows: int,
    clock: Callable[[], float] = time.time,
) -> Iterator[list[tuple[str, Reply]]]:
    """Where to send which reply to requests of the engine's version, batch after batch as they are computed.

    The clock is asked before each batch.
    """
    works = [Work(request) for request in requests]
    groups = group(works)
    if done := [work.reply() for work in works if work.failure is not None or not work.missing]:
        yield done
    for rows in groups.values():
        for batch in split(rows, engine.pace, max_rows):
            _run(batch, engine, clock())
            if done := [work.reply() for work in _finished(batch)]:
                yield done


def _finished(batch: Iterable[Row]) -> Iterator[Work]:
    """Requests whose last row was in this batch."""
    for row in batch:
        row.work.missing -= 1
        if not row.work.missing:
            yield row.work


def refuse(requests: Iterable[Request], failure: Broken) -> list[tuple[str, Reply]]:
    """The same for a version that cannot be loaded."""
    status = {Missing: Status.MISSING, Away: Status.AWAY}.get(type(failure), Status.ERROR)
    return [(request.reply, Reply(request.id, status, message=str(failure))) for request in requests]


def expire(requests: Iterable[Request]) -> list[tuple[str, Reply]]:
    """The same when nobody waits any more."""
    return [(request.reply, Reply(request.id, Status.EXPIRED)) for request in requests]


def _run(rows: list[Row], engine: Engine, now: float) -> None:
    rows = [row for row in rows if _wanted(row.work, now)]
    if not rows:
        return
    works = {id(row.work): row.work for row in rows}.values()
    begun = time.perf_counter()
    try:
        outputs = engine.run(*pad([row.tensor for row in rows]))  # (batch, …)
    except Exception as error:
        logger.exception("a batch of %s failed", rows[0].work.request.artifact)
        for work in works:
            work.failure = failed(error)
        return
    elapsed = time.perf_counter() - begun
    labels = outputs.dtype.kind == "i"
    found = trim(outputs, [row.steps for row in rows]) if labels else unstack(outputs)
    for row, output in zip(rows, found, strict=True):
        row.work.outputs[row.position] = output
    for work in works:
        work.compute_seconds += elapsed
        work.batch += len(rows)


def failed(error: Exception) -> tuple[Status, str]:
    """What is said of a computation that failed."""
    return Status.ERROR, f"The model could not compute this prediction: {error}"


def trim(labels: Ints, steps: Sequence[int]) -> list[Tensor]:
    """One tensor for each row of labels (batch, time), as long as the row really is."""
    return [Tensor.of(row[:count]) for row, count in zip(labels, steps, strict=True)]


def unstack(outputs: Array) -> list[Tensor]:
    """One tensor for each row of (batch, …), all views of one copy."""
    whole = Tensor.of(outputs)
    shape, size = outputs.shape[1:], len(whole.data) // len(outputs)
    return [Tensor(shape, whole.data[start : start + size]) for start in range(0, len(whole.data), size)]


def _wanted(work: Work, now: float) -> bool:
    if work.failure is None and now >= work.request.deadline:
        work.failure = Status.EXPIRED, ""
    if work.queue_seconds is None:
        work.queue_seconds = max(0.0, now - work.request.sent)
    return work.failure is None
