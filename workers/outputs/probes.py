"""Random inputs with which a network and its exported graph are tried out."""

from typing import Any

import torch
from torch import Tensor

from workers.inputs import INPUTS
from workers.nn import Network


def probe(model: Network, batch: int, time: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Random inputs, lengths (the first is full) and state for trying a graph out."""
    config, source = model.config, torch.Generator().manual_seed(seed)
    inputs = INPUTS[config.input].probe(config, batch, time, source)  # (batch, time, features)
    lengths = torch.randint(1, time + 1, (batch,), generator=source)
    lengths[0] = time
    state = 0.1 * torch.randn(model.state_rows, batch, model.state_size, generator=source)
    return inputs, lengths, state


def probe_step(model: Any, batch: int, time: int, seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The same for a decoder: tokens, state, memory and lengths."""
    inputs, lengths, state = probe(model, batch, time, seed)
    memory, first = model.forward_last(inputs, lengths, state)
    tokens = torch.randint(1, model.config.outputs, (batch, 1), generator=torch.Generator().manual_seed(seed))
    return tokens, first, memory, lengths
