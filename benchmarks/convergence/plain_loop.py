"""A training loop as one writes it by hand; prints processor seconds and sMAPE as it goes.

Arguments: the file of series, the horizon, the cell, the seed, the steps, and the steps between two looks at
the last horizon of each series, which is not trained on. Looking does not count. A window of twice the
horizon in units of its own mean, one layer of 64 units, a dense layer on the last state, Adam at 0.001,
batches of 128 windows of random series and times, absolute errors.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from app.arrays import Array
from app.tasks.forecasting.metrics import smape_points

UNITS, BATCH = 64, 128
CELLS = {"lstm": nn.LSTM, "gru": nn.GRU}


class Network(nn.Module):
    """All steps ahead at once from the last state."""

    def __init__(self, cell: str, horizon: int) -> None:
        super().__init__()
        self.recurrent = CELLS[cell](1, UNITS, batch_first=True)
        self.out = nn.Linear(UNITS, horizon)

    def forward(self, windows: Tensor) -> Tensor:
        """Windows (batch, time) to forecasts (batch, horizon)."""
        scale = windows.abs().mean(dim=1, keepdim=True).clamp_min(1e-6)
        states, _ = self.recurrent((windows / scale)[:, :, None])
        forecasts: Tensor = self.out(states[:, -1]) * scale
        return forecasts


def window(values: Array, end: int, size: int) -> Array:
    """The last values before `end`; the first one is repeated before a short series."""
    part = values[max(0, end - size) : end]
    return np.concatenate([np.full(size - len(part), part[0]), part])


def main() -> None:
    """Train and print."""
    path, horizon_text, cell, seed, steps, every = sys.argv[1:]
    horizon = int(horizon_text)
    series = [
        np.array(json.loads(line)["target"], np.float32) for line in Path(path).read_text().splitlines()
    ]
    torch.manual_seed(int(seed))
    torch.set_num_threads(1)
    rng, network = np.random.default_rng(int(seed)), Network(cell, horizon)
    optimizer = torch.optim.Adam(network.parameters())
    latest = torch.from_numpy(np.stack([window(one, len(one) - horizon, 2 * horizon) for one in series]))
    actual = np.stack([one[-horizon:] for one in series])
    trained = [one[:-horizon] for one in series]
    clock, cpu = time.perf_counter(), time.process_time()
    for step in range(1, int(steps) + 1):
        picked = [trained[index] for index in rng.integers(0, len(trained), BATCH)]
        ends = [int(rng.integers(1, len(one) - horizon + 1)) for one in picked]
        inputs = np.stack([window(one, end, 2 * horizon) for one, end in zip(picked, ends, strict=True)])
        targets = np.stack([one[end : end + horizon] for one, end in zip(picked, ends, strict=True)])
        scale = torch.from_numpy(np.abs(inputs).mean(axis=1, keepdims=True)).clamp_min(1e-6)
        loss = ((network(torch.from_numpy(inputs)) - torch.from_numpy(targets)) / scale).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % int(every) == 0:
            taken = time.perf_counter() - clock, time.process_time() - cpu
            with torch.no_grad():
                smape = float(smape_points(actual, network(latest).numpy()).mean())
            line = {"step": step, "seconds": round(taken[0], 3), "cpu": round(taken[1], 3), "smape": smape}
            print(json.dumps(line), flush=True)
            clock, cpu = time.perf_counter() - taken[0], time.process_time() - taken[1]


if __name__ == "__main__":
    main()
