"""The requests of a demo as commands for a shell."""

import json
from collections.abc import Iterator
from pathlib import Path

from app.typedefs import Json

MAX_BODY_CHARS = 2_000  # of a request that is shown
JSON_HEADER = "-H 'Content-Type: application/json'"


def commands(url: str, sample: Path, request: Json, job: Json, prediction: Json) -> Iterator[str]:
    """Yield a line for each request of a demo: `request` is the job's, `prediction` that of its model."""
    request = {name: part for name, part in request.items() if part != {}}
    unbuffered = "-N " if prediction.get("parameters", {}).get("stream") else ""
    yield "\nThe same by hand:"
    yield f"  curl -F task={job['task']} -F file=@{sample} {url}/v1/datasets"
    yield f"  curl {url}/v1/datasets/{job['dataset']}"
    yield f"  curl {JSON_HEADER} -d {shell_quote(request)} {url}/v1/jobs"
    yield f"  curl -H 'Prefer: wait=30' {url}/v1/jobs/{job['id']}"
    yield f"  curl {url}/v1/models/{job['model']}/versions/{job['model_version']}"
    predict, body = f"{url}/v1/models/{job['model']}/predict", shell_quote(prediction)
    if len(body) <= MAX_BODY_CHARS:
        yield f"  curl {unbuffered}{JSON_HEADER} -d {body} {predict}"
    else:  # such as a file in base64
        yield f"  recurra predict {job['model']} {sample} --url {url}"


def shell_quote(body: Json) -> str:
    """JSON as one word for a shell; an apostrophe, which would end the word, is escaped as JSON allows."""
    text = json.dumps(body, ensure_ascii=False).replace("'", "\\u0027")
    return f"'{text}'"
