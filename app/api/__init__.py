"""The routers, one a resource."""

from app.api import datasets, jobs, models, predictions, service

ROUTERS = (service.router, datasets.router, jobs.router, predictions.router, models.router)
