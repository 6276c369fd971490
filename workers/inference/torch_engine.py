"""The engine for a GPU: torch and cuDNN, in a module of its own: a CPU predictor never imports torch."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from app.arrays import Array, Ints
from app.typedefs import Json
from workers.artifact.export import load_model, read_manifest
from workers.decoding.graph_outputs import GRAPH_OUTPUTS
from workers.decoding.sequence import Decoder
from workers.inference.cuda_graphs import CUDA_BUSY, Compute, CudaGraphCache
from workers.inference.engines import (
    NOT_AT_ONCE,
    BatchCostModel,
    Engine,
    codec_of,
    stop_criteria_of,
    warm_up,
)
from workers.inference.padding import bucket
from workers.outputs import OUTPUTS, Network

MAX_CACHED_SHAPES = 24  # shapes an engine keeps buffers and graphs for
MAX_CACHED_FLOATS = 1 << 20  # a larger batch computes so long that starting its kernels costs nothing


class TorchEngine:
    """The network itself, on a device."""

    # A step takes about as long for one row as for a hundred, so rows of all lengths go together.
    pace = BatchCostModel(overhead=1 << 10, width=1 << 7, most=1 << 22)

    def __init__(self, model: Network, device: torch.device, manifest: Json | None = None) -> None:
        network: Any = model.eval()
        self.output, self.stride, self._device = model.config.output, model.config.stride, device
        self.codec = codec_of(manifest or {})
        kind = OUTPUTS[self.output]
        self.decoder: Decoder | None = None
        if kind.step_model is not None:
            self.decoder = Decoder(kind.step_model(model, device), partial(stop_criteria_of, manifest or {}))
        self._predict: Compute = _refuse if self.output.has_decoder else network.predict
        dtype = torch.from_numpy(np.empty(0, model.config.input.dtype)).dtype
        self.graphs = CudaGraphCache(self._predict, device, MAX_CACHED_SHAPES, dtype)
        self._postprocess = GRAPH_OUTPUTS[self.output].postprocess
        self._transitions = None if self.output.has_decoder else _transitions(model)

    def run(self, inputs: Array, lengths: Ints) -> Array:
        """See `Engine`; every sequence starts from a state of zeros."""
        outputs = self._run(inputs, lengths)  # (batch, …)
        if self.output.has_time_axis:  # the buffers may be longer than this batch
            outputs = outputs[:, : -(-inputs.shape[1] // self.stride)]
        return self._postprocess(outputs, lengths, self._transitions)

    def _run(self, inputs: Array, lengths: Ints) -> Array:
        batch, time, features = inputs.shape
        shape = 1 << (batch - 1).bit_length(), bucket(time), features
        with torch.inference_mode(), torch.cuda.device(self._device if self._device.type == "cuda" else -1):
            if shape[0] * shape[1] * features <= MAX_CACHED_FLOATS:
                return self.graphs.get(shape).run(inputs, lengths)
            sequence = torch.tensor(inputs, device=self._device)  # (batch, time, features)
            steps = torch.tensor(lengths, device=self._device)  # (batch,)
            return np.asarray(self._predict(sequence, steps).float().cpu().numpy())  # (batch, …)


def _refuse(inputs: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """Raises `ValueError`: a network with a decoder is asked step by step."""
    del inputs, lengths
    raise ValueError(NOT_AT_ONCE)


def _transitions(model: Any) -> Array | None:
    """The transition scores of a CRF; None without one."""
    with torch.inference_mode():
        transitions = model.transitions()
        return None if transitions is None else np.asarray(transitions.float().cpu().numpy())


def open_torch(directory: Path, device: str) -> Engine:
    """Load the weights onto a device such as `cuda:0` and run the network once."""
    place = torch.device(device)
    if place.type == "cuda":
        torch.set_float32_matmul_precision("high")  # TF32, as cuDNN's recurrences use by default
    with CUDA_BUSY:
        model = load_model(directory, place)
        engine = TorchEngine(model, place, read_manifest(directory))
        warm_up(engine, model.config.input.dtype, model.config.features)
    return engine
