"""The demos of tasks on text: a small network on a small sample, its answers beside what people wrote."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from rich.text import Text

from app.cli.client import Client
from app.cli.commands.train import upload
from app.cli.console import comparison, output
from app.cli.demo import readable
from app.cli.demo.steps import SAMPLES, Lost, by_hand, learn
from app.typedefs import Json

SHOWN = 3  # predictions


@dataclass(frozen=True)
class Demo:
    """What is learned from which sample, what decides, and what is shown."""

    task: str
    sample: str
    learns: str  # what, in a few words
    baseline: str  # who is the opponent
    metric: str
    network: Json
    training: Json
    options: Json = field(default_factory=dict)
    falls: bool = False  # whether less of the metric is better
    wins: bool = True  # whether it beats the baseline with every seed, as far as was tried
    ask: Callable[[Json], Json] = lambda row: {"text": row["text"]}  # a row of the sample as an instance
    chosen: Callable[[Json], bool] = lambda _: True  # which rows are worth showing
    shown: Callable[[Json, Json], Text] | None = None  # None: the answer is streamed
    prompts: list[str] = field(default_factory=list)
    parameters: Json = field(default_factory=dict)

    @property
    def path(self) -> Path:
        """Where the sample is."""
        return SAMPLES / self.sample

    def wanted(self, dataset: str) -> Json:
        """The job to submit."""
        job = {"task": self.task, "dataset": dataset, "model": f"demo-{self.task}"}
        return job | {"network": self.network, "training": self.training, "options": self.options}

    def rows(self) -> list[Json]:
        """Some examples that the network has not seen; prompts where it goes on by itself."""
        if self.prompts:
            return [{"prompt": prompt} for prompt in self.prompts]
        with self.path.open(encoding="utf-8") as file:
            held_out = [row for row in map(json.loads, file) if row["split"] == "test" and self.chosen(row)]
        return held_out[:: len(held_out) // SHOWN][:SHOWN]  # from all over the file

    def better(self, version: Json) -> bool:
        """Whether the network beats the baseline on data it never saw."""
        ours, theirs = version["metrics"][self.metric], version["baseline"][self.metric]
        return bool(ours < theirs if self.falls else ours > theirs)


def show(url: str, demo: Demo) -> None:
    """Upload, train, compare and predict; raises `Lost` when a network loses that should not."""
    with Client(url) as client:
        dataset = upload(client, demo.path, demo.task, {})
        output().print(f"Uploaded {demo.sample} as {dataset['id']}: {demo.learns}", soft_wrap=True)
        job = learn(client, demo.wanted(dataset["id"]))
        version = client.version(job["model"], job["model_version"])
        comparison(version, against=demo.baseline)
        rows = demo.rows()
        output().print(f"\n{job['model']} on what it never saw:", style="bold")
        answer(client, demo, job["model"], rows)
    for line in curls(url, demo, job, rows[0]):
        output().print(line, soft_wrap=True, markup=False)
    verdict(demo, version)


def answer(client: Client, demo: Demo, model: str, rows: list[Json]) -> None:
    """Print what the network says to each row, as it comes where it is streamed."""
    if demo.shown is None:
        for row in rows:
            output().print(Text.assemble("> ", (row["prompt"], readable.MARK)), end="", soft_wrap=True)
            for event in client.stream(model, row, demo.parameters):
                output().print(Text(event.get("text", "")), end="", soft_wrap=True)
            output().print("\n")
        return
    found = client.predict(model, [demo.ask(row) for row in rows], demo.parameters)
    for row, prediction in zip(rows, found["predictions"], strict=True):
        output().print(demo.shown(row, prediction), soft_wrap=True)


def verdict(demo: Demo, version: Json) -> None:
    """Say who is better; raises `Lost` when a network loses that should not."""
    ours, theirs = version["metrics"][demo.metric], version["baseline"][demo.metric]
    figures = f"{demo.metric} {ours:.4g} against {theirs:.4g}"
    if demo.better(version):
        better = f"\nThe network is better than {demo.baseline}: {figures}."
        output().print(better, style="bold green", soft_wrap=True)
    elif demo.wins:
        raise Lost(f"the network is not better: {figures}")
    else:
        why = f"{demo.baseline} is hard to beat with so little data and so short a training"
        output().print(f"\nThe network is not better: {figures}; {why}.", style="yellow", soft_wrap=True)


def curls(url: str, demo: Demo, job: Json, row: Json) -> Iterator[str]:
    """The same steps by hand, with the ids of this run."""
    asked: Json = {"instances": [row if demo.prompts else demo.ask(row)]}
    if demo.shown is None:
        asked["parameters"] = demo.parameters | {"stream": True}
    return by_hand(url, demo.path, demo.wanted(job["dataset"]), job, asked)


CLASSIFICATION = Demo(
    task="classification",
    sample="movie_snippets.jsonl",
    learns="sentences of film reviews, praise or not",
    baseline="naive Bayes",
    metric="accuracy",
    network={},
    training={"epochs": 6, "seed": 7},
    wins=False,
    shown=readable.label,
)
TAGGING = Demo(
    task="tagging",
    sample="wnut16_ner.jsonl",
    learns="tweets in which people marked persons, places, companies and so on",
    baseline="the most frequent tag",
    metric="f1",
    network={"hidden_size": 64},
    training={"epochs": 20, "batch_size": 24, "learning_rate": 0.006, "seed": 7},
    ask=lambda row: {"tokens": row["tokens"]},
    chosen=lambda row: len({tag for tag in row["tags"] if tag.startswith("B-")}) > 1,
    shown=readable.entities,
)
GENERATION = Demo(
    task="generation",
    sample="shakespeare.jsonl",
    learns="three comedies, in pairs of bytes; the beginning of The Tempest is held out",
    baseline="a 5-gram model",
    metric="bits_per_character",
    falls=True,
    network={"cell": "gru", "hidden_size": 192},
    training={"epochs": 4, "batch_size": 16, "learning_rate": 0.006, "seed": 7},
    prompts=["PROSPERO.\n", "O, she is "],
    parameters={"max_tokens": 240, "temperature": 0.7, "seed": 7},
)
TRANSLATION = Demo(
    task="translation",
    sample="bible_en_es.jsonl",
    learns="short verses of the Bible in English and Spanish",
    baseline="a dictionary",
    metric="bleu",
    network={"hidden_size": 128, "embedding_size": 128},
    training={"epochs": 8, "learning_rate": 0.004, "seed": 7},
    options={"vocabulary_size": 2000},
    ask=lambda row: {"text": row["source"]},
    shown=readable.translation,
)
DEMOS = {demo.task: demo for demo in (CLASSIFICATION, TAGGING, GENERATION, TRANSLATION)}
