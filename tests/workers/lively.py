"""Networks whose answers tell something: a fresh one answers zero, whatever it reads."""

import torch
from torch import nn

from workers.nn import ModelConfig
from workers.nn.model import SequenceModel
from workers.outputs import build


def lively(config: ModelConfig, seed: int = 1) -> SequenceModel:
    """A network with random weights in every layer."""
    model = build(config, seed)
    assert isinstance(model, SequenceModel)
    source = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(nn.init.normal_(torch.empty_like(weight), 0, 0.4, generator=source))
    return model
