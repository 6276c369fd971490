"""Step models: networks asked for one token after the other, and the state they carry from step to step.

A `StepModel` is a network on some device; the ones of this module run on a CPU by ONNX Runtime.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol, Self

import numpy as np
import onnxruntime as ort

from app.arrays import Floats, Ints

NEXT_INPUTS = {"inputs", "lengths", "state"}
DECODER_INPUTS = {"tokens", "state", "memory", "lengths"}


class DecoderState(Protocol):
    """The state that a network carries for each row of a batch."""

    def __len__(self) -> int: ...

    def select(self, rows: Ints) -> Self:
        """These rows, each as often as it is named."""
        ...

    def reorder(self, rows: Ints) -> Self:
        """These rows in another order, where each replaces one that was prefilled with the same inputs."""
        ...

    def concat(self, others: Sequence[Self]) -> Self:
        """These rows, then the others'."""
        ...


class StepOutput(NamedTuple):
    """The outputs of one step."""

    scores: Floats  # (batch, vocabulary) of the token that follows: logits, or log-probabilities
    state: Any  # a `DecoderState`
    attention: Floats | None = None  # (batch, source) weights of a decoder's attention


class StepModel(Protocol):
    """A network that is asked for one token after the other."""

    chunked_prefill: bool  # whether inputs may be read in parts: `prefill` goes on from a state

    def initial_state(self, batch: int) -> Any:
        """The state before any input is read."""
        ...

    def prefill(self, inputs: Ints, lengths: Ints, state: Any) -> tuple[Floats | None, Any]:
        """Read inputs (batch, time, features) of true lengths (batch,); the first scores, and the state.

        There are no scores (batch, vocabulary) where a decoder has yet to be asked for them by `step`.
        """
        ...

    def step(self, tokens: Ints, state: Any) -> StepOutput:
        """Read one more token (batch,) of each row."""
        ...


def open_session(path: Path) -> Any:
    """A graph on one thread: a predictor for each core beats many threads in one predictor."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 3
    # As fast, and 2 GB less for 100 versions.
    options.enable_cpu_mem_arena = options.enable_mem_pattern = False
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def shapes_of(session: Any, expected: set[str]) -> dict[str, list[Any]]:
    """The shapes of a graph's inputs by name; raises `ValueError` when it takes others than expected."""
    shapes = {node.name: node.shape for node in session.get_inputs()}
    if set(shapes) != expected:
        raise ValueError(f"the graph takes {sorted(shapes)}, not {sorted(expected)}")
    return shapes


@dataclass(frozen=True)
class States:
    """Recurrent states (rows, batch, hidden), and for a decoder the memory of the source it looks back at."""

    states: Floats
    memory: Floats | None = None  # (batch, time, width)
    lengths: Ints | None = None  # (batch,)

    def __len__(self) -> int:
        return int(self.states.shape[1])

    def select(self, rows: Ints) -> "States":
        """See `DecoderState`."""
        if self.memory is None or self.lengths is None:
            return States(self.states[:, rows])
        lengths = self.lengths[rows]
        return States(self.states[:, rows], self.memory[rows, : lengths.max(initial=1)], lengths)

    def reorder(self, rows: Ints) -> "States":
        """See `DecoderState`; the sources and their memory stay as they are."""
        return States(self.states[:, rows], self.memory, self.lengths)

    def concat(self, others: Sequence["States"]) -> "States":
        """See `DecoderState`; memories of shorter sources are padded with zeros."""
        parts = [self, *others]
        states = np.concatenate([one.states for one in parts], axis=1)
        memories = [one.memory for one in parts if one.memory is not None]
        if not memories:
            return States(states)
        longest = max(memory.shape[1] for memory in memories)
        memory = np.zeros((states.shape[1], longest, memories[0].shape[2]), np.float32)
        start = 0
        for part in memories:
            memory[start : start + len(part), : part.shape[1]] = part
            start += len(part)
        return States(
            states, memory, np.concatenate([one.lengths for one in parts if one.lengths is not None])
        )


class OnnxNext:
    """A network that gives the next token's logits: one graph reads the prompt and each token after it.

    A row's logits are the same, bit for bit, in any batch of at least `min_rows` rows, so that a seed gives
    the same text whatever else is in the batch: for RNN cells ONNX Runtime multiplies vectors otherwise than
    matrices.
    """

    chunked_prefill = True

    def __init__(self, session: Any, min_rows: int = 1) -> None:
        self._session, self._min_rows = session, min_rows
        self._rows, _, self._hidden = shapes_of(session, NEXT_INPUTS)["state"]

    def initial_state(self, batch: int) -> States:
        """See `StepModel`."""
        return States(np.zeros((self._rows, batch, self._hidden), np.float32))

    def prefill(self, inputs: Ints, lengths: Ints, state: States) -> tuple[Floats | None, States]:
        """See `StepModel`."""
        batch, states = len(inputs), state.states
        if batch < self._min_rows:
            rows = np.resize(np.arange(batch), self._min_rows)
            inputs, lengths, states = inputs[rows], lengths[rows], states[:, rows]
        feed = {"inputs": inputs, "lengths": lengths, "state": states}
        scores, states = self._session.run(["outputs", "state_out"], feed)
        return scores[:batch], States(states[:, :batch])

    def step(self, tokens: Ints, state: States) -> StepOutput:
        """See `StepModel`."""
        lengths = np.ones(len(tokens), np.int64)
        scores, after = self.prefill(tokens[:, None, None], lengths, state)
        if scores is None:
            raise ValueError("the graph gives no scores")
        return StepOutput(scores, after)


class OnnxSequence:
    """An encoder's graph that reads the source, and a decoder's that writes the target looking back at it."""

    chunked_prefill = False

    def __init__(self, encoder: Any, decoder: Any) -> None:
        self._encoder, self._decoder = encoder, decoder
        self._rows, _, self._hidden = shapes_of(encoder, NEXT_INPUTS)["state"]
        shapes_of(decoder, DECODER_INPUTS)

    def initial_state(self, batch: int) -> States:
        """See `StepModel`."""
        return States(np.zeros((self._rows, batch, self._hidden), np.float32))

    def prefill(self, inputs: Ints, lengths: Ints, state: States) -> tuple[Floats | None, States]:
        """See `StepModel`."""
        feed = {"inputs": inputs, "lengths": lengths, "state": state.states}
        memory, states = self._encoder.run(["outputs", "state_out"], feed)
        return None, States(states, memory, lengths)

    def step(self, tokens: Ints, state: States) -> StepOutput:
        """See `StepModel`."""
        feed = {"tokens": tokens[:, None], "state": state.states}
        feed |= {"memory": state.memory, "lengths": state.lengths}
        scores, states, attention = self._decoder.run(["outputs", "state_out", "attention"], feed)
        return StepOutput(scores, States(states, state.memory, state.lengths), attention)
