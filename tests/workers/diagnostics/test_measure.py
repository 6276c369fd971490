"""Diagnostics beside a reference in double precision that goes step by step through torch's own modules."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.workers.nn.networks import KINDS, config, examples, network
from workers.diagnostics.measure import MAX_STEPS, diagnose, memory_length
from workers.nn.heads import HeadInput
from workers.nn.losses import NONE
from workers.nn.model import SequenceModel
from workers.nn.recurrent.cells import CELLS, Recurrent, real


def reference_norms(model: SequenceModel, batch: tuple[Tensor, Tensor, Tensor, Tensor]) -> list[float]:
    """Mean norms by lag of a network in one direction; every step is a call of the module."""
    model, stack = copy.deepcopy(model).double(), copy.deepcopy(model.recurrent).double()
    assert isinstance(stack, Recurrent)
    inputs, lengths, targets, weights = batch
    inputs = inputs.double() if inputs.is_floating_point() else inputs
    embedded = model.embed(inputs, lengths).detach()
    steps, states = embedded, list[tuple[Tensor, ...]]()
    for module in stack.forwards:
        outputs, state = [], None
        for time in range(steps.shape[1]):
            _, state = module(steps[:, time : time + 1], state)
            both = state if isinstance(state, tuple) else (state,)
            state = tuple(one.clone() for one in both)  # nodes of the graph that gradients can be asked of
            states.append(state)
            outputs.append(state[0][0])
            state = state if len(state) == 2 else state[0]
        steps = torch.stack(outputs, dim=1)
    leaf = steps.detach().requires_grad_()
    loss = model.head.loss(HeadInput(leaf, embedded, lengths, inputs), targets, weights, NONE)
    (arriving,) = torch.autograd.grad(loss, leaf)
    norms: dict[int, list[float]] = {}
    for row, length in enumerate(lengths.tolist()):
        parts = [one for both in states for one in both]
        reached = torch.autograd.grad(
            steps[row, length - 1], parts, arriving[row, length - 1], allow_unused=True, retain_graph=True
        )
        width = len(states[0])
        for time in range(length):
            at_time = [
                gradient[0, row]
                for index, gradient in enumerate(reached)
                if gradient is not None and index // width % steps.shape[1] == time
            ]
            norm = float(torch.cat(at_time).norm()) if at_time else 0.0
            norms.setdefault(length - 1 - time, []).append(norm)
    return [sum(norms[lag]) / len(norms[lag]) for lag in sorted(norms)]


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("kind", ["quantiles", "next", "label of vectors"])
def test_gradients_by_lag_are_those_of_the_reference(kind: str, cell: str) -> None:
    changes: dict[str, Any] = {"layers": 2} | ({"pooling": "mean"} if kind.startswith("label") else {})
    model = network(kind, cell, **changes)
    assert isinstance(model, SequenceModel)
    batch = examples(model.config, [30, 17, 24])
    found = diagnose(model, batch)
    assert found is not None
    expected = reference_norms(model, batch)
    assert [lag for lag, _ in found["gradient_by_lag"]] == list(range(30))
    for (_, norm), other in zip(found["gradient_by_lag"], expected, strict=True):
        assert norm == pytest.approx(other, rel=1e-3, abs=1e-12)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("kind", KINDS)
def test_every_network_is_diagnosed_and_left_as_it_was(kind: str, cell: str) -> None:
    model = network(kind, cell, dropout=0.3).train()
    before, random = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    found = diagnose(model, examples(config(kind, cell), [12, 9]))
    assert found is not None
    norms = [norm for _, norm in found["gradient_by_lag"]]
    assert len(norms) == 12
    assert norms[0] > 0
    assert 1 <= found["memory_length"] <= 12
    assert all(0 <= gate["saturated"] <= 1 for gate in found["gates"].values())
    assert len(found["time_constants"]) == 3
    assert model.training
    assert random.equal(torch.get_rng_state())
    assert all(before[name].equal(value) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_network_without_recurrence_has_none() -> None:
    model = network("label of vectors", "none")
    assert diagnose(model, examples(model.config, [5, 4])) is None


def test_gates_and_time_constants_say_what_the_weights_say() -> None:
    model = network("label of vectors", "lstm")
    stack = model.recurrent
    assert isinstance(stack, Recurrent)
    with torch.no_grad():
        for name, weight in stack.forwards[0].named_parameters():
            weight.zero_()
            if name == "bias_ih_l0":
                weight[10:20] = 4.0  # of the forget gate
    found = diagnose(model, examples(model.config, [8, 8]))
    assert found is not None
    kept = float(torch.sigmoid(torch.tensor(4.0)))
    assert found["gates"]["forget"] == pytest.approx({"mean": kept, "saturated": 1.0}, rel=1e-5)
    assert found["gates"]["input"] == pytest.approx({"mean": 0.5, "saturated": 0.0})
    assert found["time_constants"] == pytest.approx([-1 / torch.log(torch.tensor(kept)).item()] * 3, rel=1e-4)
    assert found["spectral_norm"] == [0.0]


def test_long_sequences_are_carried_back_so_far_at_most() -> None:
    model = network("label of vectors", "gru", pooling="last")
    batch = examples(model.config, [MAX_STEPS + 40, MAX_STEPS + 41])
    found, points = diagnose(model, batch), 65
    assert found is not None
    assert found["steps"] == MAX_STEPS + 1
    assert len(found["gradient_by_lag"]) == points
    assert found["gradient_by_lag"][-1][0] == MAX_STEPS


def test_the_memory_length_holds_nine_tenths_of_the_gradient() -> None:
    assert memory_length([1.0] * 100) == 90
    assert memory_length([0.5**lag for lag in range(40)]) == 4
    assert memory_length([1.0]) == 1
    assert memory_length([0.0, 0.0]) == 1


def test_padding_changes_nothing() -> None:
    model = network("label of vectors", "lstm", pooling="mean")
    inputs, lengths, targets, weights = examples(model.config, [9, 9])
    padded = torch.cat([inputs, torch.full((2, 5, inputs.shape[2]), 7.0)], dim=1)
    one, other = (diagnose(model, (given, lengths, targets, weights)) for given in (inputs, padded))
    assert one is not None
    assert other is not None
    assert one["gradient_by_lag"] == [pytest.approx(pair) for pair in other["gradient_by_lag"]]
    assert real(lengths, 14).sum() == 18
