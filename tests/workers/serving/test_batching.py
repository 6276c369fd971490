"""Grouping, padding and answering, without any process."""

import logging

import numpy as np
import pytest

from app.arrays import Array, Floats, Ints
from app.lanes import Reply, ReplyStatus, Request, Tensor
from app.lanes.wire import FLOAT_KIND
from app.tasks.contract import Output
from workers.inference.engines import BatchCostModel, Engine, LoadError, MissingVersion, StoreUnreachable
from workers.inference.padding import MAX_BATCH_FLOATS, bucket
from workers.serving.batching import (
    ReplyBuilder,
    Row,
    answer_requests,
    cheapest_cuts,
    expire_requests,
    group_rows,
    pad_rows,
    refuse_requests,
    split_batches,
)

NOW = 1000.0
PACE = BatchCostModel(overhead=80, width=1, most=1 << 30)


class SumEngine:
    """Sums each row without its padding; records the shapes of its inputs."""

    decoder = codec = None
    output, stride = Output.QUANTILES, 1

    def __init__(self, pace: BatchCostModel = PACE) -> None:
        self.pace = pace
        self.shapes: list[tuple[int, ...]] = []

    def run(self, inputs: Array, lengths: Ints) -> Array:
        self.shapes.append(inputs.shape)
        sums = [row[:steps].sum(0) for row, steps in zip(inputs, lengths, strict=True)]
        return np.stack(sums).astype(np.float32)


class FailingEngine:
    pace = PACE
    decoder = codec = None
    output, stride = Output.QUANTILES, 1

    def run(self, inputs: Array, lengths: Ints) -> Array:
        raise RuntimeError("no such kernel")


def sequence(steps: int, features: int = 2, seed: int = 0) -> Floats:
    return np.random.default_rng([seed, steps]).normal(size=(steps, features)).astype(np.float32)


def request(number: int, *arrays: Array, artifact: str = "good", deadline: float = NOW + 5) -> Request:
    instances = [Tensor.of(array) for array in arrays]
    return Request(number, f"reply{number % 2}", NOW - 0.5, deadline, artifact, instances)


def replies(requests: list[Request], engine: Engine, max_rows: int = 64) -> list[Reply]:
    parts = list(answer_requests(requests, engine, max_rows, clock=lambda: NOW))
    assert all(parts)
    answers = sorted((pair for part in parts for pair in part), key=lambda pair: pair[1].id)
    assert [key for key, _ in answers] == [each.reply_to for each in requests]
    assert [reply.id for _, reply in answers] == [each.id for each in requests]
    return [reply for _, reply in answers]


def values(reply: Reply) -> list[Floats]:
    assert reply.status is ReplyStatus.OK
    return [output.array() for output in reply.outputs]


def test_buckets_waste_less_than_a_third() -> None:
    assert [bucket(steps) for steps in (1, 2, 3, 4, 5, 6, 7, 9, 13, 17, 64, 65)] == [
        *(1, 2, 3, 4, 6, 6, 8, 12, 16, 24, 64, 96)
    ]
    for steps in range(4, 5000):
        longest, smaller = bucket(steps), bucket(steps) - 1
        assert steps <= longest
        assert (longest - steps) / longest < 1 / 3
        assert bucket(smaller) in {longest, smaller}


def rows_of(*lengths: int) -> list[Row]:
    return group_rows([ReplyBuilder(request(0, *[sequence(steps) for steps in lengths]))])[2, FLOAT_KIND]


def cost(batches: list[tuple[int, int]], steps: list[int], pace: BatchCostModel) -> int:
    return sum(pace.overhead + steps[end - 1] * (pace.width + end - start) for start, end in batches)


def test_rows_group_by_width() -> None:
    builders = [
        ReplyBuilder(request(0, sequence(5), sequence(60))),
        ReplyBuilder(request(1, sequence(6))),
        ReplyBuilder(request(2, sequence(6, features=3))),
    ]
    groups = group_rows(builders)
    assert {key: [row.builder.request.id for row in rows] for key, rows in groups.items()} == {
        (2, FLOAT_KIND): [0, 0, 1],
        (3, FLOAT_KIND): [2],
    }


def test_neighbours_share_a_batch_when_padding_is_cheaper_than_another_batch() -> None:
    assert cheapest_cuts([4, 5, 9, 20], PACE) == [(0, 4)]
    assert cheapest_cuts([16] * 10 + [512], PACE) == [(0, 10), (10, 11)]
    assert cheapest_cuts([500, 501, 512], PACE) == [(0, 3)]
    assert cheapest_cuts([7], PACE) == [(0, 1)]
    # A step costs about the same for one row and for many.
    wide = BatchCostModel(overhead=80, width=1000, most=1 << 30)
    assert cheapest_cuts([16] * 10 + [512], wide) == [(0, 11)]


