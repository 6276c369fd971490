"""One instance's way to the tokens that are found for it, and a step of many of them."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np

from app.tasks.contract import Floats, Found, Ints
from app.typedefs import Json
from workers.decoding.beam_search import Beam
from workers.decoding.onnx_model import Stepper
from workers.decoding.sampling import Sampler, Watcher, advance

Watch = Callable[[Json], Watcher | None]  # who watches what a search finds


def unwatched(search: Json) -> Watcher | None:
    """Nobody."""
    del search
    return None


@dataclass(frozen=True)
class Decoder:
    """A network that is asked step by step, and who watches its tokens."""

    stepper: Stepper
    watch: Watch = unwatched


@dataclass(frozen=True)
class Effort:
    """What was computed up to a time."""

    at: float = 0.0
    seconds: float = 0.0
    passes: int = 0
    quests: int = 0  # of all passes

    def __sub__(self, before: "Effort") -> "Effort":
        """What was computed since."""
        return Effort(
            self.at,
            self.seconds - before.seconds,
            self.passes - before.passes,
            self.quests - before.quests,
        )


class Quest:
    """One instance on its way to what is found for it."""

    def __init__(self, inputs: Ints, search: Json, watch: Watch = unwatched) -> None:
        self.seeker: Sampler | Beam
        if "beam_size" in search:
            self.seeker, self.rows = Beam(search, len(inputs)), int(search["beam_size"])
        else:
            self.seeker, self.rows = Sampler(search, watch(search)), 1
            begun = np.array(self.seeker.tokens, np.int64)[:, None]
            inputs = np.concatenate([inputs, begun]) if len(begun) else inputs
        self.inputs = inputs  # (time, features)
        self.read = 0  # steps of the inputs
        self.carried: Any = None  # after those, until it takes part in the steps
        self.begun: Effort | None = None  # what had been computed before its first pass

    @property
    def found(self) -> Found | None:
        """What was found, once it has ended."""
        return self.seeker.found


def choose(
    quests: list[Quest], scores: Floats, attention: Floats | None, carried: Any
) -> tuple[list[Quest], Any]:
    """Have each choose by its rows of scores (rows, vocabulary); those that go on, and what they carry."""
    counts = [quest.seeker.width for quest in quests]
    starts = list(accumulate(counts, initial=0))
    samplers: list[Sampler] = []
    places: list[int] = []
    for quest, start, end in zip(quests, starts, starts[1:], strict=False):
        if isinstance(quest.seeker, Sampler):
            samplers.append(quest.seeker)
            places.append(start)
        else:
            quest.seeker.advance(scores[start:end], None if attention is None else attention[start:end])
    if samplers:
        advance(samplers, scores if len(samplers) == len(scores) else scores[places])
    left = [quest for quest in quests if quest.found is None]
    rows = [
        start + parent
        for quest, start in zip(quests, starts, strict=False)
        for parent in quest.seeker.parents
    ]
    if len(left) < len(quests) or any(
        len(quest.seeker.parents) != count for quest, count in zip(quests, counts, strict=True)
    ):
        return left, carried.take(np.array(rows, np.int64)) if left else None
    if rows == list(range(starts[-1])):
        return left, carried
    return left, carried.shuffle(np.array(rows, np.int64))
