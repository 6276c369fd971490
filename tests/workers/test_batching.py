"""Grouping, padding and answering, without any process."""

import logging

import numpy as np
import pytest

from app.lanes import Reply, Request, Status, Tensor
from workers.batching import MAX_FLOATS, Work, answer, bucket, group, pad
from workers.engines import Broken, Engine, Floats, Ints

NOW = 1000.0


class SumEngine:
    """Sums what each row really holds; remembers the shapes it was given."""

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []

    def run(self, inputs: Floats, lengths: Ints) -> Floats:
        self.shapes.append(inputs.shape)
        sums = [row[:steps].sum(0) for row, steps in zip(inputs, lengths, strict=True)]
        return np.stack(sums).astype(np.float32)


class FailingEngine:
    def run(self, inputs: Floats, lengths: Ints) -> Floats:
        raise RuntimeError("no such kernel")


class Shelf:
    """Engines by artifact; anything else is broken."""

    def __init__(self, **engines: Engine) -> None:
        self.engines = engines
        self.asked: list[str] = []

    def get(self, artifact: str) -> Engine:
        self.asked.append(artifact)
        if artifact not in self.engines:
            raise Broken("its files are damaged")
        return self.engines[artifact]


def sequence(steps: int, features: int = 2, seed: int = 0) -> Floats:
    return np.random.default_rng([seed, steps]).normal(size=(steps, features)).astype(np.float32)


def request(number: int, *arrays: Floats, artifact: str = "good", deadline: float = NOW + 5) -> Request:
    instances = [Tensor.of(array) for array in arrays]
    return Request(number, f"reply{number % 2}", NOW - 0.5, deadline, artifact, instances)


def replies(requests: list[Request], shelf: Shelf, max_rows: int = 64) -> list[Reply]:
    answered = answer(requests, shelf.get, max_rows, clock=lambda: NOW)
    assert [key for key, _ in answered] == [each.reply for each in requests]
    assert [reply.id for _, reply in answered] == [each.id for each in requests]
    return [reply for _, reply in answered]


def values(reply: Reply) -> list[Floats]:
    assert reply.status is Status.OK
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


def test_rows_group_by_version_width_and_bucket() -> None:
    works = [
        Work(request(0, sequence(5), sequence(60))),
        Work(request(1, sequence(6))),
        Work(request(2, sequence(6), artifact="other")),
        Work(request(3, sequence(6, features=3))),
    ]
    groups = group(works)
    assert {tuple(key): [row.work.request.id for row in rows] for key, rows in groups.items()} == {
        ("good", 2, 6): [0, 1],
        ("good", 2, 64): [0],
        ("other", 2, 6): [2],
        ("good", 3, 6): [3],
    }


def test_padding_is_on_the_right_and_zero() -> None:
    arrays = [sequence(2), sequence(4), sequence(3)]
    inputs, lengths = pad([Tensor.of(array) for array in arrays])
    assert inputs.shape == (3, 4, 2)
    assert lengths.tolist() == [2, 4, 3]
    for row, array in zip(inputs, arrays, strict=True):
        assert np.array_equal(row[: len(array)], array)
        assert not row[len(array) :].any()


def test_equal_lengths_need_no_padding() -> None:
    arrays = [sequence(4, seed=seed) for seed in range(3)]
    inputs, lengths = pad([Tensor.of(array) for array in arrays])
    assert np.array_equal(inputs, np.stack(arrays))
    assert lengths.tolist() == [4, 4, 4]


def test_every_instance_gets_its_own_answer_in_order() -> None:
    engine = SumEngine()
    arrays = [sequence(steps, seed=seed) for seed, steps in enumerate((5, 60, 6, 5, 61, 1))]
    first, second = replies([request(0, *arrays[:3]), request(1, *arrays[3:])], Shelf(good=engine))
    for output, array in zip([*values(first), *values(second)], arrays, strict=True):
        np.testing.assert_allclose(output, array.sum(0), rtol=1e-5)
    assert sorted(engine.shapes) == [(1, 1, 2), (2, 61, 2), (3, 6, 2)]
    assert first.queue_seconds == pytest.approx(0.5)
    assert first.compute_seconds > 0


def test_a_batch_is_bounded_in_rows_and_in_bytes() -> None:
    engine = SumEngine()
    (reply,) = replies([request(0, *[sequence(3)] * 10)], Shelf(good=engine), max_rows=4)
    assert [shape[0] for shape in engine.shapes] == [4, 4, 2]
    assert len(values(reply)) == 10
    engine.shapes.clear()
    replies([request(0, *[np.zeros((1 << 16, MAX_FLOATS >> 17), np.float32)] * 3)], Shelf(good=engine))
    assert [shape[0] for shape in engine.shapes] == [2, 1]


def test_an_expired_request_is_not_computed() -> None:
    engine, shelf = SumEngine(), Shelf()
    shelf.engines["good"] = engine
    late, fine = replies([request(0, sequence(3), deadline=NOW), request(1, sequence(3))], shelf)
    assert (late.status, fine.status) == (Status.EXPIRED, Status.OK)
    assert engine.shapes == [(1, 3, 2)]
    replies([request(0, sequence(3), artifact="unloaded", deadline=NOW - 1)], shelf)
    assert "unloaded" not in shelf.asked


def test_a_broken_version_fails_its_own_requests_only() -> None:
    bad, good = replies(
        [request(0, sequence(3), artifact="bad"), request(1, sequence(3))], Shelf(good=SumEngine())
    )
    assert (bad.status, bad.message) == (Status.ERROR, "its files are damaged")
    assert good.status is Status.OK


def test_a_failing_computation_fails_its_own_requests_only(caplog: pytest.LogCaptureFixture) -> None:
    shelf = Shelf(good=SumEngine(), failing=FailingEngine())
    with caplog.at_level(logging.ERROR):
        bad, good = replies([request(0, sequence(3), artifact="failing"), request(1, sequence(3))], shelf)
    assert bad.status is Status.ERROR
    assert "no such kernel" in bad.message
    assert "no such kernel" in caplog.text
    assert good.status is Status.OK


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
    bad, good = replies([broken, request(1, sequence(2))], Shelf(good=SumEngine()))
    assert bad.status is Status.ERROR
    assert good.status is Status.OK


def test_a_request_without_instances_has_an_empty_answer() -> None:
    (reply,) = replies([request(0)], Shelf())
    assert values(reply) == []
