"""Versions for the benchmark: trained for a short time on a slice of real data, with requests and answers."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import msgspec
import orjson

from app.typedefs import Json
from benchmarks.serving.generator.messages import Corpus
from benchmarks.serving.requests.reader import Reader, reply

One = TypeVar("One")


@dataclass(frozen=True)
class Row:
    """A task on a data set; a slice of it is enough, since speed hardly depends on quality."""

    name: str  # also the model's
    task: str
    data: str
    examples: int  # to learn from, at most
    epochs: int


@dataclass(frozen=True)
class Made:
    """A model's files, and the requests for it with their answers."""

    row: Row
    artifact: Path
    corpus: Corpus
    parameters: int


def thinned(some: Sequence[One], most: int) -> list[One]:
    """At most so many, evenly from the first to the last."""
    count = min(most, len(some))
    return [some[number * len(some) // count] for number in range(count)]


def ask(reader: Reader, instances: Sequence[Json]) -> Corpus:
    """A request of one instance each, with what the model's files say of it alone."""
    corpus = Corpus([], [], [])
    for instance in instances:
        prediction, steps = reader.read(instance)
        corpus.bodies.append(msgspec.json.encode({"instances": [instance]}))
        corpus.outputs.append(orjson.loads(reply(prediction))["predictions"][0])
        corpus.steps.append(steps)
    return corpus
