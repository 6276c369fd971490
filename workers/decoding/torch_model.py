"""Networks of torch asked for one token after the other: for scoring after training, and on a GPU.

What is carried stays on the device; tokens go there and scores come back.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from app.tasks.contract import Floats, Ints, Output
from workers.decoding.onnx_model import Stepped, Stepper
from workers.nn import Network


@dataclass(frozen=True)
class Tensors:
    """As `States`, on a device."""

    states: Tensor  # (rows, batch, hidden)
    memory: Tensor | None = None  # (batch, time, width)
    lengths: Tensor | None = None  # (batch,)

    def __len__(self) -> int:
        return self.states.shape[1]

    def take(self, rows: Ints) -> "Tensors":
        """See `Carried`."""
        index = self._index(rows)
        states = self.states.index_select(1, index)
        if self.memory is None or self.lengths is None:
            return Tensors(states)
        return Tensors(states, self.memory.index_select(0, index), self.lengths.index_select(0, index))

    def shuffle(self, rows: Ints) -> "Tensors":
        """See `Carried`."""
        return Tensors(self.states.index_select(1, self._index(rows)), self.memory, self.lengths)

    def join(self, others: Sequence["Tensors"]) -> "Tensors":
        """See `Carried`; memories of shorter sources are padded with zeros."""
        every = [self, *others]
        states = torch.cat([one.states for one in every], dim=1)
        memories = [one.memory for one in every if one.memory is not None]
        if not memories:
            return Tensors(states)
        longest = max(memory.shape[1] for memory in memories)
        padded = [nn.functional.pad(one, (0, 0, 0, longest - one.shape[1])) for one in memories]
        lengths = [one.lengths for one in every if one.lengths is not None]
        return Tensors(states, torch.cat(padded), torch.cat(lengths))

    def _index(self, rows: Ints) -> Tensor:
        return torch.from_numpy(rows).to(self.states.device)


class TorchNext:
    """As `OnnxNext`."""

    pieces = True

    def __init__(self, network: Network, device: torch.device) -> None:
        self._network: Any = network
        self._device = device

    def initial(self, batch: int) -> Tensors:
        """See `Stepper`."""
        shape = (self._network.state_rows, batch, self._network.state_size)
        return Tensors(torch.zeros(shape, device=self._device))

    def begin(self, inputs: Ints, lengths: Ints, carried: Tensors) -> tuple[Floats | None, Tensors]:
        """See `Stepper`."""
        outputs, states = self._read(inputs, lengths, carried)
        return _array(outputs), Tensors(states)

    def step(self, tokens: Ints, carried: Tensors) -> Stepped:
        """See `Stepper`."""
        outputs, states = self._read(tokens[:, None, None], np.ones(len(tokens), np.int64), carried)
        return Stepped(_array(outputs), Tensors(states))

    @torch.inference_mode()
    def _read(self, inputs: Ints, lengths: Ints, carried: Tensors) -> tuple[Tensor, Tensor]:
        outputs, states = self._network.at_end(self._there(inputs), self._there(lengths), carried.states)
        return outputs, states.float()

    def _there(self, array: npt.NDArray[Any]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self._device)


class TorchSequence(TorchNext):
    """As `OnnxSequence`."""

    pieces = False

    def begin(self, inputs: Ints, lengths: Ints, carried: Tensors) -> tuple[Floats | None, Tensors]:
        """See `Stepper`."""
        memory, first = self._read(inputs, lengths, carried)
        return None, Tensors(first, memory.float(), self._there(lengths))

    @torch.inference_mode()
    def step(self, tokens: Ints, carried: Tensors) -> Stepped:
        """See `Stepper`."""
        given = (self._there(tokens[:, None]), carried.states, carried.memory, carried.lengths)
        scores, states, attention = self._network.decode_step(*given)
        after = Tensors(states.float(), carried.memory, carried.lengths)
        return Stepped(_array(scores), after, _array(attention))


def stepper(network: Network, device: torch.device) -> Stepper:
    """For a NEXT or SEQUENCE network."""
    kind = TorchSequence if network.config.output == Output.SEQUENCE else TorchNext
    return kind(network, device)


def _array(tensor: Tensor) -> Floats:
    found: Floats = tensor.float().cpu().numpy()
    return found
