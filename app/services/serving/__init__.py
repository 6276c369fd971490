"""Predictions: routing to versions, streaming, shadowing, metrics."""
