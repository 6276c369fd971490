"""Names of the metrics that networks are compared by.

They are of validation data, so that the metrics of test data stay honest.
"""

VALIDATION_LOSS = "valid_loss"  # the default; lower is better


def validation_metric(metric: str) -> str:
    """The name that a metric of validation data has among the metrics of a network."""
    return metric if metric == VALIDATION_LOSS else f"valid_{metric}"
