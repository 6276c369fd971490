"""Networks of torch asked for one token after the other: for scoring after training, and on a GPU."""

from typing import Any

import numpy as np
import torch

from app.tasks.base import Output
from workers.nn import Network
from workers.steppers import Floats, Ints, States, Stepped, Stepper


class TorchNext:
    """As `OnnxNext`."""

    pieces = True

    def __init__(self, network: Network, device: torch.device) -> None:
        self._network: Any = network
        self._device = device

    def initial(self, batch: int) -> States:
        """See `Stepper`."""
        shape = (self._network.state_rows, batch, self._network.state_size)
        return States(np.zeros(shape, np.float32))

    @torch.inference_mode()
    def begin(self, inputs: Ints, lengths: Ints, carried: States) -> tuple[Floats | None, States]:
        """See `Stepper`."""
        given = [torch.from_numpy(array).to(self._device) for array in (inputs, lengths, carried.states)]
        outputs, states = self._network.at_end(*given)
        return outputs.float().cpu().numpy(), States(states.float().cpu().numpy())

    def step(self, tokens: Ints, carried: States) -> Stepped:
        """See `Stepper`."""
        scores, after = self.begin(tokens[:, None, None], np.ones(len(tokens), np.int64), carried)
        if scores is None:
            raise ValueError("the network gives no scores")
        return Stepped(scores, after)


class TorchSequence(TorchNext):
    """As `OnnxSequence`."""

    pieces = False

    def begin(self, inputs: Ints, lengths: Ints, carried: States) -> tuple[Floats | None, States]:
        """See `Stepper`."""
        memory, first = super().begin(inputs, lengths, carried)
        return None, States(first.states, memory, lengths)

    @torch.inference_mode()
    def step(self, tokens: Ints, carried: States) -> Stepped:
        """See `Stepper`."""
        arrays = (tokens[:, None], carried.states, carried.memory, carried.lengths)
        given = [torch.from_numpy(np.ascontiguousarray(array)).to(self._device) for array in arrays]
        scores, states, attention = (
            tensor.float().cpu().numpy() for tensor in self._network.decode_step(*given)
        )
        return Stepped(scores, States(states, carried.memory, carried.lengths), attention)


def stepper(network: Network, device: torch.device) -> Stepper:
    """For a NEXT or SEQUENCE network."""
    kind = TorchSequence if network.config.output == Output.SEQUENCE else TorchNext
    return kind(network, device)
