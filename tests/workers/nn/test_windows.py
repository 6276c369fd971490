"""Windows that a network reads one by one in training."""

import pytest
import torch

from app.tasks.contract import Input, Output
from workers.nn import ModelConfig
from workers.nn.model import SequenceModel
from workers.nn.recurrent.cells import cut_windows, join_windows, random_window
from workers.outputs import build

STEPS = 23


def windowed(window: int) -> SequenceModel:
    """A network of frames without dropout that reads in both directions."""
    config = ModelConfig(
        Input.FRAMES, Output.ALIGNED, 3, 5, hidden_size=8, bidirectional=True, embedding_size=6, window=window
    )
    model = build(config, 0)
    assert isinstance(model, SequenceModel)
    return model


@pytest.mark.parametrize("size", range(1, STEPS + 2))
def test_windows_hold_each_step_once_and_are_joined_again(size: int) -> None:
    sequences, lengths = torch.randn(3, STEPS, 2), torch.tensor([STEPS, 11, 1])
    windows, sizes = cut_windows(sequences, lengths, size)
    assert windows.shape[1] == size
    assert sizes.view(3, -1).sum(dim=1).equal(lengths)
    assert join_windows(windows, 3, STEPS).equal(sequences)


def test_sizes_vary_around_the_mean_and_differ_by_less_than_a_step_of_one_sequence() -> None:
    torch.manual_seed(0)
    sizes = {random_window(100, 10) for _ in range(200)}
    assert 5 <= min(sizes) < 10 < max(sizes) <= 20
    assert {random_window(4, 10) for _ in range(50)} == {4}
    assert {random_window(4, 1) for _ in range(50)} == {1, 2}
    assert {random_window(40, 1_000) for _ in range(50)} == {40}


def test_only_in_training_a_window_is_read_alone() -> None:
    model, inputs = windowed(4), torch.randn(1, 32, 3)
    changed = inputs.clone()
    changed[:, 16:] += 1
    for training in (True, False):
        outputs = []
        for frames in (inputs, changed):
            torch.manual_seed(1)  # of the size of the windows
            outputs.append(model.train(training)(frames)[0][0])  # (steps, labels)
        same = (outputs[0] == outputs[1]).all(dim=1)
        assert not same[16:].any()
        assert same[:9].all() == training


def test_windows_as_long_as_the_sequence_change_nothing() -> None:
    inputs, lengths = torch.randn(2, STEPS, 3), torch.tensor([STEPS, 14])
    targets, weights = torch.tensor([[1, 2], [3, 4]]), torch.ones(2, 2)
    one, other = (
        windowed(window).train().losses(inputs, lengths, targets, weights)[0] for window in (0, 500)
    )
    torch.testing.assert_close(one, other)
