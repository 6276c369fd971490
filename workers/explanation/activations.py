"""What the gates and states of a recurrent stack do at each step of one input."""

import math
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from workers.diagnostics.unrolled import Unrolled, unroll
from workers.nn import Network
from workers.nn.recurrent.cells import Recurrent, State

STATE = "hidden"  # what `unroll` calls the activation of a cell without gates


@dataclass
class Activations:
    """Of each layer and direction one number a step; of ensembles the mean over the members."""

    layers: list[str] = field(default_factory=list)  # names of the rows
    gates: dict[str, Tensor] = field(default_factory=dict)  # (layers, steps), the mean over the units
    hidden: Tensor = field(default_factory=lambda: torch.zeros(0, 0))  # (layers, steps), root mean square


@torch.no_grad()
def activations(network: Network, inputs: Tensor) -> Activations:
    """The activations for inputs (1, time, features); none without a recurrence.

    Of a network with a decoder they are the encoder's: the steps are those of the input.
    """
    members: list[Any] = list(getattr(network, "members", [network]))
    each = [_of_member(member, inputs) for member in members]
    first = each[0]
    gates = {name: torch.stack([one.gates[name] for one in each]).mean(dim=0) for name in first.gates}
    return Activations(first.layers, gates, torch.stack([one.hidden for one in each]).mean(dim=0))


def _of_member(member: Any, inputs: Tensor) -> Activations:
    stack = member.recurrent
    if not isinstance(stack, Recurrent):
        return Activations()
    layers: list[str] = []
    rows: list[dict[str, Tensor]] = []  # (steps,) by name

    def run(module: nn.Module, read: Tensor, state: State) -> tuple[Tensor, State]:
        outputs, last, recorded = unroll(module, read, state)
        backward = any(module is one for one in stack.backwards)
        layers.append(_layer_name(len(layers), stack.directions))
        rows.append(_summary(recorded, backward=backward))
        return outputs, last

    read, lengths = member.recurrent_inputs(inputs, torch.tensor([inputs.shape[1]]))  # (1, steps, width)
    stack.run_by(run, read, stack.initial_state(1), lengths)
    joined = {name: torch.stack([row[name] for row in rows]) for name in rows[0]}  # (layers, steps)
    hidden = joined.pop(STATE)
    return Activations(layers, joined, hidden)


def _layer_name(row: int, directions: int) -> str:
    layer, direction = divmod(row, directions)
    name = f"layer {layer + 1}"
    return name if directions == 1 else f"{name} {('forward', 'backward')[direction]}"


def _summary(recorded: Unrolled, *, backward: bool) -> dict[str, Tensor]:
    """Each gate's mean over the units (steps,) and the size of the state, in the order of the input."""
    states = torch.stack([step[0][0] for step in recorded.states])  # (steps, hidden)
    rows = {STATE: states.norm(dim=1) / math.sqrt(states.shape[1])}
    for name in recorded.gates[0]:
        if name != STATE:
            rows[name] = torch.stack([step[name][0] for step in recorded.gates]).mean(dim=1)
    return {name: row.flip(0) if backward else row for name, row in rows.items()}
