"""Training steps of GRU and vanilla RNN on a processor are those of torch's modules."""

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from workers.nn.recurrent import loops
from workers.nn.recurrent.cells import CELLS, Recurrent
from workers.nn.recurrent.dropout import drop_weights
from workers.nn.recurrent.loops import GRUStates, RNNStates

FUNCTIONS: dict[str, Callable[..., Tensor]] = {"rnn": RNNStates.apply, "gru": GRUStates.apply}
PARTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
TIME, BATCH, INPUT, HIDDEN = 7, 3, 4, 5


@pytest.fixture(autouse=True)
def double() -> Iterator[None]:
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def assert_same(results: tuple[Tensor, ...], expected: tuple[Tensor, ...]) -> None:
    for result, other in zip(results, expected, strict=True):
        torch.testing.assert_close(result, other, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("cell", FUNCTIONS)
def test_gradients_are_those_of_finite_differences(cell: str) -> None:
    gates = CELLS[cell].gates
    shapes = [(TIME, BATCH, INPUT), (BATCH, HIDDEN), (gates * HIDDEN, INPUT), (gates * HIDDEN, HIDDEN)]
    tensors = [torch.randn(shape, requires_grad=True) for shape in [*shapes, *[(gates * HIDDEN,)] * 2]]
    assert torch.autograd.gradcheck(FUNCTIONS[cell], tensors)


@pytest.mark.parametrize("cell", FUNCTIONS)
@pytest.mark.parametrize("time", [1, 2, TIME])
@pytest.mark.parametrize("chunk_steps", [1, 3, 100])
def test_states_and_gradients_are_those_of_the_module(
    cell: str, time: int, chunk_steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loops, "CHUNK_ELEMENTS", chunk_steps * BATCH * HIDDEN)
    module = CELLS[cell].module(INPUT, HIDDEN)
    inputs, first = (
        torch.randn(shape, requires_grad=True) for shape in ((time, BATCH, INPUT), (BATCH, HIDDEN))
    )
    learned = [inputs, first, *module.parameters()]
    expected, _ = module(inputs, first[None])
    states = FUNCTIONS[cell](*learned)
    weights = torch.randn_like(states)
    assert_same((states,), (expected,))
    assert_same(
        torch.autograd.grad((states * weights).sum(), learned),
        torch.autograd.grad((expected * weights).sum(), learned),
    )


def torch_stack(cell: str, network: Recurrent, layers: int) -> nn.RNN | nn.GRU | nn.LSTM:
    """The same network as one module of torch."""
    both = len(network.backwards) > 0
    module = CELLS[cell].module(INPUT, HIDDEN, layers, batch_first=True, bidirectional=both)
    for layer in range(layers):
        for modules, suffix in ((network.forwards, ""), (network.backwards, "_reverse"))[: 1 + both]:
            for part in PARTS:
                value = getattr(modules[layer], f"{part}_l0").detach()
                getattr(module, f"{part}_l{layer}{suffix}").data.copy_(value)
    return module


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_a_stack_learns_ragged_rows_as_torch_does(cell: str, layers: int, bidirectional: bool) -> None:
    network = Recurrent(cell, INPUT, HIDDEN, layers=layers, bidirectional=bidirectional, dropout=0.0)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.5)
    module = torch_stack(cell, network, layers)
    lengths = torch.tensor([4, TIME, 1])
    inputs = torch.randn(BATCH, TIME, INPUT, requires_grad=True)
    state = torch.randn(network.state_rows, BATCH, HIDDEN, requires_grad=True)
    real = (torch.arange(TIME) < lengths[:, None])[:, :, None]
    ours, _ = network(inputs, state, lengths)
    packed = nn.utils.rnn.pack_padded_sequence(inputs, lengths, batch_first=True, enforce_sorted=False)
    begin = tuple(state.chunk(2)) if cell == "lstm" else state
    theirs, _ = nn.utils.rnn.pad_packed_sequence(module(packed, begin)[0], batch_first=True)
    weights = torch.randn_like(theirs) * real
    assert_same((ours * real,), (theirs * real,))
    found = torch.autograd.grad((ours * weights).sum(), [inputs, state, *network.parameters()])
    wanted = torch.autograd.grad((theirs * weights).sum(), [inputs, state, *module.parameters()])
    assert_same(found[:2], wanted[:2])
    sums, others = (sum(float(one.square().sum()) for one in grads[2:]) for grads in (found, wanted))
    assert sums == pytest.approx(others, rel=1e-9)


@pytest.mark.parametrize("cell", FUNCTIONS)
def test_dropped_weights_and_states_between_layers_are_the_same_draws(
    cell: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a seed, training without the fast path draws the same masks and finds the same gradients."""
    network = Recurrent(cell, INPUT, HIDDEN, layers=2, bidirectional=False, dropout=0.4, weight_drop=0.3)
    inputs = torch.randn(BATCH, TIME, INPUT)

    def learn() -> tuple[Tensor, ...]:
        torch.manual_seed(1)
        states, last = network(inputs, network.initial_state(BATCH))
        return torch.autograd.grad(states.square().sum() + last.sum(), list(network.parameters()))

    fast = learn()
    assert_same(fast, learn())

    def slow(module: nn.Module, inputs: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        dropped = drop_weights(module, network.weight_drop)
        states, last = functional_call(module, dropped, (inputs, state))
        return states.transpose(0, 1).contiguous().transpose(0, 1), last  # laid out as the fast path's

    monkeypatch.setattr(network, "_run", slow)
    assert_same(fast, learn())


@pytest.mark.parametrize("cell", FUNCTIONS)
def test_only_training_on_a_processor_leaves_torchs_modules(cell: str) -> None:
    network = Recurrent(cell, INPUT, HIDDEN, layers=1, bidirectional=False, dropout=0.0)
    calls: list[int] = []
    network.forwards[0].register_forward_hook(lambda *_: calls.append(1))
    inputs, state = torch.randn(BATCH, TIME, INPUT), network.initial_state(BATCH)
    trained, _ = network(inputs, state)
    assert not calls
    predicted, _ = network.eval()(inputs, state)
    assert calls
    assert_same((trained,), (predicted,))
    calls.clear()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        network.train().float()(inputs.float(), state.float())
    assert calls


@pytest.mark.parametrize("cell", FUNCTIONS)
def test_single_precision_differs_by_roundings(cell: str) -> None:
    network = Recurrent(cell, INPUT, 64, layers=2, bidirectional=False, dropout=0.0)
    inputs, state = torch.randn(BATCH, 100, INPUT), network.initial_state(BATCH)
    exact = torch.autograd.grad(network(inputs, state)[0].square().sum(), list(network.parameters()))
    single = network.float()
    losses = single(inputs.float(), state.float())[0].square().sum()
    for one, other in zip(torch.autograd.grad(losses, list(single.parameters())), exact, strict=True):
        assert (one.double() - other).abs().max() < 1e-5 * other.abs().max()
