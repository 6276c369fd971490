import pytest
import torch

from workers.training.device import prepare, threads_for


@pytest.mark.parametrize(
    ("most", "hidden_size", "batch_size", "threads"),
    [(2, 384, 16, 2), (4, 256, 24, 4), (2, 128, 32, 1), (2, 64, 128, 1), (1, 2048, 64, 1)],
)
def test_wide_networks_are_worth_more_threads(
    most: int, hidden_size: int, batch_size: int, threads: int
) -> None:
    assert threads_for(most, hidden_size, batch_size) == threads


def test_torch_takes_as_many_threads_as_it_is_told() -> None:
    prepare(torch.device("cpu"), 2)
    assert torch.get_num_threads() == 2
    prepare(torch.device("cpu"))
    assert torch.get_num_threads() == 1
