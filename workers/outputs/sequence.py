"""SEQUENCE: another sequence of tokens, written by a decoder that looks back at the source."""

from typing import Any

import numpy as np
import torch

from workers.decoding.scheduler import decode_all
from workers.decoding.sequence import Decoder
from workers.decoding.torch_model import TorchSequence
from workers.nn import Translator
from workers.nn.ensemble import side_by_side
from workers.outputs.kind import Evaluation, OutputKind

SOURCES_AT_ONCE = 256  # sources that are translated together


def evaluate_decoded(network: Any, split: Any, size: int, device: torch.device) -> Evaluation:
    """The decoded tokens of each source, searched for as a request without parameters would be.

    The split's `decoding` of a row says how.
    """
    del size
    decoder = Decoder(TorchSequence(network, device))
    order = np.argsort(split.lengths, kind="stable")
    for start in range(0, len(order), SOURCES_AT_ONCE):
        rows = order[start : start + SOURCES_AT_ONCE]
        batch = split.batch(rows, None)
        lengths = batch.lengths.tolist()
        inputs = [row[:length] for row, length in zip(batch.inputs, lengths, strict=True)]
        yield rows, decode_all(decoder, inputs, [split.decoding(int(row)) for row in rows])


SEQUENCE = OutputKind(
    Translator,
    side_by_side,
    evaluate_decoded,
    export_axes={0: "batch", 1: "time"},
    step_model=TorchSequence,
)
