"""The routers, one a resource."""

from app.api.documentation import routes as documentation
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
    webhooks,
)

ROUTERS = (
    service.router,
    documentation.router,
    datasets.router,
    jobs.router,
    sweeps.router,
    batches.router,
    evaluations.router,
    models.router,
    repository.router,
    completions.router,
    listen.router,
    webhooks.router,
    keys.router,
)
# The first match answers.
RAW = (predictions.ROUTE, predictions.EXPLAIN_ROUTE, *inference.ROUTES, completions.ROUTE)
