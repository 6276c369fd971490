"""Step models of torch: for evaluation after training, and on a GPU.

Their state stays on the device; tokens are copied there, and scores copied back.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from app.arrays import Floats, Ints
from workers.decoding.onnx_model import StepOutput
from workers.nn import Network


@dataclass(frozen=True)
class Tensors:
    """The same as `States`, on a device."""

    states: Tensor  # (rows, batch, hidden)
    memory: Tensor | None = None  # (batch, time, width)
    lengths: Tensor | None = None  # (batch,)

    def __len__(self) -> int:
        return self.states.shape[1]

    def select(self, rows: Ints) -> "Tensors":
        """See `DecoderState`."""
        index = self._index(rows)
        states = self.states.index_select(1, index)
        if self.memory is None or self.lengths is None:
            return Tensors(states)
        return Tensors(states, self.memory.index_select(0, index), self.lengths.index_select(0, index))

    def reorder(self, rows: Ints) -> "Tensors":
        """See `DecoderState`."""
        return Tensors(self.states.index_select(1, self._index(rows)), self.memory, self.lengths)

    def concat(self, others: Sequence["Tensors"]) -> "Tensors":
        """See `DecoderState`; memories of shorter sources are padded with zeros."""
        parts = [self, *others]
        states = torch.cat([one.states for one in parts], dim=1)
        memories = [one.memory for one in parts if one.memory is not None]
        if not memories:
            return Tensors(states)
        longest = max(memory.shape[1] for memory in memories)
        padded = [nn.functional.pad(one, (0, 0, 0, longest - one.shape[1])) for one in memories]
        lengths = [one.lengths for one in parts if one.lengths is not None]
        return Tensors(states, torch.cat(padded), torch.cat(lengths))

    def _index(self, rows: Ints) -> Tensor:
        return torch.from_numpy(rows).to(self.states.device)


class TorchNext:
    """The same as `OnnxNext`, by torch."""

    chunked_prefill = True

    def __init__(self, network: Network, device: torch.device) -> None:
        self._network: Any = network
        self._device = device

    def initial_state(self, batch: int) -> Tensors:
        """See `StepModel`."""
        shape = (self._network.state_rows, batch, self._network.state_size)
        return Tensors(torch.zeros(shape, device=self._device))

    def prefill(self, inputs: Ints, lengths: Ints, state: Tensors) -> tuple[Floats | None, Tensors]:
        """See `StepModel`."""
        outputs, states = self._forward(inputs, lengths, state)
        return _array(outputs), Tensors(states)

    def step(self, tokens: Ints, state: Tensors) -> StepOutput:
        """See `StepModel`."""
        outputs, states = self._forward(tokens[:, None, None], np.ones(len(tokens), np.int64), state)
        return StepOutput(_array(outputs), Tensors(states))

    @torch.inference_mode()
    def _forward(self, inputs: Ints, lengths: Ints, state: Tensors) -> tuple[Tensor, Tensor]:
        outputs, states = self._network.forward_last(
            self._to_device(inputs), self._to_device(lengths), state.states
        )
        return outputs, states.float()

    def _to_device(self, array: npt.NDArray[Any]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self._device)


class TorchSequence(TorchNext):
    """The same as `OnnxSequence`, by torch."""

    chunked_prefill = False

    def prefill(self, inputs: Ints, lengths: Ints, state: Tensors) -> tuple[Floats | None, Tensors]:
        """See `StepModel`."""
        memory, first = self._forward(inputs, lengths, state)
        return None, Tensors(first, memory.float(), self._to_device(lengths))

    @torch.inference_mode()
    def step(self, tokens: Ints, state: Tensors) -> StepOutput:
        """See `StepModel`."""
        tensors = (self._to_device(tokens[:, None]), state.states, state.memory, state.lengths)
        scores, states, attention = self._network.decode_step(*tensors)
        after = Tensors(states.float(), state.memory, state.lengths)
        return StepOutput(_array(scores), after, _array(attention))


def _array(tensor: Tensor) -> Floats:
    array: Floats = tensor.float().cpu().numpy()
    return array
