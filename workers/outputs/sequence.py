"""SEQUENCE: another sequence of tokens, written by a decoder that looks back at the source."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from app.tasks.contract import BEGIN, END, DecodedTokens
from workers.decoding.scheduler import decode_all
from workers.decoding.sequence import Decoder
from workers.decoding.torch_model import TorchSequence
from workers.nn import Translator
from workers.nn.ensemble import side_by_side
from workers.outputs.kind import MAX_ANSWER_TOKENS, Evaluation, OutputKind

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


def translation_score(network: Any, inputs: Tensor, lengths: Tensor, output: DecodedTokens) -> Tensor:
    """The log-probability of the decoded tokens, and of their end where it came; of the first of many."""
    memory, state = network.forward_last(inputs, lengths, network.initial_state(1))
    score: Tensor = memory.new_zeros(())
    previous, tokens = BEGIN, output.tokens.tolist()
    if not tokens or output.note.get("finish_reason") == "stop":
        tokens.append(END)
    for token in tokens[:MAX_ANSWER_TOKENS]:
        logs, state, _ = network.decode_step(torch.tensor([[previous]]), state, memory, lengths)
        score = score + logs[0, token]  # logs: (1, vocabulary)
        previous = token
    return score


SEQUENCE = OutputKind(
    Translator,
    side_by_side,
    evaluate_decoded,
    translation_score,
    export_axes={0: "batch", 1: "time"},
    step_model=TorchSequence,
)
