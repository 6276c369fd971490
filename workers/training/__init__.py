"""Training: from a data set's arrays to an artifact."""
