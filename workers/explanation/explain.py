"""The explanation of one prediction: what it is, and how its input's steps and the gates took part in it."""

from pathlib import Path
from typing import Any

import numpy as np
import orjson
import torch

from app.prediction.codec import Codec
from app.prediction.explanation_request import check_steps, read_explanation_request
from app.prediction.request_errors import request_described
from app.prediction.upload_names import as_it_was_sent
from app.tasks.contract import Example, bytes_to_json, strided_lengths
from app.typedefs import Json
from workers.artifact.export import load_model, read_manifest
from workers.decoding.scheduler import decode_all
from workers.diagnostics.measure import memory_length
from workers.explanation.activations import activations
from workers.explanation.influence import influence
from workers.inference.engines import Engine, unpadded
from workers.inference.torch_engine import TorchEngine

CPU = torch.device("cpu")
INFLUENCE_DIGITS, ACTIVATION_DIGITS = 6, 4  # significant ones of an influence, decimals of an activation
NO_TASK = "This model version has no task whose predictions could be explained."


def explain(directory: Path, body: bytes) -> str:
    """The explanation, as JSON without the names of the model and its version, of a request's one instance.

    The prediction is that of the network as it is served. Its gradients are in double precision: of an answer
    that is nearly certain they are small. Raises `Invalid` with pointers into the request.
    """
    manifest = read_manifest(directory)
    network = load_model(directory, CPU)
    engine = TorchEngine(network, CPU, manifest)
    codec = engine.codec
    if codec is None:
        raise ValueError(NO_TASK)
    request = read_explanation_request(codec.task, codec.state, manifest.get("columns", {}), body)
    (instance,) = request.instances
    with request_described(codec.task), as_it_was_sent(request):
        (example,) = codec.encode([instance], request.parameters)
        steps = int(strided_lengths(np.array([len(example.inputs)]), engine.stride)[0])
        check_steps(steps)
    output = _predict(engine, example)
    explanation = {
        "prediction": codec.decode([example], [output], request.parameters)[0],
        "method": request.method,
        **_step_by_step(network, codec, instance, example, output, request.method),
    }
    return orjson.dumps(explanation, bytes_to_json, orjson.OPT_SERIALIZE_NUMPY).decode()


def _predict(engine: Engine, example: Example) -> Any:
    """The network's output for one example, as `Task.decode` takes it."""
    if engine.decoder is not None:
        return decode_all(engine.decoder, [example.inputs], [example.decoding or {}])[0]
    lengths = np.array([len(example.inputs)])
    return unpadded(engine, engine.run(example.inputs[None], lengths), lengths)[0]


def _step_by_step(
    network: Any, codec: Codec, instance: Any, example: Example, output: Any, method: str
) -> Json:
    """Names of the steps, their influence, and the activations there; the network is changed to double."""
    network.double()
    inputs = torch.from_numpy(np.ascontiguousarray(example.inputs))[None]  # (1, time, features)
    read = inputs.double() if inputs.is_floating_point() else inputs
    shares = influence(network, read, output, method)
    active = activations(network, read)
    return {
        "steps": codec.task.step_labels(codec.state, instance, example),
        "influence": [float(f"{share:.{INFLUENCE_DIGITS}g}") for share in shares],
        "layers": active.layers,
        "gates": {name: _rounded(rows) for name, rows in active.gates.items()},
        "hidden": _rounded(active.hidden),
        "memory_length": memory_length(shares[::-1]),
    }


def _rounded(rows: torch.Tensor) -> list[list[float]]:
    """Rows (layers, steps) as JSON."""
    rounded: list[list[float]] = rows.numpy().round(ACTIVATION_DIGITS).tolist()
    return rounded
