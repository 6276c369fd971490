"""The routers, one a resource."""

from app.api.routes import (
    batches,
    completions,
    datasets,
    evaluations,
    inference,
    jobs,
    keys,
    listen,
    models,
    predictions,
    repository,
    service,
    sweeps,
)

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
    listen.router,
    keys.router,
)
RAW = (predictions.ROUTE, *inference.ROUTES, completions.ROUTE)  # the first match answers
