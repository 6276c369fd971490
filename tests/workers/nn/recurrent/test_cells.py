import numpy as np
import numpy.typing as npt
import pytest
import torch

from workers.nn.recurrent.cells import CELLS, Recurrent

Floats = npt.NDArray[np.float64]
INPUT, HIDDEN = 3, 5


def sigmoid(x: Floats) -> Floats:
    found: Floats = 1 / (1 + np.exp(-x))
    return found


def reference_step(
    cell: str, module: torch.nn.Module, x: Floats, h: Floats, c: Floats
) -> tuple[Floats, Floats]:
    """One step written out from the cells' definitions."""
    weights = {name: value.detach().double().numpy() for name, value in module.named_parameters()}
    from_x = x @ weights["weight_ih_l0"].T + weights["bias_ih_l0"]
    from_h = h @ weights["weight_hh_l0"].T + weights["bias_hh_l0"]
    if cell == "rnn":
        return np.tanh(from_x + from_h), c
    if cell == "lstm":
        i, f, g, o = np.split(from_x + from_h, 4, axis=1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        return sigmoid(o) * np.tanh(c), c
    (xr, xz, xn), (hr, hz, hn) = np.split(from_x, 3, axis=1), np.split(from_h, 3, axis=1)
    z = sigmoid(xz + hz)
    return (1 - z) * np.tanh(xn + sigmoid(xr + hr) * hn) + z * h, c


def recurrent(cell: str, *, layers: int = 1, bidirectional: bool = False) -> Recurrent:
    torch.manual_seed(0)
    return Recurrent(cell, INPUT, HIDDEN, layers=layers, bidirectional=bidirectional, dropout=0.0).eval()


@pytest.mark.parametrize("cell", CELLS)
def test_steps_are_those_of_the_definition(cell: str) -> None:
    network = recurrent(cell)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    inputs, state = torch.randn(2, 4, INPUT), torch.randn(network.state_rows, 2, HIDDEN)
    outputs, last = network(inputs, state)
    h, c = state[0].double().numpy(), state[-1].double().numpy()
    for step in range(4):
        h, c = reference_step(cell, network.forwards[0], inputs[:, step].double().numpy(), h, c)
        np.testing.assert_allclose(outputs[:, step].detach().numpy(), h, atol=1e-6)
    np.testing.assert_allclose(last[0].detach().numpy(), h, atol=1e-6)
    if network.state_rows == 2:
        np.testing.assert_allclose(last[1].detach().numpy(), c, atol=1e-6)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_ragged_rows_are_what_each_is_alone(cell: str, layers: int, bidirectional: bool) -> None:
    network = recurrent(cell, layers=layers, bidirectional=bidirectional)
    assert network.state_rows == layers * (2 if bidirectional else 1) * (2 if cell == "lstm" else 1)
    lengths = torch.tensor([4, 7, 1])
    inputs, state = torch.randn(3, 7, INPUT), torch.randn(network.state_rows, 3, HIDDEN)
    outputs, last = network.forward_ragged(inputs, lengths, state)
    for row, length in enumerate(lengths.tolist()):
        alone, end = network(inputs[row : row + 1, :length], state[:, row : row + 1])
        torch.testing.assert_close(outputs[row, :length], alone[0], atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(last[:, row], end[:, 0], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("cell", CELLS)
def test_layer_norm_standardizes_what_is_read_and_the_top_states(cell: str) -> None:
    torch.manual_seed(0)
    network = Recurrent(
        cell, INPUT, HIDDEN, layers=2, bidirectional=True, dropout=0.0, layer_norm=True
    ).eval()
    inputs, state = torch.randn(3, 7, INPUT), torch.zeros(network.state_rows, 3, HIDDEN)
    lengths = torch.tensor([4, 7, 1])
    outputs, _ = network(inputs, state, lengths)
    louder, _ = network(100 * inputs + 3, state, lengths)
    torch.testing.assert_close(outputs, louder, atol=1e-2, rtol=1e-2)
    torch.testing.assert_close(outputs.mean(dim=-1), torch.zeros(3, 7), atol=1e-5, rtol=0)
    ragged, _ = network.forward_ragged(inputs, lengths, state)
    for row, length in enumerate(lengths.tolist()):
        torch.testing.assert_close(ragged[row, :length], outputs[row, :length], atol=1e-5, rtol=1e-4)
    assert len(recurrent(cell).norms) == 0


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("layers", [1, 2])
def test_the_state_carries_over(cell: str, layers: int) -> None:
    network = recurrent(cell, layers=layers)
    inputs = torch.randn(2, 9, INPUT)
    whole, end = network(inputs, network.initial_state(2))
    first, state = network(inputs[:, :4], network.initial_state(2))
    second, last = network(inputs[:, 4:], state)
    torch.testing.assert_close(torch.cat([first, second], dim=1), whole)
    torch.testing.assert_close(last, end)


def test_recurrent_weights_start_orthogonal_and_the_forget_gate_open() -> None:
    network = recurrent("lstm", layers=2)
    for name, weight in network.forwards.named_parameters():
        for gate in torch.split(weight.detach(), HIDDEN):
            if "weight_hh" in name:
                torch.testing.assert_close(gate @ gate.T, torch.eye(HIDDEN), atol=1e-5, rtol=0)
        if "bias" in name:
            opened = weight.detach()[HIDDEN : 2 * HIDDEN]
            assert opened.eq(1.0 if "bias_ih" in name else 0.0).all()


def reach(cell: str, memory_steps: int) -> float:
    """How much of the gradient of the last state arrives 100 steps earlier, of that one step earlier."""
    torch.manual_seed(1)
    network = Recurrent(
        cell, INPUT, 32, layers=1, bidirectional=False, dropout=0.0, memory_steps=memory_steps
    ).eval()
    inputs = torch.randn(4, 102, INPUT, requires_grad=True)
    outputs, _ = network(inputs, network.initial_state(4))
    (gradient,) = torch.autograd.grad(outputs[:, -1].sum(), inputs)
    norms = gradient.norm(dim=2).mean(dim=0)
    return float(norms[1] / norms[-2])


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_gates_that_begin_open_carry_the_gradient_over_a_hundred_steps(cell: str) -> None:
    assert reach(cell, 0) < 1e-3
    assert reach(cell, 100) > 1e-2


@pytest.mark.parametrize("cell", CELLS)
def test_half_of_the_units_begin_as_always_and_a_vanilla_rnn_altogether(cell: str) -> None:
    torch.manual_seed(0)
    network = Recurrent(cell, INPUT, 6, layers=2, bidirectional=True, dropout=0.0, memory_steps=80)
    usual = {"rnn": [0.0], "lstm": [0.0, 1.0, 0.0, 0.0], "gru": [0.0, 0.0, 0.0]}[cell]
    for name, bias in network.named_parameters():
        if "bias_ih" not in name:
            continue
        gates = bias.detach().view(-1, 6)
        assert gates[:, :3].eq(torch.tensor(usual)[:, None]).all()
        if cell == "rnn":
            assert gates.eq(0).all()
            continue
        kept = gates[1, 3:]
        assert kept.min() > 0
        assert kept.max() < np.log(80)
        assert gates[0, 3:].eq(-kept if cell == "lstm" else 0.0).all()
