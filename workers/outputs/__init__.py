"""The kinds of output: for each its network, its loss, its graph and its evaluation."""

from collections.abc import Sequence

import torch

from app.tasks.contract import Output
from workers.nn import Member, ModelConfig, Network
from workers.nn.ensemble import Ensemble
from workers.outputs.aligned import ALIGNED
from workers.outputs.kind import OutputKind
from workers.outputs.label import LABEL
from workers.outputs.labels import LABELS
from workers.outputs.next_token import NEXT_TOKEN
from workers.outputs.quantiles import QUANTILES
from workers.outputs.sequence import SEQUENCE

__all__ = ["OUTPUTS", "Network", "OutputKind", "build", "join"]

OUTPUTS: dict[Output, OutputKind] = {
    Output.LABEL: LABEL,
    Output.LABELS: LABELS,
    Output.QUANTILES: QUANTILES,
    Output.NEXT_TOKEN: NEXT_TOKEN,
    Output.SEQUENCE: SEQUENCE,
    Output.ALIGNED: ALIGNED,
}


def build(config: ModelConfig, seed: int) -> Member:
    """A freshly initialised network; the same seed gives the same weights."""
    torch.manual_seed(seed)
    return OUTPUTS[config.output].build(config)


def join(members: Sequence[Member]) -> Network:
    """Several networks of one configuration as one that averages their outputs."""
    return members[0] if len(members) == 1 else Ensemble(members, OUTPUTS[members[0].config.output].average)
