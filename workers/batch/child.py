"""The child of a batch prediction, in a process of its own. As a program it runs ONNX Runtime on a CPU."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from app.typedefs import Json
from workers.batch.predict import BatchSpec, predict
from workers.inference.artifact_cache import DamagedArtifact, verify_artifact
from workers.inference.engines import Engine, open_onnx
from workers.process.child import explain_failure, failed_message, run_work

Open = Callable[[Path, str], Engine]


def explain(error: BaseException) -> Json:
    """What a failed batch prediction means to the one who submitted it."""
    if isinstance(error, DamagedArtifact):
        return failed_message("model_damaged", f"This model version cannot be loaded: {error}")
    return explain_failure(error)


def work(
    open_engine: Open, request: Json, on: Callable[[Json], None], should_stop: Callable[[], bool]
) -> Json:
    """Predict what the supervisor asks for."""
    model = Path(request["model_dir"])
    verify_artifact(model, request["sha256"])
    done = predict(
        BatchSpec(**request["spec"]),
        Path(request["data_dir"]),
        model,
        Path(request["out_dir"]),
        open_engine(model, request["device"]),
        on=on,
        should_stop=should_stop,
    )
    if done.stopped:
        return {"type": "stopped"}
    return {"type": "done", "metrics": {"instances": done.instances, "failed": done.failed}}


def main(open_engine: Open) -> None:
    """Answer one request."""
    run_work(partial(work, open_engine), explain)


if __name__ == "__main__":
    main(open_onnx)
