"""Sweeps: hyperparameter searches whose trials are jobs."""
