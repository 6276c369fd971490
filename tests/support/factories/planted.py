"""Tasks whose answer hangs on planted steps, and networks that have learned them.

The adding problem, a copy and the latch (Hochreiter & Schmidhuber 1997; Bengio, Simard & Frasconi 1994): what
decides stands `lag` steps before the end, marked in a channel of its own, among noise in the others.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from app.tasks.contract import Input, Output
from workers.nn import ModelConfig
from workers.nn.losses import NONE
from workers.nn.model import SequenceModel
from workers.outputs import build

SYMBOLS = 4
VALUE, MARK, FIRST_SYMBOL = 0, 1, 2  # channels
FEATURES = FIRST_SYMBOL + SYMBOLS
MAX_LAG = 400
HIDDEN, ROWS = 24, 64
SHORT_LAG = 20  # of the lessons of any lag up to it
# Steps of the optimiser by lag: longer lags come last, and need few once the short ones are learned.
LESSONS = {
    "adding": ((SHORT_LAG, 1500), (100, 150), (MAX_LAG, 100)),
    "copy": ((SHORT_LAG, 1000), (100, 40), (MAX_LAG, 20)),
    "latch": ((SHORT_LAG, 600), (100, 40), (MAX_LAG, 20)),
}
# Noise on all inputs, in training only: it teaches a network to heed what it must and nothing else (Bishop
# 1995, "Training with noise is equivalent to Tikhonov regularization").
NOISE = {"adding": 0.1, "copy": 0.3, "latch": 0.3}


@dataclass(frozen=True)
class Planted:
    """Sequences of one length, their labels, and the steps that decide."""

    inputs: Tensor  # (rows, time, FEATURES)
    labels: Tensor  # (rows,)
    steps: set[int]


def plant(task: str, rng: np.random.Generator, lag: int, rows: int = 1) -> Planted:
    """Sequences that end `lag` steps after the first step that decides."""
    first = int(rng.integers(1, 6))
    time = first + 1 + lag
    inputs = np.zeros((rows, time, FEATURES), np.float32)
    inputs[:, :, VALUE] = rng.uniform(-1, 1, (rows, time))
    inputs[:, first, MARK] = 1
    steps, labels = {first}, np.zeros(rows, np.int64)
    if task == "latch":  # is the value positive?
        signs = rng.choice([-1.0, 1.0], rows)
        inputs[:, first, VALUE] = signs * rng.uniform(0.2, 1, rows)
        labels = (signs > 0).astype(np.int64)
    elif task == "copy":  # which symbol?
        symbols = rng.integers(SYMBOLS, size=(rows, time))
        np.put_along_axis(inputs, FIRST_SYMBOL + symbols[:, :, None], 1, axis=2)
        labels = symbols[:, first]
    else:  # is the sum of two values, from 0 to 1, more than 1?
        second = first + 1 + int(rng.integers(lag))
        inputs[:, :, VALUE] = rng.uniform(0, 1, (rows, time))
        inputs[:, second, MARK] = 1
        steps.add(second)
        labels = (inputs[:, first, VALUE] + inputs[:, second, VALUE] > 1).astype(np.int64)
    return Planted(torch.from_numpy(inputs), torch.from_numpy(labels), steps)


def learn(task: str, cell: str, seed: int) -> SequenceModel:
    """A network that has learned a task, lag after lag, in seconds.

    Its gates begin so open that it remembers for up to 400 steps (Tallec & Ollivier 2018, "Can recurrent
    neural networks warp time?").
    """
    outputs = SYMBOLS if task == "copy" else 2
    config = ModelConfig(
        Input.VECTORS, Output.LABEL, FEATURES, outputs, cell, hidden_size=HIDDEN, pooling="last"
    )
    model = build(config, seed)
    assert isinstance(model, SequenceModel)
    _open_gates(model, cell)
    rng, optimiser = np.random.default_rng(seed), torch.optim.Adam(model.parameters())
    model.train()
    for lag, steps in LESSONS[task]:
        optimiser.param_groups[0]["lr"] = 0.01 if lag == SHORT_LAG else 0.003
        for _ in range(steps):
            batch = plant(task, rng, int(rng.integers(5, lag + 1)) if lag == SHORT_LAG else lag, ROWS)
            noise = rng.normal(0, NOISE[task], batch.inputs.shape).astype(np.float32)
            lengths = torch.full((ROWS,), batch.inputs.shape[1])
            weights = torch.full((ROWS,), 1 / ROWS)
            inputs = batch.inputs + torch.from_numpy(noise)
            loss, _ = model.losses(inputs, lengths, batch.labels, weights, penalties=NONE)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
    return model.eval()


def _open_gates(model: SequenceModel, cell: str) -> None:
    """Set the biases of the gate that keeps, and of an LSTM's input gate against it."""
    stack = next(module for module in model.modules() if hasattr(module, "bias_ih_l0"))
    bias: Tensor = stack.bias_ih_l0  # type: ignore[assignment]
    with torch.no_grad():
        kept = torch.log(1 + MAX_LAG * torch.rand(HIDDEN))
        bias[HIDDEN : 2 * HIDDEN] = kept  # of an LSTM its forget gate, of a GRU its update gate
        if cell == "lstm":
            bias[:HIDDEN] = -kept
