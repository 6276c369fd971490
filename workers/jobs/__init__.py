"""Training workers: how a job is claimed, supervised and ended."""
