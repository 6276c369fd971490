"""The engine for a GPU: torch and cuDNN, in a module of its own: a CPU predictor never imports torch."""

from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from app.tasks.contract import Array, Input, Ints, Output
from app.typedefs import Json
from workers.artifact.export import load_model, read_manifest
from workers.decoding import viterbi
from workers.decoding.sequence import Decoder
from workers.decoding.torch_model import stepper
from workers.inference.cuda_graphs import CUDA_BUSY, Compute, Slots
from workers.inference.engines import STEP_BY_STEP, Engine, Pace, warm_up, watcher
from workers.inference.padding import bucket
from workers.nn import Network
from workers.nn.model import SequenceModel

MAX_SLOTS = 24  # shapes an engine keeps buffers and graphs for
SLOT_FLOATS = 1 << 20  # a larger batch computes so long that starting its kernels costs nothing


class TorchEngine:
    """The network itself, on a device."""

    # A step takes about as long for one row as for a hundred, so rows of all lengths go together.
    pace = Pace(overhead=1 << 10, width=1 << 7, most=1 << 22)

    def __init__(self, model: Network, device: torch.device, state: Json | None = None) -> None:
        found: Any = model.eval()
        self._output, self._device = model.config.output, device
        self.decoder: Decoder | None = None
        if self._output in (Output.NEXT, Output.SEQUENCE):
            self.decoder = Decoder(stepper(model, device), partial(watcher, state or {}))
        self._ends: Compute = (
            cast("SequenceModel", found).answers if self._output != Output.SEQUENCE else _none
        )
        tokens = model.config.input == Input.TOKENS
        self.slots = Slots(self._ends, device, MAX_SLOTS, torch.int64 if tokens else torch.float32)
        self._transitions = _transitions(found) if self._output == Output.LABELS else None

    def run(self, inputs: Array, lengths: Ints) -> Array:
        """See `Engine`; every sequence starts from a state of zeros."""
        if self._output != Output.LABELS:
            return self._run(inputs, lengths)
        emissions = self._run(inputs, lengths)[:, : inputs.shape[1]]  # (batch, time, tags)
        return viterbi.best(emissions, lengths, self._transitions)

    def _run(self, inputs: Array, lengths: Ints) -> Array:
        batch, time, features = inputs.shape
        shape = 1 << (batch - 1).bit_length(), bucket(time), features
        with torch.inference_mode(), torch.cuda.device(self._device if self._device.type == "cuda" else -1):
            if shape[0] * shape[1] * features <= SLOT_FLOATS:
                return self.slots.get(shape).run(inputs, lengths)
            sequence = torch.tensor(inputs, device=self._device)  # (batch, time, features)
            steps = torch.tensor(lengths, device=self._device)  # (batch,)
            return np.asarray(self._ends(sequence, steps).float().cpu().numpy())  # (batch, …)


def _none(inputs: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """What a network that is asked step by step answers at once."""
    del inputs, lengths
    raise ValueError(STEP_BY_STEP)


def _transitions(model: Any) -> Array | None:
    """Of a chain of tags."""
    with torch.inference_mode():
        found = model.transitions()
        return None if found is None else np.asarray(found.float().cpu().numpy())


def open_torch(directory: Path, device: str) -> Engine:
    """Load the weights onto a device such as `cuda:0` and run the network once."""
    place = torch.device(device)
    if place.type == "cuda":
        torch.set_float32_matmul_precision("high")  # TF32, as cuDNN's recurrences use by default
    with CUDA_BUSY:
        model = load_model(directory, place)
        engine = TorchEngine(model, place, read_manifest(directory).get("state"))
        dtype = np.int64 if model.config.input == Input.TOKENS else np.float32
        warm_up(engine, np.dtype(dtype), model.config.features)
    return engine
