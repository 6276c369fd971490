"""Predictions: from a request's bytes to an answer's bytes."""

import asyncio
import json
import threading
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from app.errors import DeadlinePassed, Invalid, Problem, QueueFull
from app.lanes import Answer
from app.prediction.request_parsing import MAX_INLINE_BYTES, parse_request
from app.services.serving.metrics import PredictionMetrics
from app.services.serving.predictions import (
    MAX_INLINE_INSTANCES,
    PredictionService,
    decode_async,
    encode_async,
    output_rows,
    write_body,
)
from app.services.serving.shadowing import MAX_COMPARISONS, MAX_WAITING_ROWS, ShadowRunner
from app.services.serving.version_router import ResolvedRoute, Route
from app.tasks import TASKS
from app.tasks.contract import Example
from app.thread_pools import COMPUTING, DECODING_MEDIA
from app.typedefs import Json
from tests.support.fixtures.servers import until
from tests.support.single import OneByOne


class Lane:
    """A lane whose answer is the sum of what it was sent."""

    def __init__(self, full: tuple[str, ...] = (), shift: float = 0.0) -> None:
        self.sent: list[tuple[str, int, float]] = []
        self.full, self.shift = full, shift  # what version 4 adds
        self.waiting_rows = 0

    def check_capacity(self, artifact: str, *, stepwise: bool = False) -> None:
        if artifact in self.full:
            raise QueueFull

    async def send(
        self,
        artifact: str,
        arrays: list[Any],
        timeout: float,  # noqa: ASYNC109
        search: Any = (),
    ) -> Answer:
        self.sent.append((artifact, len(arrays), timeout))
        if artifact in self.full:
            raise QueueFull
        shift = self.shift if artifact == "artifacts/4" else 0.0
        return Answer([array.sum(axis=0) + shift for array in arrays], 0.1, 0.2, 4)


class Summing(OneByOne):
    """The smallest task: a forecast is the sum of the values; threads that worked are remembered."""

    name = "forecasting"  # whose instances and parameters it takes
    slow_to_encode = False

    def __init__(self) -> None:
        self.threads: set[int] = set()

    def encode_instance(self, state: dict[str, Any], instance: Any, parameters: Any) -> Example:
        self.threads.add(threading.get_ident())
        if None in instance.values:
            index = instance.values.index(None)
            raise Invalid("no holes", [Problem(f"/values/{index}", "a hole")])
        if parameters.horizon == 9:
            raise Invalid("too far", [Problem("/parameters/horizon", "too far")])
        return Example(np.array(instance.values, np.float32)[:, None], instance.item_id)

    def decode_example(
        self, state: dict[str, Any], example: Example, outputs: Any, parameters: Any
    ) -> dict[str, Any]:
        return {"id": example.context, "sum": float(outputs[0]), "shift": state["shift"]}


class Caller:
    """A prediction service over a played lane, to be called like a function."""

    def __init__(self, lane: Lane | None = None, shadow: bool = False) -> None:
        self.lane, self.task = lane or Lane(), Summing()
        self.route = Route("m", 3, self.task, "artifacts/3", {"shift": 1}, {})  # type: ignore[arg-type]
        other = Route("m", 4, self.task, "artifacts/4", {"shift": 1}, {})  # type: ignore[arg-type]
        self.resolved = ResolvedRoute(self.route, other if shadow else None)
        self.metrics = PredictionMetrics(self.lane)  # type: ignore[arg-type]
        self.shadows = ShadowRunner(self.lane)  # type: ignore[arg-type]
        self.service = PredictionService(self.lane, None, self.metrics, self.shadows)  # type: ignore[arg-type]

    def __call__(self, *instances: Any, **parameters: Any) -> list[Json]:
        async def scenario() -> list[Json]:
            body = json.dumps({"instances": instances, "parameters": parameters}).encode()
            request = parse_request(TASKS["forecasting"], body)
            predictions, answer = await self.service.predict(
                self.resolved, request.instances, request.parameters, 7.5, len(body)
            )
            assert (answer.queue_seconds, answer.compute_seconds) == (0.1, 0.2)
            while self.shadows.running:
                await asyncio.sleep(0)
            return predictions

        return asyncio.run(scenario())


def predict(*instances: Any, **parameters: Any) -> tuple[list[Json], Caller]:
    caller = Caller()
    return caller(*instances, **parameters), caller


