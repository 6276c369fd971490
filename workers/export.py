"""Artifacts: weights as safetensors, a graph as ONNX, and a JSON manifest that rebuilds everything."""

import hashlib
import json
import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from workers.nn.model import ModelConfig, SequenceModel

Json = dict[str, Any]

FORMAT = 1
OPSET = 17
TOLERANCE = 1e-4  # between torch and the exported graph, on the network's own scale
WEIGHTS, GRAPH, MANIFEST = "model.safetensors", "model.onnx", "manifest.json"
INPUTS, OUTPUTS = ("inputs", "lengths", "state"), ("outputs", "state_out")


class ExportFailed(Exception):
    """The exported graph does not compute what the network does."""


class _AtEnd(nn.Module):
    """The signature every exported graph has."""

    def __init__(self, model: SequenceModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: Tensor, lengths: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs at each row's last real step, and the state there."""
        return self.model.at_end(inputs, lengths, state)


def probe(model: SequenceModel, batch: int, time: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Random inputs, lengths (the first is full) and state for trying a graph out."""
    source = torch.Generator().manual_seed(seed)
    inputs = torch.randn(batch, time, model.config.features, generator=source)
    lengths = torch.randint(1, time + 1, (batch,), generator=source)
    lengths[0] = time
    state = 0.1 * torch.randn(model.state_rows, batch, model.config.hidden_size, generator=source)
    return inputs, lengths, state


def export_onnx(model: SequenceModel, path: Path) -> None:
    """Write the graph (inputs, lengths, state) -> (outputs, state_out), batch and time dynamic.

    The older exporter is right for all three cells; packing becomes the operators' `sequence_lens`.
    """
    model = model.cpu().eval()
    axes = {
        "inputs": {0: "batch", 1: "time"},
        "lengths": {0: "batch"},
        "state": {1: "batch"},
        "outputs": {0: "batch"},
        "state_out": {1: "batch"},
    }
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            _AtEnd(model).eval(),
            probe(model, 3, 5, 0),
            str(path),
            input_names=list(INPUTS),
            output_names=list(OUTPUTS),
            dynamic_axes=axes,
            opset_version=OPSET,
            dynamo=False,
        )
    onnx.checker.check_model(onnx.load(path))


@torch.no_grad()
def verify_onnx(model: SequenceModel, path: Path) -> float:
    """Largest difference to torch at several batch sizes and lengths; raises `ExportFailed` if it matters."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    worst = 0.0
    for seed, (batch, time) in enumerate([(1, 1), (1, 9), (4, 30), (7, 2)]):
        tensors = probe(model, batch, time, seed)
        wanted = model.at_end(*tensors)
        given = dict(zip(INPUTS, (tensor.numpy() for tensor in tensors), strict=True))
        for ours, theirs in zip(session.run(list(OUTPUTS), given), wanted, strict=True):
            worst = max(worst, float(np.abs(ours - theirs.numpy()).max()))
    if not worst <= TOLERANCE:
        raise ExportFailed(f"The exported graph differs from the network by {worst:.2g}.")
    return worst


def save(directory: Path, model: SequenceModel, facts: Json) -> Json:
    """Write an artifact; `facts` (task, state, metrics, …) go into the manifest, which is returned."""
    directory.mkdir(parents=True, exist_ok=True)
    model = model.cpu().eval()
    weights = {name: value.contiguous() for name, value in model.state_dict().items()}
    save_file(weights, directory / WEIGHTS)
    export_onnx(model, directory / GRAPH)
    difference = verify_onnx(model, directory / GRAPH)
    manifest = {
        "format": FORMAT,
        **facts,
        "model": model.config.to_json(),
        "parameters": model.count(),
        "onnx": {
            "inputs": list(INPUTS),
            "outputs": list(OUTPUTS),
            "features": model.config.features,
            "width": model.config.outputs,
            "state_rows": model.state_rows,
            "hidden_size": model.config.hidden_size,
            "opset": OPSET,
            "difference": difference,
        },
        "files": {name: _described(directory / name) for name in (WEIGHTS, GRAPH)},
    }
    (directory / MANIFEST).write_text(json.dumps(manifest, allow_nan=False, indent=1), encoding="utf-8")
    return manifest


def _described(path: Path) -> Json:
    content = path.read_bytes()
    return {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}


def read_manifest(directory: Path) -> Json:
    """The manifest; raises `ValueError` for a format this version does not know."""
    manifest: Json = json.loads((directory / MANIFEST).read_text(encoding="utf-8"))
    if manifest["format"] != FORMAT:
        raise ValueError(f"This is artifact format {manifest['format']}; this version reads format {FORMAT}.")
    return manifest


def load_model(directory: Path, device: torch.device) -> SequenceModel:
    """The network of an artifact, ready to predict."""
    model = SequenceModel(ModelConfig.from_json(read_manifest(directory)["model"]))
    model.load_state_dict(load_file(directory / WEIGHTS))
    model.to(device).eval()
    model.flatten()
    return model
