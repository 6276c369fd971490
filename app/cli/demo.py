"""`recurra demo`: the whole service on real data, from the upload to a forecast that is checked."""

import csv
import json
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from app.cli.console import comparison, notes, output
from app.cli.embedded import Busy
from app.cli.instances import from_csv
from app.cli.plot import forecast_plot
from app.cli.serve import fail, read_settings
from app.cli.stack import NotReady, Signals, Stack, Stop, listen
from app.cli.train import upload
from app.cli.watch import follow
from app.client import Client, ClientError, Json

SAMPLE = Path(__file__).parent.parent / "samples" / "seattle_weather.csv"
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


class Lost(Exception):
    """A network did not beat the obvious answer, or did not come to an end."""


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


def demo(
    data_dir: Annotated[
        Path | None, typer.Option("--data-dir", help="Keep everything here; by default nothing is kept.")
    ] = None,
) -> None:
    """Train a GRU and an LSTM on real data, compare both with the seasonal naive forecast, and predict."""
    console, signals = notes(), Signals()
    try:
        with ExitStack() as cleanup:
            directory = data_dir or Path(
                cleanup.enter_context(tempfile.TemporaryDirectory(prefix="recurra-"))
            )
            opened = cleanup.enter_context(listen("127.0.0.1", 0))
            stack = cleanup.enter_context(Stack(read_settings(directory), opened, console.print, signals))
            console.print(f"Recurra is ready at {stack.url}", style="bold")
            cleanup.callback(signals.count_them)
            signals.interrupt()
            show(stack.url, hold_out(SAMPLE, directory / SAMPLE.name, HORIZON))
    except (Stop, KeyboardInterrupt):
        console.print("Stopped", style="dim")
    except (Busy, NotReady, Lost, ClientError) as error:
        fail(console, f"The demo failed: {error}")
    finally:
        signals.restore()


def show(url: str, held_out: HeldOut) -> None:
    """Upload, train each network, compare, predict and draw; raises `Lost` when a network is not better."""
    lost: list[str] = []
    with Client(url) as client:
        dataset = upload(client, held_out.path, "forecasting", {})
        output().print(
            f"Uploaded {held_out.path.name} as {dataset['id']}: {dataset['summary']['rows']:,} days"
        )
        jobs = [train(client, dataset["id"], cell) for cell in CELLS]
        for job in jobs:
            version = client.version(job["model"], job["model_version"])
            comparison(version, against="seasonal naive")
            lost += worse(version)
            answer = client.predict(job["model"], held_out.instances, {})
            draw(job["model"], held_out, answer["predictions"])
    for line in curls(url, held_out, dataset, jobs[-1]):
        output().print(line, soft_wrap=True, markup=False)
    if lost:
        raise Lost("; ".join(lost))
    output().print(
        "Both networks beat the seasonal naive forecast on data they never saw.", style="bold green"
    )


def train(client: Client, dataset: str, cell: str) -> Json:
    """Train one network with a progress bar."""
    job = client.submit(
        {
            "task": "forecasting", "dataset": dataset, "model": f"demo-{cell}",
            "network": {"cell": cell}, "training": TRAINING, "options": {"horizon": HORIZON},
        }
    )  # fmt: skip
    job = follow(client.watch(job["id"]), notes(), job["model"])
    if job["status"] != "succeeded":
        raise Lost(f"{job['id']} {job['status']}: {(job.get('error') or {}).get('message', '')}")
    return job


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


def curls(url: str, held_out: HeldOut, dataset: Json, job: Json) -> Iterator[str]:
    """The same steps by hand, with the ids of this run."""
    wanted = {name: job[name] for name in ("task", "dataset", "model", "options")}
    wanted |= {"network": {"cell": job["network"]["cell"]}, "training": TRAINING}
    instance = {**held_out.instances[0], "values": held_out.instances[0]["values"][-SHOWN:]}
    del instance["start"]  # it is the whole series'
    typed = "-H 'Content-Type: application/json'"
    yield "\nThe same by hand:"
    yield f"  curl -F task=forecasting -F file=@{SAMPLE} {url}/v1/datasets"
    yield f"  curl {url}/v1/datasets/{dataset['id']}"
    yield f"  curl {typed} -d '{json.dumps({**wanted, 'options': {'horizon': HORIZON}})}' {url}/v1/jobs"
    yield f"  curl -H 'Prefer: wait=30' {url}/v1/jobs/{job['id']}"
    yield f"  curl {url}/v1/models/{job['model']}/versions/{job['model_version']}"
    asked = json.dumps({"instances": [instance]})
    yield f"  curl {typed} -d '{asked}' {url}/v1/models/{job['model']}/predict"
