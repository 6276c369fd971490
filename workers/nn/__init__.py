"""The networks: three inputs × six outputs × three cells, each written once."""

from collections.abc import Sequence

import torch

from app.tasks.contract import Output
from workers.nn.config import ModelConfig
from workers.nn.ensemble import Ensemble
from workers.nn.language import LanguageModel
from workers.nn.model import SequenceModel
from workers.nn.translator import Translator

__all__ = ["LanguageModel", "Member", "ModelConfig", "Network", "Trainable", "Translator", "build", "join"]

Member = SequenceModel | Translator  # one network
Trainable = Member | LanguageModel  # what the loop trains
Network = Member | Ensemble  # what predicts


def build(config: ModelConfig, seed: int) -> Member:
    """A freshly initialised network; the same seed gives the same weights."""
    torch.manual_seed(seed)
    return Translator(config) if config.output == Output.SEQUENCE else SequenceModel(config)


def join(members: Sequence[Member]) -> Network:
    """Several networks as one."""
    return members[0] if len(members) == 1 else Ensemble(members)
