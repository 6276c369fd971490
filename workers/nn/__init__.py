"""The networks, each written once for all cells: input layers, recurrent stacks, heads."""

from workers.nn.config import ModelConfig
from workers.nn.ensemble import Ensemble
from workers.nn.language import LanguageModel
from workers.nn.model import SequenceModel
from workers.nn.translator import Translator

__all__ = ["LanguageModel", "Member", "ModelConfig", "Network", "Trainable", "Translator"]

Member = SequenceModel | Translator  # one network
Trainable = Member | LanguageModel  # what the loop trains
Network = Member | Ensemble  # what predicts
