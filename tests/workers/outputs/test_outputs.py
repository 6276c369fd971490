"""Every kind of input and output has its objects; strided frames and aligned outputs; evaluations."""

from pathlib import Path

import numpy as np
import pytest
import torch

from app.arrays import Ints
from app.tasks.contract import Batch, Input, Output, strided_lengths
from workers.artifact.export import save
from workers.decoding.graph_outputs import GRAPH_OUTPUTS
from workers.inference.engines import OnnxEngine, open_onnx, unpadded
from workers.inference.torch_engine import TorchEngine
from workers.inputs import INPUTS
from workers.nn import ModelConfig, Network
from workers.nn.losses import ctc_loss
from workers.nn.model import SequenceModel
from workers.outputs import OUTPUTS, build, join
from workers.training.evaluate import outputs_of

CPU = torch.device("cpu")
LABELS, FEATURES = 5, 3


def aligned(
    cell: str = "gru", stride: int = 3, kernel: int = 5, *, bidirectional: bool = True
) -> ModelConfig:
    return ModelConfig(
        Input.FRAMES, Output.ALIGNED, FEATURES, LABELS, cell, 1, 8,
        bidirectional=True, embedding_size=6, stride=stride, kernel=kernel,
    )  # fmt: skip


def frames(lengths: list[int], seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Random frames (batch, time, features), zeros behind each row's end, and the lengths."""
    inputs = torch.randn(len(lengths), max(lengths), FEATURES, generator=torch.Generator().manual_seed(seed))
    steps = torch.tensor(lengths)
    return inputs * (torch.arange(max(lengths)) < steps[:, None])[:, :, None], steps


def test_every_kind_of_input_and_output_has_its_objects() -> None:
    assert set(INPUTS) == set(Input)
    assert set(OUTPUTS) == set(GRAPH_OUTPUTS) == set(Output)
    for output in Output:
        assert (OUTPUTS[output].step_model is not None) == output.stepwise
        assert (GRAPH_OUTPUTS[output].open_step_model is not None) == output.stepwise
        assert (len(OUTPUTS[output].export_axes) > 1) == output.has_time_axis
    for kind in Input:
        assert torch.zeros(1, dtype=INPUTS[kind].dtype).numpy().dtype == kind.dtype


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_strided_frames_of_a_row_are_read_as_if_it_were_alone(cell: str) -> None:
    model = build(aligned(cell), 0).eval()
    assert isinstance(model, SequenceModel)
    inputs, lengths = frames([10, 1, 7, 3])
    dirty = inputs.clone()
    for row, end in enumerate(lengths.tolist()):
        dirty[row, end:] = torch.nan
    with torch.no_grad():
        together = model.predict(dirty, lengths)  # (batch, steps, labels)
        for row, length in enumerate(lengths.tolist()):
            steps = -(-length // 3)
            alone = model.predict(inputs[row : row + 1, :length], lengths[row : row + 1])
            assert alone.shape == (1, steps, LABELS)
            torch.testing.assert_close(together[row, :steps], alone[0], atol=1e-6, rtol=0)
            packed, _ = model.forward_last(inputs, lengths, model.initial_state(4))
            torch.testing.assert_close(packed[row, :steps], alone[0], atol=1e-6, rtol=0)


def test_the_ctc_loss_counts_each_row_once_and_skips_rows_without_targets() -> None:
    logits = torch.randn(3, 6, LABELS, generator=torch.Generator().manual_seed(1))
    outputs, lengths = torch.log_softmax(logits, dim=-1), torch.tensor([6, 4, 5])
    targets = torch.tensor([[1, 2, 2], [3, 0, 0], [0, 0, 0]])
    weights = torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    rows = [
        torch.nn.functional.ctc_loss(
            outputs[row, :steps],
            targets[row, :count],
            torch.tensor([steps]),
            torch.tensor([count]),
            reduction="sum",
        )
        for row, steps, count in ((0, 6, 3), (1, 4, 1))
    ]
    torch.testing.assert_close(ctc_loss(outputs, lengths, targets, weights), rows[0] + rows[1])


def test_a_row_with_more_targets_than_steps_costs_nothing_and_harms_nothing() -> None:
    outputs = torch.log_softmax(torch.randn(1, 2, LABELS), dim=-1).requires_grad_()
    loss = ctc_loss(outputs, torch.tensor([2]), torch.tensor([[1, 1, 2]]), torch.ones(1, 3))
    torch.autograd.backward(loss)
    assert float(loss.detach()) == 0.0
    assert outputs.grad is not None
    assert bool(torch.isfinite(outputs.grad).all())


@pytest.mark.parametrize("members", [1, 2])
def test_engines_of_an_aligned_network_agree_and_cut_rows_to_their_steps(
    members: int, tmp_path: Path
) -> None:
    model: Network = join([build(aligned(), seed) for seed in range(members)])
    save(tmp_path, model, {})
    onnx, direct = open_onnx(tmp_path, "cpu"), TorchEngine(model, CPU)
    assert isinstance(onnx, OnnxEngine)
    assert (onnx.output, onnx.stride) == (Output.ALIGNED, 3)
    inputs, lengths = frames([10, 1, 7])
    arrays = inputs.numpy(), lengths.numpy()
    first, second = (unpadded(engine, engine.run(*arrays), arrays[1]) for engine in (onnx, direct))
    assert [row.shape for row in first] == [(4, LABELS), (1, LABELS), (3, LABELS)]
    for ours, theirs in zip(first, second, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
        np.testing.assert_allclose(np.exp(ours).sum(axis=1), 1, atol=1e-5)


class Rows:
    """Some sequences as a split, with targets of their own length."""

    def __init__(self, inputs: list[np.ndarray], targets: list[np.ndarray], *, carried: bool = False) -> None:
        self._inputs, self._targets, self.carried = inputs, targets, carried
        self.lengths: Ints = np.array([len(row) for row in inputs])

    def batch(self, rows: Ints, rng: np.random.Generator | None) -> Batch:
        del rng
        inputs, targets = ([part[row] for row in rows] for part in (self._inputs, self._targets))
        shapes = [(len(rows), max(map(len, part)), *part[0].shape[1:]) for part in (inputs, targets)]
        padded = [
            np.zeros(shape, part[0].dtype) for shape, part in zip(shapes, (inputs, targets), strict=True)
        ]
        weights = np.zeros(shapes[1][:2], np.float32)
        for index, (row, target) in enumerate(zip(inputs, targets, strict=True)):
            padded[0][index, : len(row)] = row
            padded[1][index, : len(target)] = target
            weights[index, : len(target)] = 1
        return Batch(padded[0], self.lengths[rows], padded[1], weights)


def test_an_evaluation_of_aligned_outputs_has_the_steps_of_each_example() -> None:
    rng = np.random.default_rng(0)
    inputs = [rng.normal(size=(length, FEATURES)).astype(np.float32) for length in (9, 4, 1, 6)]
    split = Rows(inputs, [np.array([1, 2])] * 4)
    outputs = outputs_of(build(aligned(), 0), split, 3, CPU)
    assert [output.shape for output in outputs] == [(3, LABELS), (2, LABELS), (1, LABELS), (2, LABELS)]
    assert strided_lengths(split.lengths, 3).tolist() == [3, 2, 1, 2]


def test_an_evaluation_carries_the_state_from_each_piece_of_a_stream_to_the_next() -> None:
    config = ModelConfig(
        Input.TOKENS, Output.NEXT_TOKEN, 1, 7, "gru", 1, 8, vocabularies=(7,), embedding_size=4
    )
    model = build(config, 0)
    tokens = np.random.default_rng(1).integers(1, 7, 31)
    pieces = [tokens[start : start + 11] for start in (0, 10, 20)]
    split = Rows([piece[:-1, None] for piece in pieces], [piece[1:] for piece in pieces], carried=True)
    whole = Rows([tokens[:-1, None]], [tokens[1:]])
    (expected,) = outputs_of(model, whole, 1, CPU)
    np.testing.assert_allclose(np.concatenate(outputs_of(model, split, 1, CPU)), expected, atol=1e-5)
    alone = outputs_of(model, Rows([pieces[1][:-1, None]], [pieces[1][1:]]), 1, CPU)
    assert not np.allclose(alone[0], expected[10:20], atol=1e-4)  # from a state of zeros it is another


def test_a_network_of_frames_learns_an_alignment() -> None:
    """Each third of a sequence shows one label; CTC finds where."""
    rng, model = np.random.default_rng(3), build(aligned(stride=2, kernel=3), 1)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.03)
    targets = torch.from_numpy(rng.integers(1, LABELS, (24, 3)))
    shown = (
        torch.nn.functional.one_hot(targets, LABELS)[:, :, 2:].float().repeat_interleave(6, dim=1)
    )  # (24, 18, 3)
    lengths, weights = torch.full((24,), 18), torch.ones(24, 3)
    losses = []
    for _ in range(60):
        loss, _ = model.losses(shown, lengths, targets, weights)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.3 * losses[0]
