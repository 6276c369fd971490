"""Small networks in numpy that are asked step by step; each row is computed by itself, bit for bit."""

from typing import Any

import numpy as np

from app.arrays import Floats, Ints
from app.tasks.contract import END
from workers.decoding.onnx_model import States, StepOutput

WIDTH = 6


class Weights:
    """Random matrices of one seed."""

    def __init__(self, vocabulary: int, seed: int, sharpness: float) -> None:
        rng = np.random.default_rng(seed)
        self.read = rng.normal(size=(vocabulary, WIDTH))
        self.back = rng.normal(size=(WIDTH, WIDTH)) / np.sqrt(WIDTH)
        self.out = sharpness * rng.normal(size=(2 * WIDTH, vocabulary))

    def onward(self, state: Any, token: int) -> Any:
        return np.tanh(state @ self.back + self.read[token])


class Babbler:
    """A recurrent network that goes on from what it has read; notes how much it read and stepped at once."""

    chunked_prefill = True

    def __init__(
        self, vocabulary: int = 9, seed: int = 0, sharpness: float = 1.0, *, endless: bool = False
    ) -> None:
        self.weights = Weights(vocabulary, seed, sharpness)
        self.bias = np.zeros(vocabulary)
        self.bias[END] = -50 if endless else 0
        self.reads: list[tuple[int, ...]] = []
        self.steps: list[int] = []
        self.broken = False

    def initial_state(self, batch: int) -> States:
        return States(np.zeros((1, batch, WIDTH), np.float32))

    def prefill(self, inputs: Ints, lengths: Ints, carried: States) -> tuple[Floats | None, States]:
        self.reads.append(inputs.shape[:2])
        return self._read(inputs, lengths, carried)

    def step(self, tokens: Ints, carried: States) -> StepOutput:
        if self.broken:
            raise RuntimeError("no such kernel")
        self.steps.append(len(tokens))
        scores, after = self._read(tokens[:, None, None], np.ones(len(tokens), np.int64), carried)
        return StepOutput(scores, after)

    def _read(self, inputs: Ints, lengths: Ints, carried: States) -> tuple[Floats, States]:
        weights, after, scores = self.weights, carried.states.copy(), []
        for row, (tokens, length) in enumerate(zip(inputs[:, :, 0], lengths, strict=True)):
            state = after[0, row]
            for token in tokens[:length]:
                state = weights.onward(state, token).astype(np.float32)
            after[0, row] = state
            scores.append(state @ weights.out[:WIDTH] + self.bias)
        return np.array(scores, np.float32), States(after)

    def logits(self, tokens: list[int]) -> Any:
        """What follows some tokens, by itself."""
        inputs = np.array(tokens, np.int64)[None, :, None]
        return self._read(inputs, np.array([len(tokens)]), self.initial_state(1))[0][0]


class Interpreter:
    """An encoder whose memory is its source's tokens, and a recurrent decoder that attends to them."""

    chunked_prefill = False

    def __init__(self, vocabulary: int = 7, seed: int = 0, sharpness: float = 2.0) -> None:
        self.weights = Weights(vocabulary, seed, sharpness)
        self.steps: list[int] = []

    def initial_state(self, batch: int) -> States:
        return States(np.zeros((1, batch, WIDTH), np.float32))

    def prefill(self, inputs: Ints, lengths: Ints, carried: States) -> tuple[Floats | None, States]:
        memory = self.weights.read[inputs[:, :, 0]].astype(np.float32)  # padding is remembered too
        firsts = [row[:length].mean(axis=0) for row, length in zip(memory, lengths, strict=True)]
        return None, States(np.array([firsts], np.float32), memory, lengths)

    def step(self, tokens: Ints, carried: States) -> StepOutput:
        assert carried.memory is not None
        assert carried.lengths is not None
        self.steps.append(len(tokens))
        after = carried.states.copy()
        looked = np.zeros(carried.memory.shape[:2], np.float32)
        scores = []
        for row, token in enumerate(tokens):
            memory = carried.memory[row, : carried.lengths[row]]
            state = self.weights.onward(after[0, row], token).astype(np.float32)
            seen = softmax(memory @ state)
            after[0, row] = state
            looked[row, : len(seen)] = seen
            joined = np.concatenate([state, seen @ memory])
            scores.append(np.log(softmax(joined @ self.weights.out)))
        return StepOutput(
            np.array(scores, np.float32), States(after, carried.memory, carried.lengths), looked
        )


def softmax(logits: Any) -> Any:
    weights = np.exp(logits - logits.max())
    return weights / weights.sum()


def column(*tokens: int) -> Ints:
    """Tokens as inputs, (time, 1)."""
    return np.array(tokens, np.int64)[:, None]
