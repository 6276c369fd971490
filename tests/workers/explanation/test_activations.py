"""Activations beside the cells of torch, one step after another."""

from typing import Any

import pytest
import torch

from tests.workers.nn.networks import KINDS, examples, network
from workers.explanation.activations import activations
from workers.nn.model import SequenceModel
from workers.nn.recurrent.cells import CELLS, Recurrent
from workers.outputs import join

STEPS = 7
GATES = {"rnn": set(), "lstm": {"input", "forget", "cell", "output"}, "gru": {"reset", "update", "candidate"}}


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("kind", KINDS)
def test_every_layer_and_step_has_its_numbers(kind: str, cell: str) -> None:
    model = network(kind, cell, layers=2)
    inputs, *_ = examples(model.config, [STEPS])
    active = activations(model, inputs)
    rows = 2 * (2 if model.config.bidirectional else 1)
    assert len(active.layers) == len(set(active.layers)) == rows
    assert active.gates.keys() == GATES[cell]
    for values in (*active.gates.values(), active.hidden):
        assert values.shape == (rows, STEPS)
    assert all(
        0 <= float(values.min()) <= float(values.max()) <= 1
        for name, values in active.gates.items()
        if name not in {"cell", "candidate"}
    )


@pytest.mark.parametrize("cell", CELLS)
def test_states_are_those_of_torch_in_both_directions(cell: str) -> None:
    model = network("labels", cell)
    assert isinstance(model, SequenceModel)
    assert isinstance(model.recurrent, Recurrent)
    inputs, lengths, *_ = examples(model.config, [STEPS])
    active = activations(model, inputs)
    with torch.no_grad():
        embedded = model.embed(inputs, lengths)  # (1, time, width)
        states, _ = model.recurrent(embedded, model.initial_state(1), lengths)  # (1, time, 2 * hidden)
    assert active.layers == ["layer 1 forward", "layer 1 backward"]
    for row, side in zip(active.hidden, states[0].chunk(2, dim=1), strict=True):
        torch.testing.assert_close(row, side.pow(2).mean(dim=1).sqrt(), atol=1e-6, rtol=1e-5)


def test_an_open_gate_is_open() -> None:
    model = network("label of vectors", "lstm")
    assert isinstance(model.recurrent, Recurrent)
    with torch.no_grad():
        for name, weight in model.recurrent.forwards[0].named_parameters():
            weight.zero_()
            if name == "bias_ih_l0":
                weight[10:20] = 4.0  # of the forget gate
    active = activations(model, examples(model.config, [STEPS])[0])
    assert active.gates["forget"][0].tolist() == pytest.approx(
        [float(torch.sigmoid(torch.tensor(4.0)))] * STEPS
    )
    assert active.gates["input"][0].tolist() == pytest.approx([0.5] * STEPS)
    assert active.hidden.abs().max() == 0


@pytest.mark.parametrize("kind", ["quantiles", "sequence"])
def test_members_of_an_ensemble_count_alike(kind: str) -> None:
    one, other = (network(kind, "gru", seed) for seed in (1, 2))
    inputs, *_ = examples(one.config, [STEPS])
    both: list[Any] = [activations(model, inputs) for model in (one, other)]
    joint = activations(join([one, other]), inputs)
    assert joint.layers == both[0].layers
    for name, rows in joint.gates.items():
        torch.testing.assert_close(rows, (both[0].gates[name] + both[1].gates[name]) / 2)


def test_a_network_without_recurrence_has_none() -> None:
    model = network("label of vectors", "none")
    active = activations(model, examples(model.config, [STEPS])[0])
    assert (active.layers, active.gates, active.hidden.numel()) == ([], {}, 0)
