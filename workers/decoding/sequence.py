"""One sequence that is being decoded, and the choice of the next tokens of many of them."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np

from app.arrays import Floats, Ints
from app.tasks.contract import DecodedTokens
from app.typedefs import Json
from workers.decoding.beam_search import Beam
from workers.decoding.onnx_model import StepModel
from workers.decoding.sampling import Sampler, StopCriteria, accept_tokens

MakeStopCriteria = Callable[[Json], StopCriteria | None]  # of an instance's decoding settings


def no_stop_criteria(decoding: Json) -> StopCriteria | None:
    """No criteria: a sequence ends at `END` or at its longest."""
    del decoding
    return None


@dataclass(frozen=True)
class Decoder:
    """A network that is asked token by token, and when its sequences stop."""

    model: StepModel
    stop_criteria: MakeStopCriteria = no_stop_criteria


@dataclass(frozen=True)
class ComputeUsage:
    """The computation of a batch up to a point of time."""

    at: float = 0.0
    seconds: float = 0.0
    passes: int = 0
    sequences: int = 0  # summed over the passes

    def __sub__(self, before: "ComputeUsage") -> "ComputeUsage":
        """The computation since an earlier point of time."""
        return ComputeUsage(
            self.at,
            self.seconds - before.seconds,
            self.passes - before.passes,
            self.sequences - before.sequences,
        )


class DecodingSequence:
    """The decoding of one instance: its inputs, its strategy, and in the end its tokens.

    `decoding` has the settings of a `Beam` where it names a `beam_size`, else those of a `Sampler`.
    """

    def __init__(
        self, inputs: Ints, decoding: Json, stop_criteria: MakeStopCriteria = no_stop_criteria
    ) -> None:
        self.strategy: Sampler | Beam
        if "beam_size" in decoding:
            self.strategy, self.max_rows = Beam(decoding, len(inputs)), int(decoding["beam_size"])
        else:
            self.strategy, self.max_rows = Sampler(decoding, stop_criteria(decoding)), 1
            tokens = np.array(self.strategy.tokens, np.int64)[:, None]
            inputs = np.concatenate([inputs, tokens]) if len(tokens) else inputs
        self.inputs = inputs  # (time, features)
        self.prefilled = 0  # steps of the inputs that were read
        self.state: Any = None  # after those steps, until it takes part in the batch's steps
        self.started: ComputeUsage | None = None  # the batch's usage before its first pass

    @property
    def result(self) -> DecodedTokens | None:
        """The tokens, once decoding has ended."""
        return self.strategy.result


def choose_tokens(
    sequences: list[DecodingSequence], scores: Floats, attention: Floats | None, state: Any
) -> tuple[list[DecodingSequence], Any]:
    """Let each sequence choose by its rows of scores (rows, vocabulary).

    Returns the sequences that go on, and the state of their rows.
    """
    widths = [sequence.strategy.width for sequence in sequences]
    starts = list(accumulate(widths, initial=0))
    samplers: list[Sampler] = []
    sampler_rows: list[int] = []
    for sequence, start, end in zip(sequences, starts, starts[1:], strict=False):
        if isinstance(sequence.strategy, Sampler):
            samplers.append(sequence.strategy)
            sampler_rows.append(start)
        else:
            sequence.strategy.advance(scores[start:end], None if attention is None else attention[start:end])
    if samplers:
        accept_tokens(samplers, scores if len(samplers) == len(scores) else scores[sampler_rows])
    live = [sequence for sequence in sequences if sequence.result is None]
    rows = [
        start + parent
        for sequence, start in zip(sequences, starts, strict=False)
        for parent in sequence.strategy.parents
    ]
    if len(live) < len(sequences) or any(
        len(sequence.strategy.parents) != width for sequence, width in zip(sequences, widths, strict=True)
    ):
        return live, state.select(np.array(rows, np.int64)) if live else None
    if rows == list(range(starts[-1])):
        return live, state
    return live, state.reorder(np.array(rows, np.int64))
