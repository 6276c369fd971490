"""Requests that come as JSON: encoded and decoded together, each answered as if it was alone."""

import json
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from app.arrays import Array, Ints
from app.lanes import Reply, ReplyStatus, Request, Tensor
from app.prediction.codec import Codec
from app.tasks.contract import Output
from app.tasks.forecasting.options import ForecastingOptions
from app.tasks.forecasting.task import TASK
from app.typedefs import Json
from tests.support.factories.series import series_set, waves
from workers.inference.engines import BatchCostModel
from workers.serving.batching import answer_requests
from workers.serving.json_requests import JsonRequests

HORIZON = 4
PLAN = TASK.plan(series_set(waves(4, 60)).arrays(), ForecastingOptions(horizon=HORIZON), 0)
CODEC = Codec(TASK, PLAN.state)
NOW = 1000.0


class Network:
    """Outputs that depend on each row's own inputs; records how many rows it had at once."""

    pace = BatchCostModel(80, 1, 1 << 12)
    output, stride = Output.QUANTILES, 1
    decoder = codec = None

    def __init__(self) -> None:
        self.rows: list[int] = []

    def run(self, inputs: Array, lengths: Ints) -> Array:
        self.rows.append(len(inputs))
        sums = [
            np.resize(row[:steps].sum(axis=0), PLAN.outputs)
            for row, steps in zip(inputs, lengths, strict=True)
        ]
        return np.stack(sums).astype(np.float32)


class Failing(Network):
    """Cannot compute."""

    def run(self, inputs: Array, lengths: Ints) -> Array:
        raise RuntimeError("no memory")


def asked(number: int, *instances: Json, deadline: float = NOW + 5, **parameters: Any) -> Request:
    body = json.dumps({"instances": instances, "parameters": parameters}).encode()
    return Request(number, "me", NOW, deadline, "a/1", [], body=body, rows=len(instances))


def answers(
    requests: Sequence[Request], network: Network | None = None, codec: Codec = CODEC
) -> dict[int, Reply]:
    with_json, replies = JsonRequests(codec), dict[int, Reply]()
    encoded, ended = with_json.encode([one for one in requests if one.body], NOW)
    encoded += [one for one in requests if not one.body]
    for batch in (
        ended,
        *map(with_json.decode, answer_requests(encoded, network or Network(), 64, lambda: NOW)),
    ):
        for to, reply in batch:
            assert to == "me"
            assert reply.id not in replies
            replies[reply.id] = reply
    return replies


def series(seed: int) -> Json:
    rng = np.random.default_rng(seed)
    values = rng.normal(size=int(rng.integers(3, 90))).round(3).tolist()
    return {"values": values, "item_id": str(seed)} | ({"start": "2024-03-01"} if seed % 2 else {})


def test_all_are_answered_as_if_they_were_alone() -> None:
    requests = [
        asked(0, series(0)),
        asked(1, series(1), series(2)),
        asked(2, series(3), horizon=2),
        asked(3, series(4)),
        asked(4, series(5), quantiles=[0.3]),
        asked(5, series(6), horizon=2),
    ]
    network = Network()
    together = answers(requests, network)
    assert sum(network.rows) == 7
    assert len(network.rows) < 7
    for request in requests:
        (alone,) = answers([request]).values()
        reply = together[request.id]
        assert (reply.status, reply.outputs) == (ReplyStatus.OK, [])
        assert reply.predictions == alone.predictions
        content = json.loads(request.body)
        examples = [instance_of(one) for one in content["instances"]]
        horizon = content["parameters"].get("horizon", HORIZON)
        predictions = json.loads(reply.predictions)
        assert [one["item_id"] for one in predictions] == [one["item_id"] for one in content["instances"]]
        assert [len(one["mean"]) for one in predictions] == [horizon] * len(examples)


def instance_of(content: Json) -> Any:
    return TASK.instance(**content)


@pytest.mark.parametrize(
    ("wrong", "pointer"),
    [
        ({"values": []}, "/instances/1/values"),
        ({"values": [1, "x"]}, "/instances/1/values/1"),
        ({"values": [None]}, "/instances/1/values"),
        ({"values": [1], "colour": "red"}, "/instances/1"),
    ],
)
def test_an_instance_that_cannot_be_encoded_fails_its_own_request(wrong: Json, pointer: str) -> None:
    replies = answers([asked(0, series(0)), asked(1, series(1), wrong), asked(2, series(2))])
    assert [replies[number].status for number in range(3)] == ["ok", "invalid", "ok"]
    (problem,) = replies[1].problems
    assert problem.pointer == pointer
    assert problem.detail in replies[1].message
    assert "This is a forecasting model" in replies[1].message
    assert replies[1].message.count("This is a forecasting model") == 1


def test_parameters_that_a_version_cannot_serve_fail_their_own_request() -> None:
    replies = answers([asked(0, series(0), horizon=HORIZON + 1), asked(1, series(1))])
    assert (replies[0].status, replies[0].problems[0].pointer) == ("invalid", "/parameters/horizon")
    assert replies[1].status == "ok"


def test_one_past_its_deadline_is_not_computed() -> None:
    network = Network()
    replies = answers([asked(0, series(0), deadline=NOW - 1), asked(1, series(1))], network)
    assert (replies[0].status, replies[1].status, network.rows) == ("expired", "ok", [1])


def test_tensors_and_json_are_computed_together() -> None:
    network, request = Network(), asked(0, series(30))
    (example,) = CODEC.encode([instance_of(series(30))], TASK.parameters())
    tensors = Request(1, "me", NOW, NOW + 5, "a/1", [Tensor.of(example.inputs)])
    replies = answers([request, tensors], network)
    assert network.rows == [2]
    assert (replies[1].predictions, len(replies[1].outputs)) == (b"", 1)
    assert replies[0].predictions


def test_a_network_that_fails_fails_with_its_reason() -> None:
    reply = answers([asked(0, series(0))], Failing())[0]
    assert (reply.status, reply.predictions) == ("error", b"")
    assert "no memory" in reply.message


def test_what_cannot_be_decoded_fails_its_own_request(caplog: pytest.LogCaptureFixture) -> None:
    class Picky(Codec):
        def decode(self, examples: Any, rows: Any, parameters: Any) -> list[Json]:
            if any(example.context.item_id == "1" for example in examples):
                raise ArithmeticError("not this one")
            return super().decode(examples, rows, parameters)

    replies = answers([asked(number, series(number)) for number in range(4)], codec=Picky(TASK, PLAN.state))
    assert [replies[number].status for number in range(4)] == ["ok", "error", "ok", "ok"]
    assert "not this one" in replies[1].message
    assert caplog.records


def test_encoding_and_decoding_count_as_computing() -> None:
    class Slow(Codec):
        def encode(self, instances: Any, parameters: Any, first: int = 0) -> list[Any]:
            until = time.perf_counter() + 0.02
            while time.perf_counter() < until:
                pass
            return super().encode(instances, parameters, first)

    reply = answers([asked(0, series(0))], codec=Slow(TASK, PLAN.state))[0]
    assert reply.compute_seconds >= 0.02
