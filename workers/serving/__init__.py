"""Predictors: the processes that answer predictions."""
