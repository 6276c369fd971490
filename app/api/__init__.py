"""The routers, one a resource."""

from app.api.routes import (
    batches,
    completions,
    datasets,
    inference,
    jobs,
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
    models.router,
    repository.router,
    completions.router,
    listen.router,
)
RAW = (predictions.ROUTE, *inference.ROUTES, completions.ROUTE)  # the first match answers
