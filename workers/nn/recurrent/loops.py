"""GRU and vanilla RNN for training on a processor, where torch has fused kernels for the LSTM alone.

The inputs of all steps are multiplied in one product, and so are the gradients of all weights; what remains
for each step are the recurrent product and a few operations in place. Parameters are those of `nn.GRU` and
`nn.RNN`. tanh is computed as 2 sigmoid(2x) - 1, which torch does in half the time: equal to roundings.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

CHUNK_ELEMENTS = 1 << 16  # of a gate whose derivatives are computed at once: they stay in a core's cache
_sigmoid_backward = torch.ops.aten.sigmoid_backward.grad_input
_tanh_backward = torch.ops.aten.tanh_backward.grad_input

Gradients = tuple[Tensor | None, Tensor, Tensor, Tensor, Tensor, Tensor]


class RNNStates(torch.autograd.Function):
    """States (time, batch, hidden) of inputs (time, batch, width) and a first state (batch, hidden)."""

    @staticmethod
    def forward(
        ctx: Any, inputs: Tensor, first: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor, b_hh: Tensor
    ) -> Tensor:
        """Twice the sum under each tanh is written where the state comes to stand."""
        states = _with_room(first, len(inputs))  # (1 + time, batch, hidden)
        twice = states[1:].flatten(0, 1)
        torch.addmm(2 * (b_ih + b_hh), _rows(inputs), 2 * w_ih.t(), out=twice)
        recurrent, minus = 2 * w_hh.t(), states.new_tensor(-1.0)
        state, *following = states.unbind()
        for after in following:
            torch.addmm(after, state, recurrent, out=after).sigmoid_()
            state = torch.add(minus, after, alpha=2, out=after)
        ctx.save_for_backward(inputs, w_ih, w_hh, states)
        return states[1:]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Gradients:
        """Backpropagation through time; `sums` are gradients of the sums under each tanh."""
        inputs, w_ih, w_hh, states = ctx.saved_tensors
        sums = torch.empty_like(states[1:])
        carried, before = _from_end(grad)
        steps = zip(before, states[1:].unbind(), sums.unbind(), strict=True)
        for of_before, state, of_sum in reversed(list(steps)):
            _tanh_backward(carried, state, grad_input=of_sum)
            torch.addmm(of_before, of_sum, w_hh, out=carried)
        rows = _rows(sums)
        of_inputs = (rows @ w_ih).view(inputs.shape) if ctx.needs_input_grad[0] else None
        of_bias = rows.sum(0)
        return of_inputs, carried, _product(rows, inputs), _product(rows, states[:-1]), of_bias, of_bias


class GRUStates(torch.autograd.Function):
    """States (time, batch, hidden) of inputs (time, batch, width) and a first state (batch, hidden).

    In torch's order the gates are reset, update, new:
    new = tanh(input part + reset * hidden part); state = (1 - update) * new + update * state before.
    """

    @staticmethod
    def forward(
        ctx: Any, inputs: Tensor, first: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor, b_hh: Tensor
    ) -> Tensor:
        """Gates of a step lie one after the other; `new` is written where the input's part of it stood."""
        time, batch, _ = inputs.shape
        size = first.shape[1]
        two = 2 * size
        rows = _rows(inputs)
        sums = torch.addmm(b_ih[:two] + b_hh[:two], rows, w_ih[:two].t()).view(time, batch, two)
        new = torch.addmm(2 * b_ih[two:], rows, 2 * w_ih[two:].t()).view(time, batch, size)
        gates, hidden = new.new_empty(time, 2, batch, size), torch.empty_like(new)
        states = _with_room(first, time)  # (1 + time, batch, hidden)
        to_gates, to_new = w_hh[:two].t(), w_hh[two:].t()
        bias, minus = b_hh[two:].expand(batch, size), states.new_tensor(-1.0)
        total = first.new_empty(batch, two)
        by_gate = total.view(batch, 2, size).transpose(0, 1)
        resets, updates = (part.unbind() for part in gates.unbind(1))
        state, *following = states.unbind()
        parts = (sums.unbind(), gates.unbind(), resets, updates, new.unbind(), hidden.unbind(), following)
        for of_gates, gate, reset, update, candidate, part, after in zip(*parts, strict=True):
            torch.addmm(of_gates, state, to_gates, out=total)
            torch.sigmoid(by_gate, out=gate)
            torch.addmm(bias, state, to_new, out=part)
            candidate.addcmul_(reset, part, value=2).sigmoid_()
            torch.add(minus, candidate, alpha=2, out=candidate)
            state = torch.lerp(candidate, state, update, out=after)
        ctx.save_for_backward(inputs, w_ih, w_hh, gates, new, hidden, states)
        return states[1:]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Gradients:
        """Backpropagation through time.

        `sums` are gradients of the sums under new, reset and update, and of the hidden part of new: the first
        three are those of the input's products, the last three those of the state's. They are linear in
        the gradient of the state, so that their factors are computed for some steps at once.
        """
        inputs, w_ih, w_hh, gates, new, hidden, states = ctx.saved_tensors
        time, batch, size = new.shape
        sums = new.new_empty(time, batch, 4, size)
        from_state = sums.flatten(2)[..., size:]  # (time, batch, 3 * hidden)
        carried, before = _from_end(grad)
        chunk = max(1, CHUNK_ELEMENTS // (batch * size))
        for start in reversed(range(0, time, chunk)):
            part = slice(start, start + chunk)
            _factors(gates[part], new[part], hidden[part], states[:-1][part], sums[part])
            parts = (gates[part, 1], sums[part], from_state[part])
            for of_before, update, of_sums, products in reversed(
                list(zip(before[part], *(one.unbind() for one in parts), strict=True))
            ):
                of_sums.mul_(carried.unsqueeze(1))
                torch.addcmul(of_before, carried, update, out=carried).addmm_(products, w_hh)
        rows = sums.view(time * batch, 4 * size)
        of_inputs, of_states = rows[:, : 3 * size], rows[:, size:]  # both cover reset and update
        into = (of_inputs @ w_ih.roll(size, 0)).view(inputs.shape) if ctx.needs_input_grad[0] else None
        of_bias = rows.sum(0)
        return (
            into,
            carried,
            _product(of_inputs, inputs).roll(-size, 0),
            _product(of_states, states[:-1]),
            of_bias[: 3 * size].roll(-size),
            of_bias[size:],
        )


def _factors(gates: Tensor, new: Tensor, hidden: Tensor, before: Tensor, sums: Tensor) -> None:
    """Derivatives of a state by the sums under its gates, into (time, batch, 4, hidden)."""
    reset, update = gates.unbind(1)
    of_new, of_reset, of_update, of_hidden = sums.unbind(2)
    buffer = 1 - update
    _tanh_backward(buffer, new, grad_input=of_new)
    torch.sub(before, new, out=buffer)
    _sigmoid_backward(buffer, update, grad_input=of_update)
    torch.mul(of_new, reset, out=of_hidden)
    torch.mul(of_new, hidden, out=buffer)
    _sigmoid_backward(buffer, reset, grad_input=of_reset)


def _with_room(first: Tensor, time: int) -> Tensor:
    """The first state, and room for so many more: (1 + time, batch, hidden)."""
    states = first.new_empty(1 + time, *first.shape)
    states[0] = first
    return states


def _from_end(grad: Tensor) -> tuple[Tensor, list[Tensor]]:
    """The gradient of the last state, to be overwritten, and those of the states before each step."""
    last = grad[-1].clone(memory_format=torch.contiguous_format)
    return last, [torch.zeros_like(last), *grad.unbind()[:-1]]


def _rows(sequence: Tensor) -> Tensor:
    """(time, batch, width) as (time * batch, width)."""
    return sequence.reshape(-1, sequence.shape[2])


def _product(rows: Tensor, others: Tensor) -> Tensor:
    """The gradient of a weight, (width of the rows, width of the others); this order suits narrow inputs."""
    return (_rows(others).t() @ rows).t()
