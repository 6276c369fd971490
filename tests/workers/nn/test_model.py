import json

import pytest
import torch

from app.tasks.contract import Input, Output
from workers.nn import ModelConfig
from workers.nn.losses import quantile_loss
from workers.nn.model import SequenceModel
from workers.nn.recurrent.cells import CELLS
from workers.outputs import build


def config(cell: str = "lstm", layers: int = 1, dropout: float = 0.0) -> ModelConfig:
    return ModelConfig(
        Input.VECTORS, Output.QUANTILES, 4, 6, cell, layers, 8, dropout=dropout, quantiles=(0.1, 0.5, 0.9)
    )


def trained(cell: str, layers: int = 1) -> SequenceModel:
    model = build(config(cell, layers), 0).eval()
    assert isinstance(model, SequenceModel)
    for parameter in model.head.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model


def test_a_config_survives_json() -> None:
    kept = json.loads(json.dumps(config().to_json()))
    assert ModelConfig.from_json(kept) == config()
    with pytest.raises(TypeError):
        ModelConfig.from_json(kept | {"colour": "red"})


def test_the_same_seed_gives_the_same_weights() -> None:
    one, two, three = (build(config(), seed).state_dict() for seed in (1, 1, 2))
    assert all(one[name].equal(two[name]) for name in one)
    assert not all(one[name].equal(three[name]) for name in one)


@pytest.mark.parametrize("cell", CELLS)
def test_an_untrained_network_answers_zero(cell: str) -> None:
    outputs, _ = build(config(cell), 0)(torch.randn(2, 5, 4))
    assert outputs.shape == (2, 5, 6)
    assert not outputs.any()


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("layers", [1, 2])
def test_a_batch_of_one_is_a_batch_of_many(cell: str, layers: int) -> None:
    model, lengths = trained(cell, layers), torch.tensor([3, 8, 5])
    inputs = torch.randn(3, 8, 4)
    together, state = model.forward_last(inputs, lengths, model.initial_state(3))
    for row, length in enumerate(lengths.tolist()):
        outputs, end = model(inputs[row : row + 1, :length])
        torch.testing.assert_close(together[row], outputs[0, -1], atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(state[:, row], end[:, 0], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("cell", CELLS)
def test_no_output_reads_a_later_step(cell: str) -> None:
    model, inputs = trained(cell), torch.randn(1, 9, 4)
    changed = inputs.clone()
    changed[:, 5:] += 1
    before, after = model(inputs)[0], model(changed)[0]
    torch.testing.assert_close(before[:, :5], after[:, :5], rtol=0, atol=0)
    assert not before[:, 5:].equal(after[:, 5:])


@pytest.mark.parametrize("cell", CELLS)
def test_chunks_with_carried_state_give_the_same_outputs(cell: str) -> None:
    model, inputs = trained(cell), torch.randn(2, 10, 4)
    whole, _ = model(inputs)
    state, parts = None, []
    for part in torch.split(inputs, 3, dim=1):
        outputs, state = model(part, state)
        parts.append(outputs)
    torch.testing.assert_close(torch.cat(parts, dim=1), whole)


def test_quantile_loss_by_hand() -> None:
    outputs = torch.tensor([[8.0, 13.0, 1.0, 1.0]])  # two lead times, two quantiles
    targets, weights = torch.tensor([[10.0, 5.0]]), torch.tensor([[2.0, 0.0]])
    loss = quantile_loss(outputs, targets, weights, [0.1, 0.9])
    assert float(loss) == pytest.approx(2 * (0.1 * 2 + 0.1 * 3) / 2)


def test_the_best_constant_for_a_quantile_is_that_quantile() -> None:
    targets = torch.linspace(0, 1, 101).unsqueeze(1)
    losses = [
        float(quantile_loss(torch.full((101, 1), level), targets, torch.ones_like(targets), [0.8]))
        for level in (0.7, 0.8, 0.9)
    ]
    assert min(losses) == losses[1]
