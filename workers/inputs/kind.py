"""What there is to know about one kind of input."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from workers.nn import ModelConfig
from workers.nn.inputs import InputLayer

Probe = Callable[[ModelConfig, int, int, torch.Generator], Tensor]  # of a network, rows, steps, random source


@dataclass(frozen=True)
class InputKind:
    """One member of `Input` on torch's side."""

    layer: Callable[[ModelConfig], InputLayer]
    dtype: torch.dtype
    probe: Probe  # random inputs (batch, time, features)
    embedded: bool = False  # whether it has gradients only behind the embedding of its layer
    parallel: bool = False  # whether its layer computes so much that several threads always shorten a step


def random_vectors(config: ModelConfig, batch: int, time: int, source: torch.Generator) -> Tensor:
    """Normally distributed inputs (batch, time, features)."""
    return torch.randn(batch, time, config.features, generator=source)
