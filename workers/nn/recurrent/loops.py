"""GRU and vanilla RNN for training on a processor, where torch has fused kernels for the LSTM alone.

The inputs of all steps are multiplied in one product, and so are the gradients of all weights; what remains
for each step are the recurrent product and a few operations in place. Parameters are those of `nn.GRU` and
`nn.RNN`. The recurrent weights are copied once, into
the layout in which the forward products are fastest.
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
        """The sum under each tanh is written where the state comes to stand."""
        states = _with_room(first, len(inputs))  # (1 + time, batch, hidden)
        torch.addmm(b_ih + b_hh, _rows(inputs), w_ih.t(), out=_rows(states[1:]))
        recurrent = w_hh.t().contiguous()
        state, *following = states.unbind()
        for after in following:
            state = after.addmm_(state, recurrent).tanh_()
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
        of_inputs = (_rows(sums) @ w_ih).view(inputs.shape) if ctx.needs_input_grad[0] else None
        of_bias = _rows(sums).sum(0)
        return of_inputs, carried, _product(sums, inputs), _product(sums, states[:-1]), of_bias, of_bias


class GRUStates(torch.autograd.Function):
    """States (time, batch, hidden) of inputs (time, batch, width) and a first state (batch, hidden).

    In torch's order the gates are reset, update, new:
    new = tanh(input part + reset * hidden part); state = (1 - update) * new + update * state before.
    Each gate's sums are an array of their own: broadcasting over the gates of a row takes ten times as long.
    """

    @staticmethod
    def forward(
        ctx: Any, inputs: Tensor, first: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor, b_hh: Tensor
    ) -> Tensor:
        """Gates are written where their sums stood, and `new` where the input's part of it did."""
        time, batch, _ = inputs.shape
        size = first.shape[1]
        sums = first.new_empty(3, time, batch, size)  # under reset and update, and the hidden part of new
        new = first.new_empty(time, batch, size)
        b_ih, b_hh = b_ih.view(3, size), b_hh.view(3, size)
        biases = (b_ih[0] + b_hh[0], b_ih[1] + b_hh[1], b_ih[2])
        for out, bias, weight in zip((sums[0], sums[1], new), biases, w_ih.chunk(3), strict=True):
            torch.addmm(bias, _rows(inputs), weight.t(), out=_rows(out))
        sums[2] = b_hh[2]
        states = _with_room(first, time)  # (1 + time, batch, hidden)
        recurrent = w_hh.view(3, size, size).transpose(1, 2).contiguous()
        resets, updates, hidden = (part.unbind() for part in sums)
        state, *following = states.unbind()
        parts = (sums.unbind(1), sums[:2].unbind(1), resets, updates, hidden, new.unbind(), following)
        for of_step, gates, reset, update, part, candidate, after in zip(*parts, strict=True):
            of_step.baddbmm_(state.expand(3, batch, size), recurrent)
            gates.sigmoid_()
            candidate.addcmul_(reset, part).tanh_()
            state = torch.lerp(candidate, state, update, out=after)
        ctx.save_for_backward(inputs, w_ih, w_hh, sums, new, states)
        return states[1:]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Gradients:
        """Backpropagation through time.

        `sums` are gradients of the sums under new, reset and update, and of the hidden part of new: the first
        three are those of the input's products, the last three those of the state's. They are linear in
        the gradient of the state, so that their factors are computed for some steps at once.
        """
        inputs, w_ih, w_hh, gates, new, states = ctx.saved_tensors
        time, batch, size = new.shape
        sums = new.new_empty(4, time, batch, size)
        recurrent = w_hh.view(3, size, size)
        carried, before = _from_end(grad)
        chunk = max(1, CHUNK_ELEMENTS // (batch * size))
        for start in reversed(range(0, time, chunk)):
            part = slice(start, start + chunk)
            _factors(gates[:, part], new[part], states[:-1][part], sums[:, part])
            parts = (gates[1, part].unbind(), sums[:, part].unbind(1), sums[1:, part].unbind(1))
            for of_before, update, of_sums, products in reversed(
                list(zip(before[part], *parts, strict=True))
            ):
                of_sums.mul_(carried)
                torch.addcmul(of_before, carried, update, out=carried).addbmm_(products, recurrent)
        of_inputs = [sums[gate] for gate in (1, 2, 0)]
        into = None
        if ctx.needs_input_grad[0]:
            into = inputs.new_zeros(inputs.shape)
            for of_gate, weight in zip(of_inputs, w_ih.chunk(3), strict=True):
                _rows(into).addmm_(_rows(of_gate), weight)
        of_bias = sums.sum((1, 2))  # (4, hidden)
        return (
            into,
            carried,
            torch.cat([_product(of_gate, inputs) for of_gate in of_inputs]),
            torch.cat([_product(of_gate, states[:-1]) for of_gate in sums[1:]]),
            of_bias[[1, 2, 0]].flatten(),
            of_bias[1:].flatten(),
        )


def _factors(gates: Tensor, new: Tensor, before: Tensor, sums: Tensor) -> None:
    """Derivatives of a state by the sums under its gates, into (4, time, batch, hidden)."""
    reset, update, hidden = gates
    of_new, of_reset, of_update, of_hidden = sums
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


def _product(sums: Tensor, others: Tensor) -> Tensor:
    """The gradient of a weight, (width of the sums, width of the others); this order suits narrow inputs."""
    return (_rows(others).t() @ _rows(sums)).t()
