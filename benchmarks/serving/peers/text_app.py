"""FastAPI for texts, run by the project's own interpreter, whose code for words and tags it uses.

A pydantic model in; words, graph and tags in the process; ready JSON out, which spares FastAPI's encoder.
"""

import os
from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import Response
from pydantic import BaseModel

from benchmarks.serving.requests.reader import Reader, reply


class Instance(BaseModel):
    """A sentence."""

    text: str


class Request(BaseModel):
    """Sentences; the benchmark sends one."""

    instances: list[Instance]


app = FastAPI()
reader = Reader(Path(os.environ["BENCH_MODEL"]).parent)


@app.post("/predict")
async def predict(request: Request) -> Response:
    """One forward pass a request."""
    prediction, _ = reader.read({"text": request.instances[0].text})
    return Response(reply(prediction), media_type="application/json")
