"""Trainings in an experiment tracker of the operator's, beside the service's own events and metrics."""
