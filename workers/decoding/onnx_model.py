"""Networks asked for one token after the other, with what they carry from one step to the next.

A `Stepper` is a network on some device; here those of ONNX Runtime on a CPU.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol, Self

import numpy as np
import onnxruntime as ort

from app.tasks.contract import Floats, Ints

NEXT_INPUTS = {"inputs", "lengths", "state"}
DECODER_INPUTS = {"tokens", "state", "memory", "lengths"}


class Carried(Protocol):
    """What a network carries for each row of a batch."""

    def __len__(self) -> int: ...

    def take(self, rows: Ints) -> Self:
        """These rows, each as often as it is named."""
        ...

    def shuffle(self, rows: Ints) -> Self:
        """The same where each row's place is taken by one that was begun with the same inputs."""
        ...

    def join(self, others: Sequence[Self]) -> Self:
        """These rows, then the others'."""
        ...


class Stepped(NamedTuple):
    """What one step gives."""

    scores: Floats  # (batch, vocabulary) of the token that follows: logits, or log-probabilities
    carried: Any
    attention: Floats | None = None  # (batch, source) what a decoder looked at


class Stepper(Protocol):
    """A network that is asked step by step."""

    pieces: bool  # whether inputs may be read in parts: `begin` goes on from what it carries

    def initial(self, batch: int) -> Any:
        """What is carried before anything is read."""
        ...

    def begin(self, inputs: Ints, lengths: Ints, carried: Any) -> tuple[Floats | None, Any]:
        """Read inputs (batch, time, features) of true lengths (batch,).

        Gives the scores (batch, vocabulary) of the first token, unless a decoder is yet to be asked for it.
        """
        ...

    def step(self, tokens: Ints, carried: Any) -> Stepped:
        """Go on with a token (batch,) for each row."""
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


def shapes_of(session: Any, wanted: set[str]) -> dict[str, list[Any]]:
    """The shapes of a graph's inputs by name; raises `ValueError` when it takes others than wanted."""
    shapes = {node.name: node.shape for node in session.get_inputs()}
    if set(shapes) != wanted:
        raise ValueError(f"the graph takes {sorted(shapes)}, not {sorted(wanted)}")
    return shapes


@dataclass(frozen=True)
class States:
    """Recurrent states (rows, batch, hidden), and for a decoder the memory of the source it looks back at."""

    states: Floats
    memory: Floats | None = None  # (batch, time, width)
    lengths: Ints | None = None  # (batch,)

    def __len__(self) -> int:
        return int(self.states.shape[1])

    def take(self, rows: Ints) -> "States":
        """See `Carried`."""
        if self.memory is None or self.lengths is None:
            return States(self.states[:, rows])
        lengths = self.lengths[rows]
        return States(self.states[:, rows], self.memory[rows, : lengths.max(initial=1)], lengths)

    def shuffle(self, rows: Ints) -> "States":
        """See `Carried`: the source, and so the memory of it, stays where it is."""
        return States(self.states[:, rows], self.memory, self.lengths)

    def join(self, others: Sequence["States"]) -> "States":
        """See `Carried`; memories of shorter sources are padded with zeros."""
        every = [self, *others]
        states = np.concatenate([one.states for one in every], axis=1)
        memories = [one.memory for one in every if one.memory is not None]
        if not memories:
            return States(states)
        longest = max(memory.shape[1] for memory in memories)
        memory = np.zeros((states.shape[1], longest, memories[0].shape[2]), np.float32)
        place = 0
        for part in memories:
            memory[place : place + len(part), : part.shape[1]] = part
            place += len(part)
        return States(
            states, memory, np.concatenate([one.lengths for one in every if one.lengths is not None])
        )


class OnnxNext:
    """A network that gives the next token's logits: one graph reads the prompt and each token after it.

    A row's logits are the same, bit for bit, in any batch of at least `least` rows, so that a seed gives the
    same text whoever else is there. ONNX Runtime multiplies vectors otherwise than matrices for RNN cells.
    """

    pieces = True

    def __init__(self, session: Any, least: int = 1) -> None:
        self._session, self._least = session, least
        self._rows, _, self._hidden = shapes_of(session, NEXT_INPUTS)["state"]

    def initial(self, batch: int) -> States:
        """See `Stepper`."""
        return States(np.zeros((self._rows, batch, self._hidden), np.float32))

    def begin(self, inputs: Ints, lengths: Ints, carried: States) -> tuple[Floats | None, States]:
        """See `Stepper`."""
        batch, states = len(inputs), carried.states
        if batch < self._least:
            rows = np.resize(np.arange(batch), self._least)
            inputs, lengths, states = inputs[rows], lengths[rows], states[:, rows]
        feed = {"inputs": inputs, "lengths": lengths, "state": states}
        scores, states = self._session.run(["outputs", "state_out"], feed)
        return scores[:batch], States(states[:, :batch])

    def step(self, tokens: Ints, carried: States) -> Stepped:
        """See `Stepper`."""
        lengths = np.ones(len(tokens), np.int64)
        scores, after = self.begin(tokens[:, None, None], lengths, carried)
        if scores is None:
            raise ValueError("the graph gives no scores")
        return Stepped(scores, after)


class OnnxSequence:
    """An encoder's graph that reads the source, and a decoder's that writes the target looking back at it."""

    pieces = False

    def __init__(self, encoder: Any, decoder: Any) -> None:
        self._encoder, self._decoder = encoder, decoder
        self._rows, _, self._hidden = shapes_of(encoder, NEXT_INPUTS)["state"]
        shapes_of(decoder, DECODER_INPUTS)

    def initial(self, batch: int) -> States:
        """See `Stepper`."""
        return States(np.zeros((self._rows, batch, self._hidden), np.float32))

    def begin(self, inputs: Ints, lengths: Ints, carried: States) -> tuple[Floats | None, States]:
        """See `Stepper`."""
        feed = {"inputs": inputs, "lengths": lengths, "state": carried.states}
        memory, states = self._encoder.run(["outputs", "state_out"], feed)
        return None, States(states, memory, lengths)

    def step(self, tokens: Ints, carried: States) -> Stepped:
        """See `Stepper`."""
        feed = {"tokens": tokens[:, None], "state": carried.states}
        feed |= {"memory": carried.memory, "lengths": carried.lengths}
        scores, states, attention = self._decoder.run(["outputs", "state_out", "attention"], feed)
        return Stepped(scores, States(states, carried.memory, carried.lengths), attention)
