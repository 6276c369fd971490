"""FastAPI in front of Celery: `delay().get()`, as many answers to "how do I serve a model" say."""

from fastapi import FastAPI

from benchmarks.serving.peers.bodies import Request
from benchmarks.serving.peers.celery_app import infer as task

front = FastAPI()


@front.post("/infer")
def infer(request: Request) -> dict:
    """Wait for the worker's result in one of the server's threads."""
    return {"outputs": [task.delay(request.inputs[0].model_dump()).get(timeout=30)]}
