"""The forecasting demo: two networks on weather, both checked against the seasonal naive forecast."""

import csv
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from app.cli.client import Client
from app.cli.commands.train import upload
from app.cli.console import comparison, output
from app.cli.demo.plot import forecast_plot
from app.cli.demo.steps import SAMPLES, Lost, by_hand, learn
from app.cli.instances import from_csv
from app.typedefs import Json

SAMPLE = SAMPLES / "seattle_weather.csv"
HORIZON = 28  # days
TRAINING: Json = {"epochs": 15, "seed": 7}
CELLS = ("gru", "lstm")
SHOWN = 2 * HORIZON  # steps of the past that are drawn


@dataclass(frozen=True)
class HeldOut:
    """A sample without its last steps, which no network sees, and those steps."""

    path: Path
    instances: list[Json]
    actual: list[list[float | None]]


def hold_out(sample: Path, target: Path, horizon: int) -> HeldOut:
    """Cut the last `horizon` rows off every series of a long table."""
    lines: dict[str, list[list[str]]] = defaultdict(list)
    with sample.open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    for row in rows:
        lines[row[header.index("unique_id")]].append(row)
    with target.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *(row for group in lines.values() for row in group[:-horizon])])
    whole = from_csv(sample, {})
    return HeldOut(target, from_csv(target, {}), [instance["values"][-horizon:] for instance in whole])


def forecasting(url: str, directory: Path) -> None:
    """Compare both networks with the seasonal naive forecast on a sample whose last days none has seen."""
    show(url, hold_out(SAMPLE, directory / SAMPLE.name, HORIZON))


def show(url: str, held_out: HeldOut) -> None:
    """Upload, train each network, compare, predict and draw; raises `Lost` when a network is not better."""
    lost: list[str] = []
    with Client(url) as client:
        dataset = upload(client, held_out.path, "forecasting", {})
        output().print(
            f"Uploaded {held_out.path.name} as {dataset['id']}: {dataset['summary']['rows']:,} days"
        )
        jobs = [learn(client, wanted(dataset["id"], cell)) for cell in CELLS]
        for job in jobs:
            version = client.version(job["model"], job["model_version"])
            comparison(version, against="seasonal naive")
            lost += worse(version)
            answer = client.predict(job["model"], held_out.instances, {})
            draw(job["model"], held_out, answer["predictions"])
    for line in curls(url, held_out, jobs[-1]):
        output().print(line, soft_wrap=True, markup=False)
    if lost:
        raise Lost("; ".join(lost))
    output().print(
        "Both networks beat the seasonal naive forecast on data they never saw.", style="bold green"
    )


def wanted(dataset: str, cell: str) -> Json:
    """The job that trains one network."""
    return {
        "task": "forecasting", "dataset": dataset, "model": f"demo-{cell}",
        "network": {"cell": cell}, "training": TRAINING, "options": {"horizon": HORIZON},
    }  # fmt: skip


def worse(version: Json) -> list[str]:
    """A sentence for each of sMAPE and MASE in which the seasonal naive forecast is as good."""
    metrics, baseline = version["metrics"], version["baseline"]
    return [
        f"{version['model']} has {name} {metrics[name]:.4g}, the seasonal naive forecast {baseline[name]:.4g}"
        for name in ("smape", "mase")
        if not metrics[name] < baseline[name]
    ]


def draw(model: str, held_out: HeldOut, predictions: list[Json]) -> None:
    """Draw the first series' forecast against what came."""
    quantiles, instance = predictions[0]["quantiles"], held_out.instances[0]
    output().print(f"\n{model}: the next {HORIZON} steps of {instance['item_id']}", style="bold")
    past = instance["values"][-SHOWN:]
    output().print(
        forecast_plot(past, held_out.actual[0], predictions[0]["mean"], quantiles["0.1"], quantiles["0.9"])
    )


def curls(url: str, held_out: HeldOut, job: Json) -> Iterator[str]:
    """The same steps by hand, with the ids of this run."""
    instance = {**held_out.instances[0], "values": held_out.instances[0]["values"][-SHOWN:]}
    del instance["start"]  # it is the whole series'
    asked = {"instances": [instance]}
    return by_hand(url, SAMPLE, wanted(job["dataset"], job["network"]["cell"]), job, asked)
