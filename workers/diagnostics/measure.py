"""How far back a network's last step reaches, measured by backpropagation through time on some examples.

The gradient of the loss that arrives at the last state of the top layer is carried back to the states before
it, as in Pascanu, Mikolov & Bengio (2013), "On the difficulty of training recurrent neural networks": its
norm at each lag says how much a state so many steps back still matters.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from app.typedefs import Json
from workers.diagnostics.unrolled import Unrolled, unroll
from workers.nn import Member
from workers.nn.recurrent.cells import Recurrent, State, real

MAX_STEPS = 512  # that gradients are carried back
MAX_POINTS = 65  # of a curve, equally far apart
MEMORY_SHARE = 0.9  # of the sum of all norms lies within the memory length
SATURATED = 0.05  # from either end of an activation's range
DECILES = (0.1, 0.5, 0.9)  # of the units' time constants
MAX_TIME_CONSTANT = 1e6  # steps
GATES_THAT_KEEP = {"forget", "update"}  # their activation is the share of the state that stays
SYMMETRIC = {"hidden", "cell", "candidate"}  # activations from -1 to 1; the others are from 0 to 1


@dataclass
class Watch:
    """What happened in a recurrent stack during one forward pass."""

    layers: list[tuple[nn.Module, Unrolled]]  # of the forward direction, from the bottom up
    top: Tensor  # (batch, time, states) with the graph of all states
    leaf: Tensor  # the same values, from which the rest of the network goes on
    lengths: Tensor  # (batch,)
    skipped: int  # steps at the beginning, of which only the last state is known


class Watcher:
    """A forward hook of a recurrent stack that computes it step by step and cuts the graph behind it."""

    def __init__(self) -> None:
        self.watch: Watch | None = None

    def __call__(self, stack: nn.Module, arguments: tuple[Any, ...], output: Any) -> tuple[Tensor, Tensor]:
        """See `torch.nn.Module.register_forward_hook`."""
        if not isinstance(stack, Recurrent):
            raise TypeError("only a recurrent stack can be watched")
        inputs, state = arguments[0].detach(), arguments[1].detach()
        lengths = arguments[2] if len(arguments) > 2 else None
        if lengths is None:
            lengths = torch.full((len(inputs),), inputs.shape[1], device=inputs.device)
        layers: list[tuple[nn.Module, Unrolled]] = []
        skipped = max(0, int(lengths.min()) - MAX_STEPS)

        def run(module: nn.Module, inputs: Tensor, state: State) -> tuple[Tensor, State]:
            if not any(module is one for one in stack.forwards):
                result: tuple[Tensor, State] = module(inputs, state)
                return result
            before = inputs.new_empty(len(inputs), 0, stack.hidden_size)
            if skipped:
                with torch.no_grad():
                    before, state = module(inputs[:, :skipped], state)
            outputs, last, seen = unroll(module, inputs[:, skipped:], state)
            layers.append((module, seen))
            return torch.cat([before, outputs], dim=1), last

        top, _ = stack.run_by(run, inputs, state, lengths)
        self.watch = Watch(layers, top, top.detach().requires_grad_(), lengths, skipped)
        return self.watch.leaf, output[1]


def diagnose(model: Member, batch: tuple[Tensor, Tensor, Tensor, Tensor]) -> Json | None:
    """Diagnostics of a network on a batch of inputs, lengths, targets and weights; None without recurrence.

    `gradient_by_lag` has pairs of a lag and the mean norm over the rows; the norm is over the states of all
    layers (an LSTM's cells too) in the direction of time. Parameters and random numbers stay as they are.
    """
    stack = model.recurrent
    if not isinstance(stack, Recurrent):
        return None
    training, watcher = model.training, Watcher()
    handle = stack.register_forward_hook(watcher)
    try:
        model.eval()
        with torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):  # cuDNN has no gradient in eval
            inputs, lengths, targets, weights = batch
            loss, _ = model.losses(inputs, lengths, targets, weights)
            watch = watcher.watch
            assert watch is not None  # noqa: S101 - the forward pass calls the hook
            arriving = _arriving(loss, watch)
            norms = _norms_by_lag(watch, arriving)
    finally:
        handle.remove()
        model.train(training)
    return {
        "gradient_by_lag": _points(norms),
        "memory_length": memory_length(norms),
        "gates": _gates(watch),
        "time_constants": _time_constants(watch),
        "spectral_norm": [_spectral_norm(module) for module, _ in watch.layers],
        "steps": len(norms),
    }


def _arriving(loss: Tensor, watch: Watch) -> Tensor:
    """The gradient of the loss at each row's last top state, (batch, states).

    Where none arrives, as behind a maximum over steps, it is that of all steps together.
    """
    (gradient,) = torch.autograd.grad(loss, watch.leaf)  # (batch, time, states)
    gradient = gradient * real(watch.lengths, gradient.shape[1])[:, :, None]
    rows = torch.arange(len(gradient), device=gradient.device)
    last = gradient[rows, watch.lengths - 1]
    return torch.where((last != 0).any(dim=1, keepdim=True), last, gradient.sum(dim=1))


def _norms_by_lag(watch: Watch, arriving: Tensor) -> list[float]:
    """The mean norm over rows of the gradient at each lag, from 0 up."""
    top, ends = watch.top, watch.lengths - 1
    rows = torch.arange(len(top), device=top.device)
    steps = [state for _, seen in watch.layers for states in seen.states for state in states]
    gradients = torch.autograd.grad(top[rows, ends], steps, arriving, allow_unused=True)
    time, parts = top.shape[1] - watch.skipped, len(watch.layers[0][1].states[0])
    squares = torch.zeros(len(top), time, dtype=torch.float64)  # (batch, time)
    for index, gradient in enumerate(gradients):
        if gradient is not None:
            squares[:, index // parts % time] += gradient.double().pow(2).sum(dim=1).cpu()
    norms = squares.sqrt()
    lengths = watch.lengths.cpu() - watch.skipped
    result = []
    for lag in range(int(lengths.max())):
        there = torch.nonzero(lengths > lag).flatten()
        result.append(float(norms[there, lengths[there] - 1 - lag].mean()))
    return result


def memory_length(norms: Sequence[float]) -> int:
    """Steps, the last one included, that hold `MEMORY_SHARE` of the sum of these norms by lag."""
    total, within = sum(norms), 0.0
    for lag, norm in enumerate(norms):
        within += norm
        if within >= MEMORY_SHARE * total:
            return lag + 1
    return len(norms)


def _points(norms: list[float]) -> list[list[float]]:
    """At most `MAX_POINTS` pairs of lag and norm, the first and the last among them."""
    last = len(norms) - 1
    count = min(len(norms), MAX_POINTS)
    lags = sorted({round(place * last / max(count - 1, 1)) for place in range(count)})
    return [[lag, norms[lag]] for lag in lags]


def _known(watch: Watch) -> Tensor:
    """Which of the steps at hand are real, (batch, time)."""
    return real(watch.lengths - watch.skipped, watch.top.shape[1] - watch.skipped)


def _activations(watch: Watch) -> dict[str, Tensor]:
    """Of each gate the activations (steps, hidden) at all real steps of all layers."""
    known = _known(watch)
    return {
        gate: torch.cat(
            [torch.stack([one[gate] for one in seen.gates], dim=1)[known] for _, seen in watch.layers]
        ).detach()
        for gate in watch.layers[0][1].gates[0]
    }


def _gates(watch: Watch) -> Json:
    """Of each gate its mean, and the share of its activations that are near an end of their range."""
    summary: Json = {}
    for gate, values in _activations(watch).items():
        places = (values + 1) / 2 if gate in SYMMETRIC else values  # from 0 to 1
        outside = (places < SATURATED) | (places > 1 - SATURATED)
        summary[gate] = {"mean": float(values.mean()), "saturated": float(outside.double().mean())}
    return summary


def _time_constants(watch: Watch) -> list[float]:
    """The deciles 1, 5 and 9 of the units' time constants, in steps: after so many 1/e of a state is left.

    They follow from the mean activation of the gate that keeps; without one from the eigenvalues of the
    recurrent matrices.
    """
    known, kept = _known(watch), []
    for module, seen in watch.layers:
        gate = next((name for name in seen.gates[0] if name in GATES_THAT_KEEP), None)
        if gate is None:
            kept.append(torch.linalg.eigvals(_recurrent_matrix(module)).abs())
        else:
            activations = torch.stack([one[gate] for one in seen.gates], dim=1)[known]  # (steps, hidden)
            kept.append(activations.detach().double().mean(dim=0).cpu())
    shares = torch.cat(kept).clamp(min=1e-12)
    constants = torch.where(shares < 1, -1 / torch.log(shares.clamp(max=1 - 1e-12)), math.inf)
    constants = constants.clamp(max=MAX_TIME_CONSTANT)
    return torch.quantile(constants, torch.tensor(DECILES, dtype=torch.float64)).tolist()


def _spectral_norm(module: nn.Module) -> float:
    """The largest singular value of a layer's recurrent matrix; of gates the largest of theirs."""
    matrix = _recurrent_matrix(module)
    gates = torch.split(matrix, matrix.shape[1])  # (hidden, hidden) each
    return max(float(torch.linalg.matrix_norm(gate, 2)) for gate in gates)


def _recurrent_matrix(module: nn.Module) -> Tensor:
    """The weights (gates * hidden, hidden) of a state for the next, in double precision."""
    return dict(module.named_parameters())["weight_hh_l0"].detach().double().cpu()
