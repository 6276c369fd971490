"""Exported networks in whole batches: a row has the same output alone and among others."""

from pathlib import Path

import numpy as np
import pytest

from app.arrays import Floats, Ints
from app.lanes import ReplyStatus, Request, Tensor
from app.tasks.contract import Input, Output
from tests.workers.lively import lively
from workers.artifact.export import save
from workers.inference.engines import Engine, open_onnx
from workers.nn import ModelConfig
from workers.serving.batching import answer_requests

LENGTHS = [1, 2, 16, 17, 300, 64, 512, 5, 511, 96, 33, 16, 128, 1, 450, 7, 200, 64, 24, 365]


class RecordingEngine:
    """An engine that records the shapes of its inputs."""

    decoder = codec = None

    def __init__(self, engine: Engine) -> None:
        self.engine, self.pace = engine, engine.pace
        self.output, self.stride = engine.output, engine.stride
        self.shapes: list[tuple[int, ...]] = []

    def run(self, inputs: Floats, lengths: Ints) -> Floats:
        self.shapes.append(inputs.shape)
        return self.engine.run(inputs, lengths)


@pytest.fixture(scope="module", params=["lstm", "gru", "rnn"])
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> RecordingEngine:
    config = ModelConfig(
        Input.VECTORS, Output.QUANTILES, 3, 2, cell=request.param, hidden_size=16, quantiles=(0.1, 0.9)
    )
    directory: Path = tmp_path_factory.mktemp(request.param)
    save(directory, lively(config), {})
    return RecordingEngine(open_onnx(directory, "cpu"))


def sequences(lengths: list[int]) -> list[Floats]:
    rng = np.random.default_rng(7)
    return [rng.normal(size=(steps, 3)).astype(np.float32) for steps in lengths]


def compute(engine: Engine, arrays: list[Floats], per_request: int, max_rows: int = 64) -> list[Floats]:
    requests = [
        Request(
            start, "r", 0.0, 1e12, "a/1", [Tensor.of(array) for array in arrays[start : start + per_request]]
        )
        for start in range(0, len(arrays), per_request)
    ]
    replies = [reply for part in answer_requests(requests, engine, max_rows) for _, reply in part]
    replies.sort(key=lambda reply: reply.id)
    assert all(reply.status is ReplyStatus.OK for reply in replies)
    return [output.array() for reply in replies for output in reply.outputs]


@pytest.mark.parametrize("per_request", [1, 3, 20])
def test_a_row_has_the_same_output_alone_and_among_others(engine: RecordingEngine, per_request: int) -> None:
    arrays = sequences(LENGTHS)
    alone = [engine.run(array[None], np.array([len(array)]))[0] for array in arrays]
    assert max(np.abs(output).max() for output in alone) > 0.1
    for max_rows in (64, 3):
        together = compute(engine, arrays, per_request, max_rows)
        for output, target in zip(together, alone, strict=True):
            np.testing.assert_allclose(output, target, atol=1e-6)


def test_mixed_lengths_go_in_few_batches_with_little_padding(engine: RecordingEngine) -> None:
    lengths = np.random.default_rng(3).integers(16, 513, 32).tolist()
    engine.shapes.clear()
    compute(engine, sequences(lengths), 1)
    padded = sum(batch * steps for batch, steps, _ in engine.shapes)
    assert len(engine.shapes) <= 8
    assert padded < 1.25 * sum(lengths)
    assert max(batch * steps for batch, steps, _ in engine.shapes) <= engine.pace.most
