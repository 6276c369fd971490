"""Artifacts: weights as safetensors, a graph as ONNX, and a JSON manifest that rebuilds everything."""

import copy
import hashlib
import json
import logging
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnx
import onnxruntime as ort
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from app.typedefs import Json
from workers.nn import ModelConfig, Network, Translator
from workers.outputs import OUTPUTS, build, join
from workers.outputs.probes import probe, probe_step

FORMAT = 1
OPSET = 17
TOLERANCE = 1e-4  # between torch and the exported graph, in parts of the largest output where that exceeds 1
ROUNDINGS = 10.0  # and how many of torch's own roundings the graph may be off: a network can amplify them
WEIGHTS, GRAPH, MANIFEST = "model.safetensors", "model.onnx", "manifest.json"
DECODER = "decoder.onnx"  # of a SEQUENCE network, beside the graph that encodes
GRAPH_INPUTS = ("inputs", "lengths", "state")
DECODER_INPUTS = ("tokens", "state", "memory", "lengths")
DECODER_OUTPUTS = ("outputs", "state_out", "attention")


class ExportFailed(Exception):
    """The exported graph does not compute what the network does."""


class _ForwardLast(nn.Module):
    """The signature every exported graph has."""

    def __init__(self, model: Network) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: Tensor, lengths: Tensor, state: Tensor) -> tuple[Tensor, ...]:
        """Outputs, the state at each row's last real step, and the transitions of a chain."""
        outputs = self.model.forward_last(inputs, lengths, state)
        if not self.model.config.crf or isinstance(self.model, Translator):
            return outputs
        transitions = cast("Tensor", self.model.transitions())
        nothing = (0 * lengths[0]).to(transitions.dtype)  # an output that depends on no input is left out
        return (*outputs, transitions + nothing)


class _Step(nn.Module):
    """One step of a decoder."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, tokens: Tensor, state: Tensor, memory: Tensor, lengths: Tensor) -> tuple[Tensor, ...]:
        """See `Translator.decode_step`."""
        outputs: tuple[Tensor, ...] = self.model.decode_step(tokens, state, memory, lengths)
        return outputs


def outputs_in(model: Network) -> tuple[str, ...]:
    """What the graph gives."""
    return ("outputs", "state_out", "transitions") if model.config.crf else ("outputs", "state_out")


def export_onnx(model: Network, path: Path) -> None:
    """Write the graph (inputs, lengths, state) -> (outputs, state_out, …), batch and time dynamic.

    The older exporter is right for all three cells; packing becomes the operators' `sequence_lens`.
    """
    axes = {"inputs": {0: "batch", 1: "time"}, "lengths": {0: "batch"}}
    axes |= {"state": {1: "batch"}, "state_out": {1: "batch"}}
    axes["outputs"] = dict(OUTPUTS[model.config.output].export_axes)
    _write(
        _ForwardLast(model.cpu().eval()), probe(model, 3, 5, 0), path, GRAPH_INPUTS, outputs_in(model), axes
    )


def export_decoder(model: Any, path: Path) -> None:
    """Write the graph (tokens, state, memory, lengths) -> (outputs, state_out, attention)."""
    axes = {name: {0: "batch"} for name in ("tokens", "lengths", "outputs")}
    axes |= {"state": {1: "batch"}, "state_out": {1: "batch"}}
    axes |= {name: {0: "batch", 1: "time"} for name in ("memory", "attention")}
    with torch.no_grad():
        tensors = probe_step(model.cpu().eval(), 3, 5, 0)
    _write(_Step(model), tensors, path, DECODER_INPUTS, DECODER_OUTPUTS, axes)


def _write(
    module: nn.Module,
    tensors: tuple[Tensor, ...],
    path: Path,
    inputs: tuple[str, ...],
    outputs: tuple[str, ...],
    axes: dict[str, dict[int, str]],
) -> None:
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module.eval(),
            tensors,
            str(path),
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_axes=axes,
            opset_version=OPSET,
            dynamo=False,
        )
    onnx.checker.check_model(onnx.load(path))


def verify_onnx(model: Network, path: Path) -> float:
    """Largest difference to torch at several batch sizes and lengths; raises `ExportFailed` if it matters.

    In parts of the largest output where that exceeds 1: logits of a hundred carry roundings of 1e-5. What
    torch itself is off from double precision is allowed `ROUNDINGS` times over, because some networks (a
    vanilla RNN whose recurrent weights expand) amplify a rounding at every step.
    """
    return _verify(_ForwardLast(model), partial(probe, model), path, GRAPH_INPUTS, outputs_in(model))


def verify_decoder(model: Any, path: Path) -> float:
    """The same for a decoder."""
    return _verify(_Step(model), partial(probe_step, model), path, DECODER_INPUTS, DECODER_OUTPUTS)


@torch.no_grad()
def _verify(
    module: nn.Module,
    tensors: Callable[[int, int, int], tuple[Tensor, ...]],
    path: Path,
    inputs: tuple[str, ...],
    outputs: tuple[str, ...],
) -> float:
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    exact, worst = copy.deepcopy(module).double(), 0.0
    for seed, (batch, time) in enumerate([(1, 1), (1, 9), (4, 30), (7, 2)]):
        probes = tensors(batch, time, seed)
        given = dict(zip(inputs, (tensor.numpy() for tensor in probes), strict=True))
        truth = exact(*(tensor.double() if tensor.is_floating_point() else tensor for tensor in probes))
        for ours, theirs, true in zip(session.run(list(outputs), given), module(*probes), truth, strict=True):
            scale = max(1.0, float(theirs.abs().max()))
            difference = float(np.abs(ours - theirs.numpy()).max()) / scale
            if not difference <= TOLERANCE + ROUNDINGS * float((theirs - true).abs().max()) / scale:
                raise ExportFailed(f"The exported graph differs from the network by {difference:.2g}.")
            worst = max(worst, difference)
    return worst


def save(directory: Path, model: Network, facts: Json) -> Json:
    """Write an artifact; `facts` (task, state, metrics, …) go into the manifest, which is returned."""
    directory.mkdir(parents=True, exist_ok=True)
    model = model.cpu().eval()
    weights = {name: value.clone().contiguous() for name, value in model.state_dict().items()}
    save_file(weights, directory / WEIGHTS)
    export_onnx(model, directory / GRAPH)
    difference, names = verify_onnx(model, directory / GRAPH), [WEIGHTS, GRAPH]
    graph: Json = {
        "inputs": list(GRAPH_INPUTS),
        "outputs": list(outputs_in(model)),
        "datatype": model.config.input.datatype,
        "features": model.config.features,
        "width": model.config.outputs,
        "state_rows": model.state_rows,
        "hidden_size": model.state_size,
        "opset": OPSET,
    }
    if model.config.output.has_decoder:
        export_decoder(model, directory / DECODER)
        difference = max(difference, verify_decoder(model, directory / DECODER))
        names.append(DECODER)
    manifest = {
        "format": FORMAT,
        **facts,
        "model": model.config.to_json(),
        "parameters": model.count(),
        "onnx": {**graph, "difference": difference},
        "files": {name: _described(directory / name) for name in names},
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


def load_model(directory: Path, device: torch.device) -> Network:
    """The network of an artifact, ready to predict."""
    config = ModelConfig.from_json(read_manifest(directory)["model"])
    model = join([build(config, 0) for _ in range(config.members)])
    model.load_state_dict(load_file(directory / WEIGHTS))
    model.to(device).eval()
    model.flatten()
    return model
