"""Models of text, trained for seconds with the default architecture, and real sentences to ask them about."""

import statistics
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
from benchmarks.serving.reader import Reader, reply
from workers.training.run import train
from workers.training.stages import TrainSpec

One = TypeVar("One")

SENTENCES = 400  # different ones that are asked about
HELD_OUT = 60  # examples of each split that training does not learn from


@dataclass(frozen=True)
class Row:
    """A task on a data set; a slice of it is enough, since speed does not depend on quality."""

    name: str  # also the model's
    task: str
    data: str
    examples: int  # to learn from, at most
    epochs: int


ROWS = (
    Row("sentiment", "classification", "movie_snippets", 1500, 2),
    Row("tagging", "tagging", "wnut16_ner", 800, 6),
)


@dataclass(frozen=True)
class Made:
    """A model's files, and the requests for it with their answers."""

    row: Row
    artifact: Path
    corpus: Corpus
    parameters: int

    def line(self) -> str:
        """What is asked, in a sentence."""
        steps, sizes = self.corpus.steps, [len(body) for body in self.corpus.bodies]
        entities = [output["entities"] for output in self.corpus.outputs if "entities" in output]  # type: ignore[call-overload]
        result = f", {sum(map(bool, entities)) / len(entities):.0%} with an entity" if entities else ""
        return (
            f"{self.row.name} ({self.row.data}, {self.parameters:,} parameters): {len(steps)} sentences of "
            f"{statistics.median(steps):.0f} tokens (median; {min(steps)} to {max(steps)}), "
            f"{statistics.mean(sizes):.0f} bytes a request{result}"
        )


def thinned(some: Sequence[One], most: int) -> list[One]:
    """At most so many, evenly from the first to the last."""
    count = min(most, len(some))
    return [some[number * len(some) // count] for number in range(count)]


def sentence(line: Json) -> str:
    """An example's text; tokens are joined by spaces."""
    return str(line["text"]) if "text" in line else " ".join(line["tokens"])


def telling(line: Json) -> bool:
    """Whether an example has something to find: so entities are learned soon, and answers have some."""
    return "tags" not in line or any(tag != "O" for tag in line["tags"])


def make(row: Row, data: Path, directory: Path) -> Made:
    """Train on a slice of a file, and ask about sentences that were not learned from."""
    if not data.exists():
        raise SystemExit(f"{data} is not on this machine: set RECURRA_SHARED_DATA to where the data is.")
    lines: list[Json] = [orjson.loads(line) for line in data.read_bytes().splitlines()]
    parts = {mark: [line for line in lines if line["split"] == mark] for mark in ("train", "valid", "test")}
    directory.mkdir()
    learned = [
        *thinned(list(filter(telling, parts["train"])), row.examples),
        *thinned(parts["valid"], HELD_OUT),
    ]
    parameters = learn(row, [*learned, *thinned(parts["test"], HELD_OUT)], directory)
    others = {sentence(line): None for line in [*parts["test"], *parts["valid"]]}
    corpus = ask(Reader(directory / "artifact"), thinned(list(others), SENTENCES))
    return Made(row, directory / "artifact", corpus, parameters)


def learn(row: Row, lines: Sequence[Json], directory: Path) -> int:
    """Leave an artifact in the directory; how many parameters the network has."""
    task, faults, file = TASKS[row.task], Faults(), directory / "slice.jsonl"
    file.write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in lines))
    reading = task.read(open_source(file, "jsonl", Mapping({}), faults), faults)
    faults.check()
    np.savez(directory / "arrays.npz", allow_pickle=False, **reading.arrays)
    options = task.options()
    defaults = task.defaults(reading.summary, options)
    training = TRAINING | defaults.training | {"epochs": row.epochs, "device": "cpu"}
    spec = TrainSpec(row.task, NETWORK | defaults.network, training, options.model_dump(mode="json"))
    out = directory / "artifact"
    return train(spec, directory, out, on=lambda _: None, should_stop=lambda: False).parameters


def ask(reader: Reader, sentences: Sequence[str]) -> Corpus:
    """A request of one sentence each, with what the model's files say of it alone."""
    corpus = Corpus([], [], [])
    for text in sentences:
        prediction, steps = reader.read({"text": text})
        corpus.bodies.append(msgspec.json.encode({"instances": [{"text": text}]}))
        corpus.outputs.append(orjson.loads(reply(prediction))["predictions"][0])
        corpus.steps.append(steps)
    return corpus
