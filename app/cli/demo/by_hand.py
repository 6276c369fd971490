"""The requests of a demo as commands for a shell, to be tried on a service that goes on living."""

import json
import shlex
from collections.abc import Iterator
from pathlib import Path

from app.typedefs import Json

MAX_BODY_CHARS = 2_000  # of a request that is shown
JSON_HEADER = "-H 'Content-Type: application/json'"
FIELD = """field() { python3 -c "import json, sys; print(json.load(sys.stdin)['$1'])"; }"""
DATASET = "$DATASET"  # stands for the id that the upload answers


def commands(url: str, sample: Path, request: Json, prediction: Json) -> Iterator[str]:
    """Yield the lines that do by hand, at a service at `url`, what a demo has done.

    `request` is the job's, `prediction` that of its model. Ids are kept in variables: those of the demo are
    gone with its service.
    """
    task, model = request["task"], request["model"]
    request = {name: part for name, part in request.items() if part != {}} | {"dataset": DATASET}
    unbuffered = "-N " if prediction.get("parameters", {}).get("stream") else ""
    yield "\nThe same by hand, while `recurra up` runs in another terminal:"
    yield f"  URL={url}"
    yield f"  {FIELD}"
    file = shlex.quote(f"file=@{sample}")
    yield f"  DATASET=$(curl -sS -F task={task} -F {file} $URL/v1/datasets | field id)"
    yield "  curl -sS $URL/v1/datasets/$DATASET"
    yield f"  JOB=$(curl -sS {JSON_HEADER} -d {shell_quote(request)} $URL/v1/jobs | field id)"
    yield "  while curl -sS -H 'Prefer: wait=30' $URL/v1/jobs/$JOB |"
    yield """    grep -qE '"status":"(queued|running)"'; do :; done"""
    yield f"  curl -sS $URL/v1/models/{model}/versions/$(curl -sS $URL/v1/jobs/$JOB | field model_version)"
    body = shell_quote(prediction)
    if len(body) <= MAX_BODY_CHARS:
        yield f"  curl -sS {unbuffered}{JSON_HEADER} -d {body} $URL/v1/models/{model}/predict"
    else:  # such as a file in base64
        yield f"  recurra predict {model} {shlex.quote(str(sample))} --url $URL"


def shell_quote(body: Json) -> str:
    """JSON as one word for a shell, with the variable of the data set's id left open.

    An apostrophe, which would end the word, is escaped as JSON allows.
    """
    text = json.dumps(body, ensure_ascii=False).replace("'", "\\u0027")
    return f"'{text}'".replace(f'"{DATASET}"', f"\"'{DATASET}'\"")
