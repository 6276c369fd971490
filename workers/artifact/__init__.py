"""Artifacts of versions: weights, graph and manifest."""
