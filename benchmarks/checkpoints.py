"""What checkpoints cost a training: the same one with and without them, in turn, in this process."""

import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.hyperparameters.options import NETWORK, TRAINING
from app.settings import Settings
from app.tasks.forecasting.task import TASK
from benchmarks.report import table, write
from tests.support.factories.series import series_set, store, waves
from workers.training.checkpointer import Checkpointer
from workers.training.run import train
from workers.training.stages import TrainSpec

ROUNDS = 3
TEXT = """## Checkpoints

The same training with and without checkpoints, in turn, {rounds} rounds; medians. CPU is that of the whole
training process, in which the checkpoints are written too. One is due at the end of each epoch and every
{seconds:g} s, and is left out while earlier ones have cost more than 1 % of the time.

{table}"""


@dataclass(frozen=True)
class Case:
    """A training."""

    label: str
    series: int
    network: dict[str, Any]
    epochs: int


CASES = (
    Case("small: GRU of 32, 64 series", 64, {"cell": "gru", "hidden_size": 32}, 10),
    Case("middle: LSTM of 64, 300 series", 300, {}, 6),
    Case("large: two layers of 384, 30 series", 30, {"hidden_size": 384, "layers": 2}, 2),
)


def run(case: Case, directory: Path, seconds: float | None) -> tuple[float, float, list[dict[str, Any]]]:
    """Seconds on the clock and of CPU, and the checkpoints; `None` takes none."""
    network = {**NETWORK, **TASK.network_defaults, **case.network}
    training = {**TRAINING, **TASK.training_defaults, "epochs": case.epochs, "patience": case.epochs}
    spec = TrainSpec("forecasting", network, training | {"device": "cpu"}, {"horizon": 7})
    events: list[dict[str, Any]] = []
    saver = None if seconds is None else Checkpointer(directory / "points", seconds, events.append)
    wall, cpu = time.perf_counter(), time.process_time()
    train(
        spec, directory, directory / "out", on=lambda _: None, should_stop=lambda: False, checkpointer=saver
    )
    taken = time.perf_counter() - wall, time.process_time() - cpu
    for path in (directory / "points").glob("*"):
        path.unlink()
    return *taken, [event for event in events if event["type"] == "checkpoint"]


def row(case: Case, seconds: float) -> list[object]:
    """A line of the table."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        store(directory, series_set(waves(case.series, 200)))
        pairs = [(run(case, directory, None), run(case, directory, seconds)) for _ in range(ROUNDS)]
    points = pairs[-1][1][2]
    walls = [kept[0] / plain[0] for plain, kept in pairs]
    cpus = [kept[1] / plain[1] for plain, kept in pairs]
    return [
        case.label,
        f"{statistics.median(plain[0] for plain, _ in pairs):.1f} s",
        len(points),
        f"{max((point['bytes'] for point in points), default=0) / 1024:,.0f} kB",
        *(f"{100 * (statistics.median(one) - 1):+.1f} % ({spread(one)})" for one in (walls, cpus)),
    ]


def spread(ratios: list[float]) -> str:
    """From the least to the most."""
    return f"{100 * (min(ratios) - 1):+.1f} to {100 * (max(ratios) - 1):+.1f}"


def main() -> None:
    """Run and write the section."""
    seconds = Settings().checkpoint_seconds
    head = ["training", "time", "checkpoints", "largest", "more time", "more CPU"]
    rows = []
    for case in CASES:
        rows.append(row(case, seconds))
        print(rows[-1], flush=True)
    text = TEXT.format(rounds=ROUNDS, seconds=seconds, table=table(head, rows))
    write("checkpoints", "make bench-checkpoints", text)


if __name__ == "__main__":
    main()
