"""FastAPI for recordings and clips, run by the project's own interpreter, whose decoding and graph it uses.

As one writes it by hand: the file is decoded in this process, not in a child with limits on what it may take.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.responses import Response
from pydantic import BaseModel

from app.media.audio import decode_audio
from app.media.decoder import MediaDecoder
from app.media.video import decode_video
from app.typedefs import Json
from benchmarks.serving.requests.reader import Reader, reply

DECODE: dict[str, Callable[..., dict[str, Any]]] = {"audio": decode_audio, "video": decode_video}


def decode_here(decoder: MediaDecoder, kind: str, content: bytes, options: Json) -> dict[str, Any]:
    """What the child would answer."""
    return DECODE[kind](content, decoder.limits, **options)


class Request(BaseModel):
    """Files in base64, by field; the benchmark sends one."""

    instances: list[dict[str, str]]


app = FastAPI()
reader = Reader(Path(os.environ["BENCH_MODEL"]).parent)
MediaDecoder.decode = decode_here  # type: ignore[method-assign]


@app.post("/predict")
async def predict(request: Request) -> Response:
    """One forward pass a request."""
    prediction, _ = reader.read(request.instances[0])
    return Response(reply(prediction), media_type="application/json")
