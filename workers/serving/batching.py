"""From requests for one version to replies: split rows into batches, pad, run, collect the outputs."""

import logging
import time
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import NamedTuple

import numpy as np

from app.arrays import Array, Ints
from app.lanes import Reply, ReplyStatus, Request, Tensor
from app.lanes.wire import DTYPES, INT_KIND
from workers.inference.engines import (
    BatchCostModel,
    Engine,
    LoadError,
    MissingVersion,
    StoreUnreachable,
    unpadded,
)
from workers.inference.padding import MAX_BATCH_FLOATS, bucket

logger = logging.getLogger(__name__)

MALFORMED = "An instance is not a whole array of (time, features)."

Replies = list[tuple[str, Reply]]  # each with the list it goes to

_row_steps = attrgetter("steps")


@dataclass(slots=True, eq=False)
class ReplyBuilder:
    """A request and what its reply is made of."""

    request: Request
    outputs: list[Tensor] = field(init=False)  # by instance; filled in any order
    failure: tuple[ReplyStatus, str] | None = None
    queue_seconds: float | None = None
    compute_seconds: float = 0.0
    batch: int = 0  # rows of all batches that the request was in
    rows_left: int = field(init=False)  # that are not computed yet

    def __post_init__(self) -> None:
        self.outputs = list(self.request.instances)
        self.rows_left = len(self.outputs)

    def reply(self) -> tuple[str, Reply]:
        """The reply, with the list it goes to."""
        to, request_id = self.request.reply_to, self.request.id
        if self.failure is not None:
            return to, Reply(request_id, self.failure[0], message=self.failure[1])
        queued = self.queue_seconds or 0.0
        return to, Reply(
            request_id, ReplyStatus.OK, self.outputs, queued, self.compute_seconds, "", self.batch
        )

    def start(self, now: float) -> bool:
        """Record when the first batch begins; false if the request has failed or is past its deadline."""
        if self.failure is None and now >= self.request.deadline:
            self.failure = ReplyStatus.EXPIRED, ""
        if self.queue_seconds is None:
            self.queue_seconds = max(0.0, now - self.request.sent)
        return self.failure is None


class Row(NamedTuple):
    """One instance of one request."""

    steps: int
    builder: ReplyBuilder
    position: int  # of the instance in its request
    tensor: Tensor  # (time, features)


def group_rows(builders: Iterable[ReplyBuilder]) -> dict[tuple[int, int], list[Row]]:
    """Rows in order of arrival, by their number of features and the kind of their tensors.

    A request with a malformed instance fails as a whole.
    """
    groups: dict[tuple[int, int], list[Row]] = {}
    for builder in builders:
        tensors = builder.request.instances
        if not all(map(_is_well_formed, tensors)):
            builder.failure = ReplyStatus.ERROR, MALFORMED
            continue
        for position, tensor in enumerate(tensors):
            steps, features = tensor.shape
            row, key = Row(steps, builder, position, tensor), (features, tensor.kind)
            if (rows := groups.get(key)) is not None:
                rows.append(row)
            else:
                groups[key] = [row]
    return groups


def _is_well_formed(tensor: Tensor) -> bool:
    shape, kind = tensor.shape, tensor.kind
    if len(shape) != 2 or not 0 <= kind < len(DTYPES):
        return False
    steps, features = shape
    return steps > 0 and features > 0 and steps * features * DTYPES[kind].itemsize == len(tensor.data)


