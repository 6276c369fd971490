"""FastAPI as tutorials write it: a pydantic model in, ONNX Runtime in the process, a dictionary out."""

import numpy as np
from fastapi import FastAPI

from benchmarks.serving.peers.bodies import Request
from benchmarks.serving.peers.network import Network, tensor

app = FastAPI()
network = Network()


@app.post("/infer")
async def infer(request: Request) -> dict:
    """One forward pass a request."""
    arguments = request.inputs[0]
    inputs = np.array(arguments.data, np.float32).reshape(arguments.shape)  # (1, time, features)
    return {"outputs": [tensor(network.run(inputs)[0])]}
