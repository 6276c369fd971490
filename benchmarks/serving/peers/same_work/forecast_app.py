"""FastAPI for forecasts, with the project's encoding and decoding around the graph in its process.

A pydantic model in, ready JSON out, which spares FastAPI's encoder.
"""

from fastapi import FastAPI
from fastapi.responses import Response
from pydantic import BaseModel

from benchmarks.serving.peers.same_work.work import Work
from benchmarks.serving.requests.reader import reply


class Instance(BaseModel):
    """A dated series with its covariates."""

    values: list[float | None]
    start: str
    past: dict[str, list[float | None]] = {}
    future: dict[str, list[float | None]] = {}


class Request(BaseModel):
    """Series; the benchmark sends one."""

    instances: list[Instance]


app = FastAPI()
work = Work()


@app.post("/predict")
async def predict(request: Request) -> Response:
    """One forward pass a request."""
    (prediction,) = work.predict([work.instance(**vars(request.instances[0]))])
    return Response(reply(prediction), media_type="application/json")
