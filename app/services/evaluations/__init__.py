"""Evaluations: jobs that compare versions of a model on a data set."""
