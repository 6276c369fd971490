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
# The first match answers.
RAW = (predictions.ROUTE, predictions.EXPLAIN_ROUTE, *inference.ROUTES, completions.ROUTE)
