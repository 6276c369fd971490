"""The engine for a GPU: torch and cuDNN, in a module of its own: a CPU predictor never imports torch."""

from pathlib import Path
from typing import cast

import numpy as np
import torch

from workers.batching import bucket
from workers.engines import Engine, Floats, Ints, Pace
from workers.export import load_model
from workers.nn import Network
from workers.nn.model import SequenceModel
from workers.slots import CUDA_BUSY, Compute, Slots

MAX_SLOTS = 24  # shapes an engine keeps buffers and graphs for
SLOT_FLOATS = 1 << 20  # a larger batch computes so long that starting its kernels costs nothing


class TorchEngine:
    """The network itself, on a device."""

    # A step takes about as long for one row as for a hundred, so rows of all lengths go together.
    pace = Pace(overhead=1 << 10, width=1 << 7, most=1 << 22)

    def __init__(self, model: Network, device: torch.device) -> None:
        self._ends: Compute = cast("SequenceModel", model.eval()).answers
        self._device = device
        self.slots = Slots(self._ends, device, MAX_SLOTS)

    def run(self, inputs: Floats, lengths: Ints) -> Floats:
        """See `Engine`; every sequence starts from a state of zeros."""
        batch, time, features = inputs.shape
        shape = 1 << (batch - 1).bit_length(), bucket(time), features
        with torch.inference_mode(), torch.cuda.device(self._device if self._device.type == "cuda" else -1):
            if shape[0] * shape[1] * features <= SLOT_FLOATS:
                return self.slots.get(shape).run(inputs, lengths)
            sequence = torch.tensor(inputs, device=self._device)  # (batch, time, features)
            steps = torch.tensor(lengths, device=self._device)  # (batch,)
            return np.asarray(self._ends(sequence, steps).cpu().numpy())  # (batch, width)


def open_torch(directory: Path, device: str) -> Engine:
    """Load the weights onto a device such as `cuda:0` and run the network once."""
    place = torch.device(device)
    if place.type == "cuda":
        torch.set_float32_matmul_precision("high")  # TF32, as cuDNN's recurrences use by default
    with CUDA_BUSY:
        model = load_model(directory, place)
        engine = TorchEngine(model, place)
        engine.run(np.zeros((1, 1, model.config.features), np.float32), np.ones(1, np.int64))
    return engine
