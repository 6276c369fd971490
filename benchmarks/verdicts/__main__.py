"""The verdicts of trainings whose answer stands many steps before the end, through the service.

The adding problem, a copy and the latch (Hochreiter & Schmidhuber 1997; Bengio, Simard & Frasconi 1994) at
lags of 20, 100 and 400 steps, among noise, learned by a vanilla RNN, an LSTM and a GRU with default options
but for one direction and the last state instead of all of them, which would shorten the way.
"""

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import orjson

from benchmarks.report import table, write
from benchmarks.stack import checked, stack, train, upload
from tests.support.factories.planted import plant

TASKS, LAGS, CELLS, SEEDS = ("adding", "copy", "latch"), (20, 100, 400), ("rnn", "lstm", "gru"), (0, 1)
CHANCE = {"adding": 0.5, "copy": 0.25, "latch": 0.5}
PARTS = {"train": 1000, "valid": 250, "test": 250}
FORGETFUL = {"vanishing", "exploding"}
TEXT = """## Verdicts on long lags

Planted tasks, whose answer stands so many steps before the end of {rows:,} sequences among noise: adding,
copy, latch. Each is learned by three cells with two seeds and default options, in one direction and read from
the last state. A verdict is right where an LSTM or a GRU is `ok`, and where a vanilla RNN is `vanishing` or
`exploding`, or has learned the task and is `ok`. Learned is an accuracy on the test part that is nearer to 1
than to chance. **{right} of {count} are right.**

{rows_of_lags}

Wrong: {wrong}."""


@dataclass(frozen=True)
class Run:
    """A training and what its diagnostics say."""

    task: str
    lag: int
    cell: str
    accuracy: float
    verdict: str
    memory_length: int
    seconds: float

    @property
    def learned(self) -> bool:
        """Whether the accuracy is nearer to 1 than to chance."""
        return self.accuracy > (1 + CHANCE[self.task]) / 2

    @property
    def right(self) -> bool:
        """Whether the verdict tells the vanilla RNN from the gated cells."""
        if self.cell == "rnn" and not self.learned:
            return self.verdict in FORGETFUL
        return self.verdict == "ok"


def write_task(path: Path, task: str, lag: int, seed: int) -> None:
    """Write sequences of a planted task, with their parts."""
    rng = np.random.default_rng((seed, lag, TASKS.index(task)))
    with path.open("wb") as file:
        for part, rows in PARTS.items():
            for _ in range(rows):
                one = plant(task, rng, lag)
                values = one.inputs[0].numpy().round(4).astype(float).tolist()
                row = {"values": values, "label": f"answer {int(one.labels[0])}", "split": part}
                file.write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))


def runs(http: httpx.Client, directory: Path, chosen: argparse.Namespace) -> Iterator[Run]:
    """Train each cell on each task."""
    for lag in chosen.lags:
        for task in TASKS:
            for seed in chosen.seeds:
                path = directory / f"{task}-{lag}-{seed}.jsonl"
                write_task(path, task, lag, seed)
                dataset = upload(http, path, task="classification")
                for cell in chosen.cells:
                    yield _run(http, dataset, task, lag, cell, seed)


def _run(http: httpx.Client, dataset: str, task: str, lag: int, cell: str, seed: int) -> Run:
    """Train once, and read the diagnostics."""
    network = {"cell": cell, "bidirectional": False, "pooling": "last"}
    body = {"task": "classification", "dataset": dataset, "model": f"{task}-{cell}", "network": network}
    job, seconds = train(http, body | {"training": {"seed": seed}})
    found = checked(http.get(f"/v1/jobs/{job['id']}/diagnostics"))
    accuracy = float(job["metrics"]["accuracy"])
    memory = int(found["epochs"][-1]["memory_length"])
    return Run(task, lag, cell, accuracy, str(found["verdict"]), memory, seconds)


def rows_of(found: Sequence[Run]) -> Iterator[list[object]]:
    """A row for each lag and task: accuracy, memory length and verdict of each cell, seed after seed."""
    for lag in dict.fromkeys(run.lag for run in found):
        for task in TASKS:
            group = [run for run in found if (run.lag, run.task) == (lag, task)]
            yield [lag, task, *(_shown([run for run in group if run.cell == cell]) for cell in CELLS)]


def _shown(seeds: Sequence[Run]) -> str:
    """Accuracies, memory lengths and verdicts of the same training with several seeds."""
    figures = (f"{run.accuracy:.2f}, {run.memory_length} steps, `{run.verdict}`" for run in seeds)
    return "; ".join(figures)


def main() -> None:
    """Run and write the section; some lags or seeds only print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.verdicts", description=__doc__)
    parser.add_argument("--lags", nargs="+", type=int, default=LAGS)
    parser.add_argument("--seeds", nargs="+", type=int, default=SEEDS)
    parser.add_argument("--cells", nargs="+", choices=CELLS, default=CELLS)
    chosen = parser.parse_args()
    found = list[Run]()
    with stack() as http, tempfile.TemporaryDirectory() as directory:
        for run in runs(http, Path(directory), chosen):
            found.append(run)
            print(run, "right" if run.right else "WRONG", flush=True)
    wrong = [f"{run.cell} on {run.task} at {run.lag} ({_shown([run])})" for run in found if not run.right]
    head = ["lag", "task", *(f"{cell}: accuracy, memory, verdict" for cell in CELLS)]
    text = TEXT.format(
        rows=sum(PARTS.values()),
        right=len(found) - len(wrong),
        count=len(found),
        rows_of_lags=table(head, list(rows_of(found))),
        wrong="; ".join(wrong) or "none",
    )
    if tuple(map(tuple, (chosen.lags, chosen.seeds, chosen.cells))) == (LAGS, SEEDS, CELLS):
        write("verdicts", "make bench-verdicts", text)
    else:
        print(text)


if __name__ == "__main__":
    main()
