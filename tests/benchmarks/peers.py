"""A peer of the serving benchmark asked in this process."""

import asyncio
import importlib

import httpx
import pytest

from benchmarks.serving.requests.versions import Made


def ask_peer(
    name: str, made: Made, monkeypatch: pytest.MonkeyPatch, path: str = "/predict"
) -> list[httpx.Response]:
    """The replies of the application of this name to all requests of a version."""
    monkeypatch.setenv("BENCH_MODEL", str(made.artifact / "model.onnx"))
    module = importlib.reload(importlib.import_module(f"benchmarks.serving.peers.{name}"))

    async def ask() -> list[httpx.Response]:
        transport = httpx.ASGITransport(module.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://peer") as client:
            headers = {"Content-Type": "application/json"}
            return [await client.post(path, content=body, headers=headers) for body in made.corpus.bodies]

    return asyncio.run(ask())
