"""What networks are compared by: figures of validation data, so that those of test data stay honest."""

LOSS = "valid_loss"  # where nothing else is said; the less the better


def of_validation(metric: str) -> str:
    """What a metric of validation data is called among those of a network, which are of the test data."""
    return metric if metric == LOSS else f"valid_{metric}"
