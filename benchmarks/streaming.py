"""Streamed generation over HTTP: how soon the first token comes, and the others, alone and beside others."""

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import orjson

from app.tasks.contract import END, Input, Output
from app.tasks.shared import tokenizers
from app.tasks.shared.tokenizers import TokenUnit
from benchmarks.report import table, write
from benchmarks.serving.recurra import publish
from benchmarks.stack import stack
from tests.support.factories.texts import verses
from workers.artifact.export import save
from workers.nn import ModelConfig
from workers.nn.heads import NextTokenHead
from workers.outputs import build

MODEL = "poet"
LAYERS, UNITS = 2, 512
TOKENS = 200  # of an answer
PROMPTS = {"8 characters": 8, "100 characters": 100}
CLIENT_MIXES = (1, 8, 32, 64)
WANTED = 20.0  # milliseconds to the first token of one client
TEXT = """## Streaming

A language model of characters ({layers} × {units} LSTM, {size} characters, untrained) behind `recurra up`
on a CPU: one API process, one predictor, ONNX Runtime on one thread. Answers of {tokens} tokens, sampled from
the likeliest of 0.95 of the mass, told as server-sent events; client and service share the cores.
Milliseconds from the request to the first token, and between two tokens of a stream (p50 / p99), and
tokens/s of all.

{loads}

A request of another kind (the logits after one token) in the meantime:

{others}

First token of one client, target below {wanted:g} ms: {reached}."""


@dataclass(frozen=True)
class Told:
    """What one stream was like, in seconds."""

    first: float  # to its first text
    whole: float
    tokens: int


def artifact(directory: Path) -> int:
    """An untrained model that never ends by itself; the size of its vocabulary."""
    tokeniser = tokenizers.train_tokenizer([verses(400)], TokenUnit.CHARACTER, 100, spaced=True)
    size = tokenizers.vocabulary_size(tokeniser)
    shape = {"layers": LAYERS, "hidden_size": UNITS, "embedding_size": 64, "vocabularies": (size,)}
    model: Any = build(ModelConfig(Input.TOKENS, Output.NEXT_TOKEN, 1, size, **shape), 0)  # type: ignore[arg-type]
    head: NextTokenHead = model.head
    head.out.bias.data[END] = -50.0
    save(directory, model, {"task": "generation", "state": {"tokeniser": tokeniser, "unit": "character"}})
    return size


async def listen(client: httpx.AsyncClient, prompt: str, seed: int) -> Told:
    """Ask for one stream and read it to its end."""
    parameters = {"max_tokens": TOKENS, "top_p": 0.95, "seed": seed, "stream": True}
    body = orjson.dumps({"instances": [{"prompt": prompt}], "parameters": parameters})
    begun, first, last = time.perf_counter(), 0.0, b""
    async with client.stream("POST", f"/v1/models/{MODEL}/predict", content=body) as answer:
        async for chunk in answer.aiter_raw():
            first = first or time.perf_counter() - begun
            last = chunk
    whole = time.perf_counter() - begun
    if answer.status_code != 200 or b"event: done" not in last:
        raise RuntimeError(f"{answer.status_code} {last!r}")
    message = orjson.loads(last[last.index(b"event: done\ndata: ") + len(b"event: done\ndata: ") :])
    return Told(first, whole, message["predictions"][0]["tokens"])


async def client_mix(url: str, clients: int, prompt: str, streams: int) -> tuple[list[Told], float]:
    """So many streams by so many clients, each in a closed loop; and how long all took."""
    limits = httpx.Limits(max_connections=clients)
    async with httpx.AsyncClient(base_url=url, timeout=120, limits=limits) as client:
        seeds = iter(range(streams))

        async def one() -> list[Told]:
            return [await listen(client, prompt, seed) for seed in seeds]

        await listen(client, prompt, 0)
        begun = time.perf_counter()
        message = await asyncio.gather(*(one() for _ in range(clients)))
        return [stream for some in message for stream in some], time.perf_counter() - begun


async def beside(url: str, clients: int, prompt: str, arguments: int) -> list[float]:
    """Seconds of plain requests while so many clients are streamed to."""
    tensor = {"name": "inputs", "datatype": "INT64", "shape": [1, 1, 1], "data": [END]}
    body = orjson.dumps({"inputs": [tensor]})
    async with httpx.AsyncClient(
        base_url=url, timeout=120, limits=httpx.Limits(max_connections=200)
    ) as client:
        streams = [asyncio.create_task(_forever(client, prompt, seed)) for seed in range(clients)]
        await asyncio.sleep(0.5 if clients else 0.0)
        taken = []
        for _ in range(arguments):
            begun = time.perf_counter()
            answer = await client.post(f"/v2/models/{MODEL}:network/infer", content=body)
            taken.append(time.perf_counter() - begun)
            answer.raise_for_status()
        for stream in streams:
            stream.cancel()
        await asyncio.gather(*streams, return_exceptions=True)
        return taken


async def _forever(client: httpx.AsyncClient, prompt: str, seed: int) -> None:
    while True:
        await listen(client, prompt, seed)


def both(seconds: Sequence[float]) -> str:
    """Median and 99th percentile in milliseconds."""
    cuts = statistics.quantiles(seconds, n=100, method="inclusive")
    return f"{1000 * statistics.median(seconds):.1f} / {1000 * cuts[98]:.1f}"


def measured(url: str, streams: int) -> tuple[list[list[str]], float]:
    """A row for each load and prompt, and the median seconds to the first token of one client."""
    rows, alone = [], 0.0
    for label, size in PROMPTS.items():
        prompt = verses(20)[:size]
        for clients in CLIENT_MIXES:
            message, seconds = asyncio.run(client_mix(url, clients, prompt, max(streams, 2 * clients)))
            firsts = [one.first for one in message]
            gaps = [(one.whole - one.first) / (one.tokens - 1) for one in message]
            rate = sum(one.tokens for one in message) / seconds
            rows.append([label, str(clients), both(firsts), both(gaps), f"{rate:,.0f}"])
            print(rows[-1], flush=True)
            if clients == 1 and not alone:
                alone = statistics.median(firsts)
    return rows, alone


def main() -> None:
    """Run and write the section; a shorter run only prints."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.streaming", description=__doc__)
    parser.add_argument("--streams", type=int, default=100, help="of each number of clients, at least")
    streams = parser.parse_args().streams
    sizes = []

    def prepare(data: Path) -> None:
        with tempfile.TemporaryDirectory() as directory:
            sizes.append(artifact(Path(directory)))
            publish(data, Path(directory), "generation", MODEL)

    with stack(prepare) as http:
        url = str(http.base_url)
        rows, alone = measured(url, streams)
        prompt = verses(20)[:8]
        others = [
            [str(clients), both(asyncio.run(beside(url, clients, prompt, 200)))] for clients in (0, 8, 32)
        ]
    said = TEXT.format(
        layers=LAYERS,
        units=UNITS,
        size=sizes[0],
        tokens=TOKENS,
        loads=table(["prompt", "clients", "first token", "between tokens", "tokens/s"], rows),
        others=table(["streams", "p50 / p99"], others),
        wanted=WANTED,
        reached=f"{1000 * alone:.1f} ms, {'reached' if 1000 * alone < WANTED else '**not reached**'}",
    )
    if streams >= parser.get_default("streams"):
        write("streaming", "make bench-streaming", said)
    else:
        print(f"\n{said}\n")


if __name__ == "__main__":
    main()
