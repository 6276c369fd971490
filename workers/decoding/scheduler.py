"""Decoding step by step: everything that is under way with one network advances together.

Whoever comes is read and joins at the next step, whoever has ended leaves: no sequence waits for the end of
another (continuous batching: Yu et al. 2022, "Orca").
"""

import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from app.tasks.contract import Floats, Found, Ints
from app.typedefs import Json
from workers.decoding.onnx_model import Stepper
from workers.decoding.sequence import Decoder, Effort, Quest, choose

PIECE = 256  # tokens of one input that are read at once, where it can be read in pieces
SHORTEST, READERS = 8, 32  # where many wait, shorter pieces of more inputs are read in less time
READ_SECONDS = 0.03  # how long those under way may wait for what others read
FEWEST, MOST = 64, 1 << 14  # tokens that are read at once, whatever that takes
TOGETHER = 1 << 12  # the same where nobody waits
ROWS = 256  # of a step


class Crowd:
    """All quests of one network. `read` and `step` in turn bring them on; `rows` bounds a step.

    So many `tokens` are read at once, or as many as it does not take long to read.
    """

    def __init__(
        self,
        stepper: Stepper,
        clock: Callable[[], float] = time.time,
        rows: int = ROWS,
        tokens: int | None = None,
    ) -> None:
        self._stepper, self._clock, self._most, self._tokens = stepper, clock, rows, tokens
        self._waiting: deque[Quest] = deque()  # inputs not read to their end
        self._live: list[Quest] = []  # in the order of their rows
        self._carried: Any = None  # of those rows
        self._token_seconds = READ_SECONDS / PIECE  # what reading one takes, as last seen
        self.effort = Effort()  # so far

    def __len__(self) -> int:
        return len(self._waiting) + len(self._live)

    def add(self, quest: Quest) -> None:
        """Take a quest, unless it has ended already."""
        if quest.found is None:
            self._waiting.append(quest)

    def drop(self, quests: Iterable[Quest]) -> None:
        """Forget quests."""
        dropped = set(map(id, quests))
        self._waiting = deque(quest for quest in self._waiting if id(quest) not in dropped)
        if any(id(quest) in dropped for quest in self._live):
            kept, rows, place = [], list[int](), 0
            for quest in self._live:
                count = quest.seeker.width
                if id(quest) not in dropped:
                    kept.append(quest)
                    rows += range(place, place + count)
                place += count
            self._live, self._carried = kept, self._carried.take(np.array(rows, np.int64))

    def read(self) -> bool:
        """Read a part of what waits, as much as nobody minds; whether anything was read."""
        quests = self._next()
        if not quests:
            return False
        piece = self._piece(len(quests))
        pieces = [quest.inputs[quest.read : quest.read + piece] for quest in quests]
        lengths = np.array([len(some) for some in pieces], np.int64)  # (batch,)
        inputs = np.zeros((len(pieces), lengths.max(), pieces[0].shape[1]), np.int64)
        for row, some in zip(inputs, pieces, strict=True):
            row[: len(some)] = some
        first, *others = [quest.carried or self._stepper.initial(1) for quest in quests]
        now = replace(self.effort, at=self._clock())
        for quest in quests:
            quest.begun = quest.begun or now
        begun = time.perf_counter()
        scores, carried = self._stepper.begin(inputs, lengths, first.join(others) if others else first)
        self._token_seconds = (time.perf_counter() - begun) / inputs[:, :, 0].size
        self._sort(quests, lengths, scores, carried)
        self._note(begun, len(quests))
        return True

    def step(self) -> bool:
        """One more token for all whose inputs are read; whether there are any."""
        quests = self._live
        if not quests:
            return False
        tokens = np.array([token for quest in quests for token in quest.seeker.feed], np.int64)  # (rows,)
        begun = time.perf_counter()
        scores, carried, attention = self._stepper.step(tokens, self._carried)
        self._live, self._carried = choose(quests, scores, attention, carried)
        self._note(begun, len(quests))
        return True

    @property
    def room(self) -> int:
        """Rows that may still join."""
        return self._most - sum(quest.rows for quest in self._live)

    def _note(self, begun: float, quests: int) -> None:
        sofar = self.effort
        seconds = sofar.seconds + time.perf_counter() - begun
        self.effort = Effort(0.0, seconds, sofar.passes + 1, sofar.quests + quests)

    def _budget(self) -> int:
        """Tokens that are read at once, padding included."""
        if self._tokens is not None:
            return self._tokens
        return int(np.clip(READ_SECONDS / self._token_seconds, FEWEST, MOST))

    def _piece(self, inputs: int) -> int:
        """Tokens of each of so many inputs that are read at once."""
        if not self._stepper.pieces:
            return sys.maxsize
        return int(np.clip(self._budget() // inputs, SHORTEST, PIECE))

    def _next(self) -> list[Quest]:
        """Who is read next: the first, and those behind it that fit in."""
        room, budget = self.room, self._budget()
        found: list[Quest] = []
        longest = SHORTEST
        while self._waiting and len(found) < READERS:
            quest = self._waiting[0]
            if not self._stepper.pieces:
                longest = max(longest, len(quest.inputs))
            room -= quest.rows
            if room < 0 and (found or self._live):
                break
            if found and longest * (len(found) + 1) > budget:
                break
            found.append(self._waiting.popleft())
        return found

    def _sort(self, quests: list[Quest], lengths: Ints, scores: Floats | None, carried: Any) -> None:
        """After a piece of each was read: those that are read to their end take part in the steps."""
        done = []
        for row, (quest, length) in enumerate(zip(quests, lengths.tolist(), strict=True)):
            quest.read += length
            if quest.read == len(quest.inputs):
                quest.carried = None
                done.append(row)
            else:
                quest.carried = carried.take(np.array([row]))
                self._waiting.append(quest)  # behind the others: short ones need not wait for a long one
        rows, joining = np.array(done, np.int64), [quests[row] for row in done]
        if joining and len(done) < len(quests):
            carried = carried.take(rows)
        if joining and scores is not None:
            joining, carried = choose(joining, scores[rows], None, carried)
        if joining:
            self._carried = self._carried.join([carried]) if self._live else carried
            self._live = [*self._live, *joining]


def decode_all(
    decoder: Decoder, inputs: Sequence[Ints], searches: Sequence[Json], rows: int = ROWS
) -> list[Found]:
    """What is found for each of many inputs (time, features), with steps of up to `rows` rows."""
    found = dict(decode_each(decoder, inputs, searches, rows))
    return [found[index] for index in range(len(inputs))]


def decode_each(
    decoder: Decoder, inputs: Sequence[Ints], searches: Sequence[Json], rows: int = ROWS
) -> Iterator[tuple[int, Found]]:
    """The same one by one, as each is found, with its number.

    The same inputs and searches in the same order give the same, bit for bit.
    """
    order = sorted(range(len(inputs)), key=lambda index: len(inputs[index]))
    crowd = Crowd(decoder.stepper, rows=rows, tokens=TOGETHER)
    under_way: dict[int, Quest] = {}
    for index in order:
        under_way[index] = Quest(inputs[index], searches[index], decoder.watch)
        crowd.add(under_way[index])
    while under_way:
        if crowd.room > rows // 4:  # what joins has all others copied
            crowd.read()
        crowd.step()
        for index in [index for index, quest in under_way.items() if quest.found is not None]:
            if (found := under_way.pop(index).found) is not None:
                yield index, found
