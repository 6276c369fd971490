"""The path that was probably meant by an unknown one, on the service's own paths."""

import pytest

from app.api.paths import PathIndex
from tests.support.fixtures.service import openapi_document

PATHS = PathIndex(openapi_document())


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("/v1/completions", "POST /openai/v1/completions"),
        ("/v1/chat/completions", "POST /openai/v1/completions"),
        ("/openai/v1/chat/completions", "POST /openai/v1/completions"),
        ("/jobs", "GET or POST /v1/jobs"),
        ("/v1/job", "GET or POST /v1/jobs"),
        ("/api/v1/datasets", "GET or POST /v1/datasets"),
        ("/v1/jobs/job_1/cancle", "POST /v1/jobs/{job_id}/cancel"),
        ("/v1/jobs/job_1/status", "GET or DELETE /v1/jobs/{job_id}"),
        ("/predict", "POST /v1/models/{name}/predict"),
        ("/v1/models/m:predict", "POST /v1/models/{name}/predict"),
        ("/v1/models/m/versions/1/predict", "POST /v1/models/{name}/predict"),
        ("/v1/models/m/infer", "POST /v2/models/{model}/infer"),
        ("/v1/models/m/predictions", "POST /v1/models/{name}/predict"),
        ("/v2/models/m/inference", "POST /v2/models/{model}/infer"),
        ("/v1/models/m/batch_predictions", "POST /v1/models/{name}/batch-predictions"),
        ("/health", "GET /healthz"),
        ("/v1/metrics", "GET /metrics"),
        ("/openapi.jsn", "GET /openapi.json"),
        ("/v1/tasks/forecasting", "GET /v1/tasks"),
        ("/v1/embeddings", None),
        ("/favicon.ico", None),
        ("/", None),
        ("/x" * 1000, None),
    ],
)
def test_the_nearest_path_is_named(path: str, hint: str | None) -> None:
    assert PATHS.hint(path) == hint


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        ("/v1/jobs", ["GET", "POST", "HEAD"]),
        ("/v1/models/m/predict", ["POST"]),
        ("/v1/models/m/versions/1", ["GET", "DELETE", "HEAD"]),
        ("/v2/models/m/versions/1/infer", ["POST"]),
        ("/v1/models/m/aliases/a", ["GET", "PUT", "DELETE", "HEAD"]),
        ("/v1/models//predict", []),
        ("/nothing", []),
    ],
)
def test_a_path_has_the_methods_of_all_its_routes(path: str, methods: list[str]) -> None:
    assert PATHS.allowed_methods(path) == methods