@pytest.mark.parametrize("count", [1, MAX_INLINE_INSTANCES, MAX_INLINE_INSTANCES + 1, 300])
def test_many_instances_keep_their_order_and_leave_the_loop_free(count: int) -> None:
    predictions, caller = predict(*({"values": [k, k], "item_id": str(k)} for k in range(count)))
    assert predictions == [{"id": str(k), "sum": 2.0 * k, "shift": 1} for k in range(count)]
    ((artifact, rows, seconds),) = caller.lane.sent
    assert (artifact, rows) == ("artifacts/3", count)
    assert 0 < seconds <= 7.5  # what encoding has left of them
    assert (threading.get_ident() in caller.task.threads) == (count <= MAX_INLINE_INSTANCES)


def test_a_task_that_is_slow_to_encode_never_does_so_on_the_loop() -> None:
    caller = Caller()
    caller.task.slow_to_encode = True
    assert caller({"values": [1]})[0]["sum"] == 1.0
    assert threading.get_ident() not in caller.task.threads


def test_slow_encodings_wait_for_each_other_and_keep_nobody_else_from_a_thread() -> None:
    caller, begun, go_on = Caller(), threading.Semaphore(0), threading.Event()

    class Waiting(Summing):
        """Encodes when it may go on."""

        slow_to_encode = True

        def encode_instance(self, state: dict[str, Any], instance: Any, parameters: Any) -> Example:
            begun.release()
            assert go_on.wait(30)
            return super().encode_instance(state, instance, parameters)

    request = parse_request(TASKS["forecasting"], b'{"instances":[{"values":[1]}]}')
    route = replace(caller.route, task=Waiting())  # type: ignore[arg-type]

    async def scenario() -> None:
        arguments = (route, request.instances, request.parameters)
        patient = [asyncio.create_task(encode_async(*arguments, 60)) for _ in range(50)]
        for _ in range(DECODING_MEDIA.threads):
            assert await asyncio.wait_for(asyncio.to_thread(begun.acquire), 30)
        with pytest.raises(DeadlinePassed):
            await encode_async(*arguments, 0.01)
        go_on.set()
        for (example,) in await asyncio.gather(*patient):
            assert example.inputs.tolist() == [[1]]
        assert sum(begun.acquire(blocking=False) for _ in range(60)) == 50 - DECODING_MEDIA.threads

    try:
        asyncio.run(scenario())
    finally:
        go_on.set()


def test_instances_that_nobody_waits_for_are_not_encoded() -> None:
    caller, begun, go_on = Caller(), threading.Event(), threading.Event()
    encoded: list[float] = []

    class Waiting(Summing):
        """Encodes its first instance when it may go on."""

        slow_to_encode = True

        def encode_instance(self, state: dict[str, Any], instance: Any, parameters: Any) -> Example:
            begun.set()
            assert go_on.wait(30)
            encoded.append(instance.values[0])
            return super().encode_instance(state, instance, parameters)

    body = json.dumps({"instances": [{"values": [number]} for number in range(50)]}).encode()
    request = parse_request(TASKS["forecasting"], body)
    route = replace(caller.route, task=Waiting())  # type: ignore[arg-type]

    async def scenario() -> None:
        with pytest.raises(DeadlinePassed):
            await encode_async(route, request.instances, request.parameters, 0.05)
        begun.clear()
        left = asyncio.create_task(encode_async(route, request.instances, request.parameters, 60))
        assert await asyncio.wait_for(asyncio.to_thread(begun.wait), 30)
        left.cancel()  # as when its client is gone
        with pytest.raises(asyncio.CancelledError):
            await left
        go_on.set()
        await encode_async(route, request.instances[:1], request.parameters, 60)  # behind both

    try:
        asyncio.run(scenario())
    finally:
        go_on.set()
    until(lambda: DECODING_MEDIA.idle, what="the end of the calls")
    assert len(encoded) <= 2 + 1


def test_a_few_large_instances_leave_the_loop_free() -> None:
    """What a request costs is known by its size, not by the number of its instances."""
    values = [1.0] * MAX_INLINE_BYTES
    predictions, caller = predict({"values": values}, {"values": [*values, 2.0]})
    assert [one["sum"] for one in predictions] == [MAX_INLINE_BYTES, MAX_INLINE_BYTES + 2.0]
    assert threading.get_ident() not in caller.task.threads


@pytest.mark.parametrize(
    ("width", "quantiles", "inline"), [(8, 1, True), (8, 99, True), (72, 99, False), (5000, 1, False)]
)
def test_large_outputs_and_long_lists_of_parameters_are_decoded_beside_the_loop(
    width: int, quantiles: int, inline: bool
) -> None:
    threads, caller = set[int](), Caller()

    class Remembering(Summing):
        """Remembers which thread decodes."""

        def decode_example(
            self, state: dict[str, Any], example: Example, outputs: Any, parameters: Any
        ) -> dict[str, Any]:
            threads.add(threading.get_ident())
            return super().decode_example(state, example, outputs, parameters)

    route = replace(caller.route, task=Remembering())  # type: ignore[arg-type]
    parameters = TASKS["forecasting"].parameters(quantiles=[0.5] * quantiles)
    examples, answer = [Example(np.zeros((1, 1)), None)], Answer([np.ones(width)], 0.0, 0.0, 1)
    (one,) = asyncio.run(decode_async(route, examples, answer, parameters, 30))
    assert one["sum"] == 1.0
    assert (threading.get_ident() in threads) == inline


