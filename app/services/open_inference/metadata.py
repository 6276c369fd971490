"""What the Open Inference Protocol tells of models: metadata, configuration, statistics, and the index."""

from collections.abc import Iterator

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.database.tables import ModelVersion
from app.services.models import versions as models
from app.services.open_inference.codec import MAX_ROWS
from app.services.open_inference.predict import NETWORK, parted, signature
from app.services.serving.metrics import Meter, Meters
from app.services.serving.version_router import Route
from app.tasks.contract import TensorField
from app.typedefs import Json

PLATFORM = "recurra"
TYPES = {"FP16": "TYPE_FP16", "FP32": "TYPE_FP32", "FP64": "TYPE_FP64", "BYTES": "TYPE_STRING"}


def versions(session: Session, model: str) -> list[int]:
    """The versions of a model, oldest first; raises `NotFound`."""
    models.get(session, model)
    query = select(ModelVersion.version).where(ModelVersion.model == model).order_by(ModelVersion.version)
    return list(session.scalars(query))


def index(session: Session) -> list[Json]:
    """Every version of every model, as its task and as its graph; all load when they are first asked."""
    query = select(ModelVersion.model, ModelVersion.version)
    rows = session.execute(query.order_by(ModelVersion.model, ModelVersion.version))
    return [
        {"name": name, "version": str(version), "state": "READY", "reason": ""}
        for model, version in rows
        for name in (model, model + NETWORK)
    ]


def metadata(name: str, numbers: list[int], route: Route) -> Json:
    """The tensors of a model, as a client asks before it calls."""
    found = signature(route, network=parted(name)[1])
    return {
        "name": name,
        "versions": [str(number) for number in numbers],
        "platform": PLATFORM,
        "inputs": [_described(field) for field in found.inputs],
        "outputs": [_described(field) for field in found.outputs],
    }


def _described(field: TensorField) -> Json:
    return {"name": field.name, "datatype": field.datatype, "shape": [-1, *field.shape]}


def config(name: str, route: Route) -> Json:
    """The same in the words of Triton's model configuration."""
    found = signature(route, network=parted(name)[1])
    return {
        "name": name,
        "platform": PLATFORM,
        "backend": PLATFORM,
        "version_policy": {"all": {}},
        "max_batch_size": MAX_ROWS,
        "input": [
            {**_configured(field), "allow_ragged_batch": False, "optional": not field.required}
            for field in found.inputs
        ],
        "output": [_configured(field) for field in found.outputs],
        "dynamic_batching": {},
    }


def _configured(field: TensorField) -> Json:
    kind = TYPES.get(field.datatype, f"TYPE_{field.datatype}")
    return {"name": field.name, "data_type": kind, "dims": list(field.shape)}


def statistics(meters: Meters, name: str | None, numbers: list[int] | None) -> Json:
    """What this process counted: of one model's versions, or of all that were asked.

    A task and its graph share their version's counters.
    """
    counted = dict(meters.items())
    if name is None:
        asked = [(model, number, model) for model, number in counted]
    else:
        model = parted(name)[0]
        asked = [(model, number, name) for number in numbers or []]
    nothing = Meter()
    told = [_counted(shown, number, counted.get((model, number), nothing)) for model, number, shown in asked]
    return {"model_stats": told}


def _counted(name: str, version: int, meter: Meter) -> Json:
    return {
        "name": name,
        "version": str(version),
        "last_inference": int(1000 * meter.last),
        "inference_count": meter.inferences,
        "execution_count": round(meter.executions),
        "inference_stats": {phase: {"count": n, "ns": round(1e9 * s)} for phase, n, s in _phases(meter)},
        "batch_stats": [],
    }


def _phases(meter: Meter) -> Iterator[tuple[str, int, float]]:
    """How often and how many seconds; what is neither queue nor compute counts as input."""
    total, queue, compute = (meter.phases[phase] for phase in ("total", "queue", "compute"))
    yield "success", total.count, total.total
    yield "fail", meter.failures, meter.failure_seconds
    yield "queue", queue.count, queue.total
    yield "compute_input", total.count, max(total.total - queue.total - compute.total, 0.0)
    yield "compute_infer", compute.count, compute.total
    yield "compute_output", 0, 0.0
    yield "cache_hit", 0, 0.0
    yield "cache_miss", 0, 0.0
