"""What there is to know about one kind of output: its network, its graph, and how a split is evaluated."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from app.arrays import Ints
from workers.decoding.onnx_model import StepModel
from workers.inputs import INPUTS
from workers.nn import Member, ModelConfig
from workers.nn.ensemble import Average
from workers.nn.model import HeadFactory, SequenceModel

Evaluation = Iterator[tuple[Ints, list[Any]]]  # rows of a split (rows,), and one output for each
Evaluate = Callable[
    [Any, Any, int, torch.device], Evaluation
]  # of a network, a split, examples at once, device
Axes = dict[int, str]
MAX_ANSWER_TOKENS = 512  # of a decoded text, whose probability an explanation explains
# The number that an explanation explains, a scalar that is differentiable: of a network, one example's inputs
# (1, time, features) and length (1,), and the output that was predicted for it, as `Task.decode` takes it.
Answer = Callable[[Any, Tensor, Tensor, Any], Tensor]


@dataclass(frozen=True)
class OutputKind:
    """One member of `Output` on torch's side; `workers.decoding.graph_outputs` has the side without torch."""

    build: Callable[[ModelConfig], Member]
    average: Average  # of the outputs of an ensemble's members
    evaluate: Evaluate  # what `Task.score` wants of each example
    answer: Answer
    export_axes: Axes = field(default_factory=lambda: {0: "batch"})  # dynamic axes of the graph's outputs
    step_model: Callable[[Any, torch.device], StepModel] | None = None  # of a network asked token by token


def recurrent_with(head: HeadFactory) -> Callable[[ModelConfig], Member]:
    """How to build an input layer and a recurrent stack with this head behind them."""

    def build(config: ModelConfig) -> Member:
        return SequenceModel(config, INPUTS[config.input].layer, head)

    return build
