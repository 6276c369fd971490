"""The routers, one a resource."""

from app.api.routes import (
    batches,
    datasets,
    evaluations,
    jobs,
    keys,
    listen,
    models,
    predictions,
    service,
    sweeps,
)
from app.api.routes.protocols import completions, files, fine_tuning, inference, nixtla, repository

ROUTERS = (
    service.router,
    datasets.router,
    jobs.router,
    sweeps.router,
    batches.router,
    evaluations.router,
    models.router,
    repository.router,
    completions.router,
    files.router,
    fine_tuning.router,
    nixtla.router,
    listen.router,
    keys.router,
)
# The first match answers.
RAW = (
    predictions.ROUTE,
    predictions.EXPLAIN_ROUTE,
    *inference.ROUTES,
    completions.ROUTE,
    *nixtla.ROUTES,
)
