"""What a client returns: models, versions, jobs and data sets."""
