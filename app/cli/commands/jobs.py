"""`recurra jobs …`."""

from collections.abc import Iterator
from typing import Annotated

import typer

from app.cli.console import (
    DEFAULT_URL,
    ApiKey,
    AsJson,
    Url,
    age,
    connect,
    notes,
    output,
    print_json,
    print_table,
)
from app.cli.watch import until_done
from app.states import TERMINAL
from app.typedefs import Json
from recurra import Client

app = typer.Typer(
    help="Jobs: list, show, watch, logs, cancel, pause, resume.", no_args_is_help=True, rich_markup_mode=None
)

JobId = Annotated[str, typer.Argument(help="The job, job_…")]
NESTED = ("network", "training", "options", "search", "trial", "metadata", "progress")
MAX_PAGE_LINES = 500
Limit = Annotated[int, typer.Option(min=1, help="How many at most.")]


@app.command("list")
def list_(
    *,
    status: Annotated[str | None, typer.Option(help="Only these: queued, running, …")] = None,
    task: Annotated[str | None, typer.Option(help="Only of this task.")] = None,
    model: Annotated[str | None, typer.Option(help="Only of this model.")] = None,
    kind: Annotated[str | None, typer.Option(help="Only train, sweep, batch_predict or evaluate.")] = None,
    sweep: Annotated[str | None, typer.Option(help="Only the runs of this sweep.")] = None,
    limit: Limit = 20,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """List jobs, newest first."""
    filters = {"status": status, "task": task, "model": model, "kind": kind, "sweep": sweep}
    with connect(url, api_key, as_json=as_json) as client:
        entries = client.pages("/v1/jobs", limit, **{key: value for key, value in filters.items() if value})
    if as_json:
        print_json(entries)
        return
    print_table(["job", "kind", "task", "model", "status", "age#"], [_row(job) for job in entries])


def _row(job: Json) -> tuple[str, ...]:
    kind = f"{job['kind']} (run)" if job.get("sweep") is not None else job["kind"]
    fraction = (job.get("progress") or {}).get("fraction")
    done = f" {fraction:.0%}" if fraction and job["status"] not in TERMINAL else ""
    status = job["status"] + done
    return job["id"], kind, job["task"], job["model"], status, age(job["created_at"])


@app.command()
def show(job_id: JobId, *, url: Url = DEFAULT_URL, api_key: ApiKey = None, as_json: AsJson = False) -> None:
    """Show one job."""
    with connect(url, api_key, as_json=as_json) as client:
        job = client.get(f"/v1/jobs/{job_id}")
    if as_json:
        print_json(job)
        return
    hidden = {"object", *NESTED}
    flat = [(name, value) for name, value in job.items() if name not in hidden and value is not None]
    nested = [(f"{part}.{name}", value) for part in NESTED for name, value in (job.get(part) or {}).items()]
    print_table(["", job["id"]], [row for row in (*flat, *nested) if row[1] is not None])


@app.command()
def watch(job_id: JobId, *, url: Url = DEFAULT_URL, api_key: ApiKey = None, as_json: AsJson = False) -> None:
    """Follow a job to its end; Ctrl-C stops only the watching."""
    with connect(url, api_key, as_json=as_json) as client:
        if not until_done(client, client.get(f"/v1/jobs/{job_id}"), as_json=as_json):
            raise typer.Exit(1)


@app.command()
def logs(
    job_id: JobId,
    *,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the job ends.")] = False,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Print what the job's process wrote, the newest 5,000 lines."""
    with connect(url, api_key, as_json=as_json) as client:
        after = 0
        for _ in client.watch(job_id) if follow else ({},):
            for line in _log_lines(client, job_id, after):
                after = line["seq"]
                if as_json:
                    print_json(line)
                else:
                    text = f"{line['at']} {line['level'].upper():<8} {line['message']}"
                    output().print(text, markup=False, highlight=False, soft_wrap=True)


def _log_lines(client: Client, job_id: str, after: int) -> Iterator[Json]:
    """The lines of a job's log above a number."""
    has_more = True
    while has_more:
        page = client.get(f"/v1/jobs/{job_id}/logs", after=after, limit=MAX_PAGE_LINES)
        has_more = page["has_more"]
        for line in page["data"]:
            after = line["seq"]
            yield line


def _act(job_id: str, verb: str, url: str, api_key: str | None, *, as_json: bool) -> None:
    with connect(url, api_key, as_json=as_json) as client:
        job = client.act(job_id, verb)
    if as_json:
        print_json(job)
        return
    is_live = job["status"] not in TERMINAL
    requested = [name for name in ("cancel", "pause") if is_live and job.get(f"{name}_requested")]
    suffix = f" ({requested[0]} requested)" if requested else ""
    output().print(f"{job['id']} is {job['status']}{suffix}")


@app.command()
def cancel(job_id: JobId, *, url: Url = DEFAULT_URL, api_key: ApiKey = None, as_json: AsJson = False) -> None:
    """Ask a job to end; one that runs stops at its next step."""
    _act(job_id, "cancel", url, api_key, as_json=as_json)


@app.command()
def pause(job_id: JobId, *, url: Url = DEFAULT_URL, api_key: ApiKey = None, as_json: AsJson = False) -> None:
    """Ask a running job to write a checkpoint and release its worker."""
    _act(job_id, "pause", url, api_key, as_json=as_json)


@app.command()
def resume(job_id: JobId, *, url: Url = DEFAULT_URL, api_key: ApiKey = None, as_json: AsJson = False) -> None:
    """Queue a paused job again; it continues from its checkpoint."""
    _act(job_id, "resume", url, api_key, as_json=as_json)
    if not as_json:
        notes().print(f"Watch it with: recurra jobs watch {job_id}", style="dim")
