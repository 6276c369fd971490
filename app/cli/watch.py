"""A job's progress, live on a terminal and line by line elsewhere."""

from collections.abc import Iterable
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from app.cli.client import Client
from app.cli.console import comparison, dump, notes
from app.cli.ranking import ranking
from app.typedefs import Json


def follow(jobs: Iterable[Json], console: Console, name: str) -> Json:
    """Show each state of a job as it comes; gives the last one."""
    job: Json = {}
    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(),
        TextColumn("{task.fields[told]}"),
        console=console, disable=not console.is_terminal,
    )  # fmt: skip
    shown = ""
    with bar:
        line = bar.add_task(name, total=1.0, told="")
        for job in jobs:
            told = describe(job)
            bar.update(line, completed=float((job.get("progress") or {}).get("fraction") or 0), told=told)
            if not console.is_terminal and milestone(job) != shown:
                shown = milestone(job)
                console.print(f"{name}: {told}", soft_wrap=True)
        if job.get("status") == "succeeded":
            bar.update(line, completed=1.0)
    return job


def milestone(job: Json) -> str:
    """What must change for a line of a log to be worth writing."""
    progress = job.get("progress") or {}
    return f"{job['status']} {progress.get('epoch', progress.get('runs'))}"


def describe(job: Json) -> str:
    """A job in a few words: `epoch 9/20, loss 0.127, 10,412 samples/s, 31 s left`."""
    if job["status"] != "running":
        return str(job["status"])
    progress: dict[str, Any] = job.get("progress") or {}
    metrics: dict[str, Any] = job.get("metrics") or {}
    parts = ["stopping"] if job.get("cancel_requested") else ["pausing"] if job.get("pause_requested") else []
    if progress.get("epoch") is not None:
        parts.append(f"epoch {progress['epoch']}/{progress.get('epochs', '?')}")
    if progress.get("instances") is not None:
        parts.append(f"{progress['instances']:,}/{progress['total']:,}")
    if progress.get("runs") is not None:
        parts.append(f"{progress['runs']}/{progress['total']} runs")
    judged = ("valid_loss", "train_loss", *(name for name in metrics if name.startswith("valid_")))
    if (known := next((name for name in judged if metrics.get(name) is not None), None)) is not None:
        parts.append(f"{known.partition('_')[2]} {metrics[known]:.4g}")
    if progress.get("samples_per_second"):
        parts.append(f"{progress['samples_per_second']:,.0f} samples/s")
    if progress.get("eta_seconds") is not None:
        parts.append(f"{progress['eta_seconds']:.0f} s left")
    return ", ".join(parts) or "running"


def until_done(client: Client, job: Json, *, as_json: bool) -> bool:
    """Watch a job to its end and show the result; True when it succeeded. Ctrl-C only stops the watching."""
    console = notes()
    try:
        job = follow(client.watch(job["id"]), console, job["model"])
    except KeyboardInterrupt:
        come_back = f"recurra jobs watch {job['id']}"
        console.print(f"\nThe job goes on without you; come back with: {come_back}", soft_wrap=True)
        if as_json:
            dump(job)
        return True
    if as_json:
        dump(job)
    if job["status"] != "succeeded":
        error = job.get("error") or {}
        why = f": {error['message']} ({error['code']})" if error else ""
        console.print(f"The job {job['status']}{why}", style="red", markup=False, soft_wrap=True)
        return False
    if not as_json and job.get("kind") == "batch_predict":
        metrics = job["metrics"]
        console.print(f"{metrics['instances']:,} instances, {metrics['failed']:,} could not be predicted")
    elif not as_json and job.get("model_version") is not None:
        if job.get("kind") == "sweep":
            ranking(client.get(f"/v1/sweeps/{job['id']}"))
        comparison(client.version(job["model"], job["model_version"]))
    return True
