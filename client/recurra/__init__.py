"""The Python client of a Recurra server: data frames, texts and files in, forecasts and predictions out."""

from recurra.async_client import AsyncClient
from recurra.client import Client
from recurra.errors import (
    Conflict,
    ConnectionLost,
    DeadlinePassed,
    InvalidInput,
    InvalidRequest,
    JobFailed,
    LimitReached,
    NotAuthenticated,
    NotFound,
    PermissionDenied,
    RecurraError,
    RequestRefused,
    ServerNotFound,
    Unavailable,
)
from recurra.objects.async_jobs import AsyncDataset, AsyncJob, AsyncVersion
from recurra.objects.async_models import AsyncModel
from recurra.objects.curves import Curves
from recurra.objects.evaluation import Evaluation
from recurra.objects.jobs import Dataset, Job, Version
from recurra.objects.models import Model
from recurra.results import (
    Entity,
    Forecast,
    GeneratedText,
    LabelPrediction,
    MusicPiece,
    Piece,
    TaggedText,
    Transcript,
    Translation,
)
from recurra.version import VERSION as __version__  # noqa: N811 - the name that tools read

__all__ = [
    "AsyncClient",
    "AsyncDataset",
    "AsyncJob",
    "AsyncModel",
    "AsyncVersion",
    "Client",
    "Conflict",
    "ConnectionLost",
    "Curves",
    "Dataset",
    "DeadlinePassed",
    "Entity",
    "Evaluation",
    "Forecast",
    "GeneratedText",
    "InvalidInput",
    "InvalidRequest",
    "Job",
    "JobFailed",
    "LabelPrediction",
    "LimitReached",
    "Model",
    "MusicPiece",
    "NotAuthenticated",
    "NotFound",
    "PermissionDenied",
    "Piece",
    "RecurraError",
    "RequestRefused",
    "ServerNotFound",
    "TaggedText",
    "Transcript",
    "Translation",
    "Unavailable",
    "Version",
    "__version__",
]
