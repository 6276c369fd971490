"""The child of an evaluation that trains each version anew before each window, on what was known then."""

import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np

from app.tasks.evaluation.contract import EvaluationSet
from app.typedefs import Json
from workers.batch.predict import Stopped
from workers.evaluation.child import main
from workers.evaluation.run import EvaluatedVersion, OpenEngine
from workers.inference.engines import Engine, open_onnx
from workers.inference.torch_engine import open_torch
from workers.training.run import train
from workers.training.stages import TrainSpec

PASSED_ON = {"log", "warning"}  # events of a training that concern its evaluation


class Refitter:
    """Trains a version's network anew for a window and opens it."""

    def __init__(self, request: Json, on: Callable[[Json], None], should_stop: Callable[[], bool]) -> None:
        self._device, self._threads = request["device"], request["threads"]
        self._directory = Path(request["directories"]["out"]).parent / "refits"
        self._on, self._should_stop = on, should_stop

    def __call__(
        self, version: EvaluatedVersion, evaluated: EvaluationSet, window: int
    ) -> tuple[Json, Engine]:
        """See `OpenEngine`; the same settings, data and seed give the same network."""
        name = f"version {version.number}, window {window + 1} of {len(evaluated.windows)}"
        self._on({"type": "log", "message": f"Training {name} on what was known before it."})
        directory = self._directory / f"{version.number}"
        shutil.rmtree(directory, ignore_errors=True)  # of the window before
        data, out = directory / "data", directory / "out"
        data.mkdir(parents=True)
        out.mkdir()
        np.savez(data / "arrays.npz", **evaluated.training_arrays(window))  # type: ignore[arg-type]
        manifest = version.manifest
        spec = TrainSpec(
            manifest["task"],
            manifest["network"],
            {**manifest["training"], "device": self._device},
            manifest["options"],
        )
        progress = {"phase": "refit", "version": version.number, "window": window}
        fraction = round(window / len(evaluated.windows), 4)

        def report(event: Json) -> None:
            if event.get("type") in PASSED_ON:
                self._on(event)
            elif event.get("type") == "progress":
                self._on({"type": "progress", "fraction": fraction, **progress})

        done = train(spec, data, out, on=report, should_stop=self._should_stop, threads=self._threads)
        if done.stopped:
            raise Stopped
        shutil.rmtree(data)
        refitted = EvaluatedVersion(version.number, out, is_known=False)
        state: Json = refitted.manifest["state"]
        open_engine = open_onnx if self._device == "cpu" else open_torch
        return state, open_engine(out, self._device)


def make_refitter(request: Json, on: Callable[[Json], None], should_stop: Callable[[], bool]) -> OpenEngine:
    """The opener of a request."""
    return Refitter(request, on, should_stop)


if __name__ == "__main__":
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    main(make_refitter)
