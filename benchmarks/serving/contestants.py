"""Who is measured, and how each one is started."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.report import ROOT
from benchmarks.serving.recurra import MODEL
from benchmarks.stack import RECURRA

PEERS = ROOT / ".venv-peers" / "bin" / "python"


@dataclass(frozen=True)
class Contestant:
    """A server of the benchmark's network."""

    name: str
    label: str
    command: Sequence[str]  # `{python}` of the peers, `{port}`, `{home}` and `{corpus}` are filled in
    path: str = "/infer"
    batching: bool = False


def module(name: str, *options: str) -> list[str]:
    """The command line of a module among the peers."""
    return ["{python}", "-m", f"benchmarks.serving.peers.{name}", *options]


def cli(name: str, *options: str) -> list[str]:
    """The command line of a module that is somebody's command."""
    return ["{python}", "-m", name, *options]


RECURRA_UP = Contestant(
    "recurra",
    "Recurra (`recurra up`)",
    [*RECURRA, "up", "--port", "{port}", "--data-dir", "{home}"],
    path=f"/v2/models/{MODEL}:network/infer",
    batching=True,
)
CONTESTANTS = (
    RECURRA_UP,
    Contestant(
        "mosec",
        "mosec 0.9.8 (batch 64, 2 ms)",
        module("mosec_server", "--port", "{port}", "--address", "127.0.0.1", "--log-level", "error"),
        batching=True,
    ),
    Contestant(
        "litserve",
        "LitServe 0.2.19 (batch 64, 2 ms)",
        module("litserve_server", "{port}"),
        batching=True,
    ),
    Contestant(
        "bentoml",
        "BentoML 1.4.39 (adaptive batches to 64)",
        cli("bentoml", "serve", "benchmarks.serving.peers.bentoml_service:Lstm", "--port", "{port}"),
        batching=True,
    ),
    Contestant(
        "fastapi",
        "FastAPI, model in its process",
        cli("uvicorn", "benchmarks.serving.peers.fastapi_app:app", "--port", "{port}", "--no-access-log"),
    ),
    Contestant("celery", "FastAPI + Celery RPC", module("celery_stack", "{port}")),
)
ECHO = Contestant(
    "echo",
    "nothing computed",
    [sys.executable, "-m", "benchmarks.serving.generator.echo", "{port}", "{corpus}"],
)
