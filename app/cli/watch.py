"""The progress of a job: a bar on a terminal, lines in a log."""

from collections.abc import Iterable

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from app.cli.comparison import print_evaluation
from app.cli.console import notes, print_comparison, print_json
from app.cli.leaderboard import print_leaderboard
from app.typedefs import Json
from recurra import Client
from recurra.describe import describe_job, log_key


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
