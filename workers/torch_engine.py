"""The engine for a GPU: torch and cuDNN, in a module of its own: a CPU predictor never imports torch."""

from pathlib import Path

import numpy as np
import torch

from workers.checkpoint import load_model
from workers.engines import Engine, Floats, Ints
from workers.nn.model import SequenceModel


class TorchEngine:
    """The network itself, on a device."""

    def __init__(self, model: SequenceModel, device: torch.device) -> None:
        self._model, self._device = model, device

    def run(self, inputs: Floats, lengths: Ints) -> Floats:
        """See `Engine`; every sequence starts from a state of zeros."""
        with torch.inference_mode():
            sequence = torch.tensor(inputs, device=self._device)  # (batch, time, features)
            steps = torch.tensor(lengths, device=self._device)  # (batch,)
            outputs, _ = self._model.at_end(sequence, steps, self._model.initial(len(inputs)))
            return np.asarray(outputs.float().cpu().numpy())  # (batch, width)


def open_torch(directory: Path, device: str) -> Engine:
    """Load the weights onto a device such as `cuda:0` and run the network once."""
    place = torch.device(device)
    model = load_model(directory, place)
    engine = TorchEngine(model, place)
    engine.run(np.zeros((1, 1, model.config.features), np.float32), np.ones(1, np.int64))
    return engine
