"""The progress of a job: a bar on a terminal, lines in a log."""

from collections.abc import Iterable
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from app.cli.client import Client
from app.cli.comparison import print_evaluation
from app.cli.console import notes, print_comparison, print_json
from app.cli.leaderboard import print_leaderboard
from app.typedefs import Json


def follow_job(jobs: Iterable[Json], console: Console, name: str) -> Json:
    """Show each state of a job when it changes; returns the last one."""
    job: Json = {}
    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(),
        TextColumn("{task.fields[message]}"),
        console=console, disable=not console.is_terminal,
    )  # fmt: skip
    logged = ""
    with bar:
        line = bar.add_task(name, total=1.0, message="")
        for job in jobs:
            message, fraction = describe_job(job), (job.get("progress") or {}).get("fraction")
            bar.update(line, completed=float(fraction or 0), message=message)
            if not console.is_terminal and log_key(job) != logged:
                logged = log_key(job)
                console.print(f"{name}: {message}", soft_wrap=True)
        if job.get("status") == "succeeded":
            bar.update(line, completed=1.0)
    return job


def log_key(job: Json) -> str:
    """The part of a job's state whose change is logged: status, stage and epoch, or the number of runs."""
    progress = job.get("progress") or {}
    place = [progress[name] for name in ("phase", "member", "epoch", "runs") if name in progress]
    return " ".join(map(str, (job["status"], *place)))


def describe_job(job: Json) -> str:
    """A job in a few words: `refit on all data, epoch 9/20, loss 0.127, 10,412 samples/s, 31 s left`."""
    if job["status"] != "running":
        return str(job["status"])
    progress: dict[str, Any] = job.get("progress") or {}
    metrics: dict[str, Any] = job.get("metrics") or {}
    parts = ["stopping"] if job.get("cancel_requested") else ["pausing"] if job.get("pause_requested") else []
    if stage := describe_stage(job):
        parts.append(stage)
    if progress.get("epoch") is not None:
        parts.append(f"epoch {progress['epoch']}/{progress.get('epochs', '?')}")
    if progress.get("instances") is not None:
        parts.append(f"{progress['instances']:,}/{progress['total']:,}")
    if progress.get("runs") is not None:
        parts.append(f"{progress['runs']}/{progress['total']} runs")
    names = ("valid_loss", "train_loss", *(name for name in metrics if name.startswith("valid_")))
    name = next((name for name in names if metrics.get(name) is not None), None)
    if name is not None:
        parts.append(f"{name.partition('_')[2]} {metrics[name]:.4g}")
    if progress.get("samples_per_second"):
        parts.append(f"{progress['samples_per_second']:,.0f} samples/s")
    if progress.get("eta_seconds") is not None:
        parts.append(f"{progress['eta_seconds']:.0f} s left")
    return ", ".join(parts) or "running"


def describe_stage(job: Json) -> str:
    """What a training is at, where that is not simply its network: `refit of network 2/3 on all data`."""
    progress, count = job.get("progress") or {}, (job.get("training") or {}).get("ensemble") or 1
    network = f" of network {progress['member'] + 1}/{count}" if "member" in progress else ""
    match progress.get("phase"):
        case "prepare":
            return "preparing the data"
        case "evaluate":
            return f"evaluating{network}"
        case "pretrain":
            return "pretraining on the texts alone"
        case "ablation":
            return "a simpler network, to compare with"
        case "refit":
            return _describe_refit(progress, network)
        case _:
            return network.removeprefix(" of ")


def _describe_refit(progress: Json, network: str) -> str:
    """That of a training, or of an evaluation that trains before each window."""
    if "window" not in progress:
        return f"refit{network} on all data"
    return f"training version {progress['version']} before window {progress['window'] + 1}"


def until_done(client: Client, job: Json, *, as_json: bool) -> bool:
    """Watch a job and print its result; False if it did not succeed. Ctrl-C only ends the watching."""
    console = notes()
    try:
        job = follow_job(client.watch(job["id"]), console, job["model"])
    except KeyboardInterrupt:
        command = f"recurra jobs watch {job['id']}"
        console.print(f"\nThe job goes on without you; come back with: {command}", soft_wrap=True)
        if as_json:
            print_json(job)
        return True
    if as_json:
        print_json(job)
    if job["status"] != "succeeded":
        error = job.get("error") or {}
        reason = f": {error['message']} ({error['code']})" if error else ""
        console.print(f"The job {job['status']}{reason}", style="red", markup=False, soft_wrap=True)
        return False
    if not as_json and job.get("kind") == "batch_predict":
        metrics = job["metrics"]
        console.print(f"{metrics['instances']:,} instances, {metrics['failed']:,} could not be predicted")
    elif not as_json and job.get("kind") == "evaluate":
        print_evaluation(job)
    elif not as_json and job.get("model_version") is not None:
        if job.get("kind") == "sweep":
            print_leaderboard(client.get(f"/v1/sweeps/{job['id']}"))
        print_comparison(client.version(job["model"], job["model_version"]))
    return True
