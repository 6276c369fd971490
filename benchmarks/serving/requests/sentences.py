"""Models of text, trained for seconds with the default architecture, and real sentences to ask them about."""

import statistics
from pathlib import Path

import orjson

from app.typedefs import Json
from benchmarks.serving.requests.reader import Reader
from benchmarks.serving.requests.versions import Made, Row, ask, thinned
from tests.support.factories.default_jobs import train_with_defaults

SENTENCES = 400  # different ones that are asked about
HELD_OUT = 60  # examples of each split that training does not learn from
ROWS = (
    Row("sentiment", "classification", "movie_snippets", 1500, 2),
    Row("tagging", "tagging", "wnut16_ner", 800, 6),
)


def describe(made: Made) -> str:
    """What is asked, in a sentence."""
    row, steps, sizes = made.row, made.corpus.steps, [len(body) for body in made.corpus.bodies]
    entities = [output["entities"] for output in made.corpus.outputs if "entities" in output]  # type: ignore[call-overload]
    result = f", {sum(map(bool, entities)) / len(entities):.0%} with an entity" if entities else ""
    return (
        f"{row.name} ({row.data}, {made.parameters:,} parameters): {len(steps)} sentences of "
        f"{statistics.median(steps):.0f} tokens (median; {min(steps)} to {max(steps)}), "
        f"{statistics.mean(sizes):.0f} bytes a request{result}"
    )


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
        *thinned(parts["test"], HELD_OUT),
    ]
    file = directory / "slice.jsonl"
    file.write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in learned))
    trained = train_with_defaults(row.task, file, directory, epochs=row.epochs)
    others = {sentence(line): None for line in [*parts["test"], *parts["valid"]]}
    instances = [{"text": text} for text in thinned(list(others), SENTENCES)]
    return Made(row, directory / "out", ask(Reader(directory / "out"), instances), trained.parameters)