def test_many_outputs_are_decoded_in_pieces_in_their_order() -> None:
    caller, sizes = Caller(), list[int]()

    class Counting(Summing):
        """Remembers how many it decodes at once."""

        def decode(self, state: Any, examples: Any, outputs: Any, parameters: Any) -> list[Json]:
            sizes.append(len(examples))
            return super().decode(state, examples, outputs, parameters)

    route = replace(caller.route, task=Counting())  # type: ignore[arg-type]
    answer = Answer([np.full(10_000, float(number)) for number in range(20)], 0.0, 0.0, 1)
    examples = [Example(np.zeros((1, 1)), str(number)) for number in range(20)]
    parameters = TASKS["forecasting"].parameters()
    made = asyncio.run(decode_async(route, examples, answer, parameters, 30))
    assert [(one["id"], one["sum"]) for one in made] == [(str(number), number) for number in range(20)]
    assert len(sizes) > 1
    assert max(sizes) < 20
    assert len(output_rows(answer)) == 20


def test_instances_in_pieces_are_numbered_as_in_the_request() -> None:
    long = {"values": [1.0] * 10_000}
    with pytest.raises(Invalid) as caught:
        predict(*[long] * 20, {"values": [1, None]})
    assert caught.value.problems == [Problem("/instances/20/values/1", "a hole")]


def test_the_deadline_holds_whatever_a_thread_does() -> None:
    caller, go_on = Caller(), threading.Event()

    class Stuck(Summing):
        """Encodes and decodes when it may go on."""

        def encode_instance(self, state: dict[str, Any], instance: Any, parameters: Any) -> Example:
            assert go_on.wait(30)
            return super().encode_instance(state, instance, parameters)

        def decode_example(
            self, state: dict[str, Any], example: Example, outputs: Any, parameters: Any
        ) -> dict[str, Any]:
            assert go_on.wait(30)
            return super().decode_example(state, example, outputs, parameters)

    route = replace(caller.route, task=Stuck())  # type: ignore[arg-type]
    request = parse_request(TASKS["forecasting"], b'{"instances":[{"values":[1]}]}')
    examples, answer = [Example(np.zeros((1, 1)), None)], Answer([np.ones(5000)], 0.0, 0.0, 1)

    async def scenario() -> None:
        with pytest.raises(DeadlinePassed):
            await encode_async(route, request.instances, request.parameters, 0.01, 1 << 20)
        with pytest.raises(DeadlinePassed):
            await decode_async(route, examples, answer, request.parameters, 0.01)

    try:
        asyncio.run(scenario())
    finally:
        go_on.set()
    until(lambda: COMPUTING.idle, what="the end of the calls")


def test_a_body_is_the_same_json_as_if_it_was_written_at_once() -> None:
    route = Caller().route
    predictions: list[Json] = [{"a": np.arange(3.0), "b": "é\n"}, {"c": b"bytes"}]
    body = json.loads(write_body(route, predictions))
    assert body["model"] == "m"
    assert body["version"] == 3
    assert body["predictions"] == [{"a": [0.0, 1.0, 2.0], "b": "é\n"}, {"c": "Ynl0ZXM="}]
    assert json.loads(write_body(route, [])) == {"model": "m", "version": 3, "predictions": []}


@pytest.mark.parametrize("before", [0, 7])
def test_the_index_of_a_bad_instance_is_reported_and_nothing_is_sent(before: int) -> None:
    with pytest.raises(Invalid) as caught:
        predict(*[{"values": [1]}] * before, {"values": [1, None]})
    assert caught.value.problems == [Problem(f"/instances/{before}/values/1", "a hole")]
    with pytest.raises(Invalid) as caught:
        predict({"values": [1]}, horizon=9)
    assert caught.value.problems == [Problem("/parameters/horizon", "too far")]


def test_parameters_may_be_left_out() -> None:
    request = parse_request(TASKS["forecasting"], b'{"instances":[{"values":[1]}]}')
    assert request.parameters == TASKS["forecasting"].parameters()


