"""From requests to replies: group rows that can share a forward pass, pad, run, put the answers together."""

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from app.lanes import Reply, Request, Status, Tensor
from app.lanes.wire import FLOAT
from workers.engines import Broken, Engine, Floats, Ints, Missing

logger = logging.getLogger(__name__)

MAX_FLOATS = 1 << 24  # of one padded batch: 64 MiB, whatever the rows are


@dataclass(slots=True, eq=False)
class Work:
    """A request on its way to its reply."""

    request: Request
    outputs: list[Tensor] = field(init=False)  # by instance; filled in any order
    failure: tuple[Status, str] | None = None
    queue_seconds: float | None = None
    compute_seconds: float = 0.0

    def __post_init__(self) -> None:
        self.outputs = list(self.request.instances)

    def reply(self) -> Reply:
        """What to answer."""
        if self.failure is not None:
            return Reply(self.request.id, self.failure[0], message=self.failure[1])
        queued = self.queue_seconds or 0.0
        return Reply(self.request.id, Status.OK, self.outputs, queued, self.compute_seconds)


class Row(NamedTuple):
    """One instance of one request."""

    work: Work
    position: int
    tensor: Tensor  # (time, features)


class Key(NamedTuple):
    """Rows with the same key can share a forward pass without much padding."""

    artifact: str
    features: int
    bucket: int


def bucket(steps: int) -> int:
    """The next of 1, 2, 3, 4, 6, 8, 12, 16, 24 …, so that less than a third of a batch is padding."""
    power = 1 << (steps - 1).bit_length()
    return power * 3 // 4 if steps <= power * 3 // 4 else power


def group(works: Iterable[Work]) -> dict[Key, list[Row]]:
    """Rows by key in order of arrival; a request with a malformed instance fails as a whole."""
    groups: dict[Key, list[Row]] = {}
    for work in works:
        tensors = work.request.instances
        if not all(len(tensor.shape) == 2 and min(tensor.shape) > 0 and tensor.whole for tensor in tensors):
            work.failure = Status.ERROR, "An instance is not a whole array of (time, features)."
            continue
        for position, tensor in enumerate(tensors):
            key = Key(work.request.artifact, tensor.shape[1], bucket(tensor.shape[0]))
            groups.setdefault(key, []).append(Row(work, position, tensor))
    return groups


def pad(tensors: Sequence[Tensor]) -> tuple[Floats, Ints]:
    """Inputs (batch, time, features), zeros after each row's end, and the true lengths (batch,)."""
    lengths = np.array([tensor.shape[0] for tensor in tensors], np.int64)  # (batch,)
    shape = len(tensors), int(lengths.max()), tensors[0].shape[1]
    if (lengths == shape[1]).all():
        return np.frombuffer(b"".join([tensor.data for tensor in tensors]), FLOAT).reshape(shape), lengths
    inputs = np.zeros(shape, FLOAT)  # (batch, time, features)
    for row, tensor in zip(inputs, tensors, strict=True):
        row[: tensor.shape[0]] = tensor.array()
    return inputs, lengths


def answer(
    requests: Iterable[Request],
    engine_of: Callable[[str], Engine],
    max_rows: int,
    clock: Callable[[], float] = time.time,
) -> list[tuple[str, Reply]]:
    """Where to send which reply; what goes wrong with one version reaches no request of another."""
    works = [Work(request) for request in requests]
    for key, rows in group(works).items():
        size = max(1, min(max_rows, MAX_FLOATS // (key.bucket * key.features)))
        for start in range(0, len(rows), size):
            _run(rows[start : start + size], engine_of, clock())
    return [(work.request.reply, work.reply()) for work in works]


def _run(rows: list[Row], engine_of: Callable[[str], Engine], now: float) -> None:
    rows = [row for row in rows if _wanted(row.work, now)]
    if not rows:
        return
    works = {id(row.work): row.work for row in rows}.values()
    try:
        engine = engine_of(rows[0].work.request.artifact)
        begun = time.perf_counter()
        outputs = engine.run(*pad([row.tensor for row in rows]))  # (batch, …)
        for row, output in zip(rows, outputs, strict=True):
            row.work.outputs[row.position] = Tensor.of(output)
    except Broken as error:
        _fail(works, Status.MISSING if isinstance(error, Missing) else Status.ERROR, str(error))
    except Exception as error:
        logger.exception("a batch of %s failed", rows[0].work.request.artifact)
        _fail(works, Status.ERROR, f"The model could not compute this prediction: {error}")
    else:
        elapsed = time.perf_counter() - begun
        for work in works:
            work.compute_seconds += elapsed


def _wanted(work: Work, now: float) -> bool:
    if work.failure is None and now >= work.request.deadline:
        work.failure = Status.EXPIRED, ""
    if work.queue_seconds is None:
        work.queue_seconds = max(0.0, now - work.request.sent)
    return work.failure is None


def _fail(works: Iterable[Work], status: Status, message: str) -> None:
    for work in works:
        work.failure = status, message
