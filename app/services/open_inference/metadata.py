"""Metadata, configuration, statistics and index of models in the Open Inference Protocol."""

from collections.abc import Iterator

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.database.tables import ModelVersion
from app.services.models import versions as models
from app.services.open_inference.codec import MAX_ROWS
from app.services.open_inference.predict import NETWORK_SUFFIX, signature, split_name
from app.services.serving.metrics import PredictionMetrics, VersionMetrics
from app.services.serving.version_router import Route
from app.tasks.contract import TensorField
from app.typedefs import Json

PLATFORM = "recurra"
TYPES = {"FP16": "TYPE_FP16", "FP32": "TYPE_FP32", "FP64": "TYPE_FP64", "BYTES": "TYPE_STRING"}


def versions(session: Session, model: str) -> list[int]:
    """The versions of a model, oldest first; raises `NotFound`."""
    models.get_model(session, model)
    query = select(ModelVersion.version).where(ModelVersion.model == model).order_by(ModelVersion.version)
    return list(session.scalars(query))


def index(session: Session) -> list[Json]:
    """Every version of every model, once as a task and once as a graph.

    All are ready: serving workers load a version with its first request.
    """
    query = select(ModelVersion.model, ModelVersion.version)
    rows = session.execute(query.order_by(ModelVersion.model, ModelVersion.version))
    return [
        {"name": name, "version": str(version), "state": "READY", "reason": ""}
        for model, version in rows
        for name in (model, model + NETWORK_SUFFIX)
    ]


def metadata(name: str, numbers: list[int], route: Route) -> Json:
    """The tensors of a model."""
    tensors = signature(route, network=split_name(name)[1])
    return {
        "name": name,
        "versions": [str(number) for number in numbers],
        "platform": PLATFORM,
        "inputs": [_tensor_metadata(field) for field in tensors.inputs],
        "outputs": [_tensor_metadata(field) for field in tensors.outputs],
    }


def _tensor_metadata(field: TensorField) -> Json:
    return {"name": field.name, "datatype": field.datatype, "shape": [-1, *field.shape]}


def config(name: str, route: Route) -> Json:
    """The tensors of a model as Triton's model configuration describes them."""
    tensors = signature(route, network=split_name(name)[1])
    return {
        "name": name,
        "platform": PLATFORM,
        "backend": PLATFORM,
        "version_policy": {"all": {}},
        "max_batch_size": MAX_ROWS,
        "input": [
            {**_tensor_config(field), "allow_ragged_batch": False, "optional": not field.required}
            for field in tensors.inputs
        ],
        "output": [_tensor_config(field) for field in tensors.outputs],
        "dynamic_batching": {},
    }


def _tensor_config(field: TensorField) -> Json:
    kind = TYPES.get(field.datatype, f"TYPE_{field.datatype}")
    return {"name": field.name, "data_type": kind, "dims": list(field.shape)}


def statistics(metrics: PredictionMetrics, name: str | None, numbers: list[int] | None) -> Json:
    """The counters of this process: of the versions `numbers` of a model, or of all that have any.

    A task and its graph share their version's counters.
    """
    counters = dict(metrics.items())
    if name is None:
        entries = [(model, number, model) for model, number in counters]
    else:
        model = split_name(name)[0]
        entries = [(model, number, name) for number in numbers or []]
    zero = VersionMetrics()
    stats = [
        _version_statistics(shown_as, number, counters.get((model, number), zero))
        for model, number, shown_as in entries
    ]
    return {"model_stats": stats}


def _version_statistics(name: str, version: int, metrics: VersionMetrics) -> Json:
    return {
        "name": name,
        "version": str(version),
        "last_inference": int(1000 * metrics.last_answer_at),
        "inference_count": metrics.inferences,
        "execution_count": round(metrics.executions),
        "inference_stats": {phase: {"count": n, "ns": round(1e9 * s)} for phase, n, s in _phases(metrics)},
        "batch_stats": [],
    }


def _phases(metrics: VersionMetrics) -> Iterator[tuple[str, int, float]]:
    """The count and the seconds of each phase; time in neither queue nor compute counts as input."""
    total, queue, compute = (metrics.phases[phase] for phase in ("total", "queue", "compute"))
    yield "success", total.count, total.total
    yield "fail", metrics.failures, metrics.failure_seconds
    yield "queue", queue.count, queue.total
    yield "compute_input", total.count, max(total.total - queue.total - compute.total, 0.0)
    yield "compute_infer", compute.count, compute.total
    yield "compute_output", 0, 0.0
    yield "cache_hit", 0, 0.0
    yield "cache_miss", 0, 0.0
