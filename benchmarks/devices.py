"""A GPU beside the CPU: the demo's training of every task on both, and both serving the same version.

A job is submitted to a service whose worker has the GPU, and again to one whose worker has the CPU. The
version that the GPU trained is then served by both: are the answers the same, and how many come a second?
"""

import argparse
import itertools
import math
import os
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from app.cli.demo.run import SAMPLES, job_request, prepare_upload, read_questions
from app.tasks import TASKS
from app.tasks.contract import Task
from app.typedefs import Json
from benchmarks.report import table, write
from benchmarks.stack import checked, serve, train, upload

GPU, CPU = "cuda:0", "cpu"
SECONDS = 3.0  # of predictions for each number of clients
CLIENTS = (1, 8)
HEAD = [
    "task",
    "metric",
    "seconds to train, GPU / CPU",
    "metric, GPU / CPU",
    "same answers",
    "greatest difference",
]
HEAD += [f"answers/s of {clients} clients, GPU / CPU" for clients in CLIENTS]
TEXT = """## GPU and CPU

{gpu} and {cores} cores. Each task's demo is trained on the one and on the other with the same seed (seconds
from submit to a served version), and the version that the GPU trained is served by both. Answers are the same
when every text, label and note is, and numbers differ by at most {tolerance:g}.

{rows}"""
TOLERANCE = 0.01  # of a number from the same number of the other device, relative to the greater one above 1


@dataclass(frozen=True)
class Served:
    """What clients of one device got."""

    answers: list[Any]
    rates: list[float]  # answers a second, for each number of clients


def serve_version(data: Path, device: str, model: str, bodies: Sequence[Json]) -> Served:
    """Ask a service on a data directory."""
    with serve(data, RECURRA_DEVICE=device) as http:
        answers = [checked(predict(http, model, body))["predictions"][0] for body in bodies]
        return Served(answers, [measure(http, model, bodies, clients) for clients in CLIENTS])


def predict(http: httpx.Client, model: str, body: Json) -> httpx.Response:
    """The answer to one request."""
    return http.post(f"/v1/models/{model}/predict", json=body)


def measure(http: httpx.Client, model: str, bodies: Sequence[Json], clients: int) -> float:
    """Answers a second of clients that each wait for theirs."""
    begun = time.perf_counter()

    def ask(client: int) -> int:
        count = 0
        for body in itertools.islice(itertools.cycle(bodies), client, None):
            if time.perf_counter() > begun + SECONDS:
                break
            count += predict(http, model, body).is_success
        return count

    with ThreadPoolExecutor(clients) as pool:
        count = sum(pool.map(ask, range(clients)))
    return count / (time.perf_counter() - begun)


def difference(one: Any, other: Any) -> float:
    """The greatest distance of two numbers in the same place, relative above 1; else infinite."""
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        return max((difference(one[name], other[name]) for name in one), default=0.0)
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        return max(itertools.starmap(difference, zip(one, other, strict=True)), default=0.0)
    if isinstance(one, float) and isinstance(other, float):
        return abs(one - other) / max(1.0, abs(one), abs(other))
    return 0.0 if one == other else math.inf


def run(task: Task, directory: Path) -> list[object]:
    """The row of a task."""
    model, metric = next(iter(task.demo.jobs)), next(iter(task.demo.metrics))
    sample = SAMPLES / task.demo.sample
    path = prepare_upload(task.demo, sample, directory)
    seconds, figures = [], []
    for device in (GPU, CPU):
        with serve(directory / device, RECURRA_DEVICE=device) as http:
            dataset = upload(http, path, task=task.name)
            job, took = train(http, job_request(task, dataset, model))
            version = checked(http.get(f"/v1/models/{model}/versions/{job['model_version']}"))
        seconds.append(f"{took:.1f}")
        figures.append(f"{version['metrics'][metric]:.4f}")
        print(task.name, device, seconds[-1], figures[-1], flush=True)
    bodies = [
        {"instances": [question.instance], "parameters": task.demo.parameters}
        for question in read_questions(task, sample)
    ]
    ours, theirs = (serve_version(directory / GPU, device, model, bodies) for device in (GPU, CPU))
    distances = list(map(difference, ours.answers, theirs.answers))
    same = [distance for distance in distances if distance <= TOLERANCE]
    rates = [f"{ours.rates[at]:.0f} / {theirs.rates[at]:.0f}" for at in range(len(CLIENTS))]
    row: list[object] = [task.name, metric, " / ".join(seconds), " / ".join(figures)]
    row += [f"{len(same)} of {len(distances)}", f"{max(same, default=math.nan):.1e}", *rates]
    print(*row, flush=True)
    return row


def main() -> None:
    """Run the tasks that the command line names, and write the section where it names none."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.devices", description=__doc__)
    parser.add_argument("--task", nargs="*", choices=TASKS, default=list(TASKS))
    parser.add_argument("--gpu", default="A GPU", help="its name, for the section")
    chosen = parser.parse_args()
    rows = []
    for name in chosen.task:
        with tempfile.TemporaryDirectory() as directory:
            rows.append(run(TASKS[name], Path(directory)))
    shown = {"gpu": chosen.gpu, "cores": os.cpu_count(), "tolerance": TOLERANCE}
    text = TEXT.format(rows=table(HEAD, rows), **shown)
    if chosen.task == list(TASKS):
        write("devices", "make bench-devices", text)
    else:
        print(text)


if __name__ == "__main__":
    main()