@pytest.mark.parametrize("seed", range(5))
def test_cuts_cost_no_more_than_one_batch_or_one_for_each_bucket(seed: int) -> None:
    steps = sorted(np.random.default_rng(seed).integers(1, 600, 40).tolist())
    cuts = cheapest_cuts(steps, PACE)
    assert [start for start, _ in cuts] == [0, *(end for _, end in cuts[:-1])]
    assert cuts[-1][1] == len(steps)
    edges = [i for i in range(1, 40) if bucket(steps[i - 1]) != bucket(steps[i])]
    bucket_cuts = list(zip([0, *edges], [*edges, 40], strict=True))
    assert cost(cuts, steps, PACE) <= min(cost([(0, 40)], steps, PACE), cost(bucket_cuts, steps, PACE))


def test_batches_are_bounded_in_rows_and_steps_and_even() -> None:
    assert [len(batch) for batch in split_batches(rows_of(*[3] * 17), PACE, 16)] == [9, 8]
    bounded = BatchCostModel(overhead=80, width=1, most=100)
    assert [len(batch) for batch in split_batches(rows_of(*[30] * 7), bounded, 64)] == [3, 3, 1]
    assert [len(batch) for batch in split_batches(rows_of(200, 200), bounded, 64)] == [1, 1]


def test_lengths_rise_over_the_batches_and_no_row_is_lost() -> None:
    lengths = np.random.default_rng(0).integers(1, 500, 64).tolist()
    batches = split_batches(rows_of(*lengths), PACE, 8)
    flat = [row for batch in batches for row in batch]
    assert [row.steps for row in flat] == sorted(lengths)
    assert sorted(row.position for row in flat) == list(range(64))
    assert all(row.steps == lengths[row.position] for row in flat)


def test_padding_is_on_the_right_and_zero() -> None:
    arrays = [sequence(2), sequence(4), sequence(3)]
    inputs, lengths = pad_rows([Tensor.of(array) for array in arrays])
    assert inputs.shape == (3, 4, 2)
    assert lengths.tolist() == [2, 4, 3]
    for row, array in zip(inputs, arrays, strict=True):
        assert np.array_equal(row[: len(array)], array)
        assert not row[len(array) :].any()


def test_equal_lengths_need_no_padding() -> None:
    arrays = [sequence(4, seed=seed) for seed in range(3)]
    inputs, lengths = pad_rows([Tensor.of(array) for array in arrays])
    assert np.array_equal(inputs, np.stack(arrays))
    assert lengths.tolist() == [4, 4, 4]


def test_every_instance_gets_its_own_answer_in_order() -> None:
    engine = SumEngine()
    arrays = [sequence(steps, seed=seed) for seed, steps in enumerate((5, 600, 6, 5, 610, 1))]
    first, second = replies([request(0, *arrays[:3]), request(1, *arrays[3:])], engine)
    for output, array in zip([*values(first), *values(second)], arrays, strict=True):
        np.testing.assert_allclose(output, array.sum(0), rtol=1e-4, atol=1e-4)
    assert engine.shapes == [(4, 6, 2), (2, 610, 2)]
    assert first.queue_seconds == pytest.approx(0.5)
    assert first.compute_seconds > 0


def test_a_reply_has_the_number_of_rows_in_its_batches() -> None:
    long, short = sequence(600), sequence(5)
    one, two, three = replies(
        [request(0, short), request(1, short, long), request(2, long, long)], SumEngine()
    )
    assert (one.batch, two.batch, three.batch) == (2, 5, 3)
    (alone,) = replies([request(0, short, long, long)], SumEngine(), max_rows=2)
    assert alone.batch == 3


def test_queue_seconds_end_when_the_first_batch_starts() -> None:
    times = iter([NOW, NOW + 1])
    answers = answer_requests(
        [request(0, sequence(5)), request(1, sequence(600))], SumEngine(), 64, clock=lambda: next(times)
    )
    assert [reply.queue_seconds for part in answers for _, reply in part] == pytest.approx([0.5, 1.5])


def test_completed_requests_are_answered_before_the_next_batch_runs() -> None:
    engine = SumEngine()
    requests = [request(0, sequence(600)), request(1, sequence(5)), request(2, sequence(5), sequence(600))]
    answers = answer_requests(requests, engine, 64, clock=lambda: NOW)
    assert [reply.id for _, reply in next(answers)] == [1]
    assert [shape[0] for shape in engine.shapes] == [2]
    assert sorted(reply.id for _, reply in next(answers)) == [0, 2]
    assert list(answers) == []