def test_an_answer_and_a_refusal_are_counted_for_their_version() -> None:
    caller = Caller()
    caller({"values": [1]}, {"values": [2]})
    metrics = caller.metrics.of_version("m", 3)
    assert (metrics.inferences, metrics.executions, metrics.failures) == (2, 0.5, 0)
    caller.lane.full = ("artifacts/3",)
    with pytest.raises(QueueFull):
        caller({"values": [1]})
    with pytest.raises(Invalid):
        caller({"values": [None]})  # no failure of the version's
    assert (metrics.inferences, metrics.failures) == (2, 1)
    assert metrics.failure_seconds > 0


def test_arrays_go_straight_to_the_network_and_are_counted() -> None:
    caller = Caller()
    arrays = [np.ones((3, 2), np.float32)]
    answer = asyncio.run(caller.service.run_network(caller.route, arrays, 2.0))
    assert answer.outputs[0].tolist() == [3.0, 3.0]
    assert caller.metrics.of_version("m", 3).inferences == 1
    caller.lane.full = ("artifacts/3",)
    with pytest.raises(QueueFull):
        asyncio.run(caller.service.run_network(caller.route, arrays, 2.0))
    assert caller.metrics.of_version("m", 3).failures == 1


@pytest.mark.parametrize(
    ("shift", "outcome"), [(0.0, "same"), (1e-5, "same"), (0.5, "different"), (1e9, "different")]
)
def test_a_shadow_is_compared_and_never_returned(shift: float, outcome: str) -> None:
    caller = Caller(Lane(shift=shift), shadow=True)
    assert caller({"values": [1, 1]}, {"values": [3]})[0]["sum"] == 2.0
    assert [sent[0] for sent in caller.lane.sent] == ["artifacts/3", "artifacts/4"]
    assert caller.metrics.of_version("m", 4).shadows == {outcome: 1}
    assert caller.metrics.of_version("m", 4).differences.count == 1
    assert caller.metrics.of_version("m", 4).inferences == 0  # it answered nobody


def test_a_shadow_may_warn_of_something_else() -> None:
    async def shadowed() -> list[Json]:
        return [{"sum": 1.0, "warnings": ["`past` lacks 'promo'"]}]

    async def scenario() -> None:
        caller = Caller()
        metrics = caller.metrics.of_version("m", 4)
        caller.shadows.compare(metrics, shadowed, [{"sum": 1.0}])
        while caller.shadows.running:
            await asyncio.sleep(0)
        assert metrics.shadows == {"same": 1}

    asyncio.run(scenario())


def test_a_shadow_that_fails_harms_nobody() -> None:
    caller = Caller(Lane(full=("artifacts/4",)), shadow=True)
    assert caller({"values": [1]})[0]["sum"] == 1.0
    assert caller.metrics.of_version("m", 4).shadows == {"failed": 1}
    assert caller.metrics.of_version("m", 3).failures == 0


def test_a_busy_lane_computes_no_shadows() -> None:
    caller = Caller(shadow=True)
    caller.lane.waiting_rows = MAX_WAITING_ROWS + 1
    caller({"values": [1]})
    assert caller.metrics.of_version("m", 4).shadows == {"skipped": 1}
    assert [sent[0] for sent in caller.lane.sent] == ["artifacts/3"]


def test_shadows_under_way_are_bounded_and_end_with_the_service() -> None:
    async def forever() -> list[Json]:
        await asyncio.Event().wait()
        return []

    async def scenario() -> None:
        caller = Caller()
        metrics = caller.metrics.of_version("m", 4)
        for _ in range(MAX_COMPARISONS + 2):
            caller.shadows.compare(metrics, forever, [])
        assert metrics.shadows == {"skipped": 2}
        await caller.shadows.close()
        await asyncio.sleep(0)
        assert caller.shadows.running == 0

    asyncio.run(scenario())


def test_a_full_lane_refuses_before_anything_is_parsed_and_counts_it() -> None:
    caller = Caller()
    caller.service.admit(caller.route)
    caller.lane.full = ("artifacts/3",)
    with pytest.raises(QueueFull):
        caller.service.admit(caller.route)
    assert caller.metrics.of_version("m", 3).failures == 1
    assert caller.lane.sent == []


def test_an_answer_that_would_not_fit_is_refused_before_anything_is_encoded() -> None:
    caller = Caller()
    wide = replace(caller.route, graph={"width": 1000})
    caller.resolved = ResolvedRoute(wide, None)
    levels = [(k + 1) / 100 for k in range(99)]
    many = [{"values": [1.0]}] * 200
    with pytest.raises(Invalid, match="19,800,000 numbers") as caught:
        caller(*many, quantiles=levels)
    assert [problem.pointer for problem in caught.value.problems] == ["/instances"]
    assert not caller.task.threads
    assert len(caller(*many)) == 200