def split_batches(rows: list[Row], cost_model: BatchCostModel, max_rows: int) -> list[list[Row]]:
    """Batches of rows with the same number of features, as cheap in total as `cost_model` allows.

    Rows are sorted by length, within a batch and from batch to batch.
    """
    rows = sorted(rows, key=_row_steps)
    batches = []
    for start, end in cheapest_cuts([row.steps for row in rows], cost_model):
        steps, features = rows[end - 1].tensor.shape
        size = max(1, min(max_rows, cost_model.most // steps, MAX_BATCH_FLOATS // (steps * features)))
        pieces = -(-(end - start) // size)
        size = -(-(end - start) // pieces)  # 17 rows with a limit of 16 become 9 and 8
        batches += [rows[first : min(first + size, end)] for first in range(start, end, size)]
    return batches


def cheapest_cuts(steps: Sequence[int], cost_model: BatchCostModel) -> list[tuple[int, int]]:
    """First row and end of each batch that together cost least, of rows with ascending numbers of steps.

    Every batch is padded to its last row. Dynamic programming over the ends of length buckets.
    """
    ends = [0]
    while ends[-1] < len(steps):
        ends.append(bisect_right(steps, bucket(steps[ends[-1]])))
    costs = [0.0]  # by end: of all rows up to it
    previous = [0]  # by end: the index of the end that its batch starts from
    for index, end in enumerate(ends[1:], 1):
        max_steps = steps[end - 1]
        cost, best = min(
            (costs[i] + cost_model.overhead + max_steps * (cost_model.width + end - ends[i]), i)
            for i in range(index)
        )
        costs.append(cost)
        previous.append(best)
    cuts, index = [], len(ends) - 1
    while index:
        cuts.append((ends[previous[index]], ends[index]))
        index = previous[index]
    return cuts[::-1]


def pad_rows(tensors: Sequence[Tensor]) -> tuple[Array, Ints]:
    """Inputs (batch, time, features), zeros after each row's end, and the true lengths (batch,).

    Inputs are float32, uint8 or, for other integers, int64.
    """
    steps = [tensor.shape[0] for tensor in tensors]
    max_steps, features, kind = max(steps), tensors[0].shape[1], tensors[0].kind
    if min(steps) == max_steps:
        chunks = [tensor.data for tensor in tensors]
    else:
        zeros = memoryview(bytes(max_steps * features * DTYPES[kind].itemsize))
        chunks = [chunk for tensor in tensors for chunk in (tensor.data, zeros[len(tensor.data) :])]
    inputs = np.frombuffer(b"".join(chunks), DTYPES[kind]).reshape(len(tensors), max_steps, features)
    return inputs.astype(np.int64) if kind == INT_KIND else inputs, np.array(steps, np.int64)  # (batch,)


def answer_requests(
    requests: Iterable[Request],
    engine: Engine,
    max_rows: int,
    clock: Callable[[], float] = time.time,
) -> Iterator[Replies]:
    """Replies to requests for the engine's version, yielded batch after batch as they are computed.

    `clock` is called before each batch.
    """
    return (replies for replies in answer_by_batches(requests, engine, max_rows, clock) if replies)


def answer_by_batches(
    requests: Iterable[Request],
    engine: Engine,
    max_rows: int,
    clock: Callable[[], float] = time.time,
) -> Iterator[Replies]:
    """The same, but also yields where a batch has completed no request."""
    builders = [ReplyBuilder(request) for request in requests]
    groups = group_rows(builders)
    if done := [one.reply() for one in builders if one.failure is not None or not one.rows_left]:
        yield done
    for rows in groups.values():
        for batch in split_batches(rows, engine.pace, max_rows):
            _run_batch(batch, engine, clock())
            yield [builder.reply() for builder in _completed(batch)]


def _completed(batch: Iterable[Row]) -> Iterator[ReplyBuilder]:
    """Requests whose last row was in this batch."""
    for row in batch:
        row.builder.rows_left -= 1
        if not row.builder.rows_left:
            yield row.builder


def refuse_requests(requests: Iterable[Request], failure: LoadError) -> Replies:
    """Replies to requests for a version that cannot be loaded."""
    statuses = {MissingVersion: ReplyStatus.MISSING, StoreUnreachable: ReplyStatus.UNAVAILABLE}
    status = statuses.get(type(failure), ReplyStatus.ERROR)
    return [(request.reply_to, Reply(request.id, status, message=str(failure))) for request in requests]


def expire_requests(requests: Iterable[Request]) -> Replies:
    """Replies to requests whose deadline has passed."""
    return [(request.reply_to, Reply(request.id, ReplyStatus.EXPIRED)) for request in requests]


def _run_batch(rows: list[Row], engine: Engine, now: float) -> None:
    rows = [row for row in rows if row.builder.start(now)]
    if not rows:
        return
    builders = {id(row.builder): row.builder for row in rows}.values()
    begun = time.perf_counter()
    try:
        inputs, lengths = pad_rows([row.tensor for row in rows])
        outputs = engine.run(inputs, lengths)  # (batch, …)
    except Exception as error:
        logger.exception("a batch of %s failed", rows[0].builder.request.artifact)
        for builder in builders:
            builder.failure = describe_failure(error)
        return
    elapsed = time.perf_counter() - begun
    for row, output in zip(rows, _row_tensors(engine, outputs, lengths), strict=True):
        row.builder.outputs[row.position] = output
    for builder in builders:
        builder.compute_seconds += elapsed
        builder.batch += len(rows)


def describe_failure(error: Exception) -> tuple[ReplyStatus, str]:
    """Status and message of the reply to a request whose computation raised an error."""
    return ReplyStatus.ERROR, f"The model could not compute this prediction: {error}"


def _row_tensors(engine: Engine, outputs: Array, lengths: Ints) -> list[Tensor]:
    """The output of each row; without its padding if it has an axis of steps, else a view of one copy."""
    if engine.output.has_time_axis:
        return [Tensor.of(output) for output in unpadded(engine, outputs, lengths)]
    copy = Tensor.of(outputs)
    shape, size = outputs.shape[1:], len(copy.data) // len(outputs)
    return [Tensor(shape, copy.data[start : start + size]) for start in range(0, len(copy.data), size)]
