"""CLIPS: small images, one a step, of which a convolutional network makes vectors."""

import torch
from torch import Tensor

from workers.inputs.kind import InputKind
from workers.nn import ModelConfig
from workers.nn.clips import ClipsInput


def random_images(config: ModelConfig, batch: int, time: int, source: torch.Generator) -> Tensor:
    """Noise (batch, time, features) uint8."""
    return torch.randint(256, (batch, time, config.features), generator=source, dtype=torch.uint8)


CLIPS = InputKind(ClipsInput, torch.uint8, random_images, parallel=True)