def test_a_batch_is_bounded_in_rows_and_in_bytes() -> None:
    engine = SumEngine()
    (reply,) = replies([request(0, *[sequence(3)] * 10)], engine, max_rows=4)
    assert [shape[0] for shape in engine.shapes] == [4, 4, 2]
    assert len(values(reply)) == 10
    engine.shapes.clear()
    replies([request(0, *[np.zeros((1 << 16, MAX_BATCH_FLOATS >> 17), np.float32)] * 3)], engine)
    assert [shape[0] for shape in engine.shapes] == [2, 1]


def test_an_expired_request_is_not_computed() -> None:
    engine = SumEngine()
    late, fine = replies([request(0, sequence(3), deadline=NOW), request(1, sequence(3))], engine)
    assert (late.status, fine.status) == (ReplyStatus.EXPIRED, ReplyStatus.OK)
    assert engine.shapes == [(1, 3, 2)]
    assert [reply.status for _, reply in expire_requests([request(7)])] == [ReplyStatus.EXPIRED]


@pytest.mark.parametrize(
    ("failure", "status"),
    [
        (LoadError("why"), ReplyStatus.ERROR),
        (MissingVersion("why"), ReplyStatus.MISSING),
        (StoreUnreachable("why"), ReplyStatus.UNAVAILABLE),
    ],
    ids=["broken", "missing", "away"],
)
def test_a_version_that_cannot_be_loaded_is_refused(failure: LoadError, status: ReplyStatus) -> None:
    ((to, reply),) = refuse_requests([request(3, sequence(3))], failure)
    assert (to, reply.id, reply.status, reply.message) == ("reply1", 3, status, "why")


def test_a_failing_computation_fails_its_own_requests_only(caplog: pytest.LogCaptureFixture) -> None:
    class Picky(SumEngine):
        def run(self, inputs: Array, lengths: Ints) -> Array:
            return (
                FailingEngine().run(inputs, lengths) if inputs.shape[2] == 3 else super().run(inputs, lengths)
            )

    with caplog.at_level(logging.ERROR):
        bad, good = replies([request(0, sequence(3, features=3)), request(1, sequence(3))], Picky())
    assert bad.status is ReplyStatus.ERROR
    assert "no such kernel" in bad.message
    assert "no such kernel" in caplog.text
    assert good.status is ReplyStatus.OK


@pytest.mark.parametrize(
    "tensor",
    [
        Tensor((2, 2), memoryview(b"12")),
        Tensor((0, 2), memoryview(b"")),
        Tensor((2,), memoryview(b"1234" * 2)),
        Tensor((-1, -2), memoryview(b"1234" * 2)),
    ],
)
def test_a_malformed_instance_fails_its_own_request_only(tensor: Tensor) -> None:
    broken = Request(0, "reply0", NOW, NOW + 5, "good", [Tensor.of(sequence(2)), tensor])
    bad, good = replies([broken, request(1, sequence(2))], SumEngine())
    assert bad.status is ReplyStatus.ERROR
    assert good.status is ReplyStatus.OK


def test_a_request_without_instances_has_an_empty_answer() -> None:
    (reply,) = replies([request(0)], SumEngine())
    assert values(reply) == []


class TagEngine(SumEngine):
    """Tags each step by its first token, padding by -1."""

    output = Output.LABELS

    def run(self, inputs: Array, lengths: Ints) -> Array:
        assert inputs.dtype == np.int64
        self.shapes.append(inputs.shape)
        real = np.arange(inputs.shape[1]) < lengths[:, None]
        return np.where(real, inputs[:, :, 0], -1)


def tokens(steps: int, features: int = 2, seed: int = 0) -> Ints:
    return np.random.default_rng([seed, steps]).integers(1, 9, (steps, features))


def test_tokens_are_padded_as_integers() -> None:
    rows = [tokens(2), tokens(4)]
    inputs, lengths = pad_rows([Tensor.of(row) for row in rows])
    assert inputs.dtype == np.int64
    assert (inputs.shape, lengths.tolist()) == ((2, 4, 2), [2, 4])
    assert inputs[0, :2].tolist() == rows[0].tolist()
    assert not inputs[0, 2:].any()


def test_a_row_has_as_many_labels_as_steps() -> None:
    engine = TagEngine()
    rows = [tokens(steps) for steps in (5, 1, 9, 5)]
    first, second = replies([request(0, *rows[:3]), request(1, rows[3])], engine)
    for output, row in zip([*values(first), *values(second)], rows, strict=True):
        assert output.dtype == np.int64
        assert output.tolist() == row[:, 0].tolist()
    assert len(engine.shapes) == 1


def test_floats_and_integers_share_no_batch() -> None:
    engine = SumEngine()
    replies([request(0, sequence(3)), request(1, tokens(3))], engine)
    assert engine.shapes == [(1, 3, 2), (1, 3, 2)]
