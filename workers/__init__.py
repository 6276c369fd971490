"""Recurra's Celery workers: training and serving; the only place that imports torch."""
