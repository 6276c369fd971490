"""Forecasting: the future of time series, with quantiles."""

from app.tasks.forecasting.task import TASK

__all__ = ["TASK"]
