"""Continuous batching: all sequences that are decoded with one network advance together.

A new sequence is prefilled and joins at the next step, one that has ended leaves: no sequence waits for the
end of another (Yu et al. 2022, "Orca").
"""

import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from app.arrays import Floats, Ints
from app.tasks.contract import DecodedTokens
from app.typedefs import Json
from workers.decoding.onnx_model import StepModel
from workers.decoding.sequence import ComputeUsage, Decoder, DecodingSequence, choose_tokens

CHUNK_TOKENS = 256  # tokens of one input in a prefill, where the model takes inputs in chunks
MIN_CHUNK_TOKENS = 8  # the same where many inputs share a prefill
MAX_PREFILL_SEQUENCES = 32
PREFILL_SECONDS = 0.03  # time that a prefill may keep running sequences from their next step
MIN_PREFILL_TOKENS, MAX_PREFILL_TOKENS = 64, 1 << 14  # bounds of what is read in that time
OFFLINE_PREFILL_TOKENS = 1 << 12  # tokens of a prefill where nobody waits for the next step
MAX_STEP_ROWS = 256


class ContinuousBatch:
    """Continuous batch for one model. Call `prefill` and `step` alternately.

    `rows` bounds a step. `tokens` caps a prefill; by default it is sized to about 30 ms.
    """

    def __init__(
        self,
        model: StepModel,
        clock: Callable[[], float] = time.time,
        rows: int = MAX_STEP_ROWS,
        tokens: int | None = None,
    ) -> None:
        self._model, self._clock, self._max_rows, self._tokens = model, clock, rows, tokens
        self._waiting: deque[DecodingSequence] = deque()  # not prefilled to their end
        self._running: list[DecodingSequence] = []  # in the order of their rows
        self._state: Any = None  # of those rows
        self._token_seconds = PREFILL_SECONDS / CHUNK_TOKENS  # to read one token, as last measured
        self.usage = ComputeUsage()  # up to now

    def __len__(self) -> int:
        return len(self._waiting) + len(self._running)

    def add(self, sequence: DecodingSequence) -> None:
        """Queue a sequence for prefill, unless it has ended already."""
        if sequence.result is None:
            self._waiting.append(sequence)

    def remove(self, sequences: Iterable[DecodingSequence]) -> None:
        """Stop decoding these sequences."""
        removed = set(map(id, sequences))
        self._waiting = deque(sequence for sequence in self._waiting if id(sequence) not in removed)
        if any(id(sequence) in removed for sequence in self._running):
            running, rows, start = [], list[int](), 0
            for sequence in self._running:
                end = start + sequence.strategy.width
                if id(sequence) not in removed:
                    running.append(sequence)
                    rows += range(start, end)
                start = end
            self._running, self._state = running, self._state.select(np.array(rows, np.int64))

    def prefill(self) -> bool:
        """Read a chunk of waiting inputs; false when nothing waits or fits."""
        sequences = self._next_to_prefill()
        if not sequences:
            return False
        size = self._chunk_tokens(len(sequences))
        chunks = [one.inputs[one.prefilled : one.prefilled + size] for one in sequences]
        lengths = np.array([len(chunk) for chunk in chunks], np.int64)  # (batch,)
        inputs = np.zeros((len(chunks), lengths.max(), chunks[0].shape[1]), np.int64)
        for row, chunk in zip(inputs, chunks, strict=True):
            row[: len(chunk)] = chunk
        first, *others = [one.state or self._model.initial_state(1) for one in sequences]
        now = replace(self.usage, at=self._clock())
        for sequence in sequences:
            sequence.started = sequence.started or now
        begun = time.perf_counter()
        scores, state = self._model.prefill(inputs, lengths, first.concat(others) if others else first)
        self._token_seconds = (time.perf_counter() - begun) / inputs[:, :, 0].size
        self._join_prefilled(sequences, lengths, scores, state)
        self._record(begun, len(sequences))
        return True

    def step(self) -> bool:
        """Decode one more token of every running sequence; false when none runs."""
        sequences = self._running
        if not sequences:
            return False
        tokens = np.array([token for one in sequences for token in one.strategy.feed], np.int64)  # (rows,)
        begun = time.perf_counter()
        scores, state, attention = self._model.step(tokens, self._state)
        self._running, self._state = choose_tokens(sequences, scores, attention, state)
        self._record(begun, len(sequences))
        return True

    @property
    def free_rows(self) -> int:
        """Rows of a step that sequences may still join."""
        return self._max_rows - sum(sequence.max_rows for sequence in self._running)

    def _record(self, begun: float, sequences: int) -> None:
        before = self.usage
        seconds = before.seconds + time.perf_counter() - begun
        self.usage = ComputeUsage(0.0, seconds, before.passes + 1, before.sequences + sequences)

    def _prefill_tokens(self) -> int:
        """Most tokens of a prefill, padding included."""
        if self._tokens is not None:
            return self._tokens
        return int(np.clip(PREFILL_SECONDS / self._token_seconds, MIN_PREFILL_TOKENS, MAX_PREFILL_TOKENS))

    def _chunk_tokens(self, sequences: int) -> int:
        """Most tokens of each of so many sequences in one prefill."""
        if not self._model.chunked_prefill:
            return sys.maxsize
        return int(np.clip(self._prefill_tokens() // sequences, MIN_CHUNK_TOKENS, CHUNK_TOKENS))

    def _next_to_prefill(self) -> list[DecodingSequence]:
        """The first waiting sequence, and those behind it that fit in."""
        free_rows, budget = self.free_rows, self._prefill_tokens()
        chosen: list[DecodingSequence] = []
        longest = MIN_CHUNK_TOKENS
        while self._waiting and len(chosen) < MAX_PREFILL_SEQUENCES:
            sequence = self._waiting[0]
            if not self._model.chunked_prefill:
                longest = max(longest, len(sequence.inputs))
            free_rows -= sequence.max_rows
            if free_rows < 0 and (chosen or self._running):
                break
            if chosen and longest * (len(chosen) + 1) > budget:
                break
            chosen.append(self._waiting.popleft())
        return chosen

    def _join_prefilled(
        self, sequences: list[DecodingSequence], lengths: Ints, scores: Floats | None, state: Any
    ) -> None:
        """After a chunk of each was read: those that are prefilled to their end run from now on."""
        done = []
        for row, (sequence, length) in enumerate(zip(sequences, lengths.tolist(), strict=True)):
            sequence.prefilled += length
            if sequence.prefilled == len(sequence.inputs):
                sequence.state = None
                done.append(row)
            else:
                sequence.state = state.select(np.array([row]))
                self._waiting.append(sequence)  # behind the others: short ones need not wait for a long one
        rows, joining = np.array(done, np.int64), [sequences[row] for row in done]
        if joining and len(done) < len(sequences):
            state = state.select(rows)
        if joining and scores is not None:
            joining, state = choose_tokens(joining, scores[rows], None, state)
        if joining:
            self._state = self._state.concat([state]) if self._running else state
            self._running = [*self._running, *joining]


def decode_all(
    decoder: Decoder, inputs: Sequence[Ints], decodings: Sequence[Json], rows: int = MAX_STEP_ROWS
) -> list[DecodedTokens]:
    """The decoded tokens of many inputs (time, features), in their order; steps have up to `rows` rows."""
    results = dict(decode_each(decoder, inputs, decodings, rows))
    return [results[index] for index in range(len(inputs))]


def decode_each(
    decoder: Decoder, inputs: Sequence[Ints], decodings: Sequence[Json], rows: int = MAX_STEP_ROWS
) -> Iterator[tuple[int, DecodedTokens]]:
    """The index and the decoded tokens of each input, as each ends.

    The same inputs and decoding settings in the same order give the same tokens, bit for bit.
    """
    order = sorted(range(len(inputs)), key=lambda index: len(inputs[index]))
    batch = ContinuousBatch(decoder.model, rows=rows, tokens=OFFLINE_PREFILL_TOKENS)
    unfinished: dict[int, DecodingSequence] = {}
    for index in order:
        unfinished[index] = DecodingSequence(inputs[index], decodings[index], decoder.stop_criteria)
        batch.add(unfinished[index])
    while unfinished:
        if batch.free_rows > rows // 4:  # a sequence that joins has the state of all others copied
            batch.prefill()
        batch.step()
        for index in [index for index, sequence in unfinished.items() if sequence.result is not None]:
            if (result := unfinished.pop(index).result) is not None:
                yield index, result
