"""Trains neuralforecast's LSTM or GRU with its default options; prints seconds and sMAPE as it goes.

Arguments: the file of series (JSON Lines with `item_id`, `target`), the horizon, the model, the seed, the
steps, and the steps between two looks at the last horizon of each series, which is not trained on. The time
that these looks take does not count.
"""

import json
import logging
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from neuralforecast import NeuralForecast
from neuralforecast.losses.pytorch import SMAPE
from neuralforecast.models import GRU, LSTM
from pytorch_lightning.callbacks import Callback

MODELS = {"lstm": LSTM, "gru": GRU}


class Clock(Callback):
    """Prints a line after each look, with the seconds that were spent on training until then."""

    def __init__(self) -> None:
        self._counted = np.zeros(2)  # seconds on the clock and of the processor
        self._resumed = now()

    def on_validation_start(self, trainer: object, model: object) -> None:  # noqa: ARG002
        self._counted += now() - self._resumed

    def on_validation_end(self, trainer: object, model: object) -> None:  # noqa: ARG002
        self._resumed = now()
        if model.valid_trajectories:
            step, loss = model.valid_trajectories[-1]
            seconds, cpu = self._counted.round(3).tolist()
            line = {"step": int(step), "seconds": seconds, "cpu": cpu, "smape": 100 * float(loss)}
            print(json.dumps(line), flush=True)


def now() -> np.ndarray:
    """The clock and the processor time of this process."""
    return np.array([time.perf_counter(), time.process_time()])


def main() -> None:
    """Train and print."""
    path, horizon, name, seed, steps, every = sys.argv[1:]
    for logger in ("pytorch_lightning", "lightning.pytorch", "lightning_fabric"):
        logging.getLogger(logger).setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    lines = [json.loads(line) for line in Path(path).read_text().splitlines()]
    clock = Clock()
    frame = pd.concat(
        pd.DataFrame(
            {
                "unique_id": line["item_id"],
                "ds": np.arange(len(line["target"])),
                "y": np.float32(line["target"]),
            }
        )
        for line in lines
    )
    model = MODELS[name](
        h=int(horizon),
        max_steps=int(steps),
        val_check_steps=int(every),
        valid_loss=SMAPE(),
        start_padding_enabled=True,  # else it does without the short series
        random_seed=int(seed),
        accelerator="cpu",
        callbacks=[clock],
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        logger=False,
    )
    forecaster = NeuralForecast(models=[model], freq=1)
    forecaster.fit(frame, val_size=int(horizon))
    known = frame.groupby("unique_id").apply(lambda part: part.iloc[: -int(horizon)], include_groups=False)
    forecast = forecaster.predict(df=known.reset_index(level=0))
    column = next(one for one in forecast.columns if one not in ("unique_id", "ds"))
    points = forecast.merge(frame, on=["unique_id", "ds"])
    size = points["y"].abs() + points[column].abs()
    smape = float((200 * (points["y"] - points[column]).abs() / size).mean())
    print(json.dumps({"check": smape, "forecasts": len(points)}), flush=True)


if __name__ == "__main__":
    main()
