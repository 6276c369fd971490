"""The routers, one a resource."""

from app.api import batches, datasets, inference, jobs, models, predictions, repository, service

ROUTERS = (service.router, datasets.router, jobs.router, batches.router, models.router, repository.router)
RAW = (predictions.ROUTE, *inference.ROUTES)  # the first match answers
