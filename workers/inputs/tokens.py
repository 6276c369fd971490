"""TOKENS: token numbers in one column or several, looked up in embeddings."""

import torch
from torch import Tensor

from workers.inputs.kind import InputKind
from workers.nn import ModelConfig
from workers.nn.inputs import TokensInput


def random_tokens(config: ModelConfig, batch: int, time: int, source: torch.Generator) -> Tensor:
    """Token numbers (batch, time, columns) from 1 up, none of them padding."""
    sizes = [*config.vocabularies, *[config.character_vocabulary] * config.word_length]
    columns = [torch.randint(1, size, (batch, time), generator=source) for size in sizes]
    return torch.stack(columns, dim=-1)


TOKENS = InputKind(TokensInput, torch.int64, random_tokens, embedded=True)
