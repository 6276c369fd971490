"""The child of an evaluation, in a process of its own. As a program it runs ONNX Runtime on a CPU."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Protocol

from app.tasks.evaluation.contract import EvaluationSet
from app.typedefs import Json
from workers.batch.child import Open, explain
from workers.batch.predict import Stopped
from workers.evaluation.run import Directories, EvaluatedVersion, Evaluation, EvaluationSpec, OpenEngine
from workers.inference.artifact_cache import verify_artifact
from workers.inference.engines import Engine, open_onnx
from workers.process.child import run_work


class MakeOpenEngine(Protocol):
    """What makes the opener of networks for a request."""

    def __call__(
        self, request: Json, on: Callable[[Json], None], should_stop: Callable[[], bool]
    ) -> OpenEngine:
        """The opener."""
        ...


def work(
    make_open: MakeOpenEngine, request: Json, on: Callable[[Json], None], should_stop: Callable[[], bool]
) -> Json:
    """Evaluate what the supervisor asks for."""
    versions = [
        EvaluatedVersion(one["number"], Path(one["directory"]), one["is_known"])
        for one in request["versions"]
    ]
    for version, one in zip(versions, request["versions"], strict=True):
        verify_artifact(version.directory, one["sha256"])
    paths = request["directories"]
    training = None if paths["training"] is None else Path(paths["training"])
    evaluation = Evaluation(
        EvaluationSpec(**request["spec"]),
        versions,
        Directories(Path(paths["data"]), training, Path(paths["stored"]), Path(paths["out"])),
        make_open(request, on, should_stop),
        on,
        should_stop,
    )
    try:
        return {"type": "done", "metrics": evaluation.run()}
    except Stopped:
        return {"type": "stopped"}


def stored(open_engine: Open) -> MakeOpenEngine:
    """The networks as they were published, each opened once."""

    def make(request: Json, on: Callable[[Json], None], should_stop: Callable[[], bool]) -> OpenEngine:
        del on, should_stop

        def open_version(
            version: EvaluatedVersion, evaluated: EvaluationSet, window: int
        ) -> tuple[Json, Engine]:
            del evaluated, window
            state: Json = version.manifest["state"]
            return state, open_engine(version.directory, request["device"])

        return open_version

    return make


def main(make_open: MakeOpenEngine) -> None:
    """InstanceResult one request."""
    run_work(partial(work, make_open), explain)


if __name__ == "__main__":
    main(stored(open_onnx))
