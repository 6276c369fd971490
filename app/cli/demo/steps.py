"""The steps that all demos share: learning with a progress bar, and the same by hand."""

import json
from collections.abc import Iterator
from pathlib import Path

from app.cli.client import Client
from app.cli.console import notes
from app.cli.watch import follow
from app.typedefs import Json

SAMPLES = Path(__file__).parents[2] / "samples"
TYPED = "-H 'Content-Type: application/json'"


class Lost(Exception):
    """A network did not beat the obvious answer, or did not come to an end."""


def learn(client: Client, wanted: Json) -> Json:
    """Submit a job and follow it with a progress bar; raises `Lost` if it does not succeed."""
    job = client.submit(wanted)
    job = follow(client.watch(job["id"]), notes(), job["model"])
    if job["status"] != "succeeded":
        raise Lost(f"{job['id']} {job['status']}: {(job.get('error') or {}).get('message', '')}")
    return job


def by_hand(url: str, sample: Path, wanted: Json, job: Json, asked: Json) -> Iterator[str]:
    """The calls of a demo as commands, with the ids of this run."""
    wanted = {name: part for name, part in wanted.items() if part != {}}
    kept = "-N " if (asked.get("parameters") or {}).get("stream") else ""  # shown as it comes
    yield "\nThe same by hand:"
    yield f"  curl -F task={job['task']} -F file=@{sample} {url}/v1/datasets"
    yield f"  curl {url}/v1/datasets/{job['dataset']}"
    yield f"  curl {TYPED} -d {quoted(wanted)} {url}/v1/jobs"
    yield f"  curl -H 'Prefer: wait=30' {url}/v1/jobs/{job['id']}"
    yield f"  curl {url}/v1/models/{job['model']}/versions/{job['model_version']}"
    yield f"  curl {kept}{TYPED} -d {quoted(asked)} {url}/v1/models/{job['model']}/predict"


def quoted(body: Json) -> str:
    """JSON as one word of a shell: an apostrophe, which would end it, is written as JSON lets it."""
    text = json.dumps(body, ensure_ascii=False).replace("'", "\\u0027")
    return f"'{text}'"
