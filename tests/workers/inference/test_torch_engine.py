"""The engine for a GPU, here on a CPU: padded and unpacked it answers what the exported graph does."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from app.tasks.contract import Input, Output
from tests.workers.inference.test_engines import alone, ragged
from tests.workers.lively import lively
from workers.artifact.export import save
from workers.inference import cuda_graphs, torch_engine
from workers.inference.cuda_graphs import CudaGraph, CudaGraphCache
from workers.inference.engines import open_onnx
from workers.inference.torch_engine import TorchEngine, open_torch
from workers.nn import ModelConfig
from workers.nn.model import SequenceModel
from workers.nn.recurrent.cells import turned

CPU = torch.device("cpu")


def network(cell: str = "lstm", layers: int = 1, *, bidirectional: bool = False) -> SequenceModel:
    return lively(
        ModelConfig(
            Input.VECTORS,
            Output.QUANTILES,
            3,
            2,
            cell=cell,
            layers=layers,
            hidden_size=6,
            bidirectional=bidirectional,
            quantiles=(0.1, 0.9),
        )
    )


@pytest.mark.parametrize(
    ("layers", "bidirectional"), [(1, False), (2, False), (2, True)], ids=["one", "two", "two both ways"]
)
@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_it_answers_what_onnx_does(tmp_path: Path, cell: str, layers: int, bidirectional: bool) -> None:
    save(tmp_path, network(cell, layers, bidirectional=bidirectional), {})
    ours, theirs = open_torch(tmp_path, "cpu"), open_onnx(tmp_path, "cpu")
    for seed, lengths in enumerate(([5, 2, 8, 1, 8], [1], [40, 3], [7] * 4)):
        inputs, steps = ragged(lengths, features=3, seed=seed)
        wanted = theirs.run(inputs, steps)
        assert np.abs(wanted).max() > 0.01
        np.testing.assert_allclose(ours.run(inputs, steps), wanted, atol=1e-5)
        np.testing.assert_allclose(ours.run(inputs, steps), alone(ours, inputs, steps), atol=1e-6)


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("bidirectional", [False, True], ids=["one way", "both ways"])
def test_padding_that_is_not_a_number_changes_nothing(bidirectional: bool, layers: int) -> None:
    model = network("gru", layers, bidirectional=bidirectional).eval()
    inputs, lengths = (torch.from_numpy(part) for part in ragged([5, 2, 8], features=3))
    spoilt = inputs.clone()
    for row, end in enumerate(lengths.tolist()):
        spoilt[row, end:] = torch.nan
    with torch.inference_mode():
        clean, dirty = model.predict(inputs, lengths), model.predict(spoilt, lengths)
        assert torch.equal(clean, dirty)
        packed, _ = model.forward_last(inputs, lengths, model.initial_state(3))
        assert torch.allclose(clean, packed, atol=1e-6)


def test_a_row_is_turned_round_by_its_own_length() -> None:
    assert turned(torch.tensor([3, 1, 4]), 4).tolist() == [[2, 1, 0, 3], [0, 1, 2, 3], [3, 2, 1, 0]]


def test_what_an_earlier_batch_left_behind_is_not_read() -> None:
    engine = TorchEngine(network().eval(), CPU)
    long, long_steps = ragged([8, 7, 8, 6], features=3, seed=1)
    short, short_steps = ragged([7, 5, 2], features=3, seed=2)
    first = engine.run(long, long_steps)
    assert engine.run(short, short_steps).shape == (3, 2)
    assert len(engine.graphs) == 1  # both round up to four rows of eight steps
    np.testing.assert_allclose(engine.run(short, short_steps), alone(engine, short, short_steps), atol=1e-6)
    assert np.array_equal(engine.run(long, long_steps), first)


def test_an_answer_is_the_caller_s_own() -> None:
    engine = TorchEngine(network().eval(), CPU)
    inputs, lengths = ragged([4, 2], features=3)
    kept = engine.run(inputs, lengths)
    before = kept.copy()
    engine.run(-inputs, lengths)
    assert np.array_equal(kept, before)


def test_inputs_may_be_read_only() -> None:
    inputs, lengths = ragged([4, 2], features=3)
    inputs.flags.writeable = False
    lengths.flags.writeable = False
    TorchEngine(network().eval(), CPU).run(inputs, lengths)


def test_slots_are_bounded_and_the_least_recently_used_goes() -> None:
    def compute(inputs: Tensor, lengths: Tensor) -> Tensor:
        return inputs.sum(dim=1)

    kept = CudaGraphCache(compute, CPU, max_graphs=2)
    one, two = kept.get((1, 1, 3)), kept.get((1, 2, 3))
    assert kept.get((1, 1, 3)) is one
    kept.get((1, 3, 3))
    assert len(kept) == 2
    assert kept.get((1, 1, 3)) is one
    assert kept.get((1, 2, 3)) is not two


def test_a_large_batch_needs_no_slot(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = TorchEngine(network().eval(), CPU)
    inputs, lengths = ragged([9, 4, 9], features=3)
    wanted = engine.run(inputs, lengths)
    assert len(engine.graphs) == 1
    monkeypatch.setattr(torch_engine, "MAX_CACHED_FLOATS", 8)
    np.testing.assert_allclose(engine.run(inputs, lengths), wanted, atol=1e-6)
    assert len(engine.graphs) == 1


def pretend_cuda(slot: CudaGraph, monkeypatch: pytest.MonkeyPatch, record: Any) -> None:
    slot._captures = True
    monkeypatch.setattr(slot, "_record", record)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: None)


def test_a_capture_that_fails_is_not_tried_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    engine = TorchEngine(network().eval(), CPU)
    inputs, lengths = ragged([4], features=3)
    wanted = engine.run(inputs, lengths)
    tries = []

    def fail(pool: object) -> None:
        tries.append(pool)
        raise RuntimeError("operation not permitted when stream is capturing")

    pretend_cuda(engine.graphs.get((1, 4, 3)), monkeypatch, fail)
    for _ in range(3):
        assert np.array_equal(engine.run(inputs, lengths), wanted)
    assert len(tries) == 1
    assert "no CUDA graph" in caplog.text


def test_a_graph_is_replayed_instead_of_computing(monkeypatch: pytest.MonkeyPatch) -> None:
    class Graph:
        replays = 0

        def replay(self) -> None:
            self.replays += 1

    engine = TorchEngine(network().eval(), CPU)
    inputs, lengths = ragged([4], features=3)
    engine.run(inputs, lengths)
    graph = Graph()
    pretend_cuda(engine.graphs.get((1, 4, 3)), monkeypatch, lambda pool: graph)
    for _ in range(3):
        engine.run(inputs, lengths)
    assert graph.replays == 3


def test_nothing_is_captured_while_a_version_loads(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = TorchEngine(network().eval(), CPU)
    inputs, lengths = ragged([4], features=3)
    engine.run(inputs, lengths)
    slot = engine.graphs.get((1, 4, 3))
    pretend_cuda(slot, monkeypatch, lambda pool: object())
    with cuda_graphs.CUDA_BUSY:
        engine.run(inputs, lengths)
    assert slot._graph is None
    assert slot._captures


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("bidirectional", [False, True], ids=["one way", "both ways"])
@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_on_a_gpu_graphs_answer_as_the_cpu_does(tmp_path: Path, cell: str, bidirectional: bool) -> None:
    save(tmp_path, network(cell, 2, bidirectional=bidirectional), {})
    ours, theirs = open_torch(tmp_path, "cuda:0"), open_onnx(tmp_path, "cpu")
    for seed in range(4):  # the second is captured, the others replay
        inputs, lengths = ragged([30, 2, 17, 25], features=3, seed=seed)
        np.testing.assert_allclose(ours.run(inputs, lengths), theirs.run(inputs, lengths), atol=5e-3)
    assert isinstance(ours, TorchEngine)
    assert ours.graphs.get((4, 32, 3))._graph is not None
