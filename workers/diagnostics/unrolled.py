"""Recurrent layers step by step, with every state and gate at hand, which torch's own keep to themselves.

The equations are those of `torch.nn.RNN`, `LSTM` and `GRU`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from workers.nn.recurrent.cells import PARAMETERS, State

Gates = dict[str, Tensor]  # activations (batch, hidden) by name
Step = Callable[[Tensor, tuple[Tensor, ...], Tensor, Tensor], tuple[tuple[Tensor, ...], Gates]]


@dataclass
class Unrolled:
    """The states after each step of one layer, and its gates at each step."""

    states: list[tuple[Tensor, ...]] = field(default_factory=list)  # h, or h and c, (batch, hidden) each
    gates: list[Gates] = field(default_factory=list)


def _rnn(
    given: Tensor, state: tuple[Tensor, ...], w_hh: Tensor, b_hh: Tensor
) -> tuple[tuple[Tensor, ...], Gates]:
    h = torch.tanh(given + nn.functional.linear(state[0], w_hh, b_hh))
    return (h,), {"hidden": h}


def _lstm(
    given: Tensor, state: tuple[Tensor, ...], w_hh: Tensor, b_hh: Tensor
) -> tuple[tuple[Tensor, ...], Gates]:
    h, c = state
    sums = (given + nn.functional.linear(h, w_hh, b_hh)).chunk(4, dim=1)  # 4 × (batch, hidden)
    i, f, o = (torch.sigmoid(sums[gate]) for gate in (0, 1, 3))
    g = torch.tanh(sums[2])
    c = f * c + i * g
    # What goes on to the next step is a node of its own: its gradient is that of the state between two steps.
    return (o * torch.tanh(c), c.clone()), {"input": i, "forget": f, "cell": g, "output": o}


def _gru(
    given: Tensor, state: tuple[Tensor, ...], w_hh: Tensor, b_hh: Tensor
) -> tuple[tuple[Tensor, ...], Gates]:
    h = state[0]
    given_parts = given.chunk(3, dim=1)  # 3 × (batch, hidden)
    parts = nn.functional.linear(h, w_hh, b_hh).chunk(3, dim=1)
    r, z = (torch.sigmoid(given_parts[gate] + parts[gate]) for gate in (0, 1))
    n = torch.tanh(given_parts[2] + r * parts[2])
    return ((1 - z) * n + z * h,), {"reset": r, "update": z, "candidate": n}


STEPS: dict[type[nn.Module], Step] = {nn.RNN: _rnn, nn.LSTM: _lstm, nn.GRU: _gru}


def unroll(module: nn.Module, inputs: Tensor, state: State) -> tuple[Tensor, State, Unrolled]:
    """What `module(inputs, state)` gives for inputs (batch, time, width), and all that happens on the way."""
    w_ih, w_hh, b_ih, b_hh = (getattr(module, name) for name in PARAMETERS)
    step, seen = STEPS[type(module)], Unrolled()
    given = nn.functional.linear(inputs, w_ih, b_ih)  # (batch, time, gates * hidden)
    current = tuple(one[0] for one in ((state,) if isinstance(state, Tensor) else state))  # (batch, hidden)
    for time in range(inputs.shape[1]):
        current, gates = step(given[:, time], current, w_hh, b_hh)
        seen.states.append(current)
        seen.gates.append(gates)
    outputs = torch.stack([states[0] for states in seen.states], dim=1)  # (batch, time, hidden)
    last = tuple(one[None] for one in current)
    return outputs, last[0] if len(last) == 1 else (last[0], last[1]), seen
