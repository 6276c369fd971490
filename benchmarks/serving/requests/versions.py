"""Versions for the benchmark: trained for a short time on a slice of real data, with requests and answers."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import msgspec
import numpy as np
import orjson

from app.hyperparameters.options import NETWORK, TRAINING
from app.ingest.readers import Mapping, open_source
from app.tasks import TASKS
from app.tasks.source import Faults
from app.typedefs import Json
from benchmarks.serving.generator.messages import Corpus
from benchmarks.serving.requests.reader import Reader, reply
from workers.training.run import train
from workers.training.stages import TrainSpec

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


def learn(row: Row, file: Path, directory: Path) -> int:
    """Leave an artifact in the directory; how many parameters the network has."""
    task, faults = TASKS[row.task], Faults()
    reading = task.read(open_source(file, file.suffix[1:], Mapping({}), faults), faults)
    faults.check()
    np.savez(directory / "arrays.npz", allow_pickle=False, **reading.arrays)
    options = task.options()
    defaults = task.defaults(reading.summary, options)
    training = TRAINING | defaults.training | {"epochs": row.epochs, "device": "cpu"}
    spec = TrainSpec(row.task, NETWORK | defaults.network, training, options.model_dump(mode="json"))
    out = directory / "artifact"
    return train(spec, directory, out, on=lambda _: None, should_stop=lambda: False).parameters


def ask(reader: Reader, instances: Sequence[Json]) -> Corpus:
    """A request of one instance each, with what the model's files say of it alone."""
    corpus = Corpus([], [], [])
    for instance in instances:
        prediction, steps = reader.read(instance)
        corpus.bodies.append(msgspec.json.encode({"instances": [instance]}))
        corpus.outputs.append(orjson.loads(reply(prediction))["predictions"][0])
        corpus.steps.append(steps)
    return corpus
