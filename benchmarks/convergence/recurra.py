"""Trains as a job with default options does; prints processor seconds and sMAPE after each epoch.

Arguments: the file of series, the horizon, the cell, the seed. The last horizon of each series is neither
trained on nor selected by; the one before it validates. Looking at the last one does not count.
"""

import json
import sys
import time
from pathlib import Path

import torch

from app.hyperparameters.options import NETWORK, TRAINING
from app.ingest.readers import Mapping, open_source
from app.tasks.forecasting.options import ForecastingOptions
from app.tasks.forecasting.task import TASK
from app.tasks.source import Faults
from workers.outputs import build
from workers.training.batches import steps_per_epoch
from workers.training.device import prepare
from workers.training.evaluate import outputs_of
from workers.training.fit import Validation
from workers.training.loop import Loop
from workers.training.pipeline import model_config, training_config

CPU = torch.device("cpu")


def main() -> None:
    """Train and print; the weights that count are those of the lowest validation loss so far."""
    path, horizon, cell, seed = sys.argv[1:]
    prepare(CPU)
    faults = Faults()
    arrays = TASK.read(open_source(Path(path), "jsonl", Mapping({}), faults), faults).arrays
    training = training_config({**TRAINING, **TASK.training_defaults, "seed": int(seed)})
    clock, cpu = time.perf_counter(), time.process_time()
    plan = TASK.plan(arrays, ForecastingOptions(horizon=int(horizon)), int(seed))
    model = build(model_config(plan, {**NETWORK, **TASK.network_defaults, "cell": cell}), int(seed))
    loop = Loop(model, training, CPU, training.epochs * steps_per_epoch(plan.train, training.batch_size))
    validation = Validation(plan.valid, 4 * training.batch_size)
    while loop.done < loop.end:
        loop.run(plan.train, lambda _samples, _loss: True)
        loop.best.offer(validation.loss(loop.average.model, CPU), loop.epoch, loop.done, loop.average.model)
        taken = time.perf_counter() - clock, time.process_time() - cpu
        judged = build(loop.model.config, 0)
        judged.load_state_dict(loop.best.weights)
        smape = TASK.score(plan.state, plan.test, outputs_of(judged, plan.test, 512, CPU))[0]["smape"]
        line = {"step": loop.done, "seconds": round(taken[0], 3), "cpu": round(taken[1], 3), "smape": smape}
        print(json.dumps(line), flush=True)
        clock, cpu = time.perf_counter() - taken[0], time.process_time() - taken[1]
        if loop.best.patience_exhausted(loop.epoch):
            break


if __name__ == "__main__":
    main()
